/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The two published states of the FastRPC library's accel backend, as clients of their own: each
 * with its own idea of the structures, none with the kernel's header.
 *
 * What both have in common is here and in published_common.c: the part of the library above the
 * ioctls. What differs is in published_a.c and published_b.c.
 */
#ifndef PUBLISHED_H
#define PUBLISHED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tap.h"

/* Nodes of accelerators; which DSP one is, only a query tells. */
#define ACCEL		"/dev/accel"

/* Requests of map() and unmap(), of the same values in both states. */
#define MAP_HEAP	1
#define MAP_BUFFER	2

/* Flags of map(). */
#define HEAP_ADD_PAGES	0x1000
#define MAP_STATIC	0
#define MAP_FD		2
#define MAP_FD_DELAYED	3

/* Attributes of a process. */
#define UNSIGNED_MODULE	8

/* What the library takes a status of the DSP for. */
#define BAD_STATE	((int)0x8000040d)	/* the listener ends */
#define UNSUPPORTED	((int)0x80000414)
#define NO_SUCH_MODULE	((int)0x8000043e)

/* An argument without a buffer. */
#define NO_BUFFER	(-1)

/**
 * struct argument - one argument of a call, as the upper part of the library makes it
 * @ptr: where it is
 * @length: bytes
 * @fd: number of the buffer that it is in, or NO_BUFFER
 * @attr: advice
 */
struct argument {
	uint64_t ptr;
	uint64_t length;
	int32_t fd;
	uint32_t attr;
};

/**
 * struct region - memory that an application has from the library
 * @map: where it is
 * @size: bytes
 * @dmabuf: descriptor of its dma-buf
 * @number: by which the library passes it to the kernel
 */
struct region {
	uint8_t *map;
	size_t size;
	int dmabuf;
	int number;
};

/**
 * struct library - one state of the library
 *
 * Functions that end in an ioctl return its value, with errno where that is -1.
 */
struct library {
	/** @name: of the state. */
	const char *name;
	/** @flags: with which it opens a session. */
	int flags;
	/** @query: name of the DSP behind a device. */
	int (*query)(int dev, char name[16]);
	/** @attach: to the root process, and in place of the sensors process. */
	int (*attach)(int dev);
	/**
	 * @create: a process; @shell is its program in memory, @number that of the buffer that it
	 * is in.
	 */
	int (*create)(int dev, const void *shell, int length, int number, int attrs, int siglen);
	/** @alloc: memory of the dma-heap, for a session. */
	bool (*alloc)(int dev, size_t size, struct region *region);
	/** @alloc_elsewhere: memory of a device of no session. */
	bool (*alloc_elsewhere)(int dev, size_t size, struct region *region);
	/** @free: of both. */
	void (*free)(struct region *region);
	/** @invoke: a call; @args are as many as @sc says. */
	int (*invoke)(int dev, uint32_t handle, uint32_t sc, const struct argument *args);
	/** @map: gives a buffer, or with NO_BUFFER heap, to the process. */
	int (*map)(int dev, uint32_t request, uint32_t flags, int number, size_t length,
		   const void *address, uint64_t *dsp);
	/** @unmap: undoes it. */
	int (*unmap)(int dev, uint32_t request, int number, int length, uint64_t dsp);
	/** @own_tests: what only this state does. */
	const struct tap_test *own_tests;
	/** @own_count: how many. */
	int own_count;
};

extern const struct library library_a, library_b;

/** lib - the state that is tested */
extern const struct library *lib;

/** memory_tests - tests of memory, for both states */
extern const struct tap_test memory_tests[];
extern const int memory_count;

/** heap_alloc() - allocate and map memory of the system's dma-heap. */
bool heap_alloc(size_t size, struct region *region);

/** find_device() - scan for the device of a DSP. Return: whether there is one. */
bool find_device(const struct library *library, const char *dsp, char path[64]);

/** open_session() - find the device of a DSP and open it. Return: descriptor, or -1. */
int open_session(const struct library *library, const char *dsp);

/** open_process() - open_session() with an unsigned process. */
int open_process(const struct library *library, const char *dsp);

/** plain() - an argument in memory that the library knows nothing of. */
struct argument plain(const void *ptr, size_t length);

/** part() - an argument that is part of a region. */
struct argument part(const struct region *region, size_t offset, size_t length);

/** open_module() - open a module of the process. Return: as invoke(), or the loader's error. */
int open_module(const struct library *library, int dev, const char *name, uint32_t *handle);

/** echo() - have the module "simdsp" copy one argument to another. */
int echo(const struct library *library, int dev, uint32_t handle, struct argument from,
	 struct argument to);

/** fill() - bytes that depend on @seed. */
void fill(void *ptr, size_t length, unsigned int seed);

/** open_simdsp() - open_process() with the module "simdsp". */
int open_simdsp(const struct library *library, const char *dsp, uint32_t *handle);

#endif /* PUBLISHED_H */
