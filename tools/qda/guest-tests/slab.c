// SPDX-License-Identifier: GPL-2.0
/*
 * How many objects the kernel has, and which have become more.
 */
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "slab.h"
#include "sysfs.h"

/* By how much a cache has to grow to be named. */
#define GROWTH_SHOWN	50

/* How often caches are shrunk again before a census, and how long after. */
#define REPEATS		3
#define GRACE_US	500000

/* Objects that are free, in the caches' own lists or kept back by KASAN, don't count. */
static void shrink(void)
{
	glob_t found = { 0 };

	sync();
	sysfs_write("/proc/sys/vm/drop_caches", "3");
	glob("/sys/kernel/slab/*/shrink", 0, NULL, &found);
	for (size_t i = 0; i < found.gl_pathc; i++)
		sysfs_write(found.gl_pathv[i], "1");
	globfree(&found);
}

void slab_take(struct slab_census *census)
{
	struct slab_cache *cache = census->caches;
	char line[512];
	FILE *file;

	census->count = 0;
	census->objects = 0;
	/* Some are freed after a grace period only, and into lists that have to shrink then. */
	shrink();
	for (int i = 0; i < REPEATS; i++) {
		usleep(GRACE_US);
		shrink();
	}
	file = fopen("/proc/slabinfo", "re");
	if (!file)
		return;
	while (cache < census->caches + SLAB_CACHES && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%63s %lld", cache->name, &cache->objects) == 2)
			census->objects += cache++->objects;
	}
	fclose(file);
	census->count = cache - census->caches;
}

static long long objects_of(const struct slab_census *census, const char *name)
{
	long long objects = 0;

	for (int i = 0; i < census->count; i++) {
		if (!strcmp(census->caches[i].name, name))
			objects += census->caches[i].objects;
	}
	return objects;
}

static long long growth(const struct slab_census *before, const struct slab_census *after,
			const char *name)
{
	return objects_of(after, name) - objects_of(before, name);
}

void slab_print_grown(const struct slab_census *before, const struct slab_census *after)
{
	for (int i = 0; i < after->count; i++) {
		const char *name = after->caches[i].name;
		long long grown = growth(before, after, name);

		if (grown >= GROWTH_SHOWN)
			printf("#   %s: %lld objects, %+lld\n", name, objects_of(after, name),
			       grown);
	}
}

long long slab_most(const struct slab_census *before, const struct slab_census *after,
		    const char **name)
{
	long long most = 0;

	*name = "no cache";
	for (int i = 0; i < after->count; i++) {
		long long grown = growth(before, after, after->caches[i].name);

		if (grown > most) {
			most = grown;
			*name = after->caches[i].name;
		}
	}
	return most;
}
