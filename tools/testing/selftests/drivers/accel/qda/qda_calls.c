// SPDX-License-Identifier: GPL-2.0
/*
 * QDA: many calls at a time.
 */
#include <errno.h>

#include "fixture.h"
#include "harness.h"
#include "module.h"
#include "qda.h"
#include "simdsp.h"

#define MAX_CALLS	300

FIXTURE(calls)
{
	int fd;
	__u32 handle;
};

FIXTURE_SETUP(calls)
{
	fixture_setup(_metadata, &self->fd, &self->handle);
}

FIXTURE_TEARDOWN(calls)
{
	fixture_teardown(_metadata, self->fd);
}

/* A thread that makes a number of calls and looks at every result. */
struct worker {
	pthread_t thread;
	int fd;
	__u32 handle;
	int calls;
	__u32 seed;
	int bad;
};

static void *work(void *arg)
{
	struct worker *worker = arg;
	__u8 in[3000], out[3000];

	for (int i = 0; i < worker->calls; i++) {
		__u32 seed = worker->seed + i;
		size_t len = seed * 131 % sizeof(in);

		qda_fill(in, len, seed);
		memset(out, 0, sizeof(out));
		if (simdsp_echo(worker->fd, worker->handle, in, out, len) ||
		    !qda_filled(out, len, seed))
			worker->bad++;
	}
	return NULL;
}

static int run_workers(struct worker *workers, int count)
{
	int bad = 0;

	for (int i = 0; i < count; i++) {
		workers[i].seed = i * 100000;
		workers[i].bad = 0;
		if (pthread_create(&workers[i].thread, NULL, work, &workers[i]))
			return -EAGAIN;
	}
	for (int i = 0; i < count; i++) {
		pthread_join(workers[i].thread, NULL);
		bad += workers[i].bad;
	}
	return bad;
}

TEST_F(calls, two_threads)
{
	struct worker workers[2];

	for (int i = 0; i < 2; i++)
		workers[i] = (struct worker) { 0, self->fd, self->handle, 200, 0, 0 };
	EXPECT_EQ(0, run_workers(workers, 2));
}

TEST_F(calls, sixty_four_threads)
{
	struct worker workers[64];

	for (int i = 0; i < 64; i++)
		workers[i] = (struct worker) { 0, self->fd, self->handle, 10, 0, 0 };
	EXPECT_EQ(0, run_workers(workers, 64));
}

TEST_F(calls, sessions_of_one_process)
{
	/* As many as there are banks; the fixture has one of them. */
	int count = qda_banks("cdsp") - 1;
	struct worker workers[16];

	ASSERT_LT(0, count);
	ASSERT_GE(16, count);
	for (int i = 0; i < count; i++) {
		workers[i] = (struct worker) { .fd = qda_open_process("cdsp"), .calls = 50 };
		ASSERT_LE(0, workers[i].fd);
		ASSERT_EQ(0, simdsp_open(workers[i].fd, &workers[i].handle));
	}
	EXPECT_EQ(0, run_workers(workers, count));
	for (int i = 0; i < count; i++)
		close(workers[i].fd);
}

TEST_F(calls, two_dsps)
{
	struct worker workers[2] = {
		{ .fd = self->fd, .handle = self->handle, .calls = 100 },
		{ .fd = qda_open("adsp"), .calls = 100 },
	};

	if (workers[1].fd < 0)
		SKIP(return, "this machine has no adsp");
	ASSERT_EQ(0, qda_ioctl(workers[1].fd, DRM_IOCTL_QDA_INIT_ATTACH, NULL));
	ASSERT_EQ(0, simdsp_open(workers[1].fd, &workers[1].handle));
	EXPECT_EQ(0, run_workers(workers, 2));
	close(workers[1].fd);
}

TEST_F(calls, many_in_sequence)
{
	/* Every slot of the call table is used several times. */
	struct worker worker = { .fd = self->fd, .handle = self->handle, .calls = 1200 };

	EXPECT_EQ(0, run_workers(&worker, 1));
}

TEST_F(calls, answered_out_of_order)
{
	long long start = qda_now_ms(), quick;
	struct drm_qda_invoke_arg arg;
	struct simdsp_call slow;
	__u32 ms = 1500, in = 1, out;

	arg = qda_inline(&ms, 4);
	ASSERT_EQ(0, simdsp_call_start(&slow, self->fd, self->handle,
				       QDA_SCALARS(SIMDSP_SLEEP, 1, 0), &arg));
	usleep(100000);
	for (int i = 0; i < 20; i++) {
		in = i;
		ASSERT_EQ(0, simdsp_echo(self->fd, self->handle, &in, &out, 4));
		ASSERT_EQ(in, out);
	}
	quick = qda_now_ms() - start;
	EXPECT_EQ(0, simdsp_call_join(&slow));
	EXPECT_GT(1500, quick);
	EXPECT_LE(1500, qda_now_ms() - start);
}

TEST_F(calls, slow_and_fast_mixed)
{
	/* Each call gets its own answer, whatever the order. */
	struct drm_qda_invoke_arg args[32][3];
	__u32 ms[32], in[32], out[32] = { 0 };
	struct simdsp_call calls[32];

	for (int i = 0; i < 32; i++) {
		ms[i] = (31 - i) % 7 * 30;
		in[i] = 0x1000 + i;
		args[i][0] = qda_inline(&ms[i], 4);
		args[i][1] = qda_inline(&in[i], 4);
		args[i][2] = qda_inline(&out[i], 4);
		ASSERT_EQ(0, simdsp_call_start(&calls[i], self->fd, self->handle,
					       QDA_SCALARS(SIMDSP_SLOW_ECHO, 2, 1), args[i]));
	}
	for (int i = 0; i < 32; i++) {
		EXPECT_EQ(0, simdsp_call_join(&calls[i]));
		EXPECT_EQ(in[i], out[i]);
	}
}

TEST_F(calls, each_thread_has_its_id)
{
	struct drm_qda_invoke_arg args[3];
	struct simdsp_info infos[3];
	struct simdsp_call calls[3];

	for (int i = 0; i < 3; i++) {
		args[i] = qda_inline(&infos[i], sizeof(infos[i]));
		ASSERT_EQ(0, simdsp_call_start(&calls[i], self->fd, self->handle,
					       QDA_SCALARS(SIMDSP_INFO, 0, 1), &args[i]));
	}
	for (int i = 0; i < 3; i++)
		ASSERT_EQ(0, simdsp_call_join(&calls[i]));
	EXPECT_NE(infos[0].tid, infos[1].tid);
	EXPECT_NE(infos[1].tid, infos[2].tid);
	EXPECT_NE(infos[0].tid, infos[2].tid);
	EXPECT_EQ(infos[0].client_id, infos[1].client_id);
	EXPECT_EQ(infos[0].client_id, infos[2].client_id);
	EXPECT_NE(0, infos[0].client_id);
	EXPECT_EQ(1, infos[0].pd);
}

/*
 * Starts calls that the DSP doesn't answer until one comes back, which is to say ENOSPC.
 * Return: how many there are beside the @parked that were there.
 */
static int fill(struct simdsp_call *calls, int max, int fd, __u32 handle, int parked)
{
	int started = 0;

	while (started < max) {
		struct simdsp_call *call = &calls[started];

		if (simdsp_call_start(call, fd, handle, QDA_SCALARS(SIMDSP_HOLD, 0, 0), NULL))
			break;
		/* Until it either waits on the DSP or has come back. */
		for (int i = 0; i < qda_patience(1000) && !simdsp_call_done(call); i++) {
			if (simdsp_stat("cdsp", "parked") > parked + started)
				break;
			usleep(1000);
		}
		if (simdsp_call_done(call))
			return simdsp_call_join(call) == -ENOSPC ? started : -1;
		started++;
	}
	return -1;
}

TEST_F_TIMEOUT(calls, too_many, 60)
{
	/*
	 * Calls that the DSP doesn't answer pile up to a limit. Beyond it a call fails at once, and
	 * another session still gets its turn.
	 */
	static struct simdsp_call calls[MAX_CALLS];
	__u32 handle, in = 1, out = 0;
	int other, started;

	other = qda_open_process("cdsp");
	ASSERT_LE(0, other);
	ASSERT_EQ(0, simdsp_open(other, &handle));
	started = fill(calls, MAX_CALLS, self->fd, self->handle, 0);
	TH_LOG("%d calls were outstanding", started);
	EXPECT_LE(64, started);
	EXPECT_GE(255, started);
	EXPECT_EQ(-ENOSPC, simdsp_echo(self->fd, self->handle, &in, &out, 4));
	EXPECT_EQ(0, simdsp_echo(other, handle, &in, &out, 4));
	EXPECT_EQ(in, out);

	EXPECT_EQ(0, simdsp_cmd(NULL, "release-held cdsp 0"));
	for (int i = 0; i < started; i++)
		EXPECT_EQ(0, simdsp_call_join(&calls[i]));
	in = 2;
	EXPECT_EQ(0, simdsp_echo(self->fd, self->handle, &in, &out, 4));
	EXPECT_EQ(in, out);
	close(other);
}

TEST_F_TIMEOUT(calls, listener_among_too_many, 120)
{
	/*
	 * When calls have taken all that there is, of their session or of the DSP, the DSP can
	 * still call a listener, and gets its result.
	 */
	static struct simdsp_call calls[MAX_CALLS];
	long long client = qda_fdinfo(self->fd, "qda-client");
	char reply[SIMDSP_LINE];
	int mine, others, other;
	__u32 handle, out = 0;
	pthread_t server;
	void *ret;

	ASSERT_LT(0, client);
	other = qda_open_process("cdsp");
	ASSERT_LE(0, other);
	ASSERT_EQ(0, simdsp_open(other, &handle));
	mine = fill(calls, MAX_CALLS, self->fd, self->handle, 0);
	ASSERT_LT(0, mine);
	others = fill(calls + mine, MAX_CALLS - mine, other, handle, mine);
	ASSERT_LT(0, others);
	TH_LOG("%d and %d calls were outstanding", mine, others);
	EXPECT_GT(mine, others);
	EXPECT_EQ(-ENOSPC, simdsp_echo(other, handle, &client, &out, 4));

	ASSERT_EQ(0, qda_invoke(self->fd, ADSP_LISTENER, QDA_SCALARS(3, 0, 0), NULL));
	ASSERT_EQ(0, pthread_create(&server, NULL, simdsp_serve, &self->fd));
	ASSERT_TRUE(simdsp_wait_stat("cdsp", "parked", mine + others + 1, 5000));
	ASSERT_EQ(0, simdsp_cmd(reply, "reverse cdsp 5 7 client:%lld in:0102 out:4", client));
	EXPECT_STREQ("0 a5a5a5a5", reply);

	EXPECT_EQ(0, simdsp_cmd(NULL, "release-held cdsp 0"));
	for (int i = 0; i < mine + others; i++)
		EXPECT_EQ(0, simdsp_call_join(&calls[i]));
	close(other);
	ASSERT_EQ(0, simdsp_cmd(NULL, "kill cdsp %lld", client));
	pthread_join(server, &ret);
	EXPECT_NE(0, (long)ret);
}

TEST_HARNESS_MAIN
