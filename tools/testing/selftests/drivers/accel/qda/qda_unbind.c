// SPDX-License-Identifier: GPL-2.0
/*
 * QDA: the driver leaves a DSP while programs use it, and comes back.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "harness.h"
#include "module.h"
#include "qda.h"
#include "simdsp.h"
#include "sysfs.h"

#define BUS	"/sys/bus/rpmsg"
#define DRIVER	BUS "/drivers/qda"

/* Unbinding waits for the DSP, but not for ever. */
#define BOUND_MS	10000

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
	for (int i = 0; i < qda_patience(500) && !self->device[0]; i++) {
		if (!qda_rpmsg_device("cdsp", self->device, sizeof(self->device)))
			usleep(10000);
	}
	ASSERT_NE(0, self->device[0]);
	/* The driver comes back when the test says so. */
	ASSERT_EQ(0, sysfs_write(BUS "/drivers_autoprobe", "0"));
}

static int unbind_driver(const char *device)
{
	return sysfs_write_within(DRIVER "/unbind", device, BOUND_MS);
}

/*
 * Binds again. The channel closed with the driver, and the DSP offers it anew in its own time; the
 * driver core may put the probe off (EAGAIN) and make up for it, before or after the next try.
 */
static int bind_again(const char *device)
{
	bool deferred = false;
	int ret = -ENODEV;

	for (int i = 0; i < qda_patience(1000); i++) {
		usleep(10000);
		ret = sysfs_write(DRIVER "/bind", device);
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
	EXPECT_EQ(0, sysfs_write(BUS "/drivers_autoprobe", "1"));
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

	ASSERT_EQ(0, unbind_driver(self->device));
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

	ASSERT_EQ(0, unbind_driver(self->device));
	self->unbound = true;
	/* The DSP was told that its process ends; the callers learn of it, one way or the other. */
	EXPECT_EQ(releases + 1, simdsp_stat("cdsp", "releases"));
	for (int i = 0; i < qda_patience(500); i++) {
		if (simdsp_call_done(&call) && simdsp_call_done(&forgotten))
			break;
		usleep(10000);
	}
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

TEST_F(unbind, every_process_is_released)
{
	long long releases = simdsp_stat("cdsp", "releases");
	int fds[3], again;

	for (int i = 0; i < 3; i++) {
		fds[i] = qda_open("cdsp");
		ASSERT_LE(0, fds[i]);
	}
	/* Two that the DSP made, and one on the root process. */
	ASSERT_EQ(0, qda_create(fds[0]));
	ASSERT_EQ(0, qda_create(fds[1]));
	ASSERT_EQ(0, qda_ioctl(fds[2], DRM_IOCTL_QDA_INIT_ATTACH, NULL));
	ASSERT_EQ(3, simdsp_stat("cdsp", "processes"));

	ASSERT_EQ(0, unbind_driver(self->device));
	self->unbound = true;
	/* Before the driver let go of the channel, not when the files are closed. */
	EXPECT_EQ(releases + 3, simdsp_stat("cdsp", "releases"));
	EXPECT_EQ(0, simdsp_stat("cdsp", "processes"));
	EXPECT_EQ(0, simdsp_stat("cdsp", "mappings"));
	again = rebind(self->device);
	ASSERT_LE(0, again);
	self->unbound = false;
	for (int i = 0; i < 3; i++)
		close(fds[i]);
	EXPECT_EQ(1, simdsp_stat("cdsp", "processes"));
	EXPECT_EQ(releases + 3, simdsp_stat("cdsp", "releases"));
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
	ASSERT_EQ(0, unbind_driver(self->device));
	EXPECT_GT(qda_patience(BOUND_MS), qda_now_ms() - start);
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

		ASSERT_EQ(0, unbind_driver(self->device));
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

/* The driver as a module. */
FIXTURE(reload)
{
	int devices;
};

FIXTURE_SETUP(reload)
{
	const char *why = qda_test_begin("reload", _metadata->name, true);
	int fd = -1;

	if (why)
		SKIP(return, "%s", why);
	if (access("/sys/module/qda/initstate", F_OK))
		SKIP(return, "the driver is no module");
	/* After the test before, the channel may be on its way back. */
	for (int i = 0; i < qda_patience(500) && fd < 0; i++) {
		fd = qda_open("cdsp");
		usleep(10000);
	}
	ASSERT_LE(0, fd);
	close(fd);
	self->devices = sysfs_count("/dev/accel");
}

FIXTURE_TEARDOWN(reload)
{
	EXPECT_EQ(0, qda_test_end());
}

TEST_F_TIMEOUT(reload, in_use, 60)
{
	struct drm_prime_handle prime = { .flags = DRM_CLOEXEC | DRM_RDWR };
	int fd, idle, again;
	struct simdsp_call held;
	struct qda_buf buf;
	__u32 handle;
	void *map;

	/* A file that is merely open, and one whose call the DSP has. */
	idle = qda_open("cdsp");
	ASSERT_LE(0, idle);
	EXPECT_EQ(-EWOULDBLOCK, qda_unload());
	fd = qda_open_process("cdsp");
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, simdsp_open(fd, &handle));
	ASSERT_EQ(0, simdsp_call_start(&held, fd, handle, QDA_SCALARS(SIMDSP_HOLD, 0, 0), NULL));
	ASSERT_TRUE(simdsp_wait_stat("cdsp", "held", 1, 5000));
	EXPECT_EQ(-EWOULDBLOCK, qda_unload());
	EXPECT_FALSE(simdsp_call_done(&held));
	EXPECT_EQ(self->devices, sysfs_count("/dev/accel"));
	EXPECT_TRUE(works(fd));
	EXPECT_EQ(0, simdsp_cmd(NULL, "release-held cdsp 9"));
	EXPECT_EQ(9, simdsp_call_join(&held));

	/* A buffer that only its dma-buf holds. */
	ASSERT_EQ(0, qda_buf_new(fd, 65536, &buf));
	prime.handle = buf.handle;
	ASSERT_EQ(0, qda_ioctl(fd, DRM_IOCTL_PRIME_HANDLE_TO_FD, &prime));
	qda_fill(buf.map, buf.size, 7);
	qda_buf_free(&buf);
	close(fd);
	close(idle);
	EXPECT_EQ(-EWOULDBLOCK, qda_unload());
	EXPECT_EQ(self->devices, sysfs_count("/dev/accel"));
	map = mmap(NULL, buf.size, PROT_READ, MAP_SHARED, prime.fd, 0);
	ASSERT_NE(MAP_FAILED, map);
	close(prime.fd);
	EXPECT_EQ(-EWOULDBLOCK, qda_unload());
	EXPECT_TRUE(qda_filled(map, buf.size, 7));
	munmap(map, buf.size);

	/* The last is gone: it unloads, and loads again. */
	ASSERT_EQ(0, qda_unload());
	EXPECT_EQ(0, sysfs_count("/dev/accel"));
	ASSERT_TRUE(qda_reload(self->devices));
	again = qda_open_process("cdsp");
	ASSERT_LE(0, again);
	EXPECT_TRUE(works(again));
	close(again);
}

TEST_F_TIMEOUT(reload, again_and_again, 120)
{
	const char *wish = getenv("QDA_RELOADS");
	int reloads = wish ? atoi(wish) : 5;

	for (int i = 0; i < reloads; i++) {
		int fd = qda_open_process("cdsp");

		ASSERT_LE(0, fd);
		ASSERT_TRUE(works(fd));
		close(fd);
		ASSERT_EQ(0, qda_unload());
		ASSERT_TRUE(qda_reload(self->devices));
	}
	TH_LOG("%d reloads", reloads);
}

TEST_HARNESS_MAIN
