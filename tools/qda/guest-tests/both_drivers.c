// SPDX-License-Identifier: GPL-2.0
/*
 * Two DSPs that compute at the same time, one by the FastRPC driver, one by QDA.
 *
 *	both_drivers <a DSP of the FastRPC driver> <a DSP of QDA>
 *
 * Without one of them ("-"), the other one computes alone.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <misc/fastrpc.h>

#include "module.h"
#include "qda.h"
#include "session.h"
#include "simdsp.h"

#define CALLS	200
#define SIZE	5000

/* What one of them does: the result of its first call that went wrong, or 0. */
struct work {
	const char *dsp;
	int (*compute)(const char *dsp);
	pthread_t thread;
	int ret;
};

static int invoke(int fd, __u32 handle, __u32 sc, struct fastrpc_invoke_args *args)
{
	struct fastrpc_invoke arg = { handle, sc, (uintptr_t)args };

	return qda_ioctl(fd, FASTRPC_IOCTL_INVOKE, &arg);
}

static struct fastrpc_invoke_args bytes(const void *ptr, size_t len)
{
	return (struct fastrpc_invoke_args) { (uintptr_t)ptr, len, -1, 0 };
}

static int node_open(const char *dsp)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/dev/fastrpc-%s-secure", dsp);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		snprintf(path, sizeof(path), "/dev/fastrpc-%s", dsp);
		fd = open(path, O_RDWR | O_CLOEXEC);
	}
	return fd < 0 ? -errno : fd;
}

static int by_fastrpc(const char *dsp)
{
	__u32 name[2] = { sizeof("simdsp"), 64 }, opened[2] = { 0, 1 };
	__u8 error[64], in[SIZE], out[SIZE];
	struct fastrpc_invoke_args module[] = {
		bytes(name, sizeof(name)), bytes("simdsp", name[0]),
		bytes(opened, sizeof(opened)), bytes(error, sizeof(error)),
	};
	struct fastrpc_invoke_args args[] = { bytes(in, SIZE), bytes(out, SIZE) };
	int fd = node_open(dsp), ret;

	if (fd < 0)
		return fd;
	ret = qda_ioctl(fd, FASTRPC_IOCTL_INIT_ATTACH, NULL) ?:
	      invoke(fd, REMOTECTL, 0x00020200, module) ?: (int)opened[1];
	for (int i = 0; !ret && i < CALLS; i++) {
		qda_fill(in, SIZE, i);
		ret = invoke(fd, opened[0], SIMDSP_ECHO << 24 | 0x00010100, args);
		if (!ret && memcmp(in, out, SIZE))
			ret = -EIO;
	}
	close(fd);
	return ret;
}

static int by_qda(const char *dsp)
{
	__u8 in[SIZE], out[SIZE];
	int fd = session_open(dsp, 0), ret;
	__u32 handle;

	if (fd < 0)
		return fd;
	ret = simdsp_open(fd, &handle);
	for (int i = 0; !ret && i < CALLS; i++) {
		qda_fill(in, SIZE, ~i);
		ret = simdsp_echo(fd, handle, in, out, SIZE);
		if (!ret && memcmp(in, out, SIZE))
			ret = -EIO;
	}
	close(fd);
	return ret;
}

static void *worker(void *arg)
{
	struct work *work = arg;

	work->ret = work->compute(work->dsp);
	return NULL;
}

int main(int argc, char **argv)
{
	struct work works[] = { { .compute = by_fastrpc }, { .compute = by_qda } };
	int ret;

	if (argc != 3)
		return 2;
	ret = simdsp_begin("both_drivers");
	if (!ret && strcmp(argv[1], "-"))
		ret = simdsp_cmd(NULL, "profile fastrpc %s", argv[1]);
	if (!ret && strcmp(argv[2], "-"))
		ret = simdsp_cmd(NULL, "profile qda %s", argv[2]);
	if (ret)
		return 1;
	for (int i = 0; i < 2; i++) {
		works[i].dsp = argv[1 + i];
		if (strcmp(works[i].dsp, "-") &&
		    pthread_create(&works[i].thread, NULL, worker, &works[i]))
			return 1;
	}
	for (int i = 0; i < 2; i++) {
		if (!strcmp(works[i].dsp, "-"))
			continue;
		pthread_join(works[i].thread, NULL);
		if (works[i].ret) {
			printf("# %s by %s: %d\n", works[i].dsp, i ? "qda" : "fastrpc",
			       works[i].ret);
			ret = 1;
		}
	}
	return simdsp_end() || ret;
}
