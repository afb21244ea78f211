// SPDX-License-Identifier: GPL-2.0
/*
 * The part of the FastRPC library above the ioctls, as far as both published states need it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/dma-heap.h>

#include "published.h"

#define HEAP		"/dev/dma_heap/system"

/* Opens and closes modules by name. */
#define REMOTECTL1	8
#define OPEN1		0x02020200

#define ECHO		0x02010100

bool heap_alloc(size_t size, struct region *region)
{
	struct dma_heap_allocation_data data = { .len = size, .fd_flags = O_RDWR | O_CLOEXEC };
	int heap = open(HEAP, O_RDONLY | O_CLOEXEC);
	int ret = ioctl(heap, DMA_HEAP_IOCTL_ALLOC, &data);

	close(heap);
	if (ret)
		return false;
	*region = (struct region) { .size = size, .dmabuf = data.fd, .number = data.fd };
	region->map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, region->dmabuf, 0);
	if (region->map != MAP_FAILED)
		return true;
	close(region->dmabuf);
	return false;
}

bool find_device(const struct library *library, const char *dsp, char path[64])
{
	struct dirent *entry;
	bool found = false;
	DIR *dir;

	dir = opendir(ACCEL);
	if (!dir)
		return false;
	while ((entry = readdir(dir))) {
		char candidate[64], name[16] = "";
		int dev, ret;

		if (strncmp(entry->d_name, "accel", 5))
			continue;
		snprintf(candidate, sizeof(candidate), ACCEL "/%.40s", entry->d_name);
		dev = open(candidate, O_RDWR | O_CLOEXEC);
		if (dev < 0)
			continue;
		ret = library->query(dev, name);
		close(dev);
		if (ret >= 0 && !strcmp(name, dsp)) {
			strcpy(path, candidate);
			found = true;
		}
	}
	closedir(dir);
	return found;
}

int open_session(const struct library *library, const char *dsp)
{
	char path[64];

	return find_device(library, dsp, path) ? open(path, library->flags) : -1;
}

int open_process(const struct library *library, const char *dsp)
{
	int dev = open_session(library, dsp);

	if (dev >= 0 && library->create(dev, NULL, 0, NO_BUFFER, UNSIGNED_MODULE, 0)) {
		close(dev);
		return -1;
	}
	return dev;
}

struct argument plain(const void *ptr, size_t length)
{
	return (struct argument) { (uintptr_t)ptr, length, NO_BUFFER, 0 };
}

struct argument part(const struct region *region, size_t offset, size_t length)
{
	return (struct argument) {
		(uintptr_t)region->map + offset, length, length ? region->number : NO_BUFFER, 0,
	};
}

int open_module(const struct library *library, int dev, const char *name, uint32_t *handle)
{
	uint32_t in[2] = { strlen(name) + 1, 255 }, out[2] = { 0 };
	char error[255] = "";
	struct argument args[] = {
		plain(in, sizeof(in)), plain(name, in[0]),
		plain(out, sizeof(out)), plain(error, sizeof(error)),
	};
	int ret = library->invoke(dev, REMOTECTL1, OPEN1, args);

	*handle = out[0];
	return ret ? ret : (int)out[1];
}

int echo(const struct library *library, int dev, uint32_t handle, struct argument from,
	 struct argument to)
{
	struct argument args[] = { from, to };

	return library->invoke(dev, handle, ECHO, args);
}

void fill(void *ptr, size_t length, unsigned int seed)
{
	uint8_t *bytes = ptr;

	for (size_t i = 0; i < length; i++)
		bytes[i] = (i * 2654435761u + seed * 40503u) >> 13;
}

int open_simdsp(const struct library *library, const char *dsp, uint32_t *handle)
{
	int dev = open_process(library, dsp);

	if (dev >= 0 && open_module(library, dev, "simdsp", handle)) {
		close(dev);
		return -1;
	}
	return dev;
}
