// SPDX-License-Identifier: GPL-2.0
/*
 * Runs a program of a suite in the guest and sends what it prints to the
 * kernel's log, line by line, so that a line is never torn apart by a kernel
 * message and stands in order with those that it caused.
 *
 * usage: qda-run <name> <seconds> <program> [arguments...]
 *
 * On the console, after the kernel's time stamp:
 *
 *	qda-run: begin <name>
 *	qda| <a line of the program>
 *	qda+ <the rest of a line that was too long for one record>
 *	qda-run: end <name> status <exit status, 128 + signal, or "timeout">
 *
 * Exits with the program's status; 124 when its time was up.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* The kernel's records hold about 1 KiB with what it adds itself. */
#define CHUNK 800

static int kmsg;

static void record(const char *prefix, const char *text, size_t len)
{
	char buf[CHUNK + 64];
	int n = snprintf(buf, sizeof(buf), "<6>%s%.*s\n", prefix, (int)len, text);

	/* EINTR and EAGAIN do not happen here; a lost line shows in the plan. */
	if (write(kmsg, buf, n) < 0 && errno != EPIPE)
		_exit(125);
}

static void line_out(const char *line, size_t len)
{
	const char *prefix = "qda| ";

	do {
		size_t n = len < CHUNK ? len : CHUNK;

		record(prefix, line, n);
		line += n;
		len -= n;
		prefix = "qda+ ";
	} while (len);
}

static long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/*
 * Copies lines until the program and all that inherited its output are gone,
 * or until the deadline. Returns whether the end was reached.
 */
static int copy_lines(int fd, pid_t child, long deadline, int *status)
{
	static char buf[65536];
	size_t have = 0;
	int reaped = 0;

	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		long left = deadline - now_ms();
		char *nl;
		ssize_t n;

		if (left <= 0)
			return 0;
		if (!reaped && waitpid(child, status, WNOHANG) == child) {
			reaped = 1;
			/* Children that it left behind get a second to finish. */
			if (deadline > now_ms() + 1000)
				deadline = now_ms() + 1000;
		}
		if (poll(&p, 1, left < 100 ? left : 100) <= 0)
			continue;
		n = read(fd, buf + have, sizeof(buf) - have);
		if (n <= 0)
			break;
		have += n;
		while ((nl = memchr(buf, '\n', have))) {
			size_t len = nl - buf;

			line_out(buf, len && nl[-1] == '\r' ? len - 1 : len);
			have -= len + 1;
			memmove(buf, nl + 1, have);
		}
		if (have == sizeof(buf)) {
			line_out(buf, have);
			have = 0;
		}
	}
	if (have)
		line_out(buf, have);
	while (!reaped && now_ms() < deadline) {
		if (waitpid(child, status, WNOHANG) == child)
			reaped = 1;
		else
			usleep(10000);
	}
	return reaped;
}

int main(int argc, char **argv)
{
	int out[2], status = -1, ended;
	char text[256];
	pid_t child;

	if (argc < 4) {
		fprintf(stderr, "usage: qda-run <name> <seconds> <program> [arguments...]\n");
		return 125;
	}
	kmsg = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
	if (kmsg < 0 || pipe(out)) {
		perror("qda-run");
		return 125;
	}
	record("qda-run: begin ", argv[1], strlen(argv[1]));
	child = fork();
	if (!child) {
		setpgid(0, 0);
		dup2(out[1], 1);
		dup2(out[1], 2);
		close(out[0]);
		close(out[1]);
		execvp(argv[3], argv + 3);
		fprintf(stderr, "qda-run: %s: %s\n", argv[3], strerror(errno));
		_exit(127);
	}
	close(out[1]);
	ended = copy_lines(out[0], child, now_ms() + atol(argv[2]) * 1000, &status);
	if (status == -1) {
		/* Its time is up: give what it started no chance to linger. */
		kill(-child, SIGKILL);
		kill(child, SIGKILL);
		usleep(200000);
		snprintf(text, sizeof(text), "%s status timeout", argv[1]);
		status = 124;
	} else {
		if (!ended)
			kill(-child, SIGKILL);
		status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		snprintf(text, sizeof(text), "%s status %d", argv[1], status);
	}
	record("qda-run: end ", text, strlen(text));
	return status;
}
