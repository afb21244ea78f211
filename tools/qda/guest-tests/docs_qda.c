// SPDX-License-Identifier: GPL-2.0
/*
 * The examples of the documentation that are for /dev/accel/accelN.
 */
#include <drm/qda_accel.h>
#include <time.h>

#include "docs.h"

#define SIZE	65536

QDA_EXAMPLES(EXAMPLE_FUNCTION)

/* Opens a DSP. Return: its file, or -1. */
static int find_dsp(const char *dsp)
{
	for (int i = 0; i < 256; i++) {
		struct drm_qda_query query = { .query_type = QDA_QUERY_DSP_NAME };
		char path[32];
		int fd;

		snprintf(path, sizeof(path), "/dev/accel/accel%d", i);
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (!ioctl(fd, DRM_IOCTL_QDA_QUERY, &query) && !strcmp((char *)query.dsp_name, dsp))
			return fd;
		close(fd);
	}
	return -1;
}

static int open_dsp(const char *dsp)
{
	int fd = find_dsp(dsp);

	if (!CHECK(fd >= 0))
		exit(1);
	return fd;
}

static int create_process(int fd)
{
	struct drm_qda_session_create create = { .kind = QDA_SESSION_USER_UNSIGNED };
	int ret = ioctl(fd, DRM_IOCTL_QDA_SESSION_CREATE, &create);

	return ret ? ret : create.status;
}

static int open_process(void)
{
	int fd = open_dsp("cdsp");

	if (!CHECK_EQ(0, create_process(fd)))
		exit(1);
	return fd;
}

static __u32 open_module(int fd, const char *name)
{
	__u32 in[2] = { strlen(name) + 1, 64 }, out[2] = { 0 };
	char text[64];
	struct drm_qda_call_arg args[] = {
		{ .address = (uintptr_t)in, .length = sizeof(in) },
		{ .address = (uintptr_t)name, .length = in[0] },
		{ .address = (uintptr_t)out, .length = sizeof(out) },
		{ .address = (uintptr_t)text, .length = sizeof(text) },
	};
	struct drm_qda_call call = {
		.scalars = QDA_SCALARS(0, 2, 2), .args = (uintptr_t)args,
		.arg_count = 4, .arg_size = sizeof(args[0]),
	};

	CHECK_EQ(0, ioctl(fd, DRM_IOCTL_QDA_CALL, &call));
	CHECK_EQ(0, call.status);
	CHECK_EQ(0, out[1]);
	return out[0];
}

static __u32 alloc(int fd, void **map)
{
	struct drm_qda_buffer_create create = { .size = SIZE };
	struct drm_qda_gem_mmap_offset offset = { 0 };

	CHECK_EQ(0, ioctl(fd, DRM_IOCTL_QDA_BUFFER_CREATE, &create));
	offset.handle = create.handle;
	CHECK_EQ(0, ioctl(fd, DRM_IOCTL_QDA_GEM_MMAP_OFFSET, &offset));
	*map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset.offset);
	CHECK(*map != MAP_FAILED);
	return create.handle;
}

/* Return: nanoseconds of CLOCK_MONOTONIC. */
static __s64 deadline_in(int milliseconds)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec + milliseconds * 1000000LL;
}

static void qda_open(void)
{
#include "qda-open.inc"
	CHECK_EQ(0, create_process(fd));
	CHECK_EQ(1, simdsp_stat("cdsp", "user"));
	close(fd);
}

static void qda_init_attach(void)
{
	int fd = open_dsp("cdsp");
#include "qda-init-attach.inc"
	CHECK_EQ(1, simdsp_stat("cdsp", "root"));
	close(fd);
}

static void qda_init_attach_sns(void)
{
	int fd = open_dsp("adsp");
#include "qda-init-attach-sns.inc"
	CHECK_EQ(1, simdsp_stat("adsp", "sensors"));
	close(fd);
}

static void qda_init_create(void)
{
	int fd = open_dsp("cdsp");
#include "qda-init-create.inc"
	CHECK_EQ(1, simdsp_stat("cdsp", "user"));
	close(fd);
}

static void qda_init_create_program(void)
{
	int fd = open_dsp("cdsp"), length = 20000, siglen = 256;
	void *program;
	__u32 handle = alloc(fd, &program);

	make_program(program, SIZE);
#include "qda-init-create-program.inc"
	CHECK_EQ(1, simdsp_stat("cdsp", "user"));
	CHECK(open_module(fd, "simdsp"));
	munmap(program, SIZE);
	close(fd);
}

static void qda_init_create_static(void)
{
	int fd = open_dsp("adsp");
#include "qda-init-create-static.inc"
	CHECK_EQ(1, simdsp_stat("adsp", "static"));
	close(fd);
}

static void qda_invoke(void)
{
	int fd = open_process();
#include "qda-invoke.inc"
	CHECK(result[0]);
	close(fd);
}

static void qda_invoke_buffer(void)
{
	int fd = open_process();
	__u32 module = open_module(fd, "calculator"), buffer;
	void *numbers;

	buffer = alloc(fd, &numbers);
	make_numbers(numbers);
#include "qda-invoke-buffer.inc"
	CHECK_EQ(SUM, sum);
	munmap(numbers, SIZE);
	close(fd);
}

static void qda_invoke_handle(void)
{
	int fd = open_process();
	__u32 module = open_module(fd, "simdsp"), buffer;
	size_t length = SIZE;
	void *data;

	buffer = alloc(fd, &data);
	make_numbers(data);
#include "qda-invoke-handle.inc"
	CHECK(checksum == checksum_of(data, SIZE));
	munmap(data, SIZE);
	close(fd);
}

static void qda_alloc_dma_buff(void)
{
	int fd = open_process();
	size_t size = SIZE;
#include "qda-alloc-dma-buff.inc"
	memset(map, 0x55, size);
	munmap(map, size);
	close(fd);
}

static void qda_export(void)
{
	int fd = open_process();
	void *data, *map;
	__u32 buffer = alloc(fd, &data);
#include "qda-export.inc"
	make_numbers(data);
	map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, prime.fd, 0);
	CHECK(map != MAP_FAILED && !memcmp(data, map, SIZE));
	munmap(map, SIZE);
	munmap(data, SIZE);
	close(prime.fd);
	close(fd);
}

static void qda_import(void)
{
	int fd = open_process(), other = open_dsp("adsp"), dmabuf;
	struct drm_prime_handle export = { .flags = DRM_CLOEXEC };
	void *data;

	export.handle = alloc(other, &data);
	CHECK_EQ(0, ioctl(other, DRM_IOCTL_PRIME_HANDLE_TO_FD, &export));
	dmabuf = export.fd;
#include "qda-import.inc"
	CHECK(prime.handle);
	munmap(data, SIZE);
	close(dmabuf);
	close(other);
	close(fd);
}

static void qda_free_dma_buff(void)
{
	int fd = open_process();
	size_t size = SIZE;
	void *map;
	__u32 buffer = alloc(fd, &map);
#include "qda-free-dma-buff.inc"
	CHECK_EQ(-1, ioctl(fd, DRM_IOCTL_GEM_CLOSE, &gem_close));
	CHECK_EQ(EINVAL, errno);
	close(fd);
}

static void qda_mmap(void)
{
	int fd = open_process();
#include "qda-mmap.inc"
	CHECK(grow.vaddrout);
	CHECK_EQ(0, simdsp_stat("cdsp", "maps"));
	close(fd);
}

static void qda_mem_map(void)
{
	int fd = open_process();
	size_t size = SIZE;
	void *data;
	__u32 buffer = alloc(fd, &data);
#include "qda-mem-map.inc"
	CHECK(map.vaddrout);
	CHECK_EQ(0, simdsp_stat("cdsp", "maps"));
	munmap(data, SIZE);
	close(fd);
}

static void qda_set_option(void)
{
	int fd = open_dsp("cdsp");
#include "qda-set-option.inc"
	CHECK(open_module(fd, "simdsp"));
	close(fd);
}

static void qda_get_dsp_info(void)
{
	int fd = open_dsp("cdsp");
#include "qda-get-dsp-info.inc"
	CHECK_EQ(0x73, param.value);
	close(fd);
}

static void qda_restart(void)
{
	struct drm_qda_call call = { .handle = 3, .scalars = QDA_SCALARS(3, 0, 0) };
	int fd = open_process();

	CHECK_EQ(0, simdsp_cmd(NULL, "restart cdsp 500"));
	for (int i = 0; i < PATIENCE && !ioctl(fd, DRM_IOCTL_QDA_CALL, &call); i++)
		usleep(1000);
#include "qda-restart.inc"
	CHECK_EQ(1, simdsp_stat("cdsp", "user"));
	CHECK(open_module(fd, "simdsp"));
	close(fd);
}

static void qda_ask(void)
{
	int fd = open_dsp("cdsp");
#include "qda-ask.inc"
	CHECK_EQ(0x73, arg.value);
	close(fd);
}

static void qda_refusals(void)
{
	int fd = open_dsp("adsp");
#include "qda-refusals.inc"
	CHECK_EQ(0, arg.status);
	CHECK_EQ(1, simdsp_stat("adsp", "static"));
	close(fd);
}

static void qda_call(void)
{
	int fd = open_process();
	__u32 module = open_module(fd, "calculator"), numbers;
	void *data;

	numbers = alloc(fd, &data);
	make_numbers((int32_t *)data + 1024);
#include "qda-call.inc"
	CHECK_EQ(0, call.status);
	CHECK_EQ(SUM, sum);
	munmap(data, SIZE);
	close(fd);
}

static void qda_queue_create(void)
{
	int fd = open_process();
#include "qda-queue-create.inc"
	CHECK_EQ(-1, ioctl(fd, DRM_IOCTL_QDA_QUEUE_CREATE, &queue));
	CHECK_EQ(EEXIST, errno);
	close(fd);
}

/* Makes a queue. Return: the file of a process that has it. */
static int open_queue(void)
{
	struct drm_qda_queue_create queue = { .depth = 8, .threads = 4 };
	int fd = open_process();

	CHECK_EQ(0, ioctl(fd, DRM_IOCTL_QDA_QUEUE_CREATE, &queue));
	return fd;
}

/* Takes all that the DSP answers in a while. Return: how many calls were right. */
static int reap(int fd, unsigned int count)
{
	struct drm_qda_completion done[8] = { 0 };
	struct drm_qda_reap reap = {
		.completions = (uintptr_t)done, .completion_size = sizeof(done[0]),
		.max_count = 8, .min_count = count, .timeout_ns = deadline_in(PATIENCE),
	};
	int right = 0;

	CHECK_EQ(0, ioctl(fd, DRM_IOCTL_QDA_REAP, &reap));
	for (unsigned int i = 0; i < reap.reaped; i++)
		right += !done[i].error && !done[i].status;
	return right;
}

static void qda_submit(void)
{
	int fd = open_queue();
	__u32 module = open_module(fd, "calculator"), count = NUMBERS;
	int32_t numbers[NUMBERS];
	__s64 sums[2] = { 0 };
	struct drm_qda_call_arg first[3] = {
		{ .address = (uintptr_t)&count, .length = sizeof(count) },
		{ .address = (uintptr_t)numbers, .length = sizeof(numbers) },
		{ .address = (uintptr_t)&sums[0], .length = sizeof(sums[0]) },
	}, second[3];

	make_numbers(numbers);
	memcpy(second, first, sizeof(second));
	second[2].address = (uintptr_t)&sums[1];
#include "qda-submit.inc"
	CHECK_EQ(2, submit.accepted);
	CHECK_EQ(2, reap(fd, 2));
	CHECK_EQ(SUM, sums[0]);
	CHECK_EQ(SUM, sums[1]);
	close(fd);
}

static void qda_reap(void)
{
	int fd = open_queue();
	__u32 count = 0;
	__s64 sum = -1;
	struct drm_qda_call_arg args[3] = {
		{ .address = (uintptr_t)&count, .length = sizeof(count) },
		{ 0 },
		{ .address = (uintptr_t)&sum, .length = sizeof(sum) },
	};
	struct drm_qda_submission call = {
		.user_data = 5, .handle = open_module(fd, "calculator"),
		.scalars = QDA_SCALARS(2, 2, 1), .args = (uintptr_t)args, .arg_count = 3,
	};
	struct drm_qda_submit submit = {
		.submissions = (uintptr_t)&call, .submission_size = sizeof(call),
		.arg_size = sizeof(args[0]), .count = 1,
	};
	__s64 deadline = deadline_in(PATIENCE);

	CHECK_EQ(0, ioctl(fd, DRM_IOCTL_QDA_SUBMIT, &submit));
#include "qda-reap.inc"
	CHECK_EQ(1, reap.reaped);
	CHECK_EQ(5, done[0].user_data);
	CHECK_EQ(0, sum);
	close(fd);
}

static const struct tap_test tests[] = { QDA_EXAMPLES(EXAMPLE_TEST) };

int main(void)
{
	return tap_run(tests, sizeof(tests) / sizeof(tests[0]));
}
