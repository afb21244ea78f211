/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Tests of classes of bugs that FastRPC drivers have had, each of which runs on the kernel's own
 * driver and on the new one.
 *
 * A test says of each thing that it expects what it would be if it were not so: its outcome, a word
 * or two for the table that `make catalogue` prints.
 */
#ifndef CATALOGUE_H
#define CATALOGUE_H

#include <stdbool.h>
#include <stdint.h>

#include "node.h"
#include "simdsp.h"

/** struct entry - a test of the catalogue */
struct entry {
	/** @row: of which row it is, e.g. "P4". */
	const char *row;
	/** @name: of the test. */
	const char *name;
	void (*run)(void);
};

/**
 * EXPECT() - what should be true. Goes on in any case, and is that value.
 * @outcome: what it comes to otherwise
 */
#define EXPECT(outcome, condition) \
	catalogue_expect(outcome, condition, __FILE__, __LINE__, #condition)

/** EXPECT_EQ() - two numbers that should be the same. */
#define EXPECT_EQ(outcome, expected, seen) \
	catalogue_expect_eq(outcome, expected, seen, __FILE__, __LINE__, #seen)

/* Where a test can't go on. */
#define NEED(condition)		do { if (!EXPECT("not provoked", condition)) return; } while (0)

bool catalogue_expect(const char *outcome, bool ok, const char *file, int line, const char *what);
bool catalogue_expect_eq(const char *outcome, long long expected, long long seen, const char *file,
			 int line, const char *what);

/** catalogue_is_new() - whether the new driver is tested, not the kernel's own. */
bool catalogue_is_new(void);

/**
 * catalogue_interrupts() - the test interrupts or kills callers
 *
 * The kernel's own driver keeps memory of such a call mapped. That is known, the tests of its other
 * clients know of it as well, and it is not what the test is about.
 */
void catalogue_interrupts(void);

/**
 * catalogue_script() - have the CDSP and the ADSP do @actions, JSON, with every call of a method
 * @which: which calls, JSON members
 */
void catalogue_script(const char *which, const char *actions);

/** catalogue_no_script() - have the DSPs do nothing special any more. */
void catalogue_no_script(void);

/** catalogue_works() - whether a file's process does what it should. */
bool catalogue_works(int fd, uint32_t handle);

/** catalogue_said() - how often the kernel's log has a text, in messages of the kernel. */
int catalogue_said(const char *text);

/** catalogue_unwritable() - a page with @length bytes of @what that can only be read. */
void *catalogue_unwritable(const void *what, size_t length);

/** catalogue_reopen() - open a node when it is there again, after its DSP went. */
int catalogue_reopen(const char *node);

/** define PATIENCE - how long the DSP or the kernel may take for something, in milliseconds. */
#define PATIENCE	20000

extern const struct entry catalogue_replies[], catalogue_memory[], catalogue_sessions[];
extern const int catalogue_replies_count, catalogue_memory_count, catalogue_sessions_count;

#endif /* CATALOGUE_H */
