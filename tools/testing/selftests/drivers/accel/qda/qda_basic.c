// SPDX-License-Identifier: GPL-2.0
/*
 * QDA: which DSP a device is, buffers, and how ioctl numbers and sizes are taken.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "harness.h"
#include "qda.h"

/* First driver ioctl that has no meaning yet. */
#define FIRST_UNKNOWN	(DRM_QDA_REAP + 1)

/* An ioctl of the driver, encoded with a size of the test's own. */
#define SIZED(nr, size)	_IOC(_IOC_READ | _IOC_WRITE, DRM_IOCTL_BASE, DRM_COMMAND_BASE + (nr), size)

FIXTURE(basic)
{
	int fd;
};

FIXTURE_SETUP(basic)
{
	const char *why = qda_test_begin("basic", _metadata->name, false);

	self->fd = -1;
	if (why)
		SKIP(return, "%s", why);
	self->fd = qda_open("cdsp");
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(basic)
{
	close(self->fd);
	EXPECT_EQ(0, qda_test_end());
}

static int gem_create(int fd, __u64 size, __u32 *handle)
{
	/* The older library leaves what was on its stack in the padding. */
	struct drm_qda_gem_create arg = { .size = size, .handle = 77, .pad = 0xdeadbeef };
	int ret = qda_ioctl(fd, DRM_IOCTL_QDA_GEM_CREATE, &arg);

	*handle = arg.handle;
	return ret;
}

TEST_F(basic, two_dsps)
{
	struct drm_qda_query query = { .query_type = QDA_QUERY_DSP_NAME };
	int adsp = qda_open("adsp");

	if (adsp < 0)
		SKIP(return, "this machine has no adsp");
	ASSERT_EQ(0, qda_ioctl(adsp, DRM_IOCTL_QDA_QUERY, &query));
	EXPECT_STREQ("adsp", (char *)query.dsp_name);
	ASSERT_EQ(0, qda_ioctl(self->fd, DRM_IOCTL_QDA_QUERY, &query));
	EXPECT_STREQ("cdsp", (char *)query.dsp_name);
	close(adsp);
}

TEST_F(basic, query)
{
	struct drm_qda_query query;
	static const char name[QDA_NAME_LEN] = "cdsp";

	memset(&query, 0xaa, sizeof(query));
	query.query_type = QDA_QUERY_DSP_NAME;
	query.pad = 0;
	ASSERT_EQ(0, qda_ioctl(self->fd, DRM_IOCTL_QDA_QUERY, &query));
	EXPECT_EQ(0, memcmp(name, query.dsp_name, sizeof(name)));
	EXPECT_EQ(0, query.reserved[0]);
	EXPECT_EQ(0, query.reserved[1]);
}

TEST_F(basic, query_older_library)
{
	union {
		struct drm_qda_query_legacy query;
		__u8 bytes[64];
	} arg;
	static const char name[QDA_NAME_LEN] = "cdsp";

	/* This form has no input: whatever is there must not be read as a query type. */
	memset(&arg, 0xaa, sizeof(arg));
	ASSERT_EQ(20, sizeof(arg.query));
	ASSERT_EQ(0, qda_ioctl(self->fd, QDA_IOCTL_QUERY_A, &arg));
	EXPECT_EQ(0, memcmp(name, arg.query.dsp_name, sizeof(name)));
	EXPECT_EQ(0, arg.query.capabilities);
	EXPECT_TRUE(qda_all(arg.bytes + sizeof(arg.query), sizeof(arg) - sizeof(arg.query), 0xaa));
}

TEST_F(basic, query_refused)
{
	struct drm_qda_query query = { .query_type = 2 };

	EXPECT_EQ(-EINVAL, qda_ioctl(self->fd, DRM_IOCTL_QDA_QUERY, &query));
	query.query_type = ~0u;
	EXPECT_EQ(-EINVAL, qda_ioctl(self->fd, DRM_IOCTL_QDA_QUERY, &query));
	query.query_type = QDA_QUERY_DSP_NAME;
	query.pad = 1;
	EXPECT_EQ(-EINVAL, qda_ioctl(self->fd, DRM_IOCTL_QDA_QUERY, &query));
	EXPECT_EQ(-EFAULT, qda_ioctl(self->fd, DRM_IOCTL_QDA_QUERY, (void *)8));
}

TEST_F(basic, gem_create)
{
	static const size_t sizes[] = { 1, 4095, 4096, 4097, 65536, 1 << 20, (4 << 20) + 1 };
	__u32 seen = 0;

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct qda_buf buf;

		ASSERT_EQ(0, qda_buf_new(self->fd, sizes[i], &buf));
		EXPECT_NE(0, buf.handle);
		/* Zeroed, and whole pages of it are usable. */
		EXPECT_TRUE(qda_all(buf.map, buf.size, 0));
		qda_fill(buf.map, buf.size, i);
		EXPECT_TRUE(qda_filled(buf.map, buf.size, i));
		seen = buf.handle;
		qda_buf_free(&buf);
		EXPECT_EQ(-EINVAL, qda_gem_close(self->fd, seen));
	}
}

TEST_F(basic, gem_create_refused)
{
	__u32 handle;

	EXPECT_EQ(-EINVAL, gem_create(self->fd, 0, &handle));
	EXPECT_EQ(-E2BIG, gem_create(self->fd, qda_max_buffer(self->fd) + 1, &handle));
	EXPECT_EQ(-E2BIG, gem_create(self->fd, 1ULL << 32, &handle));
	EXPECT_EQ(-E2BIG, gem_create(self->fd, 1ULL << 63, &handle));
	EXPECT_EQ(-E2BIG, gem_create(self->fd, ~0ULL, &handle));
	EXPECT_EQ(-E2BIG, gem_create(self->fd, ~0ULL - 4094, &handle));
	EXPECT_EQ(-EFAULT, qda_ioctl(self->fd, DRM_IOCTL_QDA_GEM_CREATE, NULL));
}

TEST_F(basic, gem_create_largest)
{
	__u32 handle;

	/* Costs no memory until it is touched. */
	ASSERT_EQ(0, gem_create(self->fd, qda_max_buffer(self->fd), &handle));
	EXPECT_EQ(0, qda_gem_close(self->fd, handle));
}

TEST_F(basic, mmap_offset_layouts)
{
	struct drm_qda_gem_mmap_offset_legacy a = { 0 };
	struct drm_qda_gem_mmap_offset b = { 0 };
	struct qda_buf buf, other;

	ASSERT_EQ(0, qda_buf_new(self->fd, 8192, &other));
	ASSERT_EQ(0, qda_buf_new(self->fd, 8192, &buf));
	a.handle = buf.handle;
	b.handle = buf.handle;
	ASSERT_EQ(0, qda_ioctl(self->fd, DRM_IOCTL_QDA_GEM_MMAP_OFFSET, &a));
	ASSERT_EQ(0, qda_ioctl(self->fd, DRM_IOCTL_QDA_GEM_MMAP_OFFSET, &b));
	EXPECT_NE(0, a.offset);
	EXPECT_EQ(a.offset, b.offset);
	/* Each form is answered in its own layout. */
	EXPECT_EQ(buf.handle, a.handle);
	EXPECT_EQ(buf.handle, b.handle);
	EXPECT_EQ(0, a.pad);
	EXPECT_EQ(0, b.pad);

	b.offset = 0;
	b.handle = other.handle;
	ASSERT_EQ(0, qda_ioctl(self->fd, DRM_IOCTL_QDA_GEM_MMAP_OFFSET, &b));
	EXPECT_NE(a.offset, b.offset);
	qda_buf_free(&buf);
	qda_buf_free(&other);
}

TEST_F(basic, mmap_offset_refused)
{
	struct drm_qda_gem_mmap_offset_legacy a;
	struct drm_qda_gem_mmap_offset b;
	__u32 handle;

	ASSERT_EQ(0, gem_create(self->fd, 4096, &handle));

	a = (struct drm_qda_gem_mmap_offset_legacy) { .handle = handle, .pad = 1 };
	EXPECT_EQ(-EINVAL, qda_ioctl(self->fd, DRM_IOCTL_QDA_GEM_MMAP_OFFSET, &a));
	b = (struct drm_qda_gem_mmap_offset) { .handle = handle, .pad = 1 };
	EXPECT_EQ(-EINVAL, qda_ioctl(self->fd, DRM_IOCTL_QDA_GEM_MMAP_OFFSET, &b));

	/* Never existed, in both forms; and 0, which never does. */
	a = (struct drm_qda_gem_mmap_offset_legacy) { .handle = handle + 1000 };
	EXPECT_EQ(-ENOENT, qda_ioctl(self->fd, DRM_IOCTL_QDA_GEM_MMAP_OFFSET, &a));
	b = (struct drm_qda_gem_mmap_offset) { .handle = handle + 1000 };
	EXPECT_EQ(-ENOENT, qda_ioctl(self->fd, DRM_IOCTL_QDA_GEM_MMAP_OFFSET, &b));
	b = (struct drm_qda_gem_mmap_offset) { .handle = 0 };
	EXPECT_EQ(-ENOENT, qda_ioctl(self->fd, DRM_IOCTL_QDA_GEM_MMAP_OFFSET, &b));

	/* Closed. */
	ASSERT_EQ(0, qda_gem_close(self->fd, handle));
	b = (struct drm_qda_gem_mmap_offset) { .handle = handle };
	EXPECT_EQ(-ENOENT, qda_ioctl(self->fd, DRM_IOCTL_QDA_GEM_MMAP_OFFSET, &b));
}

TEST_F(basic, mmap_bounds)
{
	size_t page = qda_page_size();
	struct qda_buf buf;
	__u64 offset;
	__u8 *map;

	ASSERT_EQ(0, qda_buf_new(self->fd, 4 * page, &buf));
	ASSERT_EQ(0, qda_mmap_offset(self->fd, buf.handle, &offset));

	EXPECT_EQ(MAP_FAILED, mmap(NULL, 5 * page, PROT_READ, MAP_SHARED, self->fd, offset));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, 4 * page, PROT_READ, MAP_SHARED, self->fd, offset + page));
	/* DRM maps a buffer from its start only. */
	EXPECT_EQ(MAP_FAILED, mmap(NULL, page, PROT_READ, MAP_SHARED, self->fd, offset + page));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, page, PROT_READ, MAP_SHARED, self->fd, 0));

	/* Part of a buffer, seen twice. */
	map = mmap(NULL, 2 * page, PROT_READ, MAP_SHARED, self->fd, offset);
	ASSERT_NE(MAP_FAILED, map);
	qda_fill(buf.map, 2 * page, 3);
	EXPECT_TRUE(qda_filled(map, 2 * page, 3));

	/* A mapping outlives its handle. */
	ASSERT_EQ(0, qda_gem_close(self->fd, buf.handle));
	EXPECT_TRUE(qda_filled(map, 2 * page, 3));
	munmap(map, 2 * page);
	munmap(buf.map, buf.size);
}

TEST_F(basic, handles_are_per_file)
{
	struct qda_buf buf;
	__u64 offset;
	int other;

	ASSERT_EQ(0, qda_buf_new(self->fd, 4096, &buf));
	other = qda_open("cdsp");
	ASSERT_LE(0, other);
	EXPECT_EQ(-ENOENT, qda_mmap_offset(other, buf.handle, &offset));
	ASSERT_EQ(0, qda_mmap_offset(self->fd, buf.handle, &offset));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, buf.size, PROT_READ, MAP_SHARED, other, offset));
	close(other);
	qda_buf_free(&buf);
}

TEST_F(basic, unknown_numbers)
{
	__u8 arg[256] = { 0 };

	for (int nr = FIRST_UNKNOWN; nr < DRM_COMMAND_END - DRM_COMMAND_BASE; nr++) {
		EXPECT_EQ(-EINVAL, qda_ioctl(self->fd, SIZED(nr, 16), arg));
		EXPECT_EQ(-EINVAL, qda_ioctl(self->fd, SIZED(nr, 0), arg));
		EXPECT_EQ(-EINVAL, qda_ioctl(self->fd, SIZED(nr, 128), arg));
	}
	/* Another subsystem's ioctl: the older driver's INVOKE. */
	EXPECT_EQ(-ENOTTY, qda_ioctl(self->fd, _IOWR('R', 3, uint64_t[2]), arg));
}

TEST_F(basic, short_encodings)
{
	__u8 arg[64];
	__u32 *word = (__u32 *)arg;
	__u32 handle;

	/* Only what the caller encoded is read and written; the rest counts as 0. */
	memset(arg, 0xaa, sizeof(arg));
	word[0] = QDA_QUERY_DSP_NAME;
	EXPECT_EQ(0, qda_ioctl(self->fd, SIZED(DRM_QDA_QUERY, 4), arg));
	EXPECT_EQ(QDA_QUERY_DSP_NAME, word[0]);
	EXPECT_TRUE(qda_all(arg + 4, sizeof(arg) - 4, 0xaa));
	word[1] = 0;
	EXPECT_EQ(0, qda_ioctl(self->fd, SIZED(DRM_QDA_QUERY, 16), arg));
	EXPECT_EQ(0, memcmp("cdsp\0\0\0\0", arg + 8, 8));
	EXPECT_TRUE(qda_all(arg + 16, sizeof(arg) - 16, 0xaa));
	EXPECT_EQ(0, qda_ioctl(self->fd, SIZED(DRM_QDA_QUERY, 0), NULL));

	memset(arg, 0xaa, sizeof(arg));
	*(__u64 *)arg = 4096;
	ASSERT_EQ(0, qda_ioctl(self->fd, SIZED(DRM_QDA_GEM_CREATE, 12), arg));
	handle = word[2];
	ASSERT_NE(0, handle);
	EXPECT_EQ(0xaaaaaaaa, word[3]);
	/* No size at all. */
	EXPECT_EQ(-EINVAL, qda_ioctl(self->fd, SIZED(DRM_QDA_GEM_CREATE, 0), arg));
	word[0] = 4096;
	word[1] = 5;
	EXPECT_EQ(0, qda_ioctl(self->fd, SIZED(DRM_QDA_GEM_CREATE, 4), arg));

	/* Eight bytes are the older library's form without room for the offset. */
	word[0] = handle;
	word[1] = 0;
	EXPECT_EQ(0, qda_ioctl(self->fd, SIZED(DRM_QDA_GEM_MMAP_OFFSET, 8), arg));
	word[0] = 0;
	EXPECT_EQ(-ENOENT, qda_ioctl(self->fd, SIZED(DRM_QDA_GEM_MMAP_OFFSET, 8), arg));
	EXPECT_EQ(-ENOENT, qda_ioctl(self->fd, SIZED(DRM_QDA_GEM_MMAP_OFFSET, 0), arg));
	word[2] = handle;
	EXPECT_EQ(0, qda_ioctl(self->fd, SIZED(DRM_QDA_GEM_MMAP_OFFSET, 12), arg));
	EXPECT_EQ(0, qda_gem_close(self->fd, handle));
}

TEST_F(basic, long_encodings)
{
	/* Largest size that a number can carry: longer than the core's stack buffer. */
	static const unsigned int sizes[] = { 41, 128, 129, 4096, 0x3fff };
	__u8 *arg = malloc(0x4000);
	__u32 *word = (__u32 *)arg;

	ASSERT_NE(NULL, arg);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		/* What stands behind the argument is neither looked at nor changed. */
		qda_fill(arg, 0x4000, i);
		word[0] = QDA_QUERY_DSP_NAME;
		word[1] = 0;
		EXPECT_EQ(0, qda_ioctl(self->fd, SIZED(DRM_QDA_QUERY, sizes[i]), arg));
		EXPECT_EQ(0, memcmp("cdsp\0\0\0\0", arg + 8, 8));
		memset(arg, 0, sizeof(struct drm_qda_query));
		qda_fill(arg, sizeof(struct drm_qda_query), i);
		EXPECT_TRUE(qda_filled(arg, 0x4000, i));

		*(__u64 *)arg = 4096;
		ASSERT_EQ(0, qda_ioctl(self->fd, SIZED(DRM_QDA_GEM_CREATE, sizes[i]), arg));
		EXPECT_EQ(0, qda_gem_close(self->fd, word[2]));
		*(__u64 *)arg = 0;
		EXPECT_EQ(-EINVAL, qda_ioctl(self->fd, SIZED(DRM_QDA_GEM_CREATE, sizes[i]), arg));
	}
	free(arg);
}

TEST_F(basic, encodings_that_end_before_the_page)
{
	size_t page = qda_page_size();
	__u8 *map = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct drm_qda_query *query;

	ASSERT_NE(MAP_FAILED, map);
	ASSERT_EQ(0, munmap(map + page, page));
	query = (struct drm_qda_query *)(map + page) - 1;
	query->query_type = QDA_QUERY_DSP_NAME;
	EXPECT_EQ(0, qda_ioctl(self->fd, DRM_IOCTL_QDA_QUERY, query));
	EXPECT_STREQ("cdsp", (char *)query->dsp_name);
	query++;
	query = (void *)query - 39;
	EXPECT_EQ(-EFAULT, qda_ioctl(self->fd, DRM_IOCTL_QDA_QUERY, query));
	munmap(map, page);
}

TEST_HARNESS_MAIN
