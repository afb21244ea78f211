// SPDX-License-Identifier: GPL-2.0
/*
 * Clients that are killed in the middle of calls, a DSP that goes down in every way with calls in
 * flight, and the driver's module unloaded and loaded, again and again: nothing is left of it.
 *
 *	soak <dsp> <kills> <restarts> <reloads> <seed>
 *
 * What the clients do comes from the seed; the machine's own timing does not.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "module.h"
#include "patience.h"
#include "qda.h"
#include "restart.h"
#include "session.h"
#include "simdsp.h"
#include "slab.h"
#include "sysfs.h"

#define MAX_CLIENTS	4
#define THREADS		3
/* More than the driver has slots. */
#define MAX_CALLS	300
/* Sessions among which calls are spread that take all slots. */
#define SESSIONS	4

#define KMEMLEAK	"/sys/kernel/debug/kmemleak"
/* kmemleak believes nothing of what is younger. */
#define KMEMLEAK_US	5500000

/* Long enough for a debug kernel. */
#define PATIENCE_MS	20000
/* Clients that look for a DSP leave it some time to come up. */
#define RETRY_MS	20
/* Longer than clients look for a DSP: those that are not heard of by then have given up. */
#define HEAR_MS		60000

/* Objects that may be there more without meaning anything, in all caches. */
#define SLAB_NOISE	400
/*
 * So many in one are noise, however few events there were: each of two CPUs keeps up to 60 free
 * ones in each of two sheaves, and fills one at once when it allocates the first.
 */
#define CACHE_NOISE	240

static const char *dsp;

static unsigned int random_below(unsigned int *state, unsigned int limit)
{
	/* xorshift32 */
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state % limit;
}

static unsigned int seeded(unsigned int seed, unsigned int number)
{
	return (seed * 2654435761u ^ (number + 1) * 40503u) | 1;
}

static void progress(const char *what, int done, int all)
{
	int step = all < 20 ? 1 : all / 20;

	if (done % step == 0 || done == all)
		printf("# %s: %d of %d, at %lld s\n", what, done, all, qda_now_ms() / 1000);
}

/* Opens a session, as soon as the DSP is there. */
static int open_session(__u32 *handle)
{
	for (int wait = 0; wait < PATIENCE_MS; wait += RETRY_MS) {
		int fd = session_open(dsp, 0);

		if (fd >= 0 && !simdsp_open(fd, handle))
			return fd;
		if (fd >= 0)
			close(fd);
		usleep(1000 * RETRY_MS);
	}
	return -ETIMEDOUT;
}

struct thread {
	pthread_t thread;
	int fd;
	__u32 handle;
	unsigned int state;
	struct qda_buf *buf;
};

/* Calls of many kinds, until one is not answered. */
static void *call_on(void *arg)
{
	struct thread *thread = arg;
	struct drm_qda_invoke_arg args[2];
	char bytes[2][20000];
	int ret;

	do {
		unsigned int kind = random_below(&thread->state, 8);
		size_t half = thread->buf->size / 2;

		args[0] = qda_ref(thread->buf, 0, half);
		args[1] = qda_ref(thread->buf, half, half);
		if (kind == 0)
			ret = qda_invoke(thread->fd, thread->handle,
					 QDA_SCALARS(SIMDSP_HOLD, 1, 1), args);
		else if (kind < 4)
			ret = qda_invoke(thread->fd, thread->handle,
					 QDA_SCALARS(SIMDSP_ECHO, 1, 1), args);
		else if (kind < 7)
			ret = simdsp_echo(thread->fd, thread->handle, bytes[0], bytes[1],
					  1 + random_below(&thread->state, sizeof(bytes[0])));
		else
			ret = simdsp_sleep(thread->fd, thread->handle,
					   1 + random_below(&thread->state, 20));
	} while (!ret);
	return NULL;
}

/* One life of a client: until its calls fail, which is when the DSP goes. */
static void live(unsigned int *state, int ready)
{
	struct thread threads[THREADS];
	struct qda_buf bufs[THREADS] = { 0 };
	__u32 handle;
	int fd = open_session(&handle), count = 0;

	if (fd < 0)
		_exit(1);
	for (; count < THREADS; count++) {
		size_t size = (2 + random_below(state, 32)) * 4096;

		if (session_buf(fd, random_below(state, ORIGINS), size, &bufs[count]))
			break;
		if (!random_below(state, 2))
			session_map(fd, &bufs[count]);
	}
	if (!random_below(state, 3))
		session_grow(fd, 65536);
	for (int i = 0; i < count; i++) {
		threads[i] = (struct thread) {
			.fd = fd, .handle = handle, .state = seeded(*state, i), .buf = &bufs[i],
		};
		pthread_create(&threads[i].thread, NULL, call_on, &threads[i]);
	}
	if (count && write(ready, "", 1) != 1)
		_exit(1);
	for (int i = 0; i < count; i++)
		pthread_join(threads[i].thread, NULL);
	while (count)
		qda_buf_free(&bufs[--count]);
	close(fd);
}

static pid_t start_client(unsigned int seed, int ready)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;)
		live(&seed, ready);
}

/* Waits until @count clients have said that they call. */
static bool hear(int ready, int count)
{
	struct pollfd pfd = { .fd = ready, .events = POLLIN };
	char bytes[MAX_CLIENTS];

	while (count) {
		ssize_t got;

		if (poll(&pfd, 1, qda_patience(HEAR_MS)) != 1)
			return false;
		got = read(ready, bytes, count);
		if (got <= 0)
			return false;
		count -= got;
	}
	return true;
}

/* What a phase counts. */
struct tally {
	int problems;
	long long in_calls;
};

static void end_test(struct tally *tally)
{
	int problems = simdsp_end();

	if (problems)
		printf("# %d problems\n", problems);
	tally->problems += !!problems;
}

static void kill_all(const pid_t *pids, int count)
{
	for (int i = 0; i < count; i++)
		kill(pids[i], SIGKILL);
	for (int i = 0; i < count; i++)
		waitpid(pids[i], NULL, 0);
}

static void kill_clients(int kills, unsigned int seed, struct tally *tally)
{
	for (int done = 0; done < kills;) {
		int clients = kills - done < MAX_CLIENTS ? kills - done : MAX_CLIENTS;
		unsigned int state = seeded(seed, done);
		pid_t pids[MAX_CLIENTS];
		int ready[2];

		if (simdsp_begin("soak-kills") || pipe2(ready, O_CLOEXEC)) {
			tally->problems++;
			return;
		}
		for (int i = 0; i < clients; i++)
			pids[i] = start_client(seeded(state, i), ready[1]);
		close(ready[1]);
		if (!hear(ready[0], clients))
			tally->problems++;
		usleep(random_below(&state, 20000));
		tally->in_calls += simdsp_stat(dsp, "outstanding");
		kill_all(pids, clients);
		close(ready[0]);
		end_test(tally);
		for (int i = 0; i < clients; i++)
			progress("kills", ++done, kills);
	}
}

/* Takes the DSP down, and brings it up again. Return: 0 or -errno. */
static int restart(enum how how, const char *processor)
{
	int ret = go_down(how, dsp, processor);

	if (!ret)
		ret = come_up(how, dsp, processor);
	if (ret < 0)
		return ret;
	close(ret);
	return 0;
}

static void restart_dsp(int restarts, unsigned int seed, struct tally *tally)
{
	static const char * const names[] = { "its channel", "a stop", "a crash" };
	pid_t pids[MAX_CLIENTS - 1];
	char processor[128];
	int clients = MAX_CLIENTS - 1, ready[2];

	if (!restarts)
		return;
	if (!find_processor(dsp, processor, sizeof(processor)) || simdsp_begin("soak-restarts") ||
	    pipe2(ready, O_CLOEXEC)) {
		printf("# no DSP that can be stopped\n");
		tally->problems++;
		return;
	}
	/* One that is stopped works on while its memory is taken away. */
	if (simdsp_cmd(NULL, "expect-fault any") || simdsp_cmd(NULL, "allow unmapped"))
		tally->problems++;
	for (int i = 0; i < clients; i++)
		pids[i] = start_client(seeded(seed, i), ready[1]);
	close(ready[1]);
	for (int done = 0;;) {
		unsigned int state = seeded(seed, done);
		/* Each way once, also where there are few. */
		enum how how = random_below(&state, HOWS);
		int ret;

		if (done < HOWS)
			how = done;
		/* They come back by themselves, each time. */
		if (!hear(ready[0], clients)) {
			printf("# a client did not come back\n");
			tally->problems++;
			break;
		}
		if (done == restarts)
			break;
		usleep(random_below(&state, 20000));
		tally->in_calls += simdsp_stat(dsp, "outstanding");
		ret = restart(how, processor);
		if (ret) {
			printf("# restart %d of %d, by %s: %s\n", done + 1, restarts, names[how],
			       strerror(-ret));
			tally->problems++;
		}
		progress("restarts", ++done, restarts);
	}
	kill_all(pids, clients);
	close(ready[0]);
	end_test(tally);
}

static bool reload(void)
{
	int devices = sysfs_count("/dev/accel");

	return !qda_unload() && qda_reload(devices);
}

static void reload_module(int reloads, unsigned int seed, struct tally *tally)
{
	for (int done = 0; done < reloads;) {
		int ready[2];
		pid_t pid;

		if (simdsp_begin("soak-reloads") || pipe2(ready, O_CLOEXEC)) {
			tally->problems++;
			return;
		}
		/* A client is killed in its calls just before. */
		pid = start_client(seeded(seed, done), ready[1]);
		close(ready[1]);
		if (!hear(ready[0], 1))
			tally->problems++;
		tally->in_calls += simdsp_stat(dsp, "outstanding");
		kill_all(&pid, 1);
		close(ready[0]);
		end_test(tally);
		if (!reload()) {
			printf("# reload %d of %d: %s\n", done + 1, reloads, strerror(errno));
			tally->problems++;
			return;
		}
		progress("reloads", ++done, reloads);
	}
}

/* Calls that can wait at once. With those that are left in slots it would be fewer. */
static int room(void)
{
	static struct simdsp_call calls[MAX_CALLS];
	int fds[SESSIONS], parked = 0;
	__u32 handles[SESSIONS];
	long long all;

	if (simdsp_begin("soak-slots"))
		return -1;
	/* That takes calls as well. */
	for (int i = 0; i < SESSIONS; i++) {
		fds[i] = open_session(&handles[i]);
		if (fds[i] < 0)
			return -1;
	}
	for (int i = 0; i < SESSIONS; i++) {
		do {
			struct simdsp_call *call = &calls[parked];

			if (simdsp_call_start(call, fds[i], handles[i],
					      QDA_SCALARS(SIMDSP_HOLD, 0, 0), NULL))
				return -1;
			/* Until it either waits on the DSP or has come back. */
			do {
				usleep(500);
				all = simdsp_stat(dsp, "held");
			} while (all <= parked && !simdsp_call_done(call));
			if (simdsp_call_done(call)) {
				simdsp_call_join(call);
				break;
			}
		} while (++parked < MAX_CALLS);
	}
	simdsp_cmd(NULL, "release-held %s 0", dsp);
	for (int i = 0; i < parked; i++)
		simdsp_call_join(&calls[i]);
	for (int i = 0; i < SESSIONS; i++)
		close(fds[i]);
	return simdsp_end() ? -1 : parked;
}

/* Reports of kmemleak, or -1 where there is none. */
static int leaks(void)
{
	char line[512];
	int count = 0;
	FILE *file;

	if (access(KMEMLEAK, F_OK))
		return -1;
	usleep(KMEMLEAK_US);
	/* The first scan only marks what has changed since the last. */
	sysfs_write(KMEMLEAK, "scan");
	sysfs_write(KMEMLEAK, "scan");
	file = fopen(KMEMLEAK, "re");
	if (!file)
		return -1;
	while (fgets(line, sizeof(line), file)) {
		if (!strncmp(line, "unreferenced object", 19))
			count++;
		/* Enough to see what they are. */
		if (count && count <= 3)
			printf("# %s", line);
	}
	fclose(file);
	return count;
}

/* struct state - what should be the same in the end */
struct state {
	int room;
	long long mapped;
	int leaks;
	struct slab_census slab;
};

/* Looks at what there is, and how it differs from @before. */
static void look(const char *when, struct state *state, const struct state *before)
{
	struct survey survey;

	state->room = room();
	state->mapped = -1;
	for (int wait = 0; wait < PATIENCE_MS && state->mapped; wait += 10) {
		usleep(10000);
		if (!dsp_survey(&survey))
			state->mapped = survey.mapped;
	}
	state->leaks = leaks();
	slab_take(&state->slab);
	printf("# %s: room for %d calls, %lld bytes mapped, %d kmemleak reports, %lld objects\n",
	       when, state->room, state->mapped, state->leaks, state->slab.objects);
	if (before)
		slab_print_grown(&before->slab, &state->slab);
}

/*
 * How many objects more in one cache are a leak, even if others have become fewer meanwhile: as
 * many as every other event of a kind.
 */
static long long too_many(const int *counts, int kinds)
{
	long long many = LLONG_MAX;

	for (int i = 0; i < kinds; i++) {
		if (counts[i] && counts[i] / 2 < many)
			many = counts[i] / 2;
	}
	return many < CACHE_NOISE ? CACHE_NOISE : many;
}

int main(int argc, char **argv)
{
	struct tally warm = { 0 }, kills = { 0 }, restarts = { 0 }, reloads = { 0 };
	static struct state before, after;
	int counts[3];
	struct tap tap = { 0 };
	long long grown, most;
	unsigned int seed;
	const char *cache;
	bool loads;

	if (argc != 6) {
		fprintf(stderr, "usage: soak <dsp> <kills> <restarts> <reloads> <seed>\n");
		return 2;
	}
	dsp = argv[1];
	for (int i = 0; i < 3; i++)
		counts[i] = atoi(argv[2 + i]);
	seed = strtoul(argv[5], NULL, 0);
	tap_plan(9);
	printf("# %s: %d kills, %d restarts, %d reloads, seed %u\n", dsp, counts[0], counts[1],
	       counts[2], seed);

	/* A little of everything first: what is allocated once is no leak. */
	kill_clients(2 * MAX_CLIENTS, seed + 1, &warm);
	restart_dsp(HOWS, seed + 1, &warm);
	reload_module(3, seed + 1, &warm);
	look("after a few", &before, NULL);

	kill_clients(counts[0], seed, &kills);
	look("after the kills", &after, &before);
	restart_dsp(counts[1], seed, &restarts);
	look("after the restarts", &after, &before);
	reload_module(counts[2], seed, &reloads);
	/* The module can go: nobody holds it. The kernel frees the addresses that it has put by. */
	loads = reload();
	look("in the end", &after, &before);

	grown = after.slab.objects - before.slab.objects;
	most = slab_most(&before.slab, &after.slab, &cache);
	tap_result(&tap, !warm.problems && !kills.problems && kills.in_calls >= counts[0],
		   "%d kills with %lld calls in flight, problems: %d", counts[0], kills.in_calls,
		   kills.problems);
	tap_result(&tap, !restarts.problems && restarts.in_calls >= counts[1],
		   "%d restarts with %lld calls in flight, problems: %d", counts[1],
		   restarts.in_calls, restarts.problems);
	tap_result(&tap, !reloads.problems, "%d reloads, problems: %d", counts[2],
		   reloads.problems);
	tap_result(&tap, before.room > 0 && before.room == after.room,
		   "slots left in use: %d of %d", before.room - after.room, before.room);
	tap_result(&tap, !after.mapped, "mappings left: %lld bytes", after.mapped);
	tap_result(&tap, !after.leaks, "kmemleak reports: %d", after.leaks);
	tap_result(&tap, before.slab.count && grown <= SLAB_NOISE,
		   "slab objects: %lld, %+lld since the beginning", after.slab.objects, grown);
	tap_result(&tap, after.slab.count && most < too_many(counts, 3),
		   "the cache that has grown most: %s, %+lld", cache, most);
	tap_result(&tap, loads, "the module unloads and loads");
	return tap.failed ? 1 : 0;
}
