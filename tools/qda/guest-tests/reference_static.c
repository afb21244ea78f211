// SPDX-License-Identifier: GPL-2.0
/*
 * The simulated DSP against the kernel's own FastRPC driver: processes of the ADSP that are not the
 * program's own.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>

#include <misc/fastrpc.h>

#include "tap.h"

#define NODE	"/dev/fastrpc-adsp-secure"

static int call(int fd, unsigned long cmd, void *arg)
{
	int ret = ioctl(fd, cmd, arg);

	return ret == -1 ? -errno : ret;
}

static int audio(void)
{
	struct fastrpc_init_create_static create = {
		.namelen = sizeof("audiopd"),
		.name = (uintptr_t)"audiopd",
	};
	int fd = open(NODE, O_RDWR | O_CLOEXEC);

	CHECK(fd >= 0);
	CHECK_EQ(0, call(fd, FASTRPC_IOCTL_INIT_CREATE_STATIC, &create));
	return fd;
}

static void heap_once(void)
{
	long long creates = simdsp_stat("adsp", "creates");
	int first = audio(), second = audio();

	close(first);
	close(second);
	close(audio());
	CHECK_EQ(creates + 3, simdsp_stat("adsp", "creates"));
	CHECK_EQ(1, simdsp_stat("adsp", "heaps"));
}

static void sensors(void)
{
	long long attaches = simdsp_stat("adsp", "attaches");
	struct fastrpc_ioctl_capability query = { .attribute_id = 6 };
	int fd = open(NODE, O_RDWR | O_CLOEXEC);

	CHECK(fd >= 0);
	CHECK_EQ(0, call(fd, FASTRPC_IOCTL_INIT_ATTACH_SNS, NULL));
	CHECK_EQ(attaches + 1, simdsp_stat("adsp", "attaches"));
	CHECK_EQ(0, call(fd, FASTRPC_IOCTL_GET_DSP_INFO, &query));
	CHECK_EQ(2, simdsp_stat("adsp", "query_pd"));
	close(fd);
}

static const struct tap_test tests[] = {
	{ "fastrpc.heap_once", heap_once },
	{ "fastrpc.sensors", sensors },
};

int main(void)
{
	if (access(NODE, F_OK)) {
		printf("Bail out! no " NODE "\n");
		return 1;
	}
	return tap_run(tests, sizeof(tests) / sizeof(tests[0]));
}
