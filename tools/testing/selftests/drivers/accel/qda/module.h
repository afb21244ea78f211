/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Modules that the simulated DSP offers: "simdsp", made for tests, and "calculator".
 *
 * As with qda_invoke(), results are a negative errno or the DSP's status.
 */
#ifndef MODULE_H
#define MODULE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <drm/qda_accel.h>

#include "qda.h"

/** enum simdsp_method - methods of the "simdsp" module */
enum simdsp_method {
	/** @SIMDSP_ECHO: in-buffer i is copied to out-buffer i; as many, as long. */
	SIMDSP_ECHO	 = 2,
	/** @SIMDSP_CHECKSUM: 64-bit FNV-1a of all in-buffers, to the one out-buffer. */
	SIMDSP_CHECKSUM	 = 3,
	/** @SIMDSP_FILL: in: u32 seed; simdsp_filled() tells what out-buffers hold. */
	SIMDSP_FILL	 = 4,
	/** @SIMDSP_TOUCH: in: struct simdsp_touch; accesses memory through the caller's bank. */
	SIMDSP_TOUCH	 = 6,
	/** @SIMDSP_SLEEP: in: u32 milliseconds, for which the call takes. */
	SIMDSP_SLEEP	 = 7,
	/** @SIMDSP_STATUS: in: s32, which is returned; the other buffers are echoed. */
	SIMDSP_STATUS	 = 8,
	/** @SIMDSP_HOLD: is not answered before the command "release-held". */
	SIMDSP_HOLD	 = 9,
	/** @SIMDSP_INFO: out: struct simdsp_info. */
	SIMDSP_INFO	 = 10,
	/** @SIMDSP_INVERT: as SIMDSP_ECHO, every bit inverted. */
	SIMDSP_INVERT	 = 11,
	/** @SIMDSP_HANDLES: in: u32 seed; out: checksum of in-handles; fills out-handles. */
	SIMDSP_HANDLES	 = 12,
	/** @SIMDSP_GIVE_BACK: in: u64 numbers, which the DSP gives back with this call. */
	SIMDSP_GIVE_BACK = 13,
	/** @SIMDSP_MAPPED: in: {number, offset, len, write} of a mapped buffer; out: checksum. */
	SIMDSP_MAPPED	 = 14,
	/** @SIMDSP_SLOW_ECHO: in: u32 milliseconds; the other buffers are echoed after them. */
	SIMDSP_SLOW_ECHO = 15,
};

/* Static handle of the DSP process itself, and its method that switches poll mode. */
#define CURRENT_PROCESS	4
#define POLL_MODE	9

/** define SIMDSP_FAULT - what SIMDSP_TOUCH returns when the SMMU refuses. */
#define SIMDSP_FAULT		((__s32)0x80000401u)

/** struct simdsp_touch - what SIMDSP_TOUCH is to access */
struct simdsp_touch {
	__u64 iova;
	__u32 len;
	__u32 write;
};

/** struct simdsp_info - how the DSP knows the caller */
struct simdsp_info {
	__u32 client_id;
	__u32 tid;
	__u32 pd;
	__u32 bank;
	__u64 ctx;
	__u64 served;
};

/** struct simdsp_call - a call made by a thread of its own */
struct simdsp_call {
	pthread_t thread;
	int fd;
	__u32 handle;
	__u32 sc;
	const struct drm_qda_invoke_arg *args;
	int ret;
	int done;
};

/** simdsp_open() - open the "simdsp" module. */
int simdsp_open(int fd, __u32 *handle);

/** simdsp_echo() - send @len bytes at @in and get them back at @out. */
int simdsp_echo(int fd, __u32 handle, const void *in, void *out, size_t len);

/** simdsp_echo_buf() - have @len bytes at @from of one buffer echoed to @to of another. */
int simdsp_echo_buf(int fd, __u32 handle, const struct qda_buf *in, size_t from,
		    const struct qda_buf *out, size_t to, size_t len);

/** simdsp_status() - have the DSP return @status. */
int simdsp_status(int fd, __u32 handle, __s32 status);

/** simdsp_sleep() - a call that takes @ms milliseconds. */
int simdsp_sleep(int fd, __u32 handle, __u32 ms);

/** simdsp_hold() - a call that the DSP does not answer before it is told to. */
int simdsp_hold(int fd, __u32 handle);

/** simdsp_touch() - have the DSP access memory through the caller's bank. */
int simdsp_touch(int fd, __u32 handle, __u64 iova, __u32 len, bool write);

/** simdsp_poll() - have the DSP process write the poll words of its calls, or no longer. */
int simdsp_poll(int fd, bool on);

/** simdsp_info() - ask how the DSP knows the caller. */
int simdsp_info(int fd, __u32 handle, struct simdsp_info *info);

/** simdsp_filled() - whether @ptr holds what SIMDSP_FILL puts into a buffer. */
bool simdsp_filled(const void *ptr, size_t len, __u32 seed);

/** simdsp_checksum() - what SIMDSP_CHECKSUM computes, of one buffer. */
__u64 simdsp_checksum(const void *ptr, size_t len);

/** simdsp_call_start() - make a call on a new thread. Return: 0 or -errno. */
int simdsp_call_start(struct simdsp_call *call, int fd, __u32 handle, __u32 sc,
		      const struct drm_qda_invoke_arg *args);

/** simdsp_call_done() - whether the call has returned. */
bool simdsp_call_done(struct simdsp_call *call);

/** simdsp_call_join() - wait for the thread. Return: what the call returned. */
int simdsp_call_join(struct simdsp_call *call);

/**
 * struct listener - a thread that waits for the DSP to call, as the FastRPC library has one
 * @call: the call that waits
 */
struct listener {
	struct simdsp_call call;
	struct drm_qda_invoke_arg args[4];
	__u32 in[4];
	__u32 out[4];
	__u8 buffer[256];
};

/** listener_start() - start listening. Return: 0, the DSP's status, or -errno. */
int listener_start(struct listener *listener, int fd);

/**
 * simdsp_serve_on() - serve the DSP's calls, each with out-buffers full of 0xa5
 * @fd: the file, whose process listens since a call of method 3
 * @interrupted: called when a signal has ended the wait for the DSP, which is then waited for
 *	again; if there is none, that is the end
 * @arg: for @interrupted
 *
 * Return: what the call returned that waits for the DSP, when it told that it is over.
 */
int simdsp_serve_on(int fd, void (*interrupted)(void *arg), void *arg);

/** simdsp_serve() - as simdsp_serve_on(), for a thread of its own; @fd points to the file. */
void *simdsp_serve(void *fd);

/** calculator_open() - open the "calculator" module. */
int calculator_open(int fd, __u32 *handle);

/** calculator_sum() - sum of @count numbers, the argument @numbers. */
int calculator_sum(int fd, __u32 handle, __u32 count, struct drm_qda_invoke_arg numbers,
		   __s64 *sum);

/** calculator_max() - greatest of @count numbers, the argument @numbers. */
int calculator_max(int fd, __u32 handle, __u32 count, struct drm_qda_invoke_arg numbers,
		   __s32 *max);

#endif /* MODULE_H */
