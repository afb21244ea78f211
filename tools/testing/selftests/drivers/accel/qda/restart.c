// SPDX-License-Identifier: GPL-2.0
/*
 * DSPs that go down and come up again.
 */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "module.h"
#include "patience.h"
#include "qda.h"
#include "restart.h"
#include "simdsp.h"
#include "sysfs.h"

bool find_processor(const char *dsp, char *name, size_t size)
{
	char part[64];

	snprintf(part, sizeof(part), "remoteproc-%s", dsp);
	return sysfs_find(PROCESSORS, part, name, size);
}

int go_down(enum how how, const char *dsp, const char *processor)
{
	if (how == CHANNEL)
		return simdsp_cmd(NULL, "restart %s 300", dsp);
	if (how == CRASH) {
		int ret = simdsp_cmd(NULL, "crash %s", dsp);

		if (ret)
			return ret;
		/* Callers run into it. */
		usleep(200000);
	}
	return sysfs_write_within(PROCESSORS "/unbind", processor, BOUND_MS);
}

int come_up_with(enum how how, const char *dsp, const char *processor,
		 int (*make)(const char *dsp))
{
	int ret = 0;

	if (how != CHANNEL)
		ret = sysfs_write_within(PROCESSORS "/bind", processor, BOUND_MS);
	for (int i = 0; !ret && i < qda_patience(BACK_MS) / 10; i++) {
		int fd = make(dsp);

		/* The device that goes may still be there, and may go meanwhile. */
		if (fd != -ENODEV && fd != -EPIPE)
			return fd;
		usleep(10000);
	}
	return ret ?: -ENODEV;
}

int come_up(enum how how, const char *dsp, const char *processor)
{
	return come_up_with(how, dsp, processor, qda_open_process);
}

int start_anew(const char *dsp)
{
	int fd = qda_open(dsp), ret;

	if (fd < 0)
		return fd;
	ret = go_down(CHANNEL, dsp, NULL);
	if (!ret && !is_gone(fd))
		ret = -ETIMEDOUT;
	close(fd);
	if (ret)
		return ret;
	fd = come_up_with(CHANNEL, dsp, NULL, qda_open);
	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

bool is_gone(int fd)
{
	struct drm_qda_query query;
	long long end = qda_now_ms() + qda_patience(BOUND_MS);
	int ret;

	do {
		query = (struct drm_qda_query) { .query_type = QDA_QUERY_DSP_NAME };
		ret = qda_ioctl(fd, DRM_IOCTL_QDA_QUERY, &query);
		if (ret)
			return ret == -ENODEV;
		usleep(10000);
	} while (qda_now_ms() < end);
	return false;
}

bool works(int fd)
{
	__u32 handle, in = 0x5555, out = 0;

	return !simdsp_open(fd, &handle) && !simdsp_echo(fd, handle, &in, &out, 4) && in == out;
}
