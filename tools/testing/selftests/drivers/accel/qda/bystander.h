/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A session that works on while others are under fire, and what the kernel says meanwhile.
 */
#ifndef BYSTANDER_H
#define BYSTANDER_H

#include <pthread.h>
#include <stdbool.h>

#include <linux/types.h>

#include "module.h"

/**
 * struct bystander - a session with a thread that makes calls all the time, and one that waits for
 * the DSP to call
 */
struct bystander {
	const char *dsp;
	int fd;
	__u32 handle;
	struct listener listener;
	pthread_t thread;
	bool stop;
	pthread_mutex_t turn;
	int calls;
	int bad;
};

/** bystander_start() - begin. Return: 0 or -errno. */
int bystander_start(struct bystander *bystander, const char *dsp);

/** bystander_pause() - have it make no calls, when this returns, or go on. */
void bystander_pause(struct bystander *bystander, bool pause);

/**
 * bystander_alone() - whether it is soon the only one with calls on its DSP
 *
 * It is to be paused: then the one call is that which waits for the DSP.
 */
bool bystander_alone(struct bystander *bystander);

/**
 * bystander_stop() - finish
 *
 * Return: whether it has noticed nothing, and nothing is left of its own calls.
 */
bool bystander_stop(struct bystander *bystander);

/** kernel_log_open() - begin to listen to the kernel. Return: a descriptor, or -errno. */
int kernel_log_open(void);

/** kernel_log_close() - close it. Return: how many lines the kernel itself has said since. */
int kernel_log_close(int fd);

#endif /* BYSTANDER_H */
