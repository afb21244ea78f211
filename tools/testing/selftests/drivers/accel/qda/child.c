// SPDX-License-Identifier: GPL-2.0
/*
 * A child process that a test talks to.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "patience.h"
#include "qda.h"

int child_start(struct child *child, int (*main)(struct child *parent, void *arg), void *arg)
{
	int down[2], up[2];

	if (pipe(down))
		return -errno;
	if (pipe(up)) {
		close(down[0]);
		close(down[1]);
		return -errno;
	}
	child->pid = fork();
	if (!child->pid) {
		struct child parent = { .pid = getppid(), .to = up[1], .from = down[0] };

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(down[1]);
		close(up[0]);
		_exit(main(&parent, arg));
	}
	close(down[0]);
	close(up[1]);
	child->to = down[1];
	child->from = up[0];
	return child->pid < 0 ? -errno : 0;
}

void child_tell(struct child *other, int number)
{
	/* A dead other side shows when it is heard or waited for. */
	if (write(other->to, &number, sizeof(number)) < 0)
		return;
}

int child_hear(struct child *other, int ms)
{
	struct pollfd pfd = { .fd = other->from, .events = POLLIN };
	int number;

	switch (poll(&pfd, 1, qda_patience(ms))) {
	case 0:
		return -ETIMEDOUT;
	case -1:
		return -errno;
	}
	return read(other->from, &number, sizeof(number)) == sizeof(number) ? number : -EPIPE;
}

int child_wait(struct child *child, int ms)
{
	long long end = qda_now_ms() + qda_patience(ms);
	int status;

	close(child->to);
	close(child->from);
	while (!waitpid(child->pid, &status, WNOHANG)) {
		if (qda_now_ms() > end) {
			kill(child->pid, SIGKILL);
			waitpid(child->pid, &status, 0);
			return -ETIMEDOUT;
		}
		usleep(2000);
	}
	return status;
}
