/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The CDSP through /dev/fastrpc-*: what the tests share that run on the kernel's own FastRPC driver
 * and on the new one alike.
 *
 * Functions that end in an ioctl return what the kernel returned: a negative errno, or the DSP's
 * status.
 */
#ifndef NODE_H
#define NODE_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>

#include <misc/fastrpc.h>

/* For unsigned processes. */
#define NODE		"/dev/fastrpc-cdsp"

/* Methods of the module "simdsp"; the simulator's own documentation says what they do. */
enum node_method {
	ECHO		= 2,
	CHECKSUM	= 3,
	TOUCH		= 6,
	STATUS		= 8,
	HOLD		= 9,
	INFO		= 10,
	HANDLES		= 12,
	MAPPED		= 14,
};

#define SCALARS(method, ins, outs)	((method) << 24 | (ins) << 16 | (outs) << 8)
/* With handles that are passed to the DSP. */
#define SCALARS_HANDLES(method, ins, outs, handles) \
	(SCALARS(method, ins, outs) | (handles) << 4)

/** node_ioctl() - ioctl() with the kernel's own value */
int node_ioctl(int fd, unsigned long cmd, void *arg);

/** node_bytes() - an argument that is copied. */
struct fastrpc_invoke_args node_bytes(const void *ptr, size_t length);

/** node_buffer() - an argument in the dma-buf @fd, which is mapped where @ptr is. */
struct fastrpc_invoke_args node_buffer(const void *ptr, size_t length, int fd);

/** node_invoke() - call @handle with scalars @sc; @args as many as they say. */
int node_invoke(int fd, uint32_t handle, uint32_t sc, struct fastrpc_invoke_args *args);

/** node_open_module() - open a module on the DSP by name. */
int node_open_module(int fd, const char *name, uint32_t *handle);

/** node_create() - make an unsigned process. */
int node_create(int fd);

/**
 * node_open() - a file with an unsigned process and the test module
 * @handle: gets the module's handle
 *
 * Return: descriptor or a negative errno.
 */
int node_open(uint32_t *handle);

/** node_echo() - have the DSP copy an argument to another one. */
int node_echo(int fd, uint32_t handle, struct fastrpc_invoke_args in,
	      struct fastrpc_invoke_args out);

/** node_fill() - fill with bytes that depend on @seed and place. */
void node_fill(uint8_t *ptr, size_t length, unsigned int seed);

/**
 * node_hash() - what CHECKSUM computes
 * @hash: of what stands before, or NODE_HASH
 */
uint64_t node_hash(uint64_t hash, const void *ptr, size_t length);

#define NODE_HASH	0xcbf29ce484222325ULL

/** struct node_call - a call made by a thread of its own */
struct node_call {
	pthread_t thread;
	int fd;
	uint32_t handle;
	uint32_t sc;
	struct fastrpc_invoke_args *args;
	int ret;
	int done;
};

/** node_call_start() - make a call on a new thread. Return: 0 or -errno. */
int node_call_start(struct node_call *call, int fd, uint32_t handle, uint32_t sc,
		    struct fastrpc_invoke_args *args);

/** node_call_done() - whether the call has returned. */
int node_call_done(struct node_call *call);

/** node_call_join() - wait for the thread. Return: what the call returned. */
int node_call_join(struct node_call *call);

#endif /* NODE_H */
