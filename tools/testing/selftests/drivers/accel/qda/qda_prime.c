// SPDX-License-Identifier: GPL-2.0
/*
 * QDA: buffers that come from elsewhere, by dma-buf.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "child.h"
#include "dmabuf.h"
#include "fixture.h"
#include "harness.h"
#include "module.h"
#include "qda.h"
#include "simdsp.h"

#define SIZE		300000

FIXTURE(prime)
{
	int fd;
	int other;
	__u32 handle;
};

FIXTURE_SETUP(prime)
{
	self->other = -1;
	if (!fixture_setup(_metadata, &self->fd, &self->handle))
		return;
	self->other = qda_open("cdsp");
	ASSERT_LE(0, self->other);
}

FIXTURE_TEARDOWN(prime)
{
	close(self->other);
	fixture_teardown(_metadata, self->fd);
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
	ASSERT_EQ(0, simdsp_echo_buf(self->fd, self->handle, &in, 5001, &out, 70, 200000));
	EXPECT_EQ(0, memcmp(in.map + 5001, out.map + 70, 200000));
	qda_fill(out.map, SIZE, 4);
	ASSERT_EQ(0, simdsp_echo_buf(self->fd, self->handle, &out, 0, &in, 4097, 100000));
	EXPECT_EQ(0, memcmp(in.map + 4097, out.map, 100000));
	EXPECT_EQ(-EINVAL, qda_mmap_offset(self->fd, in.handle, &offset));

	/* The descriptor may go: the handle holds the buffer. */
	close(dmabuf);
	ASSERT_EQ(0, simdsp_echo_buf(self->fd, self->handle, &in, 4097, &out, 100001, 100000));
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
	ASSERT_EQ(0, simdsp_echo_buf(self->fd, self->handle, &view, 0, &out, 0, SIZE));
	EXPECT_TRUE(qda_filled(out.map, SIZE, 9));

	/* The file that allocated it may go, its mapping stays. */
	close(self->other);
	self->other = -1;
	qda_fill(buf.map, SIZE, 10);
	ASSERT_EQ(0, simdsp_echo_buf(self->fd, self->handle, &view, 1, &out, 1, SIZE - 1));
	EXPECT_EQ(0, memcmp(buf.map + 1, out.map + 1, SIZE - 1));
	munmap(buf.map, buf.size);
	EXPECT_EQ(0, qda_gem_close(self->fd, view.handle));
	qda_buf_free(&out);
}

TEST_F(prime, scattered_pages)
{
	size_t size = SIZE / qda_page_size() * qda_page_size() + qda_page_size();
	struct qda_buf in = { .size = size }, out;
	int dmabuf = dmabuf_udmabuf(size);

	if (dmabuf == -ENOENT)
		SKIP(return, "no /dev/udmabuf");
	ASSERT_LE(0, dmabuf);
	ASSERT_EQ(0, dmabuf_import(self->fd, dmabuf, &in.handle));
	in.map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, dmabuf, 0);
	ASSERT_NE(MAP_FAILED, (void *)in.map);
	ASSERT_EQ(0, qda_buf_new(self->fd, size, &out));
	qda_fill(in.map, size, 3);
	ASSERT_EQ(0, simdsp_echo_buf(self->fd, self->handle, &in, 0, &out, 0, size));
	EXPECT_TRUE(qda_filled(out.map, size, 3));
	munmap(in.map, size);
	EXPECT_EQ(0, qda_gem_close(self->fd, in.handle));
	close(dmabuf);
	qda_buf_free(&out);
}

TEST_F(prime, imported_by_two_descriptors)
{
	int dmabuf = dmabuf_heap(SIZE), again;
	__u32 first, second, third;

	if (dmabuf == -ENOENT)
		SKIP(return, "no /dev/dma_heap/system");
	ASSERT_LE(0, dmabuf);
	again = dup(dmabuf);
	ASSERT_EQ(0, dmabuf_import(self->fd, dmabuf, &first));
	ASSERT_EQ(0, dmabuf_import(self->fd, again, &second));
	EXPECT_EQ(first, second);
	ASSERT_EQ(0, dmabuf_import(self->other, dmabuf, &third));
	EXPECT_EQ(0, qda_gem_close(self->fd, first));
	EXPECT_EQ(-EINVAL, qda_gem_close(self->fd, first));
	EXPECT_EQ(0, qda_gem_close(self->other, third));
	close(dmabuf);
	close(again);
}

TEST_F(prime, imported_by_its_exporter)
{
	struct qda_buf buf;
	__u32 handle;
	int dmabuf;

	ASSERT_EQ(0, qda_buf_new(self->fd, SIZE, &buf));
	dmabuf = dmabuf_export(self->fd, buf.handle);
	ASSERT_LE(0, dmabuf);
	ASSERT_EQ(0, dmabuf_import(self->fd, dmabuf, &handle));
	EXPECT_EQ(buf.handle, handle);
	close(dmabuf);
	qda_buf_free(&buf);
}

TEST_F(prime, round_trip_by_another_dsp)
{
	int adsp = qda_open("adsp"), out, back;
	struct qda_buf buf, view;
	__u32 there, here;

	if (adsp < 0)
		SKIP(return, "this machine has one DSP");
	/* Exported to the other device, exported again there, and imported at home. */
	ASSERT_EQ(0, qda_buf_new(self->fd, SIZE, &buf));
	out = dmabuf_export(self->fd, buf.handle);
	ASSERT_LE(0, out);
	ASSERT_EQ(0, dmabuf_import(adsp, out, &there));
	back = dmabuf_export(adsp, there);
	ASSERT_LE(0, back);
	ASSERT_EQ(0, dmabuf_import(self->fd, back, &here));
	EXPECT_EQ(buf.handle, here);
	close(out);
	close(back);
	EXPECT_EQ(0, qda_gem_close(adsp, there));

	/* And a buffer of the other's, used here, in place. */
	ASSERT_EQ(0, qda_buf_new(adsp, SIZE, &view));
	out = dmabuf_export(adsp, view.handle);
	ASSERT_LE(0, out);
	ASSERT_EQ(0, dmabuf_import(self->fd, out, &view.handle));
	close(out);
	qda_fill(view.map, SIZE, 21);
	ASSERT_EQ(0, simdsp_echo_buf(self->fd, self->handle, &view, 0, &buf, 0, SIZE));
	EXPECT_TRUE(qda_filled(buf.map, SIZE, 21));
	ASSERT_EQ(0, simdsp_echo_buf(self->fd, self->handle, &buf, 0, &view, 4, SIZE - 4));
	EXPECT_EQ(0, memcmp(view.map + 4, buf.map, SIZE - 4));
	munmap(view.map, view.size);
	EXPECT_EQ(0, qda_gem_close(self->fd, view.handle));
	close(adsp);
	qda_buf_free(&buf);
}

/* Allocates, fills and passes on a buffer, and is gone. */
static int exporter(struct child *parent, void *arg)
{
	int fd = qda_open("cdsp"), dmabuf;
	struct qda_buf buf;

	if (fd < 0 || qda_buf_new(fd, SIZE, &buf))
		return 1;
	qda_fill(buf.map, SIZE, 30);
	dmabuf = dmabuf_export(fd, buf.handle);
	if (dmabuf < 0)
		return 2;
	child_tell(parent, dmabuf);
	child_hear(parent, 10000);
	return 0;
}

TEST_F(prime, exporter_has_died)
{
	struct child child;
	struct qda_buf in = { .size = SIZE }, out;
	int dmabuf;

	ASSERT_EQ(0, child_start(&child, exporter, NULL));
	dmabuf = child_hear(&child, 5000);
	ASSERT_LE(0, dmabuf);
	dmabuf = syscall(SYS_pidfd_getfd, syscall(SYS_pidfd_open, child.pid, 0), dmabuf, 0);
	if (dmabuf < 0 && errno == EPERM)
		SKIP(return, "a descriptor can't be taken from another process");
	ASSERT_LE(0, dmabuf);
	kill(child.pid, SIGKILL);
	child_wait(&child, 5000);

	ASSERT_EQ(0, dmabuf_import(self->fd, dmabuf, &in.handle));
	in.map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, dmabuf, 0);
	ASSERT_NE(MAP_FAILED, (void *)in.map);
	close(dmabuf);
	ASSERT_EQ(0, qda_buf_new(self->fd, SIZE, &out));
	ASSERT_EQ(0, simdsp_echo_buf(self->fd, self->handle, &in, 0, &out, 0, SIZE));
	EXPECT_TRUE(qda_filled(out.map, SIZE, 30));
	munmap(in.map, SIZE);
	EXPECT_EQ(0, qda_gem_close(self->fd, in.handle));
	qda_buf_free(&out);
}

TEST_F(prime, closed_while_the_dsp_uses_it)
{
	int dmabuf = dmabuf_heap(SIZE);
	struct qda_buf buf = { .size = SIZE };
	struct drm_qda_invoke_arg args[1];
	struct simdsp_call call;

	if (dmabuf == -ENOENT)
		SKIP(return, "no /dev/dma_heap/system");
	ASSERT_LE(0, dmabuf);
	ASSERT_EQ(0, dmabuf_import(self->fd, dmabuf, &buf.handle));
	buf.map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, dmabuf, 0);
	ASSERT_NE(MAP_FAILED, (void *)buf.map);
	args[0] = qda_ref(&buf, 0, SIZE);
	ASSERT_EQ(0, simdsp_call_start(&call, self->fd, self->handle,
				       QDA_SCALARS(SIMDSP_HOLD, 1, 0), args));
	ASSERT_TRUE(simdsp_wait_stat("cdsp", "held", 1, 5000));
	/* Handle, mapping and descriptor go; the DSP still has it until it answers. */
	EXPECT_EQ(0, qda_gem_close(self->fd, buf.handle));
	munmap(buf.map, SIZE);
	close(dmabuf);
	EXPECT_LT(SIZE, simdsp_stat("cdsp", "mappings"));
	EXPECT_EQ(0, simdsp_cmd(NULL, "release-held cdsp 0"));
	EXPECT_EQ(0, simdsp_call_join(&call));
}

TEST_F_TIMEOUT(prime, held_across_a_restart, 60)
{
	struct qda_buf buf, in = { .size = SIZE }, out;
	int dmabuf;

	if (getuid())
		SKIP(return, "needs root");
	ASSERT_EQ(0, qda_buf_new(self->fd, SIZE, &buf));
	qda_fill(buf.map, SIZE, 50);
	dmabuf = dmabuf_export(self->fd, buf.handle);
	ASSERT_LE(0, dmabuf);

	/* The device that it is from goes; the buffer stays, for the one that comes. */
	ASSERT_EQ(0, qda_rebind("cdsp"));
	EXPECT_EQ(-ENODEV, qda_gem_close(self->fd, buf.handle));
	close(self->fd);
	close(self->other);
	self->other = -1;
	self->fd = qda_open_process("cdsp");
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, simdsp_open(self->fd, &self->handle));

	ASSERT_EQ(0, dmabuf_import(self->fd, dmabuf, &in.handle));
	in.map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, dmabuf, 0);
	ASSERT_NE(MAP_FAILED, (void *)in.map);
	EXPECT_TRUE(qda_filled(in.map, SIZE, 50));
	ASSERT_EQ(0, qda_buf_new(self->fd, SIZE, &out));
	ASSERT_EQ(0, simdsp_echo_buf(self->fd, self->handle, &in, 0, &out, 0, SIZE));
	EXPECT_TRUE(qda_filled(out.map, SIZE, 50));
	munmap(buf.map, buf.size);
	munmap(in.map, SIZE);
	EXPECT_EQ(0, qda_gem_close(self->fd, in.handle));
	close(dmabuf);
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
