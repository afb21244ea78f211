// SPDX-License-Identifier: GPL-2.0
/*
 * QDA: a DSP that restarts while programs use it.
 */
#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "harness.h"
#include "module.h"
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
		looper->calls++;
	} while (!looper->ret);
	return NULL;
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

static void *create_process(void *arg)
{
	int *fd = arg;

	return (void *)(long)qda_create(*fd);
}

TEST_F_TIMEOUT(restart, while_a_process_is_made, 60)
{
	static const char drop[] = "{\"rules\":[{\"handle\":1,\"actions\":[\"drop\"]}]}";
	long long drops = simdsp_stat("cdsp", "drops");
	pthread_t thread;
	int fd, again;
	void *ret;

	fd = qda_open("cdsp");
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, simdsp_cmd(NULL, "script %s", drop));
	ASSERT_EQ(0, pthread_create(&thread, NULL, create_process, &fd));
	ASSERT_TRUE(simdsp_wait_stat("cdsp", "drops", drops + 1, 5000));

	ASSERT_EQ(0, go_down(variant->how, "cdsp", self->processor));
	pthread_join(thread, &ret);
	EXPECT_EQ(-EPIPE, (long)ret);
	EXPECT_TRUE(is_gone(fd));
	EXPECT_EQ(0, simdsp_cmd(NULL, "script {\"replace\":true}"));
	again = come_up(variant->how, "cdsp", self->processor);
	ASSERT_LE(0, again);
	EXPECT_TRUE(works(again));
	close(again);
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

TEST_F_TIMEOUT(restart, the_other_dsp_goes_on, 60)
{
	char processor[128] = "";
	struct listener listener;
	struct simdsp_call held;
	int cdsp, adsp, again;
	__u32 handle;

	adsp = qda_open("adsp");
	if (adsp < 0)
		SKIP(return, "this machine has no adsp");
	find_processor("adsp", processor, sizeof(processor));
	cdsp = qda_open_process("cdsp");
	ASSERT_LE(0, cdsp);
	ASSERT_EQ(0, listener_start(&listener, cdsp));
	ASSERT_TRUE(simdsp_wait_stat("cdsp", "listeners", 1, 5000));
	ASSERT_EQ(0, qda_ioctl(adsp, DRM_IOCTL_QDA_INIT_ATTACH, NULL));
	ASSERT_EQ(0, simdsp_open(adsp, &handle));
	ASSERT_EQ(0, simdsp_call_start(&held, adsp, handle, QDA_SCALARS(SIMDSP_HOLD, 0, 0), NULL));
	ASSERT_TRUE(simdsp_wait_stat("adsp", "held", 1, 5000));

	ASSERT_EQ(0, go_down(variant->how, "adsp", processor));
	EXPECT_EQ(-EPIPE, simdsp_call_join(&held));
	EXPECT_TRUE(is_gone(adsp));
	EXPECT_TRUE(works(cdsp));
	EXPECT_FALSE(simdsp_call_done(&listener.call));
	EXPECT_EQ(1, simdsp_stat("cdsp", "listeners"));

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

	EXPECT_FALSE(simdsp_call_done(&listener.call));
	EXPECT_EQ(0, simdsp_cmd(NULL, "complete-listener cdsp 0x8000040d"));
	EXPECT_EQ(DSP_ERROR(0x0d), simdsp_call_join(&listener.call));
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
