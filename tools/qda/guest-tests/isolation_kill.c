// SPDX-License-Identifier: GPL-2.0
/*
 * Clients are killed at a random moment, again and again. After each time nothing of them is left
 * in any page table, and no two banks share one.
 *
 *	isolation_kill <dsp> <times> <seed>
 *
 * A client makes a DSP process and goes on for ever: it allocates and imports buffers, calls the
 * DSP with them and without, leaves calls unanswered in other threads, has the process keep buffers
 * and grow its heap, frees buffers, and starts anew. One to three of them live at a time. The
 * moment of the kill, and what the clients do, come from the seed; the machine's own timing does
 * not.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "module.h"
#include "qda.h"
#include "session.h"
#include "simdsp.h"

#define MAX_CLIENTS	3
#define MAX_BUFS	6
#define MAX_HELD	3
/* From before the DSP process is there to well after. */
#define MOMENT_US	60000
/* How long the kernel may take to clean up. */
#define PATIENCE_MS	2000

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

/* One life of a client's DSP process. */
static void live(const char *dsp, unsigned int *state)
{
	struct qda_buf bufs[MAX_BUFS] = { 0 };
	struct simdsp_call held[MAX_HELD];
	struct drm_qda_invoke_arg args[MAX_HELD];
	int count = 0, holding = 0, fd;
	__u32 handle;

	fd = session_open(dsp, random_below(state, 4) ? 0 : 65536);
	if (fd < 0)
		return;
	if (simdsp_open(fd, &handle)) {
		close(fd);
		return;
	}
	for (int turn = random_below(state, 40); turn >= 0; turn--) {
		struct qda_buf *buf = count ? &bufs[random_below(state, count)] : NULL;
		struct drm_qda_invoke_arg pair[2];
		char bytes[2][20000];

		switch (random_below(state, 9)) {
		case 0:
		case 1:
			if (count < MAX_BUFS &&
			    !session_buf(fd, random_below(state, ORIGINS),
					 (1 + random_below(state, 64)) * 4096, &bufs[count]))
				count++;
			break;
		case 2:
		case 3:
			if (!buf)
				break;
			pair[0] = qda_ref(buf, 0, buf->size / 2);
			pair[1] = qda_ref(buf, buf->size / 2, buf->size / 2);
			qda_invoke(fd, handle, QDA_SCALARS(SIMDSP_ECHO, 1, 1), pair);
			break;
		case 4:
			simdsp_echo(fd, handle, bytes[0], bytes[1],
				    1 + random_below(state, sizeof(bytes[0])));
			break;
		case 5:
			if (!buf || holding == MAX_HELD)
				break;
			args[holding] = qda_ref(buf, 0, buf->size);
			if (!simdsp_call_start(&held[holding], fd, handle,
					       QDA_SCALARS(SIMDSP_HOLD, 1, 0), &args[holding]))
				holding++;
			break;
		case 6:
			if (count)
				qda_buf_free(&bufs[--count]);
			break;
		case 7:
			if (buf)
				session_map(fd, buf);
			break;
		case 8:
			session_grow(fd, (1 + random_below(state, 64)) * 4096);
			break;
		}
	}
	/* A call that is held would keep the file open: then the kill has to end it. */
	while (holding)
		pause();
	while (count)
		qda_buf_free(&bufs[--count]);
	close(fd);
}

static pid_t start_client(const char *dsp, unsigned int seed)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;)
		live(dsp, &seed);
}

int main(int argc, char **argv)
{
	long long left = 0, shared = 0, most = 0;
	int times, bad = 0, sessions = 0;
	struct survey survey;
	struct tap tap = { 0 };
	unsigned int seed;
	const char *dsp;

	if (argc != 4) {
		fprintf(stderr, "usage: isolation_kill <dsp> <times> <seed>\n");
		return 2;
	}
	dsp = argv[1];
	times = atoi(argv[2]);
	seed = strtoul(argv[3], NULL, 0);
	tap_plan(4);
	printf("# %s: %d kills, seed %u\n", dsp, times, seed);

	for (int number = 0; number < times; number++) {
		unsigned int state = seeded(seed, number);
		int clients = 1 + random_below(&state, MAX_CLIENTS);
		pid_t pids[MAX_CLIENTS];
		int problems;

		if (simdsp_begin("isolation-kill")) {
			bad = times;
			break;
		}
		for (int i = 0; i < clients; i++)
			pids[i] = start_client(dsp, seeded(state, i));
		usleep(random_below(&state, MOMENT_US));
		sessions += simdsp_stat(dsp, "processes");
		if (!dsp_survey(&survey) && survey.mapped > most)
			most = survey.mapped;
		for (int i = 0; i < clients; i++)
			kill(pids[i], SIGKILL);
		for (int i = 0; i < clients; i++)
			waitpid(pids[i], NULL, 0);

		/* Waits for the DSP processes to end, for ten seconds at most. */
		problems = simdsp_end();
		if (problems)
			printf("# kill %d of %d: %d problems\n", number + 1, times, problems);
		bad += !!problems;
		/* What the DSP never heard of is for the kernel alone to clean up. */
		for (int wait = 0; wait < PATIENCE_MS; wait += 5) {
			if (dsp_survey(&survey))
				survey = (struct survey) { .mapped = 1, .shared = 1 };
			if (!survey.mapped && !survey.shared)
				break;
			usleep(5000);
		}
		left += survey.mapped;
		shared += survey.shared;
		if ((number + 1) % 100 == 0)
			printf("# %d kills, mappings left: %lld, shared tables: %lld\n",
			       number + 1, left, shared);
	}
	printf("# %d DSP processes lived at the kills, with up to %lld bytes mapped\n", sessions,
	       most);
	tap_result(&tap, !bad, "%d kills, %d with problems", times, bad);
	tap_result(&tap, sessions > 0 && most > 0, "there was something to clean up");
	tap_result(&tap, !left, "mappings left: %lld", left);
	tap_result(&tap, !shared, "shared tables: %lld", shared);
	return tap.failed ? 1 : 0;
}
