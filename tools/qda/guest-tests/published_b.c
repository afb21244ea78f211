// SPDX-License-Identifier: GPL-2.0
/*
 * State B of the FastRPC library's accel backend.
 *
 * It passes nothing but GEM handles of the session's file, which it makes of dma-bufs for each call
 * and closes again; arguments in other memory it copies into an object that it makes for the call.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <drm/drm.h>

#include "published.h"

#define QUERY_DSP_NAME	1

/* Slices of the object for a call's arguments begin at multiples of this. */
#define SLICE		128
#define SLICES(length)	(((length) + SLICE - 1) & ~(size_t)(SLICE - 1))

struct query {
	uint32_t query_type;
	uint32_t pad;
	union {
		uint8_t dsp_name[16];
		uint64_t capabilities;
		uint64_t reserved[4];
	};
};

struct gem_create {
	uint64_t size;
	uint32_t handle;
	uint32_t pad;
};

struct gem_mmap_offset {
	uint64_t offset;
	uint32_t handle;
	uint32_t pad;
};

struct init_create {
	uint32_t filelen;
	uint32_t filehandle;
	uint32_t attrs;
	uint32_t siglen;
	uint64_t file;
};

struct mem_map {
	uint32_t request;
	uint32_t flags;
	uint32_t handle;
	uint32_t attrs;
	uint32_t offset;
	int32_t dsp_handle;
	uint64_t vaddrin;
	uint64_t size;
	uint64_t vaddrout;
};

struct mem_unmap {
	uint32_t request;
	uint32_t handle;
	int32_t dsp_handle;
	uint32_t pad;
	uint64_t vaddr;
	uint64_t vaddrout;
	uint64_t size;
};

struct invoke {
	uint32_t handle;
	uint32_t sc;
	uint64_t args;
};

struct invoke_arg {
	uint64_t ptr;
	uint64_t length;
	uint32_t handle;
	uint32_t attr;
};

_Static_assert(sizeof(struct query) == 40, "query");
_Static_assert(sizeof(struct gem_create) == 16, "gem_create");
_Static_assert(sizeof(struct gem_mmap_offset) == 16, "gem_mmap_offset");
_Static_assert(sizeof(struct init_create) == 24, "init_create");
_Static_assert(sizeof(struct mem_map) == 48, "mem_map");
_Static_assert(sizeof(struct mem_unmap) == 40, "mem_unmap");
_Static_assert(sizeof(struct invoke) == 16, "invoke");
_Static_assert(sizeof(struct invoke_arg) == 24, "invoke_arg");

#define QUERY		DRM_IOWR(DRM_COMMAND_BASE + 0, struct query)
#define GEM_CREATE	DRM_IOWR(DRM_COMMAND_BASE + 1, struct gem_create)
#define GEM_MMAP_OFFSET	DRM_IOWR(DRM_COMMAND_BASE + 2, struct gem_mmap_offset)
#define INIT_ATTACH	DRM_IO(DRM_COMMAND_BASE + 3)
#define INIT_CREATE	DRM_IOWR(DRM_COMMAND_BASE + 4, struct init_create)
#define MAP		DRM_IOWR(DRM_COMMAND_BASE + 5, struct mem_map)
#define MUNMAP		DRM_IOWR(DRM_COMMAND_BASE + 6, struct mem_unmap)
/* The size is that of an argument; what is passed is struct invoke. */
#define INVOKE		DRM_IOWR(DRM_COMMAND_BASE + 7, struct invoke_arg)

/* Whether the object for a call's arguments is of the dma-heap, and not of the session's file. */
static bool scratch_is_heap;

static bool import(int dev, int fd, uint32_t *handle)
{
	struct drm_prime_handle prime = { 0 };
	int ret;

	prime.fd = fd;
	ret = ioctl(dev, DRM_IOCTL_PRIME_FD_TO_HANDLE, &prime);
	*handle = prime.handle;
	return !ret;
}

static void close_handle(int dev, uint32_t handle)
{
	struct drm_gem_close arg = { 0 };

	arg.handle = handle;
	ioctl(dev, DRM_IOCTL_GEM_CLOSE, &arg);
}

static int query(int dev, char name[16])
{
	struct query arg = { 0 };
	int ret;

	arg.query_type = QUERY_DSP_NAME;
	ret = ioctl(dev, QUERY, &arg);
	memcpy(name, arg.dsp_name, sizeof(arg.dsp_name));
	return ret;
}

static int attach(int dev)
{
	return ioctl(dev, INIT_ATTACH, NULL);
}

/* The handle of the program's buffer stays. */
static int create(int dev, const void *shell, int length, int number, int attrs, int siglen)
{
	struct init_create arg = { 0 };

	if (number > 0 && !import(dev, number, &arg.filehandle))
		return -1;
	arg.file = (uintptr_t)shell;
	arg.filelen = length;
	arg.attrs = attrs;
	arg.siglen = siglen;
	return ioctl(dev, INIT_CREATE, &arg);
}

static bool alloc(int dev, size_t size, struct region *region)
{
	(void)dev;
	return heap_alloc(size, region);
}

/* A buffer of another file of the same DSP, which is closed afterwards. */
static bool alloc_elsewhere(int dev, size_t size, struct region *region)
{
	struct drm_prime_handle prime = { .flags = O_CLOEXEC | O_RDWR };
	struct gem_mmap_offset offset = { 0 };
	struct gem_create create;
	char path[64], name[16];
	bool done;
	int file;

	if (query(dev, name) || !find_device(&library_b, name, path))
		return false;
	file = open(path, O_RDWR | O_CLOEXEC);
	memset(&create, 0, sizeof(create));
	create.size = size;
	if (file < 0 || ioctl(file, GEM_CREATE, &create))
		return false;
	offset.handle = create.handle;
	prime.handle = create.handle;
	done = !ioctl(file, GEM_MMAP_OFFSET, &offset) &&
	       !ioctl(file, DRM_IOCTL_PRIME_HANDLE_TO_FD, &prime);
	if (done) {
		*region = (struct region) { NULL, size, prime.fd, prime.fd };
		region->map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file,
				   offset.offset);
		done = region->map != MAP_FAILED;
	}
	close(file);
	return done;
}

static void release(struct region *region)
{
	munmap(region->map, region->size);
	close(region->dmabuf);
}

/* The object for a call's arguments, with a handle of the session's file. */
struct scratch {
	struct region heap;
	uint8_t *map;
	size_t size;
	uint32_t handle;
};

static bool scratch_alloc(int dev, size_t size, struct scratch *scratch)
{
	struct gem_mmap_offset offset = { 0 };
	struct gem_create create = { 0 };

	scratch->size = size;
	if (scratch_is_heap) {
		if (!heap_alloc(size, &scratch->heap))
			return false;
		scratch->map = scratch->heap.map;
		return import(dev, scratch->heap.dmabuf, &scratch->handle);
	}
	create.size = size;
	if (ioctl(dev, GEM_CREATE, &create))
		return false;
	scratch->handle = create.handle;
	offset.handle = create.handle;
	if (ioctl(dev, GEM_MMAP_OFFSET, &offset))
		return false;
	scratch->map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, dev, offset.offset);
	return scratch->map != MAP_FAILED;
}

static void scratch_free(int dev, struct scratch *scratch)
{
	if (scratch_is_heap) {
		close_handle(dev, scratch->handle);
		release(&scratch->heap);
	} else {
		munmap(scratch->map, scratch->size);
		close_handle(dev, scratch->handle);
	}
}

/*
 * Every buffer gets a handle for this call alone. The array has room for buffers alone, also where
 * the scalars name handles.
 */
static int invoke(int dev, uint32_t handle, uint32_t sc, const struct argument *args)
{
	int ins = sc >> 16 & 0xff, count = ins + (sc >> 8 & 0xff);
	struct invoke_arg *array = NULL;
	struct scratch scratch = { 0 };
	struct invoke call = { 0 };
	size_t size = 0, used = 0;
	int ret = -1, error = 0;

	if (count && args) {
		array = calloc(count, sizeof(*array));
		for (int i = 0; i < count; i++)
			size += args[i].fd <= 0 ? SLICES(args[i].length) : 0;
		if (size && !scratch_alloc(dev, size, &scratch))
			return -1;
		for (int i = 0; i < count; i++) {
			array[i] = (struct invoke_arg) {
				args[i].ptr, args[i].length, 0, args[i].attr,
			};
			if (args[i].fd > 0) {
				if (!import(dev, args[i].fd, &array[i].handle))
					return -1;
			} else if (args[i].length) {
				array[i].handle = scratch.handle;
				array[i].ptr = (uintptr_t)scratch.map + used;
				if (i < ins)
					memcpy(scratch.map + used, (void *)args[i].ptr,
					       args[i].length);
				used += SLICES(args[i].length);
			}
		}
	}
	call.handle = handle;
	call.sc = sc;
	call.args = (uintptr_t)array;
	ret = ioctl(dev, INVOKE, &call);
	error = errno;

	for (int i = ins; array && !ret && i < count; i++) {
		if (args[i].fd <= 0 && args[i].length)
			memcpy((void *)args[i].ptr, (void *)array[i].ptr, args[i].length);
	}
	if (size)
		scratch_free(dev, &scratch);
	for (int i = 0; array && i < count; i++) {
		if (args[i].fd > 0)
			close_handle(dev, array[i].handle);
	}
	free(array);
	errno = error;
	return ret;
}

/* The handle stays: of the number that the DSP knows, the descriptor, it is another. */
static int map(int dev, uint32_t request, uint32_t flags, int number, size_t length,
	       const void *address, uint64_t *dsp)
{
	struct mem_map arg = { 0 };
	int ret;

	if (number > 0 && !import(dev, number, &arg.handle))
		return -1;
	arg.request = request;
	arg.flags = flags;
	arg.dsp_handle = number;
	arg.vaddrin = (uintptr_t)address;
	arg.size = length;
	ret = ioctl(dev, MAP, &arg);
	*dsp = arg.vaddrout;
	return ret;
}

static int unmap(int dev, uint32_t request, int number, int length, uint64_t dsp)
{
	struct mem_unmap arg = { 0 };

	if (number > 0 && !import(dev, number, &arg.handle))
		return -1;
	arg.request = request;
	arg.size = length;
	if (request == MAP_BUFFER) {
		arg.dsp_handle = number;
		arg.vaddr = dsp;
	} else {
		arg.vaddrout = dsp;
	}
	return ioctl(dev, MUNMAP, &arg);
}

/* The object for the arguments may also be of the dma-heap. */
static void scratch_of_the_heap(void)
{
	uint8_t in[1000], out[1000] = { 0 };
	uint32_t handle;
	int dev;

	scratch_is_heap = true;
	dev = open_simdsp(&library_b, "cdsp", &handle);
	if (!CHECK(dev >= 0))
		return;
	for (int i = 0; i < 20; i++) {
		fill(in, sizeof(in), i);
		CHECK_EQ(0, echo(&library_b, dev, handle, plain(in, sizeof(in)),
				 plain(out, sizeof(out))));
		CHECK(!memcmp(in, out, sizeof(in)));
	}
	close(dev);
}

/* An object for each call: its memory doesn't stay, neither here nor with the DSP. */
static void scratch_goes(void)
{
	static uint8_t in[100000], out[100000];
	long long before, after;
	uint32_t handle;
	int dev = open_simdsp(&library_b, "cdsp", &handle);

	if (!CHECK(dev >= 0))
		return;
	for (int i = 0; i < 10; i++)
		CHECK_EQ(0, echo(&library_b, dev, handle, plain(in, 100000), plain(out, 100000)));
	before = simdsp_stat("cdsp", "mappings");
	for (int i = 0; i < 300; i++)
		CHECK_EQ(0, echo(&library_b, dev, handle, plain(in, 100000), plain(out, 100000)));
	after = simdsp_stat("cdsp", "mappings");
	CHECK(after <= before);
	close(dev);
}

/* Other queries than the one for the name are not known. */
static void queries(void)
{
	struct query arg = { .query_type = 2 };
	int dev = open_session(&library_b, "cdsp");

	CHECK_EQ(-1, ioctl(dev, QUERY, &arg));
	CHECK_EQ(EINVAL, errno);
	close(dev);
}

static const struct tap_test tests[] = {
	{ "scratch_of_the_heap", scratch_of_the_heap },
	{ "scratch_goes", scratch_goes },
	{ "queries", queries },
};

const struct library library_b = {
	.name = "b",
	.flags = O_RDWR | O_NONBLOCK | O_CLOEXEC,
	.query = query,
	.attach = attach,
	.create = create,
	.alloc = alloc,
	.alloc_elsewhere = alloc_elsewhere,
	.free = release,
	.invoke = invoke,
	.map = map,
	.unmap = unmap,
	.own_tests = tests,
	.own_count = sizeof(tests) / sizeof(tests[0]),
};
