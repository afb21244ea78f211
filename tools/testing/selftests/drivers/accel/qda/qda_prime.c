// SPDX-License-Identifier: GPL-2.0
/*
 * QDA: buffers that come from elsewhere, by dma-buf.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"

#include "dmabuf.h"
#include "module.h"
#include "qda.h"
#include "simdsp.h"

#define SIZE	300000

FIXTURE(prime)
{
	int fd;
	int other;
	__u32 handle;
};

FIXTURE_SETUP(prime)
{
	const char *why = qda_test_begin("prime", _metadata->name, true);

	self->fd = -1;
	self->other = -1;
	if (why)
		SKIP(return, "%s", why);
	self->fd = qda_open_process("cdsp");
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, simdsp_open(self->fd, &self->handle));
	self->other = qda_open("cdsp");
	ASSERT_LE(0, self->other);
}

FIXTURE_TEARDOWN(prime)
{
	close(self->other);
	close(self->fd);
	EXPECT_EQ(0, qda_test_end());
}

static int echo(int fd, __u32 handle, const struct qda_buf *in, size_t from,
		const struct qda_buf *out, size_t to, size_t len)
{
	struct drm_qda_invoke_arg args[2] = { qda_ref(in, from, len), qda_ref(out, to, len) };

	return qda_invoke(fd, handle, QDA_SCALARS(SIMDSP_ECHO, 1, 1), args);
}

TEST_F(prime, heap_buffer)
{
	struct qda_buf in = { .size = SIZE }, out;
	int dmabuf = dmabuf_heap(SIZE);
	__u64 offset;

	if (dmabuf == -ENOENT)
		SKIP(return, "no /dev/dma_heap/system");
	ASSERT_LE(0, dmabuf);
	ASSERT_EQ(0, dmabuf_import(self->fd, dmabuf, &in.handle));
	in.map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, dmabuf, 0);
	ASSERT_NE(MAP_FAILED, (void *)in.map);
	ASSERT_EQ(0, qda_buf_new(self->fd, SIZE, &out));

	/* Mapped by its exporter, used in place, anywhere in it. */
	qda_fill(in.map, SIZE, 3);
	ASSERT_EQ(0, echo(self->fd, self->handle, &in, 5001, &out, 70, 200000));
	EXPECT_EQ(0, memcmp(in.map + 5001, out.map + 70, 200000));
	qda_fill(out.map, SIZE, 4);
	ASSERT_EQ(0, echo(self->fd, self->handle, &out, 0, &in, 4097, 100000));
	EXPECT_EQ(0, memcmp(in.map + 4097, out.map, 100000));
	EXPECT_EQ(-EINVAL, qda_mmap_offset(self->fd, in.handle, &offset));

	/* The descriptor may go: the handle holds the buffer. */
	close(dmabuf);
	ASSERT_EQ(0, echo(self->fd, self->handle, &in, 4097, &out, 100001, 100000));
	EXPECT_EQ(0, memcmp(in.map + 4097, out.map + 100001, 100000));
	munmap(in.map, SIZE);
	EXPECT_EQ(0, qda_gem_close(self->fd, in.handle));
	qda_buf_free(&out);
}

TEST_F(prime, imported_twice)
{
	int dmabuf = dmabuf_heap(4096);
	__u32 first, second;

	if (dmabuf == -ENOENT)
		SKIP(return, "no /dev/dma_heap/system");
	ASSERT_LE(0, dmabuf);
	ASSERT_EQ(0, dmabuf_import(self->fd, dmabuf, &first));
	ASSERT_EQ(0, dmabuf_import(self->fd, dmabuf, &second));
	EXPECT_EQ(first, second);
	close(dmabuf);
	EXPECT_EQ(0, qda_gem_close(self->fd, first));
}

TEST_F(prime, from_another_file)
{
	struct qda_buf buf, view, out;
	int dmabuf;

	/* Allocated on a file without a process, as the FastRPC library does, used on this one. */
	ASSERT_EQ(0, qda_buf_new(self->other, SIZE, &buf));
	dmabuf = dmabuf_export(self->other, buf.handle);
	ASSERT_LE(0, dmabuf);
	view = buf;
	ASSERT_EQ(0, dmabuf_import(self->fd, dmabuf, &view.handle));
	close(dmabuf);
	ASSERT_EQ(0, qda_buf_new(self->fd, SIZE, &out));

	qda_fill(buf.map, SIZE, 9);
	ASSERT_EQ(0, echo(self->fd, self->handle, &view, 0, &out, 0, SIZE));
	EXPECT_TRUE(qda_filled(out.map, SIZE, 9));

	/* The file that allocated it may go, its mapping stays. */
	close(self->other);
	self->other = -1;
	qda_fill(buf.map, SIZE, 10);
	ASSERT_EQ(0, echo(self->fd, self->handle, &view, 1, &out, 1, SIZE - 1));
	EXPECT_EQ(0, memcmp(buf.map + 1, out.map + 1, SIZE - 1));
	munmap(buf.map, buf.size);
	EXPECT_EQ(0, qda_gem_close(self->fd, view.handle));
	qda_buf_free(&out);
}

TEST_F(prime, not_a_buffer)
{
	__u32 handle;
	int ends[2];

	ASSERT_EQ(0, pipe(ends));
	EXPECT_EQ(-EINVAL, dmabuf_import(self->fd, ends[0], &handle));
	EXPECT_EQ(-EBADF, dmabuf_import(self->fd, -1, &handle));
	close(ends[0]);
	close(ends[1]);
}

TEST_HARNESS_MAIN
