// SPDX-License-Identifier: GPL-2.0
/*
 * QDA: programs that use the device nodes of the FastRPC driver, and are stopped, signalled and
 * ended while the DSP works for them. The DSP counts what it gets: nothing comes twice.
 *
 * Wants a CDSP.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "harness.h"
#include "nodes.h"

/* Opens the node and makes a process with the module. Return: the file, or -errno. */
static int open_process(__u32 *handle)
{
	int fd = open(CDSP, O_RDWR | O_CLOEXEC), ret;

	if (fd < 0)
		return -errno;
	ret = create(fd, UNSIGNED);
	if (ret)
		return ret < 0 ? ret : -EREMOTEIO;
	*handle = module(fd);
	return *handle ? fd : -ENOENT;
}

/* Whether a call gets through, and its own answer. */
static bool works(int fd, __u32 handle)
{
	__u32 in = 77, out = 0;

	return !echo(fd, handle, bytes(&in, 4), bytes(&out, 4)) && in == out;
}

FIXTURE(node_signals)
{
	int fd;
	__u32 handle;
};

FIXTURE_SETUP(node_signals)
{
	const char *why = qda_test_begin("node_signals", _metadata->name, true);

	self->fd = -1;
	if (why)
		SKIP(return, "%s", why);
	self->fd = open_process(&self->handle);
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(node_signals)
{
	/* Whatever became of others, this process has not noticed. */
	if (self->fd >= 0) {
		EXPECT_TRUE(works(self->fd, self->handle));
		close(self->fd);
	}
	EXPECT_EQ(0, qda_test_end());
}

/* How often a signal handler ran. */
static int signals;

static void count_signal(int signal)
{
	__atomic_fetch_add(&signals, 1, __ATOMIC_RELAXED);
}

/*
 * A program that makes a call that the DSP holds. When it is interrupted it says so, and makes the
 * same call again when it is told to, as programs do that know of signals. Tells its status, and
 * how many signals it saw; then makes another call.
 */
static int waits(struct child *parent, void *arg)
{
	struct sigaction action = { .sa_handler = count_signal, .sa_flags = *(int *)arg };
	__u32 handle;
	int fd, ret;

	sigaction(SIGUSR1, &action, NULL);
	fd = open_process(&handle);
	child_tell(parent, fd < 0 ? fd : 0);
	if (fd < 0)
		return 1;
	for (;;) {
		ret = hold(fd, handle);
		child_tell(parent, ret);
		if (ret != -EINTR)
			break;
		child_hear(parent, 10000);
	}
	child_tell(parent, __atomic_load_n(&signals, __ATOMIC_RELAXED));
	return !works(fd, handle);
}

/*
 * Starts it, with a handler of these flags. Return: how many calls the DSP has got by then, the one
 * that it holds among them; or -1.
 */
static long long start(struct child *child, int flags)
{
	if (child_start(child, waits, &flags) || child_hear(child, 10000) ||
	    !simdsp_wait_stat("cdsp", "parked", 1, 5000))
		return -1;
	return simdsp_stat("cdsp", "invokes");
}

/* Whether the DSP still has the one call, which came once. */
static bool sent_once(long long invokes)
{
	long long seen = simdsp_stat("cdsp", "invokes");

	if (seen != invokes)
		fprintf(stderr, "# %lld calls, not %lld\n", seen, invokes);
	return seen == invokes && simdsp_stat("cdsp", "parked") == 1;
}

static bool stop(pid_t pid)
{
	int status;

	return !kill(pid, SIGSTOP) && waitpid(pid, &status, WUNTRACED) == pid &&
	       WIFSTOPPED(status);
}

TEST_F_TIMEOUT(node_signals, stopped, 60)
{
	struct child child;
	long long invokes = start(&child, 0);

	ASSERT_LT(0, invokes);
	for (int i = 0; i < 5; i++) {
		ASSERT_TRUE(stop(child.pid));
		usleep(20000);
		ASSERT_EQ(0, kill(child.pid, SIGCONT));
		usleep(20000);
		EXPECT_TRUE(sent_once(invokes));
	}
	/* The answer waits for the program. */
	ASSERT_TRUE(stop(child.pid));
	EXPECT_EQ(0, simdsp_cmd(NULL, "release-held cdsp 5"));
	usleep(20000);
	EXPECT_EQ(-ETIMEDOUT, child_hear(&child, 0));
	ASSERT_EQ(0, kill(child.pid, SIGCONT));
	EXPECT_EQ(5, child_hear(&child, 5000));
	EXPECT_EQ(0, child_hear(&child, 5000));
	EXPECT_EQ(0, child_wait(&child, 5000));
	EXPECT_EQ(invokes + 1, simdsp_stat("cdsp", "invokes"));
}

TEST_F_TIMEOUT(node_signals, handler_that_restarts, 60)
{
	struct child child;
	long long invokes = start(&child, SA_RESTART);

	ASSERT_LT(0, invokes);
	for (int i = 0; i < 10; i++) {
		ASSERT_EQ(0, kill(child.pid, SIGUSR1));
		usleep(20000);
	}
	EXPECT_TRUE(sent_once(invokes));
	EXPECT_EQ(0, simdsp_cmd(NULL, "release-held cdsp 6"));
	EXPECT_EQ(6, child_hear(&child, 5000));
	/* All handlers ran, and at once rather than at the end. */
	EXPECT_EQ(10, child_hear(&child, 5000));
	EXPECT_EQ(0, child_wait(&child, 5000));
	EXPECT_EQ(invokes + 1, simdsp_stat("cdsp", "invokes"));
}

TEST_F_TIMEOUT(node_signals, interrupted_call_made_again, 60)
{
	struct child child;
	long long invokes = start(&child, 0);

	ASSERT_LT(0, invokes);
	for (int i = 0; i < 3; i++) {
		ASSERT_EQ(0, kill(child.pid, SIGUSR1));
		EXPECT_EQ(-EINTR, child_hear(&child, 5000));
		EXPECT_TRUE(sent_once(invokes));
		child_tell(&child, 1);
		usleep(50000);
		EXPECT_TRUE(sent_once(invokes));
	}
	EXPECT_EQ(0, simdsp_cmd(NULL, "release-held cdsp 7"));
	EXPECT_EQ(7, child_hear(&child, 5000));
	EXPECT_EQ(3, child_hear(&child, 5000));
	EXPECT_EQ(0, child_wait(&child, 5000));
	EXPECT_EQ(invokes + 1, simdsp_stat("cdsp", "invokes"));
}

TEST_F_TIMEOUT(node_signals, answered_before_it_is_made_again, 60)
{
	struct child child;
	long long invokes = start(&child, 0);

	ASSERT_LT(0, invokes);
	ASSERT_EQ(0, kill(child.pid, SIGUSR1));
	EXPECT_EQ(-EINTR, child_hear(&child, 5000));
	EXPECT_EQ(0, simdsp_cmd(NULL, "release-held cdsp 8"));
	usleep(50000);
	child_tell(&child, 1);
	EXPECT_EQ(8, child_hear(&child, 5000));
	EXPECT_EQ(1, child_hear(&child, 5000));
	EXPECT_EQ(0, child_wait(&child, 5000));
	EXPECT_EQ(invokes + 1, simdsp_stat("cdsp", "invokes"));
}

TEST_F_TIMEOUT(node_signals, killed, 60)
{
	long long releases = simdsp_stat("cdsp", "releases");
	struct child child;
	long long invokes = start(&child, 0);
	int status;

	ASSERT_LT(0, invokes);
	ASSERT_EQ(0, kill(child.pid, SIGKILL));
	status = child_wait(&child, 5000);
	EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	EXPECT_TRUE(simdsp_wait_stat("cdsp", "releases", releases + 1, 5000));
	EXPECT_TRUE(simdsp_wait_stat("cdsp", "parked", 0, 5000));
	EXPECT_EQ(invokes, simdsp_stat("cdsp", "invokes"));
}

/* A thread that makes a call that the DSP holds. */
struct caller {
	pthread_t thread;
	int fd;
	__u32 handle;
	int ret;
	bool done;
};

static void *caller_thread(void *arg)
{
	struct caller *caller = arg;

	caller->ret = hold(caller->fd, caller->handle);
	__atomic_store_n(&caller->done, true, __ATOMIC_RELEASE);
	return NULL;
}

TEST_F_TIMEOUT(node_signals, closed_in_another_thread, 60)
{
	long long releases = simdsp_stat("cdsp", "releases"), invokes;
	struct caller caller = { 0 };

	caller.fd = open_process(&caller.handle);
	ASSERT_LE(0, caller.fd);
	ASSERT_EQ(0, pthread_create(&caller.thread, NULL, caller_thread, &caller));
	ASSERT_TRUE(simdsp_wait_stat("cdsp", "parked", 1, 5000));
	invokes = simdsp_stat("cdsp", "invokes");
	/* The call holds the file, so that the process lives until it returns. */
	EXPECT_EQ(0, close(caller.fd));
	usleep(100000);
	EXPECT_FALSE(__atomic_load_n(&caller.done, __ATOMIC_ACQUIRE));
	EXPECT_EQ(releases, simdsp_stat("cdsp", "releases"));
	EXPECT_TRUE(sent_once(invokes));
	EXPECT_EQ(0, simdsp_cmd(NULL, "release-held cdsp 9"));
	pthread_join(caller.thread, NULL);
	EXPECT_EQ(9, caller.ret);
	EXPECT_TRUE(simdsp_wait_stat("cdsp", "releases", releases + 1, 5000));
	EXPECT_EQ(invokes, simdsp_stat("cdsp", "invokes"));
}

TEST_HARNESS_MAIN
