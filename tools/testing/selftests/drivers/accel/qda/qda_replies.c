// SPDX-License-Identifier: GPL-2.0
/*
 * QDA: answers of the DSP that are not for the call that waits.
 */
#include <errno.h>

#include "kselftest_harness.h"

#include "module.h"
#include "qda.h"
#include "simdsp.h"

#define ANSWER	0x1234

FIXTURE(replies)
{
	int fd;
	__u32 handle;
};

FIXTURE_SETUP(replies)
{
	const char *why = qda_test_begin("replies", _metadata->name, true);

	self->fd = -1;
	if (why)
		SKIP(return, "%s", why);
	self->fd = qda_open_process("cdsp");
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, simdsp_open(self->fd, &self->handle));
}

FIXTURE_TEARDOWN(replies)
{
	close(self->fd);
	EXPECT_EQ(0, qda_test_end());
}

/* Has the DSP do @actions, JSON, with every call of SIMDSP_STATUS; nothing else from before. */
static int load(const char *actions)
{
	return simdsp_cmd(NULL,
			  "script {\"replace\":true,\"rules\":[{\"dsp\":\"cdsp\",\"module\":\"simdsp\",\"method\":%d,\"actions\":[%s]}]}",
			  SIMDSP_STATUS, actions);
}

TEST_F(replies, for_calls_that_do_not_exist)
{
	/* As many answers as there are slots: one of them names the slot of a call that waits. */
	struct simdsp_call waiting;

	ASSERT_EQ(0, simdsp_call_start(&waiting, self->fd, self->handle,
				       QDA_SCALARS(SIMDSP_HOLD, 0, 0), NULL));
	ASSERT_TRUE(simdsp_wait_stat("cdsp", "held", 1, 5000));
	ASSERT_EQ(0, load("{\"flood\":600}"));
	EXPECT_EQ(ANSWER, simdsp_status(self->fd, self->handle, ANSWER));
	ASSERT_EQ(0, load(""));
	EXPECT_EQ(ANSWER + 1, simdsp_status(self->fd, self->handle, ANSWER + 1));
	usleep(100000);
	EXPECT_FALSE(simdsp_call_done(&waiting));
	EXPECT_EQ(0, simdsp_cmd(NULL, "release-held cdsp 7"));
	EXPECT_EQ(7, simdsp_call_join(&waiting));
}

TEST_F(replies, with_another_context_first)
{
	static const char * const contexts[] = {
		"\"stale\"", "\"other_pd\"", "\"unknown\"", "\"sentinel\"",
		"{\"raw\":0}", "{\"raw\":256}", "{\"raw\":18446744073709551615}",
	};
	char action[64];

	for (size_t i = 0; i < ARRAY_SIZE(contexts); i++) {
		__s32 status = ANSWER + i;
		__u8 in[500], out[500];
		struct drm_qda_invoke_arg args[3] = {
			qda_inline(&status, 4), qda_inline(in, 500), qda_inline(out, 500),
		};

		snprintf(action, sizeof(action), "{\"ctx_first\":%s}", contexts[i]);
		ASSERT_EQ(0, load(action));
		qda_fill(in, sizeof(in), i);
		EXPECT_EQ(status, qda_invoke(self->fd, self->handle,
					     QDA_SCALARS(SIMDSP_STATUS, 2, 1), args));
		EXPECT_TRUE(qda_filled(out, sizeof(out), i));
	}
}

TEST_F(replies, twice)
{
	ASSERT_EQ(0, load("\"reply_twice\""));
	/* The second one is for nobody; least of all for the next call. */
	for (int i = 0; i < 300; i++)
		EXPECT_EQ(ANSWER + i, simdsp_status(self->fd, self->handle, ANSWER + i));
}

TEST_F(replies, longer_than_an_answer)
{
	ASSERT_EQ(0, load("{\"long\":64}"));
	EXPECT_EQ(ANSWER, simdsp_status(self->fd, self->handle, ANSWER));
}

TEST_F(replies, create_refused_by_the_dsp)
{
	/* The DSP's word is the ioctl's value, and there is no process. */
	static const char refuse[] =
		"{\"rules\":[{\"handle\":1,\"method\":7,\"actions\":[{\"fail\":4660}]}]}";
	__u32 handle;
	int fd;

	fd = qda_open("cdsp");
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, simdsp_cmd(NULL, "script %s", refuse));
	EXPECT_EQ(ANSWER, qda_create(fd));
	EXPECT_EQ(-ENOTCONN, simdsp_open(fd, &handle));
	ASSERT_EQ(0, load(""));
	/* It may be asked again. */
	EXPECT_EQ(0, qda_create(fd));
	EXPECT_EQ(0, simdsp_open(fd, &handle));
	close(fd);
}

TEST_HARNESS_MAIN
