// SPDX-License-Identifier: GPL-2.0
/*
 * QDA: memory of a DSP that the kernel lends out while the DSP does not have it ("reusable"), and
 * memory that is mapped for its remote processor. Boards without such memory have nothing to test
 * here.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "child.h"
#include "harness.h"
#include "module.h"
#include "patience.h"
#include "qda.h"
#include "restart.h"
#include "simdsp.h"
#include "sysfs.h"

#define REGIONS		"/sys/firmware/devicetree/base/reserved-memory"
#define DEVICES		2
#define PIECE		0x100000UL
#define PIECES		1024

/* So much is left to the rest of the system, less than would keep the kernel from lending. */
#define SPARE_KB	10000
/* So many pages that are lent are enough. */
#define ENOUGH		256

/* Entry of /proc/self/pagemap: whether there is a page, and its number. */
#define PRESENT		0x8000000000000000ULL
#define PFN		0x007fffffffffffffULL

static const struct drm_qda_session_create audio = {
	.kind = QDA_SESSION_STATIC,
	.name = "audiopd",
};

/* Makes the static process of the ADSP. Return: a file, the DSP's status, or -errno. */
static int open_audio(void)
{
	int fd = qda_open("adsp"), ret;

	if (fd < 0)
		return fd;
	ret = qda_session(fd, audio);
	if (!ret)
		return fd;
	close(fd);
	return ret < 0 ? ret : -EREMOTEIO;
}

/* A line of /proc/meminfo, in KiB, or -1. */
static long long memory_kb(const char *name)
{
	char line[128], found[64];
	long long value;
	FILE *file = fopen("/proc/meminfo", "r");

	if (!file)
		return -1;
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%63[^:]: %lld", found, &value) == 2 && !strcmp(found, name)) {
			fclose(file);
			return value;
		}
	}
	fclose(file);
	return -1;
}

/* Where the memory is. */
static struct {
	uint64_t start;
	uint64_t end;
} region;

static bool find_region(void)
{
	char name[128];
	long long kb = memory_kb("CmaTotal");

	if (kb <= 0 || !sysfs_find(REGIONS, "heap@", name, sizeof(name)))
		return false;
	region.start = strtoull(strchr(name, '@') + 1, NULL, 16);
	region.end = region.start + kb * 1024;
	return true;
}

/* How many pages of @piece are of the region, or -errno. */
static int lent_to(const char *piece)
{
	size_t page = qda_page_size(), count = PIECE / page;
	uint64_t *entries = calloc(count, sizeof(*entries));
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC), lent = 0;
	ssize_t want = count * sizeof(*entries);

	if (!entries || fd < 0 ||
	    pread(fd, entries, want, (uintptr_t)piece / page * sizeof(*entries)) != want) {
		lent = -EIO;
		goto out;
	}
	for (size_t i = 0; i < count; i++) {
		uint64_t address = (entries[i] & PFN) * page;

		if (!(entries[i] & PFN))
			lent = -EPERM;
		else if (entries[i] & PRESENT && address >= region.start && address < region.end)
			lent++;
		if (lent < 0)
			break;
	}
out:
	if (fd >= 0)
		close(fd);
	free(entries);
	return lent;
}

/* How many pages of the region all pieces have, or -errno. */
static int lent_to_all(char *const *pieces, int count)
{
	int sum = 0;

	for (int i = 0; i < count; i++) {
		int lent = lent_to(pieces[i]);

		if (lent < 0)
			return lent;
		sum += lent;
	}
	return sum;
}

/*
 * Takes nearly all memory that there is, until it gets some of the region. Tells how many pages it
 * has of that, as often as it is asked, and whether all have in them still what was written.
 */
static int glutton(struct child *parent, void *arg)
{
	static char *pieces[PIECES];
	int count = 0, sum = 0;

	/* Should it be too much, then we are the one to go. */
	sysfs_write("/proc/self/oom_score_adj", "1000");
	while (count < PIECES && sum < ENOUGH && memory_kb("MemFree") > SPARE_KB) {
		pieces[count] = mmap(NULL, PIECE, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (pieces[count] == MAP_FAILED)
			break;
		memset(pieces[count], count + 1, PIECE);
		sum += lent_to(pieces[count]);
		count++;
	}
	do {
		int lent = lent_to_all(pieces, count);

		for (int i = 0; i < count; i++) {
			if (!qda_all(pieces[i], PIECE, i + 1))
				lent = -EBADMSG;
		}
		child_tell(parent, lent);
	} while (child_hear(parent, 60000) > 0);
	return 0;
}

/* How much of the region somebody gets who wants all memory. */
static int lent_under_pressure(void)
{
	struct child child;
	int lent;

	if (child_start(&child, glutton, NULL))
		return -EAGAIN;
	lent = child_hear(&child, 60000);
	child_tell(&child, 0);
	child_wait(&child, 10000);
	return lent;
}

FIXTURE(reserved)
{
	char processor[128];
	bool is_there;
};

static int stop(const char *processor)
{
	return sysfs_write_within(PROCESSORS "/unbind", processor, BOUND_MS);
}

/* Return: 0 when the ADSP is there. */
static int start(const char *processor)
{
	int ret = come_up_with(STOP, "adsp", processor, qda_open);

	if (ret < 0)
		return ret;
	close(ret);
	return 0;
}

FIXTURE_SETUP(reserved)
{
	const char *why = qda_test_begin("reserved", _metadata->name, true);

	self->is_there = false;
	if (why)
		SKIP(return, "%s", why);
	if (!qda_of_bool("adsp", "memory-region") || !find_region())
		SKIP(return, "no memory is lent out");
	if (!find_processor("adsp", self->processor, sizeof(self->processor)))
		SKIP(return, "no remote processor that can be stopped");
	self->is_there = true;
	/* A DSP that knows of nothing. */
	ASSERT_EQ(0, stop(self->processor));
	ASSERT_EQ(0, start(self->processor));
}

FIXTURE_TEARDOWN(reserved)
{
	char name[128];

	if (self->is_there) {
		if (access("/sys/module/qda", F_OK))
			EXPECT_TRUE(qda_reload(DEVICES));
		if (!find_processor("adsp", name, sizeof(name)))
			EXPECT_EQ(0, sysfs_write(PROCESSORS "/bind", self->processor));
	}
	EXPECT_EQ(0, qda_test_end());
}

TEST_F_TIMEOUT(reserved, nobody_else_has_it, 90)
{
	EXPECT_EQ(0, memory_kb("CmaFree"));
	EXPECT_EQ(0, lent_under_pressure());
}

TEST_F_TIMEOUT(reserved, whoever_has_it_moves_out, 120)
{
	struct child child;

	ASSERT_EQ(0, stop(self->processor));
	EXPECT_LT(0, memory_kb("CmaFree"));
	ASSERT_EQ(0, child_start(&child, glutton, NULL));
	/* Else this test is none. */
	EXPECT_LT(0, child_hear(&child, 60000));
	EXPECT_EQ(0, start(self->processor));
	EXPECT_EQ(0, memory_kb("CmaFree"));
	child_tell(&child, 1);
	EXPECT_EQ(0, child_hear(&child, 60000));
	child_tell(&child, 0);
	EXPECT_EQ(0, child_wait(&child, 10000));
}

TEST_F_TIMEOUT(reserved, comes_back_from_a_dsp_that_was_not_told, 60)
{
	ASSERT_EQ(0, qda_unload());
	EXPECT_LT(0, memory_kb("CmaFree"));
	ASSERT_TRUE(qda_reload(DEVICES));
	EXPECT_EQ(0, memory_kb("CmaFree"));
}

TEST_F_TIMEOUT(reserved, stays_with_a_dsp_that_runs, 120)
{
	long long heaps = simdsp_stat("adsp", "heaps");
	int fd = open_audio();

	ASSERT_LE(0, fd);
	close(fd);
	ASSERT_EQ(0, qda_rebind("adsp"));
	EXPECT_EQ(0, memory_kb("CmaFree"));
	ASSERT_EQ(0, qda_unload());
	EXPECT_EQ(0, memory_kb("CmaFree"));
	EXPECT_EQ(0, lent_under_pressure());
	ASSERT_TRUE(qda_reload(DEVICES));
	EXPECT_EQ(0, memory_kb("CmaFree"));

	/* It knows still. */
	fd = open_audio();
	ASSERT_LE(0, fd);
	close(fd);
	EXPECT_EQ(heaps + 1, simdsp_stat("adsp", "heaps"));
}

TEST_F_TIMEOUT(reserved, comes_back_from_a_dsp_that_is_down, 60)
{
	long long heaps = simdsp_stat("adsp", "heaps");
	int fd = open_audio();

	ASSERT_LE(0, fd);
	close(fd);
	ASSERT_EQ(0, stop(self->processor));
	EXPECT_LT(0, memory_kb("CmaFree"));
	ASSERT_EQ(0, start(self->processor));
	EXPECT_EQ(0, memory_kb("CmaFree"));
	fd = open_audio();
	ASSERT_LE(0, fd);
	close(fd);
	EXPECT_EQ(heaps + 2, simdsp_stat("adsp", "heaps"));
}

TEST_F_TIMEOUT(reserved, comes_back_when_there_is_no_driver, 60)
{
	long long heaps = simdsp_stat("adsp", "heaps");
	int fd = open_audio();

	ASSERT_LE(0, fd);
	close(fd);
	ASSERT_EQ(0, qda_unload());
	EXPECT_EQ(0, memory_kb("CmaFree"));
	ASSERT_EQ(0, stop(self->processor));
	EXPECT_LT(0, memory_kb("CmaFree"));
	ASSERT_EQ(0, sysfs_write_within(PROCESSORS "/bind", self->processor, BOUND_MS));
	ASSERT_TRUE(qda_reload(DEVICES));
	EXPECT_EQ(0, memory_kb("CmaFree"));
	fd = open_audio();
	ASSERT_LE(0, fd);
	close(fd);
	EXPECT_EQ(heaps + 2, simdsp_stat("adsp", "heaps"));
}

FIXTURE(mapped)
{
	char processor[128];
	long long size;
	bool is_there;
};

/* Whether the remote processor is behind an IOMMU of ours. */
static bool is_behind_iommu(const char *processor)
{
	char path[256];

	snprintf(path, sizeof(path), "/sys/bus/platform/devices/%s/of_node/iommus", processor);
	return !access(path, F_OK);
}

FIXTURE_SETUP(mapped)
{
	const char *why = qda_test_begin("mapped", _metadata->name, true);

	self->is_there = false;
	if (why)
		SKIP(return, "%s", why);
	if (!qda_of_bool("adsp", "memory-region") ||
	    !find_processor("adsp", self->processor, sizeof(self->processor)) ||
	    !is_behind_iommu(self->processor))
		SKIP(return, "the processor is not behind an IOMMU");
	self->is_there = true;
	ASSERT_EQ(0, stop(self->processor));
	ASSERT_EQ(0, start(self->processor));
	self->size = simdsp_stat("adsp", "heap_reached");
}

FIXTURE_TEARDOWN(mapped)
{
	char name[128];

	if (self->is_there) {
		if (access("/sys/module/qda", F_OK))
			EXPECT_TRUE(qda_reload(DEVICES));
		if (!find_processor("adsp", name, sizeof(name)))
			EXPECT_EQ(0, sysfs_write(PROCESSORS "/bind", self->processor));
	}
	EXPECT_EQ(0, qda_test_end());
}

TEST_F_TIMEOUT(mapped, as_long_as_the_processor_runs, 60)
{
	long long heaps = simdsp_stat("adsp", "heaps");
	int fd;

	EXPECT_LT(0, self->size);
	for (int i = 1; i < 3; i++) {
		fd = open_audio();
		ASSERT_LE(0, fd);
		close(fd);
		EXPECT_EQ(heaps + i, simdsp_stat("adsp", "heaps"));
		EXPECT_EQ(self->size, simdsp_stat("adsp", "heap_reached"));
		ASSERT_EQ(0, qda_unload());
		EXPECT_EQ(self->size, simdsp_stat("adsp", "heap_reached"));
		ASSERT_TRUE(qda_reload(DEVICES));
		EXPECT_EQ(self->size, simdsp_stat("adsp", "heap_reached"));

		ASSERT_EQ(0, stop(self->processor));
		EXPECT_EQ(0, simdsp_stat("adsp", "heap_reached"));
		ASSERT_EQ(0, start(self->processor));
	}
}

TEST_F_TIMEOUT(mapped, not_when_the_processor_was_not_told, 60)
{
	EXPECT_LT(0, self->size);
	ASSERT_EQ(0, qda_unload());
	EXPECT_EQ(0, simdsp_stat("adsp", "heap_reached"));
	ASSERT_TRUE(qda_reload(DEVICES));
	EXPECT_EQ(self->size, simdsp_stat("adsp", "heap_reached"));
}

TEST_HARNESS_MAIN
