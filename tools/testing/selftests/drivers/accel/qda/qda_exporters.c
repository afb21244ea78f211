// SPDX-License-Identifier: GPL-2.0
/*
 * QDA: exporters of dma-bufs that take their time, which others don't wait for.
 */
#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dmabuf.h"
#include "fixture.h"
#include "harness.h"
#include "module.h"
#include "qda.h"
#include "simdsp.h"
#include "sysfs.h"

#define DELAY		"/sys/kernel/debug/two-views/delay_ms"
#define SIZE		65536

/* How long an exporter takes, in milliseconds, and how long others may. */
#define LONG		"3000"
#define SHORT		1500

/* The DSP holds the first call that has it echo something. */
#define HOLD_FIRST	"script {\"rules\":[{\"module\":\"simdsp\",\"method\":2,\"nth\":1,\"actions\":[\"hold\"]}]}"

FIXTURE(exporters)
{
	int fd;
	__u32 handle;
	struct qda_buf buf;
	int dmabuf;
};

FIXTURE_SETUP(exporters)
{
	self->dmabuf = -1;
	if (!fixture_setup(_metadata, &self->fd, &self->handle))
		return;
	self->dmabuf = dmabuf_alloc(HEAP_TWO_VIEWS, SIZE);
	if (self->dmabuf == -ENOENT)
		SKIP(return, "needs the module qda_two_views");
	ASSERT_LE(0, self->dmabuf);
	self->buf = (struct qda_buf) { .fd = self->fd, .size = SIZE };
	ASSERT_EQ(0, dmabuf_import(self->fd, self->dmabuf, &self->buf.handle));
	self->buf.map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, self->dmabuf, 0);
	ASSERT_NE(MAP_FAILED, (void *)self->buf.map);
}

FIXTURE_TEARDOWN(exporters)
{
	if (self->dmabuf >= 0) {
		sysfs_write(DELAY, "0");
		qda_buf_free(&self->buf);
		close(self->dmabuf);
	}
	fixture_teardown(_metadata, self->fd);
}

/* What does not use the buffer. */

static int same_process(int fd, __u32 handle)
{
	__u32 in = 0x600d, out = 0;

	return simdsp_echo(fd, handle, &in, &out, sizeof(in)) ?: in == out ? 0 : -EBADMSG;
}

static int another_buffer(int fd, __u32 handle)
{
	struct qda_buf buf;
	int ret = qda_buf_new(fd, SIZE, &buf);

	if (ret)
		return ret;
	ret = simdsp_echo_buf(fd, handle, &buf, 0, &buf, SIZE / 2, SIZE / 2);
	qda_buf_free(&buf);
	return ret;
}

static int another_process(int fd, __u32 handle)
{
	int other = qda_open_process("cdsp"), ret;
	__u32 module;

	if (other < 0)
		return other;
	ret = simdsp_open(other, &module);
	ret = ret ?: same_process(other, module);
	close(other);
	return ret;
}

static int another_dsp(int fd, __u32 handle)
{
	int other = qda_open("adsp"), ret;

	if (other < 0)
		return 0;
	ret = qda_session_kind(other, QDA_SESSION_ROOT);
	close(other);
	return ret;
}

static const struct {
	const char *name;
	int (*run)(int fd, __u32 handle);
} others[] = {
	{ "another DSP", another_dsp },
	{ "another process", another_process },
	{ "another buffer", another_buffer },
	{ "the same process", same_process },
};

static void nobody_waits(struct __test_metadata *_metadata, int fd, __u32 handle)
{
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		long long begin = qda_now_ms(), took;

		EXPECT_EQ(0, others[i].run(fd, handle));
		took = qda_now_ms() - begin;
		if (took > SHORT)
			TH_LOG("%s took %lld ms", others[i].name, took);
		EXPECT_LT(took, SHORT);
	}
}

/* What a thread of its own does with the buffer. */
struct user {
	pthread_t thread;
	int fd;
	__u32 handle;
	const struct qda_buf *buf;
	int ret;
	bool done;
};

static int call_with(struct user *user)
{
	return simdsp_echo_buf(user->fd, user->handle, user->buf, 0, user->buf, SIZE / 2,
			       SIZE / 2);
}

static void *calls(void *arg)
{
	struct user *user = arg;

	user->ret = call_with(user);
	__atomic_store_n(&user->done, true, __ATOMIC_RELEASE);
	return NULL;
}

static void *maps(void *arg)
{
	struct user *user = arg;
	struct drm_qda_mem_map map = {
		.request = QDA_MAP_REQUEST_ATTR, .flags = QDA_MAP_FD, .handle = user->buf->handle,
		.vaddrin = (uintptr_t)user->buf->map, .size = SIZE,
	};

	user->ret = qda_ioctl(user->fd, DRM_IOCTL_QDA_MAP, &map);
	__atomic_store_n(&user->done, true, __ATOMIC_RELEASE);
	return NULL;
}

static bool is_done(struct user *user)
{
	return __atomic_load_n(&user->done, __ATOMIC_ACQUIRE);
}

/* Waits until the exporter takes its time. Return: whether it does. */
static bool is_delayed(struct user *user)
{
	for (int i = 0; i < 500 && !is_done(user); i++) {
		if (dmabuf_views("delayed") > 0)
			return true;
		usleep(10000);
	}
	return false;
}

/* Has a thread use the buffer while its exporter is slow. */
static void use_slowly(struct __test_metadata *_metadata, struct user *user,
		       void *(*use)(void *arg))
{
	ASSERT_EQ(0, sysfs_write(DELAY, LONG));
	ASSERT_EQ(0, pthread_create(&user->thread, NULL, use, user));
	if (is_delayed(user)) {
		/* Only this time. */
		ASSERT_EQ(0, sysfs_write(DELAY, "0"));
		nobody_waits(_metadata, user->fd, user->handle);
		EXPECT_FALSE(is_done(user));
	}
	ASSERT_EQ(0, sysfs_write(DELAY, "0"));
	pthread_join(user->thread, NULL);
	EXPECT_EQ(0, user->ret);
}

TEST_F(exporters, slow_in_a_call)
{
	struct user user = { .fd = self->fd, .handle = self->handle, .buf = &self->buf };

	use_slowly(_metadata, &user, calls);
}

TEST_F(exporters, slow_in_a_later_call)
{
	struct user user = { .fd = self->fd, .handle = self->handle, .buf = &self->buf };

	/* It may be mapped already. */
	ASSERT_EQ(0, call_with(&user));
	use_slowly(_metadata, &user, calls);
}

TEST_F(exporters, slow_in_an_answered_call)
{
	struct user user = { .fd = self->fd, .handle = self->handle, .buf = &self->buf };

	ASSERT_EQ(0, simdsp_cmd(NULL, HOLD_FIRST));
	ASSERT_EQ(0, pthread_create(&user.thread, NULL, calls, &user));
	ASSERT_TRUE(simdsp_wait_stat("cdsp", "held", 1, 5000));
	ASSERT_EQ(0, sysfs_write(DELAY, LONG));
	ASSERT_EQ(0, simdsp_cmd(NULL, "release-held cdsp"));
	if (is_delayed(&user)) {
		ASSERT_EQ(0, sysfs_write(DELAY, "0"));
		nobody_waits(_metadata, self->fd, self->handle);
	}
	ASSERT_EQ(0, sysfs_write(DELAY, "0"));
	pthread_join(user.thread, NULL);
	EXPECT_EQ(0, user.ret);
}

TEST_F(exporters, slow_to_be_mapped)
{
	struct user user = { .fd = self->fd, .handle = self->handle, .buf = &self->buf };

	use_slowly(_metadata, &user, maps);
}

TEST_HARNESS_MAIN
