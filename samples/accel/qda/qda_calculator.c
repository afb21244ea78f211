// SPDX-License-Identifier: GPL-2.0
/*
 * Calls functions on a Qualcomm DSP through the QDA driver.
 *
 * The program lists the DSPs of the machine, makes a process on the compute DSP, opens the
 * "calculator" module there, and has it add up numbers and find the greatest one: a thousand that
 * are passed with the call, and a million that stand in buffers, which the DSP reads in place. It
 * computes the same here and compares.
 *
 * It needs nothing but the kernel's header and libc:
 *
 *	qda_calculator [seed]
 *
 * The seed, by default that of the environment variable SEED or 1, makes the million numbers. The
 * exit status is 0 only if every result is right.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <drm/qda_accel.h>

#define DEVICES		"/dev/accel"
#define BANKS		"/sys/bus/qda-compute-bank/devices"
#define CLIENT		"qda-client:"
#define BANK		"qda-bank:"

/* Compute DSPs run unsigned processes, which anybody may make. */
#define DSP		"cdsp"

#define INLINE_COUNT	1000
#define BUFFER_COUNT	1000000

/* Handle 0 of every DSP process opens and closes modules by name. */
#define REMOTECTL	0
#define REMOTECTL_OPEN	QDA_SCALARS(0, 2, 2)
#define REMOTECTL_CLOSE	QDA_SCALARS(1, 1, 2)

/* Methods of the calculator, both with a count, the numbers, and the result. */
#define CALCULATOR_SUM	QDA_SCALARS(2, 2, 1)
#define CALCULATOR_MAX	QDA_SCALARS(3, 2, 1)

/* A buffer that the DSP can use, and where this program sees it. */
struct buffer {
	__u32 handle;
	size_t size;
	void *map;
};

static double milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

/* An argument that is copied with the call. */
static struct drm_qda_invoke_arg inline_arg(const void *ptr, size_t length)
{
	return (struct drm_qda_invoke_arg) {
		.ptr = (uintptr_t)ptr,
		.length = length,
	};
}

/* An argument that the DSP reads or writes where it is: part of a buffer. */
static struct drm_qda_invoke_arg buffer_arg(const struct buffer *buffer, size_t offset,
					    size_t length)
{
	return (struct drm_qda_invoke_arg) {
		.ptr = (uintptr_t)buffer->map + offset,
		.length = length,
		.handle = buffer->handle,
	};
}

/*
 * Calls a function on the DSP. What ioctl() returns is what the function returned there, except
 * that -1 with errno is an error of the kernel.
 */
static int invoke(int fd, const char *what, __u32 handle, __u32 sc,
		  const struct drm_qda_invoke_arg *args)
{
	struct drm_qda_invoke call = {
		.handle = handle,
		.sc = sc,
		.args = (uintptr_t)args,
	};
	int ret = ioctl(fd, DRM_IOCTL_QDA_INVOKE, &call);

	if (ret == -1)
		perror(what);
	else if (ret)
		fprintf(stderr, "%s: the DSP says %#x\n", what, ret);
	return ret;
}

static int open_module(int fd, const char *name, __u32 *handle)
{
	__u32 lengths[2] = { strlen(name) + 1, 256 };
	__u32 result[2] = { 0 };	/* handle, error of the DSP's loader */
	char message[256];
	struct drm_qda_invoke_arg args[] = {
		inline_arg(lengths, sizeof(lengths)),
		inline_arg(name, lengths[0]),
		inline_arg(result, sizeof(result)),
		inline_arg(message, sizeof(message)),
	};
	int ret = invoke(fd, "open module", REMOTECTL, REMOTECTL_OPEN, args);

	if (!ret && result[1]) {
		fprintf(stderr, "%s: the DSP's loader says %#x: %.*s\n", name, result[1],
			(int)sizeof(message), message);
		ret = result[1];
	}
	*handle = result[0];
	return ret;
}

static int close_module(int fd, __u32 handle)
{
	__u32 in[2] = { handle, 256 };
	__u32 result = 0;
	char message[256];
	struct drm_qda_invoke_arg args[] = {
		inline_arg(in, sizeof(in)),
		inline_arg(&result, sizeof(result)),
		inline_arg(message, sizeof(message)),
	};

	return invoke(fd, "close module", REMOTECTL, REMOTECTL_CLOSE, args);
}

static int create_buffer(int fd, size_t size, struct buffer *buffer)
{
	struct drm_qda_gem_create create = { .size = size };
	struct drm_qda_gem_mmap_offset offset = { 0 };

	if (ioctl(fd, DRM_IOCTL_QDA_GEM_CREATE, &create)) {
		perror("create buffer");
		return -1;
	}
	offset.handle = create.handle;
	if (ioctl(fd, DRM_IOCTL_QDA_GEM_MMAP_OFFSET, &offset)) {
		perror("find buffer");
		return -1;
	}
	buffer->handle = create.handle;
	buffer->size = size;
	buffer->map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset.offset);
	if (buffer->map == MAP_FAILED) {
		perror("map buffer");
		return -1;
	}
	return 0;
}

static void free_buffer(int fd, struct buffer *buffer)
{
	struct drm_gem_close close = { .handle = buffer->handle };

	munmap(buffer->map, buffer->size);
	ioctl(fd, DRM_IOCTL_GEM_CLOSE, &close);
}

/*
 * Prints what the kernel tells of the DSP process behind @fd: its number, and the context bank that
 * is its door to memory, a stream of the IOMMU.
 */
static void print_process(int fd, const char *dsp)
{
	unsigned int client = 0, bank = 0;
	char path[300], line[128];
	__u8 cells[8];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	file = fopen(path, "r");
	while (file && fgets(line, sizeof(line), file)) {
		if (!strncmp(line, CLIENT, strlen(CLIENT)))
			client = strtoul(line + strlen(CLIENT), NULL, 10);
		if (!strncmp(line, BANK, strlen(BANK)))
			bank = strtoul(line + strlen(BANK), NULL, 10);
	}
	if (file)
		fclose(file);
	printf("Unsigned process on %s, client %u, bank %u", dsp, client, bank);

	/* Cells of the device tree are big endian: IOMMU, stream id. */
	snprintf(path, sizeof(path), BANKS "/%s-%u/of_node/iommus", dsp, bank);
	file = fopen(path, "r");
	if (file && fread(cells, 1, sizeof(cells), file) == sizeof(cells))
		printf(", stream id %#x\n", cells[6] << 8 | cells[7]);
	else
		printf(", no IOMMU\n");
	if (file)
		fclose(file);
}

/* Lists the DSPs and opens the one that is called @wanted. */
static int open_dsp(const char *wanted)
{
	struct dirent **entries;
	char path[300];
	int count, found = -1;

	count = scandir(DEVICES, &entries, NULL, alphasort);
	if (count < 0) {
		perror(DEVICES);
		return -1;
	}
	printf("DSPs of this machine\n");
	for (int i = 0; i < count; i++) {
		struct drm_qda_query query = { .query_type = QDA_QUERY_DSP_NAME };
		int fd;

		snprintf(path, sizeof(path), DEVICES "/%s", entries[i]->d_name);
		free(entries[i]);
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			continue;
		/* Accelerators of other kinds don't know this query. */
		if (ioctl(fd, DRM_IOCTL_QDA_QUERY, &query)) {
			close(fd);
			continue;
		}
		printf("  %-6s %s\n", query.dsp_name, path);
		if (found < 0 && !strcmp((char *)query.dsp_name, wanted))
			found = fd;
		else
			close(fd);
	}
	free(entries);
	if (found < 0)
		fprintf(stderr, "no DSP called %s\n", wanted);
	return found;
}

/*
 * Has the DSP compute sum and maximum of @count numbers, which are the argument @arg to it and
 * @numbers here, and compares. Return: whether both are right.
 */
static int calculate(int fd, __u32 handle, const char *where, __u32 count,
		     struct drm_qda_invoke_arg arg, const __s32 *numbers)
{
	__s64 sum = 0, expected_sum = 0;
	__s32 max = 0, expected_max = INT32_MIN;
	struct drm_qda_invoke_arg args[3] = { inline_arg(&count, sizeof(count)), arg };
	double start, middle, end;
	int right;

	for (__u32 i = 0; i < count; i++) {
		expected_sum += numbers[i];
		if (numbers[i] > expected_max)
			expected_max = numbers[i];
	}

	start = milliseconds();
	args[2] = inline_arg(&sum, sizeof(sum));
	if (invoke(fd, "sum", handle, CALCULATOR_SUM, args))
		return 0;
	middle = milliseconds();
	args[2] = inline_arg(&max, sizeof(max));
	if (invoke(fd, "max", handle, CALCULATOR_MAX, args))
		return 0;
	end = milliseconds();

	right = sum == expected_sum && max == expected_max;
	printf("%u numbers, %u bytes, %s: %d %d %d ... %d\n", count, count * 4, where,
	       numbers[0], numbers[1], numbers[2], numbers[count - 1]);
	printf("  sum %lld, %.2f ms, %s\n", (long long)sum, middle - start,
	       sum == expected_sum ? "right" : "WRONG");
	printf("  max %d, %.2f ms, %s\n", max, end - middle,
	       max == expected_max ? "right" : "WRONG");
	if (!right)
		printf("  expected sum %lld, max %d\n", (long long)expected_sum, expected_max);
	return right;
}

/* Pseudo-random numbers, the same on every machine for the same seed. */
static void generate(__s32 *numbers, size_t count, __u64 seed)
{
	/* xorshift must not start from 0. */
	__u64 state = seed * 0x9e3779b97f4a7c15ULL + 0x2545f4914f6cdd1dULL;

	if (!state)
		state = 1;
	for (size_t i = 0; i < count; i++) {
		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		numbers[i] = (__s32)(state >> 32);
	}
}

int main(int argc, char **argv)
{
	struct drm_qda_init_create create = { .attrs = QDA_PROC_ATTR_UNSIGNED };
	const char *text = argc > 1 ? argv[1] : getenv("SEED");
	static __s32 small[INLINE_COUNT];
	struct buffer buffer;
	__u64 seed = 1;
	__u32 handle;
	int fd, right;
	char *end;

	if (text && *text) {
		errno = 0;
		seed = strtoull(text, &end, 0);
		if (errno || *end) {
			fprintf(stderr, "usage: %s [seed], a number\n", argv[0]);
			return 2;
		}
	}

	fd = open_dsp(DSP);
	if (fd < 0)
		return 1;

	/* Without an image the DSP runs the program that it has for unsigned processes. */
	if (ioctl(fd, DRM_IOCTL_QDA_INIT_CREATE, &create)) {
		perror("create DSP process");
		return 1;
	}
	print_process(fd, DSP);
	if (open_module(fd, "calculator", &handle))
		return 1;
	printf("Module calculator, handle %#x\n", handle);

	for (int i = 0; i < INLINE_COUNT; i++)
		small[i] = i;
	right = calculate(fd, handle, "inline", INLINE_COUNT, inline_arg(small, sizeof(small)),
			  small);

	if (create_buffer(fd, BUFFER_COUNT * sizeof(__s32), &buffer))
		return 1;
	generate(buffer.map, BUFFER_COUNT, seed);
	printf("Seed %llu\n", (unsigned long long)seed);
	right &= calculate(fd, handle, "in a buffer", BUFFER_COUNT,
			   buffer_arg(&buffer, 0, BUFFER_COUNT * sizeof(__s32)), buffer.map);

	free_buffer(fd, &buffer);
	right &= !close_module(fd, handle);
	/* Closing the file ends the DSP process. */
	close(fd);
	printf("%s\n", right ? "All results are right" : "Results are WRONG");
	return right ? 0 : 1;
}
