// SPDX-License-Identifier: GPL-2.0
/*
 * Keeps 32 calls to a Qualcomm DSP in flight, from one thread.
 *
 * The program makes a process on the compute DSP, opens the "calculator" module there, and has it
 * add up many rows of numbers, which stand in one buffer: a call for each row. First it waits for
 * each call before it makes the next, with DRM_QDA_CALL. Then it submits 32 at once, and whenever
 * poll() says that some have ended it takes their completions and submits as many others. It
 * computes the same here and compares.
 *
 * It needs nothing but the kernel's header and libc:
 *
 *	qda_in_flight [calls]
 *
 * The exit status is 0 only if every result is right.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
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

/* Compute DSPs run unsigned processes, which anybody may make. */
#define DSP		"cdsp"

#define IN_FLIGHT	32
#define CALLS		1000
#define MAX_CALLS	100000

/* Numbers of a row: it takes a page of the buffer. */
#define ROW		1024

/* Handle 0 of every DSP process opens modules by name. */
#define REMOTECTL	0
#define REMOTECTL_OPEN	QDA_SCALARS(0, 2, 2)

/* A method of the calculator, with a count, the numbers, and the result. */
#define CALCULATOR_SUM	QDA_SCALARS(2, 2, 1)

/* What one call is about. The kernel has copied the arguments when it has accepted the call. */
struct row {
	struct drm_qda_call_arg args[3];
	__s64 sum;
};

static const __u32 row_length = ROW;
static __u32 buffer;
static const __s32 *numbers;

static double milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

/* Opens the DSP that is called @wanted. */
static int open_dsp(const char *wanted)
{
	struct dirent *entry;
	char path[300];
	int found = -1;
	DIR *dir;

	dir = opendir(DEVICES);
	if (!dir) {
		perror(DEVICES);
		return -1;
	}
	while (found < 0 && (entry = readdir(dir))) {
		struct drm_qda_query query = { .query_type = QDA_QUERY_DSP_NAME };

		snprintf(path, sizeof(path), DEVICES "/%s", entry->d_name);
		found = open(path, O_RDWR | O_CLOEXEC);
		/* Accelerators of other kinds don't know this query. */
		if (found >= 0 && (ioctl(found, DRM_IOCTL_QDA_QUERY, &query) ||
				   strcmp((char *)query.dsp_name, wanted))) {
			close(found);
			found = -1;
		}
	}
	closedir(dir);
	if (found < 0)
		fprintf(stderr, "no DSP called %s\n", wanted);
	return found;
}

static struct drm_qda_call_arg inline_arg(const void *address, size_t length)
{
	return (struct drm_qda_call_arg) {
		.address = (uintptr_t)address,
		.length = length,
	};
}

static int call(int fd, const char *what, __u32 handle, __u32 scalars,
		const struct drm_qda_call_arg *args, __u32 count)
{
	struct drm_qda_call call = {
		.handle = handle,
		.scalars = scalars,
		.args = (uintptr_t)args,
		.arg_count = count,
		.arg_size = sizeof(*args),
	};

	if (ioctl(fd, DRM_IOCTL_QDA_CALL, &call)) {
		perror(what);
		return -1;
	}
	if (call.status)
		fprintf(stderr, "%s: the DSP says %#x\n", what, call.status);
	return call.status;
}

static int open_module(int fd, const char *name, __u32 *handle)
{
	__u32 lengths[2] = { strlen(name) + 1, 256 };
	__u32 result[2] = { 0 };	/* handle, error of the DSP's loader */
	char message[256];
	struct drm_qda_call_arg args[] = {
		inline_arg(lengths, sizeof(lengths)),
		inline_arg(name, lengths[0]),
		inline_arg(result, sizeof(result)),
		inline_arg(message, sizeof(message)),
	};

	if (call(fd, "open module", REMOTECTL, REMOTECTL_OPEN, args, 4))
		return -1;
	*handle = result[0];
	return result[1];
}

/* Makes the process, and the buffer with the numbers. */
static int set_up(int fd, int rows, __u32 *handle)
{
	struct drm_qda_session_create session = { .kind = QDA_SESSION_USER_UNSIGNED };
	struct drm_qda_gem_create create = { .size = (size_t)rows * ROW * sizeof(__s32) };
	struct drm_qda_gem_mmap_offset offset = { 0 };
	__s32 *map;

	if (ioctl(fd, DRM_IOCTL_QDA_SESSION_CREATE, &session) || session.status) {
		perror("create DSP process");
		return -1;
	}
	if (open_module(fd, "calculator", handle))
		return -1;

	if (ioctl(fd, DRM_IOCTL_QDA_GEM_CREATE, &create)) {
		perror("create buffer");
		return -1;
	}
	offset.handle = create.handle;
	if (ioctl(fd, DRM_IOCTL_QDA_GEM_MMAP_OFFSET, &offset)) {
		perror("find buffer");
		return -1;
	}
	map = mmap(NULL, create.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset.offset);
	if (map == MAP_FAILED) {
		perror("map buffer");
		return -1;
	}
	for (int i = 0; i < rows * ROW; i++)
		map[i] = i * 2654435761u;
	buffer = create.handle;
	numbers = map;
	return 0;
}

/* The arguments of the call for row @index. */
static void prepare(struct row *row, int index)
{
	row->args[0] = inline_arg(&row_length, sizeof(row_length));
	row->args[1] = (struct drm_qda_call_arg) {
		.handle = buffer,
		.offset = (__u64)index * ROW * sizeof(__s32),
		.length = ROW * sizeof(__s32),
	};
	row->args[2] = inline_arg(&row->sum, sizeof(row->sum));
	row->sum = 0;
}

static int is_right(const struct row *row, int index)
{
	__s64 sum = 0;

	for (int i = 0; i < ROW; i++)
		sum += numbers[index * ROW + i];
	if (row->sum != sum)
		printf("row %d: %lld, expected %lld\n", index, (long long)row->sum,
		       (long long)sum);
	return row->sum == sum;
}

static int one_by_one(int fd, __u32 handle, struct row *rows, int count)
{
	for (int i = 0; i < count; i++) {
		prepare(&rows[i], i);
		if (call(fd, "sum", handle, CALCULATOR_SUM, rows[i].args, 3))
			return -1;
	}
	return 0;
}

/* Submits the calls for @count rows from @first on. Return: how many were accepted, or -1. */
static int submit(int fd, __u32 handle, struct row *rows, int first, int count)
{
	struct drm_qda_submission submissions[IN_FLIGHT];
	struct drm_qda_submit arg = {
		.submissions = (uintptr_t)submissions,
		.submission_size = sizeof(submissions[0]),
		.arg_size = sizeof(rows->args[0]),
		.count = count,
	};

	for (int i = 0; i < count; i++) {
		struct row *row = &rows[first + i];

		prepare(row, first + i);
		submissions[i] = (struct drm_qda_submission) {
			.user_data = first + i,
			.args = (uintptr_t)row->args,
			.handle = handle,
			.scalars = CALCULATOR_SUM,
			.arg_count = 3,
		};
	}
	if (ioctl(fd, DRM_IOCTL_QDA_SUBMIT, &arg)) {
		perror("submit");
		return -1;
	}
	return arg.accepted;
}

/* Takes the completions that there are. Return: how many, or -1. */
static int reap(int fd)
{
	struct drm_qda_completion completions[IN_FLIGHT];
	struct drm_qda_reap arg = {
		.completions = (uintptr_t)completions,
		.completion_size = sizeof(completions[0]),
		.max_count = IN_FLIGHT,
	};

	if (ioctl(fd, DRM_IOCTL_QDA_REAP, &arg)) {
		perror("reap");
		return -1;
	}
	for (__u32 i = 0; i < arg.reaped; i++) {
		const struct drm_qda_completion *completion = &completions[i];

		if (completion->error || completion->status) {
			fprintf(stderr, "row %llu: error %d, the DSP says %#x\n",
				(unsigned long long)completion->user_data, completion->error,
				completion->status);
			return -1;
		}
	}
	return arg.reaped;
}

static int in_flight(int fd, __u32 handle, struct row *rows, int count)
{
	struct drm_qda_queue_create queue = { .depth = IN_FLIGHT, .threads = IN_FLIGHT };
	int submitted = 0, done = 0;

	if (ioctl(fd, DRM_IOCTL_QDA_QUEUE_CREATE, &queue)) {
		perror("create queue");
		return -1;
	}
	while (done < count) {
		struct pollfd pollfd = { .fd = fd, .events = POLLIN };
		int room = IN_FLIGHT - (submitted - done);
		int ret;

		if (room > count - submitted)
			room = count - submitted;
		if (room > 0) {
			ret = submit(fd, handle, rows, submitted, room);
			if (ret < 0)
				return -1;
			submitted += ret;
		}

		/* A program that does other things too would wait for those here as well. */
		if (poll(&pollfd, 1, -1) < 0) {
			perror("poll");
			return -1;
		}
		ret = reap(fd);
		if (ret < 0)
			return -1;
		done += ret;
	}
	return 0;
}

static int compare(const struct row *rows, int count)
{
	int right = 1;

	for (int i = 0; i < count; i++)
		right &= is_right(&rows[i], i);
	return right;
}

int main(int argc, char **argv)
{
	int count = argc > 1 ? atoi(argv[1]) : CALLS;
	double start, middle, end;
	struct row *rows;
	__u32 handle;
	int fd, right;

	if (count < 1 || count > MAX_CALLS) {
		fprintf(stderr, "usage: %s [calls], 1 to %d\n", argv[0], MAX_CALLS);
		return 2;
	}
	rows = calloc(count, sizeof(*rows));
	fd = open_dsp(DSP);
	if (!rows || fd < 0 || set_up(fd, count, &handle))
		return 1;

	start = milliseconds();
	if (one_by_one(fd, handle, rows, count))
		return 1;
	middle = milliseconds();
	right = compare(rows, count);
	printf("%d calls, one at a time: %.2f ms\n", count, middle - start);

	start = milliseconds();
	if (in_flight(fd, handle, rows, count))
		return 1;
	end = milliseconds();
	right &= compare(rows, count);
	printf("%d calls, %d in flight: %.2f ms\n", count, IN_FLIGHT, end - start);

	/* Closing the file ends the DSP process, and its queue. */
	close(fd);
	printf("%s\n", right ? "All results are right" : "Results are WRONG");
	return right ? 0 : 1;
}
