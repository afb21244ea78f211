// SPDX-License-Identifier: GPL-2.0
/*
 * QDA: what the number of a handle argument means. It is the buffer that has it now, also where the
 * DSP still holds another one that had it before. DRM_QDA_INVOKE takes that one where none has it.
 */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dmabuf.h"
#include "fixture.h"
#include "harness.h"
#include "module.h"
#include "qda.h"
#include "queue.h"
#include "simdsp.h"

#define SIZE	65536
#define ROUNDS	6
#define FILLED	4096

/* Ways to make a call. */
enum way {
	INVOKE,
	CALL,
	SUBMIT,
};

FIXTURE(numbers)
{
	int fd;
	__u32 handle;
};

FIXTURE_VARIANT(numbers)
{
	enum way way;
};

FIXTURE_VARIANT_ADD(numbers, invoke) { .way = INVOKE };
FIXTURE_VARIANT_ADD(numbers, call) { .way = CALL };
FIXTURE_VARIANT_ADD(numbers, submit) { .way = SUBMIT };

FIXTURE_SETUP(numbers)
{
	if (fixture_setup(_metadata, &self->fd, &self->handle) && variant->way == SUBMIT)
		ASSERT_EQ(0, queue_create(self->fd, 8, 2));
}

FIXTURE_TEARDOWN(numbers)
{
	fixture_teardown(_metadata, self->fd);
}

/* Lends a buffer to the DSP, which reads all of it, and then fills its beginning. */
static int lend(int fd, __u32 handle, enum way way, __u32 number, __u32 seed, __u64 *sum)
{
	__u32 scalars = QDA_SCALARS(SIMDSP_HANDLES, 1, 1) | QDA_SCALARS_HANDLES(1, 1);
	struct drm_qda_invoke_arg invoke_args[4] = {
		qda_inline(&seed, sizeof(seed)), qda_inline(sum, sizeof(*sum)),
		{ .length = SIZE, .handle = number }, { .length = FILLED, .handle = number },
	};
	struct drm_qda_call_arg call_args[4] = {
		qda_bytes(&seed, sizeof(seed)), qda_bytes(sum, sizeof(*sum)),
		{ .length = SIZE, .handle = number }, { .length = FILLED, .handle = number },
	};
	struct drm_qda_submission submission = queue_call(handle, scalars, call_args, 1);
	struct drm_qda_completion completion;
	__s32 status;
	int ret;

	switch (way) {
	case INVOKE:
		return qda_invoke(fd, handle, scalars, invoke_args);
	case CALL:
		ret = qda_call(fd, handle, scalars, call_args, &status);
		return ret ?: status;
	default:
		ret = queue_submit(fd, &submission, 1);
		if (ret != 1)
			return ret ?: -EIO;
		ret = queue_reap(fd, &completion, 1, 1, qda_patience(10000));
		if (ret != 1)
			return ret ?: -EIO;
		return completion.error ?: completion.status;
	}
}

static int give_back(int fd, __u32 handle, __u32 number, int times)
{
	__u64 numbers[16];
	struct drm_qda_invoke_arg arg = qda_inline(numbers, times * sizeof(numbers[0]));

	for (int i = 0; i < times; i++)
		numbers[i] = number;
	return qda_invoke(fd, handle, QDA_SCALARS(SIMDSP_GIVE_BACK, 1, 0), &arg);
}

/* Lends a buffer, and checks that the DSP has got this one. */
static void check_lent(struct __test_metadata *_metadata, int fd, __u32 handle, enum way way,
		       struct qda_buf *buf, __u32 seed)
{
	__u64 expected, sum = 0;

	qda_fill(buf->map, SIZE, seed);
	expected = simdsp_checksum(buf->map, SIZE);
	EXPECT_EQ(0, lend(fd, handle, way, buf->handle, seed, &sum));
	EXPECT_EQ(expected, sum);
	EXPECT_TRUE(simdsp_filled(buf->map, FILLED, seed));
}

TEST_F(numbers, of_a_new_buffer)
{
	struct qda_buf buf;
	__u32 number = 0;

	for (int i = 0; i < ROUNDS; i++) {
		ASSERT_EQ(0, qda_buf_new(self->fd, SIZE, &buf));
		if (i)
			ASSERT_EQ(number, buf.handle);
		number = buf.handle;
		check_lent(_metadata, self->fd, self->handle, variant->way, &buf, i);
		qda_buf_free(&buf);
	}
	EXPECT_EQ(0, give_back(self->fd, self->handle, number, 2 * ROUNDS));
}

TEST_F(numbers, of_a_buffer_of_another_kind)
{
	int dmabuf = dmabuf_heap(SIZE);
	struct qda_buf buf, other = { .fd = self->fd, .size = SIZE };

	if (dmabuf == -ENOENT)
		SKIP(return, "no /dev/dma_heap/system");
	ASSERT_LE(0, dmabuf);
	ASSERT_EQ(0, qda_buf_new(self->fd, SIZE, &buf));
	check_lent(_metadata, self->fd, self->handle, variant->way, &buf, 1);
	qda_buf_free(&buf);

	ASSERT_EQ(0, dmabuf_import(self->fd, dmabuf, &other.handle));
	ASSERT_EQ(buf.handle, other.handle);
	other.map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, dmabuf, 0);
	ASSERT_NE(MAP_FAILED, (void *)other.map);
	check_lent(_metadata, self->fd, self->handle, variant->way, &other, 2);
	qda_buf_free(&other);
	close(dmabuf);

	ASSERT_EQ(0, qda_buf_new(self->fd, SIZE, &buf));
	ASSERT_EQ(buf.handle, other.handle);
	check_lent(_metadata, self->fd, self->handle, variant->way, &buf, 3);
	qda_buf_free(&buf);
}

TEST_F(numbers, of_none)
{
	__u64 expected, sum = 0;
	struct qda_buf buf;

	ASSERT_EQ(0, qda_buf_new(self->fd, SIZE, &buf));
	check_lent(_metadata, self->fd, self->handle, variant->way, &buf, 1);
	expected = simdsp_checksum(buf.map, SIZE);
	qda_buf_free(&buf);

	/* Only the DSP has it, by its number. */
	if (variant->way == INVOKE) {
		EXPECT_EQ(0, lend(self->fd, self->handle, variant->way, buf.handle, 2, &sum));
		EXPECT_EQ(expected, sum);
		EXPECT_EQ(0, give_back(self->fd, self->handle, buf.handle, 2));
	}
	EXPECT_EQ(0, give_back(self->fd, self->handle, buf.handle, 2));
	EXPECT_EQ(-ENOENT, lend(self->fd, self->handle, variant->way, buf.handle, 3, &sum));
}

TEST_HARNESS_MAIN
