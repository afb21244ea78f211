/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What most fixtures set up: a file with a process on the CDSP, which has the module "simdsp" open.
 */
#ifndef FIXTURE_H
#define FIXTURE_H

#include <unistd.h>

#include "harness.h"
#include "module.h"
#include "qda.h"

/**
 * fixture_setup() - start a test that needs the simulated DSP
 * @fd: gets the file, or -1
 * @handle: gets the module's handle
 *
 * Return: whether there is anything to test; if not, the test is skipped.
 */
static inline bool fixture_setup(struct __test_metadata *_metadata, int *fd, __u32 *handle)
{
	const char *why = qda_test_begin(_metadata->fixture->name, _metadata->name, true);

	*fd = -1;
	if (why)
		SKIP(return false, "%s", why);
	*fd = qda_open_process("cdsp");
	ASSERT_LE(0, *fd);
	ASSERT_EQ(0, simdsp_open(*fd, handle));
	return true;
}

/** fixture_teardown() - finish the test; @fd may be closed, and is -1 then. */
static inline void fixture_teardown(struct __test_metadata *_metadata, int fd)
{
	if (fd >= 0)
		close(fd);
	EXPECT_EQ(0, qda_test_end());
}

#endif /* FIXTURE_H */
