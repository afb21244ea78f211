// SPDX-License-Identifier: GPL-2.0
/*
 * QDA: calls whose arguments are in GEM buffers, which the DSP accesses in place.
 */
#include <errno.h>
#include <sys/mman.h>

#include "fixture.h"
#include "harness.h"
#include "module.h"
#include "qda.h"
#include "simdsp.h"

FIXTURE(memory)
{
	int fd;
	__u32 handle;
};

FIXTURE_SETUP(memory)
{
	fixture_setup(_metadata, &self->fd, &self->handle);
}

FIXTURE_TEARDOWN(memory)
{
	fixture_teardown(_metadata, self->fd);
}

TEST_F(memory, echo_sizes)
{
	static const size_t sizes[] = { 0, 1, 4, 63, 4095, 4096, 4097, 65536, 100001, 1 << 20 };
	struct qda_buf in, out;

	ASSERT_EQ(0, qda_buf_new(self->fd, 1 << 20, &in));
	ASSERT_EQ(0, qda_buf_new(self->fd, 1 << 20, &out));
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		memset(out.map, 0xaa, out.size);
		qda_fill(in.map, sizes[i], i);
		ASSERT_EQ(0, simdsp_echo_buf(self->fd, self->handle, &in, 0, &out, 0, sizes[i]));
		EXPECT_TRUE(qda_filled(out.map, sizes[i], i));
		EXPECT_TRUE(qda_all(out.map + sizes[i], out.size - sizes[i], 0xaa));
	}
	qda_buf_free(&in);
	qda_buf_free(&out);
}

TEST_F(memory, anywhere_in_a_buffer)
{
	static const struct {
		size_t from, to, len;
	} cases[] = {
		{ 0, 4096, 4096 }, { 4096, 0, 4096 }, { 1, 2, 3 }, { 4095, 8191, 2 },
		{ 4097, 12289, 20000 }, { 100, 100, 65536 }, { 262143, 262143, 1 },
		{ 262144 - 5000, 3, 5000 }, { 12345, 262144 - 4097, 4097 },
	};
	struct qda_buf in, out;

	ASSERT_EQ(0, qda_buf_new(self->fd, 262144, &in));
	ASSERT_EQ(0, qda_buf_new(self->fd, 262144, &out));
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		size_t from = cases[i].from, to = cases[i].to, len = cases[i].len;

		memset(in.map, 0x11, in.size);
		memset(out.map, 0xaa, out.size);
		qda_fill(in.map + from, len, i);
		ASSERT_EQ(0, simdsp_echo_buf(self->fd, self->handle, &in, from, &out, to, len));
		EXPECT_TRUE(qda_filled(out.map + to, len, i));
		EXPECT_TRUE(qda_all(out.map, to, 0xaa));
		EXPECT_TRUE(qda_all(out.map + to + len, out.size - to - len, 0xaa));
	}
	qda_buf_free(&in);
	qda_buf_free(&out);
}

TEST_F(memory, several_arguments_in_one_buffer)
{
	struct drm_qda_invoke_arg args[8];
	struct qda_buf buf;

	/* Four inputs and four outputs, none of them at a page's start, two in one page. */
	ASSERT_EQ(0, qda_buf_new(self->fd, 65536, &buf));
	for (int i = 0; i < 4; i++) {
		args[i] = qda_ref(&buf, 17 + 3001 * i, 3000);
		args[4 + i] = qda_ref(&buf, 32768 + 5 + 3003 * i, 3000);
		qda_fill(buf.map + 17 + 3001 * i, 3000, i);
	}
	ASSERT_EQ(0, qda_invoke(self->fd, self->handle, QDA_SCALARS(SIMDSP_ECHO, 4, 4), args));
	for (int i = 0; i < 4; i++)
		EXPECT_TRUE(qda_filled(buf.map + 32768 + 5 + 3003 * i, 3000, i));
	qda_buf_free(&buf);
}

TEST_F(memory, inline_and_buffers_mixed)
{
	__u8 in[300], out[700];
	struct drm_qda_invoke_arg args[4];
	struct qda_buf buf;

	ASSERT_EQ(0, qda_buf_new(self->fd, 20000, &buf));
	qda_fill(in, sizeof(in), 1);
	qda_fill(buf.map + 5000, 700, 2);
	args[0] = qda_inline(in, sizeof(in));
	args[1] = qda_ref(&buf, 5000, 700);
	args[2] = qda_ref(&buf, 9999, 300);
	args[3] = qda_inline(out, sizeof(out));
	ASSERT_EQ(0, qda_invoke(self->fd, self->handle, QDA_SCALARS(SIMDSP_ECHO, 2, 2), args));
	EXPECT_TRUE(qda_filled(buf.map + 9999, 300, 1));
	EXPECT_TRUE(qda_filled(out, 700, 2));
	qda_buf_free(&buf);
}

TEST_F(memory, partial_mapping)
{
	size_t page = qda_page_size();
	struct drm_qda_invoke_arg args[2];
	struct qda_buf buf, view;
	__u8 out[100];
	__u64 offset;

	/* What is left of a mapping starts inside the buffer: its own offset counts too. */
	ASSERT_EQ(0, qda_buf_new(self->fd, 8 * page, &buf));
	ASSERT_EQ(0, qda_mmap_offset(self->fd, buf.handle, &offset));
	view = buf;
	view.map = mmap(NULL, view.size, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd, offset);
	ASSERT_NE(MAP_FAILED, view.map);
	ASSERT_EQ(0, munmap(view.map, 3 * page));
	ASSERT_EQ(0, munmap(view.map + 5 * page, 3 * page));
	view.map += 3 * page;
	view.size = 2 * page;

	for (size_t at = 0; at + 100 <= view.size; at += page - 50) {
		qda_fill(view.map + at, 100, at);
		args[0] = qda_ref(&view, at, 100);
		args[1] = qda_inline(out, 100);
		ASSERT_EQ(0, qda_invoke(self->fd, self->handle, QDA_SCALARS(SIMDSP_ECHO, 1, 1),
					args));
		EXPECT_TRUE(qda_filled(out, 100, at));
	}
	/* Without the first mapping, too. */
	munmap(buf.map, buf.size);
	qda_fill(view.map + 7, 100, 7);
	args[0] = qda_ref(&view, 7, 100);
	EXPECT_EQ(0, qda_invoke(self->fd, self->handle, QDA_SCALARS(SIMDSP_ECHO, 1, 1), args));
	EXPECT_TRUE(qda_filled(out, 100, 7));
	qda_buf_free(&view);
}

TEST_F(memory, split_mapping)
{
	size_t page = qda_page_size();
	struct drm_qda_invoke_arg args[2];
	struct qda_buf buf;
	__u8 *out;

	/* One page protected makes three areas of one mapping, before the pages are there. */
	ASSERT_EQ(0, qda_buf_new(self->fd, 5 * page, &buf));
	out = malloc(5 * page);
	ASSERT_NE(NULL, out);
	ASSERT_EQ(0, mprotect(buf.map + 2 * page, page, PROT_READ));
	qda_fill(buf.map, 2 * page, 1);
	qda_fill(buf.map + 3 * page, 2 * page, 2);
	EXPECT_TRUE(qda_all(buf.map + 2 * page, page, 0));

	for (size_t at = 0; at < 5 * page; at += page / 2 + 1) {
		size_t len = 5 * page - at;

		args[0] = qda_ref(&buf, at, len);
		args[1] = qda_inline(out, len);
		ASSERT_EQ(0, qda_invoke(self->fd, self->handle, QDA_SCALARS(SIMDSP_ECHO, 1, 1),
					args));
		EXPECT_EQ(0, memcmp(out, buf.map + at, len));
	}
	free(out);
	qda_buf_free(&buf);
}

TEST_F(memory, moved_mapping)
{
	struct qda_buf in, out;
	void *moved;

	ASSERT_EQ(0, qda_buf_new(self->fd, 65536, &in));
	ASSERT_EQ(0, qda_buf_new(self->fd, 65536, &out));
	qda_fill(in.map, in.size, 1);
	ASSERT_EQ(0, simdsp_echo_buf(self->fd, self->handle, &in, 0, &out, 0, 65536));
	moved = mmap(NULL, in.size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, moved);
	ASSERT_EQ(moved, mremap(in.map, in.size, in.size, MREMAP_MAYMOVE | MREMAP_FIXED, moved));
	in.map = moved;
	qda_fill(in.map, in.size, 2);
	ASSERT_EQ(0, simdsp_echo_buf(self->fd, self->handle, &in, 100, &out, 200, 1000));
	EXPECT_EQ(0, memcmp(in.map + 100, out.map + 200, 1000));
	qda_buf_free(&in);
	qda_buf_free(&out);
}

TEST_F(memory, calculator)
{
	__u32 count = 262144, handle;
	struct drm_qda_invoke_arg arg;
	__s64 sum = 0, expected = 0;
	struct qda_buf buf;
	__s32 *numbers, max = 0;

	ASSERT_EQ(0, qda_buf_new(self->fd, count * 4, &buf));
	numbers = (__s32 *)buf.map;
	for (__u32 i = 0; i < count; i++) {
		numbers[i] = (__s32)(i * 2654435761u) / 2;
		expected += numbers[i];
	}
	numbers[77777] = INT32_MAX;
	expected += (__s64)INT32_MAX - (__s32)(77777 * 2654435761u) / 2;

	arg = qda_ref(&buf, 0, count * 4);
	ASSERT_EQ(0, calculator_open(self->fd, &handle));
	ASSERT_EQ(0, calculator_sum(self->fd, handle, count, arg, &sum));
	EXPECT_EQ(expected, sum);
	ASSERT_EQ(0, calculator_max(self->fd, handle, count, arg, &max));
	EXPECT_EQ(INT32_MAX, max);
	qda_buf_free(&buf);
}

TEST_F(memory, large_buffer)
{
	size_t size = 32 << 20;
	struct drm_qda_invoke_arg args[2];
	struct qda_buf buf;
	__u8 sum[8];
	__u64 expected;

	ASSERT_EQ(0, qda_buf_new(self->fd, size, &buf));
	for (size_t i = 0; i < size; i += 4096)
		qda_fill(buf.map + i, 64, i);
	/* Its last megabyte, where an address that lost bits would show. */
	args[0] = qda_ref(&buf, size - (1 << 20) - 3, (1 << 20) + 3);
	args[1] = qda_inline(sum, 8);
	ASSERT_EQ(0, qda_invoke(self->fd, self->handle, QDA_SCALARS(SIMDSP_CHECKSUM, 1, 1), args));
	expected = simdsp_checksum(buf.map + size - (1 << 20) - 3, (1 << 20) + 3);
	EXPECT_EQ(0, memcmp(sum, &expected, 8));
	qda_buf_free(&buf);
}

TEST_F(memory, many_buffers)
{
	struct qda_buf in[64], out[64];
	struct drm_qda_invoke_arg args[128];

	for (int i = 0; i < 64; i++) {
		ASSERT_EQ(0, qda_buf_new(self->fd, 4096 * (1 + i % 5), &in[i]));
		ASSERT_EQ(0, qda_buf_new(self->fd, 4096 * (1 + i % 5), &out[i]));
	}
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 64; i++) {
			qda_fill(in[i].map + i, 4000, i + round);
			args[i] = qda_ref(&in[i], i, 4000);
			args[64 + i] = qda_ref(&out[i], 2 * i % 90, 4000);
		}
		ASSERT_EQ(0, qda_invoke(self->fd, self->handle,
					QDA_SCALARS(SIMDSP_ECHO, 64, 64), args));
		for (int i = 0; i < 64; i++)
			EXPECT_TRUE(qda_filled(out[i].map + 2 * i % 90, 4000, i + round));
	}
	for (int i = 0; i < 64; i++) {
		qda_buf_free(&in[i]);
		qda_buf_free(&out[i]);
	}
}

TEST_F(memory, one_buffer_many_arguments)
{
	struct drm_qda_invoke_arg args[400];
	struct qda_buf buf;

	ASSERT_EQ(0, qda_buf_new(self->fd, 8192, &buf));
	for (int i = 0; i < 200; i++) {
		args[i] = qda_ref(&buf, 20 * i, 20);
		args[200 + i] = qda_ref(&buf, 4096 + 20 * i, 20);
	}
	qda_fill(buf.map, 4000, 8);
	ASSERT_EQ(0, qda_invoke(self->fd, self->handle, QDA_SCALARS(SIMDSP_ECHO, 200, 200), args));
	EXPECT_TRUE(qda_filled(buf.map + 4096, 4000, 8));
	qda_buf_free(&buf);
}

TEST_F(memory, filled_by_the_dsp)
{
	struct drm_qda_invoke_arg args[3];
	struct qda_buf buf;
	__u32 seed = 99;

	/* Two results in one buffer, neither on a page of its own. */
	ASSERT_EQ(0, qda_buf_new(self->fd, 1 << 20, &buf));
	args[0] = qda_inline(&seed, 4);
	args[1] = qda_ref(&buf, 1000, 500000);
	args[2] = qda_ref(&buf, 501001, 500000);
	ASSERT_EQ(0, qda_invoke(self->fd, self->handle, QDA_SCALARS(SIMDSP_FILL, 1, 2), args));
	EXPECT_TRUE(qda_all(buf.map, 1000, 0));
	EXPECT_TRUE(simdsp_filled(buf.map + 1000, 500000, 99));
	EXPECT_EQ(0, buf.map[501000]);
	EXPECT_TRUE(simdsp_filled(buf.map + 501001, 500000, 100));
	EXPECT_TRUE(qda_all(buf.map + 1001001, buf.size - 1001001, 0));
	qda_buf_free(&buf);
}

TEST_F(memory, closed_during_a_call)
{
	/* The call owns what the DSP may touch: freeing the buffers under it changes nothing. */
	struct drm_qda_invoke_arg args[3];
	struct qda_buf in, out;
	struct simdsp_call call;
	__u32 ms = 500;

	ASSERT_EQ(0, qda_buf_new(self->fd, 65536, &in));
	ASSERT_EQ(0, qda_buf_new(self->fd, 65536, &out));
	args[0] = qda_inline(&ms, 4);
	args[1] = qda_ref(&in, 0, 65536);
	args[2] = qda_ref(&out, 0, 65536);
	ASSERT_EQ(0, simdsp_call_start(&call, self->fd, self->handle,
				       QDA_SCALARS(SIMDSP_SLOW_ECHO, 2, 1), args));
	usleep(200000);
	qda_buf_free(&in);
	qda_buf_free(&out);
	/* The DSP reads and writes them after that; a fault would be an error. */
	EXPECT_EQ(0, simdsp_call_join(&call));
}

TEST_F(memory, nothing_mapped_after_close)
{
	struct qda_buf buf;

	ASSERT_EQ(0, qda_buf_new(self->fd, 1 << 20, &buf));
	ASSERT_EQ(0, simdsp_echo_buf(self->fd, self->handle, &buf, 0, &buf, 1 << 19, 1 << 19));
	EXPECT_LT(0, simdsp_stat("cdsp", "mappings"));
	qda_buf_free(&buf);
	close(self->fd);
	self->fd = -1;
	EXPECT_TRUE(simdsp_wait_stat("cdsp", "mappings", 0, 2000));
}

TEST_F(memory, fork_without_the_mapping)
{
	/* The child has the descriptor but not the mapping: an address means nothing there. */
	size_t page = qda_page_size();
	struct drm_qda_invoke_arg args[2];
	__u8 out[16];
	struct qda_buf buf;
	int status;
	pid_t pid;

	ASSERT_EQ(0, qda_buf_new(self->fd, page, &buf));
	ASSERT_EQ(0, madvise(buf.map, page, MADV_DONTFORK));
	args[0] = qda_ref(&buf, 0, 16);
	args[1] = qda_inline(out, 16);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		_exit(qda_invoke(self->fd, self->handle, QDA_SCALARS(SIMDSP_ECHO, 1, 1), args) !=
		      -EFAULT);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(0, qda_invoke(self->fd, self->handle, QDA_SCALARS(SIMDSP_ECHO, 1, 1), args));
	qda_buf_free(&buf);
}

TEST_HARNESS_MAIN
