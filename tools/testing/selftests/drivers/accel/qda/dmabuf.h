/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Buffers that come from, or go to, the rest of the system as dma-bufs.
 */
#ifndef DMABUF_H
#define DMABUF_H

#include <stddef.h>

#include <linux/types.h>

/** dmabuf_export() - make a file descriptor for a GEM handle. Return: it, or -errno. */
int dmabuf_export(int fd, __u32 handle);

/** dmabuf_import() - make a GEM handle for a dma-buf. Return: 0 or -errno. */
int dmabuf_import(int fd, int dmabuf, __u32 *handle);

/** dmabuf_alloc() - allocate from a heap. Return: a file descriptor, or -errno. */
int dmabuf_alloc(const char *heap, size_t size);

/** dmabuf_heap() - allocate from the system heap. Return: a file descriptor, or -errno. */
int dmabuf_heap(size_t size);

/**
 * dmabuf_udmabuf() - make a dma-buf of scattered pages of a memfd
 * @size: bytes, whole pages, at most 1,024 of them
 *
 * Return: a file descriptor, or -errno; -ENOENT where the kernel has no udmabuf.
 */
int dmabuf_udmabuf(size_t size);

/*
 * Heaps of a module for tests, qda_two_views: the CPU and a device that is not coherent see what
 * the other one writes only after the cache maintenance that real hardware needs. Buffers of the
 * second heap have it only with map and unmap.
 */
#define HEAP_TWO_VIEWS		"two-views"
#define HEAP_NO_SYNC		"two-views-no-sync"

/** dmabuf_views() - a number that these heaps count. Return: it, or -ENOENT without them. */
long long dmabuf_views(const char *counter);

/** dmabuf_sync() - DMA_BUF_IOCTL_SYNC. Return: 0 or -errno. */
int dmabuf_sync(int dmabuf, __u64 flags);

#endif /* DMABUF_H */
