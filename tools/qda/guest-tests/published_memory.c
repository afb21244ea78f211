// SPDX-License-Identifier: GPL-2.0
/*
 * The published states of the FastRPC library on the accel devices: memory.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "published.h"

#define SIZE		300000

/* Methods of the module "simdsp". */
#define HANDLES		0x0c010110
#define MAPPED		0x0e010100

static size_t page_size(void)
{
	return sysconf(_SC_PAGESIZE);
}

/* FNV-1a, as the module "simdsp" has it. */
static uint64_t checksum(const uint8_t *data, size_t length)
{
	uint64_t sum = 0xcbf29ce484222325ULL;

	while (length--)
		sum = (sum ^ *data++) * 0x100000001b3ULL;
	return sum;
}

/* Parts of two regions, and of other memory, anywhere and of any length. */
static void echo_parts(int dev, uint32_t handle, const struct region *from,
		       const struct region *to)
{
	static const size_t lengths[] = { 1, 4, 127, 128, 129, 4095, 4096, 4097, 65536, 100001 };
	static uint8_t memory[100001];

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		size_t length = lengths[i], in = 5003 * i, out = 7001 * i + 1;

		fill(from->map, from->size, i);
		memset(to->map, 0xaa, to->size);
		CHECK_EQ(0, echo(lib, dev, handle, part(from, in, length), part(to, out, length)));
		CHECK(!memcmp(from->map + in, to->map + out, length));
		CHECK_EQ(0xaa, to->map[out - 1]);
		CHECK_EQ(0xaa, to->map[out + length]);
		CHECK_EQ(0, echo(lib, dev, handle, part(to, out, length), plain(memory, length)));
		CHECK(!memcmp(from->map + in, memory, length));
	}
	CHECK_EQ(0, echo(lib, dev, handle, part(from, 9, 0), part(to, 9, 0)));
}

static void heap_buffers(void)
{
	struct region from, to;
	uint32_t handle;
	int dev = open_simdsp(lib, "cdsp", &handle);

	if (!CHECK(dev >= 0) || !CHECK(lib->alloc(dev, SIZE, &from)) ||
	    !CHECK(lib->alloc(dev, SIZE, &to)))
		return;
	echo_parts(dev, handle, &from, &to);
	lib->free(&from);
	lib->free(&to);
	close(dev);
}

/*
 * State A allocates them all from one device, whatever the DSP of the session is: with a session on
 * each, one of them has buffers of its own, the other has those of another.
 */
static void buffers_of_another_file(void)
{
	static const char *const dsps[] = { "cdsp", "adsp" };

	for (int i = 0; i < 2; i++) {
		int dev = open_session(lib, dsps[i]);
		struct region from, to;
		uint32_t handle;

		if (!CHECK(dev >= 0))
			return;
		CHECK_EQ(0, lib->create(dev, NULL, 0, NO_BUFFER, i ? 0 : UNSIGNED_MODULE, 0));
		CHECK_EQ(0, open_module(lib, dev, "simdsp", &handle));
		if (!CHECK(lib->alloc_elsewhere(dev, SIZE, &from)) ||
		    !CHECK(lib->alloc_elsewhere(dev, SIZE, &to)))
			return;
		echo_parts(dev, handle, &from, &to);
		lib->free(&from);
		lib->free(&to);
		close(dev);
	}
}

/* What is mapped of a buffer begins, and is cut, anywhere. */
static void pointers_anywhere(void)
{
	size_t page = page_size(), size = 16 * page;
	struct region region, view;
	uint8_t *out = malloc(size);
	uint32_t handle;
	int dev = open_simdsp(lib, "cdsp", &handle);

	if (!CHECK(dev >= 0) || !CHECK(lib->alloc(dev, size, &region)))
		return;
	fill(region.map, size, 3);
	/* A mapping of the end of the buffer. */
	view = region;
	view.map = mmap(NULL, 4 * page, PROT_READ | PROT_WRITE, MAP_SHARED, region.dmabuf,
			12 * page);
	CHECK(view.map != MAP_FAILED);
	CHECK_EQ(0, echo(lib, dev, handle, part(&view, page + 5, 2 * page), plain(out, 2 * page)));
	CHECK(!memcmp(out, region.map + 13 * page + 5, 2 * page));

	/* One that is cut in pieces; an argument may lie on several of them. */
	CHECK_EQ(0, mprotect(region.map + 4 * page, page, PROT_READ));
	CHECK_EQ(0, munmap(region.map + 10 * page, page));
	for (int i = 3; i < 9; i++) {
		CHECK_EQ(0, echo(lib, dev, handle, part(&region, i * page + 11, page),
				 plain(out, page)));
		CHECK(!memcmp(out, region.map + i * page + 11, page));
	}
	CHECK_EQ(0, echo(lib, dev, handle, part(&region, 12 * page, page), plain(out, page)));
	CHECK(!memcmp(out, region.map + 12 * page, page));

	/* Past the end of the buffer, in another buffer, in no buffer. */
	errno = 0;
	CHECK_EQ(-1, echo(lib, dev, handle, part(&view, 3 * page, page + 1), plain(out, page + 1)));
	CHECK_EQ(EINVAL, errno);
	view.map = region.map + 10 * page;
	CHECK_EQ(-1, echo(lib, dev, handle, part(&view, 0, page), plain(out, page)));
	/* State B maps something for each call, perhaps there. */
	CHECK(errno == EFAULT || (errno == EINVAL && lib == &library_b));
	view.map = out;
	CHECK_EQ(-1, echo(lib, dev, handle, part(&view, 0, 1), plain(out + 1, 1)));
	CHECK_EQ(EINVAL, errno);
	free(out);
	lib->free(&region);
	close(dev);
}

/* Has the process read part of a buffer that it has under a number. */
static void read_mapped(int dev, uint32_t handle, int number, const struct region *region)
{
	uint32_t in[4] = { number, 4096, 1000, 0 };
	uint64_t sum = 0;
	struct argument args[] = { plain(in, sizeof(in)), plain(&sum, sizeof(sum)) };

	CHECK_EQ(0, lib->invoke(dev, handle, MAPPED, args));
	CHECK_EQ(checksum(region->map + 4096, 1000), sum);
}

/*
 * The number is whatever the application has from the library: in state A a handle or a descriptor,
 * in state B a descriptor.
 */
static void map_buffers(void)
{
	static const uint32_t flags[] = { MAP_FD, MAP_STATIC, MAP_FD_DELAYED };
	struct region region;
	uint64_t dsp, again;
	uint32_t handle;
	int dev = open_simdsp(lib, "cdsp", &handle);

	if (!CHECK(dev >= 0) || !CHECK(lib->alloc(dev, 65536, &region)))
		return;
	fill(region.map, 65536, 8);
	for (int i = 0; i < 3; i++) {
		/* With FD_DELAYED it is the DSP that wants it, and there is no address. */
		const void *address = flags[i] == MAP_FD_DELAYED ? NULL : region.map;
		int numbers[2] = { region.number, region.dmabuf };

		for (int j = 0; j < 2; j++) {
			int number = numbers[j];

			if (!address && number != region.number)
				continue;
			CHECK_EQ(0, lib->map(dev, MAP_BUFFER, flags[i], number, 65536, address,
					     &dsp));
			read_mapped(dev, handle, number, &region);
			errno = 0;
			CHECK_EQ(-1, lib->map(dev, MAP_BUFFER, flags[i], number, 65536, address,
					      &again));
			CHECK_EQ(EEXIST, errno);
			CHECK_EQ(0, lib->unmap(dev, MAP_BUFFER, number, 65536, dsp));
			errno = 0;
			CHECK_EQ(-1, lib->unmap(dev, MAP_BUFFER, number, 65536, dsp));
			CHECK_EQ(EINVAL, errno);
		}
	}
	CHECK_EQ(0, simdsp_stat("cdsp", "maps"));

	/* A buffer that was to stay mapped is unmapped without its address. */
	CHECK_EQ(-1, lib->unmap(dev, MAP_BUFFER, region.number, 65536, 0));
	CHECK_EQ(EINVAL, errno);

	/* Descriptor and mapping may go: the DSP keeps what it has. */
	CHECK_EQ(0, lib->map(dev, MAP_BUFFER, MAP_FD, region.number, 65536, region.map, &dsp));
	read_mapped(dev, handle, region.number, &region);
	lib->free(&region);
	CHECK_EQ(1, simdsp_stat("cdsp", "maps"));
	close(dev);
	CHECK_EQ(0, simdsp_stat("cdsp", "maps"));
}

static void map_heap(void)
{
	uint64_t kernel, user, dsp;
	struct region region;
	uint32_t handle;
	int dev = open_simdsp(lib, "cdsp", &handle);

	if (!CHECK(dev >= 0) || !CHECK(lib->alloc(dev, 65536, &region)))
		return;
	/* The kernel's memory, as for signed processes; the program's, for unsigned ones. */
	CHECK_EQ(0, lib->map(dev, MAP_HEAP, HEAP_ADD_PAGES, NO_BUFFER, 262144, NULL, &kernel));
	CHECK_EQ(0, lib->map(dev, MAP_HEAP, HEAP_ADD_PAGES, region.number, 65536, region.map,
			     &user));
	CHECK(kernel && user && kernel != user);
	CHECK_EQ(2, simdsp_stat("cdsp", "maps"));
	errno = 0;
	CHECK_EQ(-1, lib->unmap(dev, MAP_HEAP, NO_BUFFER, 4096, user));
	CHECK_EQ(EINVAL, errno);
	CHECK_EQ(0, lib->unmap(dev, MAP_HEAP, NO_BUFFER, 65536, user));
	CHECK_EQ(0, lib->unmap(dev, MAP_HEAP, NO_BUFFER, 262144, kernel));
	CHECK_EQ(0, simdsp_stat("cdsp", "maps"));

	/* The heap of all static processes is not for an unsigned one. */
	errno = 0;
	CHECK_EQ(-1, lib->map(dev, MAP_HEAP, 8, NO_BUFFER, 65536, NULL, &dsp));
	CHECK_EQ(EINVAL, errno);
	lib->free(&region);
	close(dev);
}

/*
 * The library passes arrays of buffers alone, also where the scalars name handles. What the kernel
 * finds behind them is nobody's: it is an error, or a buffer of the caller's own.
 */
static void handles_that_are_not_there(void)
{
	uint32_t seed = 0, handle, victim_handle;
	struct region mine, secret;
	uint64_t sum = 0;
	struct argument args[] = { plain(&seed, sizeof(seed)), plain(&sum, sizeof(sum)) };
	int dev = open_simdsp(lib, "cdsp", &handle);
	int victim = open_simdsp(lib, "cdsp", &victim_handle);

	if (!CHECK(dev >= 0 && victim >= 0) || !CHECK(lib->alloc(dev, 65536, &mine)) ||
	    !CHECK(lib->alloc(victim, 65536, &secret)))
		return;
	fill(mine.map, 65536, 1);
	fill(secret.map, 65536, 2);
	/* Descriptor 0 is a buffer: a number of 0 means none. */
	CHECK_EQ(0, dup2(secret.dmabuf, 0));

	for (uint32_t handles = 0; handles < 256; handles++) {
		long long calls = simdsp_stat("cdsp", "invokes");
		int ret;

		sum = 0;
		errno = 0;
		ret = lib->invoke(dev, handle, (HANDLES & ~0xff) | handles, args);
		if (ret == -1) {
			CHECK(errno == ENOENT || errno == EINVAL || errno == EFAULT ||
			      errno == EOPNOTSUPP);
			CHECK_EQ(calls, simdsp_stat("cdsp", "invokes"));
		} else {
			CHECK(!handles || ret || sum != checksum(secret.map, secret.size));
		}
	}

	/* Without a buffer there is no array at all. */
	for (uint32_t handles = 1; handles < 256; handles *= 2) {
		errno = 0;
		CHECK_EQ(-1, lib->invoke(dev, handle, 0x0c000000 | handles, NULL));
		CHECK(errno == EFAULT || errno == ENOENT);
	}

	/* The session is as good as before. */
	CHECK_EQ(0, echo(lib, dev, handle, part(&mine, 0, 65536), part(&mine, 0, 65536)));
	close(0);
	lib->free(&mine);
	lib->free(&secret);
	close(victim);
	close(dev);
}

const struct tap_test memory_tests[] = {
	{ "heap_buffers", heap_buffers },
	{ "buffers_of_another_file", buffers_of_another_file },
	{ "pointers_anywhere", pointers_anywhere },
	{ "map_buffers", map_buffers },
	{ "map_heap", map_heap },
	{ "handles_that_are_not_there", handles_that_are_not_there },
};

const int memory_count = sizeof(memory_tests) / sizeof(memory_tests[0]);
