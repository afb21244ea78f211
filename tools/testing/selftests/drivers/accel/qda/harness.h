/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The kselftest harness, with as much time for each test as this kernel needs.
 */
#ifndef HARNESS_H
#define HARNESS_H

#include "kselftest_harness.h"

#include "patience.h"

/* Runs after those that list the tests, which have a priority. */
static void __attribute__((constructor)) be_patient(void)
{
	for (struct __fixture_metadata *f = __fixture_list; f; f = f->next)
		for (struct __test_metadata *t = f->tests; t; t = t->next)
			t->timeout = qda_patience(t->timeout);
}

#endif /* HARNESS_H */
