// SPDX-License-Identifier: GPL-2.0
/*
 * QDA: each allocation and each copy of user memory of each ioctl of /dev/fastrpc-* fails once, and
 * those of open(), of close(), and of mmap() of the node's buffers.
 *
 * Wants a secure CDSP that can be polled, and a secure ADSP with memory for static processes.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#include <misc/fastrpc.h>

#include "dmabuf.h"
#include "faults.h"
#include "harness.h"
#include "module.h"
#include "qda.h"
#include "simdsp.h"

#define CDSP		"/dev/fastrpc-cdsp"
#define CDSP_SECURE	"/dev/fastrpc-cdsp-secure"
#define ADSP_SECURE	"/dev/fastrpc-adsp-secure"

#define UNSIGNED	FASTRPC_MODE_UNSIGNED_MODULE
#define HEAP		0x1000

#define SIZE		16384
#define SHELL_SIZE	5000

static __u8 shell[SHELL_SIZE], in[100], out[100];

/**
 * struct fault_state - what the steps of an operation share
 * @fd: file with a process on the CDSP
 * @module: the module "simdsp" of that process
 * @answered: whether the DSP has been asked for its attributes
 * @other: a file for the pass
 * @dmabuf: a dma-buf for the pass
 * @address: what the DSP calls what it has
 * @map: where @dmabuf is mapped
 */
struct fault_state {
	int fd;
	__u32 module;
	bool answered;
	int other;
	int dmabuf;
	__u64 address;
	void *map;
};

/* A DSP status is not what is looked for here. */
static int request(int fd, unsigned long cmd, void *arg)
{
	int ret = qda_ioctl(fd, cmd, arg);

	return ret > 0 ? -EREMOTEIO : ret;
}

/* open() and close() */

static int open_node(struct fault_state *s, const char *path)
{
	s->other = open(path, O_RDWR | O_CLOEXEC);
	return s->other < 0 ? -errno : 0;
}

static int new_file(struct fault_state *s)
{
	return open_node(s, CDSP);
}

static int new_secure_file(struct fault_state *s)
{
	return open_node(s, CDSP_SECURE);
}

static int new_adsp_file(struct fault_state *s)
{
	return open_node(s, ADSP_SECURE);
}

static void close_file(struct fault_state *s)
{
	close(s->other);
}

static int create(int fd)
{
	struct fastrpc_init_create arg = { .filefd = -1, .attrs = UNSIGNED };

	return request(fd, FASTRPC_IOCTL_INIT_CREATE, &arg);
}

/* Only the one of the fixture is left: the last pass's has been ended, and its bank is free. */
static int new_process(struct fault_state *s)
{
	if (!simdsp_wait_stat("cdsp", "processes", 1, 10000))
		return -EBUSY;
	return new_file(s) ?: create(s->other);
}

/* It can't fail: what it has to do, it does. */
static int call_close(struct fault_state *s)
{
	close(s->other);
	return 0;
}

/* Buffers */

static int call_alloc(struct fault_state *s)
{
	struct fastrpc_alloc_dma_buf arg = { .size = SIZE };
	int ret = request(s->fd, FASTRPC_IOCTL_ALLOC_DMA_BUFF, &arg);

	s->dmabuf = arg.fd;
	return ret;
}

static void close_dmabuf(struct fault_state *s)
{
	close(s->dmabuf);
}

static int new_heap(struct fault_state *s)
{
	s->dmabuf = dmabuf_heap(SIZE);
	return s->dmabuf < 0 ? s->dmabuf : 0;
}

static int call_mmap_buffer(struct fault_state *s)
{
	s->map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, s->dmabuf, 0);
	return s->map == MAP_FAILED ? -errno : 0;
}

static void unmap_buffer(struct fault_state *s)
{
	munmap(s->map, SIZE);
}

static int new_mapped(struct fault_state *s)
{
	return call_alloc(s) ?: call_mmap_buffer(s);
}

static int new_mapped_heap(struct fault_state *s)
{
	return new_heap(s) ?: call_mmap_buffer(s);
}

static void close_mapped(struct fault_state *s)
{
	unmap_buffer(s);
	close_dmabuf(s);
}

/* It has a number and never did anything: there is nothing to fail. */
static int call_free(struct fault_state *s)
{
	return qda_ioctl(s->fd, FASTRPC_IOCTL_FREE_DMA_BUFF, &s->dmabuf);
}

/* Calls */

static struct fastrpc_invoke_args bytes(const void *ptr, size_t len)
{
	return (struct fastrpc_invoke_args) { (uintptr_t)ptr, len, -1, 0 };
}

static int invoke(int fd, __u32 handle, __u32 sc, struct fastrpc_invoke_args *args)
{
	struct fastrpc_invoke arg = { handle, sc, (uintptr_t)args };

	return request(fd, FASTRPC_IOCTL_INVOKE, &arg);
}

/* Opens the module "simdsp". Return: its handle, or 0. */
static __u32 module(int fd)
{
	__u32 args_in[2] = { sizeof("simdsp"), 64 }, args_out[2] = { 0, 1 };
	char error[64];
	struct fastrpc_invoke_args args[] = {
		bytes(args_in, sizeof(args_in)), bytes("simdsp", args_in[0]),
		bytes(args_out, sizeof(args_out)), bytes(error, sizeof(error)),
	};

	return invoke(fd, REMOTECTL, 0x00020200, args) || args_out[1] ? 0 : args_out[0];
}

static int echo(struct fault_state *s, struct fastrpc_invoke_args from)
{
	struct fastrpc_invoke_args args[] = { from, bytes(out, sizeof(out)) };

	return invoke(s->fd, s->module, SIMDSP_ECHO << 24 | 0x00010100, args);
}

static int call_invoke(struct fault_state *s)
{
	return echo(s, bytes(in, sizeof(in)));
}

static int call_invoke_buffer(struct fault_state *s)
{
	return echo(s, (struct fastrpc_invoke_args) {
		    (uintptr_t)s->map, sizeof(out), s->dmabuf, 0 });
}

/* DSP processes */

static int call_attach(struct fault_state *s)
{
	return request(s->other, FASTRPC_IOCTL_INIT_ATTACH, NULL);
}

static int call_attach_sensors(struct fault_state *s)
{
	return request(s->other, FASTRPC_IOCTL_INIT_ATTACH_SNS, NULL);
}

static int call_create(struct fault_state *s)
{
	struct fastrpc_init_create arg = {
		.filelen = SHELL_SIZE, .filefd = -1, .attrs = UNSIGNED, .file = (uintptr_t)shell,
	};

	return request(s->other, FASTRPC_IOCTL_INIT_CREATE, &arg);
}

static int new_shell(struct fault_state *s)
{
	int ret = new_file(s) ?: new_mapped(s);

	if (!ret)
		memcpy(s->map, shell, SHELL_SIZE);
	return ret;
}

static void close_shell(struct fault_state *s)
{
	close_mapped(s);
	close_file(s);
}

static int call_create_from_buffer(struct fault_state *s)
{
	struct fastrpc_init_create arg = {
		.filelen = SHELL_SIZE, .filefd = s->dmabuf, .attrs = UNSIGNED,
		.file = (uintptr_t)s->map,
	};

	return request(s->other, FASTRPC_IOCTL_INIT_CREATE, &arg);
}

static int call_create_static(struct fault_state *s)
{
	static const char name[] = "audiopd";
	struct fastrpc_init_create_static arg = {
		.namelen = sizeof(name), .name = (uintptr_t)name,
	};

	return request(s->other, FASTRPC_IOCTL_INIT_CREATE_STATIC, &arg);
}

static int call_set_option(struct fault_state *s)
{
	struct fastrpc_ioctl_set_option arg = { .request_id = FASTRPC_POLL_MODE };

	return request(s->fd, FASTRPC_IOCTL_SET_OPTION, &arg);
}

/* A DSP is asked until it has answered; then it has to go first. */
static int new_adsp(struct fault_state *s)
{
	int ret = s->answered ? start_anew("adsp") : 0;

	s->answered = false;
	if (ret)
		return ret;
	s->other = qda_open_node(ADSP_SECURE);
	return s->other < 0 ? s->other : 0;
}

static int call_info(struct fault_state *s)
{
	struct fastrpc_ioctl_capability arg = { .attribute_id = 5 };

	int ret = request(s->other, FASTRPC_IOCTL_GET_DSP_INFO, &arg);

	s->answered = !ret;
	return ret;
}

/* Memory of the DSP process */

static int call_grow(struct fault_state *s)
{
	struct fastrpc_req_mmap arg = { .fd = -1, .flags = HEAP, .size = SIZE };
	int ret = request(s->fd, FASTRPC_IOCTL_MMAP, &arg);

	s->address = arg.vaddrout;
	return ret;
}

static int call_shrink(struct fault_state *s)
{
	struct fastrpc_req_munmap arg = { .vaddrout = s->address, .size = SIZE };

	return request(s->fd, FASTRPC_IOCTL_MUNMAP, &arg);
}

static void undo_grow(struct fault_state *s)
{
	call_shrink(s);
}

static int call_map(struct fault_state *s)
{
	struct fastrpc_mem_map arg = {
		.fd = s->dmabuf, .flags = FASTRPC_MAP_FD, .length = SIZE,
	};
	int ret = request(s->fd, FASTRPC_IOCTL_MEM_MAP, &arg);

	s->address = arg.vaddrout;
	return ret;
}

static int call_unmap(struct fault_state *s)
{
	struct fastrpc_mem_unmap arg = { .fd = s->dmabuf, .vaddr = s->address, .length = SIZE };

	return request(s->fd, FASTRPC_IOCTL_MEM_UNMAP, &arg);
}

static void undo_map(struct fault_state *s)
{
	call_unmap(s);
}

static int new_mapping(struct fault_state *s)
{
	return new_heap(s) ?: call_map(s);
}

FIXTURE(faultinject)
{
	struct fault_state s;
};

FIXTURE_VARIANT(faultinject)
{
	const struct fault_op *op;
};

FAULT_OP(open, .call = new_file, .undo = close_file);
FAULT_OP(close, .prepare = new_process, .call = call_close, .none = true);
FAULT_OP(alloc_dma_buff, .call = call_alloc, .undo = close_dmabuf);
FAULT_OP(mmap_of_buffer, .prepare = call_alloc, .call = call_mmap_buffer, .undo = unmap_buffer,
	 .settle = close_dmabuf);
FAULT_OP(invoke, .call = call_invoke);
FAULT_OP(invoke_buffer, .prepare = new_mapped, .call = call_invoke_buffer, .settle = close_mapped);
FAULT_OP(invoke_import, .prepare = new_mapped_heap, .call = call_invoke_buffer,
	 .settle = close_mapped);
FAULT_OP(init_attach, .prepare = new_secure_file, .call = call_attach, .settle = close_file);
FAULT_OP(init_create, .prepare = new_file, .call = call_create, .settle = close_file);
FAULT_OP(init_create_from_buffer, .prepare = new_shell, .call = call_create_from_buffer,
	 .settle = close_shell);
FAULT_OP(mmap, .call = call_grow, .undo = undo_grow);
FAULT_OP(munmap, .prepare = call_grow, .call = call_shrink);
FAULT_OP(init_attach_sns, .prepare = new_secure_file, .call = call_attach_sensors,
	 .settle = close_file);
FAULT_OP(init_create_static, .prepare = new_adsp_file, .call = call_create_static,
	 .settle = close_file);
FAULT_OP(mem_map, .prepare = new_heap, .call = call_map, .undo = undo_map, .settle = close_dmabuf);
FAULT_OP(mem_unmap, .prepare = new_mapping, .call = call_unmap, .settle = close_dmabuf);
FAULT_OP(set_option, .call = call_set_option);
FAULT_OP(get_dsp_info, .prepare = new_adsp, .call = call_info, .settle = close_file, .once = true);

FIXTURE_SETUP(faultinject)
{
	struct fault_state *s = &self->s;
	const char *why = qda_test_begin("fastrpc_faultinject", _metadata->name, true);

	s->fd = -1;
	if (!why)
		why = faults_begin();
	if (why)
		SKIP(return, "%s", why);
	s->fd = open(CDSP, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, s->fd);
	ASSERT_EQ(0, create(s->fd));
	s->module = module(s->fd);
	ASSERT_NE(0, s->module);
	qda_shell_header(shell);
	qda_fill(in, sizeof(in), 1);
}

FIXTURE_TEARDOWN(faultinject)
{
	close(self->s.fd);
	EXPECT_EQ(0, qda_test_end());
}

TEST_F_TIMEOUT(faultinject, every_fault, 240)
{
	struct fault_state *s = &self->s;

	EXPECT_TRUE(faults_try(variant->op, s));
	/* The process is as it was. */
	memset(out, 0, sizeof(out));
	EXPECT_EQ(0, call_invoke(s));
	EXPECT_TRUE(qda_filled(out, sizeof(out), 1));
}

TEST(free_dma_buff)
{
	struct fault_state s = { .fd = open(CDSP, O_RDWR | O_CLOEXEC) };

	if (s.fd < 0)
		SKIP(return, "no " CDSP);
	EXPECT_EQ(-ENOTTY, call_free(&s));
	close(s.fd);
}

TEST_HARNESS_MAIN
