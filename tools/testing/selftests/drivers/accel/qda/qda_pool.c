// SPDX-License-Identifier: GPL-2.0
/*
 * QDA: buffers for banks that are not behind an IOMMU. Boards without such a bank have nothing to
 * test here.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "dmabuf.h"
#include "harness.h"
#include "module.h"
#include "qda.h"
#include "simdsp.h"

#define MAX_BANKS	32

FIXTURE(pool)
{
	/* Processes of a DSP; the last one is in a bank that is not behind an IOMMU. */
	int fds[MAX_BANKS];
	int fd;
	const char *dsp;
	__u32 handle;
	size_t size;
};

/* Makes a process of whatever kind the DSP has. Return: a file, or -errno. */
static int open_any(const char *dsp)
{
	int fd = qda_open_process(dsp);

	if (fd != -ECONNREFUSED)
		return fd;
	fd = qda_open(dsp);
	if (fd >= 0 && qda_session_kind(fd, QDA_SESSION_ROOT)) {
		close(fd);
		return -EACCES;
	}
	return fd;
}

static void close_all(int *fds)
{
	for (int i = 0; i < MAX_BANKS; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
		fds[i] = -1;
	}
}

/* Makes processes of a DSP until one is in a bank that is not behind an IOMMU. */
static int open_physical(const char *dsp, int *fds, __u32 *handle)
{
	for (int i = 0; i < qda_banks(dsp) && i < MAX_BANKS; i++) {
		struct simdsp_info info;
		int ret;

		if (fds[i] >= 0)
			close(fds[i]);
		fds[i] = open_any(dsp);
		if (fds[i] < 0)
			return fds[i];
		ret = simdsp_open(fds[i], handle) ?: simdsp_info(fds[i], *handle, &info);
		if (ret)
			return ret < 0 ? ret : -EREMOTEIO;
		if (qda_stream_id(dsp, info.bank) < 0)
			return fds[i];
	}
	return -ENOENT;
}

FIXTURE_SETUP(pool)
{
	static const char * const dsps[] = { "cdsp", "sdsp" };
	const char *why = qda_test_begin("pool", _metadata->name, true);

	memset(self->fds, -1, sizeof(self->fds));
	self->fd = -1;
	self->size = 16 * qda_page_size();
	if (why)
		SKIP(return, "%s", why);
	for (size_t i = 0; i < ARRAY_SIZE(dsps) && self->fd < 0; i++) {
		self->dsp = dsps[i];
		self->fd = open_physical(self->dsp, self->fds, &self->handle);
		if (self->fd != -ENOENT)
			ASSERT_LE(0, self->fd);
	}
	if (self->fd < 0)
		SKIP(return, "every bank is behind an IOMMU");
}

FIXTURE_TEARDOWN(pool)
{
	close_all(self->fds);
	EXPECT_EQ(0, qda_test_end());
}

TEST_F(pool, contiguous_by_default)
{
	struct drm_qda_buffer_create args = { .size = self->size };
	struct qda_buf in, out;

	ASSERT_EQ(0, qda_ioctl(self->fd, DRM_IOCTL_QDA_BUFFER_CREATE, &args));
	EXPECT_EQ(QDA_BUFFER_POOL, args.flags);
	EXPECT_EQ(0, qda_gem_close(self->fd, args.handle));

	for (int i = 0; i < 5; i++) {
		ASSERT_EQ(0, qda_buf_new(self->fd, self->size, &in));
		ASSERT_EQ(0, qda_buf_new(self->fd, self->size, &out));
		EXPECT_TRUE(qda_all(in.map, self->size, 0));
		qda_fill(in.map, self->size, i);
		ASSERT_EQ(0, simdsp_echo_buf(self->fd, self->handle, &in, 0, &out, 0, self->size));
		EXPECT_TRUE(qda_filled(out.map, self->size, i));
		qda_buf_free(&in);
		qda_buf_free(&out);
	}
}

TEST_F(pool, middle_of_a_mapping)
{
	struct qda_buf buf;
	struct drm_qda_invoke_arg args[2];

	ASSERT_EQ(0, qda_buf_new(self->fd, self->size, &buf));
	qda_fill(buf.map, self->size, 7);
	args[0] = qda_ref(&buf, 5001, 3000);
	args[1] = qda_ref(&buf, self->size - 3001, 3000);
	ASSERT_EQ(0, qda_invoke(self->fd, self->handle, QDA_SCALARS(SIMDSP_ECHO, 1, 1), args));
	EXPECT_EQ(0, memcmp(buf.map + 5001, buf.map + self->size - 3001, 3000));
	/* One that was cut in two by munmap(). */
	EXPECT_EQ(0, munmap(buf.map, qda_page_size()));
	args[0] = qda_ref(&buf, qda_page_size() + 1, 100);
	ASSERT_EQ(0, qda_invoke(self->fd, self->handle, QDA_SCALARS(SIMDSP_ECHO, 1, 1),
				(struct drm_qda_invoke_arg []) {
					args[0], qda_ref(&buf, 2 * qda_page_size(), 100) }));
	EXPECT_EQ(0, memcmp(buf.map + qda_page_size() + 1, buf.map + 2 * qda_page_size(), 100));
	munmap(buf.map + qda_page_size(), buf.size - qda_page_size());
	EXPECT_EQ(0, qda_gem_close(self->fd, buf.handle));
}

TEST_F(pool, scattered_pages_are_refused)
{
	struct qda_buf in = { .size = self->size }, out;
	struct drm_qda_mem_map map = {
		.request = QDA_MAP_REQUEST_ATTR, .flags = QDA_MAP_FD, .size = self->size,
	};
	int dmabuf;

	ASSERT_EQ(0, qda_buf_new(self->fd, self->size, &out));
	for (int i = 0; i < 3; i++) {
		dmabuf = dmabuf_udmabuf(self->size);
		ASSERT_LE(0, dmabuf);
		ASSERT_EQ(0, dmabuf_import(self->fd, dmabuf, &in.handle));
		in.map = mmap(NULL, self->size, PROT_READ | PROT_WRITE, MAP_SHARED, dmabuf, 0);
		ASSERT_NE(MAP_FAILED, (void *)in.map);
		EXPECT_EQ(-EOPNOTSUPP, simdsp_echo_buf(self->fd, self->handle, &in, 0, &out, 0,
						       self->size));
		map.handle = in.handle;
		EXPECT_EQ(-EOPNOTSUPP, qda_ioctl(self->fd, DRM_IOCTL_QDA_MAP, &map));
		munmap(in.map, self->size);
		EXPECT_EQ(0, qda_gem_close(self->fd, in.handle));
		close(dmabuf);
	}
	qda_buf_free(&out);
}

TEST_F(pool, memory_out_of_reach_is_refused)
{
	struct qda_buf far = { .size = qda_page_size() }, out;
	struct drm_qda_mem_map map = {
		.request = QDA_MAP_REQUEST_ATTR, .flags = QDA_MAP_FD, .size = far.size,
	};
	struct sysinfo info;
	int dmabuf;

	ASSERT_EQ(0, sysinfo(&info));
	if ((__u64)info.totalram * info.mem_unit <= 4ULL << 30)
		SKIP(return, "the DSP can address all memory that there is");

	/* The driver's own is where the DSP can use it. */
	ASSERT_EQ(0, qda_buf_new(self->fd, self->size, &out));
	ASSERT_EQ(0, simdsp_echo_buf(self->fd, self->handle, &out, 0, &out, self->size / 2, 100));

	/* One page is contiguous; that of another is above, as long as there are some. */
	dmabuf = dmabuf_heap(far.size);
	ASSERT_LE(0, dmabuf);
	ASSERT_EQ(0, dmabuf_import(self->fd, dmabuf, &far.handle));
	far.map = mmap(NULL, far.size, PROT_READ | PROT_WRITE, MAP_SHARED, dmabuf, 0);
	ASSERT_NE(MAP_FAILED, (void *)far.map);
	EXPECT_EQ(-EOPNOTSUPP, simdsp_echo_buf(self->fd, self->handle, &far, 0, &out, 0, 100));
	map.handle = far.handle;
	EXPECT_EQ(-EOPNOTSUPP, qda_ioctl(self->fd, DRM_IOCTL_QDA_MAP, &map));
	munmap(far.map, far.size);
	EXPECT_EQ(0, qda_gem_close(self->fd, far.handle));
	close(dmabuf);
	qda_buf_free(&out);
}

TEST_F(pool, export)
{
	struct qda_buf buf, view;
	int dmabuf;

	ASSERT_EQ(0, qda_buf_new(self->fd, self->size, &buf));
	dmabuf = dmabuf_export(self->fd, buf.handle);
	/* Memory that the kernel has no pages for can't be shared, and says so. */
	if (dmabuf == -EOPNOTSUPP) {
		EXPECT_EQ(-EOPNOTSUPP, dmabuf_export(self->fd, buf.handle));
		qda_buf_free(&buf);
		return;
	}
	ASSERT_LE(0, dmabuf);
	view = buf;
	view.map = mmap(NULL, self->size, PROT_READ | PROT_WRITE, MAP_SHARED, dmabuf, 0);
	ASSERT_NE(MAP_FAILED, (void *)view.map);
	qda_fill(buf.map, self->size, 11);
	EXPECT_TRUE(qda_filled(view.map, self->size, 11));
	EXPECT_EQ(0, simdsp_echo_buf(self->fd, self->handle, &view, 0, &buf, 0, self->size));
	munmap(view.map, self->size);
	close(dmabuf);
	qda_buf_free(&buf);
}

/* Where the DSP has a buffer, by a call that it holds. Return: 0 or -errno. */
static int find_buffer(const char *dsp, int fd, __u32 handle, const struct qda_buf *buf,
		       __u64 *address)
{
	struct drm_qda_invoke_arg arg = qda_ref(buf, 0, buf->size);
	unsigned long long found = 0;
	struct simdsp_call call;
	char line[SIMDSP_LINE];
	const char *args;
	int ret;

	ret = simdsp_call_start(&call, fd, handle, QDA_SCALARS(SIMDSP_HOLD, 1, 0), &arg);
	if (ret)
		return ret;
	if (!simdsp_wait_stat(dsp, "held", 1, 5000))
		ret = -ETIMEDOUT;
	ret = ret ?: simdsp_cmd(line, "calls %s", dsp);
	ret = ret ?: simdsp_next_line(line);
	args = ret ? NULL : strstr(line, " args ");
	if (!args || sscanf(args, " args 1 %llx", &found) != 1)
		ret = -EPROTO;
	ret = simdsp_cmd(NULL, "release-held %s 0", dsp) ?: ret;
	*address = found;
	return simdsp_call_join(&call) ?: ret;
}

/* Whether the kernel has said something that has @text in it. */
static bool has_said(int log, const char *text)
{
	char line[8192];
	bool found = false;

	for (;;) {
		ssize_t len = read(log, line, sizeof(line) - 1);

		if (len < 0 && (errno == EINTR || errno == EPIPE))
			continue;
		if (len < 0)
			return found;
		line[len] = '\0';
		found = found || strstr(line, text);
	}
}

TEST_F_TIMEOUT(pool, left_to_a_process_that_may_live_on, 60)
{
	/*
	 * The driver is taken away, the DSP lives, and does not say that it has ended a process:
	 * what that had is nobody else's ever after.
	 */
	static const char never_ends[] =
		"{\"rules\":[{\"handle\":1,\"method\":1,\"actions\":[\"hold\"]}]}";
	struct qda_buf buf, next[8];
	__u64 old, address;
	int log;

	log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	ASSERT_LE(0, log);
	lseek(log, 0, SEEK_END);
	ASSERT_EQ(0, qda_buf_new(self->fd, self->size, &buf));
	ASSERT_EQ(0, find_buffer(self->dsp, self->fd, self->handle, &buf, &old));
	ASSERT_EQ(0, simdsp_cmd(NULL, "allow missing-release"));
	ASSERT_EQ(0, simdsp_cmd(NULL, "script %s", never_ends));
	EXPECT_EQ(0, qda_rebind(self->dsp));
	ASSERT_EQ(0, simdsp_cmd(NULL, "script {\"replace\":true}"));
	/* Nothing of this side holds it any more. */
	qda_buf_free(&buf);
	close_all(self->fds);
	EXPECT_TRUE(has_said(log, " bytes are lost"));
	close(log);

	self->fd = open_physical(self->dsp, self->fds, &self->handle);
	ASSERT_LE(0, self->fd);
	for (size_t i = 0; i < ARRAY_SIZE(next); i++) {
		ASSERT_EQ(0, qda_buf_new(self->fd, self->size, &next[i]));
		ASSERT_EQ(0, find_buffer(self->dsp, self->fd, self->handle, &next[i], &address));
		EXPECT_TRUE(address + self->size <= old || old + self->size <= address);
	}
	for (size_t i = 0; i < ARRAY_SIZE(next); i++)
		qda_buf_free(&next[i]);
}

TEST_HARNESS_MAIN
