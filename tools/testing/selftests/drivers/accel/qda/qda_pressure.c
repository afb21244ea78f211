// SPDX-License-Identifier: GPL-2.0
/*
 * QDA: memory that is short. What is kept only for the next calls is given back when the system
 * asks for it; who asks for more than its control group may have gets an errno, and nobody is
 * killed.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "child.h"
#include "dmabuf.h"
#include "fixture.h"
#include "harness.h"
#include "module.h"
#include "nodes.h"
#include "patience.h"
#include "qda.h"
#include "queue.h"
#include "simdsp.h"
#include "sysfs.h"

#define MIB		(1024 * 1024UL)

/* What is kept between calls stays longer than this, in milliseconds, unless it is asked for. */
#define KEPT_MS		150
#define KEPT_SIZE	(8 * MIB)

#define HOLD_ECHO	"script {\"rules\":[{\"module\":\"simdsp\",\"method\":2,\"actions\":[\"hold\"]}]}"

#define CGROUPS		"/tmp/qda-pressure"
#define GROUP		CGROUPS "/small"
#define LIMIT		"33554432"
#define BIG		(64 * MIB)
/* Less than QDA_MAX_INLINE_SIZE. */
#define INLINE		(48 * MIB)
#define MANY		128
#define MANY_SIZE	400000

FIXTURE(pressure)
{
	int fd;
	__u32 handle;
};

FIXTURE_SETUP(pressure)
{
	fixture_setup(_metadata, &self->fd, &self->handle);
}

FIXTURE_TEARDOWN(pressure)
{
	fixture_teardown(_metadata, self->fd);
}

/* Has the DSP read a dma-buf that is closed then: only the driver keeps it. Return: 0 or -errno. */
static int use_and_close(int fd, __u32 handle)
{
	int dmabuf = dmabuf_heap(KEPT_SIZE), ret;
	__u64 sum;
	struct drm_qda_invoke_arg args[2] = { [1] = qda_inline(&sum, sizeof(sum)) };
	void *map;

	if (dmabuf < 0)
		return dmabuf;
	map = mmap(NULL, KEPT_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, dmabuf, 0);
	if (map == MAP_FAILED)
		return -errno;
	args[0] = (struct drm_qda_invoke_arg) {
		.ptr = (uintptr_t)map, .length = qda_page_size(), .handle = dmabuf,
	};
	ret = qda_invoke(fd, handle, QDA_SCALARS(SIMDSP_CHECKSUM, 1, 1), args);
	munmap(map, KEPT_SIZE);
	close(dmabuf);
	return ret;
}

/* Whether so many buffers are mapped more than there were bytes before. */
static bool mapped(long long before, int count)
{
	return simdsp_stat("cdsp", "mappings") - before > (long long)(KEPT_SIZE * count - MIB);
}

static bool is_given_back(long long before, int count)
{
	for (int i = 0; i < qda_patience(5000); i++) {
		if (!mapped(before, count))
			return true;
		usleep(1000);
	}
	return false;
}

static int shrink(void)
{
	/* Those of the kernel, by their shrinkers. */
	return sysfs_write("/proc/sys/vm/drop_caches", "2");
}

TEST_F_TIMEOUT(pressure, what_is_kept_is_given_back, 60)
{
	long long before = simdsp_stat("cdsp", "mappings"), until = qda_now_ms() + 20000;
	long long start, took;
	int tries = 0;

	if (shrink())
		SKIP(return, "needs root");
	/* Once is enough, as it would stay longer otherwise. A busy machine needs some tries. */
	do {
		start = qda_now_ms();
		ASSERT_EQ(0, use_and_close(self->fd, self->handle));
		tries++;
		ASSERT_EQ(0, shrink());
		ASSERT_TRUE(is_given_back(before, 1));
		took = qda_now_ms() - start;
	} while (took >= KEPT_MS && qda_now_ms() < until);
	TH_LOG("given back after %lld ms, try %d", took, tries);
	EXPECT_GT(KEPT_MS, took);
}

TEST_F_TIMEOUT(pressure, what_a_call_has_stays, 60)
{
	long long before = simdsp_stat("cdsp", "mappings");
	struct drm_qda_invoke_arg args[2];
	struct simdsp_call call;
	struct qda_buf buf;

	if (shrink())
		SKIP(return, "needs root");
	ASSERT_EQ(0, qda_buf_new(self->fd, KEPT_SIZE, &buf));
	qda_fill(buf.map, 1000, 1);
	args[0] = qda_ref(&buf, 0, 1000);
	args[1] = qda_ref(&buf, KEPT_SIZE / 2, 1000);
	ASSERT_EQ(0, simdsp_cmd(NULL, HOLD_ECHO));
	ASSERT_EQ(0, simdsp_call_start(&call, self->fd, self->handle,
				       QDA_SCALARS(SIMDSP_ECHO, 1, 1), args));
	ASSERT_TRUE(simdsp_wait_stat("cdsp", "held", 1, 5000));
	ASSERT_EQ(0, use_and_close(self->fd, self->handle));
	/* Both are mapped, unless one is gone by itself. */
	ASSERT_EQ(0, shrink());
	EXPECT_TRUE(is_given_back(before, 2));
	EXPECT_TRUE(mapped(before, 1));
	ASSERT_EQ(0, simdsp_cmd(NULL, "release-held cdsp"));
	EXPECT_EQ(0, simdsp_call_join(&call));
	EXPECT_TRUE(qda_filled(buf.map + KEPT_SIZE / 2, 1000, 1));
	qda_buf_free(&buf);
}

/* What a client in a small control group does. */
struct client {
	int fd;
	int node;
	__u32 handle;
	__u32 node_handle;
	/* Memory of this program that counts elsewhere. */
	__u8 *memory;
	int (*act)(struct client *client);
};

static int create_buffer(struct client *client, __u64 size, __u32 flags)
{
	struct drm_qda_buffer_create args = { .size = size, .flags = flags };
	__u64 offset;
	int ret = qda_ioctl(client->fd, DRM_IOCTL_QDA_BUFFER_CREATE, &args);

	if (!ret)
		ret = qda_mmap_offset(client->fd, args.handle, &offset);
	/* This allocates the pages. */
	if (!ret && mmap(NULL, size, PROT_READ, MAP_SHARED, client->fd, offset) == MAP_FAILED)
		ret = -errno;
	return ret;
}

static int create_small(struct client *client)
{
	return create_buffer(client, MIB, QDA_BUFFER_CACHED);
}

static int create_cached(struct client *client)
{
	return create_buffer(client, BIG, QDA_BUFFER_CACHED);
}

static int create_default(struct client *client)
{
	return create_buffer(client, BIG, 0);
}

/* A buffer without pages. */
static int create_empty(struct client *client, __u32 *handle)
{
	struct drm_qda_gem_create args = { .size = BIG };
	int ret = qda_ioctl(client->fd, DRM_IOCTL_QDA_GEM_CREATE, &args);

	*handle = args.handle;
	return ret;
}

static int map_empty(struct client *client)
{
	struct drm_qda_mem_map map = {
		.request = QDA_MAP_REQUEST_ATTR, .flags = QDA_MAP_FD, .size = BIG,
	};

	return create_empty(client, &map.handle) ?:
	       qda_ioctl(client->fd, DRM_IOCTL_QDA_MAP, &map);
}

static int map_heap(struct client *client)
{
	struct drm_qda_mem_map map = {
		.request = QDA_MAP_REQUEST_LEGACY, .flags = QDA_HEAP_ADD, .size = BIG,
	};

	return qda_ioctl(client->fd, DRM_IOCTL_QDA_MAP, &map);
}

static int call_with(struct client *client, int method, const struct drm_qda_call_arg *args)
{
	__s32 status = 0;
	int ret = qda_call(client->fd, client->handle, QDA_SCALARS(method, 1, 1), args, &status);

	return ret ?: status;
}

static int call_with_empty(struct client *client)
{
	__u64 sum;
	struct drm_qda_call_arg args[2] = { { .length = BIG }, qda_bytes(&sum, sizeof(sum)) };

	return create_empty(client, &args[0].handle) ?:
	       call_with(client, SIMDSP_CHECKSUM, args);
}

static int call_with_input(struct client *client)
{
	__u64 sum;
	struct drm_qda_call_arg args[2] = {
		qda_bytes(client->memory, INLINE), qda_bytes(&sum, sizeof(sum)),
	};

	return call_with(client, SIMDSP_CHECKSUM, args);
}

static int call_with_output(struct client *client)
{
	__u32 seed = 1;
	struct drm_qda_call_arg args[2] = {
		qda_bytes(&seed, sizeof(seed)), qda_bytes(client->memory, INLINE),
	};

	return call_with(client, SIMDSP_FILL, args);
}

static int invoke_with_input(struct client *client)
{
	__u64 sum;
	struct drm_qda_invoke_arg args[2] = {
		qda_inline(client->memory, INLINE), qda_inline(&sum, sizeof(sum)),
	};

	return qda_invoke(client->fd, client->handle, QDA_SCALARS(SIMDSP_CHECKSUM, 1, 1), args);
}

static int submit_large(struct client *client)
{
	__u64 sum;
	struct drm_qda_call_arg args[2] = {
		qda_bytes(client->memory, INLINE), qda_bytes(&sum, sizeof(sum)),
	};
	struct drm_qda_submission submission =
		queue_call(client->handle, QDA_SCALARS(SIMDSP_CHECKSUM, 1, 1), args, 0);

	return queue_create(client->fd, 1, 1) ?: queue_submit(client->fd, &submission, 1);
}

/* Calls that the DSP takes its time for. */
static int submit_many(struct client *client)
{
	__u32 ms = 3000;
	struct drm_qda_call_arg args[3] = {
		qda_bytes(&ms, sizeof(ms)), qda_bytes(client->memory, MANY_SIZE),
		qda_bytes(client->memory + MANY_SIZE, MANY_SIZE),
	};
	int ret = queue_create(client->fd, MANY, 2);

	for (int i = 0; i < MANY && ret >= 0; i++) {
		struct drm_qda_submission submission =
			queue_call(client->handle, QDA_SCALARS(SIMDSP_SLOW_ECHO, 2, 1), args, i);

		ret = queue_submit(client->fd, &submission, 1);
	}
	return ret;
}

static int node_alloc(struct client *client)
{
	struct fastrpc_alloc_dma_buf args = { .size = BIG };
	int ret = qda_ioctl(client->node, FASTRPC_IOCTL_ALLOC_DMA_BUFF, &args);

	if (!ret && mmap(NULL, BIG, PROT_READ, MAP_SHARED, args.fd, 0) == MAP_FAILED) {
		ret = -errno;
		close(args.fd);
	}
	return ret;
}

static int node_invoke(struct client *client)
{
	__u64 sum;
	struct fastrpc_invoke_args args[2] = {
		bytes(client->memory, INLINE), bytes(&sum, sizeof(sum)),
	};

	return invoke(client->node, client->node_handle, QDA_SCALARS(SIMDSP_CHECKSUM, 1, 1), args);
}

/* Moves this process to the group. Return: 0 or -errno. */
static int join_group(void)
{
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", getpid());
	return sysfs_write(GROUP "/cgroup.procs", pid);
}

static int act_in_group(struct child *parent, void *arg)
{
	struct client *client = arg;
	int ret;

	client->fd = qda_open_process("cdsp");
	client->node = open(CDSP, O_RDWR | O_CLOEXEC);
	if (client->fd < 0 || client->node < 0) {
		child_tell(parent, client->fd < 0 ? client->fd : -errno);
		return 1;
	}
	ret = simdsp_open(client->fd, &client->handle) ?: create(client->node, UNSIGNED);
	client->node_handle = ret ? 0 : module(client->node);
	ret = ret ?: join_group();
	child_tell(parent, ret ?: client->act(client));
	return 0;
}

/* One that has nothing to do with it. */
static int witness_in_group(struct child *parent, void *arg)
{
	__u8 memory[MIB];
	int ret = join_group(), number;

	memset(memory, 1, sizeof(memory));
	child_tell(parent, ret);
	while ((number = child_hear(parent, 60000)) > 0)
		child_tell(parent, qda_all(memory, sizeof(memory), 1) ? number : 0);
	return number;
}

/* How often something happened in the group, or -1. */
static int happened(const char *event)
{
	char name[32];
	int count, found = -1;
	FILE *file = fopen(GROUP "/memory.events", "r");

	while (file && fscanf(file, "%31s %d", name, &count) == 2) {
		if (!strcmp(name, event))
			found = count;
	}
	if (file)
		fclose(file);
	return found;
}

static const struct {
	const char *name;
	int (*act)(struct client *client);
	int ret;
} acts[] = {
	{ "create_small", create_small, 0 },
	{ "create_cached", create_cached, -ENOMEM },
	{ "create_default", create_default, -ENOMEM },
	{ "map_empty", map_empty, -ENOMEM },
	{ "map_heap", map_heap, -ENOMEM },
	{ "call_with_empty", call_with_empty, -ENOMEM },
	{ "call_with_input", call_with_input, -ENOMEM },
	{ "call_with_output", call_with_output, -ENOMEM },
	{ "invoke_with_input", invoke_with_input, -ENOMEM },
	{ "submit_large", submit_large, -ENOMEM },
	{ "submit_many", submit_many, -ENOMEM },
	{ "node_alloc", node_alloc, -ENOMEM },
	{ "node_invoke", node_invoke, -ENOMEM },
};

TEST_F_TIMEOUT(pressure, no_memory_of_the_control_group, 120)
{
	struct child witness, child;
	struct client client;
	int ret, number = 0;

	if (getuid())
		SKIP(return, "needs root");
	mkdir(CGROUPS, 0755);
	ASSERT_EQ(0, mount("none", CGROUPS, "cgroup2", 0, NULL));
	if (sysfs_write(CGROUPS "/cgroup.subtree_control", "+memory")) {
		umount(CGROUPS);
		SKIP(return, "no memory controller");
	}
	mkdir(GROUP, 0755);
	ASSERT_EQ(0, sysfs_write(GROUP "/memory.max", LIMIT));
	client.memory = mmap(NULL, INLINE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
			     0);
	ASSERT_NE(MAP_FAILED, client.memory);
	memset(client.memory, 1, INLINE);
	ASSERT_EQ(0, child_start(&witness, witness_in_group, NULL));
	ASSERT_EQ(0, child_hear(&witness, 5000));

	for (size_t i = 0; i < ARRAY_SIZE(acts); i++) {
		client.act = acts[i].act;
		ASSERT_EQ(0, child_start(&child, act_in_group, &client));
		ret = child_hear(&child, 30000);
		TH_LOG("%s: %d", acts[i].name, ret);
		EXPECT_EQ(acts[i].ret, ret);
		/* It was told, and not killed; nor was somebody else. */
		EXPECT_EQ(0, child_wait(&child, 10000));
		child_tell(&witness, ++number);
		EXPECT_EQ(number, child_hear(&witness, 5000));
		EXPECT_EQ(0, happened("oom_kill"));
	}
	/* It was the group that had no more. */
	EXPECT_LT(0, happened("max"));
	child_tell(&witness, 0);
	EXPECT_EQ(0, child_wait(&witness, 5000));
	munmap(client.memory, INLINE);
	for (int i = 0; i < 100 && rmdir(GROUP); i++)
		usleep(20000);
	EXPECT_EQ(0, umount(CGROUPS));
	rmdir(CGROUPS);
}

TEST_HARNESS_MAIN
