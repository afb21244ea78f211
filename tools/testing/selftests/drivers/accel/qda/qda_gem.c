// SPDX-License-Identifier: GPL-2.0
/*
 * QDA: where the memory of buffers comes from, and how much of it there is.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "dmabuf.h"
#include "fixture.h"
#include "harness.h"
#include "module.h"
#include "qda.h"
#include "simdsp.h"

#define SIZE	200000
#define GIB	(1024 * 1024 * 1024ULL)

FIXTURE(gem)
{
	int fd;
	__u32 handle;
};

FIXTURE_SETUP(gem)
{
	fixture_setup(_metadata, &self->fd, &self->handle);
}

FIXTURE_TEARDOWN(gem)
{
	fixture_teardown(_metadata, self->fd);
}

/* Allocates from a backend and maps. Return: the flag of the backend that it is from, or -errno. */
static int create(int fd, __u64 size, __u32 flags, struct qda_buf *buf)
{
	struct drm_qda_buffer_create args = { .size = size, .flags = flags };
	__u64 offset;
	int ret;

	ret = qda_ioctl(fd, DRM_IOCTL_QDA_BUFFER_CREATE, &args);
	if (ret)
		return ret;
	buf->fd = fd;
	buf->handle = args.handle;
	buf->size = (size + qda_page_size() - 1) / qda_page_size() * qda_page_size();
	ret = qda_mmap_offset(fd, args.handle, &offset);
	if (ret)
		return ret;
	buf->map = mmap(NULL, buf->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);
	if (buf->map == MAP_FAILED)
		return -errno;
	return args.flags;
}

static int sync_buffer(int fd, __u32 handle, __u32 flags)
{
	struct drm_qda_buffer_sync args = { .handle = handle, .flags = flags };

	return qda_ioctl(fd, DRM_IOCTL_QDA_BUFFER_SYNC, &args);
}

static int sync_dmabuf(int dmabuf, __u64 flags)
{
	struct dma_buf_sync args = { .flags = flags };

	return ioctl(dmabuf, DMA_BUF_IOCTL_SYNC, &args) ? -errno : 0;
}

static int invert(int fd, __u32 handle, const struct qda_buf *buf)
{
	struct drm_qda_invoke_arg args[2] = {
		qda_ref(buf, 0, buf->size / 2), qda_ref(buf, buf->size / 2, buf->size / 2),
	};

	return qda_invoke(fd, handle, QDA_SCALARS(SIMDSP_INVERT, 1, 1), args);
}

static bool inverted(const struct qda_buf *buf)
{
	for (size_t i = 0; i < buf->size / 2; i++) {
		if ((__u8)~buf->map[i] != buf->map[buf->size / 2 + i])
			return false;
	}
	return true;
}

TEST_F(gem, every_backend)
{
	static const __u32 flags[] = {
		0, QDA_BUFFER_WRITE_COMBINED, QDA_BUFFER_CACHED, QDA_BUFFER_POOL,
	};

	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		struct qda_buf buf;
		int ret = create(self->fd, SIZE, flags[i], &buf);

		/* Not every DSP has these: write-combined ones that do not see the caches. */
		if ((flags[i] == QDA_BUFFER_POOL || flags[i] == QDA_BUFFER_WRITE_COMBINED) &&
		    ret == -EOPNOTSUPP)
			continue;
		ASSERT_LT(0, ret);
		if (flags[i])
			EXPECT_EQ((int)flags[i], ret);
		EXPECT_TRUE(qda_all(buf.map, buf.size, 0));
		for (int round = 0; round < 3; round++) {
			ASSERT_EQ(0, sync_buffer(self->fd, buf.handle,
						 QDA_SYNC_READ | QDA_SYNC_WRITE));
			qda_fill(buf.map, buf.size / 2, round);
			ASSERT_EQ(0, sync_buffer(self->fd, buf.handle,
						 QDA_SYNC_READ | QDA_SYNC_WRITE | QDA_SYNC_END));
			ret = invert(self->fd, self->handle, &buf);
			/* Scattered pages are no use for a bank that is not behind an IOMMU. */
			if (ret == -EOPNOTSUPP && flags[i] && flags[i] != QDA_BUFFER_POOL)
				break;
			ASSERT_EQ(0, ret);
			ASSERT_EQ(0, sync_buffer(self->fd, buf.handle, QDA_SYNC_READ));
			EXPECT_TRUE(inverted(&buf));
			ASSERT_EQ(0, sync_buffer(self->fd, buf.handle,
						 QDA_SYNC_READ | QDA_SYNC_END));
		}
		qda_buf_free(&buf);
	}
}

TEST_F(gem, sync_of_a_dma_buf)
{
	struct qda_buf buf;
	int dmabuf;

	ASSERT_EQ(QDA_BUFFER_CACHED, create(self->fd, SIZE, QDA_BUFFER_CACHED, &buf));
	dmabuf = dmabuf_export(self->fd, buf.handle);
	ASSERT_LE(0, dmabuf);
	EXPECT_EQ(0, sync_dmabuf(dmabuf, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW));
	qda_fill(buf.map, buf.size / 2, 5);
	EXPECT_EQ(0, sync_dmabuf(dmabuf, DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW));
	ASSERT_EQ(0, invert(self->fd, self->handle, &buf));
	EXPECT_EQ(0, sync_dmabuf(dmabuf, DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ));
	EXPECT_TRUE(inverted(&buf));
	EXPECT_EQ(0, sync_dmabuf(dmabuf, DMA_BUF_SYNC_END | DMA_BUF_SYNC_READ));
	close(dmabuf);
	qda_buf_free(&buf);
}

TEST_F(gem, sync_of_an_import)
{
	int dmabuf = dmabuf_heap(4096);
	__u32 handle;

	if (dmabuf == -ENOENT)
		SKIP(return, "no /dev/dma_heap/system");
	ASSERT_LE(0, dmabuf);
	ASSERT_EQ(0, dmabuf_import(self->fd, dmabuf, &handle));
	EXPECT_EQ(0, sync_buffer(self->fd, handle, QDA_SYNC_READ));
	EXPECT_EQ(0, sync_buffer(self->fd, handle, QDA_SYNC_READ | QDA_SYNC_END));
	EXPECT_EQ(0, qda_gem_close(self->fd, handle));
	close(dmabuf);
}

static long page_faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt;
}

static __u32 word(const __u8 *at)
{
	return __atomic_load_n((const __u32 *)at, __ATOMIC_RELAXED);
}

static void set_word(__u8 *at, __u32 value)
{
	__atomic_store_n((__u32 *)at, value, __ATOMIC_RELAXED);
}

static void fill_pages(__u8 *map, size_t size)
{
	for (size_t i = 0; i < size; i += qda_page_size())
		__atomic_store_n(&map[i], i / qda_page_size(), __ATOMIC_RELAXED);
}

/* How many pages do not have what fill_pages() writes; @faults: how many faults it took to see. */
static long wrong_pages(const __u8 *map, size_t size, long *faults)
{
	long before = page_faults(), wrong = 0;

	for (size_t i = 0; i < size; i += qda_page_size())
		wrong += __atomic_load_n(&map[i], __ATOMIC_RELAXED) !=
			 (__u8)(i / qda_page_size());
	*faults = page_faults() - before;
	return wrong;
}

/* Maps a file at an address that no huge page begins at. */
static void *map_askew(int fd, size_t size)
{
	const size_t huge = 2 << 20;
	size_t room = size + huge + qda_page_size();
	uintptr_t at;
	void *map = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (map == MAP_FAILED)
		return map;
	at = ((uintptr_t)map + huge - 1) / huge * huge + qda_page_size();
	munmap(map, room);
	return mmap((void *)at, size, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0);
}

/*
 * To look at a buffer takes a fault for a huge page, and none for what is not huge, or not aligned
 * to one: by the file of a dma-buf, mappings begin anywhere. A first write takes another where a
 * CPU does not note by itself that a page is dirty.
 */
TEST_F(gem, few_page_faults)
{
	const size_t sizes[] = {
		qda_page_size(), 1 << 20, (4 << 20) + 12 * qda_page_size(), 64 << 20,
	};
	/* What else the program does. */
	const long spare = 8;

	for (int i = 0; i < 4; i++) {
		struct qda_buf buf;
		long faults;
		void *view;
		int fd;

		ASSERT_LE(0, create(self->fd, sizes[i], 0, &buf));
		wrong_pages(buf.map, buf.size, &faults);
		TH_LOG("%zu bytes: %ld faults", buf.size, faults);
		EXPECT_LE(faults, (long)(buf.size / (2 << 20)) + spare);
		fill_pages(buf.map, buf.size);
		EXPECT_EQ(0, wrong_pages(buf.map, buf.size, &faults));

		fd = dmabuf_export(self->fd, buf.handle);
		ASSERT_LE(0, fd);
		view = map_askew(fd, buf.size);
		ASSERT_NE(MAP_FAILED, view);
		EXPECT_EQ(0, wrong_pages(view, buf.size, &faults));
		TH_LOG("%zu bytes of a dma-buf: %ld faults", buf.size, faults);
		EXPECT_LE(faults, spare);
		EXPECT_EQ(0, munmap(view, buf.size));
		close(fd);
		qda_buf_free(&buf);
	}
}

/* A mapping of a part of a dma-buf has that part's pages, wherever they are in a huge one. */
TEST_F(gem, part_of_a_dma_buf)
{
	const size_t page = qda_page_size(), size = 8 << 20;
	const size_t parts[][2] = {
		{ page, page }, { size / 4 - page, 2 * page }, { size / 4, size / 4 },
		{ size / 4 + page, size / 2 }, { size - page, page },
	};
	struct qda_buf buf;
	int fd;

	ASSERT_LE(0, create(self->fd, size, 0, &buf));
	for (size_t i = 0; i < size; i += page)
		set_word(buf.map + i, i);
	fd = dmabuf_export(self->fd, buf.handle);
	ASSERT_LE(0, fd);
	for (size_t n = 0; n < ARRAY_SIZE(parts); n++) {
		size_t start = parts[n][0], length = parts[n][1];
		__u8 *view = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, start);

		ASSERT_NE(MAP_FAILED, (void *)view);
		for (size_t i = 0; i < length; i += page)
			ASSERT_EQ(start + i, word(view + i));
		set_word(view + length - 4, n + 1);
		EXPECT_EQ(n + 1, word(buf.map + start + length - 4));
		EXPECT_EQ(0, munmap(view, length));
	}
	close(fd);
	qda_buf_free(&buf);
}

TEST_F(gem, bad_input)
{
	struct drm_qda_buffer_create good = { .size = 4096 }, args;
	struct qda_buf buf;

#define REFUSED_WITH(error, field, value) do { \
		args = good; \
		args.field = value; \
		EXPECT_EQ(-(error), qda_ioctl(self->fd, DRM_IOCTL_QDA_BUFFER_CREATE, &args)); \
	} while (0)
	REFUSED_WITH(EINVAL, size, 0);
	REFUSED_WITH(E2BIG, size, qda_max_buffer(self->fd) + 1);
	REFUSED_WITH(E2BIG, size, -1);
	REFUSED_WITH(EINVAL, flags, QDA_BUFFER_CACHED | QDA_BUFFER_WRITE_COMBINED);
	REFUSED_WITH(EINVAL, flags, 1 << 3);
	REFUSED_WITH(EINVAL, flags, 1U << 31);
	REFUSED_WITH(EINVAL, handle, 1);
	REFUSED_WITH(EINVAL, pad, 1);
#undef REFUSED_WITH

	ASSERT_EQ(0, qda_buf_new(self->fd, 4096, &buf));
	EXPECT_EQ(-EINVAL, sync_buffer(self->fd, buf.handle, 0));
	EXPECT_EQ(-EINVAL, sync_buffer(self->fd, buf.handle, QDA_SYNC_END));
	EXPECT_EQ(-EINVAL, sync_buffer(self->fd, buf.handle, QDA_SYNC_READ | 8));
	EXPECT_EQ(-ENOENT, sync_buffer(self->fd, buf.handle + 99, QDA_SYNC_READ));
	qda_buf_free(&buf);
	EXPECT_EQ(-ENOENT, sync_buffer(self->fd, buf.handle, QDA_SYNC_READ));
}

TEST_F(gem, no_more_than_a_bank_can_address)
{
	struct drm_qda_gem_create args = { .size = qda_max_buffer(self->fd) };
	__u32 handles[16];
	int count, other;

	/* Nothing is allocated yet: only what it could become counts. */
	for (count = 0; count < 16; count++) {
		int ret = qda_ioctl(self->fd, DRM_IOCTL_QDA_GEM_CREATE, &args);

		if (ret == -EOPNOTSUPP || ret == -ENOMEM)
			SKIP(return, "the memory of this DSP is allocated at once");
		if (ret) {
			EXPECT_EQ(-ENOSPC, ret);
			break;
		}
		handles[count] = args.handle;
	}
	/* 4 GiB, or 16 where addresses have 34 bits. */
	EXPECT_TRUE(count * args.size == 4 * GIB || count * args.size == 16 * GIB);
	EXPECT_EQ((long long)(count * args.size / 1024), qda_fdinfo(self->fd, "qda-buffers"));
	args.size = 1;
	EXPECT_EQ(-ENOSPC, qda_ioctl(self->fd, DRM_IOCTL_QDA_GEM_CREATE, &args));

	/* Other files have accounts of their own. */
	other = qda_open("cdsp");
	ASSERT_LE(0, other);
	EXPECT_EQ(0, qda_ioctl(other, DRM_IOCTL_QDA_GEM_CREATE, &args));
	close(other);

	while (count--)
		EXPECT_EQ(0, qda_gem_close(self->fd, handles[count]));
	EXPECT_EQ(0, qda_fdinfo(self->fd, "qda-buffers"));
	EXPECT_EQ(0, qda_ioctl(self->fd, DRM_IOCTL_QDA_GEM_CREATE, &args));
}

TEST_F(gem, more_than_there_is)
{
	struct drm_qda_gem_create args = { .size = qda_max_buffer(self->fd) };
	struct drm_qda_mem_map map = { .request = QDA_MAP_REQUEST_ATTR, .flags = QDA_MAP_FD };
	__u64 offset;
	void *ptr;

	if ((__u64)sysconf(_SC_PHYS_PAGES) * qda_page_size() >= args.size)
		SKIP(return, "this machine has enough memory");
	if (qda_ioctl(self->fd, DRM_IOCTL_QDA_GEM_CREATE, &args) == -ENOMEM)
		return;
	/* An errno, and nobody is killed for it. */
	map.handle = args.handle;
	map.size = args.size;
	EXPECT_EQ(-ENOMEM, qda_ioctl(self->fd, DRM_IOCTL_QDA_MAP, &map));
	ASSERT_EQ(0, qda_mmap_offset(self->fd, args.handle, &offset));
	ptr = mmap(NULL, args.size, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd, offset);
	EXPECT_EQ((void *)MAP_FAILED, ptr);
	EXPECT_EQ(ENOMEM, errno);
	EXPECT_EQ(0, qda_gem_close(self->fd, args.handle));
}

TEST_HARNESS_MAIN
