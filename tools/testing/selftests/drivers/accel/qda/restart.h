/* SPDX-License-Identifier: GPL-2.0 */
/*
 * DSPs that go down and come up again.
 */
#ifndef RESTART_H
#define RESTART_H

#include <stdbool.h>
#include <stddef.h>

/* The driver of the simulator's remote processors. */
#define PROCESSORS	"/sys/bus/platform/drivers/sim-remoteproc"

/* Taking a device away may wait for the DSP, but not for ever. */
#define BOUND_MS	20000
#define BACK_MS		10000

/** enum how - how a DSP goes down */
enum how {
	/** @CHANNEL: it closes its channel, and offers it again. */
	CHANNEL,
	/** @STOP: its remote processor is stopped, after all that hangs on it, and started. */
	STOP,
	/** @CRASH: it hangs before that. */
	CRASH,
	/** @HOWS: how many there are. */
	HOWS,
};

/**
 * find_processor() - look for the remote processor of a DSP
 * @dsp: name of the DSP
 * @name: gets the name of the device
 * @size: bytes at @name
 *
 * Return: whether there is one that can be stopped.
 */
bool find_processor(const char *dsp, char *name, size_t size);

/** go_down() - take a DSP down; @processor is its remote processor. Return: 0 or -errno. */
int go_down(enum how how, const char *dsp, const char *processor);

/**
 * come_up_with() - bring it up again, and make a process there
 * @how: how it went down
 * @dsp: name of the DSP
 * @processor: its remote processor
 * @make: makes the process
 *
 * Return: what @make returns, a file or -errno, as soon as the DSP is there.
 */
int come_up_with(enum how how, const char *dsp, const char *processor,
		 int (*make)(const char *dsp));

/** come_up() - come_up_with() an unsigned process, see qda_open_process(). */
int come_up(enum how how, const char *dsp, const char *processor);

/**
 * start_anew() - have a DSP forget everything
 *
 * Unbinding the driver does not: the DSP lives on.
 *
 * Return: 0 or -errno, when it is there again.
 */
int start_anew(const char *dsp);

/** is_gone() - whether the device of an open file is gone, after a while. */
bool is_gone(int fd);

/** works() - whether calls to a process give what they should. */
bool works(int fd);

#endif /* RESTART_H */
