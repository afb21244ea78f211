// SPDX-License-Identifier: GPL-2.0
/*
 * QDA: a DSP that misbehaves and goes down in the middle of it, one that talks before its device is
 * there and while it goes, and one that never answers the kernel. Afterwards it works again, a
 * session on another DSP has noticed nothing, and nothing is left behind.
 *
 * What is random follows QDA_HOSTILE_SEED in the environment, which is printed.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "bystander.h"
#include "child.h"
#include "harness.h"
#include "module.h"
#include "patience.h"
#include "qda.h"
#include "restart.h"
#include "simdsp.h"
#include "sysfs.h"

#define DRIVER		"/sys/bus/rpmsg/drivers/qda"

/* Lines that the kernel may say of each time that a DSP goes and comes. */
#define MOST_LINES	16

#define CALLERS		6

/* A script: calls to a handle are not answered. */
#define NO_ANSWER	"script {\"rules\":[{\"dsp\":\"cdsp\",\"handle\":%d,\"actions\":[\"drop\"]}]}"

/* Processes end only after a while. */
#define RELEASE_LATER	"script {\"rules\":[{\"dsp\":\"cdsp\",\"handle\":1,\"method\":1,\"actions\":[{\"delay_ms\":300}]}]}"

/* How often callers that no message reaches try again. */
#define TRIES		10

/* Threads that call until the DSP has gone. */
struct caller {
	pthread_t thread;
	int fd;
	__u32 handle;
	/* Calls that succeeded. */
	int answers;
	int ret;
};

static void *call_on(void *arg)
{
	struct caller *caller = arg;
	__u8 in[200] = { 1 }, out[200];

	do {
		caller->ret = simdsp_echo(caller->fd, caller->handle, in, out, sizeof(in));
		if (!caller->ret)
			__atomic_add_fetch(&caller->answers, 1, __ATOMIC_RELAXED);
	} while (caller->ret != -EPIPE && caller->ret != -ENODEV);
	return NULL;
}

static __u32 seed(struct __test_metadata *_metadata)
{
	const char *wish = getenv("QDA_HOSTILE_SEED");
	__u32 seed = wish ? strtoul(wish, NULL, 0) : qda_now_ms();

	TH_LOG("QDA_HOSTILE_SEED=%u", seed);
	return seed;
}

FIXTURE(dsp_death)
{
	struct bystander bystander;
	char processor[128];
	bool skipped;
	/* There is no other DSP. */
	bool alone;
	int log;
	/* How often the DSP went down. */
	int deaths;
};

FIXTURE_VARIANT(dsp_death)
{
	enum how how;
};

FIXTURE_VARIANT_ADD(dsp_death, channel) { .how = CHANNEL };
FIXTURE_VARIANT_ADD(dsp_death, stop) { .how = STOP };
FIXTURE_VARIANT_ADD(dsp_death, crash) { .how = CRASH };

FIXTURE_SETUP(dsp_death)
{
	const char *why = qda_test_begin("dsp_death", _metadata->name, true);
	int fd, ret;

	self->skipped = true;
	if (why)
		SKIP(return, "%s", why);
	if (!find_processor("cdsp", self->processor, sizeof(self->processor)) &&
	    variant->how != CHANNEL)
		SKIP(return, "no remote processor that can be stopped");
	/* After the test before, the channel may be on its way back. */
	fd = come_up(CHANNEL, "cdsp", NULL);
	ASSERT_LE(0, fd);
	close(fd);
	self->skipped = false;
	self->log = kernel_log_open();
	ASSERT_LE(0, self->log);
	ret = bystander_start(&self->bystander, "adsp");
	self->alone = ret == -ENODEV;
	ASSERT_TRUE(!ret || self->alone);
}

FIXTURE_TEARDOWN(dsp_death)
{
	if (self->skipped)
		return;
	if (!self->alone) {
		bystander_pause(&self->bystander, true);
		EXPECT_TRUE(bystander_alone(&self->bystander));
		bystander_pause(&self->bystander, false);
		EXPECT_TRUE(bystander_stop(&self->bystander));
	}
	EXPECT_TRUE(simdsp_wait_stat("cdsp", "processes", 0, 5000));
	EXPECT_TRUE(simdsp_wait_stat("cdsp", "mappings", 0, 5000));
	EXPECT_GE(self->deaths * MOST_LINES, kernel_log_close(self->log));
	EXPECT_EQ(0, qda_test_end());
}

static void again(int signal)
{
}

/*
 * Waits until some call of those that poll has succeeded. One that a slow machine does not see the
 * word of in time waits for a message: it is made again.
 */
static void await_answer(struct caller *callers)
{
	struct sigaction action = { .sa_handler = again };

	sigaction(SIGUSR1, &action, NULL);
	for (int i = 0; i < TRIES * 100; i++) {
		for (int j = 0; j < CALLERS; j++) {
			if (__atomic_load_n(&callers[j].answers, __ATOMIC_RELAXED))
				return;
		}
		usleep(qda_patience(10000));
		for (int j = 0; j < CALLERS && i % 100 == 99; j++)
			pthread_kill(callers[j].thread, SIGUSR1);
	}
}

/*
 * A DSP that does @actions with every call goes down while a session makes many, which may poll.
 *
 * Return: how many calls of @fd, which is closed, had succeeded before.
 */
static int dies_under(struct __test_metadata *_metadata, struct _test_data_dsp_death *self,
		      enum how how, const char *actions, int fd, bool polls)
{
	struct caller callers[CALLERS];
	struct listener listener;
	struct simdsp_call held;
	struct qda_buf buf;
	__u32 handle, zero = 0;
	__u64 sum;
	struct drm_qda_invoke_arg args[3];
	int answers = 0;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, simdsp_open(fd, &handle));
	/* With a buffer that the DSP keeps, and calls that wait. */
	ASSERT_EQ(0, qda_buf_new(fd, 65536, &buf));
	args[0] = qda_inline(&zero, 4);
	args[1] = qda_inline(&sum, 8);
	args[2] = (struct drm_qda_invoke_arg) { .length = buf.size, .handle = buf.handle };
	ASSERT_EQ(0, qda_invoke(fd, handle, QDA_SCALARS(SIMDSP_HANDLES, 1, 1) |
				QDA_SCALARS_HANDLES(1, 0), args));
	ASSERT_EQ(0, listener_start(&listener, fd));
	ASSERT_EQ(0, simdsp_call_start(&held, fd, handle, QDA_SCALARS(SIMDSP_HOLD, 0, 0), NULL));
	ASSERT_TRUE(simdsp_wait_stat("cdsp", "parked", 2, 5000));

	/* It may work on while its memory is taken away. */
	ASSERT_EQ(0, simdsp_cmd(NULL, "expect-fault any"));
	ASSERT_EQ(0, simdsp_cmd(NULL, "allow unmapped"));
	ASSERT_EQ(0, simdsp_cmd(NULL,
				"script {\"replace\":true,\"rules\":[{\"dsp\":\"cdsp\",\"module\":\"simdsp\",\"actions\":[%s]}]}",
				actions));
	for (int i = 0; i < CALLERS; i++) {
		callers[i] = (struct caller) { .fd = fd, .handle = handle };
		ASSERT_EQ(0, pthread_create(&callers[i].thread, NULL, call_on, &callers[i]));
	}
	if (polls)
		await_answer(callers);
	usleep(100000);
	ASSERT_EQ(0, go_down(how, "cdsp", self->processor));
	self->deaths++;
	for (int i = 0; i < CALLERS; i++) {
		pthread_join(callers[i].thread, NULL);
		answers += callers[i].answers;
	}
	EXPECT_EQ(-EPIPE, simdsp_call_join(&held));
	EXPECT_EQ(-EPIPE, simdsp_call_join(&listener.call));
	EXPECT_TRUE(is_gone(fd));
	EXPECT_EQ(-ENODEV, simdsp_hold(fd, handle));
	qda_buf_free(&buf);
	close(fd);

	ASSERT_EQ(0, simdsp_cmd(NULL, "script {\"replace\":true}"));
	fd = come_up(how, "cdsp", self->processor);
	ASSERT_LE(0, fd);
	EXPECT_TRUE(works(fd));
	EXPECT_LE(0, qda_fdinfo(fd, "qda-calls"));
	close(fd);
	return answers;
}

static void dies_while(struct __test_metadata *_metadata, struct _test_data_dsp_death *self,
		       enum how how, const char *actions)
{
	dies_under(_metadata, self, how, actions, qda_open_process("cdsp"), false);
}

/* The same with a session that polls, some of whose calls succeed all the same. */
static void dies_while_polled(struct __test_metadata *_metadata,
			      struct _test_data_dsp_death *self, enum how how,
			      const char *actions)
{
	struct drm_qda_session_create arg = {
		.kind = QDA_SESSION_USER_UNSIGNED,
		.flags = QDA_SESSION_POLL,
	};
	int fd = qda_open("cdsp"), ret;

	ASSERT_LE(0, fd);
	ret = qda_session(fd, arg);
	if (ret == -EOPNOTSUPP) {
		close(fd);
		SKIP(return, "this DSP can't be polled");
	}
	ASSERT_EQ(0, ret);
	ASSERT_EQ(0, simdsp_poll(fd, true));
	ASSERT_EQ(1, simdsp_stat("cdsp", "polled"));
	EXPECT_LT(0, dies_under(_metadata, self, how, actions, fd, true));
}

TEST_F_TIMEOUT(dsp_death, while_answers_are_late, 90)
{
	dies_while(_metadata, self, variant->how, "{\"delay_ms\":40}");
}

TEST_F_TIMEOUT(dsp_death, while_answers_come_twice, 90)
{
	dies_while(_metadata, self, variant->how, "\"reply_twice\"");
}

TEST_F_TIMEOUT(dsp_death, while_answers_are_for_nobody, 90)
{
	dies_while(_metadata, self, variant->how,
		   "{\"ctx_first\":\"unknown\"},{\"ctx_first\":\"other_pd\"}");
}

TEST_F_TIMEOUT(dsp_death, while_answers_are_stale, 90)
{
	dies_while(_metadata, self, variant->how, "{\"ctx_first\":\"stale\"}");
}

TEST_F_TIMEOUT(dsp_death, in_a_flood, 90)
{
	dies_while(_metadata, self, variant->how, "{\"flood\":500}");
}

TEST_F_TIMEOUT(dsp_death, while_answers_are_short, 90)
{
	dies_while(_metadata, self, variant->how,
		   "{\"short_first\":15},{\"short_first\":8},{\"short_first\":0}");
}

TEST_F_TIMEOUT(dsp_death, while_answers_are_long, 90)
{
	dies_while(_metadata, self, variant->how, "{\"long\":200}");
}

TEST_F_TIMEOUT(dsp_death, while_there_is_no_answer, 90)
{
	dies_while(_metadata, self, variant->how, "\"drop\"");
}

TEST_F_TIMEOUT(dsp_death, while_metadata_is_rewritten, 90)
{
	dies_while(_metadata, self, variant->how, "{\"scramble\":1}");
}

TEST_F_TIMEOUT(dsp_death, while_numbers_come_back, 90)
{
	dies_while(_metadata, self, variant->how,
		   "{\"fdlist\":[1,1,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]}");
}

TEST_F_TIMEOUT(dsp_death, while_statuses_are_the_kernels, 90)
{
	dies_while(_metadata, self, variant->how, "{\"status\":-512}");
}

TEST_F_TIMEOUT(dsp_death, with_poll_word_and_no_message, 90)
{
	dies_while_polled(_metadata, self, variant->how, "{\"poll_word\":912559},\"drop\"");
}

TEST_F_TIMEOUT(dsp_death, with_message_and_no_poll_word, 90)
{
	dies_while_polled(_metadata, self, variant->how, "{\"poll_word\":1}");
}

TEST_F_TIMEOUT(dsp_death, with_poll_words_that_nobody_reads, 90)
{
	dies_while(_metadata, self, variant->how, "{\"poll_word\":912559},\"drop\"");
}

TEST_F_TIMEOUT(dsp_death, in_notices, 90)
{
	dies_while(_metadata, self, variant->how, "{\"ctx_first\":\"sentinel\"}");
}

TEST_F_TIMEOUT(dsp_death, talks_before_probe_and_during_remove, 240)
{
	char device[256], reply[SIMDSP_LINE];
	__u32 state = seed(_metadata);
	bool heard_early = self->processor[0], heard_late = variant->how != CHANNEL;
	long long said, early, late;
	int fd;

	ASSERT_EQ(0, simdsp_cmd(NULL, "babble cdsp on %u", state));
	/* The driver that leaves waits for this answer. */
	ASSERT_EQ(0, simdsp_cmd(NULL, RELEASE_LATER));
	/* Often, and on until it was heard when that is possible at all. */
	for (int i = 0; i < 8 || (i < 40 && !(heard_early && heard_late)); i++) {
		fd = qda_open_process("cdsp");
		ASSERT_LE(0, fd);
		EXPECT_TRUE(works(fd));
		/* It is heard, however slow all is. */
		said = simdsp_stat("cdsp", "babbled");
		for (int j = 0; j < 5000 && simdsp_stat("cdsp", "babbled") < said + 20; j++)
			usleep(1000);
		ASSERT_TRUE(qda_rpmsg_device("cdsp", device, sizeof(device)));
		early = simdsp_stat("cdsp", "babbled_early");
		late = simdsp_stat("cdsp", "babbled_late");
		/* By the driver's own end, and by the DSP's. */
		ASSERT_EQ(0, variant->how == CHANNEL ?
			     sysfs_write_within(DRIVER "/unbind", device, BOUND_MS) :
			     go_down(variant->how, "cdsp", self->processor));
		self->deaths++;
		EXPECT_TRUE(is_gone(fd));
		close(fd);
		fd = come_up(variant->how, "cdsp", self->processor);
		ASSERT_LE(0, fd);
		close(fd);
		early = simdsp_stat("cdsp", "babbled_early") - early;
		late = simdsp_stat("cdsp", "babbled_late") - late;
		TH_LOG("%lld messages at first, %lld at last", early, late);
		heard_early |= early > 0;
		heard_late |= late > 0;
		/* When the DSP goes, the transport is deaf before the driver leaves. */
		if (variant->how != CHANNEL)
			EXPECT_EQ(0, late);
	}
	/*
	 * A driver that came heard it before it said anything itself. Not with SMEM: the work that
	 * runs probe is the one that makes room for messages there. One that left heard it as well.
	 */
	EXPECT_TRUE(heard_early);
	EXPECT_TRUE(heard_late);
	ASSERT_EQ(0, simdsp_cmd(reply, "babble cdsp off"));
	TH_LOG("%s messages", reply);
	EXPECT_LT(100, atoi(reply));
}

/* Calls of the kernel, each in the name of a process of its own. They tell what comes of them. */
static int creates(struct child *parent, void *arg)
{
	int fd = qda_open("cdsp");

	child_tell(parent, fd < 0 ? fd : 1);
	child_hear(parent, 20000);
	child_tell(parent, qda_create(fd));
	return 0;
}

static int attaches(struct child *parent, void *arg)
{
	int fd = qda_open("cdsp");

	child_tell(parent, fd < 0 ? fd : 1);
	child_hear(parent, 20000);
	child_tell(parent, qda_session_kind(fd, QDA_SESSION_SENSORS));
	return 0;
}

static int asks(struct child *parent, void *arg)
{
	int fd = qda_open("cdsp");
	__u64 value;

	child_tell(parent, fd < 0 ? fd : 1);
	child_hear(parent, 20000);
	child_tell(parent, qda_param(fd, QDA_PARAM_DSP_ATTRIBUTE, 6, &value));
	return 0;
}

static int maps(struct child *parent, void *arg)
{
	int fd = qda_open_process("cdsp"), ret;
	struct qda_buf buf;
	struct drm_qda_mem_map map = { .request = QDA_MAP_REQUEST_ATTR, .flags = QDA_MAP_FD };

	ret = fd < 0 ? fd : qda_buf_new(fd, 4096, &buf);
	child_tell(parent, ret ?: 1);
	child_hear(parent, 20000);
	map.handle = buf.handle;
	map.dsp_handle = 5;
	map.vaddrin = (uintptr_t)buf.map;
	map.size = buf.size;
	child_tell(parent, qda_ioctl(fd, DRM_IOCTL_QDA_MAP, &map));
	return 0;
}

TEST_F_TIMEOUT(dsp_death, never_answers_the_kernel, 120)
{
	/* Ten seconds each, side by side; then they fail, and banks stay out of use. */
	int (*const askers[])(struct child *, void *) = { creates, attaches, asks, maps };
	struct child children[ARRAY_SIZE(askers)];
	long long start;
	int fd;

	/* A channel on which nobody has asked for attributes. */
	ASSERT_EQ(0, go_down(variant->how, "cdsp", self->processor));
	self->deaths++;
	fd = come_up(variant->how, "cdsp", self->processor);
	ASSERT_LE(0, fd);
	close(fd);
	for (size_t i = 0; i < ARRAY_SIZE(askers); i++) {
		ASSERT_EQ(0, child_start(&children[i], askers[i], NULL));
		ASSERT_EQ(1, child_hear(&children[i], 10000));
	}
	for (int handle = 1; handle <= 2; handle++)
		ASSERT_EQ(0, simdsp_cmd(NULL, NO_ANSWER, handle));
	start = qda_now_ms();
	for (size_t i = 0; i < ARRAY_SIZE(askers); i++)
		child_tell(&children[i], 1);
	for (size_t i = 0; i < ARRAY_SIZE(askers); i++)
		EXPECT_EQ(-ETIMEDOUT, child_hear(&children[i], 20000));
	EXPECT_LE(9000, qda_now_ms() - start);
	for (size_t i = 0; i < ARRAY_SIZE(askers); i++)
		EXPECT_LE(0, child_wait(&children[i], 15000));

	ASSERT_EQ(0, simdsp_cmd(NULL, "script {\"replace\":true}"));
	ASSERT_EQ(0, go_down(variant->how, "cdsp", self->processor));
	self->deaths++;
	fd = come_up(variant->how, "cdsp", self->processor);
	ASSERT_LE(0, fd);
	EXPECT_TRUE(works(fd));
	EXPECT_EQ(0, qda_fdinfo(fd, "qda-calls"));
	close(fd);
}

TEST_HARNESS_MAIN
