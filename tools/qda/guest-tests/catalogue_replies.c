// SPDX-License-Identifier: GPL-2.0
/*
 * The catalogue: replies of the DSP, and what it writes into the memory of calls.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "catalogue.h"

#define ECHOES		"\"dsp\":\"cdsp\",\"module\":\"simdsp\",\"method\":2"
#define STATUSES	"\"dsp\":\"cdsp\",\"module\":\"simdsp\",\"method\":8"
#define GROWS		"\"dsp\":\"cdsp\",\"handle\":1,\"method\":4"

/* Slots that a channel has for calls. */
#define SLOTS		255
#define HEAP		262144

static void ignore(int signal)
{
	(void)signal;
}

/* A signal ends a call, unlike with SA_RESTART. */
static void interrupts(void)
{
	struct sigaction action = { .sa_handler = ignore };

	sigaction(SIGUSR1, &action, NULL);
}

static int status(int fd, uint32_t handle, int32_t value)
{
	struct fastrpc_invoke_args arg = node_bytes(&value, 4);

	return node_invoke(fd, handle, SCALARS(STATUS, 1, 0), &arg);
}

/* Parks calls, and waits until the DSP has them. */
static bool park(struct node_call *calls, int count, int fd, uint32_t handle)
{
	long long held = simdsp_stat("cdsp", "held");

	for (int i = 0; i < count; i++) {
		if (node_call_start(&calls[i], fd, handle, SCALARS(HOLD, 0, 0), NULL))
			return false;
	}
	return simdsp_wait_stat("cdsp", "held", held + count, PATIENCE);
}

/* Interrupts a call that is parked. Return: what it returned. */
static int interrupt(struct node_call *call)
{
	for (int i = 0; i < PATIENCE && !node_call_done(call); i += 10) {
		pthread_kill(call->thread, SIGUSR1);
		usleep(10000);
	}
	return node_call_done(call) ? node_call_join(call) : -EINPROGRESS;
}

static void interrupted_callers(void)
{
	int said = catalogue_said("No context ID");
	struct node_call call;
	uint32_t handle;
	int fd;

	catalogue_interrupts();
	interrupts();
	fd = node_open(&handle);
	NEED(fd >= 0);
	for (int i = 0; i < 12; i++) {
		NEED(park(&call, 1, fd, handle));
		EXPECT_EQ("wrong errno", -EINTR, interrupt(&call));
		/* The answer comes when nobody waits for it any more. */
		EXPECT_EQ("not provoked", 0, simdsp_cmd(NULL, "release-held cdsp 5"));
		EXPECT("later calls fail", catalogue_works(fd, handle));
	}
	EXPECT_EQ("log flooded", said, catalogue_said("No context ID"));
	close(fd);
}

static void stale_replies(void)
{
	struct node_call calls[4];
	uint32_t handle;
	int fd = node_open(&handle);

	NEED(fd >= 0);
	NEED(park(calls, 4, fd, handle));
	/* For every slot, of calls long ago. */
	catalogue_script(STATUSES, "{\"flood\":600}");
	EXPECT_EQ("wrong status", 77, status(fd, handle, 77));
	catalogue_no_script();
	EXPECT_EQ("wrong status", 78, status(fd, handle, 78));
	usleep(100000);
	for (int i = 0; i < 4; i++)
		EXPECT("wrong waiter completed", !node_call_done(&calls[i]));
	simdsp_cmd(NULL, "release-held cdsp 9");
	for (int i = 0; i < 4; i++)
		EXPECT_EQ("wrong status", 9, node_call_join(&calls[i]));
	close(fd);
}

static void notice_of_a_process(void)
{
	/* Nearly all slots are in use: the notice's bits name one of them. */
	enum { FILES = 4, EACH = SLOTS / FILES - 2 };
	static struct node_call calls[FILES][EACH];
	uint32_t handles[FILES];
	int fds[FILES], most = EACH;

	for (int i = 0; i < FILES; i++) {
		fds[i] = node_open(&handles[i]);
		NEED(fds[i] >= 0);
	}
	/* Room for the calls that tell whether all is well. */
	for (int i = 0; i < FILES; i++)
		NEED(park(calls[i], most, fds[i], handles[i]));
	catalogue_script(STATUSES, "{\"ctx_first\":\"sentinel\"}");
	for (int i = 0; i < 20; i++)
		EXPECT_EQ("wrong status", i, status(fds[0], handles[0], i));
	catalogue_no_script();
	for (int i = 0; i < FILES; i++) {
		for (int j = 0; j < most; j++)
			EXPECT("wrong waiter completed", !node_call_done(&calls[i][j]));
	}
	simdsp_cmd(NULL, "release-held cdsp 9");
	for (int i = 0; i < FILES; i++) {
		for (int j = 0; j < most; j++)
			EXPECT_EQ("wrong status", 9, node_call_join(&calls[i][j]));
		close(fds[i]);
	}
}

/* Has the DSP change a word of the metadata of every ECHO, which has to do no harm. */
static void echo_rewritten(int fd, uint32_t handle, const char *word, int index, const char *value)
{
	uint8_t in[600], out[640];
	char action[128];
	int ret;

	node_fill(in, sizeof(in), index);
	memset(out, 0xaa, sizeof(out));
	snprintf(action, sizeof(action),
		 "{\"rewrite\":{\"word\":\"%s\",\"index\":%d,\"value\":%s}}", word, index, value);
	catalogue_script(ECHOES, action);
	ret = node_echo(fd, handle, node_bytes(in, sizeof(in)), node_bytes(out, sizeof(in)));
	EXPECT_EQ("call failed", 0, ret);
	EXPECT("wrong data", !memcmp(in, out, sizeof(in)));
	EXPECT_EQ("overrun", 0xaa, out[sizeof(in)]);
	catalogue_no_script();
}

static void pointers_rewritten(void)
{
	uint32_t handle;
	int fd = node_open(&handle);

	NEED(fd >= 0);
	/* 0x2000000, as it was reported. */
	echo_rewritten(fd, handle, "pv", 1, "33554432");
	EXPECT("later calls fail", catalogue_works(fd, handle));
	close(fd);
}

static void kernel_call_rewritten(void)
{
	static const char * const rewrites[] = {
		"{\"rewrite\":{\"word\":\"len\",\"index\":2,\"value\":65536}}",
		"{\"rewrite\":{\"word\":\"pv\",\"index\":2,\"value\":18446603336221196288}}",
		"{\"rewrite\":{\"word\":\"pv\",\"index\":2,\"value\":0}}",
		"{\"rewrite\":{\"word\":\"page_addr\",\"index\":2,\"value\":0}}",
	};
	uint32_t handle;
	int fd = node_open(&handle);

	NEED(fd >= 0);
	for (size_t i = 0; i < sizeof(rewrites) / sizeof(*rewrites); i++) {
		struct fastrpc_req_mmap grow = { .fd = -1, .flags = 0x1000, .size = HEAP };
		struct fastrpc_req_munmap shrink = { .size = HEAP };

		catalogue_script(GROWS, rewrites[i]);
		EXPECT_EQ("call failed", 0, node_ioctl(fd, FASTRPC_IOCTL_MMAP, &grow));
		catalogue_no_script();
		shrink.vaddrout = grow.vaddrout;
		EXPECT_EQ("wrong data", 0, node_ioctl(fd, FASTRPC_IOCTL_MUNMAP, &shrink));
	}
	/* And the words of a client's call. */
	echo_rewritten(fd, handle, "pv", 0, "0");
	echo_rewritten(fd, handle, "pv", 1, "18446603336221196288");
	echo_rewritten(fd, handle, "len", 1, "65536");
	echo_rewritten(fd, handle, "len", 1, "18446744073709551615");
	echo_rewritten(fd, handle, "num", 1, "4294967295");
	echo_rewritten(fd, handle, "pgidx", 1, "4294967295");
	close(fd);
}

static void numbers_given_back(void)
{
	/* Numbers that the DSP never had, one that it was given twice, and more than once. */
	struct fastrpc_alloc_dma_buf buf = { .size = 65536 };
	struct fastrpc_mem_unmap unmap = { .length = buf.size };
	struct fastrpc_mem_map map = { .flags = FASTRPC_MAP_FD, .length = buf.size };
	uint32_t handle, in[4] = { 0, 0, 65536, 0 };
	uint64_t sum = 0;
	struct fastrpc_invoke_args args[] = {
		node_bytes(in, sizeof(in)), node_bytes(&sum, sizeof(sum)),
	};
	char action[256];
	int fd = node_open(&handle);

	NEED(fd >= 0);
	NEED(!node_ioctl(fd, FASTRPC_IOCTL_ALLOC_DMA_BUFF, &buf));
	map.fd = buf.fd;
	NEED(!node_ioctl(fd, FASTRPC_IOCTL_MEM_MAP, &map));
	snprintf(action, sizeof(action),
		 "{\"fdlist\":[%d,%d,%d,%d,1,2,999,4294967295,2147483647,18446744073709551615]}",
		 buf.fd, buf.fd, buf.fd, fd);
	catalogue_script(ECHOES, action);
	for (int i = 0; i < 20; i++)
		EXPECT("call failed", catalogue_works(fd, handle));
	catalogue_no_script();
	/* The DSP gave back what it was not lent: it still has what was mapped. */
	in[0] = buf.fd;
	EXPECT_EQ("lost mapping", 0, node_invoke(fd, handle, SCALARS(MAPPED, 1, 1), args));
	unmap.fd = buf.fd;
	unmap.vaddr = map.vaddrout;
	EXPECT_EQ("lost mapping", 0, node_ioctl(fd, FASTRPC_IOCTL_MEM_UNMAP, &unmap));
	close(buf.fd);
	close(fd);
}

static void answers_twice(void)
{
	uint32_t handle;
	int fd = node_open(&handle);

	NEED(fd >= 0);
	catalogue_script(STATUSES, "\"reply_twice\"");
	for (int i = 0; i < 2 * SLOTS; i++)
		EXPECT_EQ("wrong status", i, status(fd, handle, i));
	catalogue_no_script();
	EXPECT("later calls fail", catalogue_works(fd, handle));
	close(fd);
}

static void heap_of_an_interrupted_caller(void)
{
	struct fastrpc_req_mmap grow = { .fd = -1, .flags = 0x1000, .size = HEAP };
	struct fastrpc_req_munmap shrink = { .size = HEAP };
	struct node_call call;
	uint32_t handle;
	int fd;

	catalogue_interrupts();
	interrupts();
	fd = node_open(&handle);
	NEED(fd >= 0);
	NEED(!node_ioctl(fd, FASTRPC_IOCTL_MMAP, &grow));
	NEED(park(&call, 1, fd, handle));
	EXPECT_EQ("wrong errno", -EINTR, interrupt(&call));
	simdsp_cmd(NULL, "release-held cdsp 0");
	/* It is the client's as before. */
	shrink.vaddrout = grow.vaddrout;
	EXPECT_EQ("lost mapping", 0, node_ioctl(fd, FASTRPC_IOCTL_MUNMAP, &shrink));
	EXPECT_EQ("leak", 0, simdsp_stat("cdsp", "maps"));
	close(fd);
}

static void answered_too_late(void)
{
	struct fastrpc_req_mmap grow = { .fd = -1, .flags = 0x1000, .size = HEAP };
	long long before, after;
	uint32_t handle;
	int fd = node_open(&handle);

	NEED(fd >= 0);
	EXPECT("call failed", catalogue_works(fd, handle));
	before = simdsp_stat("cdsp", "mappings");
	catalogue_script(GROWS, "{\"delay_ms\":12000}");
	EXPECT_EQ("wrong errno", -ETIMEDOUT, node_ioctl(fd, FASTRPC_IOCTL_MMAP, &grow));
	/* The DSP may begin to use it any time. */
	after = simdsp_stat("cdsp", "mappings");
	EXPECT("use after free", after >= before + HEAP);
	catalogue_no_script();
	EXPECT("not provoked", simdsp_wait_stat("cdsp", "outstanding", 0, PATIENCE));
	EXPECT("later calls fail", catalogue_works(fd, handle));
	close(fd);
}

const struct entry catalogue_replies[] = {
	{ "P1", "interrupted_callers", interrupted_callers },
	{ "P2", "stale_replies", stale_replies },
	{ "P3", "notice_of_a_process", notice_of_a_process },
	{ "P4", "pointers_rewritten", pointers_rewritten },
	{ "O3", "kernel_call_rewritten", kernel_call_rewritten },
	{ "O7", "numbers_given_back", numbers_given_back },
	{ "O8", "answers_twice", answers_twice },
	{ "O16", "heap_of_an_interrupted_caller", heap_of_an_interrupted_caller },
	{ "O19", "answered_too_late", answered_too_late },
};

const int catalogue_replies_count = sizeof(catalogue_replies) / sizeof(*catalogue_replies);
