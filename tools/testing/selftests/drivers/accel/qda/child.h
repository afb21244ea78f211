/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A child process that a test talks to: one number at a time, each way.
 */
#ifndef CHILD_H
#define CHILD_H

#include <sys/types.h>

/**
 * struct child - a child process, or in the child its parent
 * @pid: its id
 * @to: pipe to it
 * @from: pipe from it
 */
struct child {
	pid_t pid;
	int to;
	int from;
};

/**
 * child_start() - fork
 * @child: filled in
 * @main: what the child runs; its value is the exit status. It must not use the control port of
 *        the simulator, nor the test harness.
 * @arg: passed to @main
 *
 * Return: 0 or -errno.
 */
int child_start(struct child *child, int (*main)(struct child *parent, void *arg), void *arg);

/** child_tell() - send a number to the other side. */
void child_tell(struct child *other, int number);

/**
 * child_hear() - receive a number
 *
 * Return: the number, -ETIMEDOUT after qda_patience(@ms), or -EPIPE.
 */
int child_hear(struct child *other, int ms);

/** child_wait() - reap a child. Return: its wait status, or -ETIMEDOUT (after killing it). */
int child_wait(struct child *child, int ms);

#endif /* CHILD_H */
