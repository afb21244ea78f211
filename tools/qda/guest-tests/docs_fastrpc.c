// SPDX-License-Identifier: GPL-2.0
/*
 * The examples of the documentation that are for /dev/fastrpc-*, on whatever driver has them.
 */
#include <misc/fastrpc.h>

#include "dmabuf.h"
#include "docs.h"

#define SIZE	65536

FASTRPC_EXAMPLES(EXAMPLE_FUNCTION)

/* Opens a DSP by the node that everything may be done by. */
static int open_node(const char *dsp)
{
	char node[64];
	int fd;

	snprintf(node, sizeof(node), "/dev/fastrpc-%s-secure", dsp);
	fd = open(node, O_RDWR | O_CLOEXEC);
	if (!CHECK(fd >= 0))
		exit(1);
	return fd;
}

static int create_process(int fd)
{
	struct fastrpc_init_create create = {
		.filefd = -1, .attrs = FASTRPC_MODE_UNSIGNED_MODULE,
	};

	return ioctl(fd, FASTRPC_IOCTL_INIT_CREATE, &create);
}

static int open_process(void)
{
	int fd = open_node("cdsp");

	if (!CHECK_EQ(0, create_process(fd)))
		exit(1);
	return fd;
}

static __u32 open_module(int fd, const char *name)
{
	__u32 in[2] = { strlen(name) + 1, 64 }, out[2] = { 0 };
	char text[64];
	struct fastrpc_invoke_args args[] = {
		{ (uintptr_t)in, sizeof(in), -1, 0 }, { (uintptr_t)name, in[0], -1, 0 },
		{ (uintptr_t)out, sizeof(out), -1, 0 }, { (uintptr_t)text, sizeof(text), -1, 0 },
	};
	struct fastrpc_invoke invoke = { 0, 0x00020200, (uintptr_t)args };

	CHECK_EQ(0, ioctl(fd, FASTRPC_IOCTL_INVOKE, &invoke));
	CHECK_EQ(0, out[1]);
	return out[0];
}

static int alloc(int fd, void **map)
{
	struct fastrpc_alloc_dma_buf buf = { .size = SIZE };

	CHECK_EQ(0, ioctl(fd, FASTRPC_IOCTL_ALLOC_DMA_BUFF, &buf));
	*map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, buf.fd, 0);
	CHECK(*map != MAP_FAILED);
	return buf.fd;
}

/*
 * For what the DSP process still has when its file is closed: fastrpc.ko frees its own buffers by
 * their file, which is gone by then. Whether that is seen depends on what the kernel has made of
 * the memory.
 */
static int alloc_from_heap(void **map)
{
	int fd = dmabuf_heap(SIZE);

	CHECK(fd >= 0);
	*map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(*map != MAP_FAILED);
	return fd;
}

static void fastrpc_open(void)
{
#include "fastrpc-open.inc"
	CHECK_EQ(0, create_process(fd));
	close(fd);
}

static void fastrpc_init_attach(void)
{
	int fd = open_node("cdsp");
#include "fastrpc-init-attach.inc"
	CHECK_EQ(1, simdsp_stat("cdsp", "root"));
	close(fd);
}

static void fastrpc_init_attach_sns(void)
{
	int fd = open_node("adsp");
#include "fastrpc-init-attach-sns.inc"
	CHECK_EQ(1, simdsp_stat("adsp", "sensors"));
	close(fd);
}

static void fastrpc_init_create(void)
{
	int fd = open_node("cdsp");
#include "fastrpc-init-create.inc"
	CHECK_EQ(1, simdsp_stat("cdsp", "user"));
	close(fd);
}

static void fastrpc_init_create_program(void)
{
	int fd = open_node("cdsp"), dmabuf, length = 20000, siglen = 256;
	void *program;

	dmabuf = alloc_from_heap(&program);
	make_program(program, SIZE);
#include "fastrpc-init-create-program.inc"
	CHECK_EQ(1, simdsp_stat("cdsp", "user"));
	CHECK(open_module(fd, "simdsp"));
	munmap(program, SIZE);
	close(dmabuf);
	close(fd);
}

static void fastrpc_init_create_static(void)
{
	int fd = open_node("adsp");
#include "fastrpc-init-create-static.inc"
	CHECK_EQ(1, simdsp_stat("adsp", "static"));
	close(fd);
}

static void fastrpc_invoke(void)
{
	int fd = open_process();
#include "fastrpc-invoke.inc"
	CHECK(result[0]);
	close(fd);
}

static void fastrpc_invoke_buffer(void)
{
	int fd = open_process(), dmabuf;
	__u32 module = open_module(fd, "calculator");
	void *numbers;

	dmabuf = alloc(fd, &numbers);
	make_numbers(numbers);
#include "fastrpc-invoke-buffer.inc"
	CHECK_EQ(SUM, sum);
	munmap(numbers, SIZE);
	close(dmabuf);
	close(fd);
}

static void fastrpc_invoke_handle(void)
{
	int fd = open_process(), dmabuf;
	__u32 module = open_module(fd, "simdsp");
	size_t length = SIZE;
	void *data;

	dmabuf = alloc(fd, &data);
	make_numbers(data);
#include "fastrpc-invoke-handle.inc"
	CHECK(checksum == checksum_of(data, SIZE));
	munmap(data, SIZE);
	close(dmabuf);
	close(fd);
}

static void fastrpc_alloc_dma_buff(void)
{
	int fd = open_process();
	size_t size = SIZE;
#include "fastrpc-alloc-dma-buff.inc"
	memset(map, 0x55, size);
	munmap(map, size);
	close(buf.fd);
	close(fd);
}

static void fastrpc_free_dma_buff(void)
{
	int fd = open_process(), dmabuf;
	size_t size = SIZE;
	__u32 number = 0;
	void *map;

	dmabuf = alloc(fd, &map);
	CHECK_EQ(-1, ioctl(fd, FASTRPC_IOCTL_FREE_DMA_BUFF, &number));
	CHECK_EQ(ENOTTY, errno);
#include "fastrpc-free-dma-buff.inc"
	CHECK_EQ(-1, fcntl(dmabuf, F_GETFD));
	close(fd);
}

static void fastrpc_mmap(void)
{
	int fd = open_process();
#include "fastrpc-mmap.inc"
	CHECK(grow.vaddrout);
	CHECK_EQ(0, simdsp_stat("cdsp", "maps"));
	close(fd);
}

static void fastrpc_mem_map(void)
{
	int fd = open_process(), dmabuf;
	size_t size = SIZE;
	void *data;

	dmabuf = alloc_from_heap(&data);
#include "fastrpc-mem-map.inc"
	CHECK(map.vaddrout);
	CHECK_EQ(0, simdsp_stat("cdsp", "maps"));
	munmap(data, SIZE);
	close(dmabuf);
	close(fd);
}

static void fastrpc_set_option(void)
{
	int fd = open_process();
#include "fastrpc-set-option.inc"
	CHECK(open_module(fd, "simdsp"));
	close(fd);
}

static void fastrpc_get_dsp_info(void)
{
	int fd = open_node("cdsp");
#include "fastrpc-get-dsp-info.inc"
	CHECK_EQ(0x73, info.capability);
	close(fd);
}

static void fastrpc_restart(void)
{
	struct fastrpc_invoke invoke = { .handle = 3, .sc = 0x03000000 };
	int fd = open("/dev/fastrpc-cdsp", O_RDWR | O_CLOEXEC);

	CHECK_EQ(0, create_process(fd));
	CHECK_EQ(0, simdsp_cmd(NULL, "restart cdsp 500"));
	for (int i = 0; i < PATIENCE && !access("/dev/fastrpc-cdsp", F_OK); i++)
		usleep(1000);
#include "fastrpc-restart.inc"
	CHECK_EQ(1, simdsp_stat("cdsp", "user"));
	CHECK(open_module(fd, "simdsp"));
	close(fd);
}

static const struct tap_test tests[] = { FASTRPC_EXAMPLES(EXAMPLE_TEST) };

int main(void)
{
	return tap_run(tests, sizeof(tests) / sizeof(tests[0]));
}
