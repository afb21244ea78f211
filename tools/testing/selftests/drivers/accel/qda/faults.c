// SPDX-License-Identifier: GPL-2.0
/*
 * Failing allocations and copies of user memory, see Documentation/fault-injection/.
 */
#define _GNU_SOURCE
#include "faults.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sysfs.h"

#define FAIL_NTH	"/proc/thread-self/fail-nth"
#define DEBUGFS		"/sys/kernel/debug/"

/* No operation has as many. */
#define MAX_PASSES	2000

static int fail_nth = -1;

/* All allocations count, also those that may wait and those of one page. */
static const struct {
	const char *path, *value;
} settings[] = {
	{ DEBUGFS "failslab/ignore-gfp-wait", "N" },
	{ DEBUGFS "failslab/verbose", "0" },
	{ DEBUGFS "fail_page_alloc/ignore-gfp-wait", "N" },
	{ DEBUGFS "fail_page_alloc/ignore-gfp-highmem", "N" },
	{ DEBUGFS "fail_page_alloc/min-order", "0" },
	{ DEBUGFS "fail_page_alloc/verbose", "0" },
	{ DEBUGFS "fail_usercopy/verbose", "0" },
	{ },
};

const char *faults_begin(void)
{
	fail_nth = open(FAIL_NTH, O_RDWR | O_CLOEXEC);
	if (fail_nth < 0)
		return "needs a kernel with fault injection";
	for (size_t i = 0; settings[i].path; i++) {
		if (sysfs_write(settings[i].path, settings[i].value))
			return "needs failslab, fail_page_alloc and fail_usercopy in debugfs";
	}
	/* Page faults of the test itself are not what is to fail. */
	mlockall(MCL_CURRENT);
	return NULL;
}

static void arm(int nth)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%d", nth);

	if (write(fail_nth, text, len) != len)
		abort();
}

/* Return: whether something was made to fail. */
static bool disarm(void)
{
	char text[16] = "";
	ssize_t len = pread(fail_nth, text, sizeof(text) - 1, 0);
	/* If it is this very copy that fails, nothing did before it. */
	bool hit = len > 0 && !atoi(text);

	while (write(fail_nth, "0", 1) != 1)
		;
	return hit;
}

/* Calls again after a failure. Return: whether that is as it should be. */
static bool works_again(const struct fault_op *op, struct fault_state *state, int ret)
{
	int again;

	if (op->once)
		return true;
	again = op->call(state);
	if (!again) {
		if (op->undo)
			op->undo(state);
		return true;
	}
	if (ret == -EFAULT && op->done && again == op->done)
		return true;
	fprintf(stderr, "# %s: then it is %d\n", op->name, again);
	return false;
}

bool faults_try(const struct fault_op *op, struct fault_state *state)
{
	int injected = 0, harmless = 0;

	for (int pass = 0; pass < MAX_PASSES; pass++) {
		bool hit, good = true;
		int ret = op->prepare ? op->prepare(state) : 0;

		if (ret) {
			fprintf(stderr, "# %s: pass %d has no start: %d\n", op->name, pass, ret);
			return false;
		}
		/* The first is for what only ever happens once. */
		if (pass)
			arm(pass);
		ret = op->call(state);
		hit = pass && disarm();
		injected += hit;
		if (!ret) {
			harmless += hit;
			if (op->undo)
				op->undo(state);
		} else if (hit && (ret == -ENOMEM || ret == -EFAULT)) {
			good = works_again(op, state, ret);
		} else {
			good = false;
		}
		if (good && op->check) {
			int wrong = op->check(state);

			if (wrong)
				fprintf(stderr, "# %s: it leaves what it should not: %d\n",
					op->name, wrong);
			good = !wrong;
		}
		if (op->settle)
			op->settle(state);
		if (!good) {
			fprintf(stderr, "# %s: pass %d: %d %s a fault\n", op->name, pass, ret,
				hit ? "after" : "without");
			return false;
		}
		if (pass && !hit) {
			fprintf(stderr, "# %s: %d injected, %d of them without effect\n", op->name,
				injected, harmless);
			return injected || op->none;
		}
	}
	fprintf(stderr, "# %s: no end of it\n", op->name);
	return false;
}
