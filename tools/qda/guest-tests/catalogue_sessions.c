// SPDX-License-Identifier: GPL-2.0
/*
 * The catalogue: files, DSP processes, and DSPs and drivers that come and go.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <drm/qda_accel.h>

#include "catalogue.h"
#include "dmabuf.h"
#include "module.h"
#include "qda.h"

#define ADSP		"/dev/fastrpc-adsp-secure"

#define SIZE		65536
#define CREATES		"\"dsp\":\"cdsp\",\"handle\":1,\"method\":7"
#define STATIC_CREATES	"\"dsp\":\"adsp\",\"handle\":1,\"method\":8"
#define QUERIES		"\"dsp\":\"cdsp\",\"handle\":2"

/* The DSP's "not supported". */
#define UNSUPPORTED	0x80000414u

/* A process with @threads calls that are not answered. */
static pid_t start_parked(int threads)
{
	pid_t pid;

	/* Those of the one before end with its process. */
	EXPECT("not provoked", simdsp_wait_stat("cdsp", "held", 0, PATIENCE));
	pid = fork();
	if (!pid) {
		static struct node_call calls[64];
		uint32_t handle;
		int fd;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		fd = node_open(&handle);
		for (int i = 0; fd >= 0 && i < threads; i++)
			node_call_start(&calls[i], fd, handle, SCALARS(HOLD, 0, 0), NULL);
		for (;;)
			pause();
	}
	EXPECT("not provoked", simdsp_wait_stat("cdsp", "held", threads, PATIENCE));
	return pid;
}

static void end(pid_t pid)
{
	int status;

	kill(pid, SIGKILL);
	for (int i = 0; i < PATIENCE; i += 10) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return;
		usleep(10000);
	}
	EXPECT("hang", !"a killed process ends");
}

static void killed_in_calls(void)
{
	uint32_t handle;
	int fd;

	catalogue_interrupts();
	for (int i = 0; i < 12; i++) {
		pid_t pid = start_parked(16);

		/* The answers to its calls come while, and after, its session ends. */
		if (i % 2)
			simdsp_cmd(NULL, "release-held cdsp 3");
		end(pid);
	}
	fd = node_open(&handle);
	EXPECT("later calls fail", fd >= 0 && catalogue_works(fd, handle));
	close(fd);
}

static void created_from_a_buffer(void)
{
	for (int i = 0; i < 12; i++) {
		struct fastrpc_init_create create = {
			.filelen = SIZE,
			.filefd = dmabuf_heap(SIZE),
			.attrs = FASTRPC_MODE_UNSIGNED_MODULE,
		};
		int fd = open(NODE, O_RDWR | O_CLOEXEC);
		uint8_t *map;

		NEED(fd >= 0);
		map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, create.filefd, 0);
		NEED(map != MAP_FAILED);
		memcpy(map, "\177ELF", 4);
		create.file = (uintptr_t)map;
		/* The DSP refuses; and then not, or the program gives up. */
		catalogue_script(CREATES, "{\"fail\":77}");
		EXPECT_EQ("wrong status", 77, node_ioctl(fd, FASTRPC_IOCTL_INIT_CREATE, &create));
		catalogue_no_script();
		if (i % 2)
			EXPECT_EQ("later calls fail", 0,
				  node_ioctl(fd, FASTRPC_IOCTL_INIT_CREATE, &create));
		if (i % 3)
			close(create.filefd);
		close(fd);
		if (!(i % 3))
			close(create.filefd);
		munmap(map, SIZE);
	}
}

static void more_sessions_than_banks(void)
{
	/* As many as there is room for, which the new driver's clients don't see the end of. */
	enum { MOST = 40 };
	uint32_t handles[MOST];
	int fds[MOST], count;

	for (count = 0; count < MOST; count++) {
		fds[count] = node_open(&handles[count]);
		if (fds[count] < 0)
			break;
	}
	printf("# %d sessions\n", count);
	if (count < MOST)
		EXPECT_EQ("wrong errno", -EBUSY, fds[count]);
	EXPECT("too few", count >= 14);
	for (int i = 0; i < count; i++)
		EXPECT("wrong data", catalogue_works(fds[i], handles[i]));
	for (int i = 0; i < count; i++)
		close(fds[i]);
	/* And once more, with what those left. */
	fds[0] = node_open(&handles[0]);
	EXPECT("later calls fail", fds[0] >= 0 && catalogue_works(fds[0], handles[0]));
	close(fds[0]);
}

/* Makes the audio process. */
static int audio(int fd)
{
	struct fastrpc_init_create_static create = {
		.namelen = sizeof("audiopd"),
		.name = (uintptr_t)"audiopd",
	};

	return node_ioctl(fd, FASTRPC_IOCTL_INIT_CREATE_STATIC, &create);
}

static void heap_refused(void)
{
	long long heaps = simdsp_stat("adsp", "heaps");

	for (int i = 0; i < 3; i++) {
		int fd = catalogue_reopen(ADSP);

		NEED(fd >= 0);
		catalogue_script(STATIC_CREATES, "{\"fail\":77}");
		EXPECT_EQ("wrong status", 77, audio(fd));
		catalogue_no_script();
		close(fd);
	}
	for (int i = 0; i < 3; i++) {
		int fd = catalogue_reopen(ADSP);

		NEED(fd >= 0);
		EXPECT_EQ("call failed", 0, audio(fd));
		EXPECT_EQ("memory handed over wrongly", heaps + 1, simdsp_stat("adsp", "heaps"));
		close(fd);
	}
}

/* A DSP restarts. Return: a new file of its, or -errno. */
static int restarted(const char *dsp, const char *node)
{
	/* Long enough to see that the node is away. */
	EXPECT_EQ("not provoked", 0, simdsp_cmd(NULL, "restart %s 1000", dsp));
	for (int i = 0; i < PATIENCE && !access(node, F_OK); i += 2)
		usleep(2000);
	EXPECT("hang", access(node, F_OK));
	return catalogue_reopen(node);
}

static void heap_across_restarts(void)
{
	int fd = catalogue_reopen(ADSP), again;
	long long heaps;

	NEED(fd >= 0);
	EXPECT_EQ("call failed", 0, audio(fd));
	heaps = simdsp_stat("adsp", "heaps");
	for (int i = 1; i <= 3; i++) {
		/* With the process there, and with its file closed before. */
		if (i % 2)
			close(fd);
		again = restarted("adsp", ADSP);
		NEED(again >= 0);
		EXPECT_EQ("call failed", 0, audio(again));
		EXPECT_EQ("memory handed over wrongly", heaps + i,
			  simdsp_stat("adsp", "heaps"));
		if (!(i % 2))
			close(fd);
		fd = again;
	}
	close(fd);
}

static void memory_without_a_process(void)
{
	struct fastrpc_alloc_dma_buf buf = { .size = SIZE };
	struct fastrpc_req_mmap grow = { .fd = -1, .flags = 0x1000, .size = SIZE };
	struct fastrpc_mem_map map = { .flags = FASTRPC_MAP_FD, .length = SIZE };
	struct fastrpc_invoke_args args[2];
	uint8_t *ptr, out[100];
	uint32_t handle;
	int fd = open(NODE, O_RDWR | O_CLOEXEC);

	NEED(fd >= 0);
	EXPECT_EQ("not provoked", 0, simdsp_cmd(NULL, "allow unknown-client"));
	NEED(!node_ioctl(fd, FASTRPC_IOCTL_ALLOC_DMA_BUFF, &buf));
	ptr = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, buf.fd, 0);
	NEED(ptr != MAP_FAILED);
	map.fd = buf.fd;
	args[0] = node_buffer(ptr, sizeof(out), buf.fd);
	args[1] = node_bytes(out, sizeof(out));
	EXPECT("accepted", node_ioctl(fd, FASTRPC_IOCTL_MEM_MAP, &map));
	EXPECT("accepted", node_ioctl(fd, FASTRPC_IOCTL_MMAP, &grow));
	EXPECT("accepted", node_invoke(fd, 100, SCALARS(ECHO, 1, 1), args));
	/* And then with one. */
	EXPECT_EQ("later calls fail", 0, node_create(fd));
	EXPECT_EQ("later calls fail", 0, node_open_module(fd, "simdsp", &handle));
	EXPECT_EQ("later calls fail", 0, node_invoke(fd, handle, SCALARS(ECHO, 1, 1), args));
	munmap(ptr, SIZE);
	close(buf.fd);
	close(fd);
}

static int modprobe(const char *how)
{
	const char *module = catalogue_is_new() ? "qda" : "fastrpc";
	char command[64];

	snprintf(command, sizeof(command), "timeout -s KILL 20 %s %s", how, module);
	return system(command);
}

static void module_reloaded(void)
{
	catalogue_interrupts();
	for (int i = 0; i < 3; i++) {
		pid_t pid = start_parked(4);
		uint32_t handle;
		int fd;

		end(pid);
		EXPECT_EQ("hang", 0, modprobe("rmmod"));
		EXPECT("not unloaded", access(NODE, F_OK));
		EXPECT_EQ("not loaded again", 0, modprobe("modprobe"));
		fd = catalogue_reopen(NODE);
		NEED(fd >= 0);
		EXPECT_EQ("later calls fail", 0, node_create(fd));
		EXPECT_EQ("later calls fail", 0, node_open_module(fd, "simdsp", &handle));
		EXPECT("later calls fail", catalogue_works(fd, handle));
		close(fd);
	}
}

static void restarted_in_calls(void)
{
	struct node_call calls[8];
	uint32_t handle;
	int fd = catalogue_reopen(ADSP), again;

	catalogue_interrupts();
	NEED(fd >= 0);
	for (int i = 0; i < 3; i++) {
		EXPECT_EQ("call failed", 0, node_ioctl(fd, FASTRPC_IOCTL_INIT_ATTACH, NULL));
		EXPECT_EQ("call failed", 0, node_open_module(fd, "simdsp", &handle));
		for (int j = 0; j < 8; j++)
			node_call_start(&calls[j], fd, handle, SCALARS(HOLD, 0, 0), NULL);
		NEED(simdsp_wait_stat("adsp", "held", 8, PATIENCE));
		again = restarted("adsp", ADSP);
		for (int j = 0; j < 8; j++)
			EXPECT_EQ("wrong errno", -EPIPE, node_call_join(&calls[j]));
		/* What was open is of no use any more. */
		EXPECT_EQ("wrong errno", -EPIPE,
			  node_invoke(fd, handle, SCALARS(HOLD, 0, 0), NULL));
		close(fd);
		fd = again;
		NEED(fd >= 0);
	}
	close(fd);
}

static void replies_before_probe(void)
{
	uint32_t handle;
	int fd;

	/* Messages come from the moment that there is a channel. */
	EXPECT_EQ("not provoked", 0, simdsp_cmd(NULL, "babble cdsp on 16"));
	for (int i = 0; i < 5; i++) {
		fd = restarted("cdsp", NODE);
		NEED(fd >= 0);
		close(fd);
	}
	EXPECT("not provoked", simdsp_stat("cdsp", "babbled_early") > 0);
	EXPECT_EQ("not provoked", 0, simdsp_cmd(NULL, "babble cdsp off"));
	fd = node_open(&handle);
	EXPECT("later calls fail", fd >= 0 && catalogue_works(fd, handle));
	close(fd);
}

static void minus_one(void)
{
	/* Whether a program can tell the DSP's -1 from the kernel's -EPERM. */
	int32_t value = -1, status = 0;
	uint32_t handle;
	int fd, ret;

	if (catalogue_is_new()) {
		struct drm_qda_call_arg arg = {
			.address = (uintptr_t)&value,
			.length = sizeof(value),
		};

		fd = qda_open_process("cdsp");
		NEED(fd >= 0);
		NEED(!simdsp_open(fd, &handle));
		ret = qda_call(fd, handle, QDA_SCALARS(SIMDSP_STATUS, 1, 0), &arg, &status);
	} else {
		struct fastrpc_invoke_args arg = node_bytes(&value, sizeof(value));

		fd = node_open(&handle);
		NEED(fd >= 0);
		ret = node_invoke(fd, handle, SCALARS(STATUS, 1, 0), &arg);
	}
	EXPECT("status taken for an errno", !ret && status == value);
	close(fd);
}

static void query_refused(void)
{
	struct fastrpc_ioctl_capability query = { .attribute_id = 10 };
	char action[32];
	int fd = open(NODE, O_RDWR | O_CLOEXEC);

	NEED(fd >= 0);
	snprintf(action, sizeof(action), "{\"fail\":%u}", UNSUPPORTED);
	catalogue_script(QUERIES, action);
	for (int i = 0; i < 3; i++)
		EXPECT_EQ("wrong errno", -EOPNOTSUPP,
			  node_ioctl(fd, FASTRPC_IOCTL_GET_DSP_INFO, &query));
	catalogue_no_script();
	EXPECT_EQ("later calls fail", 0, node_ioctl(fd, FASTRPC_IOCTL_GET_DSP_INFO, &query));
	close(fd);
}

static void kernel_handle(void)
{
	/* MMAP of the DSP's kernel, for a process of the caller's choice. */
	uint32_t request[6] = { 1, 0x1000, 0, 0, 16, 0 };
	uint64_t page[2] = { 0x1000, 0x1000 }, address = 0;
	struct fastrpc_invoke_args args[] = {
		node_bytes(request, sizeof(request)), node_bytes(page, sizeof(page)),
		node_bytes(&address, sizeof(address)),
	};
	long long calls;
	uint32_t handle;
	int fd = node_open(&handle);

	NEED(fd >= 0);
	calls = simdsp_stat("cdsp", "messages");
	for (int method = 0; method <= 12; method++)
		EXPECT_EQ("accepted", -EPERM, node_invoke(fd, 1, SCALARS(method, 2, 1), args));
	EXPECT_EQ("accepted", calls, simdsp_stat("cdsp", "messages"));
	EXPECT("later calls fail", catalogue_works(fd, handle));
	close(fd);
}

const struct entry catalogue_sessions[] = {
	{ "P5", "killed_in_calls", killed_in_calls },
	{ "P7", "created_from_a_buffer", created_from_a_buffer },
	{ "P10", "more_sessions_than_banks", more_sessions_than_banks },
	{ "P15", "heap_refused", heap_refused },
	{ "P16", "replies_before_probe", replies_before_probe },
	{ "P17", "memory_without_a_process", memory_without_a_process },
	{ "P20", "module_reloaded", module_reloaded },
	{ "P21", "heap_across_restarts", heap_across_restarts },
	{ "P22", "restarted_in_calls", restarted_in_calls },
	{ "P23", "minus_one", minus_one },
	{ "P25", "query_refused", query_refused },
	{ "P27", "kernel_handle", kernel_handle },
};

const int catalogue_sessions_count = sizeof(catalogue_sessions) / sizeof(*catalogue_sessions);
