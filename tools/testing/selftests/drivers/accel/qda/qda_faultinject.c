// SPDX-License-Identifier: GPL-2.0
/*
 * QDA: each allocation and each copy of user memory of each ioctl of the accel device fails once,
 * and those of open(), mmap(), close() and PRIME.
 *
 * A new ioctl gets a function that makes it, and an entry in the list of operations below.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>

#include "dmabuf.h"
#include "faults.h"
#include "harness.h"
#include "module.h"
#include "qda.h"
#include "simdsp.h"

#define SIZE		16384
#define LARGE		300000
#define SHELL_SIZE	5000

/* A piece of heap that the DSP is given, and a shell that it is started with. */
static __u8 shell[SHELL_SIZE], in[LARGE], out[LARGE];

/**
 * struct fault_state - what the steps of an operation share
 * @fd: file with a process on the CDSP
 * @module: the module "simdsp" of that process
 * @path: accel device of the CDSP
 * @dmabuf: a buffer of somebody else's
 * @buf: a buffer of @fd, for the pass
 * @answered: whether the DSP has been asked for its attributes
 * @other: a file for the pass
 * @handle: a handle for the pass
 * @number: a number for the DSP that no pass had before
 * @address: what DRM_QDA_MAP gave
 * @map: what mmap() gave
 */
struct fault_state {
	int fd;
	__u32 module;
	char path[64];
	int dmabuf;
	struct qda_buf buf;
	bool answered;
	int other;
	__u32 handle;
	__s32 number;
	__u64 address;
	void *map;
};

/* A DSP status is not what is looked for here. */
static int no_status(int ret)
{
	return ret > 0 ? -EREMOTEIO : ret;
}

static int new_buf(struct fault_state *s)
{
	return qda_buf_new(s->fd, SIZE, &s->buf);
}

static void free_buf(struct fault_state *s)
{
	qda_buf_free(&s->buf);
}

static int new_file(struct fault_state *s)
{
	s->other = qda_open("cdsp");
	return s->other < 0 ? s->other : 0;
}

static void close_file(struct fault_state *s)
{
	close(s->other);
}

static void close_handle(struct fault_state *s)
{
	qda_gem_close(s->fd, s->handle);
}

/* open() and close() */

static int call_open(struct fault_state *s)
{
	s->other = open(s->path, O_RDWR | O_CLOEXEC);
	return s->other < 0 ? -errno : 0;
}

/* Only the one of the fixture is left: the last pass's has been ended, and its bank is free. */
static int new_process(struct fault_state *s)
{
	if (!simdsp_wait_stat("cdsp", "processes", 1, 10000))
		return -EBUSY;
	s->other = qda_open_process("cdsp");
	return s->other < 0 ? s->other : 0;
}

/* It can't fail: what it has to do, it does. */
static int call_close(struct fault_state *s)
{
	close(s->other);
	return 0;
}

/* DRM_QDA_QUERY, DRM_QDA_GET_PARAM */

static int call_query(struct fault_state *s)
{
	struct drm_qda_query arg = { .query_type = QDA_QUERY_DSP_NAME };

	return qda_ioctl(s->fd, DRM_IOCTL_QDA_QUERY, &arg);
}

static int call_query_legacy(struct fault_state *s)
{
	struct drm_qda_query_legacy arg;

	return qda_ioctl(s->fd, QDA_IOCTL_QUERY_A, &arg);
}

static int call_param(struct fault_state *s)
{
	__u64 value;

	return qda_param(s->fd, QDA_PARAM_NAME, 0, &value);
}

/* A DSP is asked until it has answered; then it has to go first. */
static int new_adsp(struct fault_state *s)
{
	int ret = s->answered ? start_anew("adsp") : 0;

	s->answered = false;
	if (ret)
		return ret;
	s->other = qda_open("adsp");
	return s->other < 0 ? s->other : 0;
}

static int call_attribute(struct fault_state *s)
{
	__u64 value;
	int ret = qda_param(s->other, QDA_PARAM_DSP_ATTRIBUTE, 5, &value);

	s->answered = !ret;
	return ret;
}

/* Buffers */

static int call_gem_create(struct fault_state *s)
{
	struct drm_qda_gem_create arg = { .size = SIZE };
	int ret = qda_ioctl(s->fd, DRM_IOCTL_QDA_GEM_CREATE, &arg);

	s->handle = arg.handle;
	return ret;
}

static int buffer_create(struct fault_state *s, __u32 flags)
{
	struct drm_qda_buffer_create arg = { .size = SIZE, .flags = flags };
	int ret = qda_ioctl(s->fd, DRM_IOCTL_QDA_BUFFER_CREATE, &arg);

	s->handle = arg.handle;
	return ret;
}

static int call_create_cached(struct fault_state *s)
{
	return buffer_create(s, QDA_BUFFER_CACHED);
}

static int call_create_write_combined(struct fault_state *s)
{
	int ret = buffer_create(s, QDA_BUFFER_WRITE_COMBINED);

	/* A DSP that sees the CPU's caches has none. */
	return ret == -EOPNOTSUPP ? buffer_create(s, 0) : ret;
}

static int call_sync(struct fault_state *s)
{
	struct drm_qda_buffer_sync arg = { .handle = s->buf.handle, .flags = QDA_SYNC_READ };

	return qda_ioctl(s->fd, DRM_IOCTL_QDA_BUFFER_SYNC, &arg);
}

static int call_mmap_offset(struct fault_state *s)
{
	return qda_mmap_offset(s->fd, s->handle, &s->address);
}

static int new_offset(struct fault_state *s)
{
	return call_gem_create(s) ?: call_mmap_offset(s);
}

static int call_mmap(struct fault_state *s)
{
	s->map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, s->fd, s->address);
	return s->map == MAP_FAILED ? -errno : 0;
}

static void undo_mmap(struct fault_state *s)
{
	munmap(s->map, SIZE);
}

static int call_gem_close(struct fault_state *s)
{
	return qda_gem_close(s->fd, s->handle);
}

static int call_export(struct fault_state *s)
{
	s->other = dmabuf_export(s->fd, s->handle);
	return s->other < 0 ? s->other : 0;
}

static int call_import(struct fault_state *s)
{
	return dmabuf_import(s->fd, s->dmabuf, &s->handle);
}

/* DSP processes */

static int call_attach(struct fault_state *s)
{
	return qda_ioctl(s->other, DRM_IOCTL_QDA_INIT_ATTACH, NULL);
}

static int call_create(struct fault_state *s)
{
	struct drm_qda_init_create arg = {
		.attrs = QDA_PROC_ATTR_UNSIGNED,
		.filelen = SHELL_SIZE,
		.file = (uintptr_t)shell,
	};

	return no_status(qda_ioctl(s->other, DRM_IOCTL_QDA_INIT_CREATE, &arg));
}

/* A file, and a buffer of it with a shell. */
static int new_shell(struct fault_state *s)
{
	int ret = new_file(s);

	if (ret)
		return ret;
	ret = qda_buf_new(s->other, SHELL_SIZE, &s->buf);
	if (!ret)
		memcpy(s->buf.map, shell, SHELL_SIZE);
	return ret;
}

static void free_shell(struct fault_state *s)
{
	qda_buf_free(&s->buf);
	close(s->other);
}

static int call_create_from_buffer(struct fault_state *s)
{
	struct drm_qda_init_create arg = {
		.attrs = QDA_PROC_ATTR_UNSIGNED,
		.filelen = SHELL_SIZE,
		.filehandle = s->buf.handle,
	};

	return no_status(qda_ioctl(s->other, DRM_IOCTL_QDA_INIT_CREATE, &arg));
}

static int call_session(struct fault_state *s)
{
	return no_status(qda_session(s->other, (struct drm_qda_session_create) {
		.kind = QDA_SESSION_USER_UNSIGNED,
		.shell_handle = s->buf.handle,
		.shell_size = SHELL_SIZE,
	}));
}

static int call_session_root(struct fault_state *s)
{
	return no_status(qda_session_kind(s->other, QDA_SESSION_ROOT));
}

static int call_session_sensors(struct fault_state *s)
{
	return no_status(qda_session_kind(s->other, QDA_SESSION_SENSORS));
}

static int new_adsp_file(struct fault_state *s)
{
	s->other = qda_open("adsp");
	return s->other < 0 ? s->other : 0;
}

static int call_session_static(struct fault_state *s)
{
	return no_status(qda_session(s->other, (struct drm_qda_session_create) {
		.kind = QDA_SESSION_STATIC,
		.name = "audiopd",
	}));
}

/* DRM_QDA_MAP and DRM_QDA_MUNMAP */

static int call_map(struct fault_state *s)
{
	struct drm_qda_mem_map arg = {
		.request = QDA_MAP_REQUEST_ATTR,
		.flags = QDA_MAP_FD,
		.handle = s->buf.handle,
		.dsp_handle = s->number,
		.vaddrin = (uintptr_t)s->buf.map,
		.size = SIZE,
	};
	int ret = no_status(qda_ioctl(s->fd, DRM_IOCTL_QDA_MAP, &arg));

	s->address = arg.vaddrout;
	return ret;
}

static int call_unmap(struct fault_state *s)
{
	struct drm_qda_mem_unmap arg = {
		.request = QDA_MAP_REQUEST_ATTR,
		.dsp_handle = s->number,
		.vaddr = s->address,
		.size = SIZE,
	};

	return no_status(qda_ioctl(s->fd, DRM_IOCTL_QDA_MUNMAP, &arg));
}

static void undo_map(struct fault_state *s)
{
	call_unmap(s);
}

/* A mapping that the program was not told of stays, under a number of its own. */
static int new_number(struct fault_state *s)
{
	s->number++;
	return new_buf(s);
}

static int new_mapping(struct fault_state *s)
{
	return new_number(s) ?: call_map(s);
}

static int call_grow(struct fault_state *s)
{
	struct drm_qda_mem_map arg = {
		.request = QDA_MAP_REQUEST_LEGACY, .flags = QDA_HEAP_ADD, .size = SIZE,
	};
	int ret = no_status(qda_ioctl(s->fd, DRM_IOCTL_QDA_MAP, &arg));

	s->address = arg.vaddrout;
	return ret;
}

static int call_shrink(struct fault_state *s)
{
	struct drm_qda_mem_unmap arg = {
		.request = QDA_MAP_REQUEST_LEGACY, .vaddrout = s->address, .size = SIZE,
	};

	return no_status(qda_ioctl(s->fd, DRM_IOCTL_QDA_MUNMAP, &arg));
}

static void undo_grow(struct fault_state *s)
{
	call_shrink(s);
}

/* DRM_QDA_INVOKE */

static int call_invoke(struct fault_state *s)
{
	return no_status(simdsp_echo(s->fd, s->module, in, out, 100));
}

/* More than is kept for calls. */
static int call_invoke_large(struct fault_state *s)
{
	return no_status(simdsp_echo(s->fd, s->module, in, out, LARGE));
}

static int call_invoke_buffer(struct fault_state *s)
{
	return no_status(simdsp_echo_buf(s->fd, s->module, &s->buf, 0, &s->buf, SIZE / 2, 100));
}

static int call_invoke_handle(struct fault_state *s)
{
	__u32 seed = 0;
	__u64 sum;
	struct drm_qda_invoke_arg args[3] = {
		qda_inline(&seed, sizeof(seed)), qda_inline(&sum, sizeof(sum)),
		{ .length = SIZE, .handle = s->buf.handle },
	};

	return no_status(qda_invoke(s->fd, s->module, QDA_SCALARS(SIMDSP_HANDLES, 1, 1) |
						      QDA_SCALARS_HANDLES(1, 0), args));
}

/* The DSP has it as often as it got it, also where the program was told of a failure. */
static void give_back(struct fault_state *s)
{
	__u64 number = s->buf.handle;
	struct drm_qda_invoke_arg arg = qda_inline(&number, sizeof(number));

	for (int i = 0; i < 2; i++)
		qda_invoke(s->fd, s->module, QDA_SCALARS(SIMDSP_GIVE_BACK, 1, 0), &arg);
	free_buf(s);
}

/* DRM_QDA_CALL */

static int call(struct fault_state *s, int method, __u32 handles, struct drm_qda_call_arg *args)
{
	__s32 status;
	int ret = qda_call(s->fd, s->module, QDA_SCALARS(method, 1, 1) | handles, args, &status);

	return ret ?: no_status(status);
}

static int call_call(struct fault_state *s)
{
	struct drm_qda_call_arg args[2] = {
		{ .address = (uintptr_t)in, .length = 100 },
		{ .address = (uintptr_t)out, .length = 100 },
	};

	return call(s, SIMDSP_ECHO, 0, args);
}

static int call_call_buffer(struct fault_state *s)
{
	struct drm_qda_call_arg args[2] = {
		{ .handle = s->buf.handle, .length = 100 },
		{ .handle = s->buf.handle, .offset = SIZE / 2, .length = 100 },
	};

	return call(s, SIMDSP_ECHO, 0, args);
}

static int call_call_import(struct fault_state *s)
{
	struct drm_qda_call_arg args[2] = {
		{ .handle = s->handle, .length = 100 },
		{ .handle = s->handle, .offset = SIZE / 2, .length = 100 },
	};

	return call(s, SIMDSP_ECHO, 0, args);
}

static int call_call_handle(struct fault_state *s)
{
	__u32 seed = 0;
	__u64 sum;
	struct drm_qda_call_arg args[3] = {
		{ .address = (uintptr_t)&seed, .length = sizeof(seed) },
		{ .address = (uintptr_t)&sum, .length = sizeof(sum) },
		{ .handle = s->buf.handle, .length = SIZE },
	};

	return call(s, SIMDSP_HANDLES, QDA_SCALARS_HANDLES(1, 0), args);
}

FIXTURE(faultinject)
{
	struct fault_state s;
};

FIXTURE_VARIANT(faultinject)
{
	const struct fault_op *op;
};

FAULT_OP(open, .call = call_open, .undo = close_file);
FAULT_OP(close, .prepare = new_process, .call = call_close, .none = true);
FAULT_OP(query, .call = call_query);
FAULT_OP(query_legacy, .call = call_query_legacy);
FAULT_OP(get_param, .call = call_param);
FAULT_OP(get_param_attribute, .prepare = new_adsp, .call = call_attribute, .settle = close_file,
	 .once = true);
FAULT_OP(gem_create, .call = call_gem_create, .undo = close_handle);
FAULT_OP(buffer_create_cached, .call = call_create_cached, .undo = close_handle);
FAULT_OP(buffer_create_wc, .call = call_create_write_combined, .undo = close_handle);
FAULT_OP(buffer_sync, .prepare = new_buf, .call = call_sync, .settle = free_buf);
FAULT_OP(gem_mmap_offset, .prepare = call_gem_create, .call = call_mmap_offset,
	 .settle = close_handle);
FAULT_OP(mmap, .prepare = new_offset, .call = call_mmap, .undo = undo_mmap, .settle = close_handle);
FAULT_OP(gem_close, .prepare = call_gem_create, .call = call_gem_close);
FAULT_OP(prime_export, .prepare = call_gem_create, .call = call_export, .undo = close_file,
	 .settle = close_handle);
FAULT_OP(prime_import, .call = call_import, .undo = close_handle);
FAULT_OP(init_attach, .prepare = new_file, .call = call_attach, .settle = close_file);
FAULT_OP(init_create, .prepare = new_file, .call = call_create, .settle = close_file,
	 .done = -EEXIST);
FAULT_OP(init_create_from_buffer, .prepare = new_shell, .call = call_create_from_buffer,
	 .settle = free_shell, .done = -EEXIST);
FAULT_OP(session_create, .prepare = new_shell, .call = call_session, .settle = free_shell,
	 .done = -EEXIST);
FAULT_OP(session_create_root, .prepare = new_file, .call = call_session_root, .settle = close_file,
	 .done = -EEXIST);
FAULT_OP(session_create_sensors, .prepare = new_file, .call = call_session_sensors,
	 .settle = close_file, .done = -EEXIST);
FAULT_OP(session_create_static, .prepare = new_adsp_file, .call = call_session_static,
	 .settle = close_file, .done = -EEXIST);
FAULT_OP(map, .prepare = new_number, .call = call_map, .undo = undo_map, .settle = free_buf,
	 .done = -EEXIST);
FAULT_OP(map_heap, .call = call_grow, .undo = undo_grow);
FAULT_OP(munmap, .prepare = new_mapping, .call = call_unmap, .settle = free_buf, .done = -EINVAL);
FAULT_OP(munmap_heap, .prepare = call_grow, .call = call_shrink, .done = -EINVAL);
FAULT_OP(invoke, .call = call_invoke);
FAULT_OP(invoke_large, .call = call_invoke_large);
FAULT_OP(invoke_buffer, .prepare = new_buf, .call = call_invoke_buffer, .settle = free_buf);
FAULT_OP(invoke_handle, .prepare = new_buf, .call = call_invoke_handle, .settle = give_back);
FAULT_OP(call, .call = call_call);
FAULT_OP(call_buffer, .prepare = new_buf, .call = call_call_buffer, .settle = free_buf);
FAULT_OP(call_import, .prepare = call_import, .call = call_call_import, .settle = close_handle);
FAULT_OP(call_handle, .prepare = new_buf, .call = call_call_handle, .settle = give_back);

/* The device of the CDSP, by the file that is open. */
static int device_path(int fd, char *path, size_t size)
{
	char link[64];
	ssize_t len;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = readlink(link, path, size - 1);
	path[len < 0 ? 0 : len] = '\0';
	return len < 0 ? -errno : 0;
}

FIXTURE_SETUP(faultinject)
{
	struct fault_state *s = &self->s;
	const char *why = qda_test_begin("faultinject", _metadata->name, true);

	s->fd = -1;
	s->dmabuf = -1;
	if (!why)
		why = faults_begin();
	if (why)
		SKIP(return, "%s", why);
	s->fd = qda_open_process("cdsp");
	ASSERT_LE(0, s->fd);
	ASSERT_EQ(0, simdsp_open(s->fd, &s->module));
	ASSERT_EQ(0, device_path(s->fd, s->path, sizeof(s->path)));
	s->dmabuf = dmabuf_heap(SIZE);
	ASSERT_LE(0, s->dmabuf);
	s->number = 1000;
	qda_shell_header(shell);
	qda_fill(in, sizeof(in), 1);
}

FIXTURE_TEARDOWN(faultinject)
{
	close(self->s.dmabuf);
	close(self->s.fd);
	EXPECT_EQ(0, qda_test_end());
}

TEST_F_TIMEOUT(faultinject, every_fault, 240)
{
	struct fault_state *s = &self->s;

	EXPECT_TRUE(faults_try(variant->op, s));
	/* The process is as it was. */
	memset(out, 0, 100);
	EXPECT_EQ(0, simdsp_echo(s->fd, s->module, in, out, 100));
	EXPECT_TRUE(qda_filled(out, 100, 1));
}

TEST_HARNESS_MAIN
