// SPDX-License-Identifier: GPL-2.0
/*
 * QDA: buffers for banks that are not behind an IOMMU. Boards without such a bank have nothing to
 * test here.
 */
#include <errno.h>
#include <sys/mman.h>
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
		for (int j = 0; j < qda_banks(dsps[i]) && j < MAX_BANKS; j++) {
			struct simdsp_info info;

			if (self->fds[j] >= 0)
				close(self->fds[j]);
			self->fds[j] = open_any(dsps[i]);
			ASSERT_LE(0, self->fds[j]);
			ASSERT_EQ(0, simdsp_open(self->fds[j], &self->handle));
			ASSERT_EQ(0, simdsp_info(self->fds[j], self->handle, &info));
			if (qda_stream_id(dsps[i], info.bank) < 0) {
				self->fd = self->fds[j];
				break;
			}
		}
	}
	if (self->fd < 0)
		SKIP(return, "every bank is behind an IOMMU");
}

FIXTURE_TEARDOWN(pool)
{
	for (int i = 0; i < MAX_BANKS; i++) {
		if (self->fds[i] >= 0)
			close(self->fds[i]);
	}
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

TEST_HARNESS_MAIN
