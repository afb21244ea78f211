// SPDX-License-Identifier: GPL-2.0
/*
 * QDA: DSP processes. Making them, being refused, sharing them, ending them.
 */
#include <errno.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "child.h"
#include "dmabuf.h"
#include "harness.h"
#include "module.h"
#include "qda.h"
#include "simdsp.h"

#define NOBODY		65534
#define MAX_CHILDREN	16

FIXTURE(session)
{
	int fd;
};

FIXTURE_SETUP(session)
{
	const char *why = qda_test_begin("session", _metadata->name, true);

	self->fd = -1;
	if (why)
		SKIP(return, "%s", why);
	self->fd = qda_open("cdsp");
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(session)
{
	close(self->fd);
	EXPECT_EQ(0, qda_test_end());
}

/* Something that starts as a program for the DSP does. */
static void fill_elf(void *ptr, size_t len)
{
	qda_fill(ptr, len, 42);
	qda_shell_header(ptr);
}

static int create(int fd, struct drm_qda_init_create arg)
{
	return qda_ioctl(fd, DRM_IOCTL_QDA_INIT_CREATE, &arg);
}

static int attach(int fd)
{
	return qda_ioctl(fd, DRM_IOCTL_QDA_INIT_ATTACH, NULL);
}

/* Whether calls work. */
static bool alive(int fd)
{
	__u32 handle, in = 0x1234, out = 0;

	return !simdsp_open(fd, &handle) && !simdsp_echo(fd, handle, &in, &out, 4) && in == out;
}

TEST_F(session, attach)
{
	long long attaches = simdsp_stat("cdsp", "attaches");
	long long releases = simdsp_stat("cdsp", "releases");

	ASSERT_EQ(0, attach(self->fd));
	EXPECT_EQ(attaches + 1, simdsp_stat("cdsp", "attaches"));
	EXPECT_TRUE(alive(self->fd));
	close(self->fd);
	self->fd = -1;
	EXPECT_TRUE(simdsp_wait_stat("cdsp", "releases", releases + 1, 2000));
}

TEST_F(session, create_without_image)
{
	/* Without a length neither the handle nor the address is looked at. */
	static const struct drm_qda_init_create args[] = {
		{ .attrs = QDA_PROC_ATTR_UNSIGNED },
		{ .attrs = QDA_PROC_ATTR_UNSIGNED, .filehandle = -1 },
		{ .attrs = QDA_PROC_ATTR_UNSIGNED, .filehandle = 12345 },
		{ .attrs = QDA_PROC_ATTR_UNSIGNED, .file = 8 },
		{ .attrs = QDA_PROC_ATTR_UNSIGNED, .file = ~0ULL, .filehandle = 77 },
	};
	long long creates = simdsp_stat("cdsp", "creates");

	for (size_t i = 0; i < ARRAY_SIZE(args); i++) {
		int fd = qda_open("cdsp");

		ASSERT_LE(0, fd);
		EXPECT_EQ(0, create(fd, args[i]));
		EXPECT_TRUE(alive(fd));
		close(fd);
		EXPECT_EQ(creates + i + 1, simdsp_stat("cdsp", "creates"));
	}
}

TEST_F(session, create_from_buffer)
{
	struct drm_qda_init_create arg = { .attrs = QDA_PROC_ATTR_UNSIGNED, .filelen = 100001 };
	struct qda_buf buf;

	ASSERT_EQ(0, qda_buf_new(self->fd, arg.filelen, &buf));
	fill_elf(buf.map, arg.filelen);
	arg.filehandle = buf.handle;
	arg.file = 8;
	ASSERT_EQ(0, create(self->fd, arg));
	/* The process keeps its image, whatever becomes of the handle. */
	qda_buf_free(&buf);
	EXPECT_LE(arg.filelen, simdsp_stat("cdsp", "mappings"));
	EXPECT_TRUE(alive(self->fd));
	close(self->fd);
	self->fd = -1;
	EXPECT_TRUE(simdsp_wait_stat("cdsp", "mappings", 0, 2000));
}

TEST_F(session, create_from_part_of_buffer)
{
	struct drm_qda_init_create arg = { .attrs = QDA_PROC_ATTR_UNSIGNED, .filelen = 5000 };
	size_t offset = 3 * qda_page_size() + 128;
	struct qda_buf buf;
	int dmabuf, fd;

	/* By handle and by descriptor: the image begins where it is mapped. */
	ASSERT_EQ(0, qda_buf_new(self->fd, offset + arg.filelen, &buf));
	fill_elf(buf.map + offset, arg.filelen);
	dmabuf = dmabuf_export(self->fd, buf.handle);
	ASSERT_LT(0, dmabuf);
	arg.file = (uintptr_t)buf.map + offset;
	arg.filehandle = buf.handle;
	ASSERT_EQ(0, create(self->fd, arg));
	EXPECT_TRUE(alive(self->fd));

	fd = qda_open("cdsp");
	ASSERT_LE(0, fd);
	arg.filehandle = dmabuf;
	arg.filelen = buf.size;
	EXPECT_EQ(-EINVAL, create(fd, arg));
	arg.filelen = 5000;
	ASSERT_EQ(0, create(fd, arg));
	EXPECT_TRUE(alive(fd));
	close(fd);
	close(dmabuf);
	qda_buf_free(&buf);
}

TEST_F(session, create_from_memory)
{
	static const __u32 none[] = { 0, -1 };
	struct drm_qda_init_create arg = {
		.attrs = QDA_PROC_ATTR_UNSIGNED,
		.filelen = 100001,
		.siglen = 1000,
	};
	__u8 *image = malloc(arg.filelen + 8);

	ASSERT_NE(NULL, image);
	for (size_t i = 0; i < ARRAY_SIZE(none); i++) {
		int fd = qda_open("cdsp");

		fill_elf(image + i, arg.filelen);
		arg.filehandle = none[i];
		arg.file = (uintptr_t)image + i;
		ASSERT_LE(0, fd);
		EXPECT_EQ(0, create(fd, arg));
		EXPECT_TRUE(alive(fd));
		close(fd);
	}
	free(image);
}

TEST_F(session, create_largest_image)
{
	struct drm_qda_init_create arg = {
		.attrs = QDA_PROC_ATTR_UNSIGNED,
		.filelen = QDA_MAX_SHELL_SIZE,
		.siglen = QDA_MAX_SHELL_SIZE,
	};
	__u8 *image = malloc(arg.filelen);

	ASSERT_NE(NULL, image);
	fill_elf(image, arg.filelen);
	arg.file = (uintptr_t)image;
	EXPECT_EQ(0, create(self->fd, arg));
	free(image);
}

TEST_F(session, create_refused)
{
	/* After each refusal the file can still get its process. */
	static const char name[64] = "audiopd";
	struct drm_qda_init_create arg = { .attrs = QDA_PROC_ATTR_UNSIGNED, .filelen = 4096 };
	size_t page = qda_page_size();
	__u8 *map = mmap(NULL, 3 * page, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	long long messages = simdsp_stat("cdsp", "messages");
	struct qda_buf buf;

	ASSERT_NE(MAP_FAILED, map);
	ASSERT_EQ(0, qda_buf_new(self->fd, page, &buf));
	fill_elf(buf.map, page);
	fill_elf(map, page);

	/* A name, as the library passes for static processes, is not a program. */
	arg.file = (uintptr_t)name;
	arg.filelen = 8;
	EXPECT_EQ(-ENOEXEC, create(self->fd, arg));
	arg.filelen = 3;
	EXPECT_EQ(-ENOEXEC, create(self->fd, arg));

	arg.filelen = 4096;
	arg.file = 0;
	EXPECT_EQ(-EFAULT, create(self->fd, arg));
	arg.file = 8;
	EXPECT_EQ(-EFAULT, create(self->fd, arg));
	arg.file = 0xffff000000000000ULL;
	EXPECT_EQ(-EFAULT, create(self->fd, arg));
	/* A hole behind the first page. */
	ASSERT_EQ(0, munmap(map + page, page));
	arg.file = (uintptr_t)map;
	arg.filelen = page + 1;
	EXPECT_EQ(-EFAULT, create(self->fd, arg));

	arg.filelen = QDA_MAX_SHELL_SIZE + 1;
	EXPECT_EQ(-E2BIG, create(self->fd, arg));
	arg.filelen = ~0u;
	EXPECT_EQ(-E2BIG, create(self->fd, arg));

	arg.filelen = 4096;
	arg.siglen = 4097;
	EXPECT_EQ(-EINVAL, create(self->fd, arg));
	arg.siglen = 0;

	arg.filehandle = buf.handle;
	arg.filelen = page + 1;
	EXPECT_EQ(-EINVAL, create(self->fd, arg));
	arg.filelen = 4096;
	arg.filehandle = buf.handle + 1000;
	EXPECT_EQ(-ENOENT, create(self->fd, arg));
	arg.filehandle = buf.handle;
	qda_buf_free(&buf);
	EXPECT_EQ(-ENOENT, create(self->fd, arg));

	EXPECT_EQ(messages, simdsp_stat("cdsp", "messages"));
	EXPECT_EQ(0, qda_create(self->fd));
	EXPECT_TRUE(alive(self->fd));
	munmap(map, page);
	munmap(map + 2 * page, page);
}

TEST_F(session, second_create)
{
	int attached = qda_open("cdsp");

	ASSERT_LE(0, attached);
	ASSERT_EQ(0, qda_create(self->fd));
	EXPECT_EQ(-EEXIST, qda_create(self->fd));
	EXPECT_EQ(-EEXIST, attach(self->fd));
	EXPECT_TRUE(alive(self->fd));

	ASSERT_EQ(0, attach(attached));
	EXPECT_EQ(-EEXIST, attach(attached));
	EXPECT_EQ(-EEXIST, qda_create(attached));
	EXPECT_TRUE(alive(attached));
	close(attached);
}

TEST_F(session, invoke_before_create)
{
	long long messages = simdsp_stat("cdsp", "messages");
	__u32 handle;

	EXPECT_EQ(-ENOTCONN, qda_remote_open(self->fd, "calculator", &handle));
	EXPECT_EQ(-ENOTCONN, qda_invoke(self->fd, 1000, 0, NULL));
	EXPECT_EQ(messages, simdsp_stat("cdsp", "messages"));
}

TEST_F(session, unsigned_process_on_adsp)
{
	int fd = qda_open("adsp");

	if (fd < 0)
		SKIP(return, "this machine has no adsp");
	EXPECT_EQ(-ECONNREFUSED, qda_create(fd));
	EXPECT_EQ(0, attach(fd));
	close(fd);
}

/* Tells how each way to get a DSP process ends for a user without privilege. */
static int unprivileged(struct child *parent, void *arg)
{
	static const struct drm_qda_init_create ways[] = {
		[1] = { .attrs = 0 },
		[2] = { .attrs = QDA_PROC_ATTR_UNSIGNED | QDA_PROC_ATTR_PRIVILEGED },
		[3] = { .attrs = QDA_PROC_ATTR_UNSIGNED },
	};
	int fds[4];

	for (int i = 0; i < 4; i++) {
		fds[i] = qda_open(arg);
		if (fds[i] < 0)
			return 1;
	}
	if (setgid(NOBODY) || setuid(NOBODY))
		return 2;
	for (int i = 0; i < 4; i++) {
		child_tell(parent, i ? create(fds[i], ways[i]) : attach(fds[i]));
		close(fds[i]);
	}
	return 0;
}

TEST_F(session, without_privilege)
{
	static char *const dsps[] = { "cdsp", "adsp" };

	for (size_t i = 0; i < ARRAY_SIZE(dsps); i++) {
		bool secure = !qda_of_bool(dsps[i], "qcom,non-secure-domain");
		bool has_unsigned = dsps[i][0] == 'c';
		struct child child;
		int fd = qda_open(dsps[i]);

		if (fd < 0)
			continue;
		close(fd);
		TH_LOG("%s is %ssecure", dsps[i], secure ? "" : "not ");
		ASSERT_EQ(0, child_start(&child, unprivileged, dsps[i]));
		EXPECT_EQ(secure ? -EACCES : 0, child_hear(&child, 5000));
		EXPECT_EQ(secure ? -ECONNREFUSED : 0, child_hear(&child, 5000));
		EXPECT_EQ(secure || !has_unsigned ? -ECONNREFUSED : 0, child_hear(&child, 5000));
		/* An unsigned process needs nothing but the node. */
		EXPECT_EQ(has_unsigned ? 0 : -ECONNREFUSED, child_hear(&child, 5000));
		EXPECT_EQ(0, child_wait(&child, 5000));
	}
}

TEST_F(session, signed_process)
{
	/* The test is privileged. */
	EXPECT_EQ(0, create(self->fd, (struct drm_qda_init_create) { .filehandle = -1 }));
	EXPECT_TRUE(alive(self->fd));
}

TEST_F(session, close_releases)
{
	long long processes = simdsp_stat("cdsp", "processes");
	long long releases = simdsp_stat("cdsp", "releases");

	ASSERT_EQ(0, qda_create(self->fd));
	EXPECT_EQ(processes + 1, simdsp_stat("cdsp", "processes"));
	EXPECT_EQ(releases, simdsp_stat("cdsp", "releases"));
	close(self->fd);
	self->fd = -1;
	EXPECT_TRUE(simdsp_wait_stat("cdsp", "processes", processes, 2000));
	EXPECT_EQ(releases + 1, simdsp_stat("cdsp", "releases"));
}

TEST_F(session, close_without_process_says_nothing)
{
	long long messages = simdsp_stat("cdsp", "messages");

	close(self->fd);
	self->fd = -1;
	usleep(50000);
	EXPECT_EQ(messages, simdsp_stat("cdsp", "messages"));
}

TEST_F(session, ended_by_exit)
{
	/* As close_releases, but nobody calls close(). */
	long long releases = simdsp_stat("cdsp", "releases");
	int status;
	pid_t pid = fork();

	ASSERT_LE(0, pid);
	if (!pid) {
		int fd = qda_open_process("cdsp");

		_exit(fd < 0 || !alive(fd));
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_TRUE(simdsp_wait_stat("cdsp", "releases", releases + 1, 2000));
}

TEST_F(session, shared_by_dup_and_fork)
{
	long long releases = simdsp_stat("cdsp", "releases");
	int copy, status;
	pid_t pid;

	ASSERT_EQ(0, qda_create(self->fd));
	copy = dup(self->fd);
	ASSERT_LE(0, copy);
	close(self->fd);
	self->fd = -1;
	EXPECT_TRUE(alive(copy));

	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(!alive(copy));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	/* The child's end did not end the process. */
	EXPECT_EQ(releases, simdsp_stat("cdsp", "releases"));
	EXPECT_TRUE(alive(copy));
	close(copy);
	EXPECT_TRUE(simdsp_wait_stat("cdsp", "releases", releases + 1, 2000));
}

static int holder(struct child *parent, void *arg)
{
	int fd = qda_open_process("cdsp");

	child_tell(parent, fd < 0 ? fd : 0);
	if (child_hear(parent, 60000) == 1 && fd >= 0)
		child_tell(parent, alive(fd) ? 0 : -EIO);
	return 0;
}

TEST_F_TIMEOUT(session, no_bank_free, 60)
{
	int banks = qda_banks("cdsp");
	struct child children[MAX_CHILDREN + 1];
	long long start;

	ASSERT_LT(0, banks);
	ASSERT_GE(MAX_CHILDREN, banks);
	/* Processes share no bank: one each while there are any, then none. */
	for (int i = 0; i < banks; i++) {
		ASSERT_EQ(0, child_start(&children[i], holder, NULL));
		ASSERT_EQ(0, child_hear(&children[i], 10000));
	}
	start = qda_now_ms();
	EXPECT_EQ(-EBUSY, qda_create(self->fd));
	EXPECT_EQ(-EBUSY, attach(self->fd));
	EXPECT_GT(qda_patience(20000), qda_now_ms() - start);

	for (int i = 0; i < banks; i++) {
		child_tell(&children[i], 1);
		EXPECT_EQ(0, child_hear(&children[i], 5000));
	}
	/* One bank given back is one that the next may have. */
	EXPECT_EQ(0, child_wait(&children[0], 5000));
	EXPECT_EQ(0, qda_create(self->fd));
	EXPECT_TRUE(alive(self->fd));
	for (int i = 1; i < banks; i++)
		EXPECT_EQ(0, child_wait(&children[i], 5000));
}

TEST_F_TIMEOUT(session, again_and_again, 60)
{
	/* Nothing is used up by sessions that ended. */
	for (int i = 0; i < 100; i++) {
		int fd = qda_open_process("cdsp");

		ASSERT_LE(0, fd);
		ASSERT_TRUE(alive(fd));
		close(fd);
	}
	EXPECT_TRUE(simdsp_wait_stat("cdsp", "processes", 0, 2000));
	EXPECT_TRUE(simdsp_wait_stat("cdsp", "mappings", 0, 2000));
}

TEST_HARNESS_MAIN
