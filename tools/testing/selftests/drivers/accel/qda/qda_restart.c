// SPDX-License-Identifier: GPL-2.0
/*
 * QDA: a DSP that restarts while programs use it.
 */
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "child.h"
#include "harness.h"
#include "module.h"
#include "nodes.h"
#include "qda.h"
#include "restart.h"
#include "simdsp.h"
#include "sysfs.h"

#define DRIVER		"/sys/bus/rpmsg/drivers/qda"
#define GPUS		"/sys/bus/virtio/drivers/virtio_gpu"
#define IOMMU_GROUPS	"/sys/kernel/iommu_groups"

#define LOOPERS		8
/* More than the DSP has room for before it reads. */
#define SENDERS		40
#define MAX_BANKS	16

/* Calls of a client that is killed: that the DSP has, and two more than it has room for then. */
#define PARKED		3
#define SENDING		6
/* How long GLINK waits for room for one. */
#define ROOM_MS		10000

/* For how long a DSP that closes its channel is away while other devices come and go. */
#define AWAY_MS		5000

/* A call from the DSP to a program, and what comes of it. */
#define REVERSE		"reverse cdsp 5 7 in:0102 out:4"
#define REVERSE_DONE	"0 a5a5a5a5"

/* Callers whose calls don't wait: at any time some are on their way. */
struct looper {
	pthread_t thread;
	int fd;
	__u32 handle;
	int calls;
	int ret;
};

static void *loop(void *arg)
{
	struct looper *looper = arg;
	char in[200] = { 1 }, out[200];

	do {
		looper->ret = simdsp_echo(looper->fd, looper->handle, in, out, sizeof(in));
		__atomic_add_fetch(&looper->calls, 1, __ATOMIC_RELAXED);
	} while (!looper->ret);
	return NULL;
}

/* Has the DSP keep a buffer, under the number of its handle. */
static int map(int fd, const struct qda_buf *buf, __u64 *address)
{
	struct drm_qda_mem_map arg = {
		.request = QDA_MAP_REQUEST_ATTR,
		.flags = QDA_MAP_FD,
		.handle = buf->handle,
		.dsp_handle = buf->handle,
		.vaddrin = (uintptr_t)buf->map,
		.size = buf->size,
	};
	int ret = qda_ioctl(fd, DRM_IOCTL_QDA_MAP, &arg);

	*address = arg.vaddrout;
	return ret;
}

static int unmap(int fd, const struct qda_buf *buf, __u64 address)
{
	struct drm_qda_mem_unmap arg = {
		.request = QDA_MAP_REQUEST_ATTR,
		.dsp_handle = buf->handle,
		.vaddr = address,
		.size = buf->size,
	};

	return qda_ioctl(fd, DRM_IOCTL_QDA_MUNMAP, &arg);
}

/* Gives the DSP process memory for its heap. */
static int grow(int fd)
{
	struct drm_qda_mem_map arg = {
		.request = QDA_MAP_REQUEST_LEGACY,
		.flags = QDA_HEAP_ADD,
		.handle = -1,
		.size = 65536,
	};

	return qda_ioctl(fd, DRM_IOCTL_QDA_MAP, &arg);
}

FIXTURE(restart)
{
	char processor[128];
	int groups;
};

FIXTURE_VARIANT(restart)
{
	enum how how;
};

FIXTURE_VARIANT_ADD(restart, channel) { .how = CHANNEL };
FIXTURE_VARIANT_ADD(restart, stop) { .how = STOP };
FIXTURE_VARIANT_ADD(restart, crash) { .how = CRASH };

FIXTURE_SETUP(restart)
{
	const char *why = qda_test_begin("restart", _metadata->name, true);
	int fd;

	if (why)
		SKIP(return, "%s", why);
	if (!find_processor("cdsp", self->processor, sizeof(self->processor)) &&
	    variant->how != CHANNEL)
		SKIP(return, "no remote processor that can be stopped");
	/* After the test before, the channel may be on its way back. */
	fd = come_up(CHANNEL, "cdsp", NULL);
	ASSERT_LE(0, fd);
	close(fd);
	self->groups = sysfs_count(IOMMU_GROUPS);
}

FIXTURE_TEARDOWN(restart)
{
	char name[128];

	if (variant->how != CHANNEL && !find_processor("cdsp", name, sizeof(name)))
		EXPECT_EQ(0, sysfs_write(PROCESSORS "/bind", self->processor));
	/* No bank of a DSP that is gone is left. */
	EXPECT_EQ(self->groups, sysfs_count(IOMMU_GROUPS));
	EXPECT_EQ(0, qda_test_end());
}

TEST_F_TIMEOUT(restart, everything_in_use, 90)
{
	struct drm_qda_gem_create create = { .size = 4096 };
	struct looper loopers[LOOPERS];
	struct simdsp_call held, sleeping, senders[SENDERS];
	struct drm_qda_invoke_arg ref, inl;
	struct stat before, after;
	struct listener listener;
	struct qda_buf buf, other_buf;
	__u32 handle, other_handle, ms = 120000;
	int fd, other, idle, again;
	__u64 address;

	idle = qda_open("cdsp");
	fd = qda_open_process("cdsp");
	other = qda_open_process("cdsp");
	ASSERT_LE(0, idle);
	ASSERT_LE(0, fd);
	ASSERT_LE(0, other);
	ASSERT_EQ(0, simdsp_open(fd, &handle));
	ASSERT_EQ(0, simdsp_open(other, &other_handle));
	ASSERT_EQ(0, qda_buf_new(fd, 65536, &buf));
	ASSERT_EQ(0, qda_buf_new(other, 65536, &other_buf));
	/* Memory that stays with the DSP process, of either kind. */
	ASSERT_EQ(0, map(other, &other_buf, &address));
	ASSERT_EQ(0, grow(other));
	ASSERT_EQ(2, simdsp_stat("cdsp", "maps"));

	/* One call parked, one at work, one that listens, and others being sent and answered. */
	ref = qda_ref(&buf, 0, 65536);
	ASSERT_EQ(0, simdsp_call_start(&held, fd, handle, QDA_SCALARS(SIMDSP_HOLD, 1, 0), &ref));
	inl = qda_inline(&ms, sizeof(ms));
	ASSERT_EQ(0, simdsp_call_start(&sleeping, fd, handle, QDA_SCALARS(SIMDSP_SLEEP, 1, 0),
				       &inl));
	ASSERT_EQ(0, listener_start(&listener, other));
	ASSERT_TRUE(simdsp_wait_stat("cdsp", "parked", 2, 5000));
	for (int i = 0; i < LOOPERS; i++) {
		loopers[i] = (struct looper) { .fd = other, .handle = other_handle };
		ASSERT_EQ(0, pthread_create(&loopers[i].thread, NULL, loop, &loopers[i]));
	}
	for (int i = 0; i < LOOPERS; i++)
		while (__atomic_load_n(&loopers[i].calls, __ATOMIC_RELAXED) < 2)
			usleep(1000);
	usleep(200000);

	if (variant->how == STOP) {
		/* It works on while its memory is taken away. */
		ASSERT_EQ(0, simdsp_cmd(NULL, "expect-fault any"));
		ASSERT_EQ(0, simdsp_cmd(NULL, "allow unmapped"));
	}
	if (variant->how == CRASH) {
		/* Some calls don't get out any more. */
		ASSERT_EQ(0, simdsp_cmd(NULL, "crash cdsp"));
		for (int i = 0; i < SENDERS; i++)
			ASSERT_EQ(0, simdsp_call_start(&senders[i], other, other_handle,
						       QDA_SCALARS(SIMDSP_HOLD, 0, 0), NULL));
	}
	ASSERT_EQ(0, go_down(variant->how, "cdsp", self->processor));
	ASSERT_TRUE(is_gone(idle));
	for (int i = 0; variant->how == CRASH && i < SENDERS; i++)
		EXPECT_EQ(-EPIPE, simdsp_call_join(&senders[i]));
	EXPECT_EQ(-EPIPE, simdsp_call_join(&held));
	EXPECT_EQ(-EPIPE, simdsp_call_join(&sleeping));
	EXPECT_EQ(-EPIPE, simdsp_call_join(&listener.call));
	for (int i = 0; i < LOOPERS; i++) {
		pthread_join(loopers[i].thread, NULL);
		EXPECT_LT(1, loopers[i].calls);
		/* Those that began after the device had gone learn that at once. */
		EXPECT_TRUE(loopers[i].ret == -EPIPE || loopers[i].ret == -ENODEV)
			TH_LOG("a call returned %d", loopers[i].ret);
	}

	/* Old files: the device is gone, what the program has mapped is not. */
	EXPECT_EQ(-ENODEV, simdsp_hold(fd, handle));
	EXPECT_EQ(-ENODEV, qda_create(idle));
	EXPECT_EQ(-ENODEV, qda_ioctl(idle, DRM_IOCTL_QDA_INIT_ATTACH, NULL));
	EXPECT_EQ(-ENODEV, qda_ioctl(other, DRM_IOCTL_QDA_GEM_CREATE, &create));
	EXPECT_EQ(-ENODEV, unmap(other, &other_buf, address));
	memset(buf.map, 0x33, buf.size);
	EXPECT_TRUE(qda_all(buf.map, buf.size, 0x33));

	again = come_up(variant->how, "cdsp", self->processor);
	ASSERT_LE(0, again);
	EXPECT_TRUE(works(again));
	/* Under another number, as long as somebody has the old device open. */
	ASSERT_EQ(0, fstat(idle, &before));
	ASSERT_EQ(0, fstat(again, &after));
	EXPECT_NE(before.st_rdev, after.st_rdev);
	EXPECT_TRUE(is_gone(fd));
	EXPECT_EQ(1, simdsp_stat("cdsp", "processes"));

	munmap(buf.map, buf.size);
	close(fd);
	close(other);
	close(idle);
	munmap(other_buf.map, other_buf.size);
	EXPECT_TRUE(works(again));
	close(again);
}

/* What the kernel asks the DSP in a client's name. */
struct asker {
	pthread_t thread;
	const struct question *question;
	int fd;
	struct qda_buf buf;
	__u64 address;
	int ret;
};

static int ask_create(struct asker *asker)
{
	return qda_create(asker->fd);
}

static int ask_attach(struct asker *asker)
{
	return qda_ioctl(asker->fd, DRM_IOCTL_QDA_INIT_ATTACH, NULL);
}

static int ask_sensors(struct asker *asker)
{
	return qda_session_kind(asker->fd, QDA_SESSION_SENSORS);
}

static int ask_map(struct asker *asker)
{
	return map(asker->fd, &asker->buf, &asker->address);
}

static int ask_grow(struct asker *asker)
{
	return grow(asker->fd);
}

static int ask_unmap(struct asker *asker)
{
	return unmap(asker->fd, &asker->buf, asker->address);
}

static int ask_attribute(struct asker *asker)
{
	__u64 value;

	return qda_param(asker->fd, QDA_PARAM_DSP_ATTRIBUTE, 6, &value);
}

static const struct question {
	const char *name;
	int (*ask)(struct asker *asker);
	/* What it needs: a process, and a buffer that is mapped there. */
	bool process;
	bool mapped;
} questions[] = {
	{ .name = "create", .ask = ask_create },
	{ .name = "attach", .ask = ask_attach },
	{ .name = "attach to sensors", .ask = ask_sensors },
	{ .name = "map", .ask = ask_map, .process = true },
	{ .name = "grow the heap", .ask = ask_grow, .process = true },
	{ .name = "unmap", .ask = ask_unmap, .process = true, .mapped = true },
	{ .name = "attribute", .ask = ask_attribute },
};

static void *ask(void *arg)
{
	struct asker *asker = arg;

	asker->ret = asker->question->ask(asker);
	return NULL;
}

TEST_F_TIMEOUT(restart, while_the_kernel_asks, 90)
{
	struct asker askers[ARRAY_SIZE(questions)] = { 0 };
	long long drops = simdsp_stat("cdsp", "drops");
	int again;

	/* A channel on which nobody has asked for attributes. */
	ASSERT_EQ(0, go_down(CHANNEL, "cdsp", NULL));
	again = come_up(CHANNEL, "cdsp", NULL);
	ASSERT_LE(0, again);
	close(again);
	for (size_t i = 0; i < ARRAY_SIZE(askers); i++) {
		struct asker *asker = &askers[i];

		asker->question = &questions[i];
		asker->fd = asker->question->process ? qda_open_process("cdsp") : qda_open("cdsp");
		ASSERT_LE(0, asker->fd);
		ASSERT_EQ(0, qda_buf_new(asker->fd, 65536, &asker->buf));
		if (asker->question->mapped)
			ASSERT_EQ(0, ask_map(asker));
	}
	for (int handle = 1; handle <= 2; handle++)
		ASSERT_EQ(0, simdsp_cmd(NULL,
					"script {\"rules\":[{\"dsp\":\"cdsp\",\"handle\":%d,\"actions\":[\"drop\"]}]}",
					handle));
	for (size_t i = 0; i < ARRAY_SIZE(askers); i++)
		ASSERT_EQ(0, pthread_create(&askers[i].thread, NULL, ask, &askers[i]));
	ASSERT_TRUE(simdsp_wait_stat("cdsp", "drops", drops + ARRAY_SIZE(askers), 5000));

	ASSERT_EQ(0, go_down(variant->how, "cdsp", self->processor));
	for (size_t i = 0; i < ARRAY_SIZE(askers); i++) {
		struct asker *asker = &askers[i];

		pthread_join(asker->thread, NULL);
		EXPECT_EQ(-EPIPE, asker->ret)
			TH_LOG("%s", asker->question->name);
		EXPECT_TRUE(is_gone(asker->fd));
		EXPECT_EQ(-ENODEV, asker->question->ask(asker))
			TH_LOG("%s, later", asker->question->name);
	}
	EXPECT_EQ(0, simdsp_cmd(NULL, "script {\"replace\":true}"));
	again = come_up(variant->how, "cdsp", self->processor);
	ASSERT_LE(0, again);
	EXPECT_TRUE(works(again));
	close(again);
	for (size_t i = 0; i < ARRAY_SIZE(askers); i++) {
		qda_buf_free(&askers[i].buf);
		close(askers[i].fd);
	}
}

/* Waits for the DSP to call, by a file of a FastRPC node. */
static void *node_listen(void *arg)
{
	int fd = *(int *)arg;
	__u32 in[4] = { 0, ~0u, 0, 256 }, out[4];
	__u8 packed[256];
	struct fastrpc_invoke_args args[4] = {
		bytes(in, sizeof(in)), bytes(NULL, 0),
		bytes(out, sizeof(out)), bytes(packed, sizeof(packed)),
	};

	return (void *)(long)invoke(fd, ADSP_LISTENER, QDA_SCALARS(4, 2, 2), args);
}

TEST_F_TIMEOUT(restart, files_of_the_fastrpc_node, 60)
{
	struct fastrpc_init_create create = {
		.filefd = -1, .attrs = FASTRPC_MODE_UNSIGNED_MODULE,
	};
	struct fastrpc_alloc_dma_buf buf = { .size = 65536 }, other = buf;
	struct fastrpc_ioctl_capability query = { .attribute_id = 6 };
	struct fastrpc_mem_map arg = { .flags = FASTRPC_MAP_FD, .length = 65536 };
	struct fastrpc_mem_unmap unmap = { .length = 65536 };
	struct fastrpc_req_mmap heap = { .fd = -1, .flags = QDA_HEAP_ADD, .size = 65536 };
	int fd, idle, again;
	pthread_t thread;
	void *ret;

	fd = qda_open_node(CDSP);
	if (fd == -ENOENT)
		SKIP(return, "no %s", CDSP);
	ASSERT_LE(0, fd);
	idle = qda_open_node(CDSP);
	ASSERT_LE(0, idle);
	ASSERT_EQ(0, qda_ioctl(fd, FASTRPC_IOCTL_INIT_CREATE, &create));
	ASSERT_EQ(0, qda_ioctl(fd, FASTRPC_IOCTL_ALLOC_DMA_BUFF, &buf));
	arg.fd = buf.fd;
	ASSERT_EQ(0, qda_ioctl(fd, FASTRPC_IOCTL_MEM_MAP, &arg));
	ASSERT_EQ(0, invoke(fd, ADSP_LISTENER, QDA_SCALARS(3, 0, 0), NULL));
	ASSERT_EQ(0, pthread_create(&thread, NULL, node_listen, &fd));
	ASSERT_TRUE(simdsp_wait_stat("cdsp", "listeners", 1, 5000));

	ASSERT_EQ(0, go_down(variant->how, "cdsp", self->processor));
	pthread_join(thread, &ret);
	EXPECT_EQ(-EPIPE, (long)ret);
	/* Whatever needs the DSP, of a file that has a process and of one that has none. */
	EXPECT_EQ(-EPIPE, invoke(fd, ADSP_LISTENER, QDA_SCALARS(3, 0, 0), NULL));
	EXPECT_EQ(-EPIPE, qda_ioctl(idle, FASTRPC_IOCTL_INIT_CREATE, &create));
	EXPECT_EQ(-EPIPE, qda_ioctl(idle, FASTRPC_IOCTL_INIT_ATTACH, NULL));
	EXPECT_EQ(-EPIPE, invoke(idle, ADSP_LISTENER, QDA_SCALARS(3, 0, 0), NULL));
	EXPECT_EQ(-EPIPE, qda_ioctl(fd, FASTRPC_IOCTL_MMAP, &heap));
	EXPECT_EQ(-EPIPE, qda_ioctl(fd, FASTRPC_IOCTL_MEM_MAP, &arg));
	unmap.fd = buf.fd;
	unmap.vaddr = arg.vaddrout;
	EXPECT_EQ(-EPIPE, qda_ioctl(fd, FASTRPC_IOCTL_MEM_UNMAP, &unmap));
	EXPECT_EQ(-EPIPE, qda_ioctl(fd, FASTRPC_IOCTL_GET_DSP_INFO, &query));
	EXPECT_EQ(-EPIPE, qda_ioctl(idle, FASTRPC_IOCTL_GET_DSP_INFO, &query));
	/* Memory of the kernel does not. */
	EXPECT_EQ(0, qda_ioctl(fd, FASTRPC_IOCTL_ALLOC_DMA_BUFF, &other))
		other.fd = -1;
	close(other.fd);

	/* As programs do then. */
	again = come_up(variant->how, "cdsp", self->processor);
	ASSERT_LE(0, again);
	close(again);
	close(fd);
	fd = qda_open_node(CDSP);
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, qda_ioctl(fd, FASTRPC_IOCTL_INIT_CREATE, &create));
	EXPECT_EQ(0, qda_ioctl(fd, FASTRPC_IOCTL_GET_DSP_INFO, &query));
	EXPECT_EQ(-EPIPE, qda_ioctl(idle, FASTRPC_IOCTL_INIT_CREATE, &create));
	EXPECT_EQ(-EPIPE, invoke(idle, ADSP_LISTENER, QDA_SCALARS(3, 0, 0), NULL));
	close(buf.fd);
	close(idle);
	close(fd);
}

static void *close_file(void *arg)
{
	int *fd = arg;

	return (void *)(long)close(*fd);
}

TEST_F_TIMEOUT(restart, while_a_process_ends, 60)
{
	static const char drop[] =
		"{\"rules\":[{\"handle\":1,\"method\":1,\"actions\":[\"drop\"]}]}";
	long long drops = simdsp_stat("cdsp", "drops"), start;
	pthread_t thread;
	int fd, idle, again;
	__u32 handle;

	idle = qda_open("cdsp");
	fd = qda_open_process("cdsp");
	ASSERT_LE(0, idle);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, simdsp_open(fd, &handle));
	ASSERT_EQ(0, simdsp_cmd(NULL, "script %s", drop));
	ASSERT_EQ(0, pthread_create(&thread, NULL, close_file, &fd));
	ASSERT_TRUE(simdsp_wait_stat("cdsp", "drops", drops + 1, 5000));

	/* A DSP that has gone need not confirm that the process has ended. */
	start = qda_now_ms();
	ASSERT_EQ(0, go_down(variant->how, "cdsp", self->processor));
	pthread_join(thread, NULL);
	EXPECT_GT(qda_patience(8000), qda_now_ms() - start);
	EXPECT_TRUE(is_gone(idle));
	EXPECT_EQ(0, simdsp_cmd(NULL, "script {\"replace\":true}"));
	again = come_up(variant->how, "cdsp", self->processor);
	ASSERT_LE(0, again);
	EXPECT_TRUE(works(again));
	close(again);
	close(idle);
}

TEST_F_TIMEOUT(restart, the_other_dsp_goes_on, 90)
{
	char processor[128] = "", gpu[64], reply[SIMDSP_LINE];
	struct simdsp_call held;
	int cdsp, adsp, again;
	pthread_t server;
	__u32 handle;
	void *ret;

	adsp = qda_open("adsp");
	if (adsp < 0)
		SKIP(return, "this machine has no adsp");
	find_processor("adsp", processor, sizeof(processor));
	cdsp = qda_open_process("cdsp");
	ASSERT_LE(0, cdsp);
	ASSERT_EQ(0, qda_invoke(cdsp, ADSP_LISTENER, QDA_SCALARS(3, 0, 0), NULL));
	ASSERT_EQ(0, pthread_create(&server, NULL, simdsp_serve, &cdsp));
	ASSERT_TRUE(simdsp_wait_stat("cdsp", "listeners", 1, 5000));
	ASSERT_EQ(0, qda_ioctl(adsp, DRM_IOCTL_QDA_INIT_ATTACH, NULL));
	ASSERT_EQ(0, simdsp_open(adsp, &handle));
	ASSERT_EQ(0, simdsp_call_start(&held, adsp, handle, QDA_SCALARS(SIMDSP_HOLD, 0, 0), NULL));
	ASSERT_TRUE(simdsp_wait_stat("adsp", "held", 1, 5000));

	ASSERT_EQ(0, variant->how == CHANNEL ?
		     simdsp_cmd(NULL, "restart adsp %d", qda_patience(AWAY_MS)) :
		     go_down(variant->how, "adsp", processor));
	EXPECT_EQ(-EPIPE, simdsp_call_join(&held));
	EXPECT_TRUE(is_gone(adsp));
	EXPECT_TRUE(works(cdsp));
	EXPECT_EQ(1, simdsp_stat("cdsp", "listeners"));

	/* Meanwhile a GPU comes and goes, which waits for ioctls of any DRM driver. */
	if (sysfs_find(GPUS, "virtio", gpu, sizeof(gpu))) {
		ASSERT_EQ(0, sysfs_write_within(GPUS "/unbind", gpu, BOUND_MS));
		ASSERT_EQ(0, sysfs_write_within(GPUS "/bind", gpu, BOUND_MS));
		EXPECT_EQ(-ENODEV, qda_open("adsp"));
		EXPECT_EQ(1, simdsp_stat("cdsp", "listeners"));
	} else {
		TH_LOG("no GPU with the driver virtio_gpu");
	}

	if (variant->how != CHANNEL)
		ASSERT_EQ(0, sysfs_write_within(PROCESSORS "/bind", processor, BOUND_MS));
	close(adsp);
	again = -ENODEV;
	for (int i = 0; again == -ENODEV && i < qda_patience(BACK_MS) / 10; i++) {
		again = qda_open("adsp");
		usleep(10000);
	}
	ASSERT_LE(0, again);
	EXPECT_EQ(0, qda_ioctl(again, DRM_IOCTL_QDA_INIT_ATTACH, NULL));
	EXPECT_TRUE(works(again));
	close(again);

	/* The thread that has waited all the time serves a call, and waits again. */
	EXPECT_EQ(1, simdsp_stat("cdsp", "listeners"));
	EXPECT_EQ(0, simdsp_cmd(reply, REVERSE));
	EXPECT_STREQ(REVERSE_DONE, reply);
	EXPECT_TRUE(simdsp_wait_stat("cdsp", "listeners", 1, 5000));
	EXPECT_EQ(0, simdsp_cmd(NULL, "complete-listener cdsp 0x8000040d"));
	pthread_join(server, &ret);
	EXPECT_EQ(DSP_ERROR(0x0d), (long)ret);
	close(cdsp);
}

TEST_F_TIMEOUT(restart, again_and_again, 120)
{
	const char *wish = getenv("QDA_RESTARTS");
	int restarts = wish ? atoi(wish) : 3;
	int fd, old = -1;

	fd = qda_open_process("cdsp");
	ASSERT_LE(0, fd);
	for (int i = 0; i < restarts; i++) {
		struct simdsp_call held;
		__u32 handle;

		ASSERT_EQ(0, simdsp_open(fd, &handle));
		ASSERT_EQ(0, simdsp_call_start(&held, fd, handle, QDA_SCALARS(SIMDSP_HOLD, 0, 0),
					       NULL));
		ASSERT_TRUE(simdsp_wait_stat("cdsp", "held", 1, 5000));
		ASSERT_EQ(0, go_down(variant->how, "cdsp", self->processor));
		ASSERT_EQ(-EPIPE, simdsp_call_join(&held));
		ASSERT_TRUE(is_gone(fd));
		/* Every other time the file stays open for a while. */
		if (i % 2) {
			close(old);
			close(fd);
		} else {
			old = fd;
		}
		fd = come_up(variant->how, "cdsp", self->processor);
		ASSERT_LE(0, fd);
	}
	TH_LOG("%d restarts", restarts);
	EXPECT_TRUE(works(fd));
	close(fd);
	if (restarts % 2)
		close(old);
}

/* What else is in the machine. */
FIXTURE(machine)
{
	int fd;
};

FIXTURE_SETUP(machine)
{
	const char *why = qda_test_begin("machine", _metadata->name, true);

	if (why)
		SKIP(return, "%s", why);
	self->fd = come_up(CHANNEL, "cdsp", NULL);
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(machine)
{
	close(self->fd);
	EXPECT_EQ(0, qda_test_end());
}

TEST_F_TIMEOUT(machine, a_gpu_comes_and_goes, 60)
{
	struct simdsp_call held;
	char gpu[64];
	__u32 handle;

	if (!sysfs_find(GPUS, "virtio", gpu, sizeof(gpu)))
		SKIP(return, "no GPU with the driver virtio_gpu");
	ASSERT_EQ(0, simdsp_open(self->fd, &handle));
	ASSERT_EQ(0, simdsp_call_start(&held, self->fd, handle, QDA_SCALARS(SIMDSP_HOLD, 0, 0),
				       NULL));
	ASSERT_TRUE(simdsp_wait_stat("cdsp", "held", 1, 5000));
	/* Unplugging a DRM device waits for all ioctls that hold one in place, of any driver. */
	for (int i = 0; i < 3; i++) {
		ASSERT_EQ(0, sysfs_write_within(GPUS "/unbind", gpu, BOUND_MS));
		ASSERT_EQ(0, sysfs_write_within(GPUS "/bind", gpu, BOUND_MS));
	}
	EXPECT_FALSE(simdsp_call_done(&held));
	EXPECT_EQ(0, simdsp_cmd(NULL, "release-held cdsp 3"));
	EXPECT_EQ(3, simdsp_call_join(&held));
}

TEST_F_TIMEOUT(machine, unbound_while_the_dsp_hangs, 60)
{
	char device[256], processor[128];
	enum how how = CHANNEL;
	struct simdsp_call held;
	struct qda_buf buf;
	__u32 handle;
	int again;

	ASSERT_TRUE(qda_rpmsg_device("cdsp", device, sizeof(device)));
	if (find_processor("cdsp", processor, sizeof(processor)))
		how = STOP;
	ASSERT_EQ(0, simdsp_open(self->fd, &handle));
	ASSERT_EQ(0, qda_buf_new(self->fd, 65536, &buf));
	ASSERT_EQ(0, simdsp_call_start(&held, self->fd, handle, QDA_SCALARS(SIMDSP_HOLD, 0, 0),
				       NULL));
	ASSERT_TRUE(simdsp_wait_stat("cdsp", "held", 1, 5000));

	ASSERT_EQ(0, simdsp_cmd(NULL, "crash cdsp"));
	ASSERT_EQ(0, sysfs_write_within(DRIVER "/unbind", device, BOUND_MS));
	EXPECT_EQ(-EPIPE, simdsp_call_join(&held));
	EXPECT_TRUE(is_gone(self->fd));
	qda_buf_free(&buf);
	ASSERT_EQ(0, go_down(how, "cdsp", processor));
	again = come_up(how, "cdsp", processor);
	ASSERT_LE(0, again);
	EXPECT_TRUE(works(again));
	close(again);
}

/* A client with calls that the DSP has, and then with calls that it makes when it hears of it. */
static int calls_on(struct child *parent, void *arg)
{
	static struct simdsp_call parked[PARKED], sending[SENDING];
	__u32 handle;
	int fd, ret;

	fd = qda_open_process("cdsp");
	ret = fd < 0 ? fd : simdsp_open(fd, &handle);
	for (int i = 0; !ret && i < PARKED; i++)
		ret = simdsp_call_start(&parked[i], fd, handle, QDA_SCALARS(SIMDSP_HOLD, 0, 0),
					NULL);
	child_tell(parent, ret ?: 1);
	child_hear(parent, 20000);
	for (int i = 0; !ret && i < SENDING; i++)
		ret = simdsp_call_start(&sending[i], fd, handle, QDA_SCALARS(SIMDSP_HOLD, 0, 0),
					NULL);
	child_tell(parent, ret ?: 1);
	pause();
	return 0;
}

/* How many threads of a process wait so that nothing but death ends it. */
static int uninterruptible(pid_t pid)
{
	char path[300], text[512], *state;
	struct dirent *entry;
	int count = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		FILE *file;

		snprintf(path, sizeof(path), "/proc/%d/task/%s/stat", pid, entry->d_name);
		file = entry->d_name[0] == '.' ? NULL : fopen(path, "re");
		if (!file)
			continue;
		if (fgets(text, sizeof(text), file)) {
			/* Behind the name, which is in parentheses. */
			state = strrchr(text, ')');
			count += state && state[1] && state[2] == 'D';
		}
		fclose(file);
	}
	if (dir)
		closedir(dir);
	return count;
}

TEST_F_TIMEOUT(machine, killed_while_the_dsp_hangs, 120)
{
	char processor[128];
	struct child child;
	long long start;
	int stuck, again;

	if (!find_processor("cdsp", processor, sizeof(processor)))
		SKIP(return, "the transport has room for all calls");
	ASSERT_EQ(0, child_start(&child, calls_on, NULL));
	ASSERT_EQ(1, child_hear(&child, 10000));
	ASSERT_TRUE(simdsp_wait_stat("cdsp", "held", PARKED, 5000));

	/* Some of its calls find no room at the DSP, which does not make any. */
	ASSERT_EQ(0, simdsp_cmd(NULL, "crash cdsp"));
	child_tell(&child, 1);
	ASSERT_EQ(1, child_hear(&child, 10000));
	usleep(1000 * qda_patience(500));
	stuck = uninterruptible(child.pid);
	EXPECT_LT(0, stuck);

	/* Neither those that it has nor the others keep a dying program. */
	start = qda_now_ms();
	ASSERT_EQ(0, kill(child.pid, SIGKILL));
	EXPECT_LT(0, child_wait(&child, SENDING * ROOM_MS));
	TH_LOG("%d calls being sent, dead after %lld ms", stuck, qda_now_ms() - start);
	EXPECT_GT(qda_patience(3000), qda_now_ms() - start);

	ASSERT_EQ(0, go_down(STOP, "cdsp", processor));
	again = come_up(STOP, "cdsp", processor);
	ASSERT_LE(0, again);
	EXPECT_TRUE(works(again));
	close(again);
}

/* Banks that processes get, and whether one of them got @bank. */
static int count_banks(__u32 bank, bool *got)
{
	__u32 banks[MAX_BANKS];
	int fds[MAX_BANKS], count = 0;

	/* One client's processes have banks of their own for as long as there are any. */
	*got = false;
	while (count < MAX_BANKS) {
		struct simdsp_info info = { 0 };
		__u32 handle;
		int known = 0;

		fds[count] = qda_open_process("cdsp");
		if (fds[count] < 0)
			break;
		if (!simdsp_open(fds[count], &handle))
			simdsp_info(fds[count], handle, &info);
		while (known < count && banks[known] != info.bank)
			known++;
		if (known < count) {
			close(fds[count]);
			break;
		}
		*got = *got || info.bank == bank;
		banks[count++] = info.bank;
	}
	for (int i = 0; i < count; i++)
		close(fds[i]);
	return count;
}

TEST_F_TIMEOUT(machine, fewer_banks, 60)
{
	char processor[128], file[300];
	int all, fewer, again;
	bool got;

	if (!find_processor("cdsp", processor, sizeof(processor)))
		SKIP(return, "no remote processor that can be stopped");
	snprintf(file, sizeof(file), PROCESSORS "/%s/bank", processor);
	close(self->fd);
	all = count_banks(2, &got);
	ASSERT_LT(1, all);
	EXPECT_TRUE(got);

	ASSERT_EQ(0, sysfs_write(file, "-2"));
	ASSERT_EQ(0, go_down(STOP, "cdsp", processor));
	again = come_up(STOP, "cdsp", processor);
	ASSERT_LE(0, again);
	EXPECT_TRUE(works(again));
	close(again);
	fewer = count_banks(2, &got);
	EXPECT_EQ(all - 1, fewer);
	EXPECT_FALSE(got);

	ASSERT_EQ(0, sysfs_write(file, "2"));
	ASSERT_EQ(0, go_down(STOP, "cdsp", processor));
	self->fd = come_up(STOP, "cdsp", processor);
	ASSERT_LE(0, self->fd);
	close(self->fd);
	self->fd = -1;
	EXPECT_EQ(all, count_banks(2, &got));
	EXPECT_TRUE(got);
}

TEST_HARNESS_MAIN
