// SPDX-License-Identifier: GPL-2.0
/*
 * Clocks and counters.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "../guest-modules/qda_floor.h"
#include "bench.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t *times;
static long capacity, count;
static uint64_t began, idle, paused, paused_idle;
static bool active;

static int floor_fd(void)
{
	static int fd = -1;

	if (fd < 0)
		fd = open("/dev/qda_floor", O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		perror("/dev/qda_floor");
		exit(1);
	}
	return fd;
}

static uint64_t idle_time(void)
{
	uint64_t micros = 0;

	if (ioctl(floor_fd(), QDA_FLOOR_IDLE, &micros)) {
		perror("idle time");
		exit(1);
	}
	return micros;
}

uint64_t measure_time(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

void measure_begin(long calls)
{
	if (calls > capacity) {
		free(times);
		times = calloc(calls, sizeof(*times));
		if (!times)
			exit(1);
		capacity = calls;
	}
	count = 0;
	active = true;
	idle = idle_time();
	began = measure_time();
}

void measure_add(uint64_t nanos)
{
	if (!active)
		return;
	pthread_mutex_lock(&lock);
	if (count < capacity)
		times[count++] = nanos;
	pthread_mutex_unlock(&lock);
}

void measure_pause(void)
{
	if (!active)
		return;
	paused = measure_time();
	paused_idle = idle_time();
}

void measure_resume(void)
{
	if (!active)
		return;
	idle += idle_time() - paused_idle;
	began += measure_time() - paused;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

struct sample measure_end(void)
{
	double micros = (measure_time() - began) / 1000.0;
	double busy = micros * sysconf(_SC_NPROCESSORS_ONLN) - (idle_time() - idle);
	struct sample sample = { .calls = count };

	active = false;
	if (!count)
		return sample;
	qsort(times, count, sizeof(*times), by_value);
	sample.p50 = times[count / 2] / 1000.0;
	sample.p99 = times[(count - 1) * 99 / 100] / 1000.0;
	sample.cpu = busy > 0 ? busy / count : 0;
	sample.rate = count * 1e6 / micros;
	return sample;
}

int measure_count(struct qda_floor_count *count)
{
	return ioctl(floor_fd(), QDA_FLOOR_COUNT, count) ? -errno : 0;
}

/* How many are enough to leave those with a tick out. */
#define LEAST_QUIET	5

static struct qda_floor_count *marks;
static long mark_count, mark_max;

void measure_marks_begin(long max)
{
	free(marks);
	marks = calloc(max, sizeof(*marks));
	if (!marks)
		exit(1);
	mark_count = 0;
	mark_max = max;
}

void measure_mark(void)
{
	if (mark_count < mark_max && !measure_count(&marks[mark_count]))
		mark_count++;
}

struct marks measure_marks_end(void)
{
	struct marks result = { .count = mark_count ? mark_count - 1 : 0 };
	uint64_t *all = calloc(2 * mark_count + 2, sizeof(*all)), *quiet = all + mark_count;
	double sum = 0;
	long n, from;

	if (!all)
		exit(1);
	for (long i = 1; i < mark_count; i++) {
		all[i - 1] = marks[i].instructions - marks[i - 1].instructions;
		if (marks[i].ticks == marks[i - 1].ticks)
			quiet[result.quiet++] = all[i - 1];
	}
	mark_max = 0;
	n = result.quiet;
	if (n < LEAST_QUIET) {
		quiet = all;
		n = result.count;
	}
	qsort(quiet, n, sizeof(*quiet), by_value);
	from = n / 4;
	for (long i = from; i < n - from; i++)
		sum += quiet[i];
	if (n)
		result.each = sum / (n - 2 * from);
	free(all);
	return result;
}

uint64_t measure_switches(void)
{
	FILE *file = fopen("/proc/stat", "re");
	unsigned long long switches = 0;
	char line[4096];

	if (!file)
		return 0;
	while (fgets(line, sizeof(line), file) && sscanf(line, "ctxt %llu", &switches) != 1)
		;
	fclose(file);
	return switches;
}

long measure_free_memory(void)
{
	FILE *file = fopen("/proc/zoneinfo", "re");
	long pages = 0, n;
	char line[256];

	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, " nr_free_pages %ld", &n) == 1 ||
		    sscanf(line, " count: %ld", &n) == 1)
			pages += n;
	}
	if (file)
		fclose(file);
	return pages * sysconf(_SC_PAGESIZE);
}

/* All banks of a board are alike. */
bool coherent(void)
{
	return !access("/proc/device-tree/cdsp-edge/fastrpc/compute-cb@1/dma-coherent", F_OK);
}
