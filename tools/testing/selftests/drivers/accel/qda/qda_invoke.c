// SPDX-License-Identifier: GPL-2.0
/*
 * QDA: calls with inline arguments, and what a call returns.
 */
#include <errno.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "fixture.h"
#include "harness.h"
#include "module.h"
#include "qda.h"
#include "simdsp.h"

#define MANY	255

FIXTURE(invoke)
{
	int fd;
	__u32 handle;
};

FIXTURE_SETUP(invoke)
{
	if (!fixture_setup(_metadata, &self->fd, &self->handle))
		return;
	ASSERT_LT(20, self->handle);
}

FIXTURE_TEARDOWN(invoke)
{
	fixture_teardown(_metadata, self->fd);
}

TEST_F(invoke, calculator)
{
	__s32 numbers[1000], max = 0;
	__s64 sum = 0;
	__u32 handle;

	for (int i = 0; i < 1000; i++)
		numbers[i] = i;
	ASSERT_EQ(0, calculator_open(self->fd, &handle));
	ASSERT_EQ(0, calculator_sum(self->fd, handle, 1000, qda_inline(numbers, 4000), &sum));
	EXPECT_EQ(499500, sum);
	ASSERT_EQ(0, calculator_max(self->fd, handle, 1000, qda_inline(numbers, 4000), &max));
	EXPECT_EQ(999, max);

	/* A sum that needs more than 32 bits, and numbers that are negative. */
	for (int i = 0; i < 1000; i++)
		numbers[i] = INT32_MIN + i;
	ASSERT_EQ(0, calculator_sum(self->fd, handle, 1000, qda_inline(numbers, 4000), &sum));
	EXPECT_EQ(1000LL * INT32_MIN + 499500, sum);
	ASSERT_EQ(0, calculator_max(self->fd, handle, 1000, qda_inline(numbers, 4000), &max));
	EXPECT_EQ(INT32_MIN + 999, max);
	EXPECT_EQ(0, qda_remote_close(self->fd, handle));
}

TEST_F(invoke, unknown_module)
{
	__u32 handle;

	EXPECT_EQ(DSP_ENOSUCHMOD, qda_remote_open(self->fd, "no_such_module", &handle));
}

TEST_F(invoke, echo_sizes)
{
	static const size_t sizes[] = {
		0, 1, 3, 4, 7, 127, 128, 129, 1000, 4095, 4096, 4097, 8192, 65535, 65536,
		65537, 100001, 1 << 20,
	};
	__u8 *in = malloc((1 << 20) + 64), *out = malloc((1 << 20) + 64);

	ASSERT_TRUE(in && out);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		/* Anywhere in a page, and not at the same place for both. */
		__u8 *src = in + i % 61, *dst = out + i * 7 % 59;

		qda_fill(src, sizes[i], i);
		memset(out, 0xaa, (1 << 20) + 64);
		ASSERT_EQ(0, simdsp_echo(self->fd, self->handle, src, dst, sizes[i]));
		EXPECT_TRUE(qda_filled(dst, sizes[i], i));
		EXPECT_TRUE(qda_all(out, dst - out, 0xaa));
		EXPECT_TRUE(qda_all(dst + sizes[i], 4, 0xaa));
	}
	free(in);
	free(out);
}

TEST_F(invoke, no_arguments)
{
	/* With nothing to describe the array isn't looked at. */
	EXPECT_EQ(0, qda_invoke(self->fd, self->handle, QDA_SCALARS(SIMDSP_ECHO, 0, 0), NULL));
	EXPECT_EQ(0, qda_invoke(self->fd, self->handle, QDA_SCALARS(SIMDSP_ECHO, 0, 0),
				(void *)8));
}

TEST_F(invoke, empty_arguments)
{
	struct drm_qda_invoke_arg args[4] = {
		qda_inline(NULL, 0), qda_inline((void *)8, 0),
		qda_inline((void *)-1L, 0), qda_inline(NULL, 0),
	};

	EXPECT_EQ(0, qda_invoke(self->fd, self->handle, QDA_SCALARS(SIMDSP_ECHO, 2, 2), args));
}

TEST_F(invoke, both_numbers_mean_inline)
{
	__u32 in[2] = { 0x11111111, 0x22222222 }, out[2] = { 0 };
	struct drm_qda_invoke_arg args[4] = {
		qda_inline(&in[0], 4), qda_inline(&in[1], 4),
		qda_inline(&out[0], 4), qda_inline(&out[1], 4),
	};

	/* The older library passes -1, and either may leave something in attr. */
	args[1].handle = -1;
	args[3].handle = -1;
	args[0].attr = 0xdeadbeef;
	args[2].attr = ~0u;
	ASSERT_EQ(0, qda_invoke(self->fd, self->handle, QDA_SCALARS(SIMDSP_ECHO, 2, 2), args));
	EXPECT_EQ(0x11111111, out[0]);
	EXPECT_EQ(0x22222222, out[1]);
}

TEST_F(invoke, most_buffers)
{
	/* Every buffer has a size of its own, some of them none. */
	struct drm_qda_invoke_arg args[2 * MANY];
	static __u8 in[MANY][600], out[MANY][600];

	memset(out, 0xaa, sizeof(out));
	for (int i = 0; i < MANY; i++) {
		size_t len = i * 37 % 599;

		qda_fill(in[i], len, i);
		args[i] = qda_inline(in[i], len);
		args[MANY + i] = qda_inline(out[i], len);
	}
	ASSERT_EQ(0, qda_invoke(self->fd, self->handle, QDA_SCALARS(SIMDSP_ECHO, MANY, MANY),
				args));
	for (int i = 0; i < MANY; i++) {
		size_t len = i * 37 % 599;

		EXPECT_TRUE(qda_filled(out[i], len, i));
		EXPECT_EQ(0xaa, out[i][len]);
	}
}

TEST_F(invoke, overlapping_in)
{
	__u8 in[3000], out[3][3000];
	struct drm_qda_invoke_arg args[6] = {
		qda_inline(in, 3000), qda_inline(in + 100, 1000), qda_inline(in, 3000),
		qda_inline(out[0], 3000), qda_inline(out[1], 1000), qda_inline(out[2], 3000),
	};

	qda_fill(in, sizeof(in), 9);
	ASSERT_EQ(0, qda_invoke(self->fd, self->handle, QDA_SCALARS(SIMDSP_ECHO, 3, 3), args));
	EXPECT_TRUE(qda_filled(out[0], 3000, 9));
	EXPECT_EQ(0, memcmp(out[1], in + 100, 1000));
	EXPECT_TRUE(qda_filled(out[2], 3000, 9));
}

TEST_F(invoke, overlapping_out)
{
	__u8 in[3][1000], out[2000];
	struct drm_qda_invoke_arg args[6] = {
		qda_inline(in[0], 1000), qda_inline(in[1], 1000), qda_inline(in[2], 10),
		/* Ascending, then one before it: the order of the index counts. */
		qda_inline(out + 500, 1000), qda_inline(out, 1000), qda_inline(out + 995, 10),
	};

	qda_fill(in[0], 1000, 1);
	qda_fill(in[1], 1000, 2);
	qda_fill(in[2], 10, 3);
	memset(out, 0xaa, sizeof(out));
	ASSERT_EQ(0, qda_invoke(self->fd, self->handle, QDA_SCALARS(SIMDSP_ECHO, 3, 3), args));
	EXPECT_EQ(0, memcmp(out, in[1], 995));
	EXPECT_EQ(0, memcmp(out + 995, in[2], 10));
	EXPECT_EQ(0, memcmp(out + 1005, in[0] + 505, 495));
	EXPECT_TRUE(qda_all(out + 1500, 500, 0xaa));
}

TEST_F(invoke, in_place)
{
	__u8 data[5000], sum[8];
	struct drm_qda_invoke_arg args[2] = { qda_inline(data, 5000), qda_inline(data, 4) };
	__u32 seed = 4;

	qda_fill(data, sizeof(data), 5);
	ASSERT_EQ(0, simdsp_echo(self->fd, self->handle, data, data, sizeof(data)));
	EXPECT_TRUE(qda_filled(data, sizeof(data), 5));

	/* The DSP writes its result over its own argument. */
	*(__u64 *)sum = simdsp_checksum(data, sizeof(data));
	args[1] = qda_inline(data + 8, 8);
	ASSERT_EQ(0, qda_invoke(self->fd, self->handle, QDA_SCALARS(SIMDSP_CHECKSUM, 1, 1), args));
	EXPECT_EQ(0, memcmp(data + 8, sum, 8));

	args[0] = qda_inline(&seed, 4);
	args[1] = qda_inline(&seed, 4);
	ASSERT_EQ(0, qda_invoke(self->fd, self->handle, QDA_SCALARS(SIMDSP_FILL, 1, 1), args));
	EXPECT_TRUE(simdsp_filled(&seed, 4, 4));
}

TEST_F(invoke, no_bytes_of_other_calls)
{
	/* Where the DSP wrote nothing, the result is not what an earlier call left behind. */
	static const char script[] =
		"{\"rules\":[{\"module\":\"simdsp\",\"method\":11,\"actions\":[{\"fail\":0}]}]}";
	__u8 in[4096], out[4096];
	struct drm_qda_invoke_arg args[2] = { qda_inline(in, 16), qda_inline(out, sizeof(out)) };

	ASSERT_EQ(0, simdsp_cmd(NULL, "script %s", script));
	for (int i = 0; i < 20; i++) {
		memset(in, 0xee, sizeof(in));
		ASSERT_EQ(0, simdsp_echo(self->fd, self->handle, in, out, sizeof(in)));
		memset(out, 0xaa, sizeof(out));
		ASSERT_EQ(0, qda_invoke(self->fd, self->handle, QDA_SCALARS(SIMDSP_INVERT, 1, 1),
					args));
		for (size_t j = 0; j < sizeof(out); j++)
			ASSERT_NE(0xee, out[j]);
	}
}

TEST_F(invoke, library_encodings)
{
	__u32 in = 0x12345678, out;
	struct drm_qda_invoke_arg args[2] = { qda_inline(&in, 4), qda_inline(&out, 4) };
	struct {
		struct drm_qda_invoke call;
		__u64 canary[2];
	} arg = {
		.call = {
			.handle = self->handle,
			.sc = QDA_SCALARS(SIMDSP_ECHO, 1, 1),
			.args = (uintptr_t)args,
		},
		.canary = { 0xaaaaaaaaaaaaaaaaULL, 0xbbbbbbbbbbbbbbbbULL },
	};
	static const unsigned int sizes[] = { 16, 24, 32 };

	ASSERT_EQ(0xc0186447, QDA_IOCTL_INVOKE_LIB);
	out = 0;
	ASSERT_EQ(0, qda_ioctl(self->fd, QDA_IOCTL_INVOKE_LIB, &arg));
	EXPECT_EQ(in, out);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		out = 0;
		ASSERT_EQ(0, qda_ioctl(self->fd, _IOC(_IOC_READ | _IOC_WRITE, 'd', 0x47, sizes[i]),
				       &arg));
		EXPECT_EQ(in, out);
	}
	EXPECT_EQ(0xaaaaaaaaaaaaaaaaULL, arg.canary[0]);
	EXPECT_EQ(0xbbbbbbbbbbbbbbbbULL, arg.canary[1]);
	EXPECT_EQ(self->handle, arg.call.handle);
}

TEST_F(invoke, call_structure_is_not_written)
{
	/* It may stand in memory that the caller can only read. */
	size_t page = qda_page_size();
	struct drm_qda_invoke *call = mmap(NULL, page, PROT_READ | PROT_WRITE,
					   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct drm_qda_invoke_arg *args = (void *)(call + 4);
	__u32 *in = (void *)(args + 2), out = 0;

	ASSERT_NE(MAP_FAILED, call);
	*in = 0x87654321;
	args[0] = qda_inline(in, 4);
	args[1] = qda_inline(&out, 4);
	call->handle = self->handle;
	call->sc = QDA_SCALARS(SIMDSP_ECHO, 1, 1);
	call->args = (uintptr_t)args;
	ASSERT_EQ(0, mprotect(call, page, PROT_READ));
	EXPECT_EQ(0, qda_ioctl(self->fd, QDA_IOCTL_INVOKE_LIB, call));
	EXPECT_EQ(0x87654321, out);
	munmap(call, page);
}

TEST_F(invoke, status_unchanged)
{
	static const __s32 statuses[] = {
		0, 1, 2, 22, 255, 0x7fffffff, INT32_MIN, DSP_EUNSUPPORTED, DSP_ENOSUCHMOD,
		DSP_ERROR(0x0d), 0xabcdabcd, -1, -2, -4, -14, -22, -110, -511, -531, -4095,
		-4096, -65536,
	};

	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++) {
		__u8 in[100], out[100];
		struct drm_qda_invoke_arg args[3] = {
			qda_inline(&statuses[i], 4), qda_inline(in, sizeof(in)),
			qda_inline(out, sizeof(out)),
		};

		qda_fill(in, sizeof(in), i);
		EXPECT_EQ(statuses[i], qda_invoke(self->fd, self->handle,
						  QDA_SCALARS(SIMDSP_STATUS, 2, 1), args));
		/* Results count whatever the status. */
		EXPECT_TRUE(qda_filled(out, sizeof(out), i));
	}
}

TEST_F(invoke, restart_codes)
{
	long long before = simdsp_stat("cdsp", "invokes");

	/* The kernel would act on these numbers: send the call again, for one. */
	for (__s32 status = -512; status >= -530; status--)
		EXPECT_EQ(-EREMOTEIO, simdsp_status(self->fd, self->handle, status));
	EXPECT_EQ(before + 19, simdsp_stat("cdsp", "invokes"));
}

TEST_F(invoke, one_call_is_one_message)
{
	long long before = simdsp_stat("cdsp", "messages");
	__u32 in = 1, out = 0;

	for (int i = 0; i < 10; i++)
		ASSERT_EQ(0, simdsp_echo(self->fd, self->handle, &in, &out, 4));
	EXPECT_EQ(before + 10, simdsp_stat("cdsp", "messages"));
}

TEST_F(invoke, most_inline_data)
{
	/* The whole allowance, part in and part out; and one byte more. */
	size_t half = QDA_MAX_INLINE_SIZE / 2;
	__u8 *map = mmap(NULL, QDA_MAX_INLINE_SIZE + 4096, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct drm_qda_invoke_arg args[2];
	long long before;

	ASSERT_NE(MAP_FAILED, map);
	args[0] = qda_inline(map, half);
	args[1] = qda_inline(map + half, half);
	for (size_t i = 0; i < half; i += 4096)
		*(__u64 *)(map + i) = i * 0x9e3779b97f4a7c15ULL;
	ASSERT_EQ(0, qda_invoke(self->fd, self->handle, QDA_SCALARS(SIMDSP_ECHO, 1, 1), args));
	EXPECT_EQ(0, memcmp(map, map + half, half));

	before = simdsp_stat("cdsp", "messages");
	args[1].length++;
	EXPECT_EQ(-E2BIG, qda_invoke(self->fd, self->handle, QDA_SCALARS(SIMDSP_ECHO, 1, 1),
				     args));
	args[0].length = QDA_MAX_INLINE_SIZE + 1;
	EXPECT_EQ(-E2BIG, qda_invoke(self->fd, self->handle, QDA_SCALARS(SIMDSP_ECHO, 1, 0),
				     args));
	EXPECT_EQ(before, simdsp_stat("cdsp", "messages"));
	munmap(map, QDA_MAX_INLINE_SIZE + 4096);
}

TEST_HARNESS_MAIN
