// SPDX-License-Identifier: GPL-2.0
/*
 * QDA: calls by DRM_QDA_CALL: buffers by handle and offset, the DSP's status in its own field.
 */
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>

#include "fixture.h"
#include "harness.h"
#include "module.h"
#include "qda.h"
#include "simdsp.h"

FIXTURE(call)
{
	int fd;
	__u32 handle;
};

FIXTURE_SETUP(call)
{
	fixture_setup(_metadata, &self->fd, &self->handle);
}

FIXTURE_TEARDOWN(call)
{
	fixture_teardown(_metadata, self->fd);
}

static int echo(int fd, __u32 handle, struct drm_qda_call_arg in, struct drm_qda_call_arg out)
{
	struct drm_qda_call_arg args[2] = { in, out };
	__s32 status;
	int ret = qda_call(fd, handle, QDA_SCALARS(SIMDSP_ECHO, 1, 1), args, &status);

	return ret ?: status;
}

TEST_F(call, inline_arguments)
{
	static const size_t sizes[] = { 0, 1, 127, 4096, 100001 };
	static __u8 in[100001], out[100001];

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		qda_fill(in, sizes[i], i);
		memset(out, 0, sizeof(out));
		EXPECT_EQ(0, echo(self->fd, self->handle, qda_bytes(in, sizes[i]),
				  qda_bytes(out, sizes[i])));
		EXPECT_TRUE(qda_filled(out, sizes[i], i));
	}
}

TEST_F(call, parts_of_buffers)
{
	/* The program has not mapped what the DSP works on while it does. */
	size_t page = qda_page_size();
	struct {
		__u64 from, to, len;
	} parts[] = {
		{ 0, 4 * page, 3 * page },
		{ 0, 4 * page, 4 * page },
		{ 1, 4 * page + 4095, 1 },
		{ 4095, 4 * page + 3, 4098 },
		{ page - 1, 6 * page + 1, page + 2 },
		{ 4 * page - 1, 8 * page - 1, 1 },
	};
	struct qda_buf buf;
	__u64 offset;

	ASSERT_EQ(0, qda_buf_new(self->fd, 8 * page, &buf));
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		memset(buf.map, 0, buf.size);
		qda_fill(buf.map + parts[i].from, parts[i].len, i);
		ASSERT_EQ(0, munmap(buf.map, buf.size));
		EXPECT_EQ(0, echo(self->fd, self->handle,
				  qda_part(&buf, parts[i].from, parts[i].len),
				  qda_part(&buf, parts[i].to, parts[i].len)));
		ASSERT_EQ(0, qda_mmap_offset(self->fd, buf.handle, &offset));
		buf.map = mmap(NULL, buf.size, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd,
			       offset);
		ASSERT_NE(MAP_FAILED, buf.map);
		EXPECT_TRUE(qda_filled(buf.map + parts[i].to, parts[i].len, i));
		EXPECT_TRUE(qda_all(buf.map + parts[i].to + parts[i].len,
				    buf.size - parts[i].to - parts[i].len, 0));
	}
	qda_buf_free(&buf);
}

TEST_F(call, every_status)
{
	/* Also those that the value of an ioctl can't carry. */
	static const __s32 statuses[] = {
		0, 1, -1, -4, -512, -516, -530, -4095, 0x7fffffff, -0x7fffffff - 1,
		DSP_EUNSUPPORTED, DSP_ERROR(0x0d),
	};

	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++) {
		__s32 in[2] = { statuses[i], 42 }, out = 0, status = 5;
		struct drm_qda_call_arg args[3] = {
			qda_bytes(&in[0], 4), qda_bytes(&in[1], 4), qda_bytes(&out, 4),
		};

		EXPECT_EQ(0, qda_call(self->fd, self->handle, QDA_SCALARS(SIMDSP_STATUS, 2, 1),
				      args, &status));
		EXPECT_EQ(statuses[i], status);
		/* Results are results, whatever the status. */
		EXPECT_EQ(42, out);
	}
}

TEST_F(call, arguments_may_grow)
{
	struct {
		struct drm_qda_call_arg arg;
		__u64 more[2];
	} args[2];
	__u32 in = 0x1234, out = 0;
	struct drm_qda_call call = {
		.handle = self->handle,
		.scalars = QDA_SCALARS(SIMDSP_ECHO, 1, 1),
		.args = (uintptr_t)args,
		.arg_count = 2,
		.arg_size = sizeof(args[0]),
	};

	memset(args, 0, sizeof(args));
	args[0].arg = qda_bytes(&in, 4);
	args[1].arg = qda_bytes(&out, 4);
	EXPECT_EQ(0, qda_ioctl(self->fd, DRM_IOCTL_QDA_CALL, &call));
	EXPECT_EQ(0, call.status);
	EXPECT_EQ(in, out);
	/* What the kernel does not know must be nothing. */
	args[1].more[1] = 1ULL << 63;
	EXPECT_EQ(-E2BIG, qda_ioctl(self->fd, DRM_IOCTL_QDA_CALL, &call));
	args[1].more[1] = 0;
	call.arg_size = 4097;
	EXPECT_EQ(-E2BIG, qda_ioctl(self->fd, DRM_IOCTL_QDA_CALL, &call));
}

TEST_F(call, refused)
{
	struct drm_qda_call_arg args[2], good[2];
	__u32 in = 7, out = 0;
	struct drm_qda_call call = {
		.handle = self->handle,
		.scalars = QDA_SCALARS(SIMDSP_ECHO, 1, 1),
		.args = (uintptr_t)args,
		.arg_count = 2,
		.arg_size = sizeof(args[0]),
	};
	struct qda_buf buf;
	long long invokes;

	ASSERT_EQ(0, qda_buf_new(self->fd, 4096, &buf));
	good[0] = qda_bytes(&in, 4);
	good[1] = qda_part(&buf, 64, 4);
	invokes = simdsp_stat("cdsp", "invokes");

#define REFUSED(error, change, undo) do { \
	memcpy(args, good, sizeof(args)); \
	change; \
	EXPECT_EQ(error, qda_ioctl(self->fd, DRM_IOCTL_QDA_CALL, &call)); \
	undo; \
} while (0)
	REFUSED(-EINVAL, call.flags = 1, call.flags = 0);
	REFUSED(-EINVAL, call.status = 1, call.status = 0);
	REFUSED(-EINVAL, call.arg_count = 1, call.arg_count = 2);
	REFUSED(-EINVAL, call.arg_count = 3, call.arg_count = 2);
	REFUSED(-EINVAL, call.arg_size = 31, call.arg_size = 32);
	REFUSED(-EINVAL, call.arg_size = 0, call.arg_size = 32);
	REFUSED(-EPERM, call.handle = QDA_HANDLE_KERNEL, call.handle = self->handle);
	REFUSED(-EFAULT, call.args = 0, call.args = (uintptr_t)args);
	REFUSED(-EFAULT, call.args = ~0ULL - 31, call.args = (uintptr_t)args);
	REFUSED(-EINVAL, args[0].offset = 1, (void)0);
	REFUSED(-EINVAL, args[0].flags = 1, (void)0);
	REFUSED(-EINVAL, args[1].address = (uintptr_t)&out, (void)0);
	REFUSED(-EINVAL, args[1].handle = ~0u, (void)0);
	REFUSED(-ENOENT, args[1].handle += 99, (void)0);
	REFUSED(-EINVAL, args[1].offset = buf.size - 3, (void)0);
	REFUSED(-EINVAL, args[1].offset = ~0ULL - 2, (void)0);
	REFUSED(-EINVAL, args[1].length = buf.size - 63, (void)0);
	REFUSED(-EINVAL, args[1].length = ~0ULL, (void)0);
	REFUSED(-EFAULT, args[0].address = 8, (void)0);
	REFUSED(-E2BIG, args[0].length = QDA_MAX_INLINE_SIZE + 1, (void)0);
#undef REFUSED
	EXPECT_EQ(invokes, simdsp_stat("cdsp", "invokes"));

	memcpy(args, good, sizeof(args));
	EXPECT_EQ(0, qda_ioctl(self->fd, DRM_IOCTL_QDA_CALL, &call));
	EXPECT_EQ(0, call.status);
	memcpy(&out, buf.map + 64, 4);
	EXPECT_EQ(in, out);
	qda_buf_free(&buf);
}

/* Passes @buf as an in-handle and has the DSP give back @numbers. */
static int lend(int fd, __u32 handle, struct drm_qda_call_arg buf, __u64 *sum)
{
	__u32 seed = 0, scalars = QDA_SCALARS(SIMDSP_HANDLES, 1, 1) | QDA_SCALARS_HANDLES(1, 0);
	struct drm_qda_call_arg args[3] = { qda_bytes(&seed, 4), qda_bytes(sum, 8), buf };
	__s32 status;

	return qda_call(fd, handle, scalars, args, &status) ?: status;
}

static int give_back(int fd, __u32 handle, __u64 number)
{
	struct drm_qda_call_arg arg = qda_bytes(&number, 8);
	__s32 status;

	return qda_call(fd, handle, QDA_SCALARS(SIMDSP_GIVE_BACK, 1, 0), &arg, &status) ?: status;
}

TEST_F(call, handle_arguments)
{
	struct qda_buf buf, next;
	__u32 old;
	__u64 sum;

	ASSERT_EQ(0, qda_buf_new(self->fd, 3 * 4096, &buf));
	qda_fill(buf.map, buf.size, 5);
	ASSERT_EQ(0, lend(self->fd, self->handle, qda_part(&buf, 100, 5000), &sum));
	EXPECT_EQ(simdsp_checksum(buf.map + 100, 5000), sum);
	EXPECT_EQ(-EINVAL, lend(self->fd, self->handle, qda_part(&buf, 1, buf.size), &sum));
	EXPECT_EQ(-ENOENT, lend(self->fd, self->handle, (struct drm_qda_call_arg) { 0 }, &sum));

	/* The handle means another buffer now, though the DSP still has the first by it. */
	old = buf.handle;
	qda_buf_free(&buf);
	ASSERT_EQ(0, qda_buf_new(self->fd, 3 * 4096, &next));
	ASSERT_EQ(old, next.handle);
	qda_fill(next.map, next.size, 6);
	EXPECT_EQ(0, lend(self->fd, self->handle, qda_part(&next, 0, 64), &sum));
	EXPECT_EQ(simdsp_checksum(next.map, 64), sum);
	for (int i = 0; i < 2; i++)
		ASSERT_EQ(0, give_back(self->fd, self->handle, old));
	EXPECT_EQ(0, lend(self->fd, self->handle, qda_part(&next, 0, 64), &sum));
	EXPECT_EQ(simdsp_checksum(next.map, 64), sum);
	qda_buf_free(&next);
}

static void no_handler(int signal)
{
}

TEST_F(call, interrupted_and_made_again)
{
	/* The same call is the same, and is sent once. */
	struct sigaction action = { .sa_handler = no_handler };
	__u32 ms = 600, in = 9, out = 0;
	struct drm_qda_call_arg args[3] = {
		qda_bytes(&ms, 4), qda_bytes(&in, 4), qda_bytes(&out, 4),
	};
	long long invokes = simdsp_stat("cdsp", "invokes");
	__s32 status;
	int ret, interrupts = 0;

	ASSERT_EQ(0, sigaction(SIGALRM, &action, NULL));
	ualarm(50000, 50000);
	do {
		ret = qda_call(self->fd, self->handle, QDA_SCALARS(SIMDSP_SLOW_ECHO, 2, 1), args,
			       &status);
		interrupts += ret == -EINTR;
	} while (ret == -EINTR);
	ualarm(0, 0);
	EXPECT_EQ(0, ret);
	EXPECT_EQ(0, status);
	EXPECT_EQ(in, out);
	EXPECT_LT(0, interrupts);
	EXPECT_EQ(invokes + 1, simdsp_stat("cdsp", "invokes"));
}

TEST_HARNESS_MAIN
