// SPDX-License-Identifier: GPL-2.0
/*
 * Dma-bufs that come and go: many, large, under numbers that were others' before. A driver may keep
 * what it did for them, but addresses, memory and modules are there again when they are wanted.
 *
 * The argument is the interface by which the DSP is called. "node", the first, is that of the
 * kernel's own driver too. "brief" after it makes less of what takes long.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/udmabuf.h>

#include "child.h"
#include "dmabuf.h"
#include "module.h"
#include "node.h"
#include "qda.h"
#include "tap.h"

#define PAGE		4096
#define SIZE		65536
#define MIB		(1024 * 1024UL)

/* More than the addresses of 32 bits are, by buffers that share their memory. */
#define LARGE		80
#define LARGE_SIZE	(64 * MIB)
#define HUGE		18
#define SMALL		4200
#define SMALL_SIZE	MIB

/* One after the other. */
#define ROUNDS		50
#define ROUND_SIZE	(16 * MIB)

/* Most of the memory that a machine with 1 GiB has. */
#define MOST		(600 * MIB)
#define MOST_ROUNDS	4

/* How long memory may stay that nobody uses, in milliseconds, and what else may come and go. */
#define SOON		1000
#define SLACK		(24 * MIB)

/* A DSP process. */
struct session {
	int fd;
	uint32_t handle;
};

struct buffer {
	int fd;
	size_t size;
	uint8_t *map;
};

/**
 * struct front - an interface by which the DSP is called
 * @open: make a DSP process on a DSP
 * @sum: have the DSP compute the checksum of part of a buffer
 * @lend: the same, with the buffer as a handle argument, of which the DSP fills the first page
 * @give_back: have the DSP give back numbers
 * @alloc: have the driver make a dma-buf
 * @number: what the DSP knows a buffer by
 * @map: give it to the DSP process
 * @unmap: take it back
 * @forget: what else a program does before it closes a buffer
 */
struct front {
	const char *name;
	int (*open)(const char *dsp, struct session *session);
	int (*sum)(struct session *session, struct buffer *buf, size_t at, size_t len,
		   uint64_t *sum);
	int (*lend)(struct session *session, struct buffer *buf, uint32_t seed, uint64_t *sum);
	int (*give_back)(struct session *session, const uint64_t *numbers, int count);
	int (*alloc)(struct session *session, size_t size);
	uint32_t (*number)(struct session *session, struct buffer *buf);
	int (*map)(struct session *session, struct buffer *buf, uint64_t *address);
	int (*unmap)(struct session *session, struct buffer *buf, uint64_t address);
	void (*forget)(struct session *session, struct buffer *buf);
};

static const struct front *front;

/* Whether long tests are short: another run of this kernel and this driver has them in full. */
static bool brief;

/* The device nodes. */

static int node_start(const char *dsp, struct session *session)
{
	char path[64];
	int ret;

	snprintf(path, sizeof(path), "/dev/fastrpc-%s", dsp);
	session->fd = open(path, O_RDWR | O_CLOEXEC);
	if (session->fd < 0) {
		strcat(path, "-secure");
		session->fd = open(path, O_RDWR | O_CLOEXEC);
	}
	if (session->fd < 0)
		return -errno;
	/* Only a CDSP has unsigned processes; an ADSP has its own. */
	ret = !strcmp(dsp, "adsp") ? node_ioctl(session->fd, FASTRPC_IOCTL_INIT_ATTACH, NULL) :
				     node_create(session->fd);
	return ret ? ret : node_open_module(session->fd, "simdsp", &session->handle);
}

static int node_sum(struct session *session, struct buffer *buf, size_t at, size_t len,
		    uint64_t *sum)
{
	struct fastrpc_invoke_args args[] = {
		node_buffer(buf->map + at, len, buf->fd), node_bytes(sum, sizeof(*sum)),
	};

	return node_invoke(session->fd, session->handle, SCALARS(CHECKSUM, 1, 1), args);
}

static int node_lend(struct session *session, struct buffer *buf, uint32_t seed, uint64_t *sum)
{
	struct fastrpc_invoke_args args[] = {
		node_bytes(&seed, sizeof(seed)), node_bytes(sum, sizeof(*sum)),
		node_buffer(NULL, buf->size, buf->fd), node_buffer(NULL, PAGE, buf->fd),
	};

	return node_invoke(session->fd, session->handle, SCALARS_HANDLES(HANDLES, 1, 1, 1) | 1,
			   args);
}

static int node_give_back(struct session *session, const uint64_t *numbers, int count)
{
	struct fastrpc_invoke_args arg = node_bytes(numbers, count * sizeof(*numbers));

	return node_invoke(session->fd, session->handle, SCALARS(SIMDSP_GIVE_BACK, 1, 0), &arg);
}

static int node_alloc(struct session *session, size_t size)
{
	struct fastrpc_alloc_dma_buf args = { .size = size };

	return node_ioctl(session->fd, FASTRPC_IOCTL_ALLOC_DMA_BUFF, &args) ?: (int)args.fd;
}

static uint32_t node_number(struct session *session, struct buffer *buf)
{
	(void)session;
	return buf->fd;
}

static int node_map(struct session *session, struct buffer *buf, uint64_t *address)
{
	struct fastrpc_mem_map args = {
		.fd = buf->fd, .flags = FASTRPC_MAP_FD, .vaddrin = (uintptr_t)buf->map,
		.length = buf->size,
	};
	int ret = node_ioctl(session->fd, FASTRPC_IOCTL_MEM_MAP, &args);

	*address = args.vaddrout;
	return ret;
}

static int node_unmap(struct session *session, struct buffer *buf, uint64_t address)
{
	struct fastrpc_mem_unmap args = {
		.fd = buf->fd, .vaddr = address, .length = buf->size,
	};

	return node_ioctl(session->fd, FASTRPC_IOCTL_MEM_UNMAP, &args);
}

static void nothing_to_forget(struct session *session, struct buffer *buf)
{
	(void)session;
	(void)buf;
}

/* The accel devices: numbers 0 to 7, with descriptors as the FastRPC library has them. */

static int accel_start(const char *dsp, struct session *session)
{
	session->fd = qda_open(dsp);
	if (session->fd < 0)
		return session->fd;
	if (!strcmp(dsp, "adsp"))
		return qda_session_kind(session->fd, QDA_SESSION_ROOT) ?:
		       simdsp_open(session->fd, &session->handle);
	return qda_create(session->fd) ?: simdsp_open(session->fd, &session->handle);
}

static int accel_sum(struct session *session, struct buffer *buf, size_t at, size_t len,
		     uint64_t *sum)
{
	struct drm_qda_invoke_arg args[] = {
		{ .ptr = (uintptr_t)(buf->map + at), .length = len, .handle = buf->fd },
		qda_inline(sum, sizeof(*sum)),
	};

	return qda_invoke(session->fd, session->handle, QDA_SCALARS(SIMDSP_CHECKSUM, 1, 1), args);
}

static int accel_lend(struct session *session, struct buffer *buf, uint32_t seed, uint64_t *sum)
{
	struct drm_qda_invoke_arg args[] = {
		qda_inline(&seed, sizeof(seed)), qda_inline(sum, sizeof(*sum)),
		{ .length = buf->size, .handle = buf->fd }, { .length = PAGE, .handle = buf->fd },
	};

	return qda_invoke(session->fd, session->handle,
			  QDA_SCALARS(SIMDSP_HANDLES, 1, 1) | QDA_SCALARS_HANDLES(1, 1), args);
}

static int accel_give_back(struct session *session, const uint64_t *numbers, int count)
{
	struct drm_qda_invoke_arg arg = qda_inline(numbers, count * sizeof(*numbers));

	return qda_invoke(session->fd, session->handle, QDA_SCALARS(SIMDSP_GIVE_BACK, 1, 0), &arg);
}

/* The dma-buf is what keeps it. */
static int accel_alloc(struct session *session, size_t size)
{
	struct drm_qda_gem_create args = { .size = size };
	int ret = qda_ioctl(session->fd, DRM_IOCTL_QDA_GEM_CREATE, &args);

	if (ret)
		return ret;
	ret = dmabuf_export(session->fd, args.handle);
	CHECK_EQ(0, qda_gem_close(session->fd, args.handle));
	return ret;
}

static int accel_map_number(struct session *session, struct buffer *buf, uint32_t number,
			    uint64_t *address)
{
	struct drm_qda_mem_map args = {
		.request = QDA_MAP_REQUEST_ATTR, .flags = QDA_MAP_FD, .handle = number,
		.vaddrin = (uintptr_t)buf->map, .size = buf->size,
	};
	int ret = qda_ioctl(session->fd, DRM_IOCTL_QDA_MAP, &args);

	*address = args.vaddrout;
	return ret;
}

static int accel_unmap_number(struct session *session, struct buffer *buf, uint32_t number,
			      uint64_t address)
{
	struct drm_qda_mem_unmap args = {
		.request = QDA_MAP_REQUEST_ATTR, .handle = number, .vaddr = address,
		.size = buf->size,
	};

	return qda_ioctl(session->fd, DRM_IOCTL_QDA_MUNMAP, &args);
}

static int accel_map(struct session *session, struct buffer *buf, uint64_t *address)
{
	return accel_map_number(session, buf, buf->fd, address);
}

static int accel_unmap(struct session *session, struct buffer *buf, uint64_t address)
{
	return accel_unmap_number(session, buf, buf->fd, address);
}

/* The accel devices: GEM handles, with DRM_QDA_CALL. */

static uint32_t gem_number(struct session *session, struct buffer *buf)
{
	uint32_t handle = 0;

	/* The one that it has, or a new one. */
	CHECK_EQ(0, dmabuf_import(session->fd, buf->fd, &handle));
	return handle;
}

static int gem_call(struct session *session, uint32_t scalars, const struct drm_qda_call_arg *args)
{
	int32_t status;
	int ret = qda_call(session->fd, session->handle, scalars, args, &status);

	return ret ? ret : status;
}

static int gem_sum(struct session *session, struct buffer *buf, size_t at, size_t len,
		   uint64_t *sum)
{
	struct drm_qda_call_arg args[] = {
		{ .offset = at, .length = len, .handle = gem_number(session, buf) },
		qda_bytes(sum, sizeof(*sum)),
	};

	return gem_call(session, QDA_SCALARS(SIMDSP_CHECKSUM, 1, 1), args);
}

static int gem_lend(struct session *session, struct buffer *buf, uint32_t seed, uint64_t *sum)
{
	uint32_t number = gem_number(session, buf);
	struct drm_qda_call_arg args[] = {
		qda_bytes(&seed, sizeof(seed)), qda_bytes(sum, sizeof(*sum)),
		{ .length = buf->size, .handle = number }, { .length = PAGE, .handle = number },
	};

	return gem_call(session, QDA_SCALARS(SIMDSP_HANDLES, 1, 1) | QDA_SCALARS_HANDLES(1, 1),
			args);
}

static int gem_map(struct session *session, struct buffer *buf, uint64_t *address)
{
	return accel_map_number(session, buf, gem_number(session, buf), address);
}

static int gem_unmap(struct session *session, struct buffer *buf, uint64_t address)
{
	return accel_unmap_number(session, buf, gem_number(session, buf), address);
}

static void gem_forget(struct session *session, struct buffer *buf)
{
	CHECK_EQ(0, qda_gem_close(session->fd, gem_number(session, buf)));
}

static const struct front fronts[] = {
	{
		.name = "node", .open = node_start, .sum = node_sum, .lend = node_lend,
		.give_back = node_give_back, .alloc = node_alloc,
		.number = node_number, .map = node_map,
		.unmap = node_unmap, .forget = nothing_to_forget,
	}, {
		.name = "accel", .open = accel_start, .sum = accel_sum, .lend = accel_lend,
		.give_back = accel_give_back, .alloc = accel_alloc,
		.number = node_number, .map = accel_map,
		.unmap = accel_unmap, .forget = nothing_to_forget,
	}, {
		.name = "handle", .open = accel_start, .sum = gem_sum, .lend = gem_lend,
		.give_back = accel_give_back, .alloc = accel_alloc,
		.number = gem_number, .map = gem_map,
		.unmap = gem_unmap, .forget = gem_forget,
	},
};

/* What the tests share. */

static bool own_driver(void)
{
	return !strcmp(tap_driver(), "qda");
}

/* If memory runs out, it is the test that is to end. */
static void volunteer(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY);

	CHECK_EQ(4, write(fd, "1000", 4));
	close(fd);
}

static struct session session_open(const char *dsp)
{
	struct session session;
	int ret = front->open(dsp, &session);

	if (!CHECK_EQ(0, ret))
		exit(1);
	return session;
}

static bool view(struct buffer *buf, int fd, size_t size)
{
	buf->fd = fd;
	buf->size = size;
	buf->map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	return fd >= 0 && buf->map != MAP_FAILED;
}

static struct buffer buffer_new(const char *heap, size_t size)
{
	struct buffer buf;

	if (!CHECK(view(&buf, dmabuf_alloc(heap, size), size)))
		exit(1);
	return buf;
}

/* The session, if there is one, is a program's that has used it. */
static void buffer_free(struct session *session, struct buffer *buf)
{
	if (session)
		front->forget(session, buf);
	munmap(buf->map, buf->size);
	close(buf->fd);
}

/* Whether the DSP finds in part of a buffer what the CPU has there. */
static bool works_at(struct session *session, struct buffer *buf, size_t at, size_t len)
{
	uint64_t sum = 0;
	int ret = front->sum(session, buf, at, len, &sum);

	return CHECK_EQ(0, ret) && CHECK(sum == node_hash(NODE_HASH, buf->map + at, len));
}

/* The same at its beginning and at its end. */
static bool works(struct session *session, struct buffer *buf)
{
	return works_at(session, buf, 0, PAGE) &&
	       works_at(session, buf, buf->size - PAGE, PAGE);
}

/* A number that a file of /proc gives a name, in its own unit. */
static long long said(const char *path, const char *name)
{
	char line[128];
	long long value = -1;
	FILE *file = fopen(path, "re");
	size_t len = strlen(name);

	while (file && value < 0 && fgets(line, sizeof(line), file)) {
		if (!strncmp(line, name, len))
			sscanf(line + len, "%lld", &value);
	}
	if (file)
		fclose(file);
	return value;
}

static long long available(void)
{
	return said("/proc/meminfo", "MemAvailable:") * 1024;
}

/* Whether there is as much memory again, but for @slack, before long. */
static bool returns(long long before, long long slack)
{
	for (int i = 0; i < SOON; i++) {
		if (available() + slack >= before)
			return true;
		usleep(qda_patience(1000));
	}
	printf("# %lld MiB of %lld MiB are available\n", available() >> 20, before >> 20);
	return false;
}

/* Whether no buffer of two-views is left, before long. */
static bool none_is_left(void)
{
	for (int i = 0; i < SOON / 20; i++) {
		if (!dmabuf_views("buffers"))
			return true;
		usleep(qda_patience(20000));
	}
	printf("# %lld buffers are left\n", dmabuf_views("buffers"));
	return false;
}

/* Tests. */

/* Memory for many buffers, each of which begins at the next page. */
static int slices_new(size_t size, int count)
{
	size_t all = size + count * PAGE;
	struct rlimit limit = { 2 * SMALL, 2 * SMALL };
	int memfd = memfd_create("buffers", MFD_ALLOW_SEALING | MFD_CLOEXEC);
	uint32_t *words;

	CHECK_EQ(0, setrlimit(RLIMIT_NOFILE, &limit));
	CHECK_EQ(0, ftruncate(memfd, all));
	words = mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
	if (!CHECK(words != MAP_FAILED))
		exit(1);
	/* No page is as another one. */
	for (size_t i = 0; i < all / PAGE; i++)
		words[i * PAGE / sizeof(*words)] = i;
	munmap(words, all);
	CHECK_EQ(0, fcntl(memfd, F_ADD_SEALS, F_SEAL_SHRINK));
	return memfd;
}

static struct buffer slice(int memfd, int index, size_t size)
{
	struct udmabuf_create args = {
		.memfd = memfd, .flags = UDMABUF_FLAGS_CLOEXEC, .offset = (__u64)index * PAGE,
		.size = size,
	};
	static int device = -1;
	struct buffer buf;

	if (device < 0)
		device = open("/dev/udmabuf", O_RDWR | O_CLOEXEC);
	if (!CHECK(view(&buf, ioctl(device, UDMABUF_CREATE, &args), size)))
		exit(1);
	return buf;
}

/* So many buffers, all open at the same time, and each called with, twice. */
static void all_open(int count, size_t size)
{
	struct session session = session_open("cdsp");
	struct buffer *bufs = calloc(count, sizeof(*bufs));
	int memfd = slices_new(size, count), used = 0;

	alarm(qda_patience(200));
	for (int i = 0; i < count && !tap_failed; i++) {
		bufs[i] = slice(memfd, i, size);
		used++;
		works(&session, &bufs[i]);
	}
	for (int i = 0; i < used && !tap_failed; i++)
		works(&session, &bufs[i]);
	if (tap_failed)
		printf("# with buffer %d of %d\n", used, count);
	for (int i = 0; i < used; i++)
		buffer_free(&session, &bufs[i]);
	close(memfd);
	close(session.fd);
}

static void large_buffers(void)
{
	all_open(LARGE, LARGE_SIZE);
}

/* More buffers than anybody counts. */
static int many(void)
{
	return brief ? SMALL / 10 : SMALL;
}

/* By the first interface also more than there are addresses. */
static void small_buffers(void)
{
	all_open(many(), front == fronts && !brief ? SMALL_SIZE : PAGE);
}

/* A buffer that is larger than a quarter of the addresses, of the same memory again and again. */
static void larger_than_a_gib(void)
{
	struct session session = session_open("cdsp");
	int memfd = slices_new(LARGE_SIZE, 0), device = open("/dev/udmabuf", O_RDWR | O_CLOEXEC);
	struct udmabuf_create_list *list;
	struct buffer buf;

	list = calloc(1, sizeof(*list) + HUGE * sizeof(list->list[0]));
	list->flags = UDMABUF_FLAGS_CLOEXEC;
	list->count = HUGE;
	for (int i = 0; i < HUGE; i++) {
		list->list[i].memfd = memfd;
		list->list[i].size = LARGE_SIZE;
	}
	CHECK(view(&buf, ioctl(device, UDMABUF_CREATE_LIST, list), HUGE * LARGE_SIZE));
	alarm(qda_patience(200));
	works(&session, &buf);
	works_at(&session, &buf, (HUGE - 1) * LARGE_SIZE - PAGE, 2 * PAGE);
	buffer_free(&session, &buf);
	free(list);
	close(device);
	close(memfd);
	close(session.fd);
}

/* Buffers that the DSP keeps, until there are no addresses left; and when there are some again. */
static void room_again(void)
{
	struct session session = session_open("cdsp");
	struct buffer bufs[LARGE];
	uint64_t addresses[LARGE], sum;
	int memfd = slices_new(LARGE_SIZE, LARGE), kept = 0, ret = 0;

	alarm(qda_patience(200));
	while (kept < LARGE) {
		bufs[kept] = slice(memfd, kept, LARGE_SIZE);
		ret = front->map(&session, &bufs[kept], &addresses[kept]);
		if (ret)
			break;
		kept++;
	}
	CHECK(kept < LARGE);
	CHECK_EQ(-ENOMEM, ret);
	ret = front->sum(&session, &bufs[kept], 0, PAGE, &sum);
	/* The kernel's own driver forgets why. */
	CHECK(own_driver() ? ret == -ENOMEM : ret < 0);
	if (kept) {
		CHECK_EQ(0, front->unmap(&session, &bufs[kept - 1], addresses[kept - 1]));
		buffer_free(&session, &bufs[kept - 1]);
		kept--;
		works(&session, &bufs[kept + 1]);
		CHECK_EQ(0, front->map(&session, &bufs[kept + 1], &addresses[kept]));
		works(&session, &bufs[kept + 1]);
		CHECK_EQ(0, front->unmap(&session, &bufs[kept + 1], addresses[kept]));
		buffer_free(&session, &bufs[kept + 1]);
	}
	for (int i = 0; i < kept; i++) {
		CHECK_EQ(0, front->unmap(&session, &bufs[i], addresses[i]));
		buffer_free(&session, &bufs[i]);
	}
	close(memfd);
	close(session.fd);
}

/* A program that uses most of the memory, frees it, and does that again at once. */
static void most_of_the_memory(size_t pieces)
{
	struct session session = session_open("cdsp");
	long long kills = said("/proc/vmstat", "oom_kill"), before = available();
	struct buffer bufs[MOST / MIB];
	uint64_t address;

	alarm(qda_patience(200));
	volunteer();
	for (int i = 0; i < MOST_ROUNDS; i++) {
		for (size_t j = 0; j < pieces; j++) {
			bufs[j] = buffer_new("system", MOST / pieces);
			memset(bufs[j].map, i + 1, PAGE);
			/* With and without. */
			if (i % 2)
				CHECK_EQ(0, front->map(&session, &bufs[j], &address));
			works(&session, &bufs[j]);
			if (i % 2)
				CHECK_EQ(0, front->unmap(&session, &bufs[j], address));
		}
		for (size_t j = 0; j < pieces; j++)
			buffer_free(&session, &bufs[j]);
	}
	CHECK_EQ(kills, said("/proc/vmstat", "oom_kill"));
	CHECK(returns(before, SLACK));
	close(session.fd);
}

static void most_of_the_memory_at_once(void)
{
	most_of_the_memory(1);
}

static void most_of_the_memory_in_pieces(void)
{
	most_of_the_memory(30);
}

/*
 * A program that has most of the memory in buffers of the driver, and has used them all. It tells
 * how that went, and waits for its end.
 */
static int has_most(struct child *parent, void *arg)
{
	size_t count = *(size_t *)arg;
	struct session session;
	int ret;

	ret = front->open("cdsp", &session);
	/* An exit closes it last: the kernel's own driver does not survive another order. */
	if (!ret) {
		int low = session.fd;

		session.fd = fcntl(low, F_DUPFD_CLOEXEC, 512);
		close(low);
		/* Another one may be about to go. */
		ret = child_hear(parent, 60000);
	}
	for (size_t i = 0; i < count && !ret; i++) {
		struct buffer buf;
		uint64_t sum;

		ret = front->alloc(&session, ROUND_SIZE);
		if (ret < 0)
			break;
		ret = view(&buf, ret, ROUND_SIZE) ? 0 : -errno;
		if (!ret)
			ret = front->sum(&session, &buf, 0, PAGE, &sum);
		if (ret)
			printf("# buffer %zu of %zu: %d\n", i + 1, count, ret);
	}
	child_tell(parent, ret);
	return child_hear(parent, 60000);
}

static long long now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

static void end(struct child *child, bool killed)
{
	if (killed)
		kill(child->pid, SIGKILL);
	else
		child_tell(child, 0);
	child_wait(child, 60000);
}

/* A program has most of the memory, and goes; the next wants as much at once. */
static void next_program(bool killed)
{
	long long kills = said("/proc/vmstat", "oom_kill"), before = available(), start;
	/* The rest is for tables, and for what others do. */
	size_t count = (before - before / 8) / ROUND_SIZE, most = count * ROUND_SIZE;
	struct child child, next;

	alarm(qda_patience(200));
	CHECK_EQ(0, child_start(&child, has_most, &count));
	child_tell(&child, 0);
	CHECK_EQ(0, child_hear(&child, 60000));
	CHECK(available() < before - (long long)(most - most / 8));
	/* It has a DSP process already. */
	CHECK_EQ(0, child_start(&next, has_most, &count));
	end(&child, killed);
	child_tell(&next, 0);
	CHECK_EQ(0, child_hear(&next, 60000));
	end(&next, killed);
	start = now_us();
	CHECK(returns(before, most / 8));
	printf("# %zu MiB of %lld MiB, back %lld us after the end\n", most / MIB, before >> 20,
	       now_us() - start);
	CHECK_EQ(kills, said("/proc/vmstat", "oom_kill"));
}

static void next_program_after_an_exit(void)
{
	if (!brief)
		next_program(false);
}

static void next_program_after_a_kill(void)
{
	next_program(true);
}

/* A program that has freed its buffers, and does nothing else. */
static void idle_session(void)
{
	struct session session = session_open("cdsp");
	struct buffer buf = buffer_new("system", 200 * MIB);
	long long before = available() + (long long)buf.size;
	uint64_t address;

	works(&session, &buf);
	buffer_free(&session, &buf);
	CHECK(returns(before, SLACK));

	buf = buffer_new("system", 200 * MIB);
	CHECK_EQ(0, front->map(&session, &buf, &address));
	works(&session, &buf);
	CHECK_EQ(0, front->unmap(&session, &buf, address));
	buffer_free(&session, &buf);
	CHECK(returns(before, SLACK));
	close(session.fd);
}

/* One buffer at a time, used by two sessions. */
static void shared(struct session *one, struct session *other)
{
	long long before = available();
	struct buffer buf;

	alarm(qda_patience(200));
	volunteer();
	for (int i = 0; i < ROUNDS && !tap_failed; i++) {
		buf = buffer_new("system", ROUND_SIZE);
		memset(buf.map, i, PAGE);
		works(one, &buf);
		works(other, &buf);
		front->forget(one, &buf);
		buffer_free(other, &buf);
	}
	CHECK(returns(before, SLACK));

	for (int i = 0; i < ROUNDS && !tap_failed; i++) {
		buf = buffer_new(HEAP_TWO_VIEWS, SIZE);
		works(one, &buf);
		works(other, &buf);
		front->forget(one, &buf);
		buffer_free(other, &buf);
	}
	CHECK(none_is_left());
}

static void two_sessions(void)
{
	struct session one = session_open("cdsp"), other = session_open("cdsp");

	shared(&one, &other);
	close(one.fd);
	close(other.fd);
}

static void two_dsps(void)
{
	struct session one = session_open("cdsp"), other = session_open("adsp");

	shared(&one, &other);
	close(one.fd);
	close(other.fd);
}

/* A process that uses the buffers that it hears of, by a descriptor of its parent. */
static int neighbour(struct child *parent, void *arg)
{
	struct session session;
	int fd, pidfd = syscall(SYS_pidfd_open, getppid(), 0);

	(void)arg;
	child_tell(parent, front->open("cdsp", &session));
	while ((fd = child_hear(parent, 10000)) >= 0) {
		struct buffer buf;

		if (!view(&buf, syscall(SYS_pidfd_getfd, pidfd, fd, 0), ROUND_SIZE))
			return 1;
		works(&session, &buf);
		buffer_free(&session, &buf);
		child_tell(parent, tap_failed);
	}
	return tap_failed;
}

static void two_processes(void)
{
	struct session session;
	struct child child;
	long long before;

	alarm(qda_patience(200));
	volunteer();
	CHECK_EQ(0, child_start(&child, neighbour, NULL));
	CHECK_EQ(0, child_hear(&child, 10000));
	session = session_open("cdsp");
	before = available();
	for (int i = 0; i < ROUNDS && !tap_failed; i++) {
		struct buffer buf = buffer_new("system", ROUND_SIZE);

		memset(buf.map, i, PAGE);
		works(&session, &buf);
		child_tell(&child, buf.fd);
		CHECK_EQ(0, child_hear(&child, 10000));
		works(&session, &buf);
		buffer_free(&session, &buf);
	}
	CHECK(returns(before, SLACK));
	child_tell(&child, -1);
	CHECK_EQ(0, child_wait(&child, 10000));
	close(session.fd);
}

/* Many buffers, one after the other, with one session and with two. */
static void one_after_the_other(void)
{
	struct session one = session_open("cdsp"), other = session_open("cdsp");
	long long before = available();

	alarm(qda_patience(200));
	for (int i = 0; i < many() && !tap_failed; i++) {
		struct buffer buf = buffer_new("system", PAGE);

		*(int *)buf.map = i;
		works_at(&one, &buf, 0, PAGE);
		works_at(&other, &buf, 0, PAGE);
		front->forget(&one, &buf);
		buffer_free(&other, &buf);
		if (tap_failed)
			printf("# with buffer %d\n", i);
	}
	CHECK(returns(before, SLACK));
	close(one.fd);
	close(other.fd);
}

/* The module that buffers came from goes, beside a session that has used them. */
static void exporter_unloads(void)
{
	struct session session = session_open("cdsp");
	uint64_t address, sum;
	struct buffer buf;
	int ret = -1;

	buf = buffer_new(HEAP_TWO_VIEWS, SIZE);
	works(&session, &buf);
	CHECK_EQ(0, front->map(&session, &buf, &address));
	CHECK_EQ(0, front->unmap(&session, &buf, address));
	buffer_free(&session, &buf);
	buf = buffer_new(HEAP_NO_SYNC, SIZE);
	works(&session, &buf);
	buffer_free(&session, &buf);
	for (int i = 0; i < SOON / 20 && ret; i++) {
		usleep(qda_patience(20000));
		ret = syscall(SYS_delete_module, "qda_two_views", O_NONBLOCK) ? -errno : 0;
	}
	CHECK_EQ(0, ret);
	CHECK_EQ(0, system("modprobe qda_two_views"));

	/* The session works as before. */
	buf = buffer_new(HEAP_TWO_VIEWS, SIZE);
	works(&session, &buf);
	CHECK_EQ(0, front->lend(&session, &buf, 1, &sum));
	buffer_free(&session, &buf);
	close(session.fd);
	CHECK(none_is_left());
}

/*
 * Buffers that the DSP never gives back, each under the number of the one before, which the program
 * has closed. What the number means now is meant.
 */
static void number_used_again(void)
{
	struct session session = session_open("cdsp");
	uint32_t number = 0;

	for (uint32_t i = 0; i < 8; i++) {
		struct buffer buf = buffer_new("system", SIZE);
		uint64_t expected, sum = 0;

		if (i)
			CHECK_EQ(number, front->number(&session, &buf));
		number = front->number(&session, &buf);
		node_fill(buf.map, SIZE, i);
		expected = node_hash(NODE_HASH, buf.map, SIZE);
		CHECK_EQ(0, front->lend(&session, &buf, i, &sum));
		CHECK(sum == expected);
		CHECK(simdsp_filled(buf.map, PAGE, i));
		/* Again, while it means the same. */
		expected = node_hash(NODE_HASH, buf.map, SIZE);
		CHECK_EQ(0, front->lend(&session, &buf, i + 1, &sum));
		CHECK(sum == expected);
		CHECK(simdsp_filled(buf.map, PAGE, i + 1));
		/* In the place where it is as well. */
		works(&session, &buf);
		buffer_free(&session, &buf);
	}
	close(session.fd);
}

/* The same, where the buffer before was mapped under the number. */
static void number_of_a_mapped_buffer(void)
{
	struct session session = session_open("cdsp");
	struct buffer old = buffer_new("system", SIZE), new;
	uint64_t address, expected, sum = 0;
	uint32_t number;

	CHECK_EQ(0, front->map(&session, &old, &address));
	number = front->number(&session, &old);
	buffer_free(&session, &old);
	new = buffer_new("system", SIZE);
	CHECK_EQ(number, front->number(&session, &new));
	node_fill(new.map, SIZE, 2);
	expected = node_hash(NODE_HASH, new.map, SIZE);
	CHECK_EQ(0, front->lend(&session, &new, 3, &sum));
	CHECK(sum == expected);
	CHECK(simdsp_filled(new.map, PAGE, 3));
	works(&session, &new);
	/* The old one is still what was mapped. */
	CHECK_EQ(0, front->unmap(&session, &new, address));
	works(&session, &new);
	buffer_free(&session, &new);
	close(session.fd);
}

/*
 * What the DSP gives back is free, whichever buffer was meant by the number at the time. The
 * kernel's own driver finds only what has a descriptor.
 */
static void given_back_later(void)
{
	struct session session = session_open("cdsp");
	uint64_t numbers[8], sum, address;
	struct buffer buf;

	if (!own_driver()) {
		close(session.fd);
		return;
	}
	for (int i = 0; i < 4; i++) {
		buf = buffer_new(HEAP_TWO_VIEWS, SIZE);
		CHECK_EQ(0, front->lend(&session, &buf, i, &sum));
		/* For two arguments. */
		numbers[2 * i] = front->number(&session, &buf);
		numbers[2 * i + 1] = numbers[2 * i];
		buffer_free(&session, &buf);
	}
	CHECK_EQ(4, dmabuf_views("buffers"));
	CHECK_EQ(0, front->give_back(&session, numbers, 8));
	CHECK(none_is_left());
	/* Nothing has the number any more. */
	buf = buffer_new(HEAP_TWO_VIEWS, SIZE);
	CHECK_EQ(numbers[0], front->number(&session, &buf));
	CHECK_EQ(0, front->map(&session, &buf, &address));
	CHECK_EQ(0, front->unmap(&session, &buf, address));
	buffer_free(&session, &buf);
	CHECK(none_is_left());
	close(session.fd);
}

static const struct tap_test tests[] = {
	{ "number_used_again", number_used_again },
	{ "number_of_a_mapped_buffer", number_of_a_mapped_buffer },
	{ "given_back_later", given_back_later },
	{ "large_buffers", large_buffers },
	{ "small_buffers", small_buffers },
	{ "larger_than_a_gib", larger_than_a_gib },
	{ "room_again", room_again },
	{ "most_of_the_memory_at_once", most_of_the_memory_at_once },
	{ "most_of_the_memory_in_pieces", most_of_the_memory_in_pieces },
	{ "next_program_after_an_exit", next_program_after_an_exit },
	{ "next_program_after_a_kill", next_program_after_a_kill },
	{ "idle_session", idle_session },
	{ "two_sessions", two_sessions },
	{ "two_dsps", two_dsps },
	{ "two_processes", two_processes },
	{ "one_after_the_other", one_after_the_other },
	{ "exporter_unloads", exporter_unloads },
};

int main(int argc, char **argv)
{
	front = fronts;
	for (size_t i = 0; i < sizeof(fronts) / sizeof(fronts[0]); i++) {
		if (argc > 1 && !strcmp(argv[1], fronts[i].name))
			front = &fronts[i];
	}
	brief = argc > 2 && !strcmp(argv[2], "brief");
	return tap_run(tests, sizeof(tests) / sizeof(tests[0]));
}
