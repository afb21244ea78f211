// SPDX-License-Identifier: GPL-2.0
/*
 * The CPU and the DSP see what the other one writes into a dma-buf, by /dev/fastrpc-*, also where
 * the DSP does not see the CPU's caches. Programs leave that to the driver. The argument is the
 * heap that the buffers come from.
 *
 * The kernel's own driver maps a buffer for each call, and so has it right, where one call is over
 * before the next one is made.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dmabuf.h"
#include "node.h"
#include "tap.h"

#define SIZE	65536
#define ROUNDS	4
#define BEFORE	0xee

enum method {
	FILL		= 4,
	INVERT		= 11,
	GIVE_BACK	= 13,
};

/* A dma-buf, mapped. */
struct view {
	int fd;
	uint8_t *map;
};

/* The heap that the tests use; lines lost, begins and ends before the first one. */
static const char *heap;
static long long before[3];

static bool own_driver(void)
{
	return !strcmp(tap_driver(), "qda");
}

static struct view view_new(void)
{
	struct view view = { .fd = dmabuf_alloc(heap, SIZE) };

	view.map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, view.fd, 0);
	if (!CHECK(view.map != MAP_FAILED))
		exit(1);
	return view;
}

static void view_free(struct view *view)
{
	munmap(view->map, SIZE);
	close(view->fd);
}

static struct fastrpc_invoke_args part(const struct view *view, size_t at, size_t len)
{
	return node_buffer(view->map + at, len, view->fd);
}

/*
 * Makes a call. The kernel's own driver may have the buffers of the last one mapped for a while
 * after that has returned, and would use that mapping.
 */
static int make(int fd, uint32_t handle, uint32_t scalars, struct fastrpc_invoke_args *args)
{
	int ret = node_invoke(fd, handle, scalars, args);

	for (int i = 0; i < 500 && !own_driver() && dmabuf_views("mappings") > 0; i++)
		usleep(1000);
	return ret;
}

static bool is_read(int fd, uint32_t handle, const struct view *view, size_t at, size_t len)
{
	uint64_t sum = 0;
	struct fastrpc_invoke_args args[] = { part(view, at, len), node_bytes(&sum, 8) };

	return !make(fd, handle, SCALARS(CHECKSUM, 1, 1), args) &&
	       sum == node_hash(NODE_HASH, view->map + at, len);
}

static bool pattern(const uint8_t *ptr, size_t len, uint32_t seed)
{
	for (size_t i = 0; i < len; i++) {
		if (ptr[i] != (uint8_t)(seed + 131 * i + 17 * (i >> 8) + 29 * (i >> 16)))
			return false;
	}
	return true;
}

static bool all(const uint8_t *ptr, size_t len, uint8_t value)
{
	for (size_t i = 0; i < len; i++) {
		if (ptr[i] != value)
			return false;
	}
	return true;
}

static bool is_filled(int fd, uint32_t handle, const struct view *view, size_t at, size_t len,
		      uint32_t seed)
{
	struct fastrpc_invoke_args args[] = { node_bytes(&seed, 4), part(view, at, len) };

	return !make(fd, handle, SCALARS(FILL, 1, 1), args) && pattern(view->map + at, len, seed);
}

static int open_process(uint32_t *handle)
{
	int fd = node_open(handle);

	if (!CHECK(fd >= 0))
		exit(1);
	return fd;
}

static void in_argument(void)
{
	struct view view = view_new();
	uint32_t handle;
	int fd = open_process(&handle);

	CHECK(is_read(fd, handle, &view, 0, SIZE));
	for (int i = 0; i < ROUNDS; i++) {
		node_fill(view.map, SIZE, i);
		CHECK(is_read(fd, handle, &view, 0, SIZE));
		view.map[5000]++;
		CHECK(is_read(fd, handle, &view, 4999, 3));
	}
	close(fd);
	view_free(&view);
}

static void out_argument(void)
{
	struct view view = view_new();
	uint32_t handle;
	int fd = open_process(&handle);

	for (int i = 0; i < ROUNDS; i++) {
		CHECK(is_filled(fd, handle, &view, 0, SIZE, i));
	}
	/* Of which the CPU has the rest. */
	for (int i = 0; i < ROUNDS; i++) {
		memset(view.map, BEFORE + i, SIZE);
		CHECK(is_filled(fd, handle, &view, 5003, 30001, i));
		CHECK(all(view.map, 5003, BEFORE + i));
		CHECK(all(view.map + 35004, SIZE - 35004, BEFORE + i));
	}
	close(fd);
	view_free(&view);
}

static void in_and_out_argument(void)
{
	struct view view = view_new();
	uint32_t handle;
	int fd = open_process(&handle);
	uint8_t expected[4000];

	for (int i = 0; i < ROUNDS; i++) {
		struct fastrpc_invoke_args args[] = {
			part(&view, 10, 5000), part(&view, 30000, 5000),
		};

		memset(view.map, BEFORE, SIZE);
		node_fill(view.map + 10, 5000, i);
		CHECK_EQ(0, make(fd, handle, SCALARS(ECHO, 1, 1), args));
		CHECK(!memcmp(view.map + 10, view.map + 30000, 5000));
		CHECK(all(view.map + 35000, SIZE - 35000, BEFORE));

		for (size_t j = 0; j < sizeof(expected); j++)
			expected[j] = ~view.map[77 + j];
		args[0] = part(&view, 77, sizeof(expected));
		args[1] = args[0];
		CHECK_EQ(0, make(fd, handle, SCALARS(INVERT, 1, 1), args));
		CHECK(!memcmp(expected, view.map + 77, sizeof(expected)));
	}
	close(fd);
	view_free(&view);
}

static int mem_map(int fd, const struct view *view, uint64_t *address)
{
	struct fastrpc_mem_map args = {
		.fd = view->fd, .flags = FASTRPC_MAP_FD, .vaddrin = (uintptr_t)view->map,
		.length = SIZE,
	};
	int ret = node_ioctl(fd, FASTRPC_IOCTL_MEM_MAP, &args);

	*address = args.vaddrout;
	return ret;
}

static int mem_unmap(int fd, const struct view *view, uint64_t address)
{
	struct fastrpc_mem_unmap args = { .fd = view->fd, .vaddr = address, .length = SIZE };

	return node_ioctl(fd, FASTRPC_IOCTL_MEM_UNMAP, &args);
}

static int mapped(int fd, uint32_t handle, const struct view *view, bool write, uint64_t *sum)
{
	uint32_t in[4] = { view->fd, 0, SIZE, write };
	struct fastrpc_invoke_args args[] = { node_bytes(in, sizeof(in)), node_bytes(sum, 8) };

	return node_invoke(fd, handle, SCALARS(MAPPED, 1, 1), args);
}

static void mapped_buffer(void)
{
	struct view view = view_new();
	uint32_t handle;
	int fd = open_process(&handle);
	uint64_t address, sum;

	for (int i = 0; i < ROUNDS; i++) {
		node_fill(view.map, SIZE, i);
		CHECK(is_read(fd, handle, &view, 0, SIZE));
		node_fill(view.map, SIZE, 100 + i);
		CHECK_EQ(0, mem_map(fd, &view, &address));
		CHECK_EQ(0, mapped(fd, handle, &view, false, &sum));
		CHECK(sum == node_hash(NODE_HASH, view.map, SIZE));
		CHECK_EQ(0, mapped(fd, handle, &view, true, &sum));
		CHECK_EQ(0, mem_unmap(fd, &view, address));
		CHECK(pattern(view.map, SIZE, 0));
	}
	close(fd);
	view_free(&view);
}

/* An argument that is mapped as well: the kernel's own driver does nothing for caches then. */
static void argument_while_mapped(void)
{
	struct view view = view_new();
	uint32_t handle;
	int fd = open_process(&handle);
	uint64_t address;

	CHECK_EQ(0, mem_map(fd, &view, &address));
	for (int i = 0; i < ROUNDS && own_driver() && strcmp(heap, HEAP_NO_SYNC); i++) {
		node_fill(view.map, SIZE, i);
		CHECK(is_read(fd, handle, &view, 0, SIZE));
		CHECK(is_filled(fd, handle, &view, 20001, 5000, i));
	}
	CHECK_EQ(0, mem_unmap(fd, &view, address));
	node_fill(view.map, SIZE, 9);
	CHECK(is_read(fd, handle, &view, 0, SIZE));
	close(fd);
	view_free(&view);
}

static void lent_and_given_back(void)
{
	struct view view = view_new();
	uint32_t handle;
	int fd = open_process(&handle);

	for (uint32_t i = 0; i < ROUNDS; i++) {
		uint64_t sum = 0, numbers[] = { view.fd, view.fd };
		struct fastrpc_invoke_args args[] = {
			node_bytes(&i, 4), node_bytes(&sum, 8),
			node_buffer(NULL, 5000, view.fd), node_buffer((void *)8200, 3000, view.fd),
		};

		memset(view.map, BEFORE, SIZE);
		node_fill(view.map, 5000, i);
		CHECK_EQ(0, node_invoke(fd, handle, SCALARS_HANDLES(HANDLES, 1, 1, 1) | 1, args));
		CHECK(sum == node_hash(NODE_HASH, view.map, 5000));
		/* Once for each argument. */
		args[0] = node_bytes(numbers, sizeof(numbers));
		CHECK_EQ(0, make(fd, handle, SCALARS(GIVE_BACK, 1, 0), args));
		CHECK(pattern(view.map + 8200, 3000, i));
		CHECK(all(view.map + 11200, SIZE - 11200, BEFORE));
	}
	close(fd);
	view_free(&view);
}

static void two_sessions(void)
{
	struct view view = view_new();
	uint32_t handle, other_handle;
	int fd = open_process(&handle), other = open_process(&other_handle);

	for (int i = 0; i < ROUNDS; i++) {
		node_fill(view.map, SIZE, i);
		CHECK(is_read(fd, handle, &view, 0, SIZE));
		CHECK(is_read(other, other_handle, &view, 0, SIZE));
		CHECK(is_filled(fd, handle, &view, 0, SIZE / 2, i));
		CHECK(is_read(other, other_handle, &view, 0, SIZE));
		CHECK(is_filled(other, other_handle, &view, SIZE / 4, SIZE / 4, i));
		CHECK(is_read(fd, handle, &view, 0, SIZE));
	}
	close(fd);
	close(other);
	view_free(&view);
}

/* What the CPU writes after a call stays, whenever the buffer is unmapped. */
static void written_after_the_call(void)
{
	struct view view = view_new();
	uint32_t handle;
	int fd = open_process(&handle);
	uint32_t *word = (uint32_t *)(view.map + 4096);

	CHECK(is_filled(fd, handle, &view, 0, 4096, 1));
	for (uint32_t n = 1; n < 10000; n++) {
		__atomic_store_n(word, n, __ATOMIC_RELAXED);
		usleep(100);
		if (!CHECK_EQ(n, __atomic_load_n(word, __ATOMIC_RELAXED)))
			break;
	}
	CHECK(is_read(fd, handle, &view, 0, SIZE));
	node_fill(view.map, SIZE, 7);
	close(fd);
	usleep(20000);
	fd = open_process(&handle);
	CHECK(is_read(fd, handle, &view, 0, SIZE));
	close(fd);
	view_free(&view);
}

static void handler(int signal)
{
	(void)signal;
}

/* The kernel's own driver makes an interrupted call again. */
static void interrupted(void)
{
	struct sigaction action = { .sa_handler = handler, .sa_flags = SA_RESTART };
	struct view view = view_new();
	struct fastrpc_invoke_args args[] = { part(&view, 10, 5000), part(&view, 30000, 5000) };
	struct node_call call;
	uint32_t handle;
	int fd = open_process(&handle);

	sigaction(SIGUSR1, &action, NULL);
	CHECK_EQ(0, simdsp_cmd(NULL, "script {\"rules\":[{\"module\":\"simdsp\",\"method\":2,"
			       "\"actions\":[\"hold\"]}]}"));
	for (int i = 0; i < ROUNDS && own_driver(); i++) {
		memset(view.map, BEFORE, SIZE);
		node_fill(view.map + 10, 5000, i);
		CHECK_EQ(0, node_call_start(&call, fd, handle, SCALARS(ECHO, 1, 1), args));
		CHECK(simdsp_wait_stat("cdsp", "held", 1, 5000));
		for (int j = 0; j < 3; j++) {
			pthread_kill(call.thread, SIGUSR1);
			usleep(2000);
		}
		CHECK_EQ(0, simdsp_cmd(NULL, "release-held cdsp"));
		CHECK_EQ(0, node_call_join(&call));
		CHECK(!memcmp(view.map + 10, view.map + 30000, 5000));
		CHECK(all(view.map + 35000, SIZE - 35000, BEFORE));
	}
	close(fd);
	view_free(&view);
}

static void nothing_is_kept(void)
{
	static const char * const counters[] = { "buffers", "attachments", "mappings" };

	for (int i = 0; i < 3; i++) {
		/* The tests before have ended. */
		for (int j = 0; j < 100 && dmabuf_views(counters[i]); j++)
			usleep(qda_patience(10000));
		CHECK_EQ(0, dmabuf_views(counters[i]));
	}
	/* Nothing that the CPU wrote was dropped; and whatever access began, ended. */
	CHECK_EQ(before[0], dmabuf_views("lost"));
	CHECK_EQ(before[2] - before[1], dmabuf_views("ends") - dmabuf_views("begins"));
}

static const struct tap_test tests[] = {
	{ "in_argument", in_argument },
	{ "out_argument", out_argument },
	{ "in_and_out_argument", in_and_out_argument },
	{ "mapped_buffer", mapped_buffer },
	{ "argument_while_mapped", argument_while_mapped },
	{ "lent_and_given_back", lent_and_given_back },
	{ "two_sessions", two_sessions },
	{ "written_after_the_call", written_after_the_call },
	{ "interrupted", interrupted },
	{ "nothing_is_kept", nothing_is_kept },
};

int main(int argc, char **argv)
{
	heap = argc > 1 ? argv[1] : HEAP_TWO_VIEWS;
	before[0] = dmabuf_views("lost");
	before[1] = dmabuf_views("begins");
	before[2] = dmabuf_views("ends");
	return tap_run(tests, sizeof(tests) / sizeof(tests[0]));
}
