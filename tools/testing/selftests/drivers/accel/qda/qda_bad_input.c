// SPDX-License-Identifier: GPL-2.0
/*
 * QDA: calls that make no sense, each refused with the error that the header documents.
 *
 * Nothing of this reaches a module of the DSP, so that it means something on hardware too.
 */
#include <errno.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "harness.h"
#include "module.h"
#include "qda.h"
#include "simdsp.h"

/* Opened by nobody: the DSP refuses what the driver lets through. */
#define NO_MODULE	0x7ffffff0

/* An address that belongs to the kernel on every 64-bit machine. */
#define KERNEL_ADDRESS	0xffff800000000000ULL

FIXTURE(bad_input)
{
	int fd;
	struct qda_buf buf;
	long long messages;
	bool watched;
};

FIXTURE_SETUP(bad_input)
{
	const char *why = qda_test_begin("bad_input", _metadata->name, false);

	self->fd = -1;
	if (why)
		SKIP(return, "%s", why);
	self->fd = qda_open_process("cdsp");
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, qda_buf_new(self->fd, 4 * qda_page_size(), &self->buf));
	self->messages = simdsp_stat("cdsp", "messages");
}

FIXTURE_TEARDOWN(bad_input)
{
	__u32 handle;

	if (self->fd >= 0) {
		/* Whatever was tried, the session still works. */
		EXPECT_EQ(0, calculator_open(self->fd, &handle));
		EXPECT_EQ(0, qda_remote_close(self->fd, handle));
		qda_buf_free(&self->buf);
		close(self->fd);
	}
	EXPECT_EQ(0, qda_test_end());
}

/* A call with one argument. */
static int one(int fd, __u32 sc, __u64 ptr, __u64 length, __u32 handle)
{
	struct drm_qda_invoke_arg arg = { .ptr = ptr, .length = length, .handle = handle };

	return qda_invoke(fd, NO_MODULE, sc, &arg);
}

#define IN	QDA_SCALARS(2, 1, 0)
#define OUT	QDA_SCALARS(2, 0, 1)

/* Refused before anything was sent. */
#define EXPECT_REFUSED(error, call) do { \
	EXPECT_EQ(-(error), call); \
	EXPECT_EQ(self->messages, simdsp_stat("cdsp", "messages")); \
} while (0)

TEST_F(bad_input, kernel_handle)
{
	/* Every method of it, among them the one that releases another's session. */
	for (int method = 0; method < 32; method++) {
		struct drm_qda_invoke_arg arg = qda_inline(&method, 4);

		EXPECT_REFUSED(EPERM, qda_invoke(self->fd, QDA_HANDLE_KERNEL,
						 QDA_SCALARS(method, 1, 0), &arg));
		EXPECT_REFUSED(EPERM, qda_invoke(self->fd, QDA_HANDLE_KERNEL,
						 QDA_SCALARS(method, 0, 0), NULL));
	}
}

TEST_F(bad_input, argument_array)
{
	size_t page = qda_page_size(), size = sizeof(struct drm_qda_invoke_arg);
	__u8 *map = mmap(NULL, 4 * page, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	__u8 *hole = map + page;

	ASSERT_NE(MAP_FAILED, map);
	ASSERT_EQ(0, munmap(hole, page));

	EXPECT_REFUSED(EFAULT, qda_invoke(self->fd, NO_MODULE, IN, NULL));
	EXPECT_REFUSED(EFAULT, qda_invoke(self->fd, NO_MODULE, IN, (void *)8));
	EXPECT_REFUSED(EFAULT, qda_invoke(self->fd, NO_MODULE, OUT, (void *)KERNEL_ADDRESS));
	EXPECT_REFUSED(EFAULT, qda_invoke(self->fd, NO_MODULE, OUT, (void *)-1L));
	EXPECT_REFUSED(EFAULT, qda_invoke(self->fd, NO_MODULE, IN, (void *)hole));

	/* Scalars that promise more than the array holds. */
	EXPECT_REFUSED(EFAULT, qda_invoke(self->fd, NO_MODULE, QDA_SCALARS(2, 2, 0),
					  (void *)(hole - size)));
	EXPECT_REFUSED(EFAULT, qda_invoke(self->fd, NO_MODULE, QDA_SCALARS(2, 1, 1),
					  (void *)(hole - size)));
	EXPECT_REFUSED(EFAULT, qda_invoke(self->fd, NO_MODULE, QDA_SCALARS(2, 255, 255),
					  (void *)(hole - size)));
	/* The last byte of it is missing. */
	EXPECT_REFUSED(EFAULT, qda_invoke(self->fd, NO_MODULE, IN, (void *)(hole - size + 1)));
	munmap(map, page);
	munmap(map + 2 * page, 2 * page);
}

TEST_F(bad_input, handle_arguments)
{
	static struct drm_qda_invoke_arg args[255 + 255 + 15 + 15];

	/* In handles, out handles, and as many of everything as scalars can say. */
	EXPECT_REFUSED(ENOENT, qda_invoke(self->fd, NO_MODULE, 0x02000010, args));
	EXPECT_REFUSED(ENOENT, qda_invoke(self->fd, NO_MODULE, 0x02000001, args));
	EXPECT_REFUSED(ENOENT, qda_invoke(self->fd, NO_MODULE, 0x02ffffff, args));
	EXPECT_REFUSED(ENOENT, qda_invoke(self->fd, NO_MODULE, 0xffffffff, args));
}

TEST_F(bad_input, inline_in)
{
	size_t page = qda_page_size();
	__u8 *map = mmap(NULL, 3 * page, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	__u8 good[64] = { 0 };
	struct drm_qda_invoke_arg args[2];

	ASSERT_NE(MAP_FAILED, map);
	ASSERT_EQ(0, munmap(map + page, page));

	EXPECT_REFUSED(EFAULT, one(self->fd, IN, 0, 4, 0));
	EXPECT_REFUSED(EFAULT, one(self->fd, IN, 8, 4, 0));
	EXPECT_REFUSED(EFAULT, one(self->fd, IN, 4095, 1, 0));
	EXPECT_REFUSED(EFAULT, one(self->fd, IN, KERNEL_ADDRESS, 4, 0));
	EXPECT_REFUSED(EFAULT, one(self->fd, IN, ~0ULL, 1, 0));
	EXPECT_REFUSED(EFAULT, one(self->fd, IN, ~0ULL - 3, 64, 0));
	/* A hole in the middle, at the end, and nothing else. */
	EXPECT_REFUSED(EFAULT, one(self->fd, IN, (uintptr_t)map, 3 * page, 0));
	EXPECT_REFUSED(EFAULT, one(self->fd, IN, (uintptr_t)map + page - 1, 2, 0));
	EXPECT_REFUSED(EFAULT, one(self->fd, IN, (uintptr_t)map + page, page, 0));
	/* Not the first argument. */
	args[0] = qda_inline(good, sizeof(good));
	args[1] = qda_inline(map + page, 1);
	EXPECT_REFUSED(EFAULT, qda_invoke(self->fd, NO_MODULE, QDA_SCALARS(2, 2, 0), args));
	/* Memory that may not be read. */
	ASSERT_EQ(0, mprotect(map, page, PROT_NONE));
	EXPECT_REFUSED(EFAULT, one(self->fd, IN, (uintptr_t)map, 4, 0));
	munmap(map, page);
	munmap(map + 2 * page, page);
}

TEST_F(bad_input, inline_out)
{
	/* Found out when the result comes back, or before: the error is the same. */
	size_t page = qda_page_size();
	__u8 *map = mmap(NULL, 3 * page, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT_NE(MAP_FAILED, map);
	ASSERT_EQ(0, munmap(map + page, page));

	EXPECT_EQ(-EFAULT, one(self->fd, OUT, 0, 4, 0));
	EXPECT_EQ(-EFAULT, one(self->fd, OUT, 8, 4, 0));
	EXPECT_EQ(-EFAULT, one(self->fd, OUT, KERNEL_ADDRESS, 4, 0));
	EXPECT_EQ(-EFAULT, one(self->fd, OUT, ~0ULL, 1, 0));
	EXPECT_EQ(-EFAULT, one(self->fd, OUT, (uintptr_t)map, 3 * page, 0));
	EXPECT_EQ(-EFAULT, one(self->fd, OUT, (uintptr_t)map + page - 1, 2, 0));
	EXPECT_EQ(-EFAULT, one(self->fd, OUT, (uintptr_t)map + page, page, 0));
	/* Memory that may only be read. */
	ASSERT_EQ(0, mprotect(map, page, PROT_READ));
	EXPECT_EQ(-EFAULT, one(self->fd, OUT, (uintptr_t)map, 4, 0));
	EXPECT_TRUE(qda_all(map, page, 0));
	munmap(map, page);
	munmap(map + 2 * page, page);
}

TEST_F(bad_input, inline_sizes)
{
	struct drm_qda_invoke_arg args[3] = { 0 };
	__u8 byte = 0;

	EXPECT_REFUSED(E2BIG, one(self->fd, IN, (uintptr_t)&byte, QDA_MAX_INLINE_SIZE + 1, 0));
	EXPECT_REFUSED(E2BIG, one(self->fd, OUT, (uintptr_t)&byte, QDA_MAX_INLINE_SIZE + 1, 0));
	EXPECT_REFUSED(E2BIG, one(self->fd, IN, (uintptr_t)&byte, 1ULL << 32, 0));
	EXPECT_REFUSED(E2BIG, one(self->fd, IN, (uintptr_t)&byte, ~0ULL, 0));
	EXPECT_REFUSED(E2BIG, one(self->fd, IN, 0, ~0ULL, -1));
	/* Sums that wrap around. */
	args[0] = qda_inline(&byte, 1);
	args[0].length = ~0ULL;
	args[1] = qda_inline(&byte, 2);
	EXPECT_REFUSED(E2BIG, qda_invoke(self->fd, NO_MODULE, QDA_SCALARS(2, 2, 0), args));
	args[0].length = 1ULL << 63;
	args[1].length = 1ULL << 63;
	args[2] = qda_inline(&byte, 1);
	EXPECT_REFUSED(E2BIG, qda_invoke(self->fd, NO_MODULE, QDA_SCALARS(2, 2, 1), args));
	args[0].length = QDA_MAX_INLINE_SIZE - 1;
	args[1].length = 1;
	EXPECT_REFUSED(E2BIG, qda_invoke(self->fd, NO_MODULE, QDA_SCALARS(2, 1, 2), args));
}

TEST_F(bad_input, no_such_buffer)
{
	struct qda_buf *buf = &self->buf;
	struct qda_buf closed;

	/* Never existed: among them what was an fd to somebody. */
	EXPECT_REFUSED(ENOENT, one(self->fd, IN, (uintptr_t)buf->map, 4, buf->handle + 100));
	EXPECT_REFUSED(ENOENT, one(self->fd, OUT, (uintptr_t)buf->map, 4, buf->handle + 100));
	EXPECT_REFUSED(ENOENT, one(self->fd, IN, (uintptr_t)buf->map, 4, 0x7fffffff));
	EXPECT_REFUSED(ENOENT, one(self->fd, IN, (uintptr_t)buf->map, 4, (__u32)-2));

	/* Closed, though still mapped. */
	ASSERT_EQ(0, qda_buf_new(self->fd, 4096, &closed));
	ASSERT_EQ(0, qda_gem_close(self->fd, closed.handle));
	EXPECT_REFUSED(ENOENT, one(self->fd, IN, (uintptr_t)closed.map, 4, closed.handle));
	munmap(closed.map, closed.size);
}

TEST_F(bad_input, buffer_of_another_file)
{
	int other = qda_open("cdsp");
	struct qda_buf buf;

	/* Handles are numbers of one file; make sure that this one means nothing here. */
	ASSERT_LE(0, other);
	ASSERT_EQ(0, qda_buf_new(other, 4096, &buf));
	ASSERT_EQ(0, qda_gem_close(other, buf.handle));
	munmap(buf.map, buf.size);
	for (int i = 0; i < 8; i++) {
		ASSERT_EQ(0, qda_buf_new(other, 4096, &buf));
		if (i < 7)
			munmap(buf.map, buf.size);
	}
	EXPECT_NE(self->buf.handle, buf.handle);
	EXPECT_REFUSED(ENOENT, one(self->fd, IN, (uintptr_t)buf.map, 4, buf.handle));
	/* And a handle of here with a mapping from there. */
	EXPECT_REFUSED(EINVAL, one(self->fd, IN, (uintptr_t)buf.map, 4, self->buf.handle));
	munmap(buf.map, buf.size);
	close(other);
}

TEST_F(bad_input, pointer_outside_the_buffer)
{
	struct qda_buf *buf = &self->buf, other;
	size_t page = qda_page_size();
	__u8 *anon = mmap(NULL, page, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT_NE(MAP_FAILED, anon);
	ASSERT_EQ(0, qda_buf_new(self->fd, 4 * page, &other));
	/* Where nothing is. */
	EXPECT_REFUSED(EFAULT, one(self->fd, IN, 0, 4, buf->handle));
	EXPECT_REFUSED(EFAULT, one(self->fd, IN, 8, 4, buf->handle));
	EXPECT_REFUSED(EFAULT, one(self->fd, OUT, 8, 4, buf->handle));
	EXPECT_REFUSED(EFAULT, one(self->fd, IN, KERNEL_ADDRESS, 4, buf->handle));
	EXPECT_REFUSED(EFAULT, one(self->fd, IN, ~0ULL, 1, buf->handle));
	/* Where something else is. */
	EXPECT_REFUSED(EINVAL, one(self->fd, IN, (uintptr_t)anon, 4, buf->handle));
	EXPECT_REFUSED(EINVAL, one(self->fd, IN, (uintptr_t)other.map, 4, buf->handle));
	EXPECT_REFUSED(EINVAL, one(self->fd, OUT, (uintptr_t)buf->map, 4, other.handle));

	/* Where the buffer was. */
	munmap(anon, page);
	ASSERT_EQ(0, munmap(other.map + page, page));
	EXPECT_REFUSED(EFAULT, one(self->fd, IN, (uintptr_t)other.map + page, 4, other.handle));
	munmap(other.map, page);
	munmap(other.map + 2 * page, 2 * page);
	EXPECT_EQ(0, qda_gem_close(self->fd, other.handle));
}

TEST_F(bad_input, past_the_end_of_the_buffer)
{
	struct qda_buf *buf = &self->buf;
	uintptr_t end = (uintptr_t)buf->map + buf->size;
	int error;

	EXPECT_REFUSED(EINVAL, one(self->fd, IN, end - buf->size, buf->size + 1, buf->handle));
	EXPECT_REFUSED(EINVAL, one(self->fd, OUT, end - 1, 2, buf->handle));
	EXPECT_REFUSED(EINVAL, one(self->fd, IN, end - 4096, 4097, buf->handle));
	EXPECT_REFUSED(EINVAL, one(self->fd, IN, end - 4096, 1 << 30, buf->handle));

	/* Both rules are broken; either may speak. */
	error = one(self->fd, IN, end - 4096, (1ULL << 32) + 1, buf->handle);
	EXPECT_TRUE(error == -E2BIG || error == -EINVAL);
	error = one(self->fd, IN, end - 4096, ~0ULL, buf->handle);
	EXPECT_TRUE(error == -E2BIG || error == -EINVAL);
	error = one(self->fd, OUT, end - 4096, ~0ULL - 4095, buf->handle);
	EXPECT_TRUE(error == -E2BIG || error == -EINVAL);
	EXPECT_EQ(self->messages, simdsp_stat("cdsp", "messages"));
}

TEST_F(bad_input, one_bad_among_many)
{
	/* Whichever it is, nothing of the others is kept. */
	struct drm_qda_invoke_arg args[40], good[40];
	__u8 data[64] = { 0 };

	for (int i = 0; i < 40; i++)
		good[i] = i % 2 ? qda_inline(data, 64) : qda_ref(&self->buf, 100 * i, 100);
	for (int i = 0; i < 40; i++) {
		memcpy(args, good, sizeof(args));
		args[i].handle = self->buf.handle + 1000;
		EXPECT_REFUSED(ENOENT, qda_invoke(self->fd, NO_MODULE, QDA_SCALARS(2, 20, 20),
						  args));
	}
}

TEST_F(bad_input, call_structure)
{
	size_t page = qda_page_size();
	__u8 *map = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct drm_qda_invoke *call;

	ASSERT_NE(MAP_FAILED, map);
	ASSERT_EQ(0, munmap(map + page, page));
	call = (struct drm_qda_invoke *)(map + page) - 1;
	*call = (struct drm_qda_invoke) { .handle = QDA_HANDLE_KERNEL };
	/* The header's encoding reads its 16 bytes; the library's reads 24, which end in a hole. */
	EXPECT_REFUSED(EPERM, qda_ioctl(self->fd, DRM_IOCTL_QDA_INVOKE, call));
	EXPECT_REFUSED(EFAULT, qda_ioctl(self->fd, QDA_IOCTL_INVOKE_LIB, call));
	EXPECT_REFUSED(EFAULT, qda_ioctl(self->fd, DRM_IOCTL_QDA_INVOKE, NULL));
	EXPECT_REFUSED(EFAULT, qda_ioctl(self->fd, DRM_IOCTL_QDA_INVOKE, (void *)KERNEL_ADDRESS));

	/* Encoded with 8 bytes it has no array; with none it calls method 0 of handle 0. */
	call->handle = NO_MODULE;
	call->sc = IN;
	call->args = ~0ULL;
	EXPECT_REFUSED(EFAULT, qda_ioctl(self->fd, _IOC(_IOC_WRITE, 'd', 0x47, 8), call));
	munmap(map, page);
}

TEST_F(bad_input, create_encodings)
{
	struct drm_qda_init_create arg[2] = {
		{ .attrs = QDA_PROC_ATTR_UNSIGNED, .file = 8 },
		{ .filelen = ~0u, .siglen = ~0u },
	};
	static const unsigned int sizes[] = { 12, 16, 24, 48 };

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		int fd = qda_open("cdsp");

		ASSERT_LE(0, fd);
		/* What isn't passed is 0, what is passed beyond isn't looked at. */
		EXPECT_EQ(0, qda_ioctl(fd, _IOC(_IOC_READ | _IOC_WRITE, 'd', 0x44, sizes[i]), arg));
		close(fd);
	}
}

TEST_HARNESS_MAIN
