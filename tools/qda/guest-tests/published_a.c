// SPDX-License-Identifier: GPL-2.0
/*
 * State A of the FastRPC library's accel backend.
 *
 * It passes GEM handles of the session's file where it has them, and descriptors of dma-bufs where
 * it has not; allocates some memory from a file of no session; and opens sessions for reading only.
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

/* The only device that it allocates memory from. */
#define GLOBAL_DEVICE	ACCEL "/accel0"

struct query {
	uint8_t dsp_name[16];
	uint32_t capabilities;
};

struct gem_create {
	uint64_t size;
	uint32_t handle;
	/* Four bytes of padding, which nobody clears. */
};

struct gem_mmap_offset {
	uint32_t handle;
	uint32_t pad;
	uint64_t offset;
};

struct init_create {
	uint32_t filelen;
	int32_t filefd;
	uint32_t attrs;
	uint32_t siglen;
	uint64_t file;
};

struct mem_map {
	uint32_t request;
	uint32_t flags;
	int32_t fd;
	uint32_t attrs;
	uint32_t offset;
	uint32_t reserved;
	uint64_t vaddrin;
	uint64_t size;
	uint64_t vaddrout;
};

struct mem_unmap {
	uint32_t request;
	int32_t fd;
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
	int32_t fd;
	uint32_t attr;
};

_Static_assert(sizeof(struct query) == 20, "query");
_Static_assert(sizeof(struct gem_create) == 16, "gem_create");
_Static_assert(sizeof(struct gem_mmap_offset) == 16, "gem_mmap_offset");
_Static_assert(sizeof(struct init_create) == 24, "init_create");
_Static_assert(sizeof(struct mem_map) == 48, "mem_map");
_Static_assert(sizeof(struct mem_unmap) == 32, "mem_unmap");
_Static_assert(sizeof(struct invoke) == 16, "invoke");
_Static_assert(sizeof(struct invoke_arg) == 24, "invoke_arg");

#define QUERY		DRM_IOR(DRM_COMMAND_BASE + 0, struct query)
#define GEM_CREATE	DRM_IOWR(DRM_COMMAND_BASE + 1, struct gem_create)
#define GEM_MMAP_OFFSET	DRM_IOWR(DRM_COMMAND_BASE + 2, struct gem_mmap_offset)
#define INIT_ATTACH	DRM_IO(DRM_COMMAND_BASE + 3)
#define INIT_CREATE	DRM_IOWR(DRM_COMMAND_BASE + 4, struct init_create)
#define MAP		DRM_IOWR(DRM_COMMAND_BASE + 5, struct mem_map)
#define MUNMAP		DRM_IOWR(DRM_COMMAND_BASE + 6, struct mem_unmap)
/* The size is that of an argument; what is passed is struct invoke. */
#define INVOKE		DRM_IOWR(DRM_COMMAND_BASE + 7, struct invoke_arg)

static int query(int dev, char name[16])
{
	struct query arg = { 0 };
	int ret = ioctl(dev, QUERY, &arg);

	memcpy(name, arg.dsp_name, sizeof(arg.dsp_name));
	return ret ? ret : (int)arg.capabilities;
}

static int attach(int dev)
{
	return ioctl(dev, INIT_ATTACH, NULL);
}

static int create(int dev, const void *shell, int length, int number, int attrs, int siglen)
{
	struct init_create arg = { 0 };

	arg.file = (uintptr_t)shell;
	arg.filelen = length;
	arg.filefd = number;
	arg.attrs = attrs;
	arg.siglen = siglen;
	return ioctl(dev, INIT_CREATE, &arg);
}

/* Memory of the dma-heap, which the session's file gets a handle of. */
static bool alloc(int dev, size_t size, struct region *region)
{
	struct drm_prime_handle prime = { 0 };

	if (!heap_alloc(size, region))
		return false;
	prime.fd = region->dmabuf;
	if (ioctl(dev, DRM_IOCTL_PRIME_FD_TO_HANDLE, &prime))
		return false;
	region->number = prime.handle;
	return true;
}

/*
 * Memory of the first accelerator, whatever DSP that is, mapped by a file that stays open. It goes
 * by its dma-buf, which is exported for reading only.
 */
static bool alloc_elsewhere(int dev, size_t size, struct region *region)
{
	static int global = -1;
	struct drm_prime_handle prime = { .flags = O_CLOEXEC, .fd = -1 };
	struct gem_mmap_offset offset = { 0 };
	struct gem_create create;

	(void)dev;
	memset(&create, 0xa5, sizeof(create));
	create.size = size;
	create.handle = 0;
	if (global < 0)
		global = open(GLOBAL_DEVICE, O_RDWR | O_CLOEXEC);
	if (global < 0 || ioctl(global, GEM_CREATE, &create))
		return false;
	offset.handle = create.handle;
	if (ioctl(global, GEM_MMAP_OFFSET, &offset))
		return false;
	*region = (struct region) { .size = size };
	region->map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, global, offset.offset);
	if (region->map == MAP_FAILED)
		return false;
	prime.handle = create.handle;
	if (ioctl(global, DRM_IOCTL_PRIME_HANDLE_TO_FD, &prime))
		return false;
	region->dmabuf = prime.fd;
	region->number = prime.fd;
	return true;
}

/* Handles stay: the library has no way to close one. */
static void release(struct region *region)
{
	munmap(region->map, region->size);
	close(region->dmabuf);
}

/* The array has room for buffers alone, also where the scalars name handles. */
static int invoke(int dev, uint32_t handle, uint32_t sc, const struct argument *args)
{
	int count = (sc >> 16 & 0xff) + (sc >> 8 & 0xff);
	struct invoke_arg *array = NULL;
	struct invoke call = { 0 };
	int ret, error;

	if (count && args) {
		array = malloc(count * sizeof(*array));
		for (int i = 0; i < count; i++) {
			array[i] = (struct invoke_arg) {
				args[i].ptr, args[i].length, args[i].fd, args[i].attr,
			};
		}
	}
	call.handle = handle;
	call.sc = sc;
	call.args = (uintptr_t)array;
	ret = ioctl(dev, INVOKE, &call);
	error = errno;
	free(array);
	errno = error;
	return ret;
}

static int map(int dev, uint32_t request, uint32_t flags, int number, size_t length,
	       const void *address, uint64_t *dsp)
{
	struct mem_map arg = { 0 };
	int ret;

	arg.request = request;
	arg.flags = flags;
	arg.fd = number;
	arg.vaddrin = (uintptr_t)address;
	arg.size = length;
	ret = ioctl(dev, MAP, &arg);
	*dsp = arg.vaddrout;
	return ret;
}

static int unmap(int dev, uint32_t request, int number, int length, uint64_t dsp)
{
	struct mem_unmap arg = { 0 };

	arg.request = request;
	arg.size = length;
	if (request == MAP_BUFFER) {
		arg.fd = number;
		arg.vaddr = dsp;
	} else {
		arg.vaddrout = dsp;
	}
	return ioctl(dev, MUNMAP, &arg);
}

/* A buffer of another process: its dma-buf can't be written through, its handle can. */
static void maps_what_is_shared(void)
{
	struct gem_mmap_offset offset = { 0 };
	struct drm_prime_handle prime = { 0 };
	struct region region, other;
	uint32_t handle;
	int dev = open_simdsp(&library_a, "cdsp", &handle), global;

	if (!CHECK(dev >= 0) || !CHECK(alloc_elsewhere(dev, 65536, &region)))
		return;
	other = region;
	CHECK(mmap(NULL, region.size, PROT_READ | PROT_WRITE, MAP_SHARED, region.dmabuf, 0) ==
	      MAP_FAILED);
	CHECK_EQ(EACCES, errno);

	/* A file of its own, of the device that it is from. */
	global = open(GLOBAL_DEVICE, O_RDWR | O_CLOEXEC);
	prime.fd = region.dmabuf;
	CHECK_EQ(0, ioctl(global, DRM_IOCTL_PRIME_FD_TO_HANDLE, &prime));
	offset.handle = prime.handle;
	CHECK_EQ(0, ioctl(global, GEM_MMAP_OFFSET, &offset));
	other.map = mmap(NULL, region.size, PROT_READ | PROT_WRITE, MAP_SHARED, global,
			 offset.offset);
	CHECK(other.map != MAP_FAILED);
	fill(other.map, region.size, 5);
	CHECK(!memcmp(region.map, other.map, region.size));

	/* The session finds it by either mapping, and by a handle of its own as well. */
	CHECK_EQ(0, echo(&library_a, dev, handle, part(&other, 100, 5000),
			 part(&region, 30000, 5000)));
	CHECK(!memcmp(region.map + 30000, other.map + 100, 5000));
	CHECK_EQ(0, ioctl(dev, DRM_IOCTL_PRIME_FD_TO_HANDLE, &prime));
	other.number = prime.handle;
	region.number = prime.handle;
	CHECK_EQ(0, echo(&library_a, dev, handle, part(&other, 200, 5000),
			 part(&region, 40000, 5000)));
	CHECK(!memcmp(region.map + 40000, other.map + 200, 5000));
	munmap(other.map, other.size);
	close(global);
	release(&region);
	close(dev);
}

/* A session is open for reading only: memory of its device can't be mapped by it for writing. */
static void session_cannot_map(void)
{
	struct gem_mmap_offset offset = { 0 };
	struct gem_create create = { .size = 4096 };
	int dev = open_process(&library_a, "cdsp");

	CHECK(dev >= 0);
	CHECK_EQ(0, ioctl(dev, GEM_CREATE, &create));
	offset.handle = create.handle;
	CHECK_EQ(0, ioctl(dev, GEM_MMAP_OFFSET, &offset));
	CHECK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, dev, offset.offset) ==
	      MAP_FAILED);
	CHECK_EQ(EACCES, errno);
	close(dev);
}

/* A number is both a handle of one buffer and a descriptor of another: the address decides. */
static void handle_or_descriptor(void)
{
	struct region by_handle, by_fd;
	uint8_t out[3000];
	uint64_t dsp;
	uint32_t handle;
	int dev = open_simdsp(&library_a, "cdsp", &handle), moved;

	if (!CHECK(dev >= 0) || !CHECK(alloc_elsewhere(dev, 65536, &by_fd)))
		return;
	/* Handles stay; one whose number no descriptor has. */
	while (CHECK(alloc(dev, 65536, &by_handle)) && by_handle.number <= 40)
		release(&by_handle);
	moved = dup2(by_fd.dmabuf, by_handle.number);
	CHECK_EQ(by_handle.number, moved);
	by_fd.number = moved;
	fill(by_handle.map, 65536, 1);
	fill(by_fd.map, 65536, 2);

	CHECK_EQ(0, echo(&library_a, dev, handle, part(&by_handle, 777, 3000),
			 plain(out, 3000)));
	CHECK(!memcmp(out, by_handle.map + 777, 3000));
	CHECK_EQ(0, echo(&library_a, dev, handle, part(&by_fd, 777, 3000), plain(out, 3000)));
	CHECK(!memcmp(out, by_fd.map + 777, 3000));
	CHECK_EQ(0, map(dev, MAP_BUFFER, MAP_FD, moved, 65536, by_fd.map, &dsp));
	/* The DSP has the one now: the other can't take its place. */
	errno = 0;
	CHECK_EQ(-1, map(dev, MAP_BUFFER, MAP_FD, moved, 65536, by_handle.map, &dsp));
	CHECK_EQ(EEXIST, errno);
	close(moved);
	release(&by_fd);
	release(&by_handle);
	close(dev);
}

/*
 * What the kernel reads behind an array that is too short: the end of the memory, numbers that are
 * none, numbers of nothing, and numbers that another session has buffers for.
 */
static void behind_the_array(void)
{
	static const struct invoke_arg behind[] = {
		{ 0 }, { .fd = -1 }, { .length = 8 }, { .length = 8, .fd = -1 },
		{ .length = 8, .fd = 0x7fffffff }, { .length = 8, .fd = -2 },
		{ .ptr = -1, .length = -1, .fd = -1, .attr = -1 },
	};
	size_t page = sysconf(_SC_PAGESIZE);
	uint8_t *memory = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	/* Two handles, nothing else. */
	struct invoke call = { .sc = 12 << 24 | 0x11 };
	struct region region;
	uint32_t handle;
	int dev = open_simdsp(&library_a, "cdsp", &handle), other;
	long long calls;

	if (!CHECK(dev >= 0) || !CHECK(memory != MAP_FAILED))
		return;
	other = open_process(&library_a, "cdsp");
	CHECK(other >= 0 && alloc(other, 65536, &region));
	munmap(memory + page, page);
	calls = simdsp_stat("cdsp", "invokes");
	call.handle = handle;

	for (size_t left = 0; left < 2 * sizeof(behind[0]); left += 8) {
		call.args = (uintptr_t)memory + page - left;
		errno = 0;
		CHECK_EQ(-1, ioctl(dev, INVOKE, &call));
		/* The first one is read before the hole, and is all 0. */
		CHECK_EQ(EFAULT, errno);
	}
	call.args = (uintptr_t)memory;
	for (size_t i = 0; i < sizeof(behind) / sizeof(behind[0]); i++) {
		struct invoke_arg *args = (struct invoke_arg *)memory;

		args[0] = behind[i];
		args[1] = behind[i];
		errno = 0;
		CHECK_EQ(-1, ioctl(dev, INVOKE, &call));
		CHECK(errno == ENOENT || errno == EINVAL || errno == EOPNOTSUPP);
		/* Of another session: a handle there is none here. */
		args[0] = (struct invoke_arg) { .length = 8, .fd = region.number };
		args[1] = args[0];
		errno = 0;
		CHECK_EQ(-1, ioctl(dev, INVOKE, &call));
		CHECK_EQ(ENOENT, errno);
	}
	CHECK_EQ(calls, simdsp_stat("cdsp", "invokes"));
	release(&region);
	close(other);
	close(dev);
}

static const struct tap_test tests[] = {
	{ "behind_the_array", behind_the_array },
	{ "maps_what_is_shared", maps_what_is_shared },
	{ "session_cannot_map", session_cannot_map },
	{ "handle_or_descriptor", handle_or_descriptor },
};

const struct library library_a = {
	.name = "a",
	.flags = O_NONBLOCK,
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
