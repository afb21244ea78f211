// SPDX-License-Identifier: GPL-2.0
/*
 * QDA: who gets which context bank.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "dmabuf.h"
#include "harness.h"
#include "module.h"
#include "qda.h"
#include "simdsp.h"

#define BANKS		"/sys/bus/qda-compute-bank/devices"
#define MAX_BANKS	32
#define MAX_RANGES	8192
#define SIZE		65536

/* What a process that exec() made of a test is to do, see after_exec(). */
#define AFTER_EXEC	"QDA_BANKS_AFTER_EXEC"

FIXTURE(banks)
{
	int count;
	int fds[MAX_BANKS];
	unsigned int bank[MAX_BANKS];
};

FIXTURE_SETUP(banks)
{
	const char *why = qda_test_begin("banks", _metadata->name, true);
	__u64 count;

	memset(self->fds, -1, sizeof(self->fds));
	if (why)
		SKIP(return, "%s", why);
	self->fds[0] = qda_open("cdsp");
	ASSERT_LE(0, self->fds[0]);
	ASSERT_EQ(0, qda_param(self->fds[0], QDA_PARAM_BANKS, 0, &count));
	close(self->fds[0]);
	self->fds[0] = -1;
	/* The node may have banks that are of no use. */
	self->count = count;
	ASSERT_GE(qda_banks("cdsp"), self->count);
	ASSERT_LT(1, self->count);
	ASSERT_GT(MAX_BANKS, self->count);
}

FIXTURE_TEARDOWN(banks)
{
	for (int i = 0; i < MAX_BANKS; i++) {
		if (self->fds[i] >= 0)
			close(self->fds[i]);
	}
	EXPECT_EQ(0, qda_test_end());
}

/* The bank that the process of a file runs in, or -errno. */
static int bank_of(int fd)
{
	struct simdsp_info info;
	__u32 handle;
	int ret;

	ret = simdsp_open(fd, &handle) ?: simdsp_info(fd, handle, &info);
	return ret < 0 ? ret : (int)info.bank;
}

/* Makes @count processes of this client, and finds out their banks. Return: 0 or -errno. */
static int fill(int *fds, unsigned int *banks, int count)
{
	for (int i = 0; i < count; i++) {
		int bank;

		fds[i] = qda_open_process("cdsp");
		if (fds[i] < 0)
			return fds[i];
		bank = bank_of(fds[i]);
		if (bank < 0)
			return bank;
		banks[i] = bank;
	}
	return 0;
}

/* A stranger: what comes of making a process, whose number it tells, and holds until it is told. */
static int stranger(struct child *parent, void *arg)
{
	int fd = qda_open_process("cdsp");

	child_tell(parent, fd < 0 ? fd : bank_of(fd));
	child_hear(parent, 20000);
	if (fd >= 0)
		close(fd);
	return 0;
}

TEST_F(banks, one_for_each_process_while_there_are_some)
{
	ASSERT_EQ(0, fill(self->fds, self->bank, self->count));
	for (int i = 0; i < self->count; i++) {
		for (int j = 0; j < i; j++)
			EXPECT_NE(self->bank[i], self->bank[j]);
	}
}

TEST_F(banks, shared_by_one_client_when_none_is_free)
{
	int shared = 0;

	ASSERT_EQ(0, fill(self->fds, self->bank, self->count + 2));
	for (int i = 0; i < self->count; i++)
		shared += self->bank[i] == self->bank[self->count];
	EXPECT_EQ(1, shared);

	/* One that goes leaves the other where it is. */
	close(self->fds[self->count]);
	self->fds[self->count] = -1;
	for (int i = 0; i < self->count + 2; i++) {
		if (self->fds[i] >= 0)
			EXPECT_EQ((int)self->bank[i], bank_of(self->fds[i]));
	}
}

TEST_F(banks, not_shared_with_a_stranger)
{
	struct child child;

	ASSERT_EQ(0, fill(self->fds, self->bank, self->count));
	ASSERT_EQ(0, child_start(&child, stranger, NULL));
	EXPECT_EQ(-EBUSY, child_hear(&child, 15000));
	child_tell(&child, 0);
	EXPECT_EQ(0, child_wait(&child, 5000));

	/* Once one is closed there is room. */
	close(self->fds[0]);
	self->fds[0] = -1;
	ASSERT_EQ(0, child_start(&child, stranger, NULL));
	EXPECT_EQ((int)self->bank[0], child_hear(&child, 15000));
	child_tell(&child, 0);
	EXPECT_EQ(0, child_wait(&child, 5000));
}

/* In a child that inherited a file: the file's process is where it was, and a new one elsewhere. */
static int inherited(struct child *parent, void *arg)
{
	int fd = *(int *)arg, own;

	child_tell(parent, bank_of(fd));
	own = qda_open_process("cdsp");
	child_tell(parent, own < 0 ? own : bank_of(own));
	return 0;
}

TEST_F(banks, of_a_forked_child)
{
	struct child child;

	ASSERT_EQ(0, fill(self->fds, self->bank, 1));
	ASSERT_EQ(0, child_start(&child, inherited, &self->fds[0]));
	EXPECT_EQ((int)self->bank[0], child_hear(&child, 5000));
	EXPECT_NE((int)self->bank[0], child_hear(&child, 5000));
	EXPECT_EQ(0, child_wait(&child, 5000));

	/* It is another client: where the parent could share, it can't. */
	ASSERT_EQ(0, fill(self->fds + 1, self->bank + 1, self->count - 1));
	ASSERT_EQ(0, child_start(&child, inherited, &self->fds[0]));
	EXPECT_EQ((int)self->bank[0], child_hear(&child, 5000));
	EXPECT_EQ(-EBUSY, child_hear(&child, 15000));
	EXPECT_EQ(0, child_wait(&child, 5000));
}

/* The program that exec() started: it makes a process, and says in its status what came of it. */
__attribute__((constructor)) static void after_exec(void)
{
	int fd;

	if (!getenv(AFTER_EXEC))
		return;
	fd = qda_open_process("cdsp");
	_exit(fd >= 0 ? 0 : -fd);
}

/* Takes the last bank, keeps the file, and becomes another program. */
static int takes_and_execs(struct child *parent, void *arg)
{
	char name[] = "qda_banks", *argv[] = { name, NULL };
	int fd = qda_open_process("cdsp");

	if (fd < 0 || fcntl(fd, F_SETFD, 0) || setenv(AFTER_EXEC, "1", 1))
		return 200;
	execv("/proc/self/exe", argv);
	return 201;
}

TEST_F(banks, exec_starts_anew)
{
	struct child child;
	int status;

	/* What it had before is not its own any more, and nothing is left. */
	ASSERT_EQ(0, fill(self->fds, self->bank, self->count - 1));
	ASSERT_EQ(0, child_start(&child, takes_and_execs, NULL));
	status = child_wait(&child, 20000);
	ASSERT_TRUE(WIFEXITED(status));
	EXPECT_EQ(EBUSY, WEXITSTATUS(status));
}

/* Sends a descriptor over a socket. */
static int send_fd(int socket, int fd)
{
	char data = 0, control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { .iov_base = &data, .iov_len = 1 };
	struct msghdr message = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &fd, sizeof(int));
	return sendmsg(socket, &message, 0) == 1 ? 0 : -errno;
}

static int receive_fd(int socket)
{
	char data, control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { .iov_base = &data, .iov_len = 1 };
	struct msghdr message = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	int fd;

	if (recvmsg(socket, &message, 0) != 1 || !CMSG_FIRSTHDR(&message))
		return -EPROTO;
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(int));
	return fd;
}

/* Makes a process on a file that another client has opened. */
static int receiver(struct child *parent, void *arg)
{
	int fd = receive_fd(*(int *)arg);

	child_tell(parent, fd < 0 ? fd : qda_create(fd));
	child_tell(parent, bank_of(fd));
	child_hear(parent, 20000);
	return 0;
}

TEST_F(banks, of_a_file_that_was_passed_on)
{
	struct child child;
	int sockets[2], bank, known = 0;

	/* Its bank is one of its opener's, who may share, not one of the receiver's. */
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, sockets));
	ASSERT_EQ(0, child_start(&child, receiver, &sockets[1]));
	ASSERT_EQ(0, fill(self->fds, self->bank, self->count));
	self->fds[self->count] = qda_open("cdsp");
	ASSERT_LE(0, self->fds[self->count]);
	ASSERT_EQ(0, send_fd(sockets[0], self->fds[self->count]));
	EXPECT_EQ(0, child_hear(&child, 15000));
	bank = child_hear(&child, 5000);
	for (int i = 0; i < self->count; i++)
		known += (int)self->bank[i] == bank;
	EXPECT_EQ(1, known);
	child_tell(&child, 0);
	EXPECT_EQ(0, child_wait(&child, 5000));
	close(sockets[0]);
	close(sockets[1]);
}

static int own(int fd)
{
	return qda_session(fd, (struct drm_qda_session_create) {
		.kind = QDA_SESSION_USER_UNSIGNED, .flags = QDA_SESSION_OWN_BANK,
	});
}

TEST_F(banks, of_its_own)
{
	self->fds[0] = qda_open("cdsp");
	ASSERT_LE(0, self->fds[0]);
	if (qda_stream_id("cdsp", 1) < 0)
		SKIP(return, "banks without IOMMU are nobody's own");
	ASSERT_EQ(0, own(self->fds[0]));
	self->bank[0] = bank_of(self->fds[0]);

	/* The others share among themselves, but not with it. */
	ASSERT_EQ(0, fill(self->fds + 1, self->bank + 1, self->count + 1));
	for (int i = 1; i < self->count + 2; i++)
		EXPECT_NE(self->bank[0], self->bank[i]);
	self->fds[self->count + 2] = qda_open("cdsp");
	ASSERT_LE(0, self->fds[self->count + 2]);
	EXPECT_EQ(-EBUSY, own(self->fds[self->count + 2]));
	EXPECT_EQ(0, qda_create(self->fds[self->count + 2]));
}

/* Bytes that a bank of cdsp maps, or -errno. */
static long long mapped_bytes(unsigned int bank)
{
	static struct simdsp_range ranges[MAX_RANGES];
	int count = simdsp_mappings("cdsp", bank, ranges, MAX_RANGES);
	long long bytes = 0;

	for (int i = 0; i < count; i++)
		bytes += ranges[i].len;
	return count < 0 ? count : bytes;
}

TEST_F(banks, a_buffer_is_mapped_once_in_a_bank)
{
	long long without, with, both;
	struct qda_buf buf, view;
	int dmabuf, first = -1;
	__u32 handle, other;
	__u64 sum;

	/* Two processes in one bank, and a buffer that both use. */
	ASSERT_EQ(0, fill(self->fds, self->bank, self->count + 1));
	for (int i = 0; i < self->count; i++) {
		if (self->bank[i] == self->bank[self->count])
			first = i;
	}
	ASSERT_LE(0, first);
	if (qda_stream_id("cdsp", self->bank[first]) < 0)
		SKIP(return, "nothing is mapped in a bank without IOMMU");
	ASSERT_EQ(0, simdsp_open(self->fds[first], &handle));
	ASSERT_EQ(0, simdsp_open(self->fds[self->count], &other));
	ASSERT_EQ(0, qda_buf_new(self->fds[first], SIZE, &buf));
	dmabuf = dmabuf_export(self->fds[first], buf.handle);
	ASSERT_LE(0, dmabuf);
	view = buf;
	ASSERT_EQ(0, dmabuf_import(self->fds[self->count], dmabuf, &view.handle));
	close(dmabuf);
	qda_fill(buf.map, SIZE, 4);

	without = mapped_bytes(self->bank[first]);
	for (int i = 0; i < 2; i++) {
		struct drm_qda_invoke_arg args[2] = { qda_ref(i ? &view : &buf, 0, SIZE),
						      qda_inline(&sum, sizeof(sum)) };

		EXPECT_EQ(0, qda_invoke(self->fds[i ? self->count : first], i ? other : handle,
					QDA_SCALARS(SIMDSP_CHECKSUM, 1, 1), args));
		EXPECT_EQ(simdsp_checksum(buf.map, SIZE), sum);
		(i ? &both : &with)[0] = mapped_bytes(self->bank[first]);
	}
	EXPECT_LE(SIZE, with - without);
	EXPECT_EQ(with, both);

	/* It goes with its last user. */
	EXPECT_EQ(0, qda_gem_close(self->fds[first], buf.handle));
	EXPECT_EQ(0, qda_invoke(self->fds[self->count], other, QDA_SCALARS(SIMDSP_CHECKSUM, 1, 1),
				(struct drm_qda_invoke_arg[]) { qda_ref(&view, 0, SIZE),
								qda_inline(&sum, sizeof(sum)) }));
	EXPECT_EQ(with, mapped_bytes(self->bank[first]));
	EXPECT_EQ(0, qda_gem_close(self->fds[self->count], view.handle));
	EXPECT_GE(with - SIZE, mapped_bytes(self->bank[first]));
	munmap(buf.map, buf.size);
}

TEST_F(banks, domain_of_the_iommu_is_kept)
{
	glob_t groups;
	int tried = 0;

	ASSERT_EQ(0, fill(self->fds, self->bank, 1));
	if (glob(BANKS "/cdsp-*/iommu_group/type", 0, NULL, &groups))
		SKIP(return, "no bank is behind an IOMMU");
	for (size_t i = 0; i < groups.gl_pathc; i++) {
		static const char * const types[] = { "identity", "auto", "DMA", "DMA-FQ" };

		for (size_t j = 0; j < ARRAY_SIZE(types); j++) {
			int fd = open(groups.gl_pathv[i], O_WRONLY | O_CLOEXEC);
			ssize_t ret;

			ASSERT_LE(0, fd);
			ret = write(fd, types[j], strlen(types[j]));
			EXPECT_EQ(-1, ret);
			tried++;
			close(fd);
		}
	}
	globfree(&groups);
	EXPECT_LT(0, tried);
	EXPECT_EQ((int)self->bank[0], bank_of(self->fds[0]));
}

TEST_HARNESS_MAIN
