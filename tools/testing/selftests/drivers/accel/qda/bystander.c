// SPDX-License-Identifier: GPL-2.0
/*
 * A session that works on while others are under fire, and what the kernel says meanwhile.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bystander.h"
#include "patience.h"
#include "qda.h"
#include "simdsp.h"

/* What the DSP tells a listener when there is nothing to listen for any more. */
#define LISTENER_OVER	0x0d

/* Lines of processes have the facility in front of their severity; the kernel's have none. */
#define FIRST_FACILITY	8

static void *work(void *arg)
{
	struct bystander *me = arg;
	__u8 in[300], out[300];

	while (!__atomic_load_n(&me->stop, __ATOMIC_ACQUIRE)) {
		pthread_mutex_lock(&me->turn);
		qda_fill(in, sizeof(in), me->calls);
		memset(out, 0, sizeof(out));
		if (simdsp_echo(me->fd, me->handle, in, out, sizeof(in)) ||
		    memcmp(in, out, sizeof(in)))
			me->bad++;
		me->calls++;
		pthread_mutex_unlock(&me->turn);
		usleep(1000);
	}
	return NULL;
}

static bool has_worked(struct bystander *bystander)
{
	int calls;

	bystander_pause(bystander, true);
	calls = bystander->calls;
	bystander_pause(bystander, false);
	return calls > 0;
}

int bystander_start(struct bystander *bystander, const char *dsp)
{
	int ret;

	*bystander = (struct bystander) { .dsp = dsp, .turn = PTHREAD_MUTEX_INITIALIZER };
	bystander->fd = qda_open(dsp);
	if (bystander->fd < 0)
		return bystander->fd;
	ret = qda_session_kind(bystander->fd, QDA_SESSION_ROOT);
	ret = ret ?: simdsp_open(bystander->fd, &bystander->handle);
	ret = ret ?: listener_start(&bystander->listener, bystander->fd);
	ret = ret ?: -pthread_create(&bystander->thread, NULL, work, bystander);
	/* However soon the test is over. */
	while (!ret && !has_worked(bystander))
		usleep(1000);
	return ret;
}

void bystander_pause(struct bystander *bystander, bool pause)
{
	if (pause)
		pthread_mutex_lock(&bystander->turn);
	else
		pthread_mutex_unlock(&bystander->turn);
}

/* Whether so many calls are soon outstanding on the DSP. */
static bool calls_are(struct bystander *bystander, long long wanted)
{
	long long calls = -1;

	for (int i = 0; i < qda_patience(500) && calls != wanted; i++) {
		calls = qda_fdinfo(bystander->fd, "qda-calls");
		if (calls != wanted)
			usleep(10000);
	}
	if (calls != wanted)
		fprintf(stderr, "# %lld calls are outstanding, not %lld\n", calls, wanted);
	return calls == wanted;
}

bool bystander_alone(struct bystander *bystander)
{
	return calls_are(bystander, 1);
}

bool bystander_stop(struct bystander *bystander)
{
	bool fine;

	__atomic_store_n(&bystander->stop, true, __ATOMIC_RELEASE);
	pthread_join(bystander->thread, NULL);
	fine = !simdsp_call_done(&bystander->listener.call);
	if (!fine)
		fprintf(stderr, "# a bystander's call ended by itself\n");
	if (simdsp_cmd(NULL, "complete-listener %s 0x8000040d", bystander->dsp) ||
	    simdsp_call_join(&bystander->listener.call) != DSP_ERROR(LISTENER_OVER))
		fine = false;
	if (bystander->bad || !bystander->calls) {
		fprintf(stderr, "# %d of a bystander's %d calls were bad\n", bystander->bad,
			bystander->calls);
		fine = false;
	}
	close(bystander->fd);
	return fine;
}

int kernel_log_open(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	lseek(fd, 0, SEEK_END);
	return fd;
}

int kernel_log_close(int fd)
{
	char line[8192];
	int lines = 0;

	for (;;) {
		ssize_t len = read(fd, line, sizeof(line) - 1);

		if (len < 0 && (errno == EINTR || errno == EPIPE))
			continue;
		if (len < 0)
			break;
		line[len] = '\0';
		if (strtoul(line, NULL, 10) >= FIRST_FACILITY)
			continue;
		lines++;
		fprintf(stderr, "# the kernel says: %s", strchr(line, ';') ?: line);
	}
	close(fd);
	return lines;
}
