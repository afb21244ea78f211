// SPDX-License-Identifier: GPL-2.0
/*
 * Where the instructions of some operations go: by function, from samples of the module
 * qda_profile.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

#define DEVICE		"/dev/qda_profile"
#define FUNCTIONS	4096
#define NAME		160

/* What is in all samples says nothing, nor what is in next to none. */
#define MOST_PERCENT	95
#define LEAST_PERCENT	2
#define PRINTED		20

static struct function {
	char name[NAME];
	/* Samples in it, and in it or what it calls; the last one that counted. */
	long self, all, last;
} functions[FUNCTIONS];
static int count;

static int command(const char *text)
{
	int fd = open(DEVICE, O_WRONLY | O_CLOEXEC), ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, 1) != 1)
		ret = -errno;
	close(fd);
	return ret;
}

int profile_begin(void)
{
	return command("1");
}

static struct function *find(const char *name)
{
	for (int i = 0; i < count; i++) {
		if (!strcmp(functions[i].name, name))
			return &functions[i];
	}
	if (count == FUNCTIONS)
		return NULL;
	snprintf(functions[count].name, NAME, "%s", name);
	return &functions[count++];
}

/* A function that calls itself is in a sample once. */
static void add_sample(char *line, long number)
{
	char *at = line, *name;
	bool self = true;

	line[strcspn(line, "\n")] = '\0';
	while ((name = strsep(&at, "<"))) {
		struct function *function = find(name);

		if (!function)
			continue;
		function->self += self;
		function->all += function->last != number;
		function->last = number;
		self = false;
	}
}

/* Of those that are in the same samples first what does most itself, then what is in a module. */
static int by_all(const void *a, const void *b)
{
	const struct function *x = a, *y = b;

	if (x->all != y->all)
		return x->all < y->all ? 1 : -1;
	if (x->self != y->self)
		return x->self < y->self ? 1 : -1;
	return !!strchr(y->name, '[') - !!strchr(x->name, '[') ?: strcmp(x->name, y->name);
}

/* What only leads from the program to its system call. */
static bool is_entry(const char *name)
{
	return strstr(name, "el0") || !strcmp(name, "invoke_syscall");
}

int profile_end(const char *row, const char *driver)
{
	long samples = 0, printed = 0, last = -1;
	size_t size = 0;
	char *line = NULL;
	FILE *file;
	int ret = command("0");

	if (ret)
		return ret;
	file = fopen(DEVICE, "re");
	if (!file)
		return -errno;
	memset(functions, 0, sizeof(functions));
	count = 0;
	while (getline(&line, &size, file) > 0)
		add_sample(line, ++samples);
	free(line);
	fclose(file);
	qsort(functions, count, sizeof(functions[0]), by_all);
	for (int i = 0; i < count && printed < PRINTED; i++) {
		struct function *function = &functions[i];

		if (100 * function->all > MOST_PERCENT * samples ||
		    100 * function->all < LEAST_PERCENT * samples || is_entry(function->name))
			continue;
		/* One that only calls the next, or is called by it, is not interesting. */
		if (function->all == last && 100 * function->self < LEAST_PERCENT * samples)
			continue;
		last = function->all;
		/* "function [module]" is to be one word. */
		for (char *c = function->name; *c; c++)
			*c = *c == ' ' ? '@' : *c;
		printf("profile row=%s driver=%s samples=%ld all=%ld self=%ld symbol=%s\n", row,
		       driver, samples, function->all, function->self, function->name);
		printed++;
	}
	return samples ? 0 : -ENODATA;
}
