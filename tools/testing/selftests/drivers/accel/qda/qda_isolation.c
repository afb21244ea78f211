// SPDX-License-Identifier: GPL-2.0
/*
 * QDA: a DSP process reaches its own client's memory and no other's.
 */
#include <errno.h>

#include "child.h"
#include "fixture.h"
#include "harness.h"
#include "module.h"
#include "qda.h"
#include "simdsp.h"

#define BUFFER_SIZE	1048576
#define MAX_RANGES	4096

FIXTURE(isolation)
{
	int fd;
	__u32 handle;
	struct simdsp_info info;
};

FIXTURE_SETUP(isolation)
{
	if (!fixture_setup(_metadata, &self->fd, &self->handle))
		return;
	ASSERT_EQ(0, simdsp_info(self->fd, self->handle, &self->info));
	if (qda_stream_id("cdsp", self->info.bank) < 0)
		SKIP(return, "no IOMMU is between this DSP and memory");
}

FIXTURE_TEARDOWN(isolation)
{
	fixture_teardown(_metadata, self->fd);
}

/* What a bank of cdsp can reach. Return: number of ranges of its addresses, or -errno. */
static int read_ranges(unsigned int bank, struct simdsp_range *ranges)
{
	return simdsp_reach("cdsp", bank, ranges, MAX_RANGES);
}

/* Another client: tells its bank, then keeps a buffer mapped in a call that waits. */
static int victim(struct child *parent, void *arg)
{
	struct drm_qda_invoke_arg held;
	struct simdsp_info info;
	struct qda_buf buf;
	__u32 handle;
	int fd;

	fd = qda_open_process("cdsp");
	if (fd < 0 || simdsp_open(fd, &handle) || simdsp_info(fd, handle, &info) ||
	    qda_buf_new(fd, BUFFER_SIZE, &buf))
		return 1;
	memset(buf.map, 0x77, buf.size);
	child_tell(parent, info.bank);
	held = qda_ref(&buf, 0, buf.size);
	if (qda_invoke(fd, handle, QDA_SCALARS(SIMDSP_HOLD, 1, 0), &held))
		return 2;
	/* Nobody wrote to it. */
	return qda_all(buf.map, buf.size, 0x77) ? 0 : 3;
}

TEST_F(isolation, memory_of_another_process)
{
	static struct simdsp_range own[MAX_RANGES], others[MAX_RANGES];
	char line[SIMDSP_LINE], expected[64];
	int bank, own_count, count, faults;
	__u64 first = 0, last = 0;
	struct child child;

	ASSERT_EQ(0, child_start(&child, victim, NULL));
	bank = child_hear(&child, 10000);
	ASSERT_LE(0, bank);
	EXPECT_NE(bank, self->info.bank);
	ASSERT_TRUE(simdsp_wait_stat("cdsp", "held", 1, 5000));

	own_count = read_ranges(self->info.bank, own);
	count = read_ranges(bank, others);
	ASSERT_LT(0, own_count);
	ASSERT_LT(0, count);
	snprintf(expected, sizeof(expected), "F_TRANSLATION sid %#x ",
		 qda_stream_id("cdsp", self->info.bank));

	/* Addresses that mean something to the other bank only. */
	for (int i = 0; i < count; i++) {
		for (__u64 at = 0; at < others[i].len; at += 65536) {
			__u64 iova = others[i].iova + at;

			if (simdsp_reaches(own, own_count, iova))
				continue;
			EXPECT_EQ(-EFAULT, simdsp_cmd(line, "touch cdsp %u %#llx 4 r",
						      self->info.client_id,
						      (unsigned long long)iova));
			EXPECT_NE(NULL, strstr(line, expected));
			EXPECT_EQ(-EFAULT, simdsp_cmd(line, "touch cdsp %u %#llx 4 w",
						      self->info.client_id,
						      (unsigned long long)iova));
			EXPECT_NE(NULL, strstr(line, expected));
			first = first ?: iova;
			last = iova;
		}
	}
	ASSERT_LT(first, last);

	/*
	 * The same in a call, whose status tells of it. The call itself is mapped for as long,
	 * maybe at one of them, but not at both.
	 */
	ASSERT_EQ(0, simdsp_cmd(NULL, "expect-fault 1"));
	EXPECT_EQ(SIMDSP_FAULT, simdsp_touch(self->fd, self->handle, first, 4, false) ?:
				simdsp_touch(self->fd, self->handle, last, 4, false));
	ASSERT_EQ(0, simdsp_cmd(line, "faults"));
	faults = atoi(line);
	EXPECT_EQ(1, faults);
	for (int i = 0; i < faults; i++) {
		ASSERT_EQ(0, simdsp_next_line(line));
		EXPECT_NE(NULL, strstr(line, expected));
	}

	EXPECT_EQ(0, simdsp_cmd(NULL, "release-held cdsp 0"));
	EXPECT_EQ(0, child_wait(&child, 5000));
}

TEST_F(isolation, own_memory)
{
	/* The same access where it is allowed: what the test above sees are not just failures. */
	static struct simdsp_range own[MAX_RANGES];
	int count = read_ranges(self->info.bank, own);

	ASSERT_LT(0, count);
	for (int i = 0; i < count; i++) {
		EXPECT_EQ(0, simdsp_touch(self->fd, self->handle, own[i].iova, 4, false));
		EXPECT_EQ(0, simdsp_touch(self->fd, self->handle, own[i].iova + own[i].len - 4, 4,
					  false));
	}
}

TEST_F(isolation, address_zero)
{
	ASSERT_EQ(0, simdsp_cmd(NULL, "expect-fault 2"));
	EXPECT_EQ(SIMDSP_FAULT, simdsp_touch(self->fd, self->handle, 0, 4, false));
	EXPECT_EQ(SIMDSP_FAULT, simdsp_touch(self->fd, self->handle, 0, 4, true));
}

TEST_F(isolation, memory_of_an_ended_process)
{
	static struct simdsp_range ranges[MAX_RANGES];
	struct child child;
	int bank;

	ASSERT_EQ(0, child_start(&child, victim, NULL));
	bank = child_hear(&child, 10000);
	ASSERT_LE(0, bank);
	ASSERT_TRUE(simdsp_wait_stat("cdsp", "held", 1, 5000));
	EXPECT_LT(0, read_ranges(bank, ranges));
	EXPECT_EQ(0, simdsp_cmd(NULL, "release-held cdsp 0"));
	EXPECT_EQ(0, child_wait(&child, 5000));

	/* Whoever gets that bank next finds nothing in it. A client that exits does not wait. */
	for (int i = 0; i < qda_patience(200) && read_ranges(bank, ranges); i++)
		usleep(10000);
	EXPECT_EQ(0, read_ranges(bank, ranges));
}

TEST_F(isolation, banks_of_two_sessions)
{
	/* A second DSP process of one client has a bank of its own while one is free. */
	struct simdsp_info info;
	__u32 handle;
	int fd;

	if (qda_banks("cdsp") < 2)
		SKIP(return, "this DSP has one bank");
	fd = qda_open_process("cdsp");
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, simdsp_open(fd, &handle));
	ASSERT_EQ(0, simdsp_info(fd, handle, &info));
	EXPECT_NE(self->info.bank, info.bank);
	EXPECT_NE(self->info.client_id, info.client_id);
	close(fd);
}

TEST_HARNESS_MAIN
