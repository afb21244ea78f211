// SPDX-License-Identifier: GPL-2.0
/*
 * The simulated DSP against the kernel's own FastRPC driver, through /dev/fastrpc-*.
 *
 * Both sides of that conversation are older than this project: what the simulator gets wrong about
 * the protocol shows here. The tests of the new driver mean something only where these pass.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include <linux/dma-heap.h>

#include "node.h"
#include "tap.h"

#define HEAP		"/dev/dma_heap/system"

#define MAX_SIZE	1048576
#define MAX_RANGES	4096

/* What TOUCH returns when the SMMU refuses. */
#define FAULT		((int)0x80000401)

static const size_t sizes[] = {
	0, 1, 4, 127, 128, 4095, 4096, 4097, 65536, 100001, MAX_SIZE,
};

#define SIZES		(sizeof(sizes) / sizeof(sizes[0]))

/* A file with an unsigned process and the test module; without it there is no test. */
static int open_process(uint32_t *handle)
{
	int fd = node_open(handle);

	if (!CHECK(fd >= 0))
		exit(1);
	return fd;
}

static void attach(void)
{
	long long attaches = simdsp_stat("cdsp", "attaches");
	long long releases = simdsp_stat("cdsp", "releases");
	uint32_t handle, in = 0x600df00d, out = 0;
	int fd = open(NODE, O_RDWR | O_CLOEXEC);

	CHECK(fd >= 0);
	CHECK_EQ(0, node_ioctl(fd, FASTRPC_IOCTL_INIT_ATTACH, NULL));
	CHECK_EQ(attaches + 1, simdsp_stat("cdsp", "attaches"));
	CHECK_EQ(0, node_open_module(fd, "simdsp", &handle));
	CHECK_EQ(0, node_echo(fd, handle, node_bytes(&in, 4), node_bytes(&out, 4)));
	CHECK_EQ(in, out);
	close(fd);
	CHECK_EQ(releases + 1, simdsp_stat("cdsp", "releases"));
}

static void unsigned_create(void)
{
	long long creates = simdsp_stat("cdsp", "creates");
	uint32_t handle;
	int fd = open_process(&handle);

	CHECK_EQ(creates + 1, simdsp_stat("cdsp", "creates"));
	CHECK_EQ(1, simdsp_stat("cdsp", "processes"));
	close(fd);
	CHECK_EQ(0, simdsp_stat("cdsp", "processes"));
}

static void calculator(void)
{
	uint32_t handle, count = 1000;
	int fd = open_process(&handle);
	int32_t numbers[1000], max = 0;
	int64_t sum = 0;
	struct fastrpc_invoke_args args[] = {
		node_bytes(&count, 4), node_bytes(numbers, sizeof(numbers)), node_bytes(&sum, 8),
	};

	for (int i = 0; i < 1000; i++)
		numbers[i] = i;
	CHECK_EQ(0, node_open_module(fd, "file:///libcalculator_skel.so?calculator_skel_handle_invoke"
				"&_modver=1.0&_idlver=1.2.3&_dom=cdsp", &handle));
	CHECK_EQ(0, node_invoke(fd, handle, 0x02020100, args));
	CHECK_EQ(499500, sum);
	args[2] = node_bytes(&max, 4);
	CHECK_EQ(0, node_invoke(fd, handle, 0x03020100, args));
	CHECK_EQ(999, max);
	close(fd);
}

static void inline_sizes(void)
{
	uint8_t *in = malloc(MAX_SIZE + 64), *out = malloc(MAX_SIZE + 64);
	uint32_t handle;
	int fd = open_process(&handle);

	for (size_t i = 0; i < SIZES; i++) {
		node_fill(in + i, sizes[i], i);
		memset(out, 0xaa, MAX_SIZE + 64);
		CHECK_EQ(0, node_echo(fd, handle, node_bytes(in + i, sizes[i]),
				      node_bytes(out + 3 * i, sizes[i])));
		CHECK(!memcmp(in + i, out + 3 * i, sizes[i]));
		CHECK_EQ(0xaa, out[3 * i + sizes[i]]);
	}
	close(fd);
	free(in);
	free(out);
}

/* Echoes all sizes between two parts of two dma-bufs. */
static void echo_buffers(int fd, uint32_t handle, int in_fd, int out_fd)
{
	uint8_t *in = mmap(NULL, 2 * MAX_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, in_fd, 0);
	uint8_t *out = mmap(NULL, 2 * MAX_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, out_fd, 0);

	if (!CHECK(in != MAP_FAILED && out != MAP_FAILED))
		return;
	for (size_t i = 0; i < SIZES; i++) {
		size_t from = i * 5003, to = i * 7001;

		node_fill(in + from, sizes[i], i);
		memset(out, 0xaa, 2 * MAX_SIZE);
		CHECK_EQ(0, node_echo(fd, handle, node_buffer(in + from, sizes[i], in_fd),
				      node_buffer(out + to, sizes[i], out_fd)));
		CHECK(!memcmp(in + from, out + to, sizes[i]));
		CHECK_EQ(0xaa, out[to + sizes[i]]);
		CHECK(!to || out[to - 1] == 0xaa);
	}
	munmap(in, 2 * MAX_SIZE);
	munmap(out, 2 * MAX_SIZE);
}

static void dma_buffers(void)
{
	struct fastrpc_alloc_dma_buf in = { .size = 2 * MAX_SIZE }, out = in;
	uint32_t handle;
	int fd = open_process(&handle);

	CHECK_EQ(0, node_ioctl(fd, FASTRPC_IOCTL_ALLOC_DMA_BUFF, &in));
	CHECK_EQ(0, node_ioctl(fd, FASTRPC_IOCTL_ALLOC_DMA_BUFF, &out));
	echo_buffers(fd, handle, in.fd, out.fd);
	close(in.fd);
	close(out.fd);
	close(fd);
}

static void heap_buffers(void)
{
	struct dma_heap_allocation_data in = {
		.len = 2 * MAX_SIZE,
		.fd_flags = O_RDWR | O_CLOEXEC,
	}, out = in;
	int heap = open(HEAP, O_RDWR | O_CLOEXEC);
	uint32_t handle;
	int fd = open_process(&handle);

	CHECK(heap >= 0);
	CHECK_EQ(0, node_ioctl(heap, DMA_HEAP_IOCTL_ALLOC, &in));
	CHECK_EQ(0, node_ioctl(heap, DMA_HEAP_IOCTL_ALLOC, &out));
	echo_buffers(fd, handle, in.fd, out.fd);
	close(in.fd);
	close(out.fd);
	close(heap);
	close(fd);
}

static void mapped_buffer(void)
{
	/* A buffer that the DSP keeps between calls. */
	struct fastrpc_alloc_dma_buf buf = { .size = 65536 };
	struct fastrpc_mem_unmap unmap = { 0 };
	struct fastrpc_mem_map map = { 0 };
	uint64_t sum = 0;
	uint32_t in[4] = { 0, 4096, 1000, 0 };
	struct fastrpc_invoke_args args[] = { node_bytes(in, sizeof(in)), node_bytes(&sum, 8) };
	uint32_t handle;
	uint8_t *ptr;
	int fd = open_process(&handle);

	CHECK_EQ(0, node_ioctl(fd, FASTRPC_IOCTL_ALLOC_DMA_BUFF, &buf));
	ptr = mmap(NULL, buf.size, PROT_READ | PROT_WRITE, MAP_SHARED, buf.fd, 0);
	CHECK(ptr != MAP_FAILED);
	node_fill(ptr, buf.size, 3);

	map.fd = buf.fd;
	map.flags = FASTRPC_MAP_FD;
	map.vaddrin = (uintptr_t)ptr;
	map.length = buf.size;
	CHECK_EQ(0, node_ioctl(fd, FASTRPC_IOCTL_MEM_MAP, &map));
	CHECK_EQ(1, simdsp_stat("cdsp", "maps"));
	in[0] = buf.fd;
	CHECK_EQ(0, node_invoke(fd, handle, SCALARS(MAPPED, 1, 1), args));
	CHECK(sum == node_hash(NODE_HASH, ptr + 4096, 1000));
	unmap.fd = buf.fd;
	unmap.vaddr = map.vaddrout;
	unmap.length = buf.size;
	CHECK_EQ(0, node_ioctl(fd, FASTRPC_IOCTL_MEM_UNMAP, &unmap));
	CHECK_EQ(0, simdsp_stat("cdsp", "maps"));
	munmap(ptr, buf.size);
	close(buf.fd);
	close(fd);
}

static void heap_growth(void)
{
	struct fastrpc_req_mmap grow = { .fd = -1, .flags = 0x1000, .size = 262144 };
	struct fastrpc_req_munmap shrink = { .size = 262144 };
	uint32_t handle;
	int fd = open_process(&handle);

	CHECK_EQ(0, node_ioctl(fd, FASTRPC_IOCTL_MMAP, &grow));
	CHECK_EQ(1, simdsp_stat("cdsp", "maps"));
	shrink.vaddrout = grow.vaddrout;
	CHECK_EQ(0, node_ioctl(fd, FASTRPC_IOCTL_MUNMAP, &shrink));
	CHECK_EQ(0, simdsp_stat("cdsp", "maps"));
	close(fd);
}

static void capabilities(void)
{
	struct fastrpc_ioctl_capability query = { .attribute_id = 10 };
	int fd = open(NODE, O_RDWR | O_CLOEXEC);

	/* Asked before there is a process, as the library does. */
	CHECK(fd >= 0);
	CHECK_EQ(0, node_ioctl(fd, FASTRPC_IOCTL_GET_DSP_INFO, &query));
	query.attribute_id = 255;
	CHECK_EQ(0, node_ioctl(fd, FASTRPC_IOCTL_GET_DSP_INFO, &query));
	query.attribute_id = 256;
	CHECK_EQ(-EOVERFLOW, node_ioctl(fd, FASTRPC_IOCTL_GET_DSP_INFO, &query));
	close(fd);
}

static void statuses(void)
{
	static const int32_t values[] = { 0, 1, 77, 0x7fffffff, FAULT, (int32_t)0x8000040d, -1 };
	uint32_t handle;
	int fd = open_process(&handle);

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		struct fastrpc_invoke_args arg = node_bytes(&values[i], 4);

		CHECK_EQ(values[i], node_invoke(fd, handle, SCALARS(STATUS, 1, 0), &arg));
	}
	close(fd);
}

static void out_of_order(void)
{
	uint32_t handle, in = 1, out = 0;
	int fd = open_process(&handle);
	struct node_call calls[4];

	for (int i = 0; i < 4; i++) {
		CHECK_EQ(0, node_call_start(&calls[i], fd, handle, SCALARS(HOLD, 0, 0), NULL));
	}
	CHECK(simdsp_wait_stat("cdsp", "held", 4, 5000));
	CHECK_EQ(0, node_echo(fd, handle, node_bytes(&in, 4), node_bytes(&out, 4)));
	CHECK_EQ(1, out);
	CHECK_EQ(0, simdsp_cmd(NULL, "release-held cdsp 9"));
	for (int i = 0; i < 4; i++) {
		CHECK_EQ(9, node_call_join(&calls[i]));
	}
	close(fd);
}

/* What a bank of the DSP can reach. Return: number of ranges of its addresses. */
static int read_ranges(unsigned int bank, struct simdsp_range *ranges)
{
	int count = simdsp_reach("cdsp", bank, ranges, MAX_RANGES);

	return CHECK(count >= 0) ? count : 0;
}

/* The stream that the device tree gives a bank, or -1. */
static int stream_id(unsigned int bank)
{
	static const char * const edges[] = { "cdsp-edge", "remoteproc-cdsp@*/glink-edge" };
	char pattern[256];
	glob_t found = { 0 };
	uint8_t cells[8];
	int id = -1;
	FILE *file;

	for (size_t i = 0; i < sizeof(edges) / sizeof(*edges); i++) {
		snprintf(pattern, sizeof(pattern), "/sys/firmware/devicetree/base/%s/fastrpc/"
			 "compute-cb@%x/iommus", edges[i], bank);
		glob(pattern, i ? GLOB_APPEND : 0, NULL, &found);
	}
	file = found.gl_pathc ? fopen(found.gl_pathv[0], "r") : NULL;
	globfree(&found);
	if (!file)
		return -1;
	if (fread(cells, 1, sizeof(cells), file) == sizeof(cells))
		id = cells[6] << 8 | cells[7];
	fclose(file);
	return id;
}

static void isolation(void)
{
	struct fastrpc_alloc_dma_buf buf = { .size = MAX_SIZE };
	struct fastrpc_mem_map map;
	static struct simdsp_range own[MAX_RANGES], others[MAX_RANGES];
	uint32_t mine[8], theirs[8], handle, other_handle;
	char line[SIMDSP_LINE], expected[64];
	struct fastrpc_invoke_args arg;
	unsigned long long first = 0, last = 0;
	uint32_t touch[4] = { 0, 0, 4, 0 };
	int own_count, count, ret;
	int fd = open_process(&handle), other = open_process(&other_handle);
	void *ptr;

	/* client, tid, pd, bank, ... */
	arg = node_bytes(mine, sizeof(mine));
	CHECK_EQ(0, node_invoke(fd, handle, SCALARS(INFO, 0, 1), &arg));
	arg = node_bytes(theirs, sizeof(theirs));
	CHECK_EQ(0, node_invoke(other, other_handle, SCALARS(INFO, 0, 1), &arg));
	CHECK(mine[3] != theirs[3]);

	/* A buffer that only one of them has, and has used: a driver may not map it before. */
	CHECK_EQ(0, node_ioctl(other, FASTRPC_IOCTL_ALLOC_DMA_BUFF, &buf));
	ptr = mmap(NULL, buf.size, PROT_READ | PROT_WRITE, MAP_SHARED, buf.fd, 0);
	CHECK(ptr != MAP_FAILED);
	arg = (struct fastrpc_invoke_args) { (uintptr_t)ptr, sizeof(line), buf.fd, 0 };
	CHECK_EQ(0, node_echo(other, other_handle, arg, node_bytes(line, sizeof(line))));
	/* For as long as this takes. */
	map = (struct fastrpc_mem_map) {
		.fd = buf.fd,
		.flags = FASTRPC_MAP_FD,
		.vaddrin = (uintptr_t)ptr,
		.length = buf.size,
	};
	CHECK_EQ(0, node_ioctl(other, FASTRPC_IOCTL_MEM_MAP, &map));
	munmap(ptr, buf.size);
	own_count = read_ranges(mine[3], own);
	count = read_ranges(theirs[3], others);
	/* Addresses that mean something to the other session only: the first and the last. */
	for (int i = 0; i < count; i++) {
		for (unsigned long long at = 0; at < others[i].len; at += 4096) {
			if (simdsp_reaches(own, own_count, others[i].iova + at))
				continue;
			last = others[i].iova + at;
			if (!first)
				first = last;
			CHECK_EQ(-EFAULT, simdsp_cmd(NULL, "touch cdsp %u %#llx 4 r", mine[0],
						     last));
		}
	}
	CHECK(first < last);

	/*
	 * The same in a call, whose status tells of it. The call itself is mapped for as long,
	 * maybe at one of them, but not at both.
	 */
	CHECK_EQ(0, simdsp_cmd(NULL, "expect-fault 1"));
	touch[0] = first;
	touch[1] = first >> 32;
	arg = node_bytes(touch, sizeof(touch));
	ret = node_invoke(fd, handle, SCALARS(TOUCH, 1, 0), &arg);
	if (!ret) {
		touch[0] = last;
		touch[1] = last >> 32;
		ret = node_invoke(fd, handle, SCALARS(TOUCH, 1, 0), &arg);
	}
	CHECK_EQ(FAULT, ret);
	/* To its owner it means something. */
	CHECK_EQ(0, node_invoke(other, other_handle, SCALARS(TOUCH, 1, 0), &arg));

	snprintf(expected, sizeof(expected), "bank %u F_TRANSLATION sid %#x ", mine[3],
		 stream_id(mine[3]));
	CHECK_EQ(0, simdsp_cmd(line, "faults"));
	count = atoi(line);
	CHECK_EQ(1, count);
	for (int i = 0; i < count; i++) {
		CHECK_EQ(0, simdsp_next_line(line));
		if (!CHECK(strstr(line, expected)))
			printf("# %s\n", line);
	}
	close(buf.fd);
	close(fd);
	close(other);
}

static void release(void)
{
	long long releases = simdsp_stat("cdsp", "releases");
	struct fastrpc_alloc_dma_buf buf = { .size = MAX_SIZE };
	uint32_t handle;
	int fd = open_process(&handle);

	CHECK_EQ(0, node_ioctl(fd, FASTRPC_IOCTL_ALLOC_DMA_BUFF, &buf));
	CHECK(simdsp_stat("cdsp", "mappings") >= MAX_SIZE);
	close(buf.fd);
	close(fd);
	CHECK_EQ(releases + 1, simdsp_stat("cdsp", "releases"));
	CHECK(simdsp_wait_stat("cdsp", "processes", 0, 2000));
	CHECK(simdsp_wait_stat("cdsp", "mappings", 0, 2000));
}

static const struct tap_test tests[] = {
	{ "fastrpc.attach", attach },
	{ "fastrpc.unsigned_create", unsigned_create },
	{ "fastrpc.calculator", calculator },
	{ "fastrpc.inline_sizes", inline_sizes },
	{ "fastrpc.dma_buffers", dma_buffers },
	{ "fastrpc.heap_buffers", heap_buffers },
	{ "fastrpc.mapped_buffer", mapped_buffer },
	{ "fastrpc.heap_growth", heap_growth },
	{ "fastrpc.capabilities", capabilities },
	{ "fastrpc.statuses", statuses },
	{ "fastrpc.out_of_order", out_of_order },
	{ "fastrpc.isolation", isolation },
	{ "fastrpc.release", release },
};

int main(void)
{
	if (access(NODE, F_OK)) {
		printf("Bail out! no " NODE "\n");
		return 1;
	}
	return tap_run(tests, sizeof(tests) / sizeof(tests[0]));
}
