// SPDX-License-Identifier: GPL-2.0
/*
 * Counts what the kernel does: histograms of trace events, by stack trace, so that it can be told
 * who did it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

#define EVENTS	"/sys/kernel/tracing/events"
#define TRIGGER	"hist:keys=common_stacktrace:size=2048"

enum kind { SYSCALL, ALLOC, MAP, UNMAP, IOMMU_MAP, IOMMU_UNMAP };

static struct {
	char path[320];
	enum kind kind;
} events[32];
static int known;
static char own[32];
static bool lost;

static void add(const char *system, const char *event, enum kind kind)
{
	if (known == sizeof(events) / sizeof(events[0]))
		return;
	snprintf(events[known].path, sizeof(events[known].path), EVENTS "/%s/%s", system, event);
	events[known++].kind = kind;
}

static bool begins(const char *text, const char *with)
{
	return !strncmp(text, with, strlen(with));
}

/* The DMA API's events, whatever this kernel has; those of failures apart. */
static void add_dma(void)
{
	DIR *dir = opendir(EVENTS "/dma");
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		const char *name = entry->d_name;

		if (strstr(name, "_err"))
			continue;
		if (begins(name, "dma_map") || begins(name, "dma_alloc"))
			add("dma", name, MAP);
		else if (begins(name, "dma_unmap") || begins(name, "dma_free"))
			add("dma", name, UNMAP);
	}
	if (dir)
		closedir(dir);
}

static void find_events(void)
{
	add("raw_syscalls", "sys_enter", SYSCALL);
	add("kmem", "kmalloc", ALLOC);
	add("kmem", "kmem_cache_alloc", ALLOC);
	add("kmem", "mm_page_alloc", ALLOC);
	add("iommu", "map", IOMMU_MAP);
	add("iommu", "unmap", IOMMU_UNMAP);
	add_dma();
}

static int trigger(int event, const char *text)
{
	char path[336];
	int fd, ret = 0;

	snprintf(path, sizeof(path), "%s/trigger", events[event].path);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

int trace_begin(const char *module)
{
	if (!known)
		find_events();
	snprintf(own, sizeof(own), "[%s]", module);
	lost = false;
	for (int i = 0; i < known; i++) {
		int ret = trigger(i, TRIGGER);

		if (ret) {
			fprintf(stderr, "# %s: %s\n", events[i].path, strerror(-ret));
			return ret;
		}
	}
	return 0;
}

/* Hits of an event, and of those that came from the driver under test. */
static long hits(int event, long *ours)
{
	bool mine = false, interrupted = false, reading = false;
	long all = 0, n;
	char path[336];
	char *line = NULL, *at;
	size_t size = 0;
	FILE *file;

	*ours = 0;
	snprintf(path, sizeof(path), "%s/hist", events[event].path);
	file = fopen(path, "re");
	if (!file)
		return 0;
	while (getline(&line, &size, file) >= 0) {
		/* Below an interrupt stands what it interrupted. */
		if (strstr(line, "el1_interrupt") || strstr(line, "el1h_64_irq"))
			interrupted = true;
		if (!interrupted && strstr(line, own))
			mine = true;
		/* To read a histogram takes the more, the more there is in it. */
		if (strstr(line, "seq_read"))
			reading = true;
		if (sscanf(line, " Dropped: %ld", &n) == 1 && n)
			lost = true;
		at = strstr(line, "hitcount:");
		if (!at)
			continue;
		n = atol(at + strlen("hitcount:"));
		if (!reading)
			all += n;
		if (mine)
			*ours += n;
		mine = interrupted = reading = false;
	}
	free(line);
	fclose(file);
	return all;
}

struct counts trace_read(void)
{
	struct counts counts = { 0 };

	for (int i = 0; i < known; i++) {
		long ours, all = hits(i, &ours);

		switch (events[i].kind) {
		case SYSCALL:
			counts.syscalls += all;
			break;
		case ALLOC:
			counts.allocs += all;
			counts.own_allocs += ours;
			break;
		case MAP:
			counts.maps += all;
			counts.own_maps += ours;
			break;
		case UNMAP:
			counts.unmaps += all;
			counts.own_maps += ours;
			break;
		case IOMMU_MAP:
			counts.iommu_maps += all;
			counts.own_maps += ours;
			break;
		case IOMMU_UNMAP:
			counts.iommu_unmaps += all;
			counts.own_maps += ours;
			break;
		}
	}
	return counts;
}

void trace_print(long than)
{
	for (int i = 0; i < known; i++) {
		char path[336], *line = NULL;
		char stack[4096] = "";
		size_t size = 0;
		FILE *file;

		if (events[i].kind == SYSCALL)
			continue;
		snprintf(path, sizeof(path), "%s/hist", events[i].path);
		file = fopen(path, "re");
		while (file && getline(&line, &size, file) >= 0) {
			const char *at = strstr(line, "hitcount:");

			if (!at) {
				if (begins(line, "{ "))
					stack[0] = 0;
				strncat(stack, line, sizeof(stack) - strlen(stack) - 1);
				continue;
			}
			if (atol(at + strlen("hitcount:")) <= than)
				continue;
			printf("# %s\n", events[i].path);
			for (char *part = strtok(stack, "\n"); part; part = strtok(NULL, "\n"))
				printf("# %s\n", part);
			printf("# %s", line);
		}
		free(line);
		if (file)
			fclose(file);
	}
}

bool trace_end(void)
{
	for (int i = 0; i < known; i++)
		trigger(i, "!" TRIGGER);
	return !lost;
}
