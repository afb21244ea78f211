/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How many objects the kernel has, and which have become more.
 */
#ifndef SLAB_H
#define SLAB_H

/** define SLAB_CACHES - more caches than a kernel has */
#define SLAB_CACHES	512

/** struct slab_cache - one cache; several may have the same name */
struct slab_cache {
	char name[64];
	long long objects;
};

/**
 * struct slab_census - all caches
 * @count: how many caches, 0 where the kernel doesn't count its objects
 * @objects: in all of them
 */
struct slab_census {
	int count;
	long long objects;
	struct slab_cache caches[SLAB_CACHES];
};

/** slab_take() - have the kernel free what it can, and count what is left. */
void slab_take(struct slab_census *census);

/** slab_print_grown() - name the caches that have grown, so that one knows where to look. */
void slab_print_grown(const struct slab_census *before, const struct slab_census *after);

/**
 * slab_most() - find the cache that has grown most
 * @name: gets its name, or "no cache"
 *
 * Return: by how many objects.
 */
long long slab_most(const struct slab_census *before, const struct slab_census *after,
		    const char **name);

#endif /* SLAB_H */
