// SPDX-License-Identifier: GPL-2.0
/*
 * Measures remote calls through the kernel's FastRPC driver, through QDA, and on the bare transport,
 * side by side in one boot, and prints what the harness makes a table of.
 *
 *	qda-bench time <rounds> <ms> <service> [rows]	wall time, CPU time, counts
 *	qda-bench instructions <runs> <calls> <service> [rows]
 *							instructions (QEMU -icount, one CPU)
 *	qda-bench profile <calls> 0 <service> [rows]	where these go (the same)
 *	qda-bench memory <rounds>			memory that idle sessions hold, entries
 *							of the IOMMU for a large buffer
 *	qda-bench smoke					a short run of some rows, as a test
 *	qda-bench hot-path				what QDA does in a call, as a test
 *
 * <service> is the simulator's time for a call, in nanoseconds; [rows] how the names of those begin
 * that are wanted, with + between. Some rows are only for boards that are coherent, the others only
 * for those that are not.
 *
 * Lines: a word that says what it is, then <key>=<value>.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "rows.h"
#include "simdsp.h"

#define DRIVERS		3

/* Operations before and while they are counted. */
#define WARM_CALLS	40
#define WARM_SLOW	3
#define COUNT_CALLS	200
#define COUNT_SLOW	5

/* Groups of calls that are counted at least. */
#define LEAST_GROUPS	20

/* Instructions that a run may take, unless three operations take more, and runs where they may. */
#define AFFORDABLE	50000000
#define SLOW_RUNS	5

#define MEMORY_SESSIONS	10
#define ENTRIES_SIZE	(64U << 20)
/* What both drivers give a DSP process to begin with: it is the DSP's. */
#define PROCESS_MEMORY	(2 << 20)

static const struct driver *const drivers[DRIVERS] = {
	&floor_driver, &fastrpc_driver, &qda_driver,
};

static const char *service = "5000";
static const char *only = "";
/* Whether calls that are made side by side are answered together. */
static bool together;
static int wrongs;

/* Says what went wrong; the harness fails then. */
static void wrong(const struct row *row, const struct driver *driver, const char *what, long value)
{
	printf("wrong row=%s driver=%s %s=%ld\n", row->name, driver->name, what, value);
	wrongs++;
}

/* Whether a row is asked for, and this is a board for it. */
static bool wanted(const struct row *row)
{
	if (row->incoherent == coherent())
		return false;
	for (const char *at = only; *at; at += strcspn(at, "+"), at += *at == '+') {
		if (!strncmp(row->name, at, strcspn(at, "+")))
			return true;
	}
	return !*only;
}

static bool has(const struct row *row, const struct driver *driver)
{
	return driver != &floor_driver || row->floor;
}

/* One CPU for what one thread does, so that the scheduler has no say in it. */
static void choose_cpus(bool one)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	for (int i = 0; i < (one ? 1 : sysconf(_SC_NPROCESSORS_ONLN)); i++)
		CPU_SET(i, &cpus);
	sched_setaffinity(0, sizeof(cpus), &cpus);
}

/* How many calls of a row are answered at a time. */
static int group_of(const struct row *row)
{
	return together && row->together ? row->count : 1;
}

static void hot(const struct state *state)
{
	simdsp_cmd(NULL, "hot %s on %s %d", state->driver->link, service, group_of(state->row));
}

/* @n calls, or a few more: no group of them is to be short of one. */
static long whole_groups(const struct row *row, long n)
{
	int group = group_of(row);

	return (n + group - 1) / group * group;
}

/* Ends what hot() began. The DSP must have served what was asked of it. */
static long cool(struct state *state)
{
	char reply[SIMDSP_LINE];
	long served = -1, late = 0;

	if (simdsp_cmd(reply, "hot %s off", state->driver->link) ||
	    sscanf(reply, "%ld %ld", &served, &late) != 2 || served != state->calls)
		wrong(state->row, state->driver, "served", served);
	return late;
}

/* Runs a row, n times, with the DSP hot. Return: whether it went well. */
static bool run(struct state *state, long n)
{
	int ret;

	state->calls = 0;
	hot(state);
	ret = state_run(state, whole_groups(state->row, n));
	cool(state);
	if (ret)
		wrong(state->row, state->driver, "error", ret);
	return !ret;
}

/* Large pages are there again, as far as can be: what came before is not to be counted. */
static void compact_memory(void)
{
	int fd = open("/proc/sys/vm/compact_memory", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, "1", 1) != 1)
		perror("# compact_memory");
	close(fd);
}

/* Opens a row for a driver; says so if it can't. */
static bool begin(struct state *state, const struct row *row, const struct driver *driver)
{
	int ret;

	if (row->slow)
		compact_memory();
	ret = state_open(state, row, driver);

	if (!ret)
		return true;
	if (ret == -EOPNOTSUPP)
		printf("absent row=%s driver=%s\n", row->name, driver->name);
	else
		wrong(row, driver, "prepare", ret);
	state_close(state);
	return false;
}

/* How many calls take about so many milliseconds. */
static long calibrate(struct state *state, long ms)
{
	long n = state->row->slow ? WARM_SLOW : WARM_CALLS, least = state->row->slow ? 3 : 20;
	uint64_t before, each;

	run(state, n);
	before = measure_time();
	run(state, n);
	each = (measure_time() - before) / n;
	n = ms * 1000000 / (each ? each : 1);
	return n < least ? least : n > 50000 ? 50000 : n;
}

static bool round_of(struct state *state, int round, long n)
{
	struct sample sample;
	long late;
	int ret;

	state->calls = 0;
	hot(state);
	measure_begin(n + MAX_THREADS);
	ret = state_run(state, n);
	sample = measure_end();
	late = cool(state);
	if (ret) {
		wrong(state->row, state->driver, "error", ret);
		return false;
	}
	printf("time row=%s driver=%s round=%d calls=%ld p50=%.2f p99=%.2f cpu=%.2f rate=%.1f late=%ld\n",
	       state->row->name, state->driver->name, round, sample.calls, sample.p50, sample.p99,
	       sample.cpu, sample.rate, late);
	return true;
}

/* What there is in @now beyond what was in @before. */
static struct counts beyond(struct counts now, struct counts before)
{
	long *a = (long *)&now, *b = (long *)&before;

	for (size_t i = 0; i < sizeof(now) / sizeof(long); i++)
		a[i] -= b[i];
	return now;
}

static long whole(const struct counts *counts)
{
	return counts->allocs + counts->maps + counts->unmaps;
}

static long count_calls(const struct state *state)
{
	return state->row->slow ? COUNT_SLOW : COUNT_CALLS;
}

/*
 * What count_calls() calls do, some of many, so that what the first of them may do is not looked at.
 * It is the difference between these and twice as many: the rest is what it takes to read the
 * counters. @all: what the driver did in all of them. Says who did more than @expected.
 */
static bool count(struct state *state, struct counts *counts, struct counts *all, long expected)
{
	long n = count_calls(state);
	struct counts first, second, third;

	if (trace_begin(state->driver->name))
		return false;
	trace_read();
	run(state, state->row->slow ? WARM_SLOW : WARM_CALLS);
	first = trace_read();
	run(state, n);
	second = trace_read();
	run(state, 2 * n);
	third = trace_read();
	*counts = beyond(beyond(third, second), beyond(second, first));
	*all = beyond(third, first);
	trace_print(whole(counts) > expected ? n / 2 : LONG_MAX,
		    expected != LONG_MAX && (all->own_allocs || all->own_maps));
	return trace_end();
}

static void print_counts(struct state *state)
{
	struct counts counts, all;

	if (!count(state, &counts, &all, LONG_MAX)) {
		wrong(state->row, state->driver, "trace", 0);
		return;
	}
	printf("count row=%s driver=%s calls=%ld syscalls=%ld allocs=%ld maps=%ld unmaps=%ld iommu_maps=%ld iommu_unmaps=%ld own_allocs=%ld own_maps=%ld synced=%ld\n",
	       state->row->name, state->driver->name, count_calls(state), counts.syscalls, counts.allocs,
	       counts.maps, counts.unmaps, counts.iommu_maps, counts.iommu_unmaps,
	       counts.own_allocs, counts.own_maps, counts.synced);
}

static void time_row(const struct row *row, int rounds, long ms)
{
	static struct state states[DRIVERS];
	bool open[DRIVERS] = { false };
	long n[DRIVERS] = { 0 };

	choose_cpus(!row->sessions);
	for (int d = 0; d < DRIVERS; d++) {
		open[d] = has(row, drivers[d]) && begin(&states[d], row, drivers[d]);
		if (open[d])
			n[d] = calibrate(&states[d], ms);
	}
	/* Of two drivers each goes first in every other round. */
	for (int round = 0; round < rounds; round++) {
		for (int i = 0; i < DRIVERS; i++) {
			int d = round % 2 ? DRIVERS - 1 - i : i;

			if (open[d] && !round_of(&states[d], round, n[d])) {
				state_close(&states[d]);
				open[d] = false;
			}
		}
	}
	for (int d = 0; d < DRIVERS; d++) {
		if (!open[d])
			continue;
		if (!row->sessions)
			print_counts(&states[d]);
		state_close(&states[d]);
	}
}

static int time_all(int rounds, long ms)
{
	const struct row *rows;
	int count = all_rows(&rows);

	for (int i = 0; i < count; i++) {
		if (wanted(&rows[i]))
			time_row(&rows[i], rounds, ms);
	}
	return 0;
}

/*
 * Instructions of all that the guest does from one operation to the next, or from one look at the
 * counter to the next without a state. Where the kernel's clock ticks in each of them, what a tick
 * takes is little. What a driver leaves to a thread of the kernel is done in the course of its
 * operation or of the next one.
 */
static double instructions_each(struct state *state, long calls)
{
	measure_marks_begin(calls + 1);
	measure_mark();
	for (long i = 0; i < calls; i++) {
		int ret = state ? state_once(state) : 0;

		if (ret)
			wrong(state->row, state->driver, "error", ret);
		measure_mark();
	}
	return measure_marks_end().each;
}

/* The same of calls that are made side by side: there is a mark after each group of them. */
static double instructions_together(struct state *state, long calls)
{
	int group = group_of(state->row), ret;

	if (calls < LEAST_GROUPS * group)
		calls = LEAST_GROUPS * group;
	calls = whole_groups(state->row, calls);
	measure_marks_begin(calls / group);
	ret = state_run(state, calls);
	if (ret)
		wrong(state->row, state->driver, "error", ret);
	return measure_marks_end().each / group;
}

/* How many operations of so many instructions are counted. */
static long affordable(double each, long calls)
{
	long n = AFFORDABLE / (each > 1 ? each : 1);

	return n < WARM_SLOW ? WARM_SLOW : n > calls ? calls : n;
}

static void instructions_run(struct state *state, int round, long calls, double looking)
{
	const struct row *row = state->row;
	uint64_t switches;
	double each;

	/* What the last line takes to print is no part of it. */
	usleep(20000);
	state->calls = 0;
	hot(state);
	switches = measure_switches();
	if (row->once) {
		calls = affordable(instructions_each(state, 1), calls);
		each = instructions_each(state, calls) - looking;
		/* And the first. */
		calls++;
	} else {
		each = instructions_together(state, calls) - looking / group_of(row);
		calls = state->calls;
	}
	switches = measure_switches() - switches;
	cool(state);
	printf("instructions row=%s driver=%s round=%d calls=%ld each=%.0f switches=%.2f\n",
	       row->name, state->driver->name, round, calls, each, (double)switches / calls);
}

/*
 * Instructions. The DSP takes its time, so that the guest has gone idle in every call before the
 * answer comes: whether it has would otherwise depend on the host. For the same reason it answers
 * calls that are made side by side when all of them are there, and all at once.
 */
static int count_instructions(int runs, long calls)
{
	static struct state states[DRIVERS];
	const struct row *rows;
	int count = all_rows(&rows);
	struct qda_floor_count now;
	double looking;
	int ret;

	ret = measure_count(&now);
	if (ret) {
		printf("wrong row=all driver=all instructions=%d\n", ret);
		return 1;
	}
	together = true;
	choose_cpus(true);
	looking = instructions_each(NULL, calls);
	for (int i = 0; i < count; i++) {
		bool open[DRIVERS] = { false };

		if (!rows[i].instructions || !wanted(&rows[i]))
			continue;
		for (int d = 0; d < DRIVERS; d++) {
			open[d] = has(&rows[i], drivers[d]) &&
				  begin(&states[d], &rows[i], drivers[d]) &&
				  run(&states[d], rows[i].slow ? WARM_SLOW : WARM_CALLS);
		}
		for (int r = 0; r < (rows[i].slow && runs > SLOW_RUNS ? SLOW_RUNS : runs); r++) {
			for (int d = 0; d < DRIVERS; d++) {
				if (open[d])
					instructions_run(&states[d], r, calls, looking);
			}
		}
		for (int d = 0; d < DRIVERS; d++) {
			if (open[d])
				state_close(&states[d]);
		}
	}
	return 0;
}

/* Where the instructions of each row go. Some calls come first, as in count_instructions(). */
static int profile(long calls)
{
	static struct state state;
	const struct row *rows;
	int count = all_rows(&rows);

	together = true;
	choose_cpus(true);
	for (int i = 0; i < count; i++) {
		if (!wanted(&rows[i]))
			continue;
		for (int d = 1; d < DRIVERS; d++) {
			int ret;

			if (begin(&state, &rows[i], drivers[d])) {
				run(&state, rows[i].slow ? WARM_SLOW : WARM_CALLS);
				ret = profile_begin();
				run(&state, rows[i].slow ? WARM_SLOW : calls);
				ret = ret ? ret : profile_end(rows[i].name, drivers[d]->name);
				if (ret)
					wrong(&rows[i], drivers[d], "profile", ret);
				state_close(&state);
			}
		}
	}
	return wrongs ? 1 : 0;
}

/* Where the DSP has a buffer of that size, of the only process there is. Return: 0 or -errno. */
static int find_mapped(const struct driver *driver, size_t size, unsigned int *bank,
		       unsigned long long *iova)
{
	char line[SIMDSP_LINE];
	int lines, ret = simdsp_cmd(line, "processes %s", driver->link), found = -ENOENT;

	if (ret)
		return ret;
	lines = atoi(line);
	for (int i = 0; i < lines; i++) {
		unsigned long long at, length;
		const char *rest;
		int used = 0;

		ret = simdsp_next_line(line);
		if (ret)
			return ret;
		if (sscanf(line, "client %*u bank %u memory %*x %*x maps %*u%n", bank,
			   &used) != 1 || !used)
			continue;
		for (rest = line + used; sscanf(rest, " %llx %llx%n", &at, &length, &used) == 2;
		     rest += used) {
			if (length == size) {
				*iova = at;
				found = 0;
			}
		}
	}
	return found;
}

/* How many pages and blocks of the IOMMU's tables a large buffer takes. */
static int measure_entries(const struct driver *driver)
{
	struct session session = { .fd = -1 };
	unsigned long long iova = 0;
	char reply[SIMDSP_LINE];
	struct buffer buffer;
	unsigned int bank = 0;
	struct call call;
	int ret;

	ret = open_session(driver, &session);
	if (ret)
		return ret;
	/* The process has a bank when it has called. */
	call = new_call(&session, SCALARS(METHOD_NOOP, 0, 0));
	ret = make_call(&call);
	if (!ret)
		ret = driver->alloc(&session, ENTRIES_SIZE, &buffer);
	if (ret)
		goto close;
	ret = driver->map(&session, &buffer);
	if (ret)
		goto free;
	ret = find_mapped(driver, ENTRIES_SIZE, &bank, &iova);
	if (!ret)
		ret = simdsp_cmd(reply, "entries %s %u %#llx %#x", driver->link, bank, iova,
				 ENTRIES_SIZE);
	if (!ret)
		printf("entries row=entries-%u driver=%s count=%ld\n", ENTRIES_SIZE, driver->name,
		       atol(reply));
	driver->unmap(&session, &buffer);
free:
	driver->free(&session, &buffer);
close:
	close_session(&session);
	return ret;
}

static void entries(void)
{
	for (int d = 1; d < DRIVERS; d++) {
		int ret = measure_entries(drivers[d]);

		if (ret) {
			printf("wrong row=entries-%u driver=%s error=%d\n", ENTRIES_SIZE,
			       drivers[d]->name, ret);
			wrongs++;
		}
	}
}

/* What sessions hold a second after their last call, without what is the DSP's. */
static int measure_memory(int rounds)
{
	struct session sessions[MEMORY_SESSIONS];

	/* The first round fills caches, and does not count. */
	for (int round = -1; round < rounds; round++) {
		for (int d = 1; d < DRIVERS; d++) {
			long before, after;
			int ret = 0, i;

			usleep(1500000);
			before = measure_free_memory();
			for (i = 0; i < MEMORY_SESSIONS && !ret; i++) {
				struct call call;

				ret = open_session(drivers[d], &sessions[i]);
				if (ret)
					break;
				call = new_call(&sessions[i], SCALARS(METHOD_NOOP, 0, 0));
				ret = make_call(&call);
			}
			usleep(1500000);
			after = measure_free_memory();
			if (ret)
				printf("wrong row=idle-session driver=%s error=%d\n",
				       drivers[d]->name, ret);
			else if (round >= 0)
				printf("memory row=idle-session driver=%s round=%d bytes=%ld\n",
				       drivers[d]->name, round,
				       (before - after) / MEMORY_SESSIONS - PROCESS_MEMORY);
			while (i--)
				close_session(&sessions[i]);
		}
	}
	entries();
	return wrongs ? 1 : 0;
}

/* The short run: what is measured has to be right, its speed is not looked at. */
static int smoke(void)
{
	static struct state state;
	const struct row *rows;
	int count = all_rows(&rows), tests = 0;

	for (int i = 0; i < count; i++) {
		for (int d = 0; d < DRIVERS; d++)
			tests += rows[i].quick && wanted(&rows[i]) && has(&rows[i], drivers[d]);
	}
	printf("TAP version 13\n1..%d\n", tests + 1);
	tests = 0;
	entries();
	printf("%sok %d - entries of the IOMMU\n", wrongs ? "not " : "", ++tests);
	for (int i = 0; i < count; i++) {
		for (int d = 0; d < DRIVERS; d++) {
			int before = wrongs;
			bool open;

			if (!rows[i].quick || !wanted(&rows[i]) || !has(&rows[i], drivers[d]))
				continue;
			choose_cpus(!rows[i].sessions);
			open = begin(&state, &rows[i], drivers[d]);
			if (open) {
				if (run(&state, rows[i].slow ? WARM_SLOW : WARM_CALLS) &&
				    round_of(&state, 0, rows[i].slow ? COUNT_SLOW : COUNT_CALLS) &&
				    !rows[i].sessions)
					print_counts(&state);
				state_close(&state);
			}
			printf("%sok %d - %s with %s%s\n", wrongs == before ? "" : "not ", ++tests,
			       rows[i].name, drivers[d]->name,
			       !open && wrongs == before ? " # SKIP the driver has no such thing" : "");
		}
	}
	return wrongs ? 1 : 0;
}

static int result(int number, bool ok, const struct row *row, const char *what, long seen, long n)
{
	if (!ok)
		printf("# %ld in %ld calls\n", seen, n);
	printf("%sok %d - %s: %s\n", ok ? "" : "not ", number, row->name, what);
	return !ok;
}

/*
 * How often a row is looked at: memory that a pause took away may have to come again, and other
 * threads of the kernel have their own business.
 */
#define LOOKS	5

static long middle(long *values, int count)
{
	for (int i = 1; i < count; i++) {
		for (int j = i; j && values[j - 1] > values[j]; j--) {
			long value = values[j];

			values[j] = values[j - 1];
			values[j - 1] = value;
		}
	}
	return values[count / 2];
}

/*
 * A call that is one of many allocates nothing and maps nothing: not in the driver, nor anywhere in
 * the guest because of it. What the transport and the rest of the guest do is seen at the floor.
 */
static int hot_path(void)
{
	static struct state state;
	struct counts counts = { 0 }, all = { 0 };
	const struct row *rows;
	int count_of = all_rows(&rows), tests = 0, bad = 0;
	long seen[LOOKS], floor;

	choose_cpus(true);
	for (int i = 0; i < count_of; i++)
		tests += rows[i].steady ? 3 : 0;
	printf("TAP version 13\n1..%d\n", tests);
	if (!begin(&state, &rows[0], &floor_driver))
		return 1;
	for (int look = 0; look < LOOKS; look++) {
		if (!count(&state, &counts, &all, LONG_MAX))
			return 1;
		seen[look] = whole(&counts);
	}
	floor = middle(seen, LOOKS);
	state_close(&state);
	tests = 0;
	for (int i = 0; i < count_of; i++) {
		static const char skip[] = "# SKIP the driver has no such thing";
		long allocs = -1, maps = -1, more = -1;
		int before = wrongs;

		if (!rows[i].steady)
			continue;
		if (!begin(&state, &rows[i], &qda_driver)) {
			bool absent = wrongs == before;

			for (int t = 0; t < 3; t++)
				printf("%sok %d - %s %s\n", absent ? "" : "not ", ++tests,
				       rows[i].name, absent ? skip : "begins");
			bad += !absent;
			continue;
		}
		for (int look = 0; look < LOOKS && (allocs || maps || more); look++) {
			if (!count(&state, &counts, &all, floor + COUNT_CALLS / 2)) {
				bad++;
				break;
			}
			if (allocs)
				allocs = all.own_allocs;
			if (maps)
				maps = all.own_maps;
			seen[look] = whole(&counts) - floor;
			/* What is done for each call is done as often as there are calls. */
			if (seen[look] <= COUNT_CALLS / 2)
				more = 0;
			else if (more)
				more = middle(seen, look + 1);
		}
		state_close(&state);
		bad += result(++tests, !allocs, &rows[i], "qda allocates nothing", allocs,
			      3 * COUNT_CALLS);
		bad += result(++tests, !maps, &rows[i], "qda maps and unmaps nothing", maps,
			      3 * COUNT_CALLS);
		bad += result(++tests, !more, &rows[i],
			      "nothing in the whole guest beyond the floor", more, COUNT_CALLS);
	}
	return bad || wrongs ? 1 : 0;
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";
	int numbers[2] = { 0 }, problems, ret = 2;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int i = 2; i < argc && i < 4; i++)
		numbers[i - 2] = atoi(argv[i]);
	if (argc > 4)
		service = argv[4];
	if (argc > 5)
		only = argv[5];
	if (simdsp_begin("bench") || simdsp_cmd(NULL, "profile fastrpc %s", fastrpc_driver.link) ||
	    simdsp_cmd(NULL, "profile qda %s", qda_driver.link)) {
		fprintf(stderr, "qda-bench: the simulator's control port does not answer\n");
		return 1;
	}
	if (!strcmp(mode, "time") && argc > 4)
		ret = time_all(numbers[0], numbers[1]);
	else if (!strcmp(mode, "instructions") && argc > 4)
		ret = count_instructions(numbers[0], numbers[1]);
	else if (!strcmp(mode, "profile") && argc > 4)
		ret = profile(numbers[0]);
	else if (!strcmp(mode, "memory") && argc > 2)
		ret = measure_memory(numbers[0]);
	else if (!strcmp(mode, "smoke"))
		ret = smoke();
	else if (!strcmp(mode, "hot-path"))
		ret = hot_path();
	else
		fprintf(stderr, "qda-bench: see bench.c for its arguments\n");
	problems = simdsp_end();
	if (problems) {
		printf("wrong row=all driver=all problems=%d\n", problems);
		ret = 1;
	}
	return ret;
}
