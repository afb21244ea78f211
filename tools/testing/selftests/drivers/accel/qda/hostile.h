/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests of a hostile DSP share: a session that is under fire, and one that is not. The
 * test ends well if the other has noticed nothing, the kernel has kept its temper, and nothing is
 * left.
 *
 * What is random follows QDA_HOSTILE_SEED in the environment, which is printed.
 */
#ifndef HOSTILE_H
#define HOSTILE_H

#include <errno.h>
#include <signal.h>
#include <stdlib.h>

#include "bystander.h"
#include "harness.h"
#include "module.h"
#include "qda.h"
#include "simdsp.h"

#define ANSWER		0x1234

/* Lines that the kernel may say in a test: a DSP must not be able to fill its log. */
#define MOST_LINES	10

FIXTURE(hostile)
{
	struct bystander bystander;
	int log;
	int most_lines;
	int fd;
	__u32 handle;
	int client;
};

static inline void on_signal(int signal)
{
}

FIXTURE_SETUP(hostile)
{
	const char *why = qda_test_begin("hostile", _metadata->name, true);

	self->fd = -1;
	if (why)
		SKIP(return, "%s", why);
	/* Makes calls end with EINTR. */
	sigaction(SIGUSR1, &(struct sigaction) { .sa_handler = on_signal }, NULL);
	self->most_lines = MOST_LINES;
	self->log = kernel_log_open();
	ASSERT_LE(0, self->log);
	ASSERT_EQ(0, bystander_start(&self->bystander, "cdsp"));
	self->fd = qda_open_process("cdsp");
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, simdsp_open(self->fd, &self->handle));
	self->client = qda_fdinfo(self->fd, "qda-client");
	ASSERT_LT(0, self->client);
}

FIXTURE_TEARDOWN(hostile)
{
	if (self->fd < 0)
		return;
	close(self->fd);
	EXPECT_EQ(0, simdsp_cmd(NULL, "script {\"replace\":true}"));
	bystander_pause(&self->bystander, true);
	EXPECT_TRUE(bystander_alone(&self->bystander));
	bystander_pause(&self->bystander, false);
	EXPECT_TRUE(bystander_stop(&self->bystander));
	EXPECT_TRUE(simdsp_wait_stat("cdsp", "processes", 0, 5000));
	EXPECT_TRUE(simdsp_wait_stat("cdsp", "mappings", 0, 5000));
	EXPECT_GE(self->most_lines, kernel_log_close(self->log));
	EXPECT_EQ(0, qda_test_end());
}

static inline __u64 seed(struct __test_metadata *_metadata)
{
	const char *wish = getenv("QDA_HOSTILE_SEED");
	__u64 seed = wish ? strtoull(wish, NULL, 0) : qda_now_ms();

	TH_LOG("QDA_HOSTILE_SEED=%llu", seed);
	return seed;
}

/* The next number of a sequence, below @limit. */
static inline __u32 draw(__u64 *state, __u32 limit)
{
	*state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (*state >> 33) % limit;
}

/* Has the DSP do @actions, JSON, with every call of a client; nothing else from before. */
static inline int with_client(int client, const char *actions)
{
	return simdsp_cmd(NULL,
			  "script {\"replace\":true,\"rules\":[{\"dsp\":\"cdsp\",\"client\":%d,\"actions\":[%s]}]}",
			  client, actions);
}

#define with_calls(self, ...)						\
({									\
	char actions[2048];						\
									\
	snprintf(actions, sizeof(actions), __VA_ARGS__);		\
	with_client((self)->client, actions);				\
})

static inline int without(struct _test_data_hostile *self)
{
	return with_client(self->client, "");
}

/* Whether an answer gets through, with all that belongs to it. */
static inline bool answered(int fd, __u32 handle, __s32 status)
{
	__u8 in[500], out[500];
	struct drm_qda_invoke_arg args[3] = {
		qda_inline(&status, 4), qda_inline(in, 500), qda_inline(out, 500),
	};

	qda_fill(in, sizeof(in), status);
	memset(out, 0, sizeof(out));
	return qda_invoke(fd, handle, QDA_SCALARS(SIMDSP_STATUS, 2, 1), args) == status &&
	       qda_filled(out, sizeof(out), status);
}

/* Maps a buffer into the DSP process. */
static inline int map(int fd, const struct qda_buf *buf, __s32 number, __u64 *address)
{
	struct drm_qda_mem_map arg = {
		.request = QDA_MAP_REQUEST_ATTR,
		.flags = QDA_MAP_FD,
		.handle = buf->handle,
		.dsp_handle = number,
		.vaddrin = (uintptr_t)buf->map,
		.size = buf->size,
	};
	int ret = qda_ioctl(fd, DRM_IOCTL_QDA_MAP, &arg);

	*address = arg.vaddrout;
	return ret;
}

static inline int unmap(int fd, const struct qda_buf *buf, __s32 number, __u64 address)
{
	struct drm_qda_mem_unmap arg = {
		.request = QDA_MAP_REQUEST_ATTR,
		.dsp_handle = number,
		.vaddr = address,
		.size = buf->size,
	};

	return qda_ioctl(fd, DRM_IOCTL_QDA_MUNMAP, &arg);
}

/* Has the DSP do @actions with calls of the kernel; nothing else from before. */
static inline int with_kernels(const char *actions)
{
	return simdsp_cmd(NULL,
			  "script {\"replace\":true,\"rules\":[{\"dsp\":\"cdsp\",\"handle\":1,\"actions\":[%s]}]}",
			  actions);
}

#define with_kernel(...)						\
({									\
	char actions[256];						\
									\
	snprintf(actions, sizeof(actions), __VA_ARGS__);		\
	with_kernels(actions);						\
})

#endif /* HOSTILE_H */
