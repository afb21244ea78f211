// SPDX-License-Identifier: GPL-2.0
/*
 * QDA: programs that are stopped, frozen, traced, signalled and ended while the DSP works for them,
 * and while they wait for the DSP to call. The DSP counts what it gets: nothing comes twice.
 *
 * QDA_SIGNAL_CALLS in the environment says how many calls are made under a storm of signals.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "child.h"
#include "fixture.h"
#include "freezer.h"
#include "harness.h"
#include "module.h"
#include "qda.h"
#include "simdsp.h"

#define STORM_CALLS	10000
#define PARKED_THREADS	64

/* A call from the DSP to the program: what it is made to, and what comes of it. */
#define REVERSE		"reverse cdsp 5 7 client:%lld in:0102 out:4"
#define REVERSE_DONE	"0 a5a5a5a5"

/* The DSP looks at its first listener late. */
#define SLOW	"{\"rules\":[{\"handle\":3,\"method\":4,\"nth\":1,\"actions\":[{\"delay_ms\":3000}]}]}"

FIXTURE(signals)
{
	int fd;
	__u32 handle;
};

FIXTURE_SETUP(signals)
{
	fixture_setup(_metadata, &self->fd, &self->handle);
}

FIXTURE_TEARDOWN(signals)
{
	__u32 in = 77, out = 0;

	/* Whatever became of others, this session has not noticed. */
	if (self->fd >= 0) {
		EXPECT_EQ(0, simdsp_echo(self->fd, self->handle, &in, &out, 4));
		EXPECT_EQ(in, out);
		close(self->fd);
	}
	EXPECT_EQ(0, qda_test_end());
}

/*
 * A program with two threads on the DSP: one serves the DSP's calls, one makes a call that the DSP
 * does not answer before it is told to. Tells how that ends.
 */
static int works_and_serves(struct child *parent, void *arg)
{
	pthread_t server;
	__u32 handle;
	int fd, ret;

	fd = qda_open_process("cdsp");
	ret = fd < 0 ? fd : simdsp_open(fd, &handle);
	ret = ret ?: qda_invoke(fd, ADSP_LISTENER, QDA_SCALARS(3, 0, 0), NULL);
	ret = ret ?: -pthread_create(&server, NULL, simdsp_serve, &fd);
	child_tell(parent, ret ?: (int)qda_fdinfo(fd, "qda-client"));
	if (ret)
		return 1;
	child_tell(parent, simdsp_hold(fd, handle));
	return 0;
}

/* Starts a client. Return: its number on the DSP, which waits for it and for which it waits. */
static long long start_client(struct child *child)
{
	int number;

	if (child_start(child, works_and_serves, NULL))
		return -1;
	number = child_hear(child, 10000);
	return number > 0 && simdsp_wait_stat("cdsp", "parked", 2, 10000) ? number : -1;
}

/* A call of the DSP to the client, made by a thread of the test. */
struct reverse {
	pthread_t thread;
	long long client;
	bool done;
};

static bool reverse_call(long long client)
{
	char reply[SIMDSP_LINE];

	if (simdsp_cmd(reply, REVERSE, client))
		return false;
	if (strcmp(reply, REVERSE_DONE))
		fprintf(stderr, "# reverse call: %s\n", reply);
	return !strcmp(reply, REVERSE_DONE);
}

static void *reverse_thread(void *arg)
{
	struct reverse *reverse = arg;

	reverse->done = reverse_call(reverse->client);
	return NULL;
}

/* Ways to keep a process from running for a while. */
struct way {
	int (*hold)(pid_t pid);
	int (*let_go)(pid_t pid);
};

/*
 * Holds a client up twice. Nothing is sent because of that, a call that the DSP makes meanwhile
 * arrives, and so does the answer that comes meanwhile.
 */
static void disturb(struct __test_metadata *_metadata, const struct way *way)
{
	struct child child;
	struct reverse reverse = { .client = start_client(&child) };
	long long invokes;

	ASSERT_LT(0, reverse.client);
	for (int i = 0; i < 2; i++) {
		invokes = simdsp_stat("cdsp", "invokes");
		ASSERT_EQ(0, way->hold(child.pid));
		usleep(20000);
		ASSERT_EQ(0, way->let_go(child.pid));
		usleep(20000);
		EXPECT_EQ(invokes, simdsp_stat("cdsp", "invokes"));
		EXPECT_EQ(2, simdsp_stat("cdsp", "parked"));

		/* Its next call waits for the DSP again: one more, and only one. */
		EXPECT_TRUE(reverse_call(reverse.client));
		EXPECT_TRUE(simdsp_wait_stat("cdsp", "parked", 2, 5000));
		EXPECT_EQ(invokes + 1, simdsp_stat("cdsp", "invokes"));

		ASSERT_EQ(0, way->hold(child.pid));
		ASSERT_EQ(0, pthread_create(&reverse.thread, NULL, reverse_thread, &reverse));
		usleep(100000);
		ASSERT_EQ(0, way->let_go(child.pid));
		pthread_join(reverse.thread, NULL);
		EXPECT_TRUE(reverse.done);
		EXPECT_TRUE(simdsp_wait_stat("cdsp", "parked", 2, 5000));
		EXPECT_EQ(invokes + 2, simdsp_stat("cdsp", "invokes"));
	}
	ASSERT_EQ(0, way->hold(child.pid));
	EXPECT_EQ(0, simdsp_cmd(NULL, "release-held cdsp 11"));
	usleep(20000);
	EXPECT_EQ(-ETIMEDOUT, child_hear(&child, 0));
	ASSERT_EQ(0, way->let_go(child.pid));
	EXPECT_EQ(11, child_hear(&child, 5000));
	EXPECT_EQ(0, child_wait(&child, 5000));
}

static int stop(pid_t pid)
{
	int status;

	if (kill(pid, SIGSTOP) || waitpid(pid, &status, WUNTRACED) != pid)
		return -errno;
	return WIFSTOPPED(status) ? 0 : -ECHILD;
}

static int cont(pid_t pid)
{
	return kill(pid, SIGCONT) ? -errno : 0;
}

TEST_F_TIMEOUT(signals, stopped, 60)
{
	disturb(_metadata, &(struct way) { stop, cont });
}

TEST_F_TIMEOUT(signals, frozen_by_a_control_group, 60)
{
	ASSERT_EQ(0, freezer_mount(FREEZER_UNIFIED));
	disturb(_metadata, &(struct way) { freezer_freeze, freezer_thaw });
	EXPECT_EQ(0, freezer_umount());
}

TEST_F_TIMEOUT(signals, frozen_by_the_freezer, 60)
{
	if (freezer_mount(FREEZER_OWN))
		SKIP(return, "this kernel has no freezer hierarchy");
	disturb(_metadata, &(struct way) { freezer_freeze, freezer_thaw });
	EXPECT_EQ(0, freezer_umount());
}

/* The threads of a process; two are all that a client has. */
static int threads_of(pid_t pid, pid_t tids[2])
{
	char path[64];
	int count = 0;

	for (pid_t tid = pid; tid < pid + 64 && count < 2; tid++) {
		snprintf(path, sizeof(path), "/proc/%d/task/%d", pid, tid);
		if (!access(path, F_OK))
			tids[count++] = tid;
	}
	return count;
}

static int trace(pid_t pid)
{
	pid_t tids[2];
	int count = threads_of(pid, tids), status;

	for (int i = 0; i < count; i++) {
		if (ptrace(PTRACE_ATTACH, tids[i], NULL, NULL) ||
		    waitpid(tids[i], &status, __WALL) != tids[i])
			return -errno;
	}
	return count == 2 ? 0 : -ESRCH;
}

/* The first thread may have its answer by then and end the process, so it goes last. */
static int untrace(pid_t pid)
{
	pid_t tids[2];
	int count = threads_of(pid, tids);

	for (int i = count - 1; i >= 0; i--) {
		if (ptrace(PTRACE_DETACH, tids[i], NULL, NULL))
			return -errno;
	}
	return 0;
}

TEST_F_TIMEOUT(signals, traced, 60)
{
	disturb(_metadata, &(struct way) { trace, untrace });
}

TEST_F_TIMEOUT(signals, suspended, 90)
{
	/* All processes are frozen, this one too, and thawed after a second. */
	struct child child;
	long long number, invokes;

	if (freezer_suspend(0))
		SKIP(return, "this kernel can't test suspending");
	number = start_client(&child);
	ASSERT_LT(0, number);
	invokes = simdsp_stat("cdsp", "invokes");
	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(0, freezer_suspend(1));
		EXPECT_EQ(2, simdsp_stat("cdsp", "parked"));
		EXPECT_EQ(invokes + i, simdsp_stat("cdsp", "invokes"));
		EXPECT_TRUE(reverse_call(number));
		EXPECT_TRUE(simdsp_wait_stat("cdsp", "parked", 2, 5000));
		EXPECT_EQ(invokes + i + 1, simdsp_stat("cdsp", "invokes"));
	}
	EXPECT_EQ(0, simdsp_cmd(NULL, "release-held cdsp 12"));
	EXPECT_EQ(12, child_hear(&child, 5000));
	EXPECT_EQ(0, child_wait(&child, 5000));
}

TEST_F_TIMEOUT(signals, called_while_suspended, 90)
{
	/*
	 * Nobody can have the DSP call while all are frozen. It is told before, when no call of the
	 * client waits for it: it takes its time to look at that one, and calls as soon as it has.
	 */
	long long before = simdsp_stat("cdsp", "invokes"), start;
	struct reverse reverse = { 0 };
	struct child child;

	if (freezer_suspend(0))
		SKIP(return, "this kernel can't test suspending");
	ASSERT_EQ(0, simdsp_cmd(NULL, "script %s", SLOW));
	ASSERT_EQ(0, child_start(&child, works_and_serves, NULL));
	reverse.client = child_hear(&child, 10000);
	ASSERT_LT(0, reverse.client);
	start = qda_now_ms();
	/* It opens a module, listens, by two calls, and has one held. */
	ASSERT_TRUE(simdsp_wait_stat("cdsp", "invokes", before + 4, 5000));
	EXPECT_TRUE(simdsp_wait_stat("cdsp", "parked", 1, 1000));
	ASSERT_EQ(0, pthread_create(&reverse.thread, NULL, reverse_thread, &reverse));
	usleep(100000);
	/* That is still to come. */
	EXPECT_GT(2500, qda_now_ms() - start);
	ASSERT_EQ(0, freezer_suspend(4));
	pthread_join(reverse.thread, NULL);
	EXPECT_TRUE(reverse.done);
	EXPECT_TRUE(simdsp_wait_stat("cdsp", "parked", 2, 5000));
	EXPECT_EQ(before + 5, simdsp_stat("cdsp", "invokes"));
	EXPECT_EQ(0, simdsp_cmd(NULL, "release-held cdsp 15"));
	EXPECT_EQ(15, child_hear(&child, 5000));
	EXPECT_EQ(0, child_wait(&child, 5000));
}

static long long signals;

static void count_signal(int signal)
{
	__atomic_fetch_add(&signals, 1, __ATOMIC_RELAXED);
}

TEST_F_TIMEOUT(signals, storm_of_signals, 240)
{
	/* A profiler: a thousand signals a second, with a handler that restarts system calls. */
	struct sigaction action = { .sa_handler = count_signal, .sa_flags = SA_RESTART };
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGPROF };
	struct itimerspec each = { { 0, 1000000 }, { 0, 1000000 } };
	const char *wanted = getenv("QDA_SIGNAL_CALLS");
	int calls = wanted ? atoi(wanted) : STORM_CALLS, bad = 0;
	long long before, ms;
	__u8 in[300], out[300];
	timer_t timer;

	ASSERT_LT(0, calls);
	before = simdsp_stat("cdsp", "invokes");
	ASSERT_EQ(0, sigaction(SIGPROF, &action, NULL));
	ASSERT_EQ(0, timer_create(CLOCK_MONOTONIC, &event, &timer));
	ms = qda_now_ms();
	ASSERT_EQ(0, timer_settime(timer, 0, &each, NULL));
	for (int i = 0; i < calls; i++) {
		qda_fill(in, sizeof(in), i);
		memset(out, 0, sizeof(out));
		if (simdsp_echo(self->fd, self->handle, in, out, sizeof(in)) ||
		    memcmp(in, out, sizeof(in)))
			bad++;
	}
	ASSERT_EQ(0, timer_delete(timer));
	ms = qda_now_ms() - ms;
	TH_LOG("%d calls, %lld signals in %lld ms", calls, signals, ms);
	EXPECT_EQ(0, bad);
	/* One that is late takes the next one with it: on a busy machine some are missing. */
	EXPECT_LT(0, signals);
	EXPECT_LE(ms / qda_patience(4), signals);
	EXPECT_EQ(before + calls, simdsp_stat("cdsp", "invokes"));
}

/* Makes the same call again after it was interrupted. */
static int repeats(struct child *parent, void *arg)
{
	struct sigaction action = { .sa_handler = count_signal };
	__u32 handle;
	int fd, ret;

	sigaction(SIGUSR1, &action, NULL);
	fd = qda_open_process("cdsp");
	ret = fd < 0 ? fd : simdsp_open(fd, &handle);
	child_tell(parent, ret);
	if (ret)
		return 1;
	child_tell(parent, simdsp_hold(fd, handle));
	child_tell(parent, simdsp_hold(fd, handle));
	return 0;
}

TEST_F(signals, interrupted_call_made_again)
{
	struct child child;
	long long invokes;

	ASSERT_EQ(0, child_start(&child, repeats, NULL));
	ASSERT_EQ(0, child_hear(&child, 10000));
	ASSERT_TRUE(simdsp_wait_stat("cdsp", "parked", 1, 5000));
	invokes = simdsp_stat("cdsp", "invokes");
	kill(child.pid, SIGUSR1);
	EXPECT_EQ(-EINTR, child_hear(&child, 5000));
	usleep(100000);
	EXPECT_EQ(invokes, simdsp_stat("cdsp", "invokes"));
	EXPECT_EQ(1, simdsp_stat("cdsp", "parked"));
	EXPECT_EQ(0, simdsp_cmd(NULL, "release-held cdsp 13"));
	EXPECT_EQ(13, child_hear(&child, 5000));
	EXPECT_EQ(0, child_wait(&child, 5000));
}

/* Tells the parent that the wait was interrupted, and waits until that says to go on. */
static void wait_for_parent(void *parent)
{
	child_tell(parent, -EINTR);
	child_hear(parent, 10000);
}

/* Listens, with a handler that does not restart what it interrupts. */
static int listens_again(struct child *parent, void *arg)
{
	struct sigaction action = { .sa_handler = count_signal };
	int fd, ret;

	sigaction(SIGUSR1, &action, NULL);
	fd = qda_open_process("cdsp");
	ret = fd < 0 ? fd : qda_invoke(fd, ADSP_LISTENER, QDA_SCALARS(3, 0, 0), NULL);
	child_tell(parent, ret ?: (int)qda_fdinfo(fd, "qda-client"));
	if (ret)
		return 1;
	child_tell(parent, simdsp_serve_on(fd, wait_for_parent, parent));
	return 0;
}

TEST_F_TIMEOUT(signals, interrupted_listener_called_before_it_is_back, 60)
{
	struct reverse reverse;
	struct child child;
	long long invokes;

	ASSERT_EQ(0, child_start(&child, listens_again, NULL));
	reverse.client = child_hear(&child, 10000);
	ASSERT_LT(0, reverse.client);
	ASSERT_TRUE(simdsp_wait_stat("cdsp", "listeners", 1, 5000));
	invokes = simdsp_stat("cdsp", "invokes");
	for (int i = 1; i <= 3; i++) {
		kill(child.pid, SIGUSR1);
		EXPECT_EQ(-EINTR, child_hear(&child, 5000));
		/* The DSP hasn't noticed, and calls. */
		EXPECT_EQ(1, simdsp_stat("cdsp", "listeners"));
		EXPECT_EQ(invokes + i - 1, simdsp_stat("cdsp", "invokes"));
		reverse.done = false;
		ASSERT_EQ(0, pthread_create(&reverse.thread, NULL, reverse_thread, &reverse));
		usleep(200000);
		EXPECT_FALSE(reverse.done);
		/* The listener is back: it has the call, and answers with its next one. */
		child_tell(&child, 1);
		pthread_join(reverse.thread, NULL);
		EXPECT_TRUE(reverse.done);
		EXPECT_TRUE(simdsp_wait_stat("cdsp", "listeners", 1, 5000));
		EXPECT_EQ(invokes + i, simdsp_stat("cdsp", "invokes"));
	}
	EXPECT_EQ(0, simdsp_cmd(NULL, "complete-listener cdsp 0x8000040d"));
	EXPECT_EQ(DSP_ERROR(0x0d), child_hear(&child, 5000));
	EXPECT_EQ(0, child_wait(&child, 5000));
}

/* A call on its way while the file gets further descriptors and processes. */
static int shares(struct child *parent, void *arg)
{
	struct simdsp_call call;
	__u32 handle, in = 6, out = 0;
	int fd, copy, ret, status;
	pid_t pid;

	fd = qda_open_process("cdsp");
	ret = fd < 0 ? fd : simdsp_open(fd, &handle);
	ret = ret ?: simdsp_call_start(&call, fd, handle, QDA_SCALARS(SIMDSP_HOLD, 0, 0), NULL);
	child_tell(parent, ret);
	if (ret)
		return 1;
	child_hear(parent, 10000);
	copy = dup(fd);
	close(fd);
	pid = fork();
	if (!pid)
		_exit(simdsp_echo(copy, handle, &in, &out, 4) || in != out);
	ret = waitpid(pid, &status, 0) == pid ? status : -errno;
	ret = ret ?: simdsp_echo(copy, handle, &in, &out, 4);
	child_tell(parent, ret ?: simdsp_call_done(&call));
	child_tell(parent, simdsp_call_join(&call));
	return 0;
}

TEST_F(signals, dup_and_fork_across_a_call)
{
	long long releases = simdsp_stat("cdsp", "releases");
	struct child child;
	long long invokes;

	ASSERT_EQ(0, child_start(&child, shares, NULL));
	ASSERT_EQ(0, child_hear(&child, 10000));
	ASSERT_TRUE(simdsp_wait_stat("cdsp", "parked", 1, 5000));
	invokes = simdsp_stat("cdsp", "invokes");
	child_tell(&child, 1);
	EXPECT_EQ(0, child_hear(&child, 10000));
	EXPECT_EQ(invokes + 2, simdsp_stat("cdsp", "invokes"));
	EXPECT_EQ(releases, simdsp_stat("cdsp", "releases"));
	EXPECT_EQ(0, simdsp_cmd(NULL, "release-held cdsp 14"));
	EXPECT_EQ(14, child_hear(&child, 5000));
	EXPECT_EQ(0, child_wait(&child, 5000));
	EXPECT_TRUE(simdsp_wait_stat("cdsp", "releases", releases + 1, 5000));
}

/* Becomes another program while a thread of it waits. */
static int execs(struct child *parent, void *arg)
{
	bool keeps = arg;
	struct simdsp_call call;
	__u32 handle;
	int fd, ret;

	fd = qda_open_process("cdsp");
	if (fd >= 0 && keeps)
		fcntl(fd, F_SETFD, 0);
	ret = fd < 0 ? fd : simdsp_open(fd, &handle);
	ret = ret ?: simdsp_call_start(&call, fd, handle, QDA_SCALARS(SIMDSP_HOLD, 0, 0), NULL);
	child_tell(parent, ret);
	if (ret)
		return 1;
	child_hear(parent, 10000);
	execl("/bin/sleep", "sleep", "60", NULL);
	return 1;
}

TEST_F(signals, exec_ends_the_session)
{
	long long releases = simdsp_stat("cdsp", "releases");
	struct child child;

	ASSERT_EQ(0, child_start(&child, execs, NULL));
	ASSERT_EQ(0, child_hear(&child, 10000));
	ASSERT_TRUE(simdsp_wait_stat("cdsp", "parked", 1, 5000));
	child_tell(&child, 1);
	EXPECT_TRUE(simdsp_wait_stat("cdsp", "releases", releases + 1, 5000));
	EXPECT_TRUE(simdsp_wait_stat("cdsp", "parked", 0, 5000));
	kill(child.pid, SIGKILL);
	EXPECT_LT(0, child_wait(&child, 5000));
}

TEST_F(signals, exec_that_keeps_the_file)
{
	long long releases = simdsp_stat("cdsp", "releases");
	struct child child;

	ASSERT_EQ(0, child_start(&child, execs, (void *)1));
	ASSERT_EQ(0, child_hear(&child, 10000));
	ASSERT_TRUE(simdsp_wait_stat("cdsp", "parked", 1, 5000));
	child_tell(&child, 1);
	usleep(300000);
	/* The caller is gone, the session and what the DSP does for it are not. */
	EXPECT_EQ(releases, simdsp_stat("cdsp", "releases"));
	EXPECT_EQ(1, simdsp_stat("cdsp", "parked"));
	EXPECT_EQ(0, simdsp_cmd(NULL, "release-held cdsp 0"));
	kill(child.pid, SIGKILL);
	EXPECT_LT(0, child_wait(&child, 5000));
	EXPECT_TRUE(simdsp_wait_stat("cdsp", "releases", releases + 1, 5000));
}

static int many_threads(struct child *parent, void *arg)
{
	static struct simdsp_call calls[PARKED_THREADS];
	__u32 handle;
	int fd, ret;

	fd = qda_open_process("cdsp");
	ret = fd < 0 ? fd : simdsp_open(fd, &handle);
	for (int i = 0; !ret && i < PARKED_THREADS; i++)
		ret = simdsp_call_start(&calls[i], fd, handle, QDA_SCALARS(SIMDSP_HOLD, 0, 0),
					NULL);
	child_tell(parent, ret);
	child_hear(parent, 20000);
	exit(ret);
}

TEST_F_TIMEOUT(signals, exit_with_many_threads_waiting, 60)
{
	long long releases = simdsp_stat("cdsp", "releases"), invokes;
	struct child child;

	ASSERT_EQ(0, child_start(&child, many_threads, NULL));
	ASSERT_EQ(0, child_hear(&child, 20000));
	ASSERT_TRUE(simdsp_wait_stat("cdsp", "parked", PARKED_THREADS, 20000));
	invokes = simdsp_stat("cdsp", "invokes");
	child_tell(&child, 1);
	EXPECT_EQ(0, child_wait(&child, 10000));
	EXPECT_TRUE(simdsp_wait_stat("cdsp", "releases", releases + 1, 10000));
	EXPECT_EQ(0, simdsp_stat("cdsp", "parked"));
	EXPECT_EQ(invokes, simdsp_stat("cdsp", "invokes"));
}

TEST_HARNESS_MAIN
