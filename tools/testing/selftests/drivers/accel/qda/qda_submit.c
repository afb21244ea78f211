// SPDX-License-Identifier: GPL-2.0
/*
 * QDA: calls for which no thread waits: queues, submissions, completions.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "child.h"
#include "fixture.h"
#include "harness.h"
#include "module.h"
#include "qda.h"
#include "queue.h"
#include "simdsp.h"

/* What is waited for comes long before; only a test that fails waits so long. */
#define PATIENCE_MS	qda_patience(15000)

#define MAX_BATCH	512

/* No thread of Linux has a number like this. */
#define PID_MAX_LIMIT	(4 << 20)

FIXTURE(submit)
{
	int fd;
	__u32 handle;
};

FIXTURE_SETUP(submit)
{
	fixture_setup(_metadata, &self->fd, &self->handle);
}

FIXTURE_TEARDOWN(submit)
{
	fixture_teardown(_metadata, self->fd);
}

static int poll_events(int fd, int ms)
{
	struct pollfd pollfd = { .fd = fd, .events = POLLIN };
	int ret = poll(&pollfd, 1, ms);

	return ret < 0 ? -errno : pollfd.revents;
}

TEST_F(submit, results)
{
	static const size_t sizes[] = { 0, 1, 4, 127, 4096, 100001 };
	static __u8 in[ARRAY_SIZE(sizes)][100001], out[ARRAY_SIZE(sizes)][100001];
	struct drm_qda_submission submissions[ARRAY_SIZE(sizes)];
	struct drm_qda_completion completions[ARRAY_SIZE(sizes)];
	struct drm_qda_call_arg args[ARRAY_SIZE(sizes)][2];
	int count = ARRAY_SIZE(sizes), seen = 0;

	ASSERT_EQ(0, queue_create(self->fd, 16, 16));
	for (int i = 0; i < count; i++) {
		qda_fill(in[i], sizes[i], i);
		args[i][0] = qda_bytes(in[i], sizes[i]);
		args[i][1] = qda_bytes(out[i], sizes[i]);
		submissions[i] = queue_call(self->handle, QDA_SCALARS(SIMDSP_ECHO, 1, 1), args[i],
					    ~0ULL - i);
	}
	ASSERT_EQ(count, queue_submit(self->fd, submissions, count));
	/* What was submitted is the kernel's. */
	for (int i = 0; i < count; i++)
		memset(in[i], 0xee, sizes[i]);
	memset(args, 0xee, sizeof(args));

	/* When all have ended nothing was copied yet. */
	for (int i = 0; i < PATIENCE_MS && simdsp_stat("cdsp", "outstanding"); i++)
		usleep(1000);
	for (int i = 0; i < count; i++)
		EXPECT_TRUE(qda_all(out[i], sizes[i], 0));
	ASSERT_EQ(count, queue_reap(self->fd, completions, count, count, PATIENCE_MS));
	for (int i = 0; i < count; i++) {
		int which = ~0ULL - completions[i].user_data;

		ASSERT_GT(count, which);
		seen |= 1 << which;
		EXPECT_EQ(submissions[which].id, completions[i].id);
		EXPECT_NE(0, completions[i].id);
		EXPECT_EQ(0, completions[i].error);
		EXPECT_EQ(0, completions[i].status);
		EXPECT_TRUE(qda_filled(out[which], sizes[which], which));
	}
	EXPECT_EQ((1 << count) - 1, seen);
	EXPECT_EQ(0, queue_reap(self->fd, completions, count, 0, 0));
}

TEST_F(submit, every_status)
{
	static const __s32 statuses[] = {
		0, 1, -1, -4, -512, -4095, 0x7fffffff, -0x7fffffff - 1, DSP_EUNSUPPORTED,
	};

	ASSERT_EQ(0, queue_create(self->fd, 1, 1));
	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++) {
		__s32 in[2] = { statuses[i], 42 }, out = 0;
		struct drm_qda_call_arg args[3] = {
			qda_bytes(&in[0], 4), qda_bytes(&in[1], 4), qda_bytes(&out, 4),
		};
		struct drm_qda_submission submission =
			queue_call(self->handle, QDA_SCALARS(SIMDSP_STATUS, 2, 1), args, i);
		struct drm_qda_completion completion;

		ASSERT_EQ(1, queue_submit(self->fd, &submission, 1));
		ASSERT_EQ(1, queue_reap(self->fd, &completion, 1, 1, PATIENCE_MS));
		EXPECT_EQ(0, completion.error);
		EXPECT_EQ(statuses[i], completion.status);
		/* Results are results, whatever the status. */
		EXPECT_EQ(42, out);
	}
}

TEST_F(submit, buffers_stay_until_the_end)
{
	/* The program lets go of its buffers while the DSP has yet to read and write them. */
	struct drm_qda_submission submissions[2];
	struct drm_qda_completion completions[2];
	struct drm_qda_call_arg args[3];
	__u32 ms = qda_patience(300);
	struct qda_buf in, out;

	ASSERT_EQ(0, queue_create(self->fd, 4, 1));
	ASSERT_EQ(0, qda_buf_new(self->fd, 3 * 4096, &in));
	ASSERT_EQ(0, qda_buf_new(self->fd, 3 * 4096, &out));
	qda_fill(in.map, 10000, 3);
	args[0] = qda_bytes(&ms, 4);
	args[1] = qda_part(&in, 0, 10000);
	args[2] = qda_part(&out, 100, 10000);
	/* With one thread the second waits for the first. */
	submissions[0] = queue_call(self->handle, QDA_SCALARS(SIMDSP_SLOW_ECHO, 2, 1), args, 0);
	submissions[1] = queue_call(self->handle, QDA_SCALARS(SIMDSP_INVERT, 1, 1), args + 1, 1);
	ASSERT_EQ(2, queue_submit(self->fd, submissions, 2));
	ASSERT_EQ(0, qda_gem_close(self->fd, in.handle));
	ASSERT_EQ(0, qda_gem_close(self->fd, out.handle));
	ASSERT_EQ(2, queue_reap(self->fd, completions, 2, 2, PATIENCE_MS));
	for (int i = 0; i < 2; i++) {
		EXPECT_EQ(i, completions[i].user_data);
		EXPECT_EQ(0, completions[i].error);
		EXPECT_EQ(0, completions[i].status);
	}
	for (int i = 0; i < 10000; i++)
		ASSERT_EQ((__u8)~in.map[i], out.map[100 + i]);
	munmap(in.map, in.size);
	munmap(out.map, out.size);
}

TEST_F(submit, batches)
{
	struct drm_qda_submission submissions[20];
	struct drm_qda_completion completions[20];
	struct drm_qda_call_arg args[20][2];
	__u32 in[20], out[20];
	int done = 0;

	ASSERT_EQ(0, queue_create(self->fd, 8, 3));
	for (int i = 0; i < 20; i++) {
		in[i] = 1000 + i;
		args[i][0] = qda_bytes(&in[i], 4);
		args[i][1] = qda_bytes(&out[i], 4);
		submissions[i] = queue_call(self->handle, QDA_SCALARS(SIMDSP_ECHO, 1, 1), args[i],
					    i);
	}

	/* As many as there is room for. */
	ASSERT_EQ(8, queue_submit(self->fd, submissions, 20));
	EXPECT_EQ(-EAGAIN, queue_submit(self->fd, submissions + 8, 12));
	EXPECT_EQ(8, qda_fdinfo(self->fd, "qda-submissions"));
	done = queue_reap(self->fd, completions, 5, 5, PATIENCE_MS);
	ASSERT_EQ(5, done);
	for (int i = 8; i < 13; i++)
		EXPECT_EQ(0, submissions[i].id);

	/* Up to the first that is not accepted; the error comes with the next. */
	submissions[10].flags = 1;
	ASSERT_EQ(2, queue_submit(self->fd, submissions + 8, 12));
	EXPECT_NE(0, submissions[9].id);
	EXPECT_EQ(0, submissions[10].id);
	EXPECT_EQ(-EINVAL, queue_submit(self->fd, submissions + 10, 10));
	submissions[10].flags = 0;
	args[12][0].length = QDA_MAX_INLINE_SIZE + 1;
	for (int at = 10; at < 12;) {
		int ret = queue_submit(self->fd, submissions + at, 20 - at);

		if (ret == -EAGAIN) {
			ret = queue_reap(self->fd, completions, 8, 1, PATIENCE_MS);
			ASSERT_LT(0, ret);
			done += ret;
			continue;
		}
		ASSERT_LT(0, ret);
		at += ret;
		ASSERT_GE(12, at);
	}
	EXPECT_EQ(-E2BIG, queue_submit(self->fd, submissions + 12, 8));
	while (done < 12) {
		int ret = queue_reap(self->fd, completions, 20, 1, PATIENCE_MS);

		ASSERT_LT(0, ret);
		done += ret;
	}
	EXPECT_EQ(12, done);
	for (int i = 0; i < 12; i++)
		EXPECT_EQ(in[i], out[i]);
	EXPECT_EQ(0, qda_fdinfo(self->fd, "qda-submissions"));
}

TEST_F(submit, one_thread_keeps_the_order)
{
	struct drm_qda_submission submissions[32];
	struct drm_qda_completion completions[32];
	struct drm_qda_call_arg args[32];
	struct simdsp_info infos[32];

	ASSERT_EQ(0, queue_create(self->fd, 32, 1));
	for (int i = 0; i < 32; i++) {
		args[i] = qda_bytes(&infos[i], sizeof(infos[i]));
		submissions[i] = queue_call(self->handle, QDA_SCALARS(SIMDSP_INFO, 0, 1), &args[i],
					    i);
	}
	ASSERT_EQ(32, queue_submit(self->fd, submissions, 32));
	ASSERT_EQ(32, queue_reap(self->fd, completions, 32, 32, PATIENCE_MS));
	for (int i = 0; i < 32; i++) {
		EXPECT_EQ(i, completions[i].user_data);
		EXPECT_EQ(0, completions[i].error);
		EXPECT_EQ(infos[0].tid, infos[i].tid);
		/* Contexts have a number that grows, above their lowest 16 bits. */
		EXPECT_TRUE(!i || infos[i].ctx >> 16 > infos[i - 1].ctx >> 16);
	}
}

TEST_F(submit, threads_of_its_own)
{
	/* No number of a thread is one that a thread of the machine can have. */
	struct drm_qda_submission submissions[256];
	struct drm_qda_completion completions[256];
	struct drm_qda_call_arg args[256];
	struct simdsp_info infos[256], mine;
	long long threads;

	ASSERT_EQ(0, queue_create(self->fd, 256, 16));
	ASSERT_EQ(0, simdsp_info(self->fd, self->handle, &mine));
	EXPECT_EQ(getpid(), mine.tid);
	for (int i = 0; i < 256; i++) {
		args[i] = qda_bytes(&infos[i], sizeof(infos[i]));
		submissions[i] = queue_call(self->handle, QDA_SCALARS(SIMDSP_INFO, 0, 1), &args[i],
					    i);
	}
	ASSERT_EQ(256, queue_submit(self->fd, submissions, 256));
	ASSERT_EQ(256, queue_reap(self->fd, completions, 256, 256, PATIENCE_MS));
	for (int i = 0; i < 256; i++) {
		EXPECT_EQ(mine.client_id, infos[i].client_id);
		EXPECT_EQ(mine.bank, infos[i].bank);
		EXPECT_LT(PID_MAX_LIMIT, infos[i].tid);
		EXPECT_GT(16, infos[i].tid & 0xff);
	}
	threads = simdsp_stat("cdsp", "threads");
	EXPECT_LE(2, threads);
	EXPECT_GE(17, threads);
}

TEST_F(submit, idle_threads_end)
{
	struct drm_qda_submission submissions[32];
	struct drm_qda_completion completions[32];

	ASSERT_EQ(0, queue_create(self->fd, 32, 32));
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 32; i++)
			submissions[i] = queue_hold(self->handle, i);
		ASSERT_EQ(32, queue_submit(self->fd, submissions, 32));
		EXPECT_TRUE(simdsp_wait_stat("cdsp", "parked", 32, PATIENCE_MS));
		/* And that of this thread, which has made calls. */
		EXPECT_EQ(33, simdsp_stat("cdsp", "threads"));
		EXPECT_EQ(0, simdsp_cmd(NULL, "release-held cdsp 0"));
		ASSERT_EQ(32, queue_reap(self->fd, completions, 32, 32, PATIENCE_MS));
		/* They end when there is nothing to do, and come again. */
		EXPECT_TRUE(simdsp_wait_stat("cdsp", "threads", 1, PATIENCE_MS));
	}
}

TEST_F(submit, poll)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLET };
	struct drm_qda_completion completions[4];
	struct drm_qda_submission submission;
	struct drm_qda_call_arg arg;
	__u32 ms = qda_patience(300);
	long long start;
	int epoll;

	EXPECT_EQ(POLLERR, poll_events(self->fd, 0));
	ASSERT_EQ(0, queue_create(self->fd, 4, 4));
	EXPECT_EQ(0, poll_events(self->fd, 0));
	epoll = epoll_create1(EPOLL_CLOEXEC);
	ASSERT_LE(0, epoll);
	ASSERT_EQ(0, epoll_ctl(epoll, EPOLL_CTL_ADD, self->fd, &event));
	EXPECT_EQ(0, epoll_wait(epoll, &event, 1, 0));

	arg = qda_bytes(&ms, 4);
	submission = queue_call(self->handle, QDA_SCALARS(SIMDSP_SLEEP, 1, 0), &arg, 0);
	for (int i = 0; i < 3; i++) {
		start = qda_now_ms();
		submission.id = 0;
		ASSERT_EQ(1, queue_submit(self->fd, &submission, 1));
		/* It does not wait for the DSP. */
		EXPECT_GT(qda_patience(250), qda_now_ms() - start);
		EXPECT_EQ(0, poll_events(self->fd, 0));
		EXPECT_EQ(POLLIN, poll_events(self->fd, PATIENCE_MS));
		EXPECT_LE(ms, qda_now_ms() - start);
		EXPECT_EQ(1, epoll_wait(epoll, &event, 1, PATIENCE_MS));
		EXPECT_EQ(EPOLLIN, event.events);
		/* It stays so until the completion is taken. */
		EXPECT_EQ(POLLIN, poll_events(self->fd, 0));
		EXPECT_EQ(1, queue_reap(self->fd, completions, 4, 0, 0));
		EXPECT_EQ(0, poll_events(self->fd, 0));
		EXPECT_EQ(0, epoll_wait(epoll, &event, 1, 0));
	}
	close(epoll);
}

TEST_F(submit, timeouts)
{
	struct drm_qda_submission submissions[2];
	struct drm_qda_completion completions[2];
	long long start = qda_now_ms();

	ASSERT_EQ(0, queue_create(self->fd, 4, 4));
	/* Nothing was submitted. */
	EXPECT_EQ(0, queue_reap(self->fd, completions, 2, 0, 0));
	EXPECT_EQ(0, queue_reap(self->fd, completions, 2, 0, qda_patience(1000)));
	EXPECT_GT(qda_patience(900), qda_now_ms() - start);
	EXPECT_EQ(-ETIME, queue_reap(self->fd, completions, 2, 1, -1));
	start = qda_now_ms();
	EXPECT_EQ(-ETIME, queue_reap(self->fd, completions, 2, 1, 200));
	EXPECT_LE(200, qda_now_ms() - start);

	/* One of two is better than none. */
	submissions[0] = queue_call(self->handle, QDA_SCALARS(SIMDSP_ECHO, 0, 0), NULL, 7);
	submissions[1] = queue_hold(self->handle, 8);
	ASSERT_EQ(2, queue_submit(self->fd, submissions, 2));
	EXPECT_EQ(POLLIN, poll_events(self->fd, PATIENCE_MS));
	start = qda_now_ms();
	EXPECT_EQ(1, queue_reap(self->fd, completions, 2, 2, 200));
	EXPECT_LE(200, qda_now_ms() - start);
	EXPECT_EQ(7, completions[0].user_data);
	EXPECT_EQ(-ETIME, queue_reap(self->fd, completions, 2, 2, 50));

	ASSERT_TRUE(simdsp_wait_stat("cdsp", "parked", 1, PATIENCE_MS));
	EXPECT_EQ(0, simdsp_cmd(NULL, "release-held cdsp 5"));
	EXPECT_EQ(1, queue_reap(self->fd, completions, 2, 1, PATIENCE_MS));
	EXPECT_EQ(8, completions[0].user_data);
	EXPECT_EQ(5, completions[0].status);
}

TEST_F(submit, cancelled)
{
	struct drm_qda_submission submissions[6];
	struct drm_qda_completion completion;
	long long invokes;

	ASSERT_EQ(0, queue_create(self->fd, 6, 1));
	for (int i = 0; i < 6; i++)
		submissions[i] = queue_hold(self->handle, i);
	ASSERT_EQ(6, queue_submit(self->fd, submissions, 6));
	ASSERT_TRUE(simdsp_wait_stat("cdsp", "parked", 1, PATIENCE_MS));
	invokes = simdsp_stat("cdsp", "invokes");

	EXPECT_EQ(-EBUSY, queue_cancel(self->fd, submissions[0].id));
	EXPECT_EQ(0, queue_cancel(self->fd, submissions[3].id));
	EXPECT_EQ(-ENOENT, queue_cancel(self->fd, submissions[3].id));
	EXPECT_EQ(0, queue_cancel(self->fd, submissions[1].id));
	EXPECT_EQ(0, queue_cancel(self->fd, submissions[5].id));
	EXPECT_EQ(-ENOENT, queue_cancel(self->fd, 0));
	EXPECT_EQ(-ENOENT, queue_cancel(self->fd, ~0ULL));
	EXPECT_EQ(-ENOENT, queue_cancel(self->fd, submissions[0].id + (1ULL << 16)));

	for (int i = 0; i < 3; i++) {
		static const int order[] = { 3, 1, 5 };

		ASSERT_EQ(1, queue_reap(self->fd, &completion, 1, 1, 0));
		EXPECT_EQ(order[i], completion.user_data);
		EXPECT_EQ(submissions[order[i]].id, completion.id);
		EXPECT_EQ(-ECANCELED, completion.error);
		EXPECT_EQ(0, completion.status);
	}
	EXPECT_EQ(-ENOENT, queue_cancel(self->fd, submissions[3].id));
	EXPECT_EQ(-ETIME, queue_reap(self->fd, &completion, 1, 1, 50));

	/* The others are made, and no more than these. */
	for (int i = 0; i < 6; i += 2) {
		ASSERT_TRUE(simdsp_wait_stat("cdsp", "parked", 1, PATIENCE_MS));
		EXPECT_EQ(0, simdsp_cmd(NULL, "release-held cdsp 0"));
		ASSERT_EQ(1, queue_reap(self->fd, &completion, 1, 1, PATIENCE_MS));
		EXPECT_EQ(i, completion.user_data);
		EXPECT_EQ(0, completion.error);
		EXPECT_EQ(-ENOENT, queue_cancel(self->fd, completion.id));
	}
	EXPECT_EQ(invokes + 2, simdsp_stat("cdsp", "invokes"));
}

TEST_F(submit, cancelled_loan_is_none)
{
	/* A buffer that is to be handed to the DSP under a number, with a call that is not made. */
	__u32 seed = 0, scalars = QDA_SCALARS(SIMDSP_HANDLES, 1, 1) | QDA_SCALARS_HANDLES(1, 0);
	struct drm_qda_call_arg args[3];
	struct drm_qda_submission submissions[2], again;
	struct drm_qda_completion completions[2];
	struct qda_buf first, second;
	__u64 sum = 0, number;
	__u32 old;

	ASSERT_EQ(0, queue_create(self->fd, 4, 1));
	ASSERT_EQ(0, qda_buf_new(self->fd, 4096, &first));
	old = first.handle;
	args[0] = qda_bytes(&seed, 4);
	args[1] = qda_bytes(&sum, 8);
	args[2] = qda_part(&first, 0, 4096);
	submissions[0] = queue_hold(self->handle, 0);
	submissions[1] = queue_call(self->handle, scalars, args, 1);
	ASSERT_EQ(2, queue_submit(self->fd, submissions, 2));
	ASSERT_TRUE(simdsp_wait_stat("cdsp", "parked", 1, PATIENCE_MS));
	qda_buf_free(&first);
	ASSERT_EQ(0, qda_buf_new(self->fd, 4096, &second));
	ASSERT_EQ(old, second.handle);
	qda_fill(second.map, 4096, 9);
	args[2] = qda_part(&second, 0, 4096);
	again = queue_call(self->handle, scalars, args, 2);
	/* The number means another buffer by now. */
	ASSERT_EQ(1, queue_submit(self->fd, &again, 1));

	EXPECT_EQ(0, queue_cancel(self->fd, submissions[1].id));
	ASSERT_EQ(1, queue_reap(self->fd, completions, 2, 1, 0));
	EXPECT_EQ(-ECANCELED, completions[0].error);
	EXPECT_EQ(0, simdsp_cmd(NULL, "release-held cdsp 0"));
	ASSERT_EQ(2, queue_reap(self->fd, completions, 2, 2, PATIENCE_MS));
	EXPECT_EQ(0, completions[1].error);
	EXPECT_EQ(simdsp_checksum(second.map, 4096), sum);

	number = old;
	args[0] = qda_bytes(&number, 8);
	submissions[0] = queue_call(self->handle, QDA_SCALARS(SIMDSP_GIVE_BACK, 1, 0), args, 2);
	ASSERT_EQ(1, queue_submit(self->fd, submissions, 1));
	ASSERT_EQ(1, queue_reap(self->fd, completions, 2, 1, PATIENCE_MS));
	EXPECT_EQ(0, completions[0].status);
	qda_buf_free(&second);
}

static void no_handler(int signal)
{
}

TEST_F(submit, interrupted)
{
	struct sigaction action = { .sa_handler = no_handler };
	struct drm_qda_submission submission;
	struct drm_qda_completion completion;
	struct drm_qda_call_arg arg;
	__u32 ms = 600;
	int ret, interrupts = 0;

	ASSERT_EQ(0, queue_create(self->fd, 4, 4));
	arg = qda_bytes(&ms, 4);
	for (int restart = 0; restart < 2; restart++) {
		action.sa_flags = restart ? SA_RESTART : 0;
		ASSERT_EQ(0, sigaction(SIGALRM, &action, NULL));
		submission = queue_call(self->handle, QDA_SCALARS(SIMDSP_SLEEP, 1, 0), &arg,
					restart);
		ASSERT_EQ(1, queue_submit(self->fd, &submission, 1));
		ualarm(50000, 50000);
		interrupts = 0;
		do {
			ret = queue_reap(self->fd, &completion, 1, 1, PATIENCE_MS);
			interrupts += ret == -EINTR;
		} while (ret == -EINTR);
		ualarm(0, 0);
		EXPECT_EQ(1, ret);
		EXPECT_EQ(restart, completion.user_data);
		EXPECT_EQ(0, completion.error);
		EXPECT_EQ(!restart, interrupts > 0);
	}
}

TEST_F(submit, fault_costs_nothing_else)
{
	long page = sysconf(_SC_PAGESIZE);
	struct drm_qda_completion completions[3];
	struct drm_qda_submission submissions[3];
	struct drm_qda_call_arg args[3][2];
	__u32 in[3] = { 5, 6, 7 }, *out[3], good[2];
	struct drm_qda_reap bad = {
		.completions = 8,
		.completion_size = sizeof(completions[0]),
		.max_count = 3,
	};
	void *map = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT_NE(MAP_FAILED, map);
	ASSERT_EQ(0, queue_create(self->fd, 4, 1));
	out[0] = &good[0];
	out[1] = map;
	out[2] = &good[1];
	for (int i = 0; i < 3; i++) {
		args[i][0] = qda_bytes(&in[i], 4);
		args[i][1] = qda_bytes(out[i], 4);
		submissions[i] = queue_call(self->handle, QDA_SCALARS(SIMDSP_ECHO, 1, 1), args[i],
					    i);
	}
	ASSERT_EQ(3, queue_submit(self->fd, submissions, 3));
	munmap(map, page);
	EXPECT_EQ(POLLIN, poll_events(self->fd, PATIENCE_MS));
	/* Completions that cannot be delivered stay. */
	bad.timeout_ns = queue_deadline(0);
	EXPECT_EQ(-EFAULT, qda_ioctl(self->fd, DRM_IOCTL_QDA_REAP, &bad));
	EXPECT_EQ(-EFAULT, qda_ioctl(self->fd, DRM_IOCTL_QDA_REAP, &bad));
	ASSERT_EQ(3, queue_reap(self->fd, completions, 3, 3, PATIENCE_MS));
	for (int i = 0; i < 3; i++) {
		EXPECT_EQ(i, completions[i].user_data);
		EXPECT_EQ(i == 1 ? -EFAULT : 0, completions[i].error);
	}
	EXPECT_EQ(5, good[0]);
	EXPECT_EQ(7, good[1]);
}

TEST_F(submit, ids_tell_what_happened)
{
	/* A page whose structures the kernel can read, and not write, and one before it. */
	long page = sysconf(_SC_PAGESIZE);
	struct drm_qda_submission submissions[2];
	struct drm_qda_completion completions[2] = { 0 }, *torn;
	struct drm_qda_submit *arg;
	struct drm_qda_reap *taken;
	char *map;

	map = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, map);
	arg = (void *)(map + page);
	taken = (void *)(arg + 1);
	/* Its id could be written, the rest could not. */
	torn = (void *)(map + page - sizeof(torn->id));
	*arg = (struct drm_qda_submit) {
		.submissions = (uintptr_t)submissions,
		.submission_size = sizeof(submissions[0]),
		.arg_size = sizeof(struct drm_qda_call_arg),
		.count = 2,
	};
	*taken = (struct drm_qda_reap) {
		.completions = (uintptr_t)completions,
		.completion_size = sizeof(completions[0]),
		.max_count = 2,
		.min_count = 2,
		.timeout_ns = queue_deadline(PATIENCE_MS),
	};
	ASSERT_EQ(0, mprotect(map + page, page, PROT_READ));

	ASSERT_EQ(0, queue_create(self->fd, 4, 1));
	for (int i = 0; i < 2; i++)
		submissions[i] = queue_call(self->handle, QDA_SCALARS(SIMDSP_ECHO, 0, 0), NULL, i);
	EXPECT_EQ(-EFAULT, qda_ioctl(self->fd, DRM_IOCTL_QDA_SUBMIT, arg));
	EXPECT_EQ(2, qda_fdinfo(self->fd, "qda-submissions"));
	EXPECT_EQ(-EFAULT, queue_reap(self->fd, torn, 1, 1, PATIENCE_MS));
	EXPECT_EQ(0, torn->id);
	EXPECT_EQ(2, qda_fdinfo(self->fd, "qda-submissions"));
	EXPECT_EQ(-EFAULT, qda_ioctl(self->fd, DRM_IOCTL_QDA_REAP, taken));
	EXPECT_EQ(0, qda_fdinfo(self->fd, "qda-submissions"));
	for (int i = 0; i < 2; i++) {
		EXPECT_NE(0, submissions[i].id);
		EXPECT_EQ(submissions[i].id, completions[i].id);
		EXPECT_EQ(i, completions[i].user_data);
		EXPECT_EQ(0, completions[i].error);
	}
	munmap(map, 2 * page);
}

TEST_F(submit, structures_may_grow)
{
	struct {
		struct drm_qda_submission submission;
		__u64 more[2];
	} large[2] = { 0 };
	struct {
		struct drm_qda_completion completion;
		__u64 more[9];
	} wide[2];
	struct drm_qda_submit arg = {
		.submissions = (uintptr_t)large,
		.submission_size = sizeof(large[0]),
		.arg_size = sizeof(struct drm_qda_call_arg),
		.count = 2,
	};
	struct drm_qda_reap taken = {
		.completions = (uintptr_t)wide,
		.completion_size = sizeof(wide[0]),
		.max_count = 2,
		.min_count = 2,
		.timeout_ns = queue_deadline(PATIENCE_MS),
	};

	ASSERT_EQ(0, queue_create(self->fd, 4, 1));
	for (int i = 0; i < 2; i++)
		large[i].submission = queue_call(self->handle, QDA_SCALARS(SIMDSP_ECHO, 0, 0), NULL,
						 i);
	large[1].more[1] = 1ULL << 63;
	EXPECT_EQ(0, qda_ioctl(self->fd, DRM_IOCTL_QDA_SUBMIT, &arg));
	EXPECT_EQ(1, arg.accepted);
	arg.submissions = (uintptr_t)&large[1];
	arg.count = 1;
	arg.accepted = 0;
	EXPECT_EQ(-E2BIG, qda_ioctl(self->fd, DRM_IOCTL_QDA_SUBMIT, &arg));
	large[1].more[1] = 0;
	EXPECT_EQ(0, qda_ioctl(self->fd, DRM_IOCTL_QDA_SUBMIT, &arg));
	EXPECT_EQ(1, arg.accepted);

	memset(wide, 0xee, sizeof(wide));
	EXPECT_EQ(0, qda_ioctl(self->fd, DRM_IOCTL_QDA_REAP, &taken));
	ASSERT_EQ(2, taken.reaped);
	for (int i = 0; i < 2; i++) {
		EXPECT_EQ(i, wide[i].completion.user_data);
		EXPECT_EQ(large[i].submission.id, wide[i].completion.id);
		EXPECT_TRUE(qda_all(wide[i].more, sizeof(wide[i].more), 0));
	}
}

TEST_F(submit, refused)
{
	struct drm_qda_queue_create queue = { .depth = 4, .threads = 2 };
	struct drm_qda_completion completion;
	struct drm_qda_submission submission, good;
	struct drm_qda_submit arg = {
		.submissions = (uintptr_t)&submission,
		.submission_size = sizeof(submission),
		.arg_size = sizeof(struct drm_qda_call_arg),
		.count = 1,
	};
	struct drm_qda_reap taken = {
		.completions = (uintptr_t)&completion,
		.completion_size = sizeof(completion),
		.max_count = 1,
	};
	struct drm_qda_cancel id = { .id = 1 };
	struct drm_qda_call_arg args[2];
	__u32 in = 3, out = 0;
	__u64 depth, threads;
	int fd;

	args[0] = qda_bytes(&in, 4);
	args[1] = qda_bytes(&out, 4);
	good = queue_call(self->handle, QDA_SCALARS(SIMDSP_ECHO, 1, 1), args, 0);

	fd = qda_open("cdsp");
	ASSERT_LE(0, fd);
	EXPECT_EQ(-ENOTCONN, queue_create(fd, 4, 2));
	EXPECT_EQ(-ENOTCONN, queue_submit(fd, &good, 1));
	close(fd);
	EXPECT_EQ(-ENOTCONN, queue_submit(self->fd, &good, 1));
	EXPECT_EQ(-ENOTCONN, queue_reap(self->fd, &completion, 1, 0, 0));
	EXPECT_EQ(-ENOTCONN, queue_cancel(self->fd, 1));

	ASSERT_EQ(0, qda_param(self->fd, QDA_PARAM_MAX_DEPTH, 0, &depth));
	ASSERT_EQ(0, qda_param(self->fd, QDA_PARAM_MAX_THREADS, 0, &threads));
	EXPECT_LE(256, depth);
	EXPECT_LE(32, threads);
#define REFUSED(error, cmd, arg, change, undo) do { \
	submission = good; \
	change; \
	EXPECT_EQ(error, qda_ioctl(self->fd, cmd, arg)); \
	undo; \
} while (0)
#define CREATE(change, undo) \
	REFUSED(-EINVAL, DRM_IOCTL_QDA_QUEUE_CREATE, &queue, change, undo)
	CREATE(queue.depth = 0, (void)0);
	CREATE(queue.depth = depth + 1, queue.depth = 4);
	CREATE(queue.threads = 0, (void)0);
	CREATE(queue.threads = threads + 1, queue.threads = 2);
	CREATE(queue.flags = 1, queue.flags = 0);
	CREATE(queue.pad = 1, queue.pad = 0);
#undef CREATE
	ASSERT_EQ(0, qda_ioctl(self->fd, DRM_IOCTL_QDA_QUEUE_CREATE, &queue));
	EXPECT_EQ(-EEXIST, qda_ioctl(self->fd, DRM_IOCTL_QDA_QUEUE_CREATE, &queue));

#define SUBMIT(error, change, undo) \
	REFUSED(error, DRM_IOCTL_QDA_SUBMIT, &arg, change, undo)
	SUBMIT(-EINVAL, arg.count = 0, arg.count = 1);
	SUBMIT(-EINVAL, arg.flags = 1, arg.flags = 0);
	SUBMIT(-EINVAL, arg.accepted = 1, arg.accepted = 0);
	SUBMIT(-EINVAL, arg.pad = 1, arg.pad = 0);
	SUBMIT(-EINVAL, arg.submission_size--, arg.submission_size = sizeof(submission));
	SUBMIT(-E2BIG, arg.submission_size = 4097, arg.submission_size = sizeof(submission));
	SUBMIT(-EINVAL, arg.arg_size = 31, arg.arg_size = 32);
	SUBMIT(-E2BIG, arg.arg_size = 4097, arg.arg_size = 32);
	SUBMIT(-EFAULT, arg.submissions = 8, arg.submissions = (uintptr_t)&submission);
	SUBMIT(-EFAULT, arg.submissions = ~0ULL - 7, arg.submissions = (uintptr_t)&submission);
	SUBMIT(-EINVAL, submission.id = 1, (void)0);
	SUBMIT(-EINVAL, submission.flags = 1, (void)0);
	SUBMIT(-EINVAL, submission.arg_count = 1, (void)0);
	SUBMIT(-EPERM, submission.handle = QDA_HANDLE_KERNEL, (void)0);
	SUBMIT(-EFAULT, submission.args = 8, (void)0);
	SUBMIT(-EFAULT, args[0].address = 8, args[0].address = (uintptr_t)&in);
	SUBMIT(-EINVAL, args[0].flags = 1, args[0].flags = 0);
	SUBMIT(-ENOENT, args[0] = ((struct drm_qda_call_arg) { .handle = 99, .length = 4 }),
	       args[0] = qda_bytes(&in, 4));
	SUBMIT(-E2BIG, args[0].length = ~0ULL, args[0].length = 4);
#undef SUBMIT
#define REAP(error, change, undo) REFUSED(error, DRM_IOCTL_QDA_REAP, &taken, change, undo)
	REAP(-EINVAL, taken.flags = 1, taken.flags = 0);
	REAP(-EINVAL, taken.reaped = 1, taken.reaped = 0);
	REAP(-EINVAL, taken.pad = 1, taken.pad = 0);
	REAP(-EINVAL, taken.max_count = 0, taken.max_count = 1);
	REAP(-EINVAL, taken.min_count = 2, taken.min_count = 0);
	REAP(-EINVAL, taken.timeout_ns = -1, taken.timeout_ns = 0);
	REAP(-EINVAL, taken.completion_size--, taken.completion_size = sizeof(completion));
	REAP(-E2BIG, taken.completion_size = 4097, taken.completion_size = sizeof(completion));
#undef REAP
	REFUSED(-EINVAL, DRM_IOCTL_QDA_CANCEL, &id, id.flags = 1, id.flags = 0);
	REFUSED(-EINVAL, DRM_IOCTL_QDA_CANCEL, &id, id.pad = 1, id.pad = 0);
#undef REFUSED

	/* What was refused took no room. */
	EXPECT_EQ(0, qda_fdinfo(self->fd, "qda-submissions"));
	for (int i = 0; i < 4; i++) {
		submission = good;
		ASSERT_EQ(1, queue_submit(self->fd, &submission, 1));
	}
	for (int i = 0; i < 4; i++)
		ASSERT_EQ(1, queue_reap(self->fd, &completion, 1, 1, PATIENCE_MS));
	EXPECT_EQ(in, out);
}

TEST_F(submit, inline_data_is_bounded)
{
	size_t large = QDA_MAX_INLINE_SIZE / 2 + 4096;
	struct drm_qda_submission submissions[3];
	struct drm_qda_completion completions[3];
	struct drm_qda_call_arg args;
	void *map = mmap(NULL, large, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT_NE(MAP_FAILED, map);
	ASSERT_EQ(0, queue_create(self->fd, 4, 1));
	args = qda_bytes(map, large);
	submissions[0] = queue_call(self->handle, QDA_SCALARS(SIMDSP_HOLD, 1, 0), &args, 0);
	submissions[1] = submissions[0];
	submissions[2] = queue_hold(self->handle, 1);
	ASSERT_EQ(1, queue_submit(self->fd, submissions, 2));
	EXPECT_EQ(-EAGAIN, queue_submit(self->fd, &submissions[1], 1));
	/* There is room for what has none. */
	ASSERT_EQ(1, queue_submit(self->fd, &submissions[2], 1));
	for (int i = 0; i < 2; i++) {
		ASSERT_TRUE(simdsp_wait_stat("cdsp", "parked", 1, PATIENCE_MS));
		EXPECT_EQ(0, simdsp_cmd(NULL, "release-held cdsp 0"));
		ASSERT_EQ(1, queue_reap(self->fd, completions, 1, 1, PATIENCE_MS));
		EXPECT_EQ(i, completions[0].user_data);
	}
	munmap(map, large);
}

static int other_process(struct child *parent, void *arg)
{
	int fd = *(int *)arg;
	struct drm_qda_submission submission = queue_call(3, QDA_SCALARS(SIMDSP_ECHO, 0, 0), NULL,
							  0);
	struct drm_qda_completion completion;

	child_tell(parent, queue_submit(fd, &submission, 1));
	child_tell(parent, queue_reap(fd, &completion, 1, 0, 0));
	return 0;
}

TEST_F(submit, arguments_are_in_one_address_space)
{
	struct drm_qda_submission submission;
	struct drm_qda_completion completion;
	struct drm_qda_call_arg args[2];
	__u32 in = 77, out = 0;
	struct child child;

	ASSERT_EQ(0, queue_create(self->fd, 4, 1));
	args[0] = qda_bytes(&in, 4);
	args[1] = qda_bytes(&out, 4);
	submission = queue_call(self->handle, QDA_SCALARS(SIMDSP_ECHO, 1, 1), args, 0);
	ASSERT_EQ(1, queue_submit(self->fd, &submission, 1));
	ASSERT_EQ(0, child_start(&child, other_process, &self->fd));
	EXPECT_EQ(-EACCES, child_hear(&child, PATIENCE_MS));
	EXPECT_EQ(-EACCES, child_hear(&child, PATIENCE_MS));
	EXPECT_EQ(0, child_wait(&child, PATIENCE_MS));
	ASSERT_EQ(1, queue_reap(self->fd, &completion, 1, 1, PATIENCE_MS));
	EXPECT_EQ(in, out);
}

TEST_F(submit, closed_with_calls_in_flight)
{
	struct drm_qda_submission submissions[64];
	long long start;

	ASSERT_EQ(0, queue_create(self->fd, 64, 16));
	for (int i = 0; i < 64; i++)
		submissions[i] = queue_hold(self->handle, i);
	ASSERT_EQ(64, queue_submit(self->fd, submissions, 64));
	ASSERT_TRUE(simdsp_wait_stat("cdsp", "parked", 16, PATIENCE_MS));
	start = qda_now_ms();
	close(self->fd);
	self->fd = -1;
	EXPECT_GT(PATIENCE_MS, qda_now_ms() - start);
	/* Those that waited were never sent. */
	EXPECT_TRUE(simdsp_wait_stat("cdsp", "processes", 0, PATIENCE_MS));
	EXPECT_TRUE(simdsp_wait_stat("cdsp", "outstanding", 0, PATIENCE_MS));
}

/* A file with a process that has as many threads as a queue can have, none of which has a call. */
static int idle(void)
{
	struct drm_qda_submission submissions[MAX_THREADS];
	struct drm_qda_completion completions[MAX_THREADS];
	int fd = qda_open_process("cdsp");
	__u32 handle, ms = 20;
	struct drm_qda_call_arg arg = qda_bytes(&ms, 4);

	if (fd < 0 || simdsp_open(fd, &handle) || queue_create(fd, MAX_THREADS, MAX_THREADS))
		return -1;
	for (int i = 0; i < MAX_THREADS; i++)
		submissions[i] = queue_call(handle, QDA_SCALARS(SIMDSP_SLEEP, 1, 0), &arg, i);
	if (queue_submit(fd, submissions, MAX_THREADS) != MAX_THREADS)
		return -1;
	return queue_reap(fd, completions, MAX_THREADS, MAX_THREADS, PATIENCE_MS) == MAX_THREADS ?
	       fd : -1;
}

static void *close_one(void *arg)
{
	close(*(int *)arg);
	return NULL;
}

TEST_F_TIMEOUT(submit, closed_while_threads_end, 120)
{
	/*
	 * A thread that the DSP needs no more may end before its process, but not after it. There
	 * are more threads to end than slots for calls, and each process has to be ended all the
	 * same.
	 */
	for (int round = 0; round < 10; round++) {
		int fds[6], threads;
		pthread_t closers[6];

		for (int i = 0; i < 6; i++) {
			fds[i] = idle();
			ASSERT_LE(0, fds[i]);
		}
		threads = simdsp_stat("cdsp", "threads");
		for (int i = 0; i < PATIENCE_MS && simdsp_stat("cdsp", "threads") >= threads; i++)
			;
		for (int i = 0; i < 6; i++)
			ASSERT_EQ(0, pthread_create(&closers[i], NULL, close_one, &fds[i]));
		for (int i = 0; i < 6; i++)
			pthread_join(closers[i], NULL);
	}
}

static int submits_and_waits(struct child *parent, void *arg)
{
	struct drm_qda_submission submissions[32];
	struct drm_qda_completion completions[32];
	int fd = qda_open_process("cdsp");
	struct qda_buf buf;
	__u32 handle;

	if (fd < 0 || simdsp_open(fd, &handle) || queue_create(fd, 32, 8) ||
	    qda_buf_new(fd, 1 << 20, &buf))
		return 1;
	for (int i = 0; i < 32; i++) {
		static struct drm_qda_call_arg args[32];

		args[i] = qda_part(&buf, i * 4096, 4096);
		submissions[i] = queue_call(handle, QDA_SCALARS(SIMDSP_HOLD, i & 1, ~i & 1),
					    &args[i], i);
	}
	if (queue_submit(fd, submissions, 32) != 32)
		return 2;
	child_tell(parent, 1);
	queue_reap(fd, completions, 32, 32, 10 * PATIENCE_MS);
	return 3;
}

TEST_F(submit, killed_with_calls_in_flight)
{
	struct child child;
	int status;

	for (int i = 0; i < 3; i++) {
		ASSERT_EQ(0, child_start(&child, submits_and_waits, NULL));
		ASSERT_EQ(1, child_hear(&child, 15000));
		EXPECT_TRUE(simdsp_wait_stat("cdsp", "parked", 8, PATIENCE_MS));
		ASSERT_EQ(0, kill(child.pid, SIGKILL));
		status = child_wait(&child, 15000);
		EXPECT_TRUE(WIFSIGNALED(status));
		EXPECT_TRUE(simdsp_wait_stat("cdsp", "processes", 1, PATIENCE_MS));
		EXPECT_TRUE(simdsp_wait_stat("cdsp", "outstanding", 0, PATIENCE_MS));
	}
}

/* A thread that waits for all completions of a queue. */
struct reaper {
	pthread_t thread;
	int fd;
	int want;
	int done;
	int broken;
	int ret;
};

static void *reap_all(void *arg)
{
	struct reaper *reaper = arg;
	struct drm_qda_completion completions[MAX_BATCH];

	reaper->ret = queue_reap(reaper->fd, completions, MAX_BATCH, reaper->want, PATIENCE_MS);
	for (int i = 0; i < reaper->ret; i++) {
		reaper->done += !completions[i].error;
		reaper->broken += completions[i].error == -EPIPE;
	}
	return NULL;
}

/* What becomes of calls in flight when the DSP is gone. */
static void gone(struct __test_metadata *_metadata, int fd, __u32 handle, int (*go)(void))
{
	struct drm_qda_submission submissions[64];
	struct drm_qda_completion completion;
	struct reaper reaper = { .fd = fd, .want = 64 };
	int events;

	ASSERT_EQ(0, queue_create(fd, 64, 16));
	for (int i = 0; i < 64; i++)
		submissions[i] = queue_hold(handle, i);
	/* One is done, and was not taken. */
	submissions[0] = queue_call(handle, QDA_SCALARS(SIMDSP_ECHO, 0, 0), NULL, 0);
	ASSERT_EQ(64, queue_submit(fd, submissions, 64));
	EXPECT_EQ(POLLIN, poll_events(fd, PATIENCE_MS));
	ASSERT_TRUE(simdsp_wait_stat("cdsp", "parked", 16, PATIENCE_MS));
	ASSERT_EQ(0, pthread_create(&reaper.thread, NULL, reap_all, &reaper));
	usleep(100000);
	EXPECT_EQ(0, go());
	ASSERT_EQ(0, pthread_join(reaper.thread, NULL));
	/*
	 * Each was completed, also those that had not been sent. The one that is done may have its
	 * answer, and so may some of the 16 that had been sent: that their process ends.
	 */
	EXPECT_EQ(64, reaper.ret);
	EXPECT_EQ(64, reaper.done + reaper.broken);
	EXPECT_LE(47, reaper.broken);

	for (int i = 0; i < PATIENCE_MS; i++) {
		events = poll_events(fd, 0);
		if (events & POLLHUP)
			break;
		usleep(1000);
	}
	EXPECT_EQ(POLLHUP, events);
	for (int i = 0; i < PATIENCE_MS / 10; i++) {
		if (queue_submit(fd, submissions, 1) == -ENODEV)
			break;
		usleep(10000);
	}
	submissions[0].id = 0;
	EXPECT_EQ(-ENODEV, queue_submit(fd, submissions, 1));
	EXPECT_EQ(-ENODEV, queue_reap(fd, &completion, 1, 0, 0));
}

static int restart_dsp(void)
{
	return simdsp_cmd(NULL, "restart cdsp 300");
}

static int rebind(void)
{
	return qda_rebind("cdsp");
}

/* Whether a new process on the DSP, which may be about to come back, can submit calls. */
static bool works(void)
{
	struct drm_qda_submission submission;
	struct drm_qda_completion completion;
	struct drm_qda_call_arg args[2];
	__u32 handle, in = 5, out = 0;
	int fd = -ENODEV;
	bool right;

	for (int i = 0; i < PATIENCE_MS / 10 && (fd == -ENODEV || fd == -EPIPE); i++) {
		usleep(10000);
		fd = qda_open_process("cdsp");
	}
	if (fd < 0)
		return false;
	args[0] = qda_bytes(&in, 4);
	args[1] = qda_bytes(&out, 4);
	right = !simdsp_open(fd, &handle) && !queue_create(fd, 1, 1);
	submission = queue_call(handle, QDA_SCALARS(SIMDSP_ECHO, 1, 1), args, 0);
	right = right && queue_submit(fd, &submission, 1) == 1 &&
		queue_reap(fd, &completion, 1, 1, PATIENCE_MS) == 1 && out == in;
	close(fd);
	return right;
}

TEST_F_TIMEOUT(submit, restarted_with_calls_in_flight, 60)
{
	gone(_metadata, self->fd, self->handle, restart_dsp);
	EXPECT_TRUE(works());
}

TEST_F_TIMEOUT(submit, unbound_with_calls_in_flight, 60)
{
	gone(_metadata, self->fd, self->handle, rebind);
	EXPECT_TRUE(works());
}

/* A session that submits calls which sleep. */
static int sleeper(int threads, int calls, __u32 *ms, struct drm_qda_call_arg *arg)
{
	static struct drm_qda_submission submissions[MAX_BATCH];
	int fd = qda_open_process("cdsp");
	__u32 handle;

	if (fd < 0 || simdsp_open(fd, &handle) || queue_create(fd, calls, threads))
		return -1;
	*arg = qda_bytes(ms, 4);
	for (int i = 0; i < calls; i++)
		submissions[i] = queue_call(handle, QDA_SCALARS(SIMDSP_SLEEP, 1, 0), arg, i);
	return queue_submit(fd, submissions, calls) == calls ? fd : -1;
}

TEST_F_TIMEOUT(submit, sessions_take_turns, 120)
{
	/* Two sessions have all slots, and as many calls again that wait. A third gets its turn. */
	struct drm_qda_completion completions[MAX_BATCH];
	struct drm_qda_call_arg args[3];
	__u32 ms = 1000, quick = 1;
	int greedy[2], fd, behind = 0;

	for (int i = 0; i < 2; i++) {
		greedy[i] = sleeper(MAX_THREADS, MAX_BATCH, &ms, &args[i]);
		ASSERT_LE(0, greedy[i]);
	}
	fd = sleeper(16, 16, &quick, &args[2]);
	ASSERT_LE(0, fd);
	ASSERT_EQ(16, queue_reap(fd, completions, 16, 16, PATIENCE_MS));
	for (int i = 0; i < 2; i++) {
		int done = queue_reap(greedy[i], completions, MAX_BATCH, 0, 0);

		TH_LOG("%d of %d calls of a greedy session were made meanwhile", done, MAX_BATCH);
		EXPECT_GT(MAX_BATCH, done);
		behind += MAX_BATCH - done;
	}
	EXPECT_LT(MAX_BATCH, behind);
	for (int i = 0; i < 2; i++)
		close(greedy[i]);
	close(fd);
}

TEST_F_TIMEOUT(submit, others_keep_slots, 60)
{
	/* However much is submitted, there is room for those who wait for their calls. */
	struct drm_qda_submission submissions[MAX_THREADS];
	struct drm_qda_completion completions[MAX_THREADS];
	__u32 in = 1, out = 0, handles[3];
	int fds[3], left;

	for (int i = 0; i < 3; i++) {
		fds[i] = qda_open_process("cdsp");
		ASSERT_LE(0, fds[i]);
		ASSERT_EQ(0, simdsp_open(fds[i], &handles[i]));
		ASSERT_EQ(0, queue_create(fds[i], MAX_THREADS, MAX_THREADS));
		for (int j = 0; j < MAX_THREADS; j++)
			submissions[j] = queue_hold(handles[i], j);
		ASSERT_EQ(MAX_THREADS, queue_submit(fds[i], submissions, MAX_THREADS));
	}
	EXPECT_TRUE(simdsp_wait_stat("cdsp", "parked", MAX_SUBMITTED, PATIENCE_MS));
	usleep(100000);
	EXPECT_EQ(MAX_SUBMITTED, simdsp_stat("cdsp", "outstanding"));
	for (int i = 0; i < 10; i++) {
		in = i;
		EXPECT_EQ(0, simdsp_echo(self->fd, self->handle, &in, &out, 4));
		EXPECT_EQ(in, out);
	}

	/* The others are sent as those end. */
	left = 3 * MAX_THREADS - MAX_SUBMITTED;
	EXPECT_EQ(0, simdsp_cmd(NULL, "release-held cdsp 0"));
	EXPECT_TRUE(simdsp_wait_stat("cdsp", "parked", left, PATIENCE_MS));
	EXPECT_EQ(0, simdsp_cmd(NULL, "release-held cdsp 0"));
	for (int i = 0; i < 3; i++) {
		EXPECT_EQ(MAX_THREADS, queue_reap(fds[i], completions, MAX_THREADS, MAX_THREADS,
						  PATIENCE_MS));
		close(fds[i]);
	}
}

/*
 * Has threads that wait for their calls take all slots that programs can have, in two processes.
 * Return: how many calls there are.
 */
static int take_all_slots(struct __test_metadata *_metadata, int fds[2],
			  struct simdsp_call calls[255])
{
	__u32 handles[2];
	int started = 0;

	for (int i = 0; i < 2; i++) {
		fds[i] = qda_open_process("cdsp");
		ASSERT_LE(0, fds[i]);
		ASSERT_EQ(0, simdsp_open(fds[i], &handles[i]));
	}
	/* The last may find no slot any more. */
	do {
		int which = started & 1;

		ASSERT_EQ(0, simdsp_call_start(&calls[started], fds[which], handles[which],
					       QDA_SCALARS(SIMDSP_HOLD, 0, 0), NULL));
		started++;
		for (int i = 0; i < 1000 && !simdsp_call_done(&calls[started - 1]); i++) {
			if (simdsp_stat("cdsp", "parked") == started)
				break;
			usleep(1000);
		}
	} while (started < 255 && !simdsp_call_done(&calls[started - 1]));
	EXPECT_EQ(-ENOSPC, simdsp_call_join(&calls[--started]));
	return started;
}

TEST_F_TIMEOUT(submit, waits_for_a_slot, 120)
{
	/* A submission gets one later. */
	static struct simdsp_call calls[255];
	struct drm_qda_submission submission;
	struct drm_qda_completion completion;
	int fds[2], started;

	ASSERT_EQ(0, queue_create(self->fd, 4, 4));
	started = take_all_slots(_metadata, fds, calls);
	submission = queue_call(self->handle, QDA_SCALARS(SIMDSP_ECHO, 0, 0), NULL, 9);
	ASSERT_EQ(1, queue_submit(self->fd, &submission, 1));
	EXPECT_EQ(-ETIME, queue_reap(self->fd, &completion, 1, 1, 200));
	EXPECT_EQ(0, simdsp_cmd(NULL, "release-held cdsp 0"));
	ASSERT_EQ(1, queue_reap(self->fd, &completion, 1, 1, PATIENCE_MS));
	EXPECT_EQ(9, completion.user_data);
	EXPECT_EQ(0, completion.error);
	for (int i = 0; i < started; i++)
		EXPECT_EQ(0, simdsp_call_join(&calls[i]));
	close(fds[0]);
	close(fds[1]);
}

TEST_F_TIMEOUT(submit, unbound_with_all_slots_taken, 120)
{
	/* Each process has to be ended, for which there are fewer slots left than processes. */
	static struct simdsp_call calls[255];
	int fds[2], others[6], started;

	for (int i = 0; i < 6; i++) {
		others[i] = qda_open_process("cdsp");
		ASSERT_LE(0, others[i]);
	}
	started = take_all_slots(_metadata, fds, calls);
	EXPECT_EQ(0, rebind());
	for (int i = 0; i < started; i++)
		simdsp_call_join(&calls[i]);
	for (int i = 0; i < 6; i++)
		close(others[i]);
	close(fds[0]);
	close(fds[1]);
	EXPECT_TRUE(works());
}

/* A thread that submits or takes, of several on one queue. */
struct worker {
	pthread_t thread;
	int fd;
	__u32 handle;
	int first;
	int count;
	int *left;
	__u8 *seen;
	int ret;
};

static void *submit_some(void *arg)
{
	struct worker *worker = arg;
	struct drm_qda_submission submissions[7];

	for (int at = 0; at < worker->count;) {
		int count = worker->count - at < 7 ? worker->count - at : 7;
		int ret;

		for (int i = 0; i < count; i++)
			submissions[i] = queue_call(worker->handle, QDA_SCALARS(SIMDSP_ECHO, 0, 0),
						    NULL, worker->first + at + i);
		ret = queue_submit(worker->fd, submissions, count);
		if (ret == -EAGAIN) {
			usleep(1000);
			continue;
		}
		if (ret < 0) {
			worker->ret = ret;
			break;
		}
		at += ret;
	}
	return NULL;
}

static void *reap_some(void *arg)
{
	struct worker *worker = arg;
	struct drm_qda_completion completions[5];

	while (__atomic_load_n(worker->left, __ATOMIC_SEQ_CST) > 0) {
		int ret = queue_reap(worker->fd, completions, 5, 1, 200);

		if (ret == -ETIME)
			continue;
		if (ret < 0) {
			worker->ret = ret;
			break;
		}
		for (int i = 0; i < ret; i++) {
			__atomic_add_fetch(&worker->seen[completions[i].user_data], 1,
					   __ATOMIC_SEQ_CST);
			if (completions[i].error || completions[i].status)
				worker->ret = -EPROTO;
		}
		__atomic_sub_fetch(worker->left, ret, __ATOMIC_SEQ_CST);
	}
	return NULL;
}

TEST_F_TIMEOUT(submit, many_threads_on_one_queue, 60)
{
	struct worker submitters[4], reapers[3];
	static __u8 seen[4 * 300];
	int left = sizeof(seen);

	ASSERT_EQ(0, queue_create(self->fd, 48, 24));
	memset(seen, 0, sizeof(seen));
	for (int i = 0; i < 3; i++) {
		reapers[i] = (struct worker) { .fd = self->fd, .left = &left, .seen = seen };
		ASSERT_EQ(0, pthread_create(&reapers[i].thread, NULL, reap_some, &reapers[i]));
	}
	for (int i = 0; i < 4; i++) {
		submitters[i] = (struct worker) {
			.fd = self->fd, .handle = self->handle, .first = i * 300, .count = 300,
		};
		ASSERT_EQ(0, pthread_create(&submitters[i].thread, NULL, submit_some,
					    &submitters[i]));
	}
	for (int i = 0; i < 4; i++) {
		pthread_join(submitters[i].thread, NULL);
		EXPECT_EQ(0, submitters[i].ret);
	}
	for (int i = 0; i < 3; i++) {
		pthread_join(reapers[i].thread, NULL);
		EXPECT_EQ(0, reapers[i].ret);
	}
	EXPECT_EQ(0, left);
	EXPECT_TRUE(qda_all(seen, sizeof(seen), 1));
	EXPECT_EQ(0, qda_fdinfo(self->fd, "qda-submissions"));
}

TEST_HARNESS_MAIN
