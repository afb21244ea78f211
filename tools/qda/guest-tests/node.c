// SPDX-License-Identifier: GPL-2.0
/*
 * The CDSP through /dev/fastrpc-*.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "node.h"

int node_ioctl(int fd, unsigned long cmd, void *arg)
{
	int ret = ioctl(fd, cmd, arg);

	return ret == -1 ? -errno : ret;
}

struct fastrpc_invoke_args node_bytes(const void *ptr, size_t length)
{
	return (struct fastrpc_invoke_args) { (uintptr_t)ptr, length, -1, 0 };
}

struct fastrpc_invoke_args node_buffer(const void *ptr, size_t length, int fd)
{
	return (struct fastrpc_invoke_args) { (uintptr_t)ptr, length, fd, 0 };
}

int node_invoke(int fd, uint32_t handle, uint32_t sc, struct fastrpc_invoke_args *args)
{
	struct fastrpc_invoke inv = { handle, sc, (uintptr_t)args };

	return node_ioctl(fd, FASTRPC_IOCTL_INVOKE, &inv);
}

int node_open_module(int fd, const char *name, uint32_t *handle)
{
	uint32_t in[2] = { strlen(name) + 1, 256 }, out[2] = { 0 };
	char error[256];
	struct fastrpc_invoke_args args[] = {
		node_bytes(in, sizeof(in)), node_bytes(name, in[0]),
		node_bytes(out, sizeof(out)), node_bytes(error, sizeof(error)),
	};
	int ret = node_invoke(fd, 0, SCALARS(0, 2, 2), args);

	*handle = out[0];
	return ret ? ret : (int)out[1];
}

int node_create(int fd)
{
	struct fastrpc_init_create create = {
		.filefd = -1,
		.attrs = FASTRPC_MODE_UNSIGNED_MODULE,
	};

	return node_ioctl(fd, FASTRPC_IOCTL_INIT_CREATE, &create);
}

int node_open(uint32_t *handle)
{
	int fd = open(NODE, O_RDWR | O_CLOEXEC);
	int ret;

	if (fd < 0)
		return -errno;
	ret = node_create(fd);
	if (!ret)
		ret = node_open_module(fd, "simdsp", handle);
	if (!ret)
		return fd;
	close(fd);
	return ret < 0 ? ret : -EREMOTEIO;
}

int node_echo(int fd, uint32_t handle, struct fastrpc_invoke_args in,
	      struct fastrpc_invoke_args out)
{
	struct fastrpc_invoke_args args[] = { in, out };

	return node_invoke(fd, handle, SCALARS(ECHO, 1, 1), args);
}

void node_fill(uint8_t *ptr, size_t length, unsigned int seed)
{
	for (size_t i = 0; i < length; i++)
		ptr[i] = (i * 2654435761u + seed * 40503u) >> 13;
}

uint64_t node_hash(uint64_t hash, const void *ptr, size_t length)
{
	const uint8_t *bytes = ptr;

	for (size_t i = 0; i < length; i++)
		hash = (hash ^ bytes[i]) * 0x100000001b3ULL;
	return hash;
}

static void *make_call(void *arg)
{
	struct node_call *call = arg;

	call->ret = node_invoke(call->fd, call->handle, call->sc, call->args);
	__atomic_store_n(&call->done, 1, __ATOMIC_RELEASE);
	return NULL;
}

int node_call_start(struct node_call *call, int fd, uint32_t handle, uint32_t sc,
		    struct fastrpc_invoke_args *args)
{
	*call = (struct node_call) { .fd = fd, .handle = handle, .sc = sc, .args = args };
	return -pthread_create(&call->thread, NULL, make_call, call);
}

int node_call_done(struct node_call *call)
{
	return __atomic_load_n(&call->done, __ATOMIC_ACQUIRE);
}

int node_call_join(struct node_call *call)
{
	pthread_join(call->thread, NULL);
	return call->ret;
}
