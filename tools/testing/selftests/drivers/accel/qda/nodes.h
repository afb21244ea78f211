/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests of the FastRPC driver's device nodes share: processes and calls.
 *
 * Functions that end in an ioctl return what the kernel returned, as those of qda.h.
 */
#ifndef NODES_H
#define NODES_H

#include <misc/fastrpc.h>

#include "module.h"
#include "qda.h"
#include "simdsp.h"

#define CDSP		"/dev/fastrpc-cdsp"
#define CDSP_SECURE	"/dev/fastrpc-cdsp-secure"
#define ADSP		"/dev/fastrpc-adsp"
#define ADSP_SECURE	"/dev/fastrpc-adsp-secure"

#define PRIVILEGED	FASTRPC_MODE_PRIVILEGED
#define UNSIGNED	FASTRPC_MODE_UNSIGNED_MODULE

static inline int create(int fd, __u32 attrs)
{
	struct fastrpc_init_create arg = { .filefd = -1, .attrs = attrs };

	return qda_ioctl(fd, FASTRPC_IOCTL_INIT_CREATE, &arg);
}

static inline struct fastrpc_invoke_args bytes(const void *ptr, size_t len)
{
	return (struct fastrpc_invoke_args) { (uintptr_t)ptr, len, -1, 0 };
}

static inline int invoke(int fd, __u32 handle, __u32 sc, struct fastrpc_invoke_args *args)
{
	struct fastrpc_invoke arg = { handle, sc, (uintptr_t)args };

	return qda_ioctl(fd, FASTRPC_IOCTL_INVOKE, &arg);
}

/* Opens the module "simdsp". Return: its handle, or 0. */
static inline __u32 module(int fd)
{
	__u32 in[2] = { sizeof("simdsp"), 64 }, out[2] = { 0, 1 };
	char error[64];
	struct fastrpc_invoke_args args[] = {
		bytes(in, sizeof(in)), bytes("simdsp", in[0]),
		bytes(out, sizeof(out)), bytes(error, sizeof(error)),
	};

	return invoke(fd, REMOTECTL, QDA_SCALARS(0, 2, 2), args) || out[1] ? 0 : out[0];
}

static inline int echo(int fd, __u32 handle, struct fastrpc_invoke_args in,
		       struct fastrpc_invoke_args out)
{
	struct fastrpc_invoke_args args[] = { in, out };

	return invoke(fd, handle, QDA_SCALARS(SIMDSP_ECHO, 1, 1), args);
}

/* Has the DSP return @status. */
static inline int returns(int fd, __u32 handle, __s32 status)
{
	struct fastrpc_invoke_args arg = bytes(&status, sizeof(status));

	return invoke(fd, handle, QDA_SCALARS(SIMDSP_STATUS, 1, 0), &arg);
}

/* Makes a call that the DSP does not answer before it is told to. */
static inline int hold(int fd, __u32 handle)
{
	return invoke(fd, handle, QDA_SCALARS(SIMDSP_HOLD, 0, 0), NULL);
}

#endif /* NODES_H */
