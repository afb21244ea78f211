/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The rows of the benchmark: what is done again and again, with each driver.
 */
#ifndef ROWS_H
#define ROWS_H

#include <pthread.h>

#include "bench.h"

/** define MAX_SESSIONS - what the older driver has room for, and one to spare. */
#define MAX_SESSIONS	12

/** define MAX_THREADS - threads that a row may have. */
#define MAX_THREADS	256

struct row;

/** struct state - a row that is being measured with one driver */
struct state {
	const struct driver *driver;
	const struct row *row;
	struct session sessions[MAX_SESSIONS];
	int session_count;
	struct call call;
	struct buffer buffer;
	uint8_t *memory;

	pthread_t threads[MAX_THREADS];
	int thread_count;
	pthread_barrier_t start, end;
	long share;
	bool quit;
	int failed;
	/** @calls: those that the simulator answers at once. */
	long calls;
};

/** struct row - a row */
struct row {
	char name[40];
	/** @size, @count, @sessions: of memory, arguments or threads, and how many files share them. */
	size_t size;
	int count, sessions;
	/** @floor: whether it means something for the floor. */
	bool floor;
	/** @quick: whether a short run has it. */
	bool quick;
	/** @instructions: whether instructions are counted. */
	bool instructions;
	/**
	 * @together: while instructions are counted, the DSP answers the @count calls that there
	 * are at a time together.
	 */
	bool together;
	/** @steady: whether an operation that is one of many allocates and maps nothing. */
	bool steady;
	/** @slow: operations of a round are few, each of them long. */
	bool slow;
	/** @incoherent: only for boards whose DSPs do not see the caches of the CPUs. */
	bool incoherent;
	/** @prepare: returns 0, -EOPNOTSUPP where the driver has no such thing, or -errno. */
	int (*prepare)(struct state *state);
	/** @check: whether results are right; NULL: nothing to look at. */
	int (*check)(struct state *state);
	/** @once: do it. Return: 0, or what a call returned that went wrong. */
	int (*once)(struct state *state);
	/** @run: do it @n times; NULL: by @once. */
	int (*run)(struct state *state, long n);
	void (*finish)(struct state *state);
};

/** all_rows() - the rows. Return: how many. */
int all_rows(const struct row **rows);

/** state_open() - prepare a row for a driver, and check what it computes */
int state_open(struct state *state, const struct row *row, const struct driver *driver);

/** state_run() - do it @n times */
int state_run(struct state *state, long n);

/** state_once() - do it, without looking at the time */
int state_once(struct state *state);

/** state_close() - end it */
void state_close(struct state *state);

#endif /* ROWS_H */
