/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Results in the Test Anything Protocol: a test is a function that checks.
 */
#ifndef TAP_H
#define TAP_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "patience.h"
#include "simdsp.h"

/** struct tap_test - one test */
struct tap_test {
	const char *name;
	void (*run)(void);
};

/* Whether a check of the running test failed; the same in all files of a program. */
__attribute__((weak)) bool tap_failed;

/* Problems that the simulator is to see at the end of the running test. */
__attribute__((weak)) int tap_known_problems;

/** CHECK() - what should be true. Goes on in any case, and is that value. */
#define CHECK(condition) ({ \
	bool tap_ok = (condition); \
	if (!tap_ok) { \
		printf("# %s:%d: %s\n", __FILE__, __LINE__, #condition); \
		tap_failed = true; \
	} \
	tap_ok; \
})

/** CHECK_EQ() - two numbers that should be the same. */
#define CHECK_EQ(expected, seen) ({ \
	long long tap_expected = (expected), tap_seen = (seen); \
	if (tap_expected != tap_seen) { \
		printf("# %s:%d: %s is %lld (%#llx), not %lld\n", __FILE__, __LINE__, #seen, \
		       tap_seen, tap_seen, tap_expected); \
		tap_failed = true; \
	} \
	tap_expected == tap_seen; \
})

/** tap_driver() - whose driver is tested: by default the kernel's own */
static inline const char *tap_driver(void)
{
	const char *driver = getenv("DRIVER");

	return driver ? driver : "fastrpc";
}

/**
 * tap_run() - run tests, each in a process of its own and watched by the simulator
 *
 * Return: the exit status of the program.
 */
static inline int tap_run(const struct tap_test *tests, int count)
{
	int bad = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("TAP version 13\n1..%d\n", count);
	for (int i = 0; i < count; i++) {
		int status = -1;
		pid_t pid = fork();

		if (!pid) {
			int ret = simdsp_begin(tests[i].name);

			alarm(qda_patience(60));
			if (ret) {
				printf("# the simulator's control port: error %d\n", -ret);
				_exit(1);
			}
			CHECK_EQ(0, simdsp_cmd(NULL, "profile %s", tap_driver()));
			tests[i].run();
			CHECK_EQ(tap_known_problems, simdsp_end());
			_exit(tap_failed);
		}
		waitpid(pid, &status, 0);
		if (status)
			printf("# wait status %#x\n", status);
		printf("%sok %d - %s\n", status ? "not " : "", i + 1, tests[i].name);
		bad += !!status;
	}
	return bad ? 1 : 0;
}

#endif /* TAP_H */
