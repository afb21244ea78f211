// SPDX-License-Identifier: GPL-2.0
/*
 * The three drivers that are measured.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/dma-heap.h>

#include <drm/drm.h>
#include <drm/qda_accel.h>
#include <misc/fastrpc.h>

#include "../guest-modules/qda_floor.h"
#include "bench.h"
#include "qda.h"

_Static_assert(sizeof(struct arg) == sizeof(struct fastrpc_invoke_args) &&
	       sizeof(struct arg) == sizeof(struct drm_qda_invoke_arg), "one layout of arguments");

int call_ioctl(int fd, unsigned long cmd, void *arg)
{
	int ret = ioctl(fd, cmd, arg);

	return ret == -1 ? -errno : ret;
}

int make_call(struct call *call)
{
	return call_ioctl(call->fd, call->ioctl, &call->header);
}

struct call new_call(const struct session *session, uint32_t scalars)
{
	return (struct call) {
		.fd = session->fd,
		.ioctl = session->driver->ioctl,
		.header = { .handle = session->module, .scalars = scalars },
	};
}

struct arg inline_arg(const void *ptr, size_t length)
{
	return (struct arg) { (uintptr_t)ptr, length, -1, 0 };
}

struct arg buffer_arg(const struct buffer *buffer, size_t length)
{
	return (struct arg) { (uintptr_t)buffer->map, length, buffer->number, 0 };
}

int open_session(const struct driver *driver, struct session *session)
{
	int ret;

	*session = (struct session) { .driver = driver, .fd = -1 };
	ret = driver->open(session);
	if (!ret && driver->open_module)
		ret = driver->open_module(session);
	if (ret)
		close_session(session);
	return ret;
}

void close_session(struct session *session)
{
	if (session->fd >= 0)
		close(session->fd);
	session->fd = -1;
}

/* Both drivers reach the module in the same way. */
static int open_module(struct session *session)
{
	static const char name[] = "simdsp";
	uint32_t in[2] = { sizeof(name), 256 }, out[2] = { 0 };
	struct call call = new_call(session, SCALARS(0, 2, 2));
	char error[256];
	int ret;

	call.header.handle = 0;
	call.header.args = (uintptr_t)call.args;
	call.args[0] = inline_arg(in, sizeof(in));
	call.args[1] = inline_arg(name, sizeof(name));
	call.args[2] = inline_arg(out, sizeof(out));
	call.args[3] = inline_arg(error, sizeof(error));
	ret = make_call(&call);
	session->module = out[0];
	return ret ? ret : (int)out[1];
}

static int map_buffer(struct buffer *buffer, int fd, uint64_t offset)
{
	buffer->map = mmap(NULL, buffer->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);
	return buffer->map == MAP_FAILED ? -errno : 0;
}

int heap_buffer(size_t size, struct buffer *buffer)
{
	struct dma_heap_allocation_data data = {
		.len = size,
		.fd_flags = O_RDWR | O_CLOEXEC,
	};
	int heap = open("/dev/dma_heap/system", O_RDWR | O_CLOEXEC);
	int ret = call_ioctl(heap, DMA_HEAP_IOCTL_ALLOC, &data);

	close(heap);
	if (ret)
		return ret;
	*buffer = (struct buffer) { .size = size, .fd = data.fd, .number = data.fd };
	return map_buffer(buffer, data.fd, 0);
}

/* fastrpc */

static int fastrpc_open(struct session *session)
{
	struct fastrpc_init_create create = {
		.filefd = -1,
		.attrs = FASTRPC_MODE_UNSIGNED_MODULE,
	};

	session->fd = open("/dev/fastrpc-cdsp", O_RDWR | O_CLOEXEC);
	if (session->fd < 0)
		return -errno;
	return call_ioctl(session->fd, FASTRPC_IOCTL_INIT_CREATE, &create);
}

static int fastrpc_alloc(struct session *session, size_t size, struct buffer *buffer)
{
	struct fastrpc_alloc_dma_buf alloc = { .size = size };
	int ret = call_ioctl(session->fd, FASTRPC_IOCTL_ALLOC_DMA_BUFF, &alloc);

	if (ret)
		return ret;
	*buffer = (struct buffer) { .size = size, .fd = alloc.fd, .number = alloc.fd };
	return map_buffer(buffer, alloc.fd, 0);
}

/* Its own memory is cached where the DSP is coherent only; programs take a heap's. */
static int fastrpc_alloc_cached(struct session *session, size_t size, struct buffer *buffer)
{
	(void)session;
	return heap_buffer(size, buffer);
}

static void fastrpc_free(struct session *session, struct buffer *buffer)
{
	(void)session;
	munmap(buffer->map, buffer->size);
	close(buffer->fd);
}

static int fastrpc_map(struct session *session, struct buffer *buffer)
{
	struct fastrpc_mem_map map = {
		.fd = buffer->fd,
		.flags = FASTRPC_MAP_FD,
		.vaddrin = (uintptr_t)buffer->map,
		.length = buffer->size,
	};
	int ret = call_ioctl(session->fd, FASTRPC_IOCTL_MEM_MAP, &map);

	buffer->address = map.vaddrout;
	return ret;
}

static int fastrpc_unmap(struct session *session, struct buffer *buffer)
{
	struct fastrpc_mem_unmap unmap = {
		.fd = buffer->fd,
		.vaddr = buffer->address,
		.length = buffer->size,
	};

	return call_ioctl(session->fd, FASTRPC_IOCTL_MEM_UNMAP, &unmap);
}

/* A dma-buf is used as it is. */
static int fastrpc_import(struct session *session, struct buffer *buffer)
{
	(void)session;
	buffer->number = buffer->fd;
	return 0;
}

static void fastrpc_drop(struct session *session, struct buffer *buffer)
{
	(void)session;
	(void)buffer;
}

static int fastrpc_poll(struct session *session)
{
	struct fastrpc_ioctl_set_option option = {
		.request_id = FASTRPC_POLL_MODE,
		.value = FASTRPC_POLL_MODE_ENABLE,
	};

	return call_ioctl(session->fd, FASTRPC_IOCTL_SET_OPTION, &option);
}

const struct driver fastrpc_driver = {
	.name = "fastrpc",
	.link = "cdsp",
	.ioctl = FASTRPC_IOCTL_INVOKE,
	.open = fastrpc_open,
	.open_module = open_module,
	.alloc = fastrpc_alloc,
	.alloc_cached = fastrpc_alloc_cached,
	.free = fastrpc_free,
	.map = fastrpc_map,
	.unmap = fastrpc_unmap,
	.import = fastrpc_import,
	.drop = fastrpc_drop,
	.poll = fastrpc_poll,
};

/* QDA */

static int bench_qda_open(struct session *session)
{
	struct drm_qda_init_create create = { .attrs = QDA_PROC_ATTR_UNSIGNED };

	session->fd = open("/dev/accel/accel0", O_RDWR | O_CLOEXEC);
	if (session->fd < 0)
		return -errno;
	return call_ioctl(session->fd, DRM_IOCTL_QDA_INIT_CREATE, &create);
}

static int bench_qda_alloc(struct session *session, size_t size, struct buffer *buffer)
{
	struct qda_buf buf;
	int ret = qda_buf_new(session->fd, size, &buf);

	if (!ret)
		*buffer = (struct buffer) {
			.size = buf.size,
			.map = buf.map,
			.fd = -1,
			.number = buf.handle,
		};
	return ret;
}

static int bench_qda_alloc_cached(struct session *session, size_t size, struct buffer *buffer)
{
	struct drm_qda_buffer_create create = { .size = size, .flags = QDA_BUFFER_CACHED };
	__u64 offset;
	int ret = call_ioctl(session->fd, DRM_IOCTL_QDA_BUFFER_CREATE, &create);

	if (!ret)
		ret = qda_mmap_offset(session->fd, create.handle, &offset);
	if (ret)
		return ret;
	*buffer = (struct buffer) { .size = size, .fd = -1, .number = create.handle };
	return map_buffer(buffer, session->fd, offset);
}

static void bench_qda_free(struct session *session, struct buffer *buffer)
{
	munmap(buffer->map, buffer->size);
	qda_gem_close(session->fd, buffer->number);
}

static int bench_qda_map(struct session *session, struct buffer *buffer)
{
	struct drm_qda_mem_map map = {
		.request = QDA_MAP_REQUEST_ATTR,
		.flags = FASTRPC_MAP_FD,
		.handle = buffer->number,
		.vaddrin = (uintptr_t)buffer->map,
		.size = buffer->size,
	};
	int ret = call_ioctl(session->fd, DRM_IOCTL_QDA_MAP, &map);

	buffer->address = map.vaddrout;
	return ret;
}

static int bench_qda_unmap(struct session *session, struct buffer *buffer)
{
	struct drm_qda_mem_unmap unmap = {
		.request = QDA_MAP_REQUEST_ATTR,
		.handle = buffer->number,
		.vaddr = buffer->address,
		.size = buffer->size,
	};

	return call_ioctl(session->fd, DRM_IOCTL_QDA_MUNMAP, &unmap);
}

static int bench_qda_import(struct session *session, struct buffer *buffer)
{
	struct drm_prime_handle prime = { .fd = buffer->fd };
	int ret = call_ioctl(session->fd, DRM_IOCTL_PRIME_FD_TO_HANDLE, &prime);

	buffer->number = prime.handle;
	return ret;
}

static void bench_qda_drop(struct session *session, struct buffer *buffer)
{
	qda_gem_close(session->fd, buffer->number);
}

/* Whether to poll is decided when a session begins. */
static int bench_qda_poll(struct session *session)
{
	struct drm_qda_session_create create = {
		.kind = QDA_SESSION_USER_UNSIGNED,
		.flags = QDA_SESSION_POLL,
	};
	int ret;

	close(session->fd);
	session->fd = open("/dev/accel/accel0", O_RDWR | O_CLOEXEC);
	if (session->fd < 0)
		return -errno;
	ret = call_ioctl(session->fd, DRM_IOCTL_QDA_SESSION_CREATE, &create);
	if (!ret)
		ret = create.status;
	return ret ? ret : open_module(session);
}

static int bench_qda_queue(struct session *session, int depth)
{
	struct drm_qda_queue_create create = { .depth = depth, .threads = depth };

	return call_ioctl(session->fd, DRM_IOCTL_QDA_QUEUE_CREATE, &create);
}

static int bench_qda_submit(struct session *session, uint32_t scalars, const uint32_t *numbers,
			    int count)
{
	struct drm_qda_submission submissions[MAX_IN_FLIGHT];
	struct drm_qda_submit submit = {
		.submissions = (uintptr_t)submissions,
		.submission_size = sizeof(submissions[0]),
		.arg_size = sizeof(struct drm_qda_call_arg),
		.count = count,
	};
	int ret;

	for (int i = 0; i < count; i++)
		submissions[i] = (struct drm_qda_submission) {
			.user_data = numbers[i],
			.handle = session->module,
			.scalars = scalars,
		};
	ret = call_ioctl(session->fd, DRM_IOCTL_QDA_SUBMIT, &submit);
	return ret ? ret : (int)submit.accepted;
}

static int bench_qda_reap(struct session *session, uint32_t *numbers, int max)
{
	struct drm_qda_completion completions[MAX_IN_FLIGHT];
	struct drm_qda_reap reap = {
		.completions = (uintptr_t)completions,
		.completion_size = sizeof(completions[0]),
		.max_count = max,
		.min_count = 1,
		.timeout_ns = INT64_MAX,
	};
	int ret = call_ioctl(session->fd, DRM_IOCTL_QDA_REAP, &reap);

	if (ret)
		return ret;
	for (unsigned int i = 0; i < reap.reaped; i++) {
		if (completions[i].error || completions[i].status)
			return -EBADMSG;
		numbers[i] = completions[i].user_data;
	}
	return reap.reaped;
}

const struct driver qda_driver = {
	.name = "qda",
	.link = "cdsp1",
	.ioctl = DRM_IOCTL_QDA_INVOKE,
	.open = bench_qda_open,
	.open_module = open_module,
	.alloc = bench_qda_alloc,
	.alloc_cached = bench_qda_alloc_cached,
	.free = bench_qda_free,
	.map = bench_qda_map,
	.unmap = bench_qda_unmap,
	.import = bench_qda_import,
	.drop = bench_qda_drop,
	.poll = bench_qda_poll,
	.queue = bench_qda_queue,
	.submit = bench_qda_submit,
	.reap = bench_qda_reap,
};

/* The floor */

static int floor_open(struct session *session)
{
	session->fd = open("/dev/qda_floor", O_RDWR | O_CLOEXEC);
	return session->fd < 0 ? -errno : 0;
}

static int floor_alloc(struct session *session, size_t size, struct buffer *buffer)
{
	uint64_t bytes = size;

	*buffer = (struct buffer) { .size = size, .fd = -1 };
	return call_ioctl(session->fd, QDA_FLOOR_ALLOC, &bytes);
}

static void floor_free(struct session *session, struct buffer *buffer)
{
	(void)buffer;
	call_ioctl(session->fd, QDA_FLOOR_FREE, NULL);
}

const struct driver floor_driver = {
	.name = "floor",
	.link = "floor",
	.ioctl = QDA_FLOOR_CALL,
	.open = floor_open,
	.alloc = floor_alloc,
	.free = floor_free,
};
