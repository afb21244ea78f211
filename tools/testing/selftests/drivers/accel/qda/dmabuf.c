// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include "dmabuf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <drm/drm.h>
#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <linux/udmabuf.h>

int dmabuf_export(int fd, __u32 handle)
{
	struct drm_prime_handle args = { .handle = handle, .flags = DRM_CLOEXEC | DRM_RDWR };

	return ioctl(fd, DRM_IOCTL_PRIME_HANDLE_TO_FD, &args) ? -errno : args.fd;
}

int dmabuf_import(int fd, int dmabuf, __u32 *handle)
{
	struct drm_prime_handle args = { .fd = dmabuf };

	if (ioctl(fd, DRM_IOCTL_PRIME_FD_TO_HANDLE, &args))
		return -errno;
	*handle = args.handle;
	return 0;
}

int dmabuf_alloc(const char *heap, size_t size)
{
	struct dma_heap_allocation_data args = { .len = size, .fd_flags = O_RDWR | O_CLOEXEC };
	char path[64];
	int fd, ret;

	snprintf(path, sizeof(path), "/dev/dma_heap/%s", heap);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = ioctl(fd, DMA_HEAP_IOCTL_ALLOC, &args) ? -errno : (int)args.fd;
	close(fd);
	return ret;
}

int dmabuf_heap(size_t size)
{
	return dmabuf_alloc("system", size);
}

long long dmabuf_views(const char *counter)
{
	char path[64];
	long long value;
	FILE *file;

	snprintf(path, sizeof(path), "/sys/kernel/debug/two-views/%s", counter);
	file = fopen(path, "re");
	if (!file)
		return -ENOENT;
	if (fscanf(file, "%lld", &value) != 1)
		value = -EIO;
	fclose(file);
	return value;
}

int dmabuf_sync(int dmabuf, __u64 flags)
{
	struct dma_buf_sync sync = { .flags = flags };

	return ioctl(dmabuf, DMA_BUF_IOCTL_SYNC, &sync) ? -errno : 0;
}

int dmabuf_udmabuf(size_t size)
{
	size_t page = sysconf(_SC_PAGESIZE), pages = size / page, even = (pages + 1) / 2;
	struct udmabuf_create_list *list;
	int dev = open("/dev/udmabuf", O_RDWR | O_CLOEXEC);
	int memfd = memfd_create("qda", MFD_ALLOW_SEALING | MFD_CLOEXEC);
	int ret = -1;

	list = calloc(1, sizeof(*list) + pages * sizeof(list->list[0]));
	if (list && dev >= 0 && memfd >= 0 && !posix_fallocate(memfd, 0, size) &&
	    !fcntl(memfd, F_ADD_SEALS, F_SEAL_SHRINK)) {
		list->flags = UDMABUF_FLAGS_CLOEXEC;
		list->count = pages;
		/*
		 * The even ones before the odd ones, after all were allocated in their order:
		 * those that are neighbours don't stay it.
		 */
		for (size_t i = 0; i < pages; i++) {
			size_t from = i < even ? 2 * i : 2 * (i - even) + 1;

			list->list[i].memfd = memfd;
			list->list[i].offset = from * page;
			list->list[i].size = page;
		}
		ret = ioctl(dev, UDMABUF_CREATE_LIST, list);
	}
	ret = ret < 0 ? -errno : ret;
	free(list);
	if (memfd >= 0)
		close(memfd);
	if (dev >= 0)
		close(dev);
	return ret;
}
