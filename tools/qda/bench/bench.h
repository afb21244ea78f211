/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The benchmark: what its parts share.
 *
 * A driver is one of three: the kernel's FastRPC driver, QDA, and the floor, which only sends and
 * waits, or allocates pages and frees them. Each makes calls by one ioctl whose argument is put
 * together beforehand, so that the loop that is timed is the same for all.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../guest-modules/qda_floor.h"

/** define MAX_ARGS - most arguments of a call. */
#define MAX_ARGS	64

/** define MAX_IN_FLIGHT - most submissions at a time. */
#define MAX_IN_FLIGHT	64

/* Methods of the simulated DSP's module "simdsp". */
#define METHOD_ECHO	2
#define METHOD_CHECKSUM	3
#define METHOD_HOLD	9
#define METHOD_NOOP	16

#define SCALARS(method, ins, outs)	((method) << 24 | (ins) << 16 | (outs) << 8)

/** struct buffer - memory that the DSP accesses in place */
struct buffer {
	size_t size;
	uint8_t *map;
	/** @fd: dma-buf, or -1. */
	int fd;
	/** @number: how calls name it: descriptor or GEM handle. */
	uint32_t number;
	/** @address: where the DSP has it, while it is mapped. */
	uint64_t address;
};

/** struct session - an open DSP process with the module "simdsp" */
struct session {
	const struct driver *driver;
	int fd;
	uint32_t module;
};

/** struct arg - an argument as both drivers take it */
struct arg {
	uint64_t ptr;
	uint64_t length;
	int32_t number;
	uint32_t attr;
};

/** struct call - a call that only needs to be made */
struct call {
	int fd;
	unsigned long ioctl;
	struct {
		uint32_t handle;
		uint32_t scalars;
		uint64_t args;
	} header;
	struct arg args[MAX_ARGS];
};

/** struct driver - how one driver does what the rows need; NULL: it can't */
struct driver {
	const char *name;
	/** @link: what the simulator calls its DSP. */
	const char *link;
	/** @ioctl: the one that makes a call. */
	unsigned long ioctl;
	int (*open)(struct session *session);
	/**
	 * @alloc: a buffer of the kind that the driver chooses, mapped into the program; of the
	 * floor's pages there is no @map.
	 */
	int (*alloc)(struct session *session, size_t size, struct buffer *buffer);
	/** @alloc_cached: the same, of memory that the CPU caches. */
	int (*alloc_cached)(struct session *session, size_t size, struct buffer *buffer);
	void (*free)(struct session *session, struct buffer *buffer);
	int (*map)(struct session *session, struct buffer *buffer);
	int (*unmap)(struct session *session, struct buffer *buffer);
	/** @import: take a dma-buf; @drop lets go of it. */
	int (*import)(struct session *session, struct buffer *buffer);
	void (*drop)(struct session *session, struct buffer *buffer);
	int (*poll)(struct session *session);
	/** @queue: have room for @depth submissions, made by as many threads of the DSP. */
	int (*queue)(struct session *session, int depth);
	/** @submit: a call for each of @count numbers. Return: how many, or -errno. */
	int (*submit)(struct session *session, uint32_t scalars, const uint32_t *numbers,
		      int count);
	/** @reap: numbers of calls that have ended, one at least. Return: how many, or -errno. */
	int (*reap)(struct session *session, uint32_t *numbers, int max);
	/** @open_module: NULL for the floor, which has no arguments either. */
	int (*open_module)(struct session *session);
};

extern const struct driver fastrpc_driver;
extern const struct driver qda_driver;
extern const struct driver floor_driver;

/** call_ioctl() - ioctl() with the kernel's own value */
int call_ioctl(int fd, unsigned long cmd, void *arg);

/** make_call() - make a call, once. Return: the kernel's value. */
int make_call(struct call *call);

/** new_call() - put a call without arguments together */
struct call new_call(const struct session *session, uint32_t scalars);

/** inline_arg() - an argument that is copied */
struct arg inline_arg(const void *ptr, size_t length);

/** buffer_arg() - an argument in a buffer */
struct arg buffer_arg(const struct buffer *buffer, size_t length);

/** heap_buffer() - a dma-buf of the system heap, mapped into the program. Return: 0 or -errno. */
int heap_buffer(size_t size, struct buffer *buffer);

/** open_session() - open a DSP process and the module. Return: 0 or -errno. */
int open_session(const struct driver *driver, struct session *session);

/** close_session() - end it */
void close_session(struct session *session);

/** struct sample - what a number of calls came to */
struct sample {
	long calls;
	/** @p50, @p99: microseconds a call. */
	double p50, p99;
	/** @cpu: microseconds that all CPUs were busy, a call. */
	double cpu;
	/** @rate: calls a second. */
	double rate;
};

/** measure_begin() - start to measure up to @calls calls in this thread */
void measure_begin(long calls);

/** measure_time() - nanoseconds of a clock that only goes forward */
uint64_t measure_time(void);

/** measure_add() - note the time that one call took; nothing before measure_begin() */
void measure_add(uint64_t nanos);

/** measure_pause() - what follows is not to count, until measure_resume() */
void measure_pause(void);
void measure_resume(void);

/** measure_end() - what there was since measure_begin() */
struct sample measure_end(void);

/** measure_count() - instructions and ticks of all since some time. Return: 0 or -errno. */
int measure_count(struct qda_floor_count *count);

/**
 * struct marks - instructions from each measure_mark() to the next
 * @count, @quiet: how many there are, and how many of them without a tick of the kernel's clock
 * @each: the mean of that half which is in the middle, of those without a tick, or of all where
 *	there are next to none of these
 */
struct marks {
	long count, quiet;
	double each;
};

/** measure_marks_begin() - expect up to @max marks, from this thread or another */
void measure_marks_begin(long max);

/** measure_mark() - something is done once more; nothing before measure_marks_begin() */
void measure_mark(void);

/** measure_marks_end() - what there was since the first mark */
struct marks measure_marks_end(void);

/** measure_switches() - switches from one thread to another since the guest started, or 0 */
uint64_t measure_switches(void);

/** measure_free_memory() - bytes that are free, in the zones and with the CPUs */
long measure_free_memory(void);

/** coherent() - whether the DSPs of the board see the caches of the CPUs */
bool coherent(void);

/** struct counts - what tracing counted */
struct counts {
	long syscalls, allocs, maps, unmaps, iommu_maps, iommu_unmaps;
	/** @own_allocs, @own_maps: those with the driver under test on the stack; both ways. */
	long own_allocs, own_maps;
	/** @synced: bytes of which caches were cleaned or invalidated; none where coherent(). */
	long synced;
};

/** trace_begin() - count from now on; @module: whose functions are "own". Return: 0 or -errno. */
int trace_begin(const char *module);

/** trace_read() - what was counted so far, by the reading of it too */
struct counts trace_read(void);

/**
 * trace_print() - who did what more often than so, as lines of a TAP comment; @own: and what the
 * driver under test did however often
 */
void trace_print(long than, bool own);

/** trace_end() - count no more. Return: whether all that happened was counted */
bool trace_end(void);

/** profile_begin() - sample what the CPU does, from now on. Return: 0 or -errno. */
int profile_begin(void);

/** profile_end() - sample no more, and print in which functions it was. Return: 0 or -errno. */
int profile_end(const char *row, const char *driver);

#endif /* BENCH_H */
