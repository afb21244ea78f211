/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The examples of the documentation, run: what the programs for both drivers share.
 *
 * Each example is a test: a function of the example's name that has what the example takes for
 * granted, includes it, and checks what has become of it. examples.h, which
 * tools/qda/scripts/doc-examples.py makes of the pages, lists them all; one without a function does
 * not compile.
 */
#ifndef DOCS_H
#define DOCS_H

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "examples.h"
#include "tap.h"

#define EXAMPLE_FUNCTION(name)	static void name(void);
#define EXAMPLE_TEST(name)	{ "docs." #name, name },

/* What the numbers of examples are, and the sum of the first thousand. */
#define NUMBERS		1000
#define SUM		499500

/* How long a device may take to go or to come, in milliseconds. */
#define PATIENCE	qda_patience(10000)

/* Bytes that pass for a program. */
static inline void make_program(void *program, size_t size)
{
	static const char elf[] = "\177ELF\2\1\1";

	memset(program, 0, size);
	memcpy(program, elf, sizeof(elf));
}

static inline void make_numbers(int32_t *numbers)
{
	for (int i = 0; i < NUMBERS; i++)
		numbers[i] = i;
}

/* FNV-1a, as the module "simdsp" has it. */
static inline uint64_t checksum_of(const void *data, size_t size)
{
	const uint8_t *byte = data;
	uint64_t sum = 0xcbf29ce484222325ULL;

	while (size--)
		sum = (sum ^ *byte++) * 0x100000001b3ULL;
	return sum;
}

#endif /* DOCS_H */
