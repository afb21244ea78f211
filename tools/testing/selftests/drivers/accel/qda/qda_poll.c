// SPDX-License-Identifier: GPL-2.0
/*
 * QDA: calls whose success the DSP writes into memory before it answers.
 */
#include <errno.h>
#include <signal.h>
#include <sys/time.h>

#include "harness.h"
#include "module.h"
#include "qda.h"
#include "simdsp.h"

/* What stands for success. */
#define DONE		0xdecaf

/* A script for the DSP, which takes the place of earlier ones. */
#define ON(match, actions) \
	"script {\"replace\":true,\"rules\":[{" match ",\"actions\":[" actions "]}]}"
#define ON_ECHO(actions)	ON("\"module\":\"simdsp\",\"method\":2", actions)
#define NO_SCRIPT		"script {\"replace\":true}"

FIXTURE(poll)
{
	int fd;
	__u32 handle;
};

FIXTURE_SETUP(poll)
{
	const char *why = qda_test_begin("poll", _metadata->name, true);
	struct drm_qda_session_create arg = {
		.kind = QDA_SESSION_USER_UNSIGNED,
		.flags = QDA_SESSION_POLL,
	};
	__u64 polls = 0;

	self->fd = -1;
	if (why)
		SKIP(return, "%s", why);
	self->fd = qda_open("cdsp");
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, qda_param(self->fd, QDA_PARAM_POLL, 0, &polls));
	if (!polls)
		SKIP(return, "this DSP can't be polled");
	ASSERT_EQ(0, qda_session(self->fd, arg));
	ASSERT_EQ(0, simdsp_poll(self->fd, true));
	ASSERT_EQ(0, simdsp_open(self->fd, &self->handle));
}

FIXTURE_TEARDOWN(poll)
{
	if (self->fd >= 0)
		close(self->fd);
	EXPECT_EQ(0, qda_test_end());
}

/* Maps a buffer under a number, which the DSP must not have for another. */
static int map_as(const struct qda_buf *buf, __s32 number)
{
	struct drm_qda_mem_map arg = {
		.request = QDA_MAP_REQUEST_ATTR,
		.flags = QDA_MAP_FD,
		.handle = buf->handle,
		.dsp_handle = number,
		.vaddrin = (uintptr_t)buf->map,
		.size = buf->size,
	};

	return qda_ioctl(buf->fd, DRM_IOCTL_QDA_MAP, &arg);
}

static void on_alarm(int signal)
{
}

static bool echoes(int fd, __u32 handle, size_t len)
{
	__u8 in[3000], out[3000];

	qda_fill(in, len, len);
	memset(out, 0, sizeof(out));
	return !simdsp_echo(fd, handle, in, out, len) && qda_filled(out, len, len);
}

TEST_F(poll, results_are_right)
{
	struct qda_buf buf;
	struct drm_qda_invoke_arg args[2];

	for (int i = 0; i < 500; i++)
		ASSERT_TRUE(echoes(self->fd, self->handle, i * 7 % 3000));

	ASSERT_EQ(0, qda_buf_new(self->fd, 16384, &buf));
	qda_fill(buf.map, 8192, 3);
	args[0] = qda_ref(&buf, 0, 8192);
	args[1] = qda_ref(&buf, 8192, 8192);
	EXPECT_EQ(0, qda_invoke(self->fd, self->handle, QDA_SCALARS(SIMDSP_ECHO, 1, 1), args));
	EXPECT_TRUE(qda_filled(buf.map + 8192, 8192, 3));
	qda_buf_free(&buf);
}

/* Bytes that the bank of a file maps, or -errno. */
static long long mapped_bytes(int fd)
{
	static struct simdsp_range ranges[512];
	int count = simdsp_mappings("cdsp", qda_fdinfo(fd, "qda-bank"), ranges, 512);
	long long bytes = 0;

	for (int i = 0; i < count; i++)
		bytes += ranges[i].len;
	return count < 0 ? count : bytes;
}

/* Has the DSP read a buffer. Return: 0, a status or -errno. */
static int read_buffer(int fd, __u32 handle, const struct qda_buf *buf)
{
	struct drm_qda_invoke_arg args[2];
	__u64 sum = 0;

	args[0] = qda_ref(buf, 0, buf->size);
	args[1] = qda_inline(&sum, sizeof(sum));
	return qda_invoke(fd, handle, QDA_SCALARS(SIMDSP_CHECKSUM, 1, 1), args);
}

/*
 * The DSP answers after the results are there, and has the buffer until then. When it has, a handle
 * that is closed takes the mapping with it, without another call of the process.
 */
TEST_F(poll, closed_buffers_go)
{
	const size_t size = 1 << 20;
	int other = qda_open("cdsp");
	long long before;
	struct qda_buf buf;
	__u32 handle;

	ASSERT_LE(0, other);
	ASSERT_EQ(0, qda_create(other));
	ASSERT_EQ(0, simdsp_open(other, &handle));
	ASSERT_TRUE(echoes(self->fd, self->handle, 100));
	before = mapped_bytes(self->fd);
	ASSERT_LT(0, before);

	for (int i = 0; i < 50; i++) {
		ASSERT_EQ(0, qda_buf_new(self->fd, size, &buf));
		ASSERT_EQ(0, read_buffer(self->fd, self->handle, &buf));
		/* The kernel has heard what was sent before this. */
		ASSERT_TRUE(simdsp_wait_stat("cdsp", "outstanding", 0, 5000));
		ASSERT_TRUE(echoes(other, handle, 10));
		qda_buf_free(&buf);
		ASSERT_EQ(before, mapped_bytes(self->fd));
	}
	close(other);
}

TEST_F(poll, failures_are_answered)
{
	/* The poll word knows success only. */
	for (int status = 1; status < 50; status++)
		ASSERT_EQ(status, simdsp_status(self->fd, self->handle, status));
	EXPECT_TRUE(echoes(self->fd, self->handle, 100));
}

TEST_F(poll, slow_calls_are_waited_for)
{
	long long start = qda_now_ms();

	EXPECT_EQ(0, simdsp_sleep(self->fd, self->handle, 200));
	EXPECT_LE(200, qda_now_ms() - start);
	EXPECT_TRUE(echoes(self->fd, self->handle, 100));
}

TEST_F(poll, message_without_word)
{
	ASSERT_EQ(0, simdsp_poll(self->fd, false));
	for (int i = 0; i < 50; i++)
		ASSERT_TRUE(echoes(self->fd, self->handle, i));
	ASSERT_EQ(0, simdsp_cmd(NULL, ON_ECHO("{\"poll_word\":%d}"), DONE + 1));
	for (int i = 0; i < 50; i++)
		ASSERT_TRUE(echoes(self->fd, self->handle, i));
}

TEST_F(poll, word_without_message)
{
	long long drops = simdsp_stat("cdsp", "drops");
	struct itimerval timer = { { 0, 100000 }, { 0, 100000 } };
	struct drm_qda_invoke_arg args[2];
	__u64 limit;
	__u32 in = 5, out = 0;

	ASSERT_EQ(0, qda_param(self->fd, QDA_PARAM_MAX_CALLS, 0, &limit));
	ASSERT_EQ(0, simdsp_cmd(NULL, ON_ECHO("\"drop\"")));
	/*
	 * Each succeeds, and keeps its place until it is answered, which is never. One that took
	 * longer than it is polled for is interrupted, and polled again when it is repeated.
	 */
	ASSERT_EQ(0, sigaction(SIGALRM, &(struct sigaction) { .sa_handler = on_alarm }, NULL));
	ASSERT_EQ(0, setitimer(ITIMER_REAL, &timer, NULL));
	args[0] = qda_inline(&in, 4);
	args[1] = qda_inline(&out, 4);
	for (__u64 i = 0; i < limit; i++) {
		int ret;

		in = i;
		do {
			ret = qda_invoke(self->fd, self->handle, QDA_SCALARS(SIMDSP_ECHO, 1, 1),
					 args);
		} while (ret == -EINTR);
		ASSERT_EQ(0, ret);
		ASSERT_EQ(in, out);
	}
	setitimer(ITIMER_REAL, &(struct itimerval) { 0 }, NULL);
	EXPECT_EQ(-ENOSPC, qda_invoke(self->fd, self->handle, QDA_SCALARS(SIMDSP_ECHO, 1, 1),
				      args));
	EXPECT_EQ(drops + limit, simdsp_stat("cdsp", "drops"));
	/* The end of the process frees them. */
	close(self->fd);
	self->fd = qda_open_process("cdsp");
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, simdsp_open(self->fd, &self->handle));
	ASSERT_EQ(0, simdsp_cmd(NULL, NO_SCRIPT));
	for (int i = 0; i < 300; i++)
		ASSERT_TRUE(echoes(self->fd, self->handle, 8));
}

TEST_F(poll, word_of_a_call_that_fails)
{
	/* The DSP contradicts itself: the first that is seen counts, and nothing breaks. */
	ASSERT_EQ(0, simdsp_cmd(NULL, ON_ECHO("{\"poll_word\":%d},{\"status\":77}"), DONE));
	for (int i = 0; i < 50; i++) {
		__u32 in = i, out = 0;
		int ret = simdsp_echo(self->fd, self->handle, &in, &out, 4);

		ASSERT_TRUE(ret == 0 || ret == 77);
		ASSERT_EQ(in, out);
	}
	ASSERT_EQ(0, simdsp_cmd(NULL, NO_SCRIPT));
	EXPECT_TRUE(echoes(self->fd, self->handle, 100));
}

TEST_F(poll, buffers_come_back_once)
{
	/*
	 * A polled call gives back a buffer that was lent twice: the first is back when the call
	 * has succeeded, and the answer that follows does not take the second.
	 */
	__u32 seed = 0, scalars = QDA_SCALARS(SIMDSP_HANDLES, 1, 1) | QDA_SCALARS_HANDLES(1, 0);
	struct drm_qda_invoke_arg args[3], back;
	struct qda_buf buf, next;
	__u64 number, sum;

	ASSERT_EQ(0, qda_buf_new(self->fd, 4096, &buf));
	args[0] = qda_inline(&seed, 4);
	args[1] = qda_inline(&sum, 8);
	args[2] = (struct drm_qda_invoke_arg) { .length = 4096, .handle = buf.handle };
	for (int i = 0; i < 2; i++)
		ASSERT_EQ(0, qda_invoke(self->fd, self->handle, scalars, args));
	number = buf.handle;
	back = qda_inline(&number, 8);
	qda_buf_free(&buf);
	ASSERT_EQ(0, qda_buf_new(self->fd, 4096, &next));
	ASSERT_EQ(number, next.handle);

	ASSERT_EQ(0, qda_invoke(self->fd, self->handle, QDA_SCALARS(SIMDSP_GIVE_BACK, 1, 0),
				&back));
	usleep(100000);
	EXPECT_EQ(-EEXIST, map_as(&next, number));
	ASSERT_EQ(0, qda_invoke(self->fd, self->handle, QDA_SCALARS(SIMDSP_GIVE_BACK, 1, 0),
				&back));
	EXPECT_EQ(0, map_as(&next, number));
	qda_buf_free(&next);
}

TEST_F(poll, many_threads)
{
	struct drm_qda_invoke_arg args[16][3];
	__u32 ms[16], in[16], out[16] = { 0 };
	struct simdsp_call calls[16];

	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < 16; i++) {
			ms[i] = i % 4 * 7;
			in[i] = round * 100 + i;
			args[i][0] = qda_inline(&ms[i], 4);
			args[i][1] = qda_inline(&in[i], 4);
			args[i][2] = qda_inline(&out[i], 4);
			ASSERT_EQ(0, simdsp_call_start(&calls[i], self->fd, self->handle,
						       QDA_SCALARS(SIMDSP_SLOW_ECHO, 2, 1),
						       args[i]));
		}
		for (int i = 0; i < 16; i++) {
			EXPECT_EQ(0, simdsp_call_join(&calls[i]));
			EXPECT_EQ(in[i], out[i]);
		}
	}
}

TEST_F(poll, signals_end_the_polling)
{
	/* A signal each millisecond: no call polls for long, each is sent once. */
	struct sigaction action = { .sa_handler = on_alarm, .sa_flags = SA_RESTART };
	struct itimerval timer = { { 0, 1000 }, { 0, 1000 } }, off = { 0 };
	long long invokes;
	int bad = 0;

	ASSERT_EQ(0, sigaction(SIGALRM, &action, NULL));
	invokes = simdsp_stat("cdsp", "invokes");
	ASSERT_EQ(0, setitimer(ITIMER_REAL, &timer, NULL));
	for (int i = 0; i < 300; i++)
		bad += !echoes(self->fd, self->handle, i);
	setitimer(ITIMER_REAL, &off, NULL);
	EXPECT_EQ(0, bad);
	EXPECT_EQ(invokes + 300, simdsp_stat("cdsp", "invokes"));
}

TEST_F(poll, other_calls_do_not_poll)
{
	/* A word that nobody looks for is not taken for an answer: static handles wait. */
	struct simdsp_call call;
	__u32 in[2] = { 1, 1000 };
	struct drm_qda_invoke_arg arg = qda_inline(in, sizeof(in));

	ASSERT_EQ(0, simdsp_cmd(NULL, ON("\"handle\":4", "{\"poll_word\":%d},\"drop\""), DONE));
	ASSERT_EQ(0, simdsp_call_start(&call, self->fd, CURRENT_PROCESS,
				       QDA_SCALARS(POLL_MODE, 1, 0), &arg));
	usleep(300000);
	EXPECT_FALSE(simdsp_call_done(&call));
	ASSERT_EQ(0, simdsp_cmd(NULL, NO_SCRIPT));
	EXPECT_TRUE(echoes(self->fd, self->handle, 64));
	ASSERT_EQ(0, sigaction(SIGUSR1, &(struct sigaction) { .sa_handler = on_alarm }, NULL));
	EXPECT_EQ(0, pthread_kill(call.thread, SIGUSR1));
	EXPECT_EQ(-EINTR, simdsp_call_join(&call));
}

TEST_HARNESS_MAIN
