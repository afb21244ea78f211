// SPDX-License-Identifier: GPL-2.0
/*
 * Counts what the kernel does: histograms of trace events, by stack trace, so that it can be told
 * who did it; and by size of what is done about caches.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

#define TRACING	"/sys/kernel/tracing"
#define EVENTS	TRACING "/events"
#define TRIGGER	"hist:keys=common_stacktrace:size=2048"

/*
 * The functions that clean and invalidate caches have no events, therefore probes: the events of the
 * DMA API do not tell the length of what is unmapped. Nothing is done for the CPU about what the
 * device has only read.
 */
#define PROBE_DEVICE	"p:qda/for_device arch_sync_dma_for_device size=%x1:u64\n"
#define PROBE_CPU	"p:qda/for_cpu arch_sync_dma_for_cpu size=%x1:u64 dir=%x2:u32\n"
#define SIZES		"hist:keys=size:size=2048"
#define SIZES_CPU	SIZES " if dir != 1"

enum kind { SYSCALL, ALLOC, MAP, UNMAP, IOMMU_MAP, IOMMU_UNMAP, SYNC };

static struct {
	char path[320];
	enum kind kind;
	const char *trigger;
} events[32];
static int known;
static char own[32];
static bool lost;

static void add(const char *system, const char *event, enum kind kind)
{
	if (known == sizeof(events) / sizeof(events[0]))
		return;
	snprintf(events[known].path, sizeof(events[known].path), EVENTS "/%s/%s", system, event);
	events[known].trigger = TRIGGER;
	events[known++].kind = kind;
}

static void add_probe(const char *event, const char *definition, const char *trigger)
{
	int fd = open(TRACING "/kprobe_events", O_WRONLY | O_APPEND | O_CLOEXEC);

	/* One that can't be made is missed when it is used. */
	if (fd >= 0) {
		if (write(fd, definition, strlen(definition)) < 0)
			fprintf(stderr, "# %s: %s\n", event, strerror(errno));
		close(fd);
	}
	add("qda", event, SYNC);
	events[known - 1].trigger = trigger;
}

static bool begins(const char *text, const char *with)
{
	return !strncmp(text, with, strlen(with));
}

/* The DMA API's events, whatever this kernel has; those of failures apart. */
static void add_dma(void)
{
	DIR *dir = opendir(EVENTS "/dma");
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		const char *name = entry->d_name;

		if (strstr(name, "_err"))
			continue;
		if (begins(name, "dma_map") || begins(name, "dma_alloc"))
			add("dma", name, MAP);
		else if (begins(name, "dma_unmap") || begins(name, "dma_free"))
			add("dma", name, UNMAP);
	}
	if (dir)
		closedir(dir);
}

static void find_events(void)
{
	add("raw_syscalls", "sys_enter", SYSCALL);
	add("kmem", "kmalloc", ALLOC);
	add("kmem", "kmem_cache_alloc", ALLOC);
	add("kmem", "mm_page_alloc", ALLOC);
	add("iommu", "map", IOMMU_MAP);
	add("iommu", "unmap", IOMMU_UNMAP);
	add_dma();
	if (!coherent()) {
		add_probe("for_device", PROBE_DEVICE, SIZES);
		add_probe("for_cpu", PROBE_CPU, SIZES_CPU);
	}
}

/* Begins to count an event, or ends it. */
static int trigger(int event, bool on)
{
	char path[336], text[96];
	int fd, ret = 0;

	snprintf(path, sizeof(path), "%s/trigger", events[event].path);
	snprintf(text, sizeof(text), "%s%s", on ? "" : "!", events[event].trigger);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

int trace_begin(const char *module)
{
	if (!known)
		find_events();
	snprintf(own, sizeof(own), "[%s]", module);
	lost = false;
	for (int i = 0; i < known; i++) {
		int ret = trigger(i, true);

		if (ret) {
			fprintf(stderr, "# %s: %s\n", events[i].path, strerror(-ret));
			return ret;
		}
	}
	return 0;
}

/* What an event's histogram has of one stack. */
struct entry {
	const char *stack;	/* All its lines. */
	long hits;
	bool interrupted;
	bool ours;		/* Of the driver under test. */
	bool reading;		/* A histogram was read: the more there is in it, the more that takes. */
};

/* Has @see look at each entry of an event's histogram. */
static void read_histogram(int event, void (*see)(int event, const struct entry *entry, void *data),
			   void *data)
{
	struct entry entry = { 0 };
	char stack[4096] = "";
	char path[336];
	char *line = NULL, *at;
	size_t size = 0;
	FILE *file;
	long n;

	snprintf(path, sizeof(path), "%s/hist", events[event].path);
	file = fopen(path, "re");
	if (!file)
		return;
	while (getline(&line, &size, file) >= 0) {
		if (begins(line, "{ "))
			stack[0] = 0;
		strncat(stack, line, sizeof(stack) - strlen(stack) - 1);
		/* Below an interrupt stands what it interrupted. */
		if (strstr(line, "el1_interrupt") || strstr(line, "el1h_64_irq"))
			entry.interrupted = true;
		if (!entry.interrupted && strstr(line, own))
			entry.ours = true;
		if (strstr(line, "seq_read"))
			entry.reading = true;
		if (sscanf(line, " Dropped: %ld", &n) == 1 && n)
			lost = true;
		at = strstr(line, "hitcount:");
		if (!at)
			continue;
		entry.stack = stack;
		entry.hits = atol(at + strlen("hitcount:"));
		see(event, &entry, data);
		entry = (struct entry) { 0 };
	}
	free(line);
	fclose(file);
}

/* Hits of an event, and of those that came from the driver under test. */
struct hits {
	long all;
	long ours;
};

static void count_hits(int event, const struct entry *entry, void *data)
{
	struct hits *hits = data;

	(void)event;
	if (!entry->reading)
		hits->all += entry->hits;
	if (entry->ours)
		hits->ours += entry->hits;
}

/* Sum of the sizes that an event's histogram has. */
static long read_sizes(int event)
{
	unsigned long long size, n, sum = 0;
	char path[336], line[256];
	FILE *file;

	snprintf(path, sizeof(path), "%s/hist", events[event].path);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "{ size: %llu } hitcount: %llu", &size, &n) == 2)
			sum += size * n;
		else if (sscanf(line, " Dropped: %llu", &n) == 1 && n)
			lost = true;
	}
	if (file)
		fclose(file);
	return sum;
}

struct counts trace_read(void)
{
	struct counts counts = { 0 };

	for (int i = 0; i < known; i++) {
		struct hits hits = { 0 };

		if (events[i].kind == SYNC) {
			counts.synced += read_sizes(i);
			continue;
		}
		read_histogram(i, count_hits, &hits);
		switch (events[i].kind) {
		case SYSCALL:
			counts.syscalls += hits.all;
			break;
		case ALLOC:
			counts.allocs += hits.all;
			counts.own_allocs += hits.ours;
			break;
		case MAP:
			counts.maps += hits.all;
			counts.own_maps += hits.ours;
			break;
		case UNMAP:
			counts.unmaps += hits.all;
			counts.own_maps += hits.ours;
			break;
		case IOMMU_MAP:
			counts.iommu_maps += hits.all;
			counts.own_maps += hits.ours;
			break;
		case IOMMU_UNMAP:
			counts.iommu_unmaps += hits.all;
			counts.own_maps += hits.ours;
			break;
		case SYNC:
			break;
		}
	}
	return counts;
}

/* What is to be printed. */
struct wish {
	long than;
	bool own;
};

static void print_frequent(int event, const struct entry *entry, void *data)
{
	const struct wish *wish = data;
	const char *line = entry->stack;

	if (entry->hits <= wish->than && !(entry->ours && wish->own))
		return;
	printf("# %s\n", events[event].path);
	for (; *line; line += strcspn(line, "\n"), line += *line == '\n')
		printf("# %.*s\n", (int)strcspn(line, "\n"), line);
}

void trace_print(long than, bool own)
{
	struct wish wish = { than, own };

	for (int i = 0; i < known; i++) {
		if (events[i].kind != SYSCALL && events[i].kind != SYNC)
			read_histogram(i, print_frequent, &wish);
	}
}

bool trace_end(void)
{
	for (int i = 0; i < known; i++)
		trigger(i, false);
	return !lost;
}
