/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the programs that prove isolation share: sessions on any DSP, memory of every origin, and
 * what the simulator knows of both.
 */
#ifndef SESSION_H
#define SESSION_H

#include <stdbool.h>
#include <stddef.h>

#include "qda.h"
#include "simdsp.h"

/** enum origin - where memory that a call refers to comes from */
enum origin {
	/** @ORIGIN_WRITE_COMBINED: allocated by the driver, not cached by the CPUs. */
	ORIGIN_WRITE_COMBINED,
	/** @ORIGIN_CACHED: allocated by the driver, cached by the CPUs. */
	ORIGIN_CACHED,
	/** @ORIGIN_HEAP: imported from the system's dma-buf heap. */
	ORIGIN_HEAP,
	/** @ORIGIN_UDMABUF: imported from a memfd, by udmabuf. */
	ORIGIN_UDMABUF,
	/** @ORIGINS: how many there are. */
	ORIGINS,
};

/**
 * session_open() - open a DSP and make a process there, unsigned if the DSP has such
 * @dsp: its name
 * @image: bytes of a program image to send along, which decides how much memory the process begins
 *         with; 0: none
 *
 * Return: descriptor or a negative errno.
 */
int session_open(const char *dsp, size_t image);

/**
 * session_new() - a mapped buffer of the driver's
 * @flags: QDA_BUFFER_*: of which kind; 0: as is best for the DSP
 *
 * Return: 0 or -errno.
 */
int session_new(int fd, __u32 flags, size_t size, struct qda_buf *buf);

/** session_dmabuf() - make a dma-buf of @size bytes. Return: descriptor or a negative errno. */
int session_dmabuf(enum origin origin, size_t size);

/**
 * session_import() - have a file use a dma-buf, mapped by its exporter
 * @buf: filled in; to be freed by qda_buf_free()
 *
 * Return: 0 or -errno.
 */
int session_import(int fd, int dmabuf, size_t size, struct qda_buf *buf);

/** session_buf() - a mapped buffer of any origin. Return: 0 or -errno. */
int session_buf(int fd, enum origin origin, size_t size, struct qda_buf *buf);

/** session_map() - have the DSP process know a buffer by its handle. Return: as DRM_QDA_MAP. */
int session_map(int fd, const struct qda_buf *buf);

/** session_grow() - grow the heap of the DSP process by @size bytes. Return: as DRM_QDA_MAP. */
int session_grow(int fd, size_t size);

/** define MAX_ARGS - most arguments of a call that dsp_held_call() tells of */
#define MAX_ARGS	8

/**
 * struct held_call - a call that the DSP holds
 * @call: its own memory
 * @args: its arguments
 */
struct held_call {
	struct simdsp_range call;
	struct simdsp_range args[MAX_ARGS];
};

/** dsp_held_call() - look at the only call that the DSP holds. Return: 0 or -errno. */
int dsp_held_call(const char *dsp, struct held_call *held);

/** define MAX_MAPS - most mappings of a DSP process that dsp_process() tells of */
#define MAX_MAPS	4

/**
 * struct dsp_process - what the kernel gave to a DSP process to keep
 * @memory: what it began with; @len 0: nothing
 * @maps: buffers that it knows by a number, and then pieces of heap
 * @maps_count: how many
 */
struct dsp_process {
	struct simdsp_range memory;
	struct simdsp_range maps[MAX_MAPS];
	int maps_count;
};

/** dsp_process() - look at a DSP process. Return: 0 or -errno. */
int dsp_process(const char *dsp, int client, struct dsp_process *process);

/** dsp_streams() - stream ids of a bank. Return: how many, or -errno. */
int dsp_streams(const char *dsp, unsigned int bank, __u32 *sids, int max);

/** dsp_one_context() - whether the device tree gives two banks one address space. */
bool dsp_one_context(const char *dsp, unsigned int one, unsigned int other);

/**
 * struct survey - what the tables of all banks of all DSPs say
 * @banks: banks behind the SMMU
 * @tables: page tables
 * @mapped: bytes
 * @shared: pairs of banks that share a table and must not
 */
struct survey {
	long long banks;
	long long tables;
	long long mapped;
	long long shared;
};

/** dsp_survey() - look at the tables. Return: 0 or -errno. */
int dsp_survey(struct survey *survey);

/** struct tap - results of a program, in the Test Anything Protocol */
struct tap {
	int results;
	int failed;
};

/** tap_plan() - announce @tests results. */
void tap_plan(int tests);

/** tap_result() - print a result. */
void tap_result(struct tap *tap, bool ok, const char *fmt, ...);

#endif /* SESSION_H */
