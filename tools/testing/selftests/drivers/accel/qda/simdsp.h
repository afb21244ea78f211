/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The simulated DSP as a test sees it.
 *
 * A guest whose DSPs are played by simdsp has a virtio serial port by which a test sets up the
 * DSP's behaviour and asks what the DSP saw. On real hardware there is none; simdsp_begin() then
 * says so, and a test that needs it is skipped.
 *
 * A reply is one line, "ok ...", "fault ..." or "error ...". Threads of a test may use the port
 * concurrently.
 */
#ifndef SIMDSP_H
#define SIMDSP_H

#include <stdbool.h>
#include <stddef.h>

#include <linux/types.h>

/** define SIMDSP_LINE - longest line that the port carries, with its NUL. */
#define SIMDSP_LINE	4096

/**
 * simdsp_begin() - start watching on behalf of a test
 * @test: name of the test, a word
 *
 * Return: 0, -ENODEV where there is no simulator, or another -errno.
 */
int simdsp_begin(const char *test);

/**
 * simdsp_end() - finish the test that simdsp_begin() started
 *
 * All files of the driver must be closed. Prints every problem that the DSP saw, as a comment.
 *
 * Return: number of problems (0: none), or -errno.
 */
int simdsp_end(void);

/**
 * simdsp_cmd() - send one command and read its reply
 * @reply: SIMDSP_LINE bytes for what follows the first word of the reply, or NULL
 * @fmt: the command, without newline
 *
 * Return: 0 for "ok", -EFAULT for "fault", -EPROTO for "error" (the reply is printed), or another
 * -errno.
 */
int simdsp_cmd(char *reply, const char *fmt, ...);

/**
 * simdsp_next_line() - read one further line of a reply that has several
 * @line: SIMDSP_LINE bytes
 *
 * Return: 0 or -errno.
 */
int simdsp_next_line(char *line);

/** struct simdsp_range - a range of a bank's addresses, and what is behind it */
struct simdsp_range {
	__u64 iova;
	__u64 pa;
	__u64 len;
};

/**
 * simdsp_mappings() - ask what a bank maps
 * @dsp: name of the DSP
 * @bank: number of the bank
 * @ranges: gets a range for each piece of memory that is contiguous
 * @max: how many fit there
 *
 * Return: number of ranges, -ENOBUFS if there are more, or another -errno.
 */
int simdsp_mappings(const char *dsp, unsigned int bank, struct simdsp_range *ranges, int max);

/**
 * simdsp_reach() - ask what addresses a bank can reach
 *
 * As simdsp_mappings(), but a range of addresses is one, whatever memory is behind it; @pa is that
 * of its beginning.
 */
int simdsp_reach(const char *dsp, unsigned int bank, struct simdsp_range *ranges, int max);

/** simdsp_reaches() - whether an address is in one of @count ranges. */
bool simdsp_reaches(const struct simdsp_range *ranges, int count, __u64 iova);

/**
 * simdsp_stat() - read one counter
 * @dsp: name of the DSP
 * @key: name of the counter
 *
 * Return: its value, or -errno.
 */
long long simdsp_stat(const char *dsp, const char *key);

/**
 * simdsp_wait_stat() - wait until a counter has a value
 * @dsp: name of the DSP
 * @key: name of the counter
 * @value: what to wait for
 * @ms: for how long, in milliseconds, if a look at it took no time
 *
 * Return: whether it had that value in time.
 */
bool simdsp_wait_stat(const char *dsp, const char *key, long long value, int ms);

#endif /* SIMDSP_H */
