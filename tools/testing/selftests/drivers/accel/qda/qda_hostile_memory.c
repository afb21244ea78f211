// SPDX-License-Identifier: GPL-2.0
/*
 * QDA: a DSP that writes whatever it can reach: the metadata of calls while they run, lists of
 * buffers that it does not have, poll words, and arguments of calls that are over. The kernel takes
 * none of it for more than the DSP's own data.
 */
#include <sys/mman.h>
#include <sys/time.h>

#include "hostile.h"

/* What a DSP writes for a call that has succeeded. */
#define POLL_DONE	0xdecaf

/* Words of the metadata of a call with four arguments. */
#define WORDS_OF_4	((40 * 4 + 388) / 4)

/* What the DSP does: it changes a word of the metadata, or writes when it has answered. */
#define REWRITE		"{\"rewrite\":{\"word\":\"any\",\"index\":%d,\"value\":%u}}"
#define LATE_WRITE	"{\"touch\":{\"arg\":2,\"len\":500,\"write\":true,\"after_ms\":5}}"

/* A call with arguments of both kinds, beside memory that is none. */
struct guarded {
	struct qda_buf buf;
	__u8 *page;
	struct drm_qda_invoke_arg args[4];
};

#define GUARDED_LEN	600
#define GUARD		0x77

static int guarded_new(struct guarded *guarded, int fd)
{
	__u8 *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return -errno;
	guarded->page = page;
	guarded->args[0] = qda_inline(page, GUARDED_LEN);
	guarded->args[2] = qda_inline(page + 5000, GUARDED_LEN);
	return qda_buf_new(fd, 16384, &guarded->buf);
}

static void guarded_free(struct guarded *guarded)
{
	munmap(guarded->page, 8192);
	qda_buf_free(&guarded->buf);
}

/* Makes the call. Return: whether results are where they belong, and nothing is elsewhere. */
static bool guarded_echo(struct guarded *guarded, int fd, __u32 handle, __u32 number)
{
	struct qda_buf *buf = &guarded->buf;

	memset(guarded->page, GUARD, 8192);
	memset(buf->map, GUARD, buf->size);
	qda_fill(guarded->page, GUARDED_LEN, number);
	qda_fill(buf->map, 4096, number + 1);
	guarded->args[1] = qda_ref(buf, 0, 4096);
	guarded->args[3] = qda_ref(buf, 8192, 4096);
	return !qda_invoke(fd, handle, QDA_SCALARS(SIMDSP_ECHO, 2, 2), guarded->args) &&
	       qda_filled(guarded->page, GUARDED_LEN, number) &&
	       qda_all(guarded->page + GUARDED_LEN, 5000 - GUARDED_LEN, GUARD) &&
	       qda_filled(guarded->page + 5000, GUARDED_LEN, number) &&
	       qda_all(guarded->page + 5000 + GUARDED_LEN, 3192 - GUARDED_LEN, GUARD) &&
	       qda_filled(buf->map, 4096, number + 1) &&
	       qda_all(buf->map + 4096, 4096, GUARD) &&
	       qda_filled(buf->map + 8192, 4096, number + 1) &&
	       qda_all(buf->map + 12288, buf->size - 12288, GUARD);
}

TEST_F_TIMEOUT(hostile, every_word_of_the_metadata, 200)
{
	static const __u32 values[] = { 0, 1, 0x1000, 0xffff8000, 0xffffffff };
	struct guarded guarded;

	ASSERT_EQ(0, guarded_new(&guarded, self->fd));
	for (int word = 0; word < WORDS_OF_4; word++) {
		__u32 value = values[word % ARRAY_SIZE(values)];

		ASSERT_EQ(0, with_calls(self, REWRITE, word, value));
		ASSERT_TRUE(guarded_echo(&guarded, self->fd, self->handle, word))
			TH_LOG("word %d: %#x", word, value);
	}
	/* Pointers and lengths, in all ways. */
	for (int word = 0; word < 40; word++) {
		for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
			ASSERT_EQ(0, with_calls(self, REWRITE, word, values[i]));
			ASSERT_TRUE(guarded_echo(&guarded, self->fd, self->handle, word))
				TH_LOG("word %d: %#x", word, values[i]);
		}
	}
	guarded_free(&guarded);
}

TEST_F_TIMEOUT(hostile, all_of_the_metadata, 120)
{
	struct guarded guarded;
	__u64 state = seed(_metadata);

	ASSERT_EQ(0, guarded_new(&guarded, self->fd));
	for (int round = 0; round < 10; round++) {
		ASSERT_EQ(0, with_calls(self, "{\"scramble\":%u}", draw(&state, ~0u)));
		for (int i = 0; i < 20; i++)
			ASSERT_TRUE(guarded_echo(&guarded, self->fd, self->handle, i));
	}
	guarded_free(&guarded);
}

TEST_F_TIMEOUT(hostile, metadata_of_the_kernels_calls, 60)
{
	struct guarded guarded;
	__u64 state = seed(_metadata), address;
	__u32 handle;

	for (int i = 0; i < 20; i++) {
		int fd = qda_open("cdsp");

		ASSERT_LE(0, fd);
		ASSERT_EQ(0, with_kernel("{\"scramble\":%u}", draw(&state, ~0u)));
		ASSERT_EQ(0, i % 2 ? qda_create(fd) : qda_session_kind(fd, QDA_SESSION_SENSORS));
		ASSERT_EQ(0, simdsp_open(fd, &handle));
		ASSERT_EQ(0, guarded_new(&guarded, fd));
		EXPECT_EQ(0, map(fd, &guarded.buf, 5, &address));
		/* What it says is where it is. */
		EXPECT_EQ(0xd0000000, address & 0xf0000fff);
		EXPECT_EQ(1, simdsp_stat("cdsp", "maps"));
		EXPECT_TRUE(guarded_echo(&guarded, fd, handle, i));
		EXPECT_EQ(0, unmap(fd, &guarded.buf, 5, address));
		guarded_free(&guarded);
		close(fd);
		EXPECT_TRUE(simdsp_wait_stat("cdsp", "processes", 2, 5000));
	}
}

/* Lends a buffer to the DSP, by a call that takes it as a handle. */
static int lend(struct _test_data_hostile *self, const struct qda_buf *buf)
{
	__u32 number = 0, scalars = QDA_SCALARS(SIMDSP_HANDLES, 1, 1) | QDA_SCALARS_HANDLES(1, 0);
	struct drm_qda_invoke_arg args[3];
	__u64 sum;

	args[0] = qda_inline(&number, 4);
	args[1] = qda_inline(&sum, 8);
	args[2] = (struct drm_qda_invoke_arg) { .length = buf->size, .handle = buf->handle };
	return qda_invoke(self->fd, self->handle, scalars, args);
}

/* Whether the DSP has @number: it does not get another buffer by it. */
static bool is_lent(struct _test_data_hostile *self, const struct qda_buf *other, __s32 number)
{
	__u64 address;
	int ret = map(self->fd, other, number, &address);

	return ret == -EEXIST || (!ret && unmap(self->fd, other, number, address));
}

TEST_F(hostile, numbers_that_were_never_passed)
{
	struct qda_buf lent, other;

	ASSERT_EQ(0, qda_buf_new(self->fd, 4096, &lent));
	ASSERT_EQ(0, qda_buf_new(self->fd, 4096, &other));
	ASSERT_EQ(0, lend(self, &lent));
	EXPECT_TRUE(is_lent(self, &other, lent.handle));

	/* Others, and some that are the same in as many bits as a number has. */
	ASSERT_EQ(0, with_calls(self, "{\"fdlist\":[%u,99,2147483648,4294967295,%llu,%llu,%llu]}",
				other.handle, 1ULL << 32 | lent.handle, 1ULL << 63 | lent.handle,
				~0ULL));
	EXPECT_TRUE(answered(self->fd, self->handle, ANSWER));
	ASSERT_EQ(0, without(self));
	EXPECT_TRUE(is_lent(self, &other, lent.handle));
	EXPECT_FALSE(is_lent(self, &lent, other.handle));

	/* The list ends at 0. */
	ASSERT_EQ(0, with_calls(self, "{\"fdlist\":[0,%u]}", lent.handle));
	EXPECT_TRUE(answered(self->fd, self->handle, ANSWER));
	ASSERT_EQ(0, without(self));
	EXPECT_TRUE(is_lent(self, &other, lent.handle));

	ASSERT_EQ(0, with_calls(self, "{\"fdlist\":[%u]}", lent.handle));
	EXPECT_TRUE(answered(self->fd, self->handle, ANSWER));
	ASSERT_EQ(0, without(self));
	EXPECT_FALSE(is_lent(self, &other, lent.handle));
	qda_buf_free(&lent);
	qda_buf_free(&other);
}

TEST_F(hostile, numbers_that_come_back_twice)
{
	struct qda_buf lent, again, other;

	ASSERT_EQ(0, qda_buf_new(self->fd, 4096, &lent));
	ASSERT_EQ(0, qda_buf_new(self->fd, 4096, &again));
	ASSERT_EQ(0, qda_buf_new(self->fd, 4096, &other));
	/* Lent once and back twice; and lent three times. */
	ASSERT_EQ(0, lend(self, &lent));
	for (int i = 0; i < 3; i++)
		ASSERT_EQ(0, lend(self, &again));
	ASSERT_EQ(0, with_calls(self, "{\"fdlist\":[%u,%u,%u,%u]}", lent.handle, lent.handle,
				again.handle, again.handle));
	EXPECT_TRUE(answered(self->fd, self->handle, ANSWER));
	ASSERT_EQ(0, without(self));
	EXPECT_FALSE(is_lent(self, &other, lent.handle));
	EXPECT_TRUE(is_lent(self, &other, again.handle));

	/* With an answer that comes twice it counts once. */
	ASSERT_EQ(0, lend(self, &again));
	ASSERT_EQ(0, with_calls(self, "{\"fdlist\":[%u]},\"reply_twice\"", again.handle));
	EXPECT_TRUE(answered(self->fd, self->handle, ANSWER));
	ASSERT_EQ(0, without(self));
	EXPECT_TRUE(is_lent(self, &other, again.handle));
	ASSERT_EQ(0, with_calls(self, "{\"fdlist\":[%u]}", again.handle));
	EXPECT_TRUE(answered(self->fd, self->handle, ANSWER));
	ASSERT_EQ(0, without(self));
	EXPECT_FALSE(is_lent(self, &other, again.handle));

	/* It can be lent again. */
	EXPECT_EQ(0, lend(self, &lent));
	EXPECT_TRUE(is_lent(self, &other, lent.handle));
	qda_buf_free(&lent);
	qda_buf_free(&again);
	qda_buf_free(&other);
}

TEST_F(hostile, more_numbers_than_there_is_room_for)
{
	struct qda_buf bufs[18], other;
	char list[512] = "";

	ASSERT_EQ(0, qda_buf_new(self->fd, 4096, &other));
	for (int i = 0; i < 18; i++) {
		ASSERT_EQ(0, qda_buf_new(self->fd, 4096, &bufs[i]));
		ASSERT_EQ(0, lend(self, &bufs[i]));
		sprintf(list + strlen(list), "%s%u", i ? "," : "", bufs[i].handle);
	}
	/* The list has sixteen; what is behind it is none of it. */
	ASSERT_EQ(0, with_calls(self, "{\"fdlist\":[%s]}", list));
	EXPECT_TRUE(answered(self->fd, self->handle, ANSWER));
	ASSERT_EQ(0, without(self));
	for (int i = 0; i < 18; i++)
		EXPECT_EQ(i >= 16, is_lent(self, &other, bufs[i].handle));
	for (int i = 0; i < 18; i++)
		qda_buf_free(&bufs[i]);
	qda_buf_free(&other);
}

/* A session that polls, where the DSP can be polled. Return: its file, or -errno. */
static int open_polling(__u32 *handle)
{
	struct drm_qda_session_create arg = {
		.kind = QDA_SESSION_USER_UNSIGNED,
		.flags = QDA_SESSION_POLL,
	};
	int fd = qda_open("cdsp"), ret;

	if (fd < 0)
		return fd;
	ret = qda_session(fd, arg) ?: simdsp_open(fd, handle);
	if (!ret)
		return fd;
	close(fd);
	return ret < 0 ? ret : -EREMOTEIO;
}

TEST_F_TIMEOUT(hostile, poll_word_without_message, 90)
{
	struct itimerval timer = { { 0, 100000 }, { 0, 100000 } };
	struct simdsp_call call;
	__u32 in = 4, out = 0;
	struct drm_qda_invoke_arg args[2] = { qda_inline(&in, 4), qda_inline(&out, 4) };
	int client, fd;

	/* To a session that does not poll it is nothing. */
	ASSERT_EQ(0, with_calls(self, "{\"poll_word\":%d},\"drop\"", POLL_DONE));
	ASSERT_EQ(0, simdsp_call_start(&call, self->fd, self->handle,
				       QDA_SCALARS(SIMDSP_ECHO, 1, 1), args));
	usleep(200000);
	EXPECT_FALSE(simdsp_call_done(&call));
	EXPECT_EQ(0, pthread_kill(call.thread, SIGUSR1));
	EXPECT_EQ(-EINTR, simdsp_call_join(&call));

	/* To one that polls it is success, and the call goes on: its place is taken. */
	fd = open_polling(&self->handle);
	if (fd == -EOPNOTSUPP)
		SKIP(return, "the rest needs a DSP that can be polled");
	ASSERT_LE(0, fd);
	client = qda_fdinfo(fd, "qda-client");
	close(self->fd);
	self->fd = fd;
	self->client = client;
	ASSERT_EQ(0, simdsp_poll(fd, true));
	ASSERT_EQ(0, with_calls(self, "\"drop\""));
	/* A call that took longer than it is polled for is polled again when it is repeated. */
	ASSERT_EQ(0, sigaction(SIGALRM, &(struct sigaction) { .sa_handler = on_signal }, NULL));
	ASSERT_EQ(0, setitimer(ITIMER_REAL, &timer, NULL));
	for (__u32 i = 0; i < 60; i++) {
		int ret;

		in = i;
		do {
			ret = qda_invoke(fd, self->handle, QDA_SCALARS(SIMDSP_ECHO, 1, 1), args);
		} while (ret == -EINTR);
		ASSERT_EQ(0, ret);
		ASSERT_EQ(in, out);
	}
	setitimer(ITIMER_REAL, &(struct itimerval) { 0 }, NULL);
	EXPECT_LE(60, qda_fdinfo(fd, "qda-calls"));
}

TEST_F(hostile, message_without_poll_word)
{
	int fd = open_polling(&self->handle);

	if (fd == -EOPNOTSUPP)
		SKIP(return, "this DSP can't be polled");
	ASSERT_LE(0, fd);
	close(self->fd);
	self->fd = fd;
	self->client = qda_fdinfo(fd, "qda-client");
	for (int i = 0; i < 50; i++)
		ASSERT_TRUE(answered(fd, self->handle, i));
	ASSERT_EQ(0, simdsp_poll(fd, true));
	ASSERT_EQ(0, with_calls(self, "{\"poll_word\":%d}", POLL_DONE + 1));
	for (int i = 0; i < 50; i++)
		ASSERT_TRUE(answered(fd, self->handle, i));
}

TEST_F_TIMEOUT(hostile, accesses_after_the_answer, 60)
{
	/* Into memory that may be the session's still, or nobody's; never somebody else's. */
	ASSERT_EQ(0, simdsp_cmd(NULL, "expect-fault any"));
	ASSERT_EQ(0, with_calls(self, LATE_WRITE));
	for (int i = 0; i < 100; i++) {
		__u8 in[500] = { 0 }, out[500];
		__s32 status = i;
		struct drm_qda_invoke_arg args[3] = {
			qda_inline(&status, 4), qda_inline(in, 500), qda_inline(out, 500),
		};

		EXPECT_EQ(status, qda_invoke(self->fd, self->handle,
					     QDA_SCALARS(SIMDSP_STATUS, 2, 1), args));
	}
	ASSERT_EQ(0, without(self));
	usleep(100000);
	EXPECT_TRUE(answered(self->fd, self->handle, ANSWER));
}

TEST_HARNESS_MAIN
