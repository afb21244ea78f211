// SPDX-License-Identifier: GPL-2.0
/*
 * QDA: callers that are interrupted, stopped or killed while the DSP works for them.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "child.h"
#include "fixture.h"
#include "harness.h"
#include "module.h"
#include "qda.h"
#include "simdsp.h"

/* More than the channel has slots for calls. */
#define MANY_KILLS	270

FIXTURE(lifetime)
{
	int fd;
	__u32 handle;
};

FIXTURE_SETUP(lifetime)
{
	fixture_setup(_metadata, &self->fd, &self->handle);
}

FIXTURE_TEARDOWN(lifetime)
{
	fixture_teardown(_metadata, self->fd);
}

/* How often a signal handler ran. */
static int signals;

static void count_signal(int signal)
{
	__atomic_fetch_add(&signals, 1, __ATOMIC_RELAXED);
}

static int handle_signal(int signal, int flags)
{
	struct sigaction action = { .sa_handler = count_signal, .sa_flags = flags };

	return sigaction(signal, &action, NULL);
}

/* How a child makes the call that waits. */
struct wait_for {
	/* Flags of the handler for SIGUSR1. */
	int flags;
	/* Milliseconds of a slow echo; 0: a call that waits for "release-held". */
	__u32 ms;
};

/*
 * A child that opens a session, says so, makes a call that waits, and tells its result, how many
 * signals it saw, and what a further call returned.
 */
static int waiter(struct child *parent, void *arg)
{
	const struct wait_for *how = arg;
	__u32 handle, ms = how->ms, in = 0x600d, out = 0;
	struct drm_qda_invoke_arg args[3] = {
		qda_inline(&ms, 4), qda_inline(&in, 4), qda_inline(&out, 4),
	};
	int fd, ret;

	fd = qda_open_process("cdsp");
	if (fd >= 0 && handle_signal(SIGUSR1, how->flags))
		fd = -errno;
	ret = fd < 0 ? fd : simdsp_open(fd, &handle);
	child_tell(parent, ret);
	if (ret)
		return 1;
	if (ms) {
		ret = qda_invoke(fd, handle, QDA_SCALARS(SIMDSP_SLOW_ECHO, 2, 1), args);
		if (!ret && in != out)
			ret = -EBADMSG;
	} else {
		ret = simdsp_hold(fd, handle);
	}
	child_tell(parent, ret);
	child_tell(parent, __atomic_load_n(&signals, __ATOMIC_RELAXED));
	child_hear(parent, 10000);
	out = 0;
	ret = simdsp_echo(fd, handle, &in, &out, 4);
	child_tell(parent, ret ?: in == out ? 0 : -EBADMSG);
	return 0;
}

/* Starts a waiter, whose call the DSP has got when this returns. */
static bool start_waiter(struct child *child, struct wait_for *how)
{
	long long invokes;

	if (child_start(child, waiter, how))
		return false;
	if (child_hear(child, 10000))
		return false;
	if (!how->ms)
		return simdsp_wait_stat("cdsp", "parked", 1, 5000);
	invokes = simdsp_stat("cdsp", "invokes");
	usleep(how->ms * 300);
	return invokes >= 0;
}

TEST_F(lifetime, killed)
{
	long long releases = simdsp_stat("cdsp", "releases");
	struct wait_for how = { 0 };
	struct child child;
	__u32 in = 5, out = 0;
	long long invokes;
	int status;

	ASSERT_TRUE(start_waiter(&child, &how));
	invokes = simdsp_stat("cdsp", "invokes");
	kill(child.pid, SIGKILL);
	status = child_wait(&child, 5000);
	EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	EXPECT_TRUE(simdsp_wait_stat("cdsp", "releases", releases + 1, 5000));
	EXPECT_TRUE(simdsp_wait_stat("cdsp", "parked", 0, 5000));
	EXPECT_EQ(invokes, simdsp_stat("cdsp", "invokes"));
	/* Others don't notice. */
	EXPECT_EQ(0, simdsp_echo(self->fd, self->handle, &in, &out, 4));
	EXPECT_EQ(in, out);
}

TEST_F_TIMEOUT(lifetime, killed_again_and_again, 120)
{
	long long releases = simdsp_stat("cdsp", "releases");
	struct wait_for how = { 0 };
	__u32 in = 5, out = 0;

	for (int i = 0; i < MANY_KILLS; i++) {
		struct child child;

		ASSERT_TRUE(start_waiter(&child, &how));
		kill(child.pid, SIGKILL);
		ASSERT_LE(0, child_wait(&child, 5000));
		ASSERT_TRUE(simdsp_wait_stat("cdsp", "parked", 0, 5000));
	}
	EXPECT_TRUE(simdsp_wait_stat("cdsp", "releases", releases + MANY_KILLS, 5000));
	EXPECT_EQ(0, simdsp_echo(self->fd, self->handle, &in, &out, 4));
	EXPECT_EQ(in, out);
}

TEST_F(lifetime, killed_with_answer_on_its_way)
{
	/* The answer finds nobody: a few at different distances from it. */
	for (__u32 ms = 5; ms < 60; ms += 5) {
		struct wait_for how = { .ms = ms };
		struct child child;
		__u32 in = ms, out = 0;

		ASSERT_TRUE(start_waiter(&child, &how));
		usleep(ms * 500);
		kill(child.pid, SIGKILL);
		ASSERT_LE(0, child_wait(&child, 5000));
		EXPECT_EQ(0, simdsp_echo(self->fd, self->handle, &in, &out, 4));
		EXPECT_EQ(in, out);
	}
}

TEST_F(lifetime, exits_with_a_thread_waiting)
{
	long long releases = simdsp_stat("cdsp", "releases");
	int status;
	pid_t pid = fork();

	ASSERT_LE(0, pid);
	if (!pid) {
		int fd = qda_open_process("cdsp");
		struct simdsp_call call;
		__u32 handle;

		if (fd < 0 || simdsp_open(fd, &handle) ||
		    simdsp_call_start(&call, fd, handle, QDA_SCALARS(SIMDSP_HOLD, 0, 0), NULL))
			_exit(1);
		usleep(200000);
		_exit(simdsp_call_done(&call));
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_TRUE(simdsp_wait_stat("cdsp", "releases", releases + 1, 5000));
}

TEST_F(lifetime, stopped_and_continued)
{
	struct wait_for how = { .flags = SA_RESTART };
	struct child child;
	long long invokes;
	int status;

	ASSERT_TRUE(start_waiter(&child, &how));
	invokes = simdsp_stat("cdsp", "invokes");
	for (int i = 0; i < 5; i++) {
		kill(child.pid, SIGSTOP);
		ASSERT_EQ(child.pid, waitpid(child.pid, &status, WUNTRACED));
		ASSERT_TRUE(WIFSTOPPED(status));
		usleep(20000);
		kill(child.pid, SIGCONT);
		usleep(20000);
	}
	/* The call was made once, and is still the same. */
	EXPECT_EQ(invokes, simdsp_stat("cdsp", "invokes"));
	EXPECT_EQ(1, simdsp_stat("cdsp", "parked"));
	EXPECT_EQ(0, simdsp_cmd(NULL, "release-held cdsp 5"));
	EXPECT_EQ(5, child_hear(&child, 5000));
	EXPECT_EQ(0, child_hear(&child, 5000));
	child_tell(&child, 1);
	EXPECT_EQ(0, child_hear(&child, 5000));
	EXPECT_EQ(0, child_wait(&child, 5000));
}

TEST_F(lifetime, answered_while_stopped)
{
	struct wait_for how = { .ms = 300, .flags = SA_RESTART };
	struct child child;
	int status;

	/* Results reach the caller when it runs again. */
	ASSERT_TRUE(start_waiter(&child, &how));
	kill(child.pid, SIGSTOP);
	ASSERT_EQ(child.pid, waitpid(child.pid, &status, WUNTRACED));
	usleep(600000);
	EXPECT_EQ(-ETIMEDOUT, child_hear(&child, 0));
	kill(child.pid, SIGCONT);
	EXPECT_EQ(0, child_hear(&child, 5000));
	EXPECT_EQ(0, child_hear(&child, 5000));
	child_tell(&child, 1);
	EXPECT_EQ(0, child_hear(&child, 5000));
	EXPECT_EQ(0, child_wait(&child, 5000));
}

TEST_F(lifetime, handler_that_restarts)
{
	struct wait_for how = { .flags = SA_RESTART };
	struct child child;
	long long messages;

	ASSERT_TRUE(start_waiter(&child, &how));
	messages = simdsp_stat("cdsp", "messages");
	for (int i = 0; i < 10; i++) {
		kill(child.pid, SIGUSR1);
		usleep(20000);
	}
	EXPECT_EQ(messages, simdsp_stat("cdsp", "messages"));
	EXPECT_EQ(0, simdsp_cmd(NULL, "release-held cdsp 6"));
	EXPECT_EQ(6, child_hear(&child, 5000));
	/* All handlers ran, and at once rather than at the end. */
	EXPECT_EQ(10, child_hear(&child, 5000));
	child_tell(&child, 1);
	EXPECT_EQ(0, child_hear(&child, 5000));
	EXPECT_EQ(0, child_wait(&child, 5000));
}

TEST_F(lifetime, handler_that_does_not_restart)
{
	struct wait_for how = { .flags = 0 };
	struct child child;
	long long messages;

	ASSERT_TRUE(start_waiter(&child, &how));
	messages = simdsp_stat("cdsp", "messages");
	kill(child.pid, SIGUSR1);
	EXPECT_EQ(-EINTR, child_hear(&child, 5000));
	EXPECT_EQ(1, child_hear(&child, 5000));
	EXPECT_EQ(messages, simdsp_stat("cdsp", "messages"));
	/* The DSP hasn't noticed; its thread for this caller is busy until it answers. */
	EXPECT_EQ(1, simdsp_stat("cdsp", "parked"));
	EXPECT_EQ(0, simdsp_cmd(NULL, "release-held cdsp 7"));
	/* The answer to the abandoned call is not taken for that to the next one. */
	child_tell(&child, 1);
	EXPECT_EQ(0, child_hear(&child, 5000));
	EXPECT_EQ(0, child_wait(&child, 5000));
}

TEST_F(lifetime, closed_with_a_thread_waiting)
{
	long long releases = simdsp_stat("cdsp", "releases"), invokes;
	struct simdsp_call call;
	__u32 handle;
	int fd;

	fd = qda_open_process("cdsp");
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, simdsp_open(fd, &handle));
	ASSERT_EQ(0, simdsp_call_start(&call, fd, handle, QDA_SCALARS(SIMDSP_HOLD, 0, 0), NULL));
	ASSERT_TRUE(simdsp_wait_stat("cdsp", "parked", 1, 5000));
	invokes = simdsp_stat("cdsp", "invokes");
	/* The call holds the file, so that the session lives until it returns. */
	close(fd);
	usleep(100000);
	EXPECT_FALSE(simdsp_call_done(&call));
	EXPECT_EQ(releases, simdsp_stat("cdsp", "releases"));
	EXPECT_EQ(0, simdsp_cmd(NULL, "release-held cdsp 8"));
	EXPECT_EQ(8, simdsp_call_join(&call));
	EXPECT_TRUE(simdsp_wait_stat("cdsp", "releases", releases + 1, 5000));
	EXPECT_EQ(invokes, simdsp_stat("cdsp", "invokes"));
}

/* Makes a process and ends it by close(). Tells its bank, and how long that took. */
static int closer(struct child *parent, void *arg)
{
	long long start;
	int fd = qda_open_process("cdsp");

	child_tell(parent, fd < 0 ? fd : (int)qda_fdinfo(fd, "qda-bank"));
	if (fd < 0)
		return 0;
	if (arg)
		return child_hear(parent, 60000);
	start = qda_now_ms();
	close(fd);
	child_tell(parent, qda_now_ms() - start);
	return 0;
}

/* Waits until nothing is mapped in a bank: one of two that are given up at once is the last. */
static bool nothing_mapped(int bank)
{
	int ret = -ENOBUFS;

	for (int i = 0; i < qda_patience(250) && ret == -ENOBUFS; i++) {
		ret = simdsp_mappings("cdsp", bank, NULL, 0);
		if (ret == -ENOBUFS)
			usleep(20000);
	}
	return !ret;
}

TEST_F_TIMEOUT(lifetime, process_that_never_ends, 90)
{
	/*
	 * The DSP never says that it ended two processes: close() waits, but not for ever, and a
	 * program that dies not at all. Their banks stay out of use until the DSP comes up anew.
	 */
	static const char no_release[] =
		"{\"rules\":[{\"handle\":1,\"method\":1,\"actions\":[\"drop\"]}]}";
	int banks = qda_banks("cdsp"), stuck[2], fds[16];
	struct child children[2];
	long long start;
	__u32 in = 5, out = 0;

	ASSERT_LE(3, banks);
	ASSERT_GE(16, banks);
	ASSERT_EQ(0, simdsp_cmd(NULL, "script %s", no_release));
	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(0, child_start(&children[i], closer, (void *)(long)i));
		stuck[i] = child_hear(&children[i], 10000);
		ASSERT_LT(0, stuck[i]);
	}
	start = qda_now_ms();
	kill(children[1].pid, SIGKILL);
	EXPECT_LT(0, child_wait(&children[1], 5000));
	EXPECT_GT(qda_patience(3000), qda_now_ms() - start);
	EXPECT_GE(10000 + qda_patience(3000), child_hear(&children[0], 20000));
	EXPECT_EQ(0, child_wait(&children[0], 5000));

	/* The DSP can't reach anything by them, and the other clients go on. */
	ASSERT_EQ(0, simdsp_cmd(NULL, "script {\"replace\":true}"));
	for (int i = 0; i < 2; i++)
		EXPECT_TRUE(nothing_mapped(stuck[i]));
	EXPECT_EQ(0, simdsp_echo(self->fd, self->handle, &in, &out, 4));
	EXPECT_EQ(in, out);
	for (int i = 0; i < banks - 3; i++) {
		fds[i] = qda_open_process("cdsp");
		ASSERT_LE(0, fds[i]);
		EXPECT_NE(stuck[0], qda_fdinfo(fds[i], "qda-bank"));
		EXPECT_NE(stuck[1], qda_fdinfo(fds[i], "qda-bank"));
	}
	ASSERT_EQ(0, child_start(&children[0], closer, NULL));
	EXPECT_EQ(-EBUSY, child_hear(&children[0], 20000));
	EXPECT_EQ(0, child_wait(&children[0], 5000));
	for (int i = 0; i < banks - 3; i++)
		close(fds[i]);
	close(self->fd);

	ASSERT_EQ(0, qda_rebind("cdsp"));
	for (int i = 0; i < banks; i++) {
		fds[i] = qda_open_process("cdsp");
		ASSERT_LE(0, fds[i]);
	}
	for (int i = 1; i < banks; i++)
		close(fds[i]);
	self->fd = fds[0];
}

TEST_F(lifetime, shared_file_survives_a_killed_caller)
{
	/* Two processes with one session: one dies in a call, the other goes on. */
	long long releases = simdsp_stat("cdsp", "releases");
	__u32 in = 5, out = 0;
	int status;
	pid_t pid = fork();

	ASSERT_LE(0, pid);
	if (!pid)
		_exit(simdsp_hold(self->fd, self->handle) != 0);
	ASSERT_TRUE(simdsp_wait_stat("cdsp", "parked", 1, 5000));
	kill(pid, SIGKILL);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, simdsp_echo(self->fd, self->handle, &in, &out, 4));
	EXPECT_EQ(in, out);
	EXPECT_EQ(releases, simdsp_stat("cdsp", "releases"));
	EXPECT_EQ(0, simdsp_cmd(NULL, "release-held cdsp 0"));
}

TEST_HARNESS_MAIN
