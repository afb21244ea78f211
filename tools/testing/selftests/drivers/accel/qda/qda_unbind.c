// SPDX-License-Identifier: GPL-2.0
/*
 * QDA: the driver leaves a DSP while programs use it, and comes back.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "kselftest_harness.h"

#include "child.h"
#include "module.h"
#include "qda.h"
#include "simdsp.h"

#define BUS	"/sys/bus/rpmsg"
#define DRIVER	BUS "/drivers/qda"

/* Unbinding waits for the DSP, but not for ever. */
#define BOUND_MS	10000

static int write_text(const char *path, const char *text)
{
	int fd, ret;

	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = write(fd, text, strlen(text)) < 0 ? -errno : 0;
	close(fd);
	return ret;
}

FIXTURE(unbind)
{
	char device[256];
	bool unbound;
};

FIXTURE_SETUP(unbind)
{
	const char *why = qda_test_begin("unbind", _metadata->name, true);

	if (why)
		SKIP(return, "%s", why);
	/* After a test that failed, the channel may be on its way back. */
	for (int i = 0; i < 500 && !self->device[0]; i++) {
		if (!qda_rpmsg_device("cdsp", self->device, sizeof(self->device)))
			usleep(10000);
	}
	ASSERT_NE(0, self->device[0]);
	/* The driver comes back when the test says so. */
	ASSERT_EQ(0, write_text(BUS "/drivers_autoprobe", "0"));
}

static int unbind_child(struct child *parent, void *arg)
{
	child_tell(parent, write_text(DRIVER "/unbind", arg));
	return 0;
}

/* Unbinds from another process, so that a driver that hangs doesn't take the test along. */
static int unbind(char *device)
{
	struct child child;
	int ret;

	ret = child_start(&child, unbind_child, device);
	if (ret)
		return ret;
	ret = child_hear(&child, BOUND_MS);
	/* One that hangs can't be killed either. */
	if (ret != -ETIMEDOUT)
		child_wait(&child, 1000);
	return ret;
}

/*
 * Binds again. The channel closed with the driver, and the DSP offers it anew in its own time; the
 * driver core may put the probe off (EAGAIN) and make up for it, before or after the next try.
 */
static int bind_again(const char *device)
{
	bool deferred = false;
	int ret = -ENODEV;

	for (int i = 0; i < 1000; i++) {
		usleep(10000);
		ret = write_text(DRIVER "/bind", device);
		if (ret == -EAGAIN)
			deferred = true;
		else if (ret != -ENODEV)
			break;
	}
	return deferred && ret == -EBUSY ? 0 : ret;
}

/* Binds again and makes a process. Return: its file, or -errno. */
static int rebind(const char *device)
{
	return bind_again(device) ?: qda_open_process("cdsp");
}

FIXTURE_TEARDOWN(unbind)
{
	if (self->unbound)
		EXPECT_EQ(0, bind_again(self->device));
	EXPECT_EQ(0, write_text(BUS "/drivers_autoprobe", "1"));
	EXPECT_EQ(0, qda_test_end());
}

static bool works(int fd)
{
	__u32 handle, in = 0x5555, out = 0;

	return !simdsp_open(fd, &handle) && !simdsp_echo(fd, handle, &in, &out, 4) && in == out;
}

TEST_F(unbind, idle)
{
	int fd;

	ASSERT_EQ(0, unbind(self->device));
	self->unbound = true;
	EXPECT_EQ(-ENODEV, qda_open("cdsp"));
	fd = rebind(self->device);
	ASSERT_LE(0, fd);
	self->unbound = false;
	EXPECT_TRUE(works(fd));
	close(fd);
}

TEST_F_TIMEOUT(unbind, with_open_files, 60)
{
	struct drm_qda_query query = { .query_type = QDA_QUERY_DSP_NAME };
	struct drm_qda_gem_create create = { .size = 4096 };
	long long releases = simdsp_stat("cdsp", "releases");
	long long drops = simdsp_stat("cdsp", "drops");
	/* The DSP answers a call that it forgot about not even when its process ends. */
	static const char forget[] =
		"{\"rules\":[{\"module\":\"simdsp\",\"method\":11,\"actions\":[\"drop\"]}]}";
	struct drm_qda_invoke_arg arg;
	struct simdsp_call call, forgotten;
	struct qda_buf buf;
	__u32 handle, other;
	int fd, idle, again, ret;
	__u64 banks;
	__s32 status;

	idle = qda_open("cdsp");
	fd = qda_open_process("cdsp");
	ASSERT_LE(0, idle);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, simdsp_open(fd, &handle));
	ASSERT_EQ(0, qda_buf_new(fd, 65536, &buf));
	arg = qda_ref(&buf, 0, 65536);
	ASSERT_EQ(0, simdsp_call_start(&call, fd, handle, QDA_SCALARS(SIMDSP_HOLD, 1, 0), &arg));
	ASSERT_TRUE(simdsp_wait_stat("cdsp", "held", 1, 5000));

	ASSERT_EQ(0, simdsp_cmd(NULL, "script %s", forget));
	ASSERT_EQ(0, simdsp_call_start(&forgotten, fd, handle, QDA_SCALARS(SIMDSP_INVERT, 0, 0),
				       NULL));
	ASSERT_TRUE(simdsp_wait_stat("cdsp", "drops", drops + 1, 5000));

	ASSERT_EQ(0, unbind(self->device));
	self->unbound = true;
	/* The DSP was told that its process ends; the callers learn of it, one way or the other. */
	EXPECT_EQ(releases + 1, simdsp_stat("cdsp", "releases"));
	for (int i = 0; i < 500 && !(simdsp_call_done(&call) && simdsp_call_done(&forgotten)); i++)
		usleep(10000);
	ASSERT_TRUE(simdsp_call_done(&call));
	ASSERT_TRUE(simdsp_call_done(&forgotten));
	ret = simdsp_call_join(&call);
	EXPECT_TRUE(ret == DSP_ERROR(0x0d) || ret == -EPIPE);
	EXPECT_EQ(-EPIPE, simdsp_call_join(&forgotten));

	/* Files that are still open: every ioctl says that the device is gone. */
	EXPECT_EQ(-ENODEV, qda_ioctl(fd, DRM_IOCTL_QDA_QUERY, &query));
	EXPECT_EQ(-ENODEV, qda_ioctl(fd, DRM_IOCTL_QDA_GEM_CREATE, &create));
	EXPECT_EQ(-ENODEV, simdsp_open(fd, &other));
	EXPECT_EQ(-ENODEV, qda_create(idle));
	EXPECT_EQ(-ENODEV, qda_session_kind(idle, QDA_SESSION_ROOT));
	EXPECT_EQ(-ENODEV, qda_param(idle, QDA_PARAM_BANKS, 0, &banks));
	EXPECT_EQ(-ENODEV, qda_param(idle, QDA_PARAM_DSP_ATTRIBUTE, 6, &banks));
	EXPECT_EQ(-ENODEV, qda_call(fd, handle, 0, NULL, &status));
	EXPECT_EQ(-ENODEV, qda_ioctl(idle, DRM_IO(DRM_COMMAND_END - 1), NULL));
	/* Memory is the program's as long as it is mapped. */
	memset(buf.map, 0x33, buf.size);
	EXPECT_TRUE(qda_all(buf.map, buf.size, 0x33));
	EXPECT_EQ(-ENODEV, qda_open("cdsp"));

	again = rebind(self->device);
	ASSERT_LE(0, again);
	self->unbound = false;
	EXPECT_TRUE(works(again));
	/* The old files stay with what is gone. */
	EXPECT_EQ(-ENODEV, simdsp_open(fd, &other));
	munmap(buf.map, buf.size);
	close(fd);
	close(idle);
	EXPECT_TRUE(works(again));
	close(again);
}

TEST_F_TIMEOUT(unbind, while_the_other_dsp_listens, 60)
{
	/* A call that may never end, on one DSP, must not keep the other from going. */
	struct listener listener;
	int adsp = qda_open("adsp"), fd;
	long long start;

	if (adsp < 0)
		SKIP(return, "this machine has no adsp");
	ASSERT_EQ(0, qda_ioctl(adsp, DRM_IOCTL_QDA_INIT_ATTACH, NULL));
	ASSERT_EQ(0, listener_start(&listener, adsp));
	ASSERT_TRUE(simdsp_wait_stat("adsp", "listeners", 1, 5000));

	start = qda_now_ms();
	ASSERT_EQ(0, unbind(self->device));
	EXPECT_GT(BOUND_MS, qda_now_ms() - start);
	self->unbound = true;
	EXPECT_FALSE(simdsp_call_done(&listener.call));
	EXPECT_EQ(1, simdsp_stat("adsp", "listeners"));
	EXPECT_TRUE(works(adsp));

	fd = rebind(self->device);
	ASSERT_LE(0, fd);
	self->unbound = false;
	EXPECT_TRUE(works(fd));
	close(fd);
	EXPECT_EQ(0, simdsp_cmd(NULL, "complete-listener adsp 0x8000040d"));
	EXPECT_EQ(DSP_ERROR(0x0d), simdsp_call_join(&listener.call));
	close(adsp);
}

TEST_F_TIMEOUT(unbind, again_and_again, 90)
{
	for (int i = 0; i < 10; i++) {
		int fd;

		ASSERT_EQ(0, unbind(self->device));
		self->unbound = true;
		fd = rebind(self->device);
		ASSERT_LE(0, fd);
		self->unbound = false;
		EXPECT_TRUE(works(fd));
		/* Every other time with the file open. */
		if (i % 2)
			close(fd);
	}
}

TEST_HARNESS_MAIN
