// SPDX-License-Identifier: GPL-2.0
/*
 * QDA: each allocation and each copy of user memory of the ioctls of submissions fails once. Each
 * call that was accepted has one completion, and no other call has one, whatever fails.
 */
#include <errno.h>

#include "dmabuf.h"
#include "faults.h"
#include "harness.h"
#include "module.h"
#include "qda.h"
#include "queue.h"
#include "simdsp.h"

#define SIZE		16384
#define LARGE		140000
#define CALLS		2
#define DEPTH		(MAX_THREADS + CALLS)

#define PATIENCE_MS	qda_patience(15000)

static __u8 in[LARGE], out[CALLS][LARGE];

/**
 * struct fault_state - what the steps of an operation share
 * @own_fd: file with a process on the CDSP, and a queue
 * @own_module: the module "simdsp" of that process
 * @dmabuf: a buffer of somebody else's
 * @fd: file of the pass, @own_fd or another
 * @module: the module "simdsp" of its process
 * @buf: a buffer for the pass
 * @handle: a handle for the pass
 * @seed: what is given to the calls
 * @sums: what they give back
 * @args: their arguments
 * @submissions: the calls
 * @completions: what came of them
 * @taken: completions that were taken
 * @len: bytes that the calls return in out[], if they do
 * @excuse: an error that completions may have
 */
struct fault_state {
	int own_fd;
	__u32 own_module;
	int dmabuf;
	int fd;
	__u32 module;
	struct qda_buf buf;
	__u32 handle;
	__u32 seed;
	__u64 sums[CALLS];
	struct drm_qda_call_arg args[CALLS][3];
	struct drm_qda_submission submissions[CALLS];
	struct drm_qda_completion completions[CALLS];
	int taken;
	size_t len;
	int excuse;
};

/* Calls of the pass that were accepted: these have an id. */
static int accepted(const struct fault_state *s)
{
	int count = 0;

	while (count < CALLS && s->submissions[count].id)
		count++;
	return count;
}

/* Completions that the program has got. */
static int delivered(const struct fault_state *s)
{
	int count = 0;

	while (count < CALLS && s->completions[count].id)
		count++;
	return count;
}

/* The calls of a pass: each with these scalars, and its arguments. */
static void new_calls(struct fault_state *s, __u32 scalars)
{
	for (int i = 0; i < CALLS; i++)
		s->submissions[i] = queue_call(s->module, scalars, s->args[i], i);
	memset(s->completions, 0, sizeof(s->completions));
	s->taken = 0;
	s->len = 0;
	/* That could not be sent. */
	s->excuse = -ENOMEM;
}

static void new_echoes(struct fault_state *s, size_t len)
{
	for (int i = 0; i < CALLS; i++) {
		s->args[i][0] = qda_bytes(in, len);
		s->args[i][1] = qda_bytes(out[i], len);
		memset(out[i], 0, len);
	}
	new_calls(s, QDA_SCALARS(SIMDSP_ECHO, 1, 1));
	s->len = len;
}

static int new_small(struct fault_state *s)
{
	new_echoes(s, 100);
	return 0;
}

/* More than is kept for calls. */
static int new_large(struct fault_state *s)
{
	new_echoes(s, LARGE);
	return 0;
}

static int new_buffer(struct fault_state *s)
{
	int ret = qda_buf_new(s->fd, SIZE, &s->buf);

	for (int i = 0; i < CALLS; i++) {
		s->args[i][0] = qda_part(&s->buf, 0, 100);
		s->args[i][1] = qda_part(&s->buf, SIZE / 2 + i * 100, 100);
	}
	new_calls(s, QDA_SCALARS(SIMDSP_ECHO, 1, 1));
	return ret;
}

static void free_buf(struct fault_state *s)
{
	qda_buf_free(&s->buf);
}

static int new_import(struct fault_state *s)
{
	int ret = dmabuf_import(s->fd, s->dmabuf, &s->handle);

	for (int i = 0; i < CALLS; i++) {
		s->args[i][0] = (struct drm_qda_call_arg) { .handle = s->handle, .length = 100 };
		s->args[i][1] = (struct drm_qda_call_arg) {
			.handle = s->handle, .offset = SIZE / 2 + i * 100, .length = 100,
		};
	}
	new_calls(s, QDA_SCALARS(SIMDSP_ECHO, 1, 1));
	return ret;
}

static void close_handle(struct fault_state *s)
{
	qda_gem_close(s->fd, s->handle);
}

static int new_loan(struct fault_state *s)
{
	int ret = qda_buf_new(s->fd, SIZE, &s->buf);

	for (int i = 0; i < CALLS; i++) {
		s->args[i][0] = qda_bytes(&s->seed, sizeof(s->seed));
		s->args[i][1] = qda_bytes(&s->sums[i], sizeof(s->sums[i]));
		s->args[i][2] = qda_part(&s->buf, 0, SIZE);
	}
	new_calls(s, QDA_SCALARS(SIMDSP_HANDLES, 1, 1) | QDA_SCALARS_HANDLES(1, 0));
	return ret;
}

/* The DSP has it as often as it got it. */
static void give_back(struct fault_state *s)
{
	__u64 number = s->buf.handle;
	struct drm_qda_invoke_arg arg = qda_inline(&number, sizeof(number));

	for (int i = 0; i < CALLS; i++)
		qda_invoke(s->fd, s->module, QDA_SCALARS(SIMDSP_GIVE_BACK, 1, 0), &arg);
	free_buf(s);
}

/* Only the one of the fixture is left: the last pass's has been ended, and its bank is free. */
static int new_process(struct fault_state *s)
{
	if (!simdsp_wait_stat("cdsp", "processes", 1, PATIENCE_MS))
		return -EBUSY;
	s->fd = qda_open_process("cdsp");
	return s->fd < 0 ? s->fd : simdsp_open(s->fd, &s->module);
}

static void close_process(struct fault_state *s)
{
	close(s->fd);
	s->fd = s->own_fd;
	s->module = s->own_module;
}

static int new_queue(struct fault_state *s)
{
	int ret = new_process(s) ?: queue_create(s->fd, DEPTH, MAX_THREADS);

	new_echoes(s, 100);
	return ret;
}

/* DRM_QDA_QUEUE_CREATE */

static int call_create(struct fault_state *s)
{
	return queue_create(s->fd, DEPTH, MAX_THREADS);
}

/* DRM_QDA_SUBMIT */

/* Submits what has not been accepted; it is enough if some of it is now. */
static int call_submit(struct fault_state *s)
{
	int before = accepted(s), ret;

	if (before == CALLS)
		return -EALREADY;
	ret = queue_submit(s->fd, s->submissions + before, CALLS - before);
	if (ret < 0)
		return ret;
	/* It says of as many that they were accepted as it has given an id. */
	return ret && ret == accepted(s) - before ? 0 : -EPROTO;
}

/* DRM_QDA_REAP */

static int new_done(struct fault_state *s)
{
	int ret;

	new_echoes(s, 100);
	ret = queue_submit(s->fd, s->submissions, CALLS);
	/* That the results could not be copied. */
	s->excuse = -EFAULT;
	return ret == CALLS ? 0 : -EPROTO;
}

/* Takes what has not been taken; it is enough if some of it is now. */
static int call_reap(struct fault_state *s)
{
	int left, ret;

	s->taken = delivered(s);
	left = CALLS - s->taken;
	if (!left)
		return -EALREADY;
	ret = queue_reap(s->fd, s->completions + s->taken, left, left, PATIENCE_MS);
	if (ret < 0)
		return ret;
	s->taken += ret;
	return ret ? 0 : -EPROTO;
}

/* DRM_QDA_CANCEL */

/* All threads have a call, so that one more has to wait. */
static int new_waiting(struct fault_state *s)
{
	struct drm_qda_submission held[MAX_THREADS];

	for (int i = 0; i < MAX_THREADS; i++)
		held[i] = queue_hold(s->module, i);
	if (queue_submit(s->fd, held, MAX_THREADS) != MAX_THREADS)
		return -EPROTO;
	s->submissions[0] = queue_hold(s->module, MAX_THREADS);
	return queue_submit(s->fd, s->submissions, 1) == 1 ? 0 : -EPROTO;
}

static int call_cancel(struct fault_state *s)
{
	return queue_cancel(s->fd, s->submissions[0].id);
}

static int check_cancelled(struct fault_state *s)
{
	struct drm_qda_completion done;

	if (queue_reap(s->fd, &done, 1, 1, PATIENCE_MS) != 1)
		return -ENOENT;
	return done.id == s->submissions[0].id && done.error == -ECANCELED ? 0 : -EPROTO;
}

static void release_held(struct fault_state *s)
{
	struct drm_qda_completion done[DEPTH];

	simdsp_wait_stat("cdsp", "parked", MAX_THREADS, PATIENCE_MS);
	simdsp_cmd(NULL, "release-held cdsp 0");
	queue_reap(s->fd, done, DEPTH, MAX_THREADS, PATIENCE_MS);
}

/* Whether each call that was accepted has one completion, with what the DSP has returned. */
static bool completed(const struct fault_state *s, int count)
{
	int seen = 0;

	for (int i = 0; i < count; i++) {
		const struct drm_qda_completion *done = &s->completions[i];
		__u64 which = done->user_data;

		if (which >= count || seen & 1 << which || done->status ||
		    done->id != s->submissions[which].id)
			return false;
		seen |= 1 << which;
		if (done->error == s->excuse)
			continue;
		if (done->error || !qda_filled(out[which], s->len, 1))
			return false;
	}
	return true;
}

/* Takes the other completions. Return: 0, or -errno if there is one too few, or too many. */
static int check_calls(struct fault_state *s)
{
	int count = accepted(s);

	s->taken = delivered(s);
	if (qda_fdinfo(s->fd, "qda-submissions") != count - s->taken)
		return -ENOSPC;
	while (s->taken < count) {
		int ret = queue_reap(s->fd, s->completions + s->taken, count - s->taken, 1,
				     PATIENCE_MS);

		if (ret <= 0)
			return ret ?: -ENOENT;
		s->taken += ret;
	}
	if (!completed(s, count))
		return -EPROTO;
	return qda_fdinfo(s->fd, "qda-submissions") ? -ENOSPC : 0;
}

/* The queue that was made works. */
static int check_created(struct fault_state *s)
{
	new_echoes(s, 100);
	s->excuse = 0;
	return call_submit(s) ?: check_calls(s);
}

FIXTURE(faultinject)
{
	struct fault_state s;
};

FIXTURE_VARIANT(faultinject)
{
	const struct fault_op *op;
};

FAULT_OP(queue_create, .prepare = new_process, .call = call_create, .check = check_created,
	 .settle = close_process);
FAULT_OP(submit, .prepare = new_small, .call = call_submit, .check = check_calls,
	 .done = -EALREADY);
FAULT_OP(submit_first, .prepare = new_queue, .call = call_submit, .check = check_calls,
	 .settle = close_process, .done = -EALREADY);
FAULT_OP(submit_large, .prepare = new_large, .call = call_submit, .check = check_calls,
	 .done = -EALREADY);
FAULT_OP(submit_buffer, .prepare = new_buffer, .call = call_submit, .check = check_calls,
	 .settle = free_buf, .done = -EALREADY);
FAULT_OP(submit_import, .prepare = new_import, .call = call_submit, .check = check_calls,
	 .settle = close_handle, .done = -EALREADY);
FAULT_OP(submit_handle, .prepare = new_loan, .call = call_submit, .check = check_calls,
	 .settle = give_back, .done = -EALREADY);
FAULT_OP(reap, .prepare = new_done, .call = call_reap, .check = check_calls, .done = -EALREADY);
FAULT_OP(cancel, .prepare = new_waiting, .call = call_cancel, .check = check_cancelled,
	 .settle = release_held);

FIXTURE_SETUP(faultinject)
{
	struct fault_state *s = &self->s;
	const char *why = qda_test_begin("faultinject_submit", _metadata->name, true);

	s->own_fd = -1;
	s->dmabuf = -1;
	if (!why)
		why = faults_begin();
	if (why)
		SKIP(return, "%s", why);
	s->own_fd = qda_open_process("cdsp");
	ASSERT_LE(0, s->own_fd);
	ASSERT_EQ(0, simdsp_open(s->own_fd, &s->own_module));
	ASSERT_EQ(0, queue_create(s->own_fd, DEPTH, MAX_THREADS));
	s->fd = s->own_fd;
	s->module = s->own_module;
	s->dmabuf = dmabuf_heap(SIZE);
	ASSERT_LE(0, s->dmabuf);
	qda_fill(in, sizeof(in), 1);
}

FIXTURE_TEARDOWN(faultinject)
{
	close(self->s.dmabuf);
	close(self->s.own_fd);
	EXPECT_EQ(0, qda_test_end());
}

TEST_F_TIMEOUT(faultinject, every_fault, 240)
{
	struct drm_qda_submission held[DEPTH + 1];
	struct drm_qda_completion done[DEPTH];
	struct fault_state *s = &self->s;
	struct fault_state other = { .own_fd = s->fd };

	EXPECT_TRUE(faults_try(variant->op, s));
	/*
	 * The queue has all its places and threads, and with those of another one there are as many
	 * calls in flight as there ever may be.
	 */
	ASSERT_EQ(0, new_queue(&other));
	for (int i = 0; i < DEPTH + 1; i++)
		held[i] = queue_hold(s->module, i);
	ASSERT_EQ(DEPTH, queue_submit(s->fd, held, DEPTH + 1));
	EXPECT_TRUE(simdsp_wait_stat("cdsp", "parked", MAX_THREADS, PATIENCE_MS));
	for (int i = 0; i < MAX_THREADS; i++)
		held[i] = queue_hold(other.module, i);
	ASSERT_EQ(MAX_THREADS, queue_submit(other.fd, held, MAX_THREADS));
	EXPECT_TRUE(simdsp_wait_stat("cdsp", "parked", MAX_SUBMITTED, PATIENCE_MS));
	close_process(&other);
	EXPECT_TRUE(simdsp_wait_stat("cdsp", "parked", MAX_THREADS, PATIENCE_MS));
	EXPECT_EQ(0, simdsp_cmd(NULL, "release-held cdsp 0"));
	EXPECT_TRUE(simdsp_wait_stat("cdsp", "parked", DEPTH - MAX_THREADS, PATIENCE_MS));
	EXPECT_EQ(0, simdsp_cmd(NULL, "release-held cdsp 0"));
	EXPECT_EQ(DEPTH, queue_reap(s->fd, done, DEPTH, DEPTH, PATIENCE_MS));
}

TEST_HARNESS_MAIN
