// SPDX-License-Identifier: GPL-2.0
/*
 * QDA: a DSP that says whatever a message can say: answers that are late, twice, wrong, short, long
 * or many, statuses that look like the kernel's, notices. What comes of it is documented.
 */
#include <sys/time.h>

#include "hostile.h"

/* Calls that a session can have outstanding. */
#define MOST_CALLS	128

/* Has the DSP say an answer to @ctx. */
static int say_answer(__u64 ctx, __s32 status, int times)
{
	__u8 bytes[16] = { 0 };
	char hex[33];

	memcpy(bytes, &ctx, 8);
	memcpy(bytes + 8, &status, 4);
	for (int i = 0; i < 16; i++)
		sprintf(hex + 2 * i, "%02x", bytes[i]);
	return simdsp_cmd(NULL, "say cdsp %s %d", hex, times);
}

/* Has it say @len bytes of a notice on a process. */
static int say_notice(__u32 kind, __s32 client, __u32 state, size_t len)
{
	__u8 bytes[24] = { 0xcd, 0xab, 0xcd, 0xab };
	char hex[49] = "";

	memcpy(bytes + 8, &kind, 4);
	memcpy(bytes + 12, &client, 4);
	memcpy(bytes + 16, &state, 4);
	for (size_t i = 0; i < len; i++)
		sprintf(hex + 2 * i, "%02x", bytes[i]);
	return simdsp_cmd(NULL, "say cdsp %s", hex);
}

/* Starts @count calls that the DSP holds, and has their callers leave. */
static void abandon(struct __test_metadata *_metadata, struct _test_data_hostile *self, int count)
{
	struct simdsp_call calls[MOST_CALLS];

	for (int i = 0; i < count; i++)
		ASSERT_EQ(0, simdsp_call_start(&calls[i], self->fd, self->handle,
					       QDA_SCALARS(SIMDSP_HOLD, 0, 0), NULL));
	ASSERT_TRUE(simdsp_wait_stat("cdsp", "held", count, 10000));
	for (int i = 0; i < count; i++) {
		EXPECT_EQ(0, pthread_kill(calls[i].thread, SIGUSR1));
		EXPECT_EQ(-EINTR, simdsp_call_join(&calls[i]));
	}
}

TEST_F_TIMEOUT(hostile, late_answers, 180)
{
	/* As many as a session can have; the answers find nobody, and make room. */
	abandon(_metadata, self, MOST_CALLS);
	EXPECT_EQ(MOST_CALLS, simdsp_stat("cdsp", "held"));
	EXPECT_EQ(0, simdsp_cmd(NULL, "release-held cdsp 5"));
	for (int i = 0; i < 2 * MOST_CALLS; i++)
		ASSERT_TRUE(answered(self->fd, self->handle, ANSWER + i));
	bystander_pause(&self->bystander, true);
	EXPECT_TRUE(bystander_alone(&self->bystander));
	bystander_pause(&self->bystander, false);
}

TEST_F_TIMEOUT(hostile, later_than_the_session, 90)
{
	struct simdsp_info infos[20];

	for (int i = 0; i < 20; i++)
		ASSERT_EQ(0, simdsp_info(self->fd, self->handle, &infos[i]));
	abandon(_metadata, self, 20);
	close(self->fd);
	self->fd = qda_open_process("cdsp");
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, simdsp_open(self->fd, &self->handle));
	for (int i = 0; i < 20; i++) {
		EXPECT_EQ(0, say_answer(infos[i].ctx, 0, 3));
		EXPECT_TRUE(answered(self->fd, self->handle, ANSWER + i));
	}
}

TEST_F(hostile, twice)
{
	ASSERT_EQ(0, with_calls(self, "\"reply_twice\""));
	/* The second one is for nobody; least of all for the next call. */
	for (int i = 0; i < 300; i++)
		ASSERT_TRUE(answered(self->fd, self->handle, ANSWER + i));
}

TEST_F(hostile, for_calls_that_do_not_exist)
{
	static const char * const contexts[] = {
		"\"unknown\"", "\"other_pd\"", "\"sentinel\"", "{\"raw\":0}", "{\"raw\":256}",
		"{\"raw\":65792}", "{\"raw\":18446744073709551615}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(contexts); i++) {
		ASSERT_EQ(0, with_calls(self, "{\"ctx_first\":%s}", contexts[i]));
		EXPECT_TRUE(answered(self->fd, self->handle, ANSWER + i));
	}
}

TEST_F_TIMEOUT(hostile, for_an_earlier_call_in_the_slot, 60)
{
	/* More than there are slots: all have been used, and one holds the call that waits. */
	struct simdsp_call waiting;
	struct simdsp_info info;
	__u64 contexts[300];

	ASSERT_EQ(0, with_calls(self, "{\"ctx_first\":\"stale\"}"));
	for (size_t i = 0; i < ARRAY_SIZE(contexts); i++) {
		ASSERT_EQ(0, simdsp_info(self->fd, self->handle, &info));
		contexts[i] = info.ctx;
	}
	ASSERT_EQ(0, without(self));
	ASSERT_EQ(0, simdsp_call_start(&waiting, self->fd, self->handle,
				       QDA_SCALARS(SIMDSP_HOLD, 0, 0), NULL));
	ASSERT_TRUE(simdsp_wait_stat("cdsp", "held", 1, 5000));
	for (size_t i = 0; i < ARRAY_SIZE(contexts); i++)
		ASSERT_EQ(0, say_answer(contexts[i], 1, 1));
	usleep(100000);
	EXPECT_FALSE(simdsp_call_done(&waiting));
	EXPECT_EQ(0, simdsp_cmd(NULL, "release-held cdsp 7"));
	EXPECT_EQ(7, simdsp_call_join(&waiting));
}

TEST_F_TIMEOUT(hostile, flood, 90)
{
	/* Every slot many times over, one of which holds a call that waits. */
	struct simdsp_call waiting;

	ASSERT_EQ(0, simdsp_call_start(&waiting, self->fd, self->handle,
				       QDA_SCALARS(SIMDSP_HOLD, 0, 0), NULL));
	ASSERT_TRUE(simdsp_wait_stat("cdsp", "held", 1, 5000));
	ASSERT_EQ(0, with_calls(self, "{\"flood\":3000}"));
	EXPECT_TRUE(answered(self->fd, self->handle, ANSWER));
	ASSERT_EQ(0, without(self));
	EXPECT_TRUE(answered(self->fd, self->handle, ANSWER + 1));
	EXPECT_FALSE(simdsp_call_done(&waiting));
	EXPECT_EQ(0, simdsp_cmd(NULL, "release-held cdsp 7"));
	EXPECT_EQ(7, simdsp_call_join(&waiting));
}

TEST_F(hostile, too_short)
{
	for (int len = 0; len < 16; len++) {
		ASSERT_EQ(0, with_calls(self, "{\"short_first\":%d}", len));
		for (int i = 0; i < 5; i++)
			EXPECT_TRUE(answered(self->fd, self->handle, ANSWER + len));
	}
}

TEST_F(hostile, longer)
{
	/* Newer firmware says more, and the answer is one all the same. */
	static const int lens[] = { 17, 20, 23, 24, 25, 32, 64, 100, 256, 1000 };

	for (size_t i = 0; i < ARRAY_SIZE(lens); i++) {
		ASSERT_EQ(0, with_calls(self, "{\"long\":%d}", lens[i]));
		EXPECT_TRUE(answered(self->fd, self->handle, ANSWER + i));
	}
}

TEST_F(hostile, words_of_signalling)
{
	struct simdsp_call waiting;

	/* They are nothing special. */
	self->most_lines = 0;
	ASSERT_EQ(0, simdsp_call_start(&waiting, self->fd, self->handle,
				       QDA_SCALARS(SIMDSP_HOLD, 0, 0), NULL));
	ASSERT_TRUE(simdsp_wait_stat("cdsp", "held", 1, 5000));
	EXPECT_EQ(0, simdsp_cmd(NULL, "say cdsp 0100000000000000 300"));
	/* Also one that begins as an answer does, and as a notice does. */
	EXPECT_EQ(0, simdsp_cmd(NULL, "say cdsp cdabcdab00000000 100"));
	ASSERT_EQ(0, with_calls(self, "{\"short_first\":8}"));
	EXPECT_TRUE(answered(self->fd, self->handle, ANSWER));
	EXPECT_FALSE(simdsp_call_done(&waiting));
	EXPECT_EQ(0, simdsp_cmd(NULL, "release-held cdsp 7"));
	EXPECT_EQ(7, simdsp_call_join(&waiting));
}

TEST_F_TIMEOUT(hostile, no_answer, 180)
{
	__u32 in = 1, out = 0;
	int other;

	ASSERT_EQ(0, simdsp_cmd(NULL, "allow thread-busy"));
	abandon(_metadata, self, MOST_CALLS);
	/* A session that is full says so, and is the only one that is. */
	EXPECT_EQ(-ENOSPC, simdsp_echo(self->fd, self->handle, &in, &out, 4));
	other = qda_open_process("cdsp");
	ASSERT_LE(0, other);
	close(other);
	/* Its end makes room for others. */
	close(self->fd);
	self->fd = qda_open_process("cdsp");
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, simdsp_open(self->fd, &self->handle));
	for (int i = 0; i < 300; i++)
		ASSERT_TRUE(answered(self->fd, self->handle, ANSWER + i));
}

TEST_F_TIMEOUT(hostile, statuses_that_look_like_the_kernels, 120)
{
	/*
	 * Everything that is an errno, and what the kernel restarts ioctls for, under signals whose
	 * handler wants that. Each call is made once, and DRM_QDA_CALL tells each status.
	 */
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	struct itimerval timer = { { 0, 2000 }, { 0, 2000 } }, off = { 0 };
	long long before;
	int bad = 0;

	bystander_pause(&self->bystander, true);
	ASSERT_EQ(0, sigaction(SIGALRM, &action, NULL));
	before = simdsp_stat("cdsp", "invokes");
	ASSERT_EQ(0, setitimer(ITIMER_REAL, &timer, NULL));
	for (__s32 status = -1; status >= -600; status--) {
		bool kept = status <= -512 && status >= -530;
		struct drm_qda_call_arg arg = { .address = (uintptr_t)&status, .length = 4 };
		__s32 told = 0;

		if (simdsp_status(self->fd, self->handle, status) !=
		    (kept ? -EREMOTEIO : status))
			bad++;
		if (qda_call(self->fd, self->handle, QDA_SCALARS(SIMDSP_STATUS, 1, 0), &arg,
			     &told) || told != status)
			bad++;
	}
	setitimer(ITIMER_REAL, &off, NULL);
	EXPECT_EQ(0, bad);
	EXPECT_EQ(before + 1200, simdsp_stat("cdsp", "invokes"));
	bystander_pause(&self->bystander, false);
}

TEST_F(hostile, extreme_statuses)
{
	static const __s32 statuses[] = {
		-4095, -4096, -531, -530, -517, -516, -515, -514, -513, -512, -511, -110, -4, -1,
		0, 1, 0x7fffffff, -0x7fffffff - 1, DSP_ERROR(0x14), DSP_ERROR(0x0d),
	};

	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++) {
		struct drm_qda_call_arg arg = { .address = (uintptr_t)&statuses[i], .length = 4 };
		__s32 told = ~statuses[i];

		EXPECT_EQ(0, qda_call(self->fd, self->handle, QDA_SCALARS(SIMDSP_STATUS, 1, 0),
				      &arg, &told));
		EXPECT_EQ(statuses[i], told);
	}
}

TEST_F(hostile, statuses_of_the_kernels_calls)
{
	static const struct {
		__s32 status;
		int ret;
	} cases[] = {
		{ -512, -EREMOTEIO }, { -513, -EREMOTEIO }, { -516, -EREMOTEIO },
		{ -530, -EREMOTEIO }, { -511, -511 }, { -4, -4 }, { -110, -110 }, { 7, 7 },
	};
	struct qda_buf buf;
	__u64 address;
	int fd;

	ASSERT_EQ(0, qda_buf_new(self->fd, 4096, &buf));
	fd = qda_open("cdsp");
	ASSERT_LE(0, fd);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		ASSERT_EQ(0, with_kernel("{\"fail\":%d}", cases[i].status));
		EXPECT_EQ(cases[i].ret, qda_create(fd));
		EXPECT_EQ(cases[i].status, qda_session_kind(fd, QDA_SESSION_SENSORS));
		EXPECT_EQ(cases[i].ret, map(self->fd, &buf, 77, &address));
		ASSERT_EQ(0, without(self));
		ASSERT_EQ(0, map(self->fd, &buf, 77, &address));
		ASSERT_EQ(0, with_kernel("{\"fail\":%d}", cases[i].status));
		EXPECT_EQ(cases[i].ret, unmap(self->fd, &buf, 77, address));
		ASSERT_EQ(0, without(self));
		EXPECT_EQ(0, unmap(self->fd, &buf, 77, address));
	}
	EXPECT_EQ(0, qda_create(fd));
	/* The end of a process is one, whatever the DSP calls it. */
	ASSERT_EQ(0, with_kernel("{\"status\":-512}"));
	close(fd);
	EXPECT_TRUE(simdsp_wait_stat("cdsp", "processes", 2, 5000));
	ASSERT_EQ(0, without(self));
	qda_buf_free(&buf);
}

TEST_F(hostile, notices_about_nobody)
{
	int bystander = qda_fdinfo(self->bystander.fd, "qda-client");
	long long exits = qda_fdinfo(self->fd, "qda-pd-exits");

	ASSERT_LT(0, bystander);
	/* Of processes that there are not, more than can be noted at once. */
	for (int i = 0; i < 150; i++)
		ASSERT_EQ(0, say_notice(4, 0x10000000 + i, i % 3 + 1, 24));
	for (__s32 id = -1; id <= 0; id++)
		ASSERT_EQ(0, say_notice(4, id, 1, 24));
	/* Of ones that there are, which are not dead, or that say something else or too little. */
	for (__u32 state = 0; state <= 4; state += 4)
		ASSERT_EQ(0, say_notice(4, bystander, state, 24));
	ASSERT_EQ(0, say_notice(4, bystander, ~0u, 24));
	for (__u32 kind = 0; kind < 4; kind++)
		ASSERT_EQ(0, say_notice(kind, bystander, 1, 24));
	for (size_t len = 8; len < 20; len++)
		ASSERT_EQ(0, say_notice(4, bystander, 1, len));
	EXPECT_TRUE(answered(self->fd, self->handle, ANSWER));
	EXPECT_EQ(exits + 160, qda_fdinfo(self->fd, "qda-pd-exits"));
	EXPECT_EQ(2, simdsp_stat("cdsp", "processes"));
}

TEST_F(hostile, notices_about_a_process_that_lives)
{
	/* The DSP's word is taken for it. Said twice, it ends once, and nobody else does. */
	long long releases = simdsp_stat("cdsp", "releases");
	struct simdsp_call held;

	ASSERT_EQ(0, simdsp_call_start(&held, self->fd, self->handle,
				       QDA_SCALARS(SIMDSP_HOLD, 0, 0), NULL));
	ASSERT_TRUE(simdsp_wait_stat("cdsp", "held", 1, 5000));
	for (int i = 0; i < 10; i++)
		ASSERT_EQ(0, say_notice(4, self->client, 2, 24));
	EXPECT_EQ(-EPIPE, simdsp_call_join(&held));
	EXPECT_EQ(-EPIPE, simdsp_hold(self->fd, self->handle));
	EXPECT_TRUE(simdsp_wait_stat("cdsp", "releases", releases + 1, 5000));
	EXPECT_TRUE(simdsp_wait_stat("cdsp", "processes", 1, 5000));
	usleep(50000);
	EXPECT_EQ(releases + 1, simdsp_stat("cdsp", "releases"));
}

/* Threads that make calls, whatever comes of them, and are interrupted now and then. */
struct caller {
	pthread_t thread;
	int fd;
	__u32 handle;
	bool stop;
};

static void *call_on(void *arg)
{
	struct caller *caller = arg;
	__u8 in[64] = { 1 }, out[64];

	while (!__atomic_load_n(&caller->stop, __ATOMIC_ACQUIRE))
		simdsp_echo(caller->fd, caller->handle, in, out, sizeof(in));
	return NULL;
}

TEST_F_TIMEOUT(hostile, anything_at_any_time, 120)
{
	static const char * const actions[] = {
		"{\"delay_ms\":2}", "\"drop\"", "\"reply_twice\"", "{\"ctx\":\"stale\"}",
		"{\"ctx\":\"unknown\"}", "{\"ctx_first\":\"other_pd\"}",
		"{\"ctx_first\":\"sentinel\"}",
		"{\"short\":11}", "{\"short_first\":0}", "{\"long\":40}", "{\"flood\":20}",
		"{\"scramble\":3}", "{\"fdlist\":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]}",
		"{\"status\":-512}", "{\"fail\":-4}", "{\"poll_word\":912559}", "\"hold\"",
	};
	struct caller callers[4];
	__u64 state = seed(_metadata);

	ASSERT_EQ(0, simdsp_cmd(NULL, "allow thread-busy"));
	ASSERT_EQ(0, simdsp_cmd(NULL, "babble cdsp on %u", draw(&state, ~0u)));
	for (int i = 0; i < 4; i++) {
		callers[i] = (struct caller) { .fd = self->fd, .handle = self->handle };
		ASSERT_EQ(0, pthread_create(&callers[i].thread, NULL, call_on, &callers[i]));
	}
	for (int round = 0; round < 100; round++) {
		const char *one = actions[draw(&state, ARRAY_SIZE(actions))];
		const char *other = actions[draw(&state, ARRAY_SIZE(actions))];

		ASSERT_EQ(0, with_calls(self, "%s,%s", one, other));
		usleep(1000 * draw(&state, 30));
		for (int i = 0; i < 4; i++)
			pthread_kill(callers[i].thread, SIGUSR1);
		/* Calls that nobody waits for any more fill the session. */
		if (round % 10 == 9)
			EXPECT_EQ(0, simdsp_cmd(NULL, "release-held cdsp %d", round));
	}
	for (int i = 0; i < 4; i++)
		__atomic_store_n(&callers[i].stop, true, __ATOMIC_RELEASE);
	EXPECT_EQ(0, without(self));
	EXPECT_EQ(0, simdsp_cmd(NULL, "release-held cdsp 0"));
	for (int i = 0; i < 4; i++) {
		/* It may be about to wait. */
		while (pthread_tryjoin_np(callers[i].thread, NULL)) {
			pthread_kill(callers[i].thread, SIGUSR1);
			usleep(1000);
		}
	}
	EXPECT_EQ(0, simdsp_cmd(NULL, "babble cdsp off"));
}

TEST_HARNESS_MAIN
