// SPDX-License-Identifier: GPL-2.0
/*
 * The catalogue: buffers, mappings, and what is copied from and to the program.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <drm/drm.h>

#include "catalogue.h"
#include "dmabuf.h"

#define PAGE		4096
#define SIZE		65536
#define HEAP		262144
#define HEAP_FLAGS	0x1000

#define RACE_S		4

/* struct buffer - a dma-buf of the driver's or of the system's, mapped */
struct buffer {
	int fd;
	size_t size;
	uint8_t *map;
};

static bool buffer_map(struct buffer *buf, int fd, size_t size)
{
	buf->fd = fd;
	buf->size = size;
	buf->map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	return buf->map != MAP_FAILED;
}

static bool buffer_new(struct buffer *buf, int file, size_t size)
{
	struct fastrpc_alloc_dma_buf args = { .size = size };

	return !node_ioctl(file, FASTRPC_IOCTL_ALLOC_DMA_BUFF, &args) &&
	       buffer_map(buf, args.fd, size);
}

static void buffer_free(struct buffer *buf)
{
	munmap(buf->map, buf->size);
	close(buf->fd);
}

static int mem_map(int fd, int dmabuf, size_t length, uint64_t *address)
{
	struct fastrpc_mem_map args = { .fd = dmabuf, .flags = FASTRPC_MAP_FD, .length = length };
	int ret = node_ioctl(fd, FASTRPC_IOCTL_MEM_MAP, &args);

	*address = args.vaddrout;
	return ret;
}

static int mem_unmap(int fd, int dmabuf, uint64_t address, size_t length)
{
	struct fastrpc_mem_unmap args = { .fd = dmabuf, .vaddr = address, .length = length };

	return node_ioctl(fd, FASTRPC_IOCTL_MEM_UNMAP, &args);
}

static int open_files(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int count = 0;

	while (dir && readdir(dir))
		count++;
	if (dir)
		closedir(dir);
	return count;
}

/* What racing threads share. */
static struct race {
	struct buffer buf;
	uint32_t handle;
	int fd;
	int stop;
} race;

static void *race_echo(void *arg)
{
	size_t from = (uintptr_t)arg * 8192;

	while (!__atomic_load_n(&race.stop, __ATOMIC_RELAXED)) {
		node_echo(race.fd, race.handle, node_buffer(race.buf.map + from, 3000, race.buf.fd),
			  node_buffer(race.buf.map + from + 4096, 3000, race.buf.fd));
	}
	return NULL;
}

static void *race_map(void *arg)
{
	uint64_t address;

	(void)arg;
	while (!__atomic_load_n(&race.stop, __ATOMIC_RELAXED)) {
		if (!mem_map(race.fd, race.buf.fd, SIZE, &address))
			mem_unmap(race.fd, race.buf.fd, address, SIZE);
	}
	return NULL;
}

static void mapping_races(void)
{
	pthread_t threads[4];

	race.fd = node_open(&race.handle);
	NEED(race.fd >= 0);
	NEED(buffer_map(&race.buf, dmabuf_heap(SIZE), SIZE));
	for (uintptr_t i = 0; i < 3; i++)
		pthread_create(&threads[i], NULL, race_echo, (void *)i);
	pthread_create(&threads[3], NULL, race_map, NULL);
	sleep(RACE_S);
	__atomic_store_n(&race.stop, 1, __ATOMIC_RELAXED);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	EXPECT_EQ("leak", 0, simdsp_stat("cdsp", "maps"));
	EXPECT("later calls fail", catalogue_works(race.fd, race.handle));
	buffer_free(&race.buf);
	close(race.fd);
}

/* A call that lends a buffer to the DSP, which gives it back. */
static int lend(int fd, uint32_t handle, struct buffer *buf, uint64_t *sum)
{
	uint32_t seed = 1;
	struct fastrpc_invoke_args args[] = {
		node_bytes(&seed, sizeof(seed)), node_bytes(sum, sizeof(*sum)),
		node_buffer(NULL, buf->size, buf->fd),
	};

	return node_invoke(fd, handle, SCALARS_HANDLES(HANDLES, 1, 1, 1), args);
}

static void results_not_copied(void)
{
	uint64_t sum = 0, *unwritable = catalogue_unwritable(&sum, sizeof(sum));
	struct buffer buf;
	long long before;
	char action[32];
	uint32_t handle;
	int fd = node_open(&handle);

	NEED(fd >= 0);
	NEED(buffer_new(&buf, fd, SIZE));
	snprintf(action, sizeof(action), "{\"fdlist\":[%d]}", buf.fd);
	catalogue_script("\"dsp\":\"cdsp\",\"module\":\"simdsp\",\"method\":12", action);
	EXPECT_EQ("call failed", 0, lend(fd, handle, &buf, &sum));
	before = simdsp_stat("cdsp", "mappings");
	for (int i = 0; i < 16; i++)
		EXPECT_EQ("wrong errno", -EFAULT, lend(fd, handle, &buf, unwritable));
	EXPECT("leak", simdsp_stat("cdsp", "mappings") <= before);
	catalogue_no_script();
	buffer_free(&buf);
	close(fd);
}

static void unmap_of_nothing(void)
{
	struct buffer buf;
	uint64_t address;
	uint32_t handle;
	int fd = node_open(&handle);

	NEED(fd >= 0);
	/* Not the driver's: P19 is about mapping those. */
	NEED(buffer_map(&buf, dmabuf_heap(SIZE), SIZE));
	EXPECT_EQ("wrong errno", -EINVAL, mem_unmap(fd, -1, 0x1234000, SIZE));
	EXPECT_EQ("call failed", 0, mem_map(fd, buf.fd, SIZE, &address));
	EXPECT_EQ("wrong errno", -EINVAL, mem_unmap(fd, -1, address + 1, SIZE));
	EXPECT_EQ("wrong errno", -EINVAL, mem_unmap(fd, buf.fd, address + PAGE, SIZE));
	EXPECT_EQ("wrong errno", -EINVAL, mem_unmap(fd, buf.fd + 100, address, SIZE));
	EXPECT_EQ("call failed", 0, mem_unmap(fd, -1, address, SIZE));
	EXPECT_EQ("wrong errno", -EINVAL, mem_unmap(fd, -1, address, SIZE));
	buffer_free(&buf);
	close(fd);
}

static void growth_not_copied(void)
{
	struct fastrpc_req_mmap grow = { .fd = -1, .flags = HEAP_FLAGS, .size = HEAP };
	struct fastrpc_req_mmap *unwritable = catalogue_unwritable(&grow, sizeof(grow));
	struct fastrpc_req_munmap shrink = { .size = HEAP };
	uint32_t handle;
	int fd = node_open(&handle);

	NEED(fd >= 0);
	for (int i = 0; i < 3; i++) {
		EXPECT_EQ("wrong errno", -EFAULT, node_ioctl(fd, FASTRPC_IOCTL_MMAP, unwritable));
		EXPECT_EQ("leak", 0, simdsp_stat("cdsp", "maps"));
	}
	EXPECT_EQ("call failed", 0, node_ioctl(fd, FASTRPC_IOCTL_MMAP, &grow));
	shrink.vaddrout = grow.vaddrout;
	EXPECT_EQ("call failed", 0, node_ioctl(fd, FASTRPC_IOCTL_MUNMAP, &shrink));
	close(fd);
}

static void descriptor_not_copied(void)
{
	struct fastrpc_alloc_dma_buf args = { .size = SIZE };
	struct fastrpc_alloc_dma_buf *unwritable = catalogue_unwritable(&args, sizeof(args));
	uint32_t handle;
	int fd = node_open(&handle), files;

	NEED(fd >= 0);
	files = open_files();
	for (int i = 0; i < 50; i++)
		EXPECT_EQ("wrong errno", -EFAULT,
			  node_ioctl(fd, FASTRPC_IOCTL_ALLOC_DMA_BUFF, unwritable));
	EXPECT_EQ("leak", files, open_files());
	EXPECT_EQ("later calls fail", 0, node_ioctl(fd, FASTRPC_IOCTL_ALLOC_DMA_BUFF, &args));
	close(args.fd);
	close(fd);
}

static void overlapping_arguments(void)
{
	/* Each begins in the one before, and all of them cross pages. */
	enum { COUNT = 12, STEP = 1500, LENGTH = 5000 };
	static uint8_t bytes[COUNT * STEP + LENGTH + PAGE];
	struct fastrpc_invoke_args args[COUNT + 1];
	uint64_t sum, hash;
	uint32_t handle;
	int fd = node_open(&handle);

	NEED(fd >= 0);
	node_fill(bytes, sizeof(bytes), 7);
	for (size_t from = 0; from < PAGE; from += 509) {
		hash = NODE_HASH;
		for (int i = 0; i < COUNT; i++) {
			/* Not in the order of their addresses. */
			uint8_t *at = bytes + from + i * 7 % COUNT * STEP;

			args[i] = node_bytes(at, LENGTH);
			hash = node_hash(hash, at, LENGTH);
		}
		args[COUNT] = node_bytes(&sum, sizeof(sum));
		EXPECT_EQ("call failed", 0,
			  node_invoke(fd, handle, SCALARS(CHECKSUM, COUNT, 1), args));
		EXPECT("wrong data", sum == hash);
	}
	close(fd);
}

static void overlap_of_two_kinds(void)
{
	/* Bytes that are copied and bytes that are not, at overlapping addresses of the program. */
	static const struct {
		size_t from, length;
		bool copied;
	} parts[] = {
		{ 0, 8192, false }, { 4000, 100, true }, { 4050, 5000, false },
		{ 4060, 9000, true }, { 100, 50, true }, { 12000, 4096, false },
		{ 11999, 2, true }, { 0, 16384, true },
	};
	enum { COUNT = sizeof(parts) / sizeof(*parts) };
	struct fastrpc_invoke_args args[COUNT + 1];
	uint64_t sum = 0, hash = NODE_HASH;
	struct buffer buf;
	uint32_t handle;
	int fd = node_open(&handle);

	NEED(fd >= 0);
	NEED(buffer_new(&buf, fd, SIZE));
	node_fill(buf.map, SIZE, 3);
	for (int i = 0; i < COUNT; i++) {
		uint8_t *at = buf.map + parts[i].from;

		args[i] = parts[i].copied ? node_bytes(at, parts[i].length) :
					    node_buffer(at, parts[i].length, buf.fd);
		hash = node_hash(hash, at, parts[i].length);
	}
	args[COUNT] = node_bytes(&sum, sizeof(sum));
	EXPECT_EQ("call failed", 0, node_invoke(fd, handle, SCALARS(CHECKSUM, COUNT, 1), args));
	EXPECT("wrong data", sum == hash);
	buffer_free(&buf);
	close(fd);
}

/* Has the DSP read @length bytes at @ptr, which is not in the buffer @buf: nothing is right. */
static void read_outside(int fd, uint32_t handle, struct buffer *buf, const uint8_t *ptr)
{
	uint8_t out[100] = { 0 };
	size_t first = (uintptr_t)ptr % PAGE;
	int ret;

	ret = node_echo(fd, handle, node_buffer(ptr, sizeof(out), buf->fd),
			node_bytes(out, sizeof(out)));
	/* It may be refused, or be taken as if the pages before were not there. */
	EXPECT("wrong data", ret == -EFAULT || ret == -EINVAL ||
	       (!ret && !memcmp(out, buf->map + first, sizeof(out))));
	EXPECT_EQ("wrong address", 0, simdsp_stat("cdsp", "faults"));
}

static void pointer_beside_the_mapping(void)
{
	uint8_t *area = mmap(NULL, 16 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct buffer buf;
	uint32_t handle;
	int fd = node_open(&handle);

	NEED(fd >= 0 && area != MAP_FAILED);
	NEED(buffer_new(&buf, fd, 2 * PAGE));
	node_fill(buf.map, buf.size, 4);
	/* Nothing is mapped before it: the next mapping is the buffer's. */
	munmap(area, 16 * PAGE);
	munmap(buf.map, buf.size);
	buf.map = mmap(area + 8 * PAGE, buf.size, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_FIXED, buf.fd, 0);
	NEED(buf.map != MAP_FAILED);
	read_outside(fd, handle, &buf, buf.map - 2 * PAGE + 16);
	read_outside(fd, handle, &buf, buf.map - PAGE);
	buffer_free(&buf);
	close(fd);
}

static void mmap_of_a_buffer(void)
{
	struct buffer buf;
	uint32_t handle;
	int fd = node_open(&handle);

	NEED(fd >= 0);
	NEED(buffer_new(&buf, fd, SIZE));
	memset(buf.map, 1, SIZE);
	munmap(buf.map + PAGE, PAGE);
	buf.map[2 * PAGE] = 2;
	buffer_free(&buf);
	close(fd);
}

static void scattered_buffer(void)
{
	/* Files until one has the bank that is not behind the SMMU. */
	int dmabuf = dmabuf_udmabuf(16 * PAGE), fds[2];
	uint8_t *map, out[8 * PAGE];
	uint32_t handle;

	NEED(dmabuf >= 0);
	map = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, dmabuf, 0);
	NEED(map != MAP_FAILED);
	node_fill(map, 16 * PAGE, 5);
	for (int i = 0; i < 2; i++) {
		int ret;

		fds[i] = node_open(&handle);
		NEED(fds[i] >= 0);
		memset(out, 0, sizeof(out));
		ret = node_echo(fds[i], handle, node_buffer(map + PAGE, sizeof(out), dmabuf),
				node_bytes(out, sizeof(out)));
		EXPECT("wrong data", ret == -EINVAL || ret == -EOPNOTSUPP ||
		       (!ret && !memcmp(out, map + PAGE, sizeof(out))));
		EXPECT("later calls fail", catalogue_works(fds[i], handle));
	}
	close(fds[0]);
	close(fds[1]);
	munmap(map, 16 * PAGE);
	close(dmabuf);
}

static void program_by_kernel_address(void)
{
	/* Where the kernel's own memory is. */
	static const uint64_t addresses[] = {
		0xffff000000000000, 0xffff800080000000, 0xffff800080010000, 0x10,
	};
	long long creates = simdsp_stat("cdsp", "creates");
	int fd = open(NODE, O_RDWR | O_CLOEXEC);

	NEED(fd >= 0);
	for (size_t i = 0; i < sizeof(addresses) / sizeof(*addresses); i++) {
		for (int filefd = -1; filefd <= 0; filefd++) {
			struct fastrpc_init_create create = {
				.filelen = PAGE,
				.filefd = filefd,
				.attrs = FASTRPC_MODE_UNSIGNED_MODULE,
				.file = addresses[i],
			};

			EXPECT_EQ("kernel memory sent", -EFAULT,
				  node_ioctl(fd, FASTRPC_IOCTL_INIT_CREATE, &create));
		}
	}
	EXPECT_EQ("kernel memory sent", creates, simdsp_stat("cdsp", "creates"));
	close(fd);
}

static void unmap_of_another_kind(void)
{
	/* Buffers of a call and one that is lent were never mapped by an ioctl. */
	struct fastrpc_invoke_args args[2];
	struct node_call call;
	struct buffer buf;
	uint64_t sum;
	uint32_t handle;
	int fd = node_open(&handle);

	NEED(fd >= 0);
	NEED(buffer_new(&buf, fd, SIZE));
	args[0] = node_buffer(buf.map, SIZE, buf.fd);
	EXPECT_EQ("call failed", 0, lend(fd, handle, &buf, &sum));
	NEED(!node_call_start(&call, fd, handle, SCALARS(HOLD, 1, 0), args));
	NEED(simdsp_wait_stat("cdsp", "held", 1, PATIENCE));
	EXPECT_EQ("wrong errno", -EINVAL, mem_unmap(fd, -1, 0, SIZE));
	EXPECT_EQ("wrong errno", -EINVAL, mem_unmap(fd, buf.fd, 0, SIZE));
	simdsp_cmd(NULL, "release-held cdsp 0");
	EXPECT_EQ("wrong status", 0, node_call_join(&call));
	EXPECT("later calls fail", catalogue_works(fd, handle));
	buffer_free(&buf);
	close(fd);
}

static void mapped_again(void)
{
	uint64_t address, again;
	struct buffer buf;
	uint32_t handle;
	int fd = node_open(&handle);

	NEED(fd >= 0);
	NEED(buffer_new(&buf, fd, SIZE));
	EXPECT_EQ("call failed", 0, mem_map(fd, buf.fd, SIZE, &address));
	/* With another length, a greater one, the same. */
	EXPECT_EQ("wrong errno", -EEXIST, mem_map(fd, buf.fd, PAGE, &again));
	EXPECT_EQ("wrong errno", -EINVAL, mem_map(fd, buf.fd, 2 * SIZE, &again));
	EXPECT_EQ("wrong errno", -EEXIST, mem_map(fd, buf.fd, SIZE, &again));
	EXPECT_EQ("lost mapping", 1, simdsp_stat("cdsp", "maps"));
	EXPECT_EQ("lost mapping", 0, mem_unmap(fd, buf.fd, address, SIZE));
	EXPECT_EQ("leak", 0, simdsp_stat("cdsp", "maps"));
	buffer_free(&buf);
	close(fd);
}

static void numbers_of_files(void)
{
	struct fastrpc_invoke_args args[2];
	uint8_t out[100];
	struct buffer buf, other;
	uint32_t handle;
	int fd = node_open(&handle);

	NEED(fd >= 0);
	NEED(buffer_new(&buf, fd, SIZE));
	NEED(buffer_new(&other, fd, SIZE));
	/* A descriptor as any other: not closed by exec unless the program says so. */
	EXPECT_EQ("wrong flags", 0, fcntl(buf.fd, F_GETFD));
	EXPECT_EQ("wrong flags", O_RDWR, fcntl(buf.fd, F_GETFL) & O_ACCMODE);
	/* The mapping at the address has to be that very buffer's. */
	args[1] = node_bytes(out, sizeof(out));
	args[0] = node_buffer(other.map, sizeof(out), buf.fd);
	EXPECT("wrong address", node_invoke(fd, handle, SCALARS(ECHO, 1, 1), args) < 0);
	args[0] = node_buffer(out, sizeof(out), buf.fd);
	EXPECT("wrong address", node_invoke(fd, handle, SCALARS(ECHO, 1, 1), args) < 0);
	args[0] = node_buffer(buf.map + SIZE - 50, sizeof(out), buf.fd);
	EXPECT("wrong address", node_invoke(fd, handle, SCALARS(ECHO, 1, 1), args) < 0);
	EXPECT("later calls fail", catalogue_works(fd, handle));
	buffer_free(&buf);
	buffer_free(&other);
	close(fd);
}

const struct entry catalogue_memory[] = {
	{ "P6", "mapping_races", mapping_races },
	{ "P8", "results_not_copied", results_not_copied },
	{ "P9", "unmap_of_nothing", unmap_of_nothing },
	{ "P11", "growth_not_copied", growth_not_copied },
	{ "P12", "descriptor_not_copied", descriptor_not_copied },
	{ "P13", "overlapping_arguments", overlapping_arguments },
	{ "P14", "pointer_beside_the_mapping", pointer_beside_the_mapping },
	{ "P19", "mmap_of_a_buffer", mmap_of_a_buffer },
	{ "P26", "scattered_buffer", scattered_buffer },
	{ "O4", "overlap_of_two_kinds", overlap_of_two_kinds },
	{ "O6", "program_by_kernel_address", program_by_kernel_address },
	{ "O9", "growth_not_copied", growth_not_copied },
	{ "O10", "unmap_of_another_kind", unmap_of_another_kind },
	{ "O11", "mapped_again", mapped_again },
	{ "O21", "numbers_of_files", numbers_of_files },
};

const int catalogue_memory_count = sizeof(catalogue_memory) / sizeof(*catalogue_memory);
