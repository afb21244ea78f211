// SPDX-License-Identifier: GPL-2.0
/*
 * QDA: processes of every kind, what a DSP says about itself, and a process that dies on its own.
 */
#include <errno.h>
#include <signal.h>

#include "child.h"
#include "harness.h"
#include "module.h"
#include "qda.h"
#include "restart.h"
#include "simdsp.h"
#include "sysfs.h"

/* Protection domains as messages name them. */
#define PD_ROOT		0
#define PD_USER		1
#define PD_SENSORS	2

/* Scripts for the DSP, of rules for calls of the kernel; they take the place of earlier ones. */
#define SCRIPT(rules)		"script {\"replace\":true,\"rules\":[" rules "]}"
#define RULE(match, action)	"{\"handle\":" match ",\"actions\":[" action "]}"
#define CREATE			"1,\"method\":7"
#define FIRST_CREATE		CREATE ",\"nth\":1"
#define RELEASE			"1,\"method\":1"
#define FIRST_STATIC		"1,\"dsp\":\"adsp\",\"method\":8,\"nth\":1"
#define QUERY(nth)		"2,\"nth\":" #nth
#define FAIL(status)		"{\"fail\":" status "}"
#define DELAY(ms)		"{\"delay_ms\":" #ms "}"

/* A notice that a process has ended, of which the first bytes of its number stand there. */
#define NOTICE			"say cdsp cdabcdab0000000004000000%02x%02x00000100000000000000"

static const struct drm_qda_session_create audio = {
	.kind = QDA_SESSION_STATIC,
	.name = "audiopd",
};

/* Whether calls work, and name the domain that they are for. */
static bool alive_in(int fd, __u32 pd)
{
	__u32 handle, in = 0x1234, out = 0;
	struct simdsp_info info;

	if (simdsp_open(fd, &handle) || simdsp_echo(fd, handle, &in, &out, 4) || in != out ||
	    simdsp_info(fd, handle, &info))
		return false;
	if (info.pd != pd)
		fprintf(stderr, "# domain %u, not %u\n", info.pd, pd);
	return info.pd == pd;
}

FIXTURE(pds)
{
	int fd;
};

FIXTURE_SETUP(pds)
{
	const char *why = qda_test_begin("pds", _metadata->name, true);

	self->fd = -1;
	if (why)
		SKIP(return, "%s", why);
	self->fd = qda_open("cdsp");
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(pds)
{
	if (self->fd >= 0)
		close(self->fd);
	EXPECT_EQ(0, qda_test_end());
}

TEST_F(pds, root)
{
	long long attaches = simdsp_stat("cdsp", "attaches");

	ASSERT_EQ(0, qda_session_kind(self->fd, QDA_SESSION_ROOT));
	EXPECT_EQ(attaches + 1, simdsp_stat("cdsp", "attaches"));
	EXPECT_TRUE(alive_in(self->fd, PD_ROOT));
}

TEST_F(pds, sensors)
{
	long long attaches = simdsp_stat("cdsp", "attaches");
	long long releases = simdsp_stat("cdsp", "releases");

	ASSERT_EQ(0, qda_session_kind(self->fd, QDA_SESSION_SENSORS));
	EXPECT_EQ(attaches + 1, simdsp_stat("cdsp", "attaches"));
	EXPECT_TRUE(alive_in(self->fd, PD_SENSORS));
	close(self->fd);
	self->fd = -1;
	EXPECT_TRUE(simdsp_wait_stat("cdsp", "releases", releases + 1, 2000));
}

TEST_F(pds, user)
{
	struct drm_qda_session_create arg = { .kind = QDA_SESSION_USER_SIGNED };
	int other = qda_open("cdsp");

	ASSERT_LE(0, other);
	ASSERT_EQ(0, qda_session(self->fd, arg));
	EXPECT_TRUE(alive_in(self->fd, PD_USER));
	arg.kind = QDA_SESSION_USER_UNSIGNED;
	arg.attrs = QDA_PROC_ATTR_ADAPTIVE_QOS;
	ASSERT_EQ(0, qda_session(other, arg));
	EXPECT_TRUE(alive_in(other, PD_USER));
	close(other);
}

TEST_F(pds, program_in_the_middle_of_a_buffer)
{
	struct drm_qda_session_create arg = {
		.kind = QDA_SESSION_USER_UNSIGNED,
		.shell_offset = 4096 + 64,
		.shell_size = 5001,
		.signature_size = 5001,
	};
	struct qda_buf buf;

	ASSERT_EQ(0, qda_buf_new(self->fd, 3 * 4096, &buf));
	/* The DSP wants an ELF file, and finds one only where it is. */
	memcpy(buf.map + arg.shell_offset, "\177ELF", 4);
	arg.shell_handle = buf.handle;
	EXPECT_EQ(0, qda_session(self->fd, arg));
	EXPECT_TRUE(alive_in(self->fd, PD_USER));
	qda_buf_free(&buf);
}

TEST_F(pds, status_of_the_dsp)
{
	/* Whatever the DSP says is told, also what an ioctl's value could not. */
	static const int statuses[] = { 1, -1, -512, DSP_ERROR(0x0e), 0x7fffffff };
	struct drm_qda_session_create arg = { .kind = QDA_SESSION_USER_UNSIGNED };

	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++) {
		ASSERT_EQ(0, simdsp_cmd(NULL, SCRIPT(RULE(CREATE, FAIL("%d"))), statuses[i]));
		arg.status = 0;
		EXPECT_EQ(0, qda_ioctl(self->fd, DRM_IOCTL_QDA_SESSION_CREATE, &arg));
		EXPECT_EQ(statuses[i], arg.status);
	}
	/* After a refusal the file may ask again. */
	ASSERT_EQ(0, simdsp_cmd(NULL, SCRIPT()));
	EXPECT_EQ(0, qda_session_kind(self->fd, QDA_SESSION_USER_UNSIGNED));
	EXPECT_TRUE(alive_in(self->fd, PD_USER));
}

TEST_F(pds, bad_arguments)
{
	struct qda_buf buf;
	long long messages;

	ASSERT_EQ(0, qda_buf_new(self->fd, 4096, &buf));
	const struct {
		struct drm_qda_session_create arg;
		int ret;
	} cases[] = {
		{ { .kind = 5 }, -EINVAL },
		{ { .kind = ~0u }, -EINVAL },
		{ { .kind = QDA_SESSION_ROOT, .flags = 4 }, -EINVAL },
		{ { .kind = QDA_SESSION_ROOT, .pad = 1 }, -EINVAL },
		{ { .kind = QDA_SESSION_ROOT, .status = 1 }, -EINVAL },
		{ { .kind = QDA_SESSION_ROOT, .attrs = 1 }, -EINVAL },
		{ { .kind = QDA_SESSION_ROOT, .name = "rootpd" }, -EINVAL },
		{ { .kind = QDA_SESSION_ROOT, .shell_size = 1 }, -EINVAL },
		{ { .kind = QDA_SESSION_SENSORS, .shell_handle = 1 }, -EINVAL },
		{ { .kind = QDA_SESSION_SENSORS, .signature_size = 1 }, -EINVAL },
		{ { .kind = QDA_SESSION_STATIC }, -EINVAL },
		{ { .kind = QDA_SESSION_STATIC, .name = "audiopd", .shell_offset = 8 }, -EINVAL },
		{ { .kind = QDA_SESSION_STATIC, .name = "audiopd\0x" }, -EINVAL },
		{ { .kind = QDA_SESSION_STATIC,
		    .name = "12345678901234567890123456789012" }, -EINVAL },
		{ { .kind = QDA_SESSION_USER_UNSIGNED, .attrs = QDA_PROC_ATTR_UNSIGNED }, -EINVAL },
		{ { .kind = QDA_SESSION_USER_SIGNED, .attrs = QDA_PROC_ATTR_UNSIGNED }, -EINVAL },
		{ { .kind = QDA_SESSION_USER_UNSIGNED, .name = "x" }, -EINVAL },
		{ { .kind = QDA_SESSION_USER_UNSIGNED, .shell_handle = buf.handle }, -EINVAL },
		{ { .kind = QDA_SESSION_USER_UNSIGNED, .shell_offset = 1 }, -EINVAL },
		{ { .kind = QDA_SESSION_USER_UNSIGNED, .signature_size = 1 }, -EINVAL },
		{ { .kind = QDA_SESSION_USER_UNSIGNED, .shell_size = 1 }, -ENOENT },
		{ { .kind = QDA_SESSION_USER_UNSIGNED, .shell_size = 1,
		    .shell_handle = buf.handle + 77 }, -ENOENT },
		{ { .kind = QDA_SESSION_USER_UNSIGNED, .shell_size = 64, .signature_size = 65,
		    .shell_handle = buf.handle }, -EINVAL },
		{ { .kind = QDA_SESSION_USER_UNSIGNED, .shell_size = 64,
		    .shell_offset = buf.size - 63, .shell_handle = buf.handle }, -EINVAL },
		{ { .kind = QDA_SESSION_USER_UNSIGNED, .shell_size = 64,
		    .shell_offset = ~0ULL - 62, .shell_handle = buf.handle }, -EINVAL },
		{ { .kind = QDA_SESSION_USER_UNSIGNED, .shell_size = QDA_MAX_SHELL_SIZE + 1,
		    .shell_handle = buf.handle }, -E2BIG },
	};

	messages = simdsp_stat("cdsp", "messages");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		EXPECT_EQ(cases[i].ret, qda_session(self->fd, cases[i].arg)) {
			TH_LOG("case %zu", i);
		}
	}
	qda_buf_free(&buf);
	EXPECT_EQ(messages, simdsp_stat("cdsp", "messages"));
	EXPECT_EQ(0, qda_session_kind(self->fd, QDA_SESSION_USER_UNSIGNED));
	EXPECT_EQ(-EEXIST, qda_session_kind(self->fd, QDA_SESSION_ROOT));
	EXPECT_EQ(-EEXIST, qda_create(self->fd));
	EXPECT_TRUE(alive_in(self->fd, PD_USER));
}

TEST_F(pds, static_process_without_memory)
{
	__u64 has;

	ASSERT_EQ(0, qda_param(self->fd, QDA_PARAM_STATIC, 0, &has));
	ASSERT_EQ(0, has);
	EXPECT_EQ(-EOPNOTSUPP, qda_session(self->fd, audio));
	EXPECT_EQ(0, qda_session_kind(self->fd, QDA_SESSION_USER_UNSIGNED));
}

TEST_F(pds, polling_only_where_the_dsp_can)
{
	struct drm_qda_session_create arg = {
		.kind = QDA_SESSION_USER_UNSIGNED,
		.flags = QDA_SESSION_POLL,
	};
	long long messages = simdsp_stat("cdsp", "messages");
	__u64 polls;

	ASSERT_EQ(0, qda_param(self->fd, QDA_PARAM_POLL, 0, &polls));
	TH_LOG("this DSP can%s be polled", polls ? "" : "not");
	if (!polls) {
		EXPECT_EQ(-EOPNOTSUPP, qda_session(self->fd, arg));
		EXPECT_EQ(messages, simdsp_stat("cdsp", "messages"));
		arg.flags = 0;
	}
	EXPECT_EQ(0, qda_session(self->fd, arg));
	EXPECT_TRUE(alive_in(self->fd, PD_USER));
}

TEST_F(pds, numbers_of_the_driver)
{
	static const struct {
		__u32 param;
		__u64 value;
	} numbers[] = {
		{ QDA_PARAM_ABI_VERSION, QDA_ABI_VERSION },
		{ QDA_PARAM_DOMAIN, QDA_DOMAIN_CDSP },
		{ QDA_PARAM_UNSIGNED, 1 },
		{ QDA_PARAM_MAX_CALLS, 128 },
		{ QDA_PARAM_MAX_INLINE, QDA_MAX_INLINE_SIZE },
		/* Its banks have 32 bits. */
		{ QDA_PARAM_MAX_BUFFER, QDA_MAX_BUFFER_SIZE / 2 },
		{ QDA_PARAM_MAX_SHELL, QDA_MAX_SHELL_SIZE },
	};
	__u64 value;
	char name[16];
	int fd;

	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		EXPECT_EQ(0, qda_param(self->fd, numbers[i].param, 0, &value));
		EXPECT_EQ(numbers[i].value, value);
		EXPECT_EQ(-EINVAL, qda_param(self->fd, numbers[i].param, 1, &value));
	}
	EXPECT_EQ(0, qda_param(self->fd, QDA_PARAM_BANKS, 0, &value));
	EXPECT_EQ(qda_banks("cdsp"), value);
	EXPECT_EQ(0, qda_param(self->fd, QDA_PARAM_NON_SECURE, 0, &value));
	EXPECT_EQ(qda_of_bool("cdsp", "qcom,non-secure-domain"), value);
	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(0, qda_param(self->fd, QDA_PARAM_NAME, i, &value));
		memcpy(name + 8 * i, &value, 8);
	}
	EXPECT_STREQ("cdsp", name);
	EXPECT_EQ(-EINVAL, qda_param(self->fd, QDA_PARAM_NAME, 2, &value));
	EXPECT_EQ(-EINVAL, qda_param(self->fd, QDA_PARAM_MAX_THREADS + 1, 0, &value));
	EXPECT_EQ(-EINVAL, qda_param(self->fd, ~0u, 0, &value));

	fd = qda_open("adsp");
	if (fd < 0)
		return;
	EXPECT_EQ(0, qda_param(fd, QDA_PARAM_DOMAIN, 0, &value));
	EXPECT_EQ(QDA_DOMAIN_ADSP, value);
	EXPECT_EQ(0, qda_param(fd, QDA_PARAM_UNSIGNED, 0, &value));
	EXPECT_EQ(0, value);
	close(fd);
}

static int holder(struct child *parent, void *arg)
{
	int fd = qda_open_process("cdsp");

	child_tell(parent, fd < 0 ? fd : 0);
	child_hear(parent, 60000);
	return 0;
}

TEST_F_TIMEOUT(pds, attributes, 90)
{
	long long releases, queries, messages;
	struct child children[16];
	int banks = qda_banks("cdsp");
	__u64 value;

	/* A channel on which nobody has asked. */
	close(self->fd);
	ASSERT_EQ(0, qda_rebind("cdsp"));
	self->fd = qda_open("cdsp");
	ASSERT_LE(0, self->fd);
	releases = simdsp_stat("cdsp", "releases");
	queries = simdsp_stat("cdsp", "queries");

	EXPECT_EQ(-EINVAL, qda_param(self->fd, QDA_PARAM_DSP_ATTRIBUTE, 256, &value));
	/* Without a bank the DSP can't be asked; the file holds none. */
	ASSERT_GE(16, banks);
	for (int i = 0; i < banks; i++) {
		ASSERT_EQ(0, child_start(&children[i], holder, NULL));
		ASSERT_EQ(0, child_hear(&children[i], 10000));
	}
	EXPECT_EQ(-EBUSY, qda_param(self->fd, QDA_PARAM_DSP_ATTRIBUTE, 6, &value));
	for (int i = 0; i < banks; i++) {
		child_tell(&children[i], 1);
		EXPECT_EQ(0, child_wait(&children[i], 15000));
	}
	ASSERT_TRUE(simdsp_wait_stat("cdsp", "releases", releases + banks, 5000));

	/* An answer that says no is not kept. */
	ASSERT_EQ(0, simdsp_cmd(NULL, SCRIPT(RULE(QUERY(1), FAIL("%lld")) ","
					     RULE(QUERY(2), FAIL("7"))), 0x80000414LL));
	EXPECT_EQ(-EOPNOTSUPP, qda_param(self->fd, QDA_PARAM_DSP_ATTRIBUTE, 6, &value));
	EXPECT_EQ(-EREMOTEIO, qda_param(self->fd, QDA_PARAM_DSP_ATTRIBUTE, 6, &value));
	EXPECT_EQ(queries, simdsp_stat("cdsp", "queries"));

	/* One that says something is, for all attributes and files. */
	EXPECT_EQ(0, qda_param(self->fd, QDA_PARAM_DSP_ATTRIBUTE, 6, &value));
	EXPECT_EQ(0x73, value);
	EXPECT_EQ(queries + 1, simdsp_stat("cdsp", "queries"));
	EXPECT_EQ(PD_ROOT, simdsp_stat("cdsp", "query_pd"));
	EXPECT_EQ(0, simdsp_stat("cdsp", "mappings"));
	messages = simdsp_stat("cdsp", "messages");
	EXPECT_EQ(0, qda_param(self->fd, QDA_PARAM_DSP_ATTRIBUTE, 0, &value));
	EXPECT_EQ(0, value);
	EXPECT_EQ(0, qda_param(self->fd, QDA_PARAM_DSP_ATTRIBUTE, 1, &value));
	EXPECT_EQ(1, value);
	EXPECT_EQ(0, qda_param(self->fd, QDA_PARAM_DSP_ATTRIBUTE, 254, &value));
	EXPECT_EQ(0xfe510254, value);
	EXPECT_EQ(0, qda_param(self->fd, QDA_PARAM_DSP_ATTRIBUTE, 255, &value));
	EXPECT_EQ(0xff510255, value);
	close(self->fd);
	self->fd = -1;
	usleep(50000);
	/* The DSP heard of no process, and so of no end. */
	EXPECT_EQ(messages, simdsp_stat("cdsp", "messages"));
	EXPECT_EQ(releases + banks, simdsp_stat("cdsp", "releases"));
}

TEST_F_TIMEOUT(pds, attributes_by_a_process, 60)
{
	long long queries;
	__u64 value;

	close(self->fd);
	ASSERT_EQ(0, qda_rebind("cdsp"));
	self->fd = qda_open("cdsp");
	ASSERT_LE(0, self->fd);
	queries = simdsp_stat("cdsp", "queries");
	ASSERT_EQ(0, qda_session_kind(self->fd, QDA_SESSION_SENSORS));
	EXPECT_EQ(0, qda_param(self->fd, QDA_PARAM_DSP_ATTRIBUTE, 255, &value));
	EXPECT_EQ(0xff510255, value);
	EXPECT_EQ(queries + 1, simdsp_stat("cdsp", "queries"));
	EXPECT_EQ(PD_SENSORS, simdsp_stat("cdsp", "query_pd"));
	EXPECT_TRUE(alive_in(self->fd, PD_SENSORS));
}

static int query_child(struct child *parent, void *arg)
{
	int fd = qda_open("cdsp");
	__u64 value;

	child_tell(parent, fd < 0 ? fd : qda_param(fd, QDA_PARAM_DSP_ATTRIBUTE, 6, &value));
	return 0;
}

static int create_child(struct child *parent, void *arg)
{
	int fd = qda_open_process("cdsp");

	child_tell(parent, fd < 0 ? fd : 0);
	return 0;
}

TEST_F_TIMEOUT(pds, killed_while_the_dsp_is_asked, 60)
{
	/*
	 * The DSP answers when the caller is long gone, into memory that it still has; then the
	 * bank is free again.
	 */
	int (*const askers[])(struct child *, void *) = { query_child, create_child };
	long long releases;
	__u64 value;

	close(self->fd);
	ASSERT_EQ(0, qda_rebind("cdsp"));
	self->fd = qda_open("cdsp");
	ASSERT_LE(0, self->fd);
	releases = simdsp_stat("cdsp", "releases");
	ASSERT_EQ(0, simdsp_cmd(NULL, SCRIPT(RULE(QUERY(1), DELAY(1000)) ","
					     RULE(FIRST_CREATE, DELAY(1000)))));
	for (size_t i = 0; i < ARRAY_SIZE(askers); i++) {
		struct child child;

		ASSERT_EQ(0, child_start(&child, askers[i], NULL));
		ASSERT_TRUE(simdsp_wait_stat("cdsp", "outstanding", 1, 5000));
		kill(child.pid, SIGKILL);
		ASSERT_LE(0, child_wait(&child, 5000));
		EXPECT_EQ(1, simdsp_stat("cdsp", "outstanding"));
		EXPECT_TRUE(simdsp_wait_stat("cdsp", "outstanding", 0, 5000));
	}
	/* Only one of them has made a process. */
	EXPECT_TRUE(simdsp_wait_stat("cdsp", "releases", releases + 1, 5000));
	EXPECT_TRUE(simdsp_wait_stat("cdsp", "processes", 0, 5000));
	EXPECT_TRUE(simdsp_wait_stat("cdsp", "mappings", 0, 5000));
	EXPECT_EQ(0, qda_param(self->fd, QDA_PARAM_DSP_ATTRIBUTE, 6, &value));
	EXPECT_EQ(0x73, value);
}

TEST_F(pds, death_of_one_process)
{
	long long exits = qda_fdinfo(self->fd, "qda-pd-exits");
	int listening = qda_open_process("cdsp");
	struct simdsp_call held, other_held;
	struct listener listener;
	__u32 handle, other, in = 3, out = 0;
	long long client;

	ASSERT_LE(0, listening);
	ASSERT_LE(0, exits);
	ASSERT_EQ(0, qda_create(self->fd));
	ASSERT_EQ(0, simdsp_open(self->fd, &other));
	ASSERT_EQ(0, simdsp_open(listening, &handle));
	client = qda_fdinfo(listening, "qda-client");
	ASSERT_LT(0, client);
	ASSERT_EQ(0, listener_start(&listener, listening));
	ASSERT_EQ(0, simdsp_call_start(&held, listening, handle, QDA_SCALARS(SIMDSP_HOLD, 0, 0),
				       NULL));
	ASSERT_EQ(0, simdsp_call_start(&other_held, self->fd, other,
				       QDA_SCALARS(SIMDSP_HOLD, 0, 0), NULL));
	ASSERT_TRUE(simdsp_wait_stat("cdsp", "parked", 3, 5000));

	ASSERT_EQ(0, simdsp_cmd(NULL, "kill cdsp %lld", client));
	/* Those who wait for it hear of it, and the notice is no answer to anybody. */
	EXPECT_EQ(DSP_ERROR(0x0d), simdsp_call_join(&held));
	EXPECT_EQ(DSP_ERROR(0x0d), simdsp_call_join(&listener.call));
	for (int i = 0; i < qda_patience(200) && qda_fdinfo(self->fd, "qda-pd-exits") == exits; i++)
		usleep(10000);
	EXPECT_EQ(exits + 1, qda_fdinfo(self->fd, "qda-pd-exits"));
	EXPECT_NE(0, simdsp_echo(listening, handle, &in, &out, 4));

	/* Nobody else does. */
	EXPECT_FALSE(simdsp_call_done(&other_held));
	EXPECT_EQ(0, simdsp_echo(self->fd, other, &in, &out, 4));
	EXPECT_EQ(in, out);
	close(listening);
	listening = qda_open_process("cdsp");
	ASSERT_LE(0, listening);
	EXPECT_TRUE(alive_in(listening, PD_USER));
	close(listening);
	EXPECT_EQ(0, simdsp_cmd(NULL, "release-held cdsp 9"));
	EXPECT_EQ(9, simdsp_call_join(&other_held));
}

/* Whether everything that needs the process of a file fails with EPIPE, at once. */
static bool is_dead(int fd, __u32 handle)
{
	struct drm_qda_mem_map map = { .request = QDA_MAP_REQUEST_ATTR, .flags = QDA_MAP_FD };
	struct drm_qda_mem_unmap unmap = { .request = QDA_MAP_REQUEST_ATTR, .size = 4096 };
	long long start = qda_now_ms();
	struct qda_buf buf;
	__s32 status;
	bool dead;

	/* The file has buffers still, and may make more. */
	if (qda_buf_new(fd, 4096, &buf))
		return false;
	map.handle = buf.handle;
	map.dsp_handle = 3;
	map.vaddrin = (uintptr_t)buf.map;
	map.size = buf.size;
	dead = simdsp_hold(fd, handle) == -EPIPE &&
	       qda_call(fd, handle, QDA_SCALARS(SIMDSP_HOLD, 0, 0), NULL, &status) == -EPIPE &&
	       qda_ioctl(fd, DRM_IOCTL_QDA_MAP, &map) == -EPIPE &&
	       qda_ioctl(fd, DRM_IOCTL_QDA_MUNMAP, &unmap) == -EPIPE &&
	       /* There was one, and a file has no second. */
	       qda_create(fd) == -EEXIST &&
	       qda_fdinfo(fd, "qda-client") == -ENOENT;
	qda_buf_free(&buf);
	return dead && qda_now_ms() - start < qda_patience(3000);
}

/* Waits until a bank maps nothing. */
static bool unmapped(int bank, int ms)
{
	long long end = qda_now_ms() + qda_patience(ms);

	while (simdsp_mappings("cdsp", bank, NULL, 0)) {
		if (qda_now_ms() > end)
			return false;
		usleep(20000);
	}
	return true;
}

TEST_F(pds, death_that_says_whose_it_is)
{
	long long exits = qda_fdinfo(self->fd, "qda-pd-exits");
	long long releases = simdsp_stat("cdsp", "releases"), start;
	int dying = qda_open_process("cdsp"), next, bank;
	struct simdsp_call held, other_held;
	struct listener listener;
	__u32 handle, other, in = 3, out = 0;

	ASSERT_LE(0, dying);
	ASSERT_EQ(0, qda_create(self->fd));
	ASSERT_EQ(0, simdsp_open(self->fd, &other));
	ASSERT_EQ(0, simdsp_open(dying, &handle));
	bank = qda_fdinfo(dying, "qda-bank");
	ASSERT_EQ(0, listener_start(&listener, dying));
	ASSERT_EQ(0, simdsp_call_start(&held, dying, handle, QDA_SCALARS(SIMDSP_HOLD, 0, 0),
				       NULL));
	ASSERT_EQ(0, simdsp_call_start(&other_held, self->fd, other,
				       QDA_SCALARS(SIMDSP_HOLD, 0, 0), NULL));
	ASSERT_TRUE(simdsp_wait_stat("cdsp", "parked", 3, 5000));

	/* The DSP answers nothing that was asked of it. */
	start = qda_now_ms();
	ASSERT_EQ(0, simdsp_cmd(NULL, "kill cdsp %lld named", qda_fdinfo(dying, "qda-client")));
	EXPECT_EQ(-EPIPE, simdsp_call_join(&held));
	EXPECT_EQ(-EPIPE, simdsp_call_join(&listener.call));
	EXPECT_GT(qda_patience(3000), qda_now_ms() - start);
	EXPECT_TRUE(is_dead(dying, handle));
	EXPECT_EQ(exits + 1, qda_fdinfo(self->fd, "qda-pd-exits"));

	/* It is released, and its bank is free, with the file still open. */
	EXPECT_TRUE(simdsp_wait_stat("cdsp", "releases", releases + 1, 5000));
	EXPECT_TRUE(simdsp_wait_stat("cdsp", "processes", 1, 5000));
	EXPECT_TRUE(unmapped(bank, 5000));
	EXPECT_TRUE(is_dead(dying, handle));
	next = qda_open_process("cdsp");
	ASSERT_LE(0, next);
	EXPECT_TRUE(alive_in(next, PD_USER));
	close(dying);
	usleep(50000);
	EXPECT_EQ(releases + 1, simdsp_stat("cdsp", "releases"));

	/* Nobody else has noticed. */
	EXPECT_FALSE(simdsp_call_done(&other_held));
	EXPECT_EQ(0, simdsp_echo(self->fd, other, &in, &out, 4));
	EXPECT_EQ(in, out);
	EXPECT_TRUE(alive_in(next, PD_USER));
	close(next);
	EXPECT_EQ(0, simdsp_cmd(NULL, "release-held cdsp 9"));
	EXPECT_EQ(9, simdsp_call_join(&other_held));
	EXPECT_TRUE(simdsp_wait_stat("cdsp", "outstanding", 0, 5000));
	EXPECT_EQ(0, qda_fdinfo(self->fd, "qda-calls"));
}

TEST_F_TIMEOUT(pds, death_that_nobody_confirms, 90)
{
	/* Its callers leave all the same; its bank is unmapped, and stays out of use. */
	int dying = qda_open_process("cdsp"), bank, banks = qda_banks("cdsp"), next[16];
	struct simdsp_call held;
	long long start;
	__u32 handle;

	ASSERT_LE(0, dying);
	ASSERT_GE(16, banks);
	ASSERT_EQ(0, simdsp_open(dying, &handle));
	bank = qda_fdinfo(dying, "qda-bank");
	ASSERT_EQ(0, simdsp_call_start(&held, dying, handle, QDA_SCALARS(SIMDSP_HOLD, 0, 0),
				       NULL));
	ASSERT_TRUE(simdsp_wait_stat("cdsp", "held", 1, 5000));
	ASSERT_EQ(0, simdsp_cmd(NULL, SCRIPT(RULE(RELEASE, "\"drop\""))));
	start = qda_now_ms();
	ASSERT_EQ(0, simdsp_cmd(NULL, "kill cdsp %lld named", qda_fdinfo(dying, "qda-client")));
	EXPECT_EQ(-EPIPE, simdsp_call_join(&held));
	EXPECT_TRUE(is_dead(dying, handle));
	EXPECT_GT(qda_patience(5000), qda_now_ms() - start);
	EXPECT_TRUE(unmapped(bank, 20000));
	ASSERT_EQ(0, simdsp_cmd(NULL, SCRIPT()));
	for (int i = 0; i < banks - 1; i++) {
		next[i] = qda_open_process("cdsp");
		ASSERT_LE(0, next[i]);
		EXPECT_NE(bank, qda_fdinfo(next[i], "qda-bank"));
	}
	for (int i = 0; i < banks - 1; i++)
		close(next[i]);
	start = qda_now_ms();
	close(dying);
	EXPECT_GT(qda_patience(3000), qda_now_ms() - start);
	close(self->fd);
	ASSERT_EQ(0, qda_rebind("cdsp"));
	self->fd = qda_open_process("cdsp");
	ASSERT_LE(0, self->fd);
	EXPECT_TRUE(alive_in(self->fd, PD_USER));
}

/* Makes a process, and calls it. Tells what comes of both. */
static int create_and_call(struct child *parent, void *arg)
{
	int fd = qda_open("cdsp");
	__u32 handle;

	child_tell(parent, fd < 0 ? fd : 1);
	child_hear(parent, 10000);
	child_tell(parent, qda_create(fd));
	child_hear(parent, 10000);
	child_tell(parent, simdsp_open(fd, &handle));
	return 0;
}

TEST_F_TIMEOUT(pds, death_as_soon_as_it_is_made, 60)
{
	long long releases;
	struct child child;
	int client;

	/* The numbers of processes follow each other. */
	ASSERT_EQ(0, qda_create(self->fd));
	client = qda_fdinfo(self->fd, "qda-client") + 1;
	releases = simdsp_stat("cdsp", "releases");
	ASSERT_EQ(0, child_start(&child, create_and_call, NULL));
	ASSERT_EQ(1, child_hear(&child, 10000));
	ASSERT_EQ(0, simdsp_cmd(NULL, SCRIPT(RULE(FIRST_CREATE, DELAY(1000)))));
	child_tell(&child, 1);
	ASSERT_TRUE(simdsp_wait_stat("cdsp", "outstanding", 1, 5000));
	/* Before it is made the notice is early: what the DSP answers is told first. */
	EXPECT_EQ(0, simdsp_cmd(NULL, NOTICE, client & 0xff, client >> 8));
	usleep(100000);
	EXPECT_EQ(1, simdsp_stat("cdsp", "outstanding"));
	EXPECT_EQ(releases, simdsp_stat("cdsp", "releases"));
	EXPECT_EQ(0, child_hear(&child, 10000));
	EXPECT_TRUE(simdsp_wait_stat("cdsp", "releases", releases + 1, 5000));
	child_tell(&child, 1);
	EXPECT_EQ(-EPIPE, child_hear(&child, 5000));
	EXPECT_EQ(0, child_wait(&child, 5000));
	EXPECT_EQ(releases + 1, simdsp_stat("cdsp", "releases"));
	EXPECT_TRUE(alive_in(self->fd, PD_USER));
}

FIXTURE(audio)
{
	bool skipped;
};

FIXTURE_SETUP(audio)
{
	const char *why = qda_test_begin("audio", _metadata->name, true);

	self->skipped = true;
	if (why)
		SKIP(return, "%s", why);
	if (!qda_of_bool("adsp", "memory-region"))
		SKIP(return, "no memory is reserved for the adsp");
	self->skipped = false;
	/* A DSP that has not got the memory. */
	ASSERT_EQ(0, start_anew("adsp"));
}

FIXTURE_TEARDOWN(audio)
{
	EXPECT_EQ(0, qda_test_end());
}

/* Return: a file with the static process of a DSP, or the status or errno of asking for it. */
static int open_static(const char *dsp)
{
	int fd = qda_open(dsp), ret;

	if (fd < 0)
		return fd;
	ret = qda_session(fd, audio);
	if (!ret)
		return fd;
	close(fd);
	return ret < 0 ? ret : -EREMOTEIO;
}

static int open_audio(void)
{
	return open_static("adsp");
}

TEST_F(audio, memory_is_handed_over_once)
{
	long long heaps = simdsp_stat("adsp", "heaps");
	long long creates = simdsp_stat("adsp", "creates");
	int fds[2];
	__u64 has;

	for (int i = 0; i < 2; i++) {
		fds[i] = open_audio();
		ASSERT_LE(0, fds[i]);
	}
	EXPECT_EQ(0, qda_param(fds[0], QDA_PARAM_STATIC, 0, &has));
	EXPECT_EQ(1, has);
	EXPECT_EQ(heaps + 1, simdsp_stat("adsp", "heaps"));
	EXPECT_EQ(creates + 2, simdsp_stat("adsp", "creates"));
	EXPECT_TRUE(alive_in(fds[0], PD_USER));
	EXPECT_TRUE(alive_in(fds[1], PD_USER));
	close(fds[0]);
	close(fds[1]);

	/* Also when the DSP's process has ended. */
	fds[0] = open_audio();
	ASSERT_LE(0, fds[0]);
	EXPECT_EQ(heaps + 1, simdsp_stat("adsp", "heaps"));
	EXPECT_TRUE(alive_in(fds[0], PD_USER));
	close(fds[0]);

	/* A DSP that has come up anew has nothing. */
	ASSERT_EQ(0, start_anew("adsp"));
	fds[0] = open_audio();
	ASSERT_LE(0, fds[0]);
	EXPECT_EQ(heaps + 2, simdsp_stat("adsp", "heaps"));
	close(fds[0]);
}

TEST_F(audio, memory_stays_with_a_dsp_that_runs)
{
	long long heaps = simdsp_stat("adsp", "heaps");
	int fd;

	for (int i = 0; i < 3; i++) {
		fd = open_audio();
		ASSERT_LE(0, fd);
		EXPECT_EQ(heaps + 1, simdsp_stat("adsp", "heaps"));
		EXPECT_TRUE(alive_in(fd, PD_USER));
		close(fd);
		/* The driver goes, and the DSP keeps what it has. */
		ASSERT_EQ(0, qda_rebind("adsp"));
	}
}

TEST_F(audio, memory_that_the_dsp_refused)
{
	long long heaps = simdsp_stat("adsp", "heaps");
	int fd = qda_open("adsp");

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, simdsp_cmd(NULL, SCRIPT(RULE(FIRST_STATIC, FAIL("5")))));
	EXPECT_EQ(5, qda_session(fd, audio));
	EXPECT_EQ(heaps, simdsp_stat("adsp", "heaps"));
	EXPECT_EQ(0, qda_session(fd, audio));
	EXPECT_EQ(heaps + 1, simdsp_stat("adsp", "heaps"));
	EXPECT_TRUE(alive_in(fd, PD_USER));
	close(fd);
}

static int audio_child(struct child *parent, void *arg)
{
	int fd = open_audio();

	child_tell(parent, fd < 0 ? fd : 0);
	return 0;
}

TEST_F(audio, two_at_once)
{
	long long messages = simdsp_stat("adsp", "messages");
	struct child child;
	int fd;

	ASSERT_EQ(0, simdsp_cmd(NULL, SCRIPT(RULE(FIRST_STATIC, "\"hold\""))));
	ASSERT_EQ(0, child_start(&child, audio_child, NULL));
	ASSERT_TRUE(simdsp_wait_stat("adsp", "held", 1, 5000));
	/* Whether the DSP has the memory is not known yet. */
	EXPECT_EQ(-EBUSY, open_audio());
	EXPECT_EQ(messages + 1, simdsp_stat("adsp", "messages"));
	ASSERT_EQ(0, simdsp_cmd(NULL, "release-held adsp"));
	EXPECT_EQ(0, child_hear(&child, 5000));
	EXPECT_EQ(0, child_wait(&child, 5000));
	fd = open_audio();
	EXPECT_LE(0, fd);
	close(fd);
}

TEST_F(audio, killed_while_it_is_handed_over)
{
	long long heaps = simdsp_stat("adsp", "heaps");
	struct child child;
	int fd;

	ASSERT_EQ(0, simdsp_cmd(NULL, SCRIPT(RULE(FIRST_STATIC, DELAY(1500)))));
	ASSERT_EQ(0, child_start(&child, audio_child, NULL));
	ASSERT_TRUE(simdsp_wait_stat("adsp", "outstanding", 1, 5000));
	kill(child.pid, SIGKILL);
	ASSERT_LE(0, child_wait(&child, 5000));
	/* The DSP gets it all the same, and is not told of it again. */
	ASSERT_TRUE(simdsp_wait_stat("adsp", "heaps", heaps + 1, 5000));
	fd = open_audio();
	EXPECT_LE(0, fd);
	EXPECT_EQ(heaps + 1, simdsp_stat("adsp", "heaps"));
	close(fd);
}

FIXTURE(audio_restart)
{
	char processor[128];
};

FIXTURE_VARIANT(audio_restart)
{
	enum how how;
};

FIXTURE_VARIANT_ADD(audio_restart, channel) { .how = CHANNEL };
FIXTURE_VARIANT_ADD(audio_restart, stop) { .how = STOP };
FIXTURE_VARIANT_ADD(audio_restart, crash) { .how = CRASH };

FIXTURE_SETUP(audio_restart)
{
	const char *why = qda_test_begin("audio_restart", _metadata->name, true);

	self->processor[0] = '\0';
	if (why)
		SKIP(return, "%s", why);
	if (!qda_of_bool("adsp", "memory-region"))
		SKIP(return, "no memory is reserved for the adsp");
	if (variant->how != CHANNEL &&
	    !find_processor("adsp", self->processor, sizeof(self->processor)))
		SKIP(return, "no remote processor that can be stopped");
	ASSERT_EQ(0, start_anew("adsp"));
}

FIXTURE_TEARDOWN(audio_restart)
{
	char name[128];

	if (self->processor[0] && !find_processor("adsp", name, sizeof(name)))
		EXPECT_EQ(0, sysfs_write(PROCESSORS "/bind", self->processor));
	EXPECT_EQ(0, qda_test_end());
}

TEST_F_TIMEOUT(audio_restart, memory_is_handed_over_anew, 90)
{
	long long heaps = simdsp_stat("adsp", "heaps");
	int old, again, other;

	old = open_audio();
	ASSERT_LE(0, old);
	EXPECT_EQ(heaps + 1, simdsp_stat("adsp", "heaps"));

	/* Twice: the second start is not the first one's. */
	for (int i = 2; i < 4; i++) {
		ASSERT_EQ(0, go_down(variant->how, "adsp", self->processor));
		ASSERT_TRUE(is_gone(old));
		again = come_up_with(variant->how, "adsp", self->processor, open_static);
		ASSERT_LE(0, again);
		EXPECT_EQ(heaps + i, simdsp_stat("adsp", "heaps"));
		EXPECT_TRUE(alive_in(again, PD_USER));

		/* Once only, also when the file of the DSP that went is closed. */
		close(old);
		other = open_audio();
		ASSERT_LE(0, other);
		EXPECT_EQ(heaps + i, simdsp_stat("adsp", "heaps"));
		EXPECT_TRUE(alive_in(other, PD_USER));
		EXPECT_TRUE(alive_in(again, PD_USER));
		close(other);
		old = again;
	}
	close(old);
}

TEST_F_TIMEOUT(audio_restart, while_the_memory_is_handed_over, 90)
{
	long long heaps = simdsp_stat("adsp", "heaps");
	struct child child;
	int again;

	ASSERT_EQ(0, simdsp_cmd(NULL, SCRIPT(RULE(FIRST_STATIC, "\"hold\""))));
	ASSERT_EQ(0, child_start(&child, audio_child, NULL));
	ASSERT_TRUE(simdsp_wait_stat("adsp", "held", 1, 5000));
	ASSERT_EQ(0, go_down(variant->how, "adsp", self->processor));
	EXPECT_EQ(-EPIPE, child_hear(&child, 10000));
	EXPECT_EQ(0, child_wait(&child, 5000));

	/* Whether the DSP that went had the memory does not count. */
	again = come_up_with(variant->how, "adsp", self->processor, open_static);
	ASSERT_LE(0, again);
	EXPECT_EQ(heaps + 1, simdsp_stat("adsp", "heaps"));
	EXPECT_TRUE(alive_in(again, PD_USER));
	close(again);
}

TEST_HARNESS_MAIN
