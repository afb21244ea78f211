// SPDX-License-Identifier: GPL-2.0
/*
 * The rows of the benchmark.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "rows.h"
#include "simdsp.h"

#define PARKED_SESSIONS	4
#define MIB		(1 << 20)
#define PAGE		4096

/* Smaller buffers are not to be told from what the rest of the guest does with memory. */
#define SEEN_SIZE	MIB
#define SMALL_ARG	16

/* How long the DSP may take to see all parked calls, in milliseconds. */
#define PARK_MS		20000

static void fill(uint8_t *ptr, size_t length, unsigned int seed)
{
	for (size_t i = 0; i < length; i++)
		ptr[i] = (i * 2654435761u + seed * 40503u) >> 13;
}

static uint64_t checksum(const uint8_t *ptr, size_t length)
{
	uint64_t hash = 0xcbf29ce484222325ULL;

	for (size_t i = 0; i < length; i++)
		hash = (hash ^ ptr[i]) * 0x100000001b3ULL;
	return hash;
}

static int open_sessions(struct state *state, int count)
{
	for (int i = 0; i < count; i++) {
		int ret = open_session(state->driver, &state->sessions[i]);

		if (ret)
			return ret;
		state->session_count++;
	}
	return 0;
}

/* The call itself: NOOP with @ins and @outs arguments, which the DSP does not touch. */
static void set_call(struct state *state, int ins, int outs)
{
	state->call = new_call(&state->sessions[0], SCALARS(METHOD_NOOP, ins, outs));
}

/*
 * A driver may be short of slots, where it frees them later than it answers: then it has to be asked
 * again, in the call's time.
 */
static int patient_call(struct call *call)
{
	int ret = make_call(call);

	while (ret == -ENOSPC) {
		sched_yield();
		ret = make_call(call);
	}
	return ret;
}

static int call_once(struct state *state)
{
	/* The arguments stand in the call, which has moved since it was put together. */
	state->call.header.args = (uintptr_t)state->call.args;
	state->calls++;
	return patient_call(&state->call);
}

static int prepare_noop(struct state *state)
{
	int ret = open_sessions(state, 1);

	set_call(state, 0, 0);
	return ret;
}

static int prepare_poll(struct state *state)
{
	uint32_t enable[2] = { 1, 10000 };
	struct call call;
	int ret;

	if (!state->driver->poll)
		return -EOPNOTSUPP;
	ret = open_sessions(state, 1);
	if (!ret)
		ret = state->driver->poll(&state->sessions[0]);
	if (ret)
		return ret;
	set_call(state, 0, 0);
	/* The DSP has a switch of its own: adsp_current_process, method 9. */
	call = new_call(&state->sessions[0], SCALARS(9, 1, 0));
	call.header.handle = 4;
	call.header.args = (uintptr_t)call.args;
	call.args[0] = inline_arg(enable, sizeof(enable));
	return make_call(&call);
}

/* Inline arguments of @size each: @ins, then as many outs, or none. */
static int prepare_args(struct state *state, int ins, int outs, size_t size)
{
	int ret = open_sessions(state, 1);

	if (ret)
		return ret;
	state->memory = malloc((ins + outs) * size);
	if (!state->memory)
		return -ENOMEM;
	memset(state->memory, 0, (ins + outs) * size);
	set_call(state, ins, outs);
	for (int i = 0; i < ins + outs; i++)
		state->call.args[i] = inline_arg(state->memory + i * size, size);
	return 0;
}

static int prepare_inline(struct state *state)
{
	return prepare_args(state, 1, 1, state->row->size);
}

static int prepare_small(struct state *state)
{
	int count = state->row->count;

	return prepare_args(state, count - count / 2, count / 2, SMALL_ARG);
}

/* Has the DSP compute on the very arguments that are measured. */
static int check_args(struct state *state)
{
	int ins = state->call.header.scalars >> 16 & 0xff;
	int outs = state->call.header.scalars >> 8 & 0xff;
	struct call call = state->call;
	uint64_t sum = 0, expected = 0xcbf29ce484222325ULL;
	int ret;

	for (int i = 0; i < ins; i++)
		fill((uint8_t *)call.args[i].ptr, call.args[i].length, i + 1);
	call.header.args = (uintptr_t)call.args;
	if (ins == outs) {
		call.header.scalars = SCALARS(METHOD_ECHO, ins, outs);
		ret = make_call(&call);
		for (int i = 0; !ret && i < ins; i++) {
			if (memcmp((void *)call.args[i].ptr, (void *)call.args[ins + i].ptr,
				   call.args[i].length))
				ret = -EBADMSG;
		}
		return ret;
	}
	call.header.scalars = SCALARS(METHOD_CHECKSUM, ins, 1);
	call.args[ins] = inline_arg(&sum, sizeof(sum));
	ret = make_call(&call);
	for (int i = 0; i < ins; i++) {
		const uint8_t *ptr = (uint8_t *)call.args[i].ptr;

		for (size_t j = 0; j < call.args[i].length; j++)
			expected = (expected ^ ptr[j]) * 0x100000001b3ULL;
	}
	return ret ? ret : sum == expected ? 0 : -EBADMSG;
}

static int prepare_registered(struct state *state)
{
	int ret;

	if (!state->driver->alloc)
		return -EOPNOTSUPP;
	ret = open_sessions(state, 1);
	if (!ret)
		ret = state->driver->alloc(&state->sessions[0], state->row->size, &state->buffer);
	if (ret)
		return ret;
	set_call(state, 1, 0);
	state->call.args[0] = buffer_arg(&state->buffer, state->row->size);
	return 0;
}

static int prepare_mapped(struct state *state)
{
	int ret = prepare_registered(state);

	return ret ? ret : state->driver->map(&state->sessions[0], &state->buffer);
}

static void finish_buffer(struct state *state)
{
	if (!state->buffer.size)
		return;
	if (state->buffer.address)
		state->driver->unmap(&state->sessions[0], &state->buffer);
	state->driver->free(&state->sessions[0], &state->buffer);
}

/* Threads */

struct worker {
	struct state *state;
	int index;
};

static void *work(void *arg)
{
	struct worker worker = *(struct worker *)arg;
	struct state *state = worker.state;
	struct call call = state->call;
	const struct session *session = &state->sessions[worker.index % state->session_count];

	free(arg);
	call.fd = session->fd;
	call.header.handle = session->module;
	call.header.args = (uintptr_t)call.args;
	for (;;) {
		pthread_barrier_wait(&state->start);
		if (state->quit)
			return NULL;
		for (long i = 0; i < state->share; i++) {
			uint64_t before = measure_time();
			int ret = patient_call(&call);

			measure_add(measure_time() - before);
			/* Those that are answered together have one of each thread. */
			if (!worker.index)
				measure_mark();
			if (ret) {
				state->failed = ret;
				break;
			}
		}
		pthread_barrier_wait(&state->end);
	}
}

static int start_threads(struct state *state, int count, void *(*body)(void *))
{
	pthread_attr_t attr;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 65536);
	for (int i = 0; i < count; i++) {
		struct worker *worker = malloc(sizeof(*worker));
		int ret;

		if (!worker)
			return -ENOMEM;
		*worker = (struct worker) { state, i };
		ret = pthread_create(&state->threads[i], &attr, body, worker);
		if (ret)
			return -ret;
		state->thread_count++;
	}
	pthread_attr_destroy(&attr);
	return 0;
}

static int prepare_threads(struct state *state)
{
	int count = state->row->count;
	int ret = open_sessions(state, count < state->row->sessions ? count : state->row->sessions);

	if (ret)
		return ret;
	set_call(state, 0, 0);
	pthread_barrier_init(&state->start, NULL, count + 1);
	pthread_barrier_init(&state->end, NULL, count + 1);
	return start_threads(state, count, work);
}

static int run_threads(struct state *state, long n)
{
	state->share = n / state->row->count + 1;
	state->calls += state->share * state->row->count;
	pthread_barrier_wait(&state->start);
	pthread_barrier_wait(&state->end);
	return state->failed;
}

static void finish_threads(struct state *state)
{
	if (state->thread_count != state->row->count)
		return;
	state->quit = true;
	pthread_barrier_wait(&state->start);
	for (int i = 0; i < state->thread_count; i++)
		pthread_join(state->threads[i], NULL);
}

/* Submissions */

static int prepare_in_flight(struct state *state)
{
	int ret;

	if (!state->driver->queue)
		return -EOPNOTSUPP;
	ret = open_sessions(state, 1);
	if (!ret)
		ret = state->driver->queue(&state->sessions[0], state->row->count);
	if (ret)
		return ret;
	set_call(state, 0, 0);
	return 0;
}

/* Submits as many as have ended, again and again. */
static int run_in_flight(struct state *state, long n)
{
	struct session *session = &state->sessions[0];
	uint32_t scalars = state->call.header.scalars;
	uint32_t idle[MAX_IN_FLIGHT], ended[MAX_IN_FLIGHT];
	uint64_t began[MAX_IN_FLIGHT];
	int count = state->row->count, free = count;
	long left = n, flying = 0, ended_since = 0;

	state->calls += n;
	for (int i = 0; i < count; i++)
		idle[i] = i;
	while (left || flying) {
		int more = free < left ? free : left;
		uint64_t now = measure_time();
		int ret;

		for (int i = 0; i < more; i++)
			began[idle[free - more + i]] = now;
		ret = more ? state->driver->submit(session, scalars, idle + free - more, more) : 0;
		if (ret != more)
			return ret < 0 ? ret : -EAGAIN;
		free -= more;
		left -= more;
		flying += more;

		ret = state->driver->reap(session, ended, count);
		if (ret < 0)
			return ret;
		now = measure_time();
		for (int i = 0; i < ret; i++) {
			measure_add(now - began[ended[i]]);
			idle[free++] = ended[i];
		}
		flying -= ret;
		for (ended_since += ret; ended_since >= count; ended_since -= count)
			measure_mark();
	}
	return 0;
}

/* Parked calls */

static void *park(void *arg)
{
	struct worker worker = *(struct worker *)arg;
	struct state *state = worker.state;
	struct call call = new_call(&state->sessions[1 + worker.index % PARKED_SESSIONS],
				    SCALARS(METHOD_HOLD, 0, 0));
	int ret;

	free(arg);
	ret = make_call(&call);
	if (ret)
		state->failed = ret;
	return NULL;
}

static int prepare_parked(struct state *state)
{
	int ret = open_sessions(state, 1 + PARKED_SESSIONS);

	if (ret)
		return ret;
	set_call(state, 0, 0);
	ret = start_threads(state, state->row->count, park);
	if (ret)
		return ret;
	return simdsp_wait_stat(state->driver->link, "held", state->row->count, PARK_MS) ? 0 :
		-ETIMEDOUT;
}

static void finish_parked(struct state *state)
{
	simdsp_cmd(NULL, "release-held %s 0", state->driver->link);
	for (int i = 0; i < state->thread_count; i++)
		pthread_join(state->threads[i], NULL);
	if (state->failed)
		printf("wrong row=%s driver=%s parked=%d\n", state->row->name, state->driver->name,
		       state->failed);
}

/* Sessions and buffers */

static int prepare_open(struct state *state)
{
	(void)state;
	return 0;
}

static int run_open(struct state *state, long n)
{
	while (n--) {
		uint64_t before = measure_time();
		struct session session;
		struct call call;
		int ret = open_session(state->driver, &session);

		if (ret)
			return ret;
		call = new_call(&session, SCALARS(METHOD_NOOP, 0, 0));
		ret = make_call(&call);
		measure_add(measure_time() - before);
		state->calls++;
		measure_pause();
		close_session(&session);
		measure_resume();
		if (ret)
			return ret;
	}
	return 0;
}

static int prepare_session(struct state *state)
{
	if (!state->driver->alloc)
		return -EOPNOTSUPP;
	return open_sessions(state, 1);
}

static int run_alloc(struct state *state, long n)
{
	while (n--) {
		struct buffer buffer;
		uint64_t before = measure_time();
		int ret = state->driver->alloc(&state->sessions[0], state->row->size, &buffer);

		measure_add(measure_time() - before);
		if (ret)
			return ret;
		measure_pause();
		state->driver->free(&state->sessions[0], &buffer);
		measure_resume();
	}
	return 0;
}

static int run_free(struct state *state, long n)
{
	while (n--) {
		struct buffer buffer;
		uint64_t before;
		int ret;

		measure_pause();
		ret = state->driver->alloc(&state->sessions[0], state->row->size, &buffer);
		measure_resume();
		if (ret)
			return ret;
		before = measure_time();
		state->driver->free(&state->sessions[0], &buffer);
		measure_add(measure_time() - before);
	}
	return 0;
}

static int run_map(struct state *state, long n)
{
	state->driver->unmap(&state->sessions[0], &state->buffer);
	while (n--) {
		uint64_t before = measure_time();
		int ret = state->driver->map(&state->sessions[0], &state->buffer);

		measure_add(measure_time() - before);
		measure_pause();
		if (!ret)
			ret = state->driver->unmap(&state->sessions[0], &state->buffer);
		measure_resume();
		if (ret)
			return ret;
	}
	return state->driver->map(&state->sessions[0], &state->buffer);
}

static int run_unmap(struct state *state, long n)
{
	while (n--) {
		uint64_t before = measure_time();
		int ret = state->driver->unmap(&state->sessions[0], &state->buffer);

		measure_add(measure_time() - before);
		measure_pause();
		if (!ret)
			ret = state->driver->map(&state->sessions[0], &state->buffer);
		measure_resume();
		if (ret)
			return ret;
	}
	return 0;
}

/*
 * The life of a buffer, which is one operation, the same with both drivers: it is allocated,
 * zeroed, and mapped into the program, which writes to each of its pages; it is unmapped and freed.
 * With @use the DSP gets it for one call in between.
 *
 * fastrpc.ko has it in the IOMMU's tables from the beginning, and a second time during the call.
 * QDA puts it there for the call. Memory that is given back later is no memory that is given back: see
 * check_life().
 */
static int live(struct state *state, bool use)
{
	struct session *session = &state->sessions[0];
	struct buffer buffer;
	int ret = state->driver->alloc(session, state->row->size, &buffer);

	if (ret)
		return ret;
	for (size_t at = 0; buffer.map && at < buffer.size; at += PAGE)
		*(volatile uint8_t *)(buffer.map + at) = 1;
	if (use) {
		state->call.args[0] = buffer_arg(&buffer, buffer.size);
		ret = call_once(state);
	}
	state->driver->free(session, &buffer);
	return ret;
}

static int live_once(struct state *state)
{
	return live(state, false);
}

static int use_once(struct state *state)
{
	return live(state, true);
}

static int prepare_life(struct state *state)
{
	int ret = open_sessions(state, 1);

	set_call(state, 1, 0);
	return ret;
}

/* Whether the whole buffer is zero, as a program sees it. */
static bool is_zero(const struct buffer *buffer)
{
	const uint64_t *words = (const uint64_t *)buffer->map;

	for (size_t i = 0; i < buffer->size / sizeof(*words); i++) {
		if (words[i])
			return false;
	}
	return true;
}

/*
 * The memory has to be there, to be zero, and to be free again when the last operation returns.
 * More than once, so that a buffer would have what the one before left; the rest of the guest may
 * take or give back memory in one of these times.
 */
static int check_life(struct state *state)
{
	struct session *session = &state->sessions[0];
	long size = state->row->size, before, during, after;
	bool seen = size >= SEEN_SIZE, right = false;

	for (int i = 0; i < 3; i++) {
		struct buffer buffer;
		int ret;

		before = measure_free_memory();
		ret = state->driver->alloc(session, size, &buffer);
		if (ret)
			return ret;
		if (buffer.map && !is_zero(&buffer))
			ret = -EBADMSG;
		if (buffer.map)
			memset(buffer.map, 0xff, size);
		during = measure_free_memory();
		if (!ret && state->row->once == use_once) {
			state->call.args[0] = buffer_arg(&buffer, size);
			ret = call_once(state);
		}
		state->driver->free(session, &buffer);
		after = measure_free_memory();
		if (ret)
			return ret;
		if (before - during >= size * 3 / 4 && before - after <= size / 4)
			right = true;
		else if (seen)
			printf("# %s: %ld bytes are taken, %ld not given back\n",
			       state->driver->name, before - during, before - after);
	}
	return right || !seen ? 0 : -ENOMEM;
}

/* The DSP gets a buffer, and gives it back: with a call of the driver's own each. */
static int map_once(struct state *state)
{
	int ret = state->driver->map(&state->sessions[0], &state->buffer);

	if (!ret)
		ret = state->driver->unmap(&state->sessions[0], &state->buffer);
	state->buffer.address = 0;
	return ret;
}

static int prepare_import(struct state *state)
{
	int ret;

	if (!state->driver->import)
		return -EOPNOTSUPP;
	ret = open_sessions(state, 1);
	if (!ret)
		ret = heap_buffer(state->row->size, &state->buffer);
	set_call(state, 1, 0);
	return ret;
}

/* Takes the buffer, makes one call with it, lets go of it. */
static int import_once(struct state *state)
{
	int ret = state->driver->import(&state->sessions[0], &state->buffer);

	if (ret)
		return ret;
	state->call.args[0] = buffer_arg(&state->buffer, state->buffer.size);
	ret = call_once(state);
	state->driver->drop(&state->sessions[0], &state->buffer);
	return ret;
}

static int check_import(struct state *state)
{
	uint64_t sum = 0;
	int ret;

	fill(state->buffer.map, state->buffer.size, 7);
	state->call.header.scalars = SCALARS(METHOD_CHECKSUM, 1, 1);
	state->call.args[1] = inline_arg(&sum, sizeof(sum));
	ret = import_once(state);
	set_call(state, 1, 0);
	if (ret)
		return ret;
	return sum == checksum(state->buffer.map, state->buffer.size) ? 0 : -EBADMSG;
}

static void finish_import(struct state *state)
{
	if (!state->buffer.size)
		return;
	munmap(state->buffer.map, state->buffer.size);
	close(state->buffer.fd);
}

/* DSPs that do not see the caches of the CPUs */

/* A buffer that stays, as the first argument: in, or out. */
static int set_argument(struct state *state, bool in)
{
	set_call(state, in, !in);
	state->call.args[0] = buffer_arg(&state->buffer, state->row->size);
	return 0;
}

static int prepare_cached(struct state *state, bool in)
{
	int ret = open_sessions(state, 1);

	if (!ret)
		ret = state->driver->alloc_cached(&state->sessions[0], state->row->size,
						  &state->buffer);
	return ret ? ret : set_argument(state, in);
}

static int prepare_cached_in(struct state *state)
{
	return prepare_cached(state, true);
}

static int prepare_cached_out(struct state *state)
{
	return prepare_cached(state, false);
}

static int prepare_imported(struct state *state, bool in)
{
	int ret = prepare_import(state);

	if (!ret)
		ret = state->driver->import(&state->sessions[0], &state->buffer);
	return ret ? ret : set_argument(state, in);
}

static int prepare_imported_in(struct state *state)
{
	return prepare_imported(state, true);
}

static int prepare_imported_out(struct state *state)
{
	return prepare_imported(state, false);
}

static void finish_imported(struct state *state)
{
	if (state->buffer.number)
		state->driver->drop(&state->sessions[0], &state->buffer);
	finish_import(state);
}

/* Has the DSP write to the buffer. */
static int check_out(struct state *state)
{
	struct call call = new_call(&state->sessions[0], SCALARS(METHOD_ECHO, 1, 1));
	int ret;

	state->memory = malloc(state->row->size);
	if (!state->memory)
		return -ENOMEM;
	fill(state->memory, state->row->size, 3);
	call.header.args = (uintptr_t)call.args;
	call.args[0] = inline_arg(state->memory, state->row->size);
	call.args[1] = state->call.args[0];
	ret = make_call(&call);
	if (ret)
		return ret;
	return memcmp(state->memory, state->buffer.map, state->row->size) ? -EBADMSG : 0;
}

/* The list */

static struct row rows[80];
static int row_count;

static struct row *add(const char *name, size_t number)
{
	struct row *row = &rows[row_count++];

	if (number)
		snprintf(row->name, sizeof(row->name), "%s-%zu", name, number);
	else
		snprintf(row->name, sizeof(row->name), "%s", name);
	row->size = number;
	row->count = number;
	return row;
}

static void add_call(const char *name, size_t number, bool quick,
		     int (*prepare)(struct state *), int (*check)(struct state *),
		     void (*finish)(struct state *))
{
	struct row *row = add(name, number);

	row->quick = quick;
	row->instructions = true;
	row->steady = true;
	row->prepare = prepare;
	row->check = check;
	row->once = call_once;
	row->finish = finish;
}

/* A part of what becomes of a buffer: the rest of it is not in the time. */
static void add_part(const char *name, size_t size, bool quick, int (*prepare)(struct state *),
		     int (*run)(struct state *, long), void (*finish)(struct state *))
{
	struct row *row = add(name, size);

	row->quick = quick;
	row->slow = true;
	row->prepare = prepare;
	row->run = run;
	row->finish = finish;
}

/* All that becomes of a buffer. */
static void add_whole(const char *name, size_t size, bool quick, int (*prepare)(struct state *),
		      int (*check)(struct state *), int (*once)(struct state *),
		      void (*finish)(struct state *))
{
	struct row *row = add(name, size);

	row->quick = quick;
	row->slow = size >= MIB;
	row->instructions = true;
	row->prepare = prepare;
	row->check = check;
	row->once = once;
	row->finish = finish;
}

static void add_incoherent(const char *name, bool quick, int (*prepare)(struct state *),
			   int (*check)(struct state *), void (*finish)(struct state *))
{
	struct row *row = add(name, 0);

	row->size = MIB;
	row->incoherent = true;
	row->quick = quick;
	row->instructions = true;
	row->prepare = prepare;
	row->check = check;
	row->once = call_once;
	row->finish = finish;
}

int all_rows(const struct row **list)
{
	static const size_t inline_sizes[] = { 4, 64, 1024, 16384, 65536 };
	static const size_t buffer_sizes[] = { 4096, 65536, 1 << 20, 16 << 20 };
	static const size_t life_sizes[] = { 4096, 1 << 20, 64 << 20 };
	static const int threads[] = { 1, 2, 4, 16, 64 };
	static const int parked[] = { 0, 50, 125, 250 };
	struct row *row;

	*list = rows;
	if (row_count)
		return row_count;

	add_call("noop", 0, true, prepare_noop, NULL, NULL);
	rows[0].floor = true;
	for (int i = 0; i < 5; i++)
		add_call("inline", inline_sizes[i], i % 2, prepare_inline, check_args, NULL);
	for (int i = 0; i < 4; i++)
		add_call("registered", buffer_sizes[i], !i, prepare_registered, check_args,
			 finish_buffer);
	for (int i = 0; i < 4; i++)
		add_call("mapped", buffer_sizes[i], false, prepare_mapped, check_args,
			 finish_buffer);
	for (int i = 1; i <= 64; i *= 4)
		add_call("args", i, i == 16, prepare_small, check_args, NULL);
	for (int many = 0; many < 2; many++) {
		for (int i = 0; i < 5; i++) {
			row = add(many ? "threads-many" : "threads", threads[i]);
			row->sessions = many ? MAX_SESSIONS : 1;
			row->floor = true;
			row->quick = threads[i] == 4;
			row->instructions = true;
			row->together = true;
			row->prepare = prepare_threads;
			row->run = run_threads;
			row->finish = finish_threads;
		}
	}
	row = add("in-flight", 32);
	row->quick = true;
	row->instructions = true;
	row->together = true;
	row->steady = true;
	row->prepare = prepare_in_flight;
	row->run = run_in_flight;
	for (int i = 0; i < 4; i++) {
		row = add("parked", parked[i]);
		if (!parked[i])
			strcpy(row->name, "parked-0");
		row->quick = parked[i] == 50;
		row->instructions = true;
		row->prepare = prepare_parked;
		row->once = call_once;
		row->finish = finish_parked;
	}
	/* How many instructions a poll takes is the host's doing. */
	add_call("poll", 0, true, prepare_poll, NULL, NULL);
	rows[row_count - 1].instructions = false;
	row = add("open", 0);
	row->quick = row->slow = true;
	row->prepare = prepare_open;
	row->run = run_open;
	for (int i = 0; i < 3; i++) {
		size_t size = life_sizes[i];

		add_whole("alloc-free", size, size == MIB, prepare_life, check_life, live_once,
			  NULL);
		rows[row_count - 1].floor = true;
		add_whole("alloc-use-free", size, size == MIB, prepare_life, check_life, use_once,
			  NULL);
		add_whole("map-unmap", size, size == PAGE, prepare_registered,
			  size <= MIB ? check_args : NULL, map_once, finish_buffer);
		add_part("alloc", size, false, prepare_session, run_alloc, NULL);
		add_part("free", size, false, prepare_session, run_free, NULL);
		add_part("map", size, false, prepare_mapped, run_map, finish_buffer);
		add_part("unmap", size, false, prepare_mapped, run_unmap, finish_buffer);
	}
	add_whole("import", MIB, true, prepare_import, check_import, import_once, finish_import);
	rows[row_count - 1].slow = false;
	add_incoherent("own-in", false, prepare_registered, check_args, finish_buffer);
	add_incoherent("cached-in", true, prepare_cached_in, check_args, finish_buffer);
	add_incoherent("cached-out", false, prepare_cached_out, check_out, finish_buffer);
	add_incoherent("imported-in", false, prepare_imported_in, check_args, finish_imported);
	add_incoherent("imported-out", true, prepare_imported_out, check_out, finish_imported);
	return row_count;
}

int state_open(struct state *state, const struct row *row, const struct driver *driver)
{
	int ret;

	memset(state, 0, sizeof(*state));
	state->driver = driver;
	state->row = row;
	ret = row->prepare(state);
	if (!ret && row->check)
		ret = row->check(state);
	return ret;
}

int state_run(struct state *state, long n)
{
	if (state->row->run)
		return state->row->run(state, n);
	while (n--) {
		uint64_t before = measure_time();
		int ret = state->row->once(state);

		measure_add(measure_time() - before);
		if (ret)
			return ret;
	}
	return 0;
}

int state_once(struct state *state)
{
	return state->row->once(state);
}

void state_close(struct state *state)
{
	if (state->row->finish)
		state->row->finish(state);
	for (int i = 0; i < state->session_count; i++)
		close_session(&state->sessions[i]);
	free(state->memory);
}
