// SPDX-License-Identifier: GPL-2.0
/*
 * QDA: the CPU and the DSP see what the other one writes into a dma-buf, also where the DSP does
 * not see the CPU's caches. Programs leave that to the driver: they make no DMA_BUF_IOCTL_SYNC.
 *
 * Hardware shows it with the system heap, the simulator with the heaps of a module for tests.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/dma-buf.h>

#include "child.h"
#include "dmabuf.h"
#include "fixture.h"
#include "harness.h"
#include "module.h"
#include "qda.h"
#include "queue.h"
#include "simdsp.h"

#define SIZE	65536
#define ROUNDS	4

/* What the CPU has in a buffer before the DSP writes there. */
#define BEFORE	0xee

/* More than any call has. */
#define MAX_ARGS	4

/* Ways to make a call. */
enum way {
	/* DRM_QDA_INVOKE with GEM handles. */
	INVOKE,
	/* The same with the descriptors of dma-bufs, as the FastRPC library has them. */
	NUMBER,
	/* DRM_QDA_CALL. */
	CALL,
	/* DRM_QDA_SUBMIT and DRM_QDA_REAP. */
	SUBMIT,
};

/* A DSP process. */
struct client {
	int fd;
	__u32 handle;
	enum way way;
};

/* A buffer of one, which is @dmabuf. */
struct view {
	struct qda_buf buf;
	int dmabuf;
};

/* An argument: part of a buffer, or, without one, of the caller's memory. */
struct arg {
	const struct view *view;
	size_t at;
	size_t len;
	void *ptr;
};

FIXTURE(caches)
{
	struct client client;
	struct view view;
	long long lost;
};

FIXTURE_VARIANT(caches)
{
	const char *heap;
	enum way way;
};

FIXTURE_VARIANT_ADD(caches, invoke) { .heap = HEAP_TWO_VIEWS, .way = INVOKE };
FIXTURE_VARIANT_ADD(caches, number) { .heap = HEAP_TWO_VIEWS, .way = NUMBER };
FIXTURE_VARIANT_ADD(caches, call) { .heap = HEAP_TWO_VIEWS, .way = CALL };
FIXTURE_VARIANT_ADD(caches, submit) { .heap = HEAP_TWO_VIEWS, .way = SUBMIT };
FIXTURE_VARIANT_ADD(caches, no_sync_invoke) { .heap = HEAP_NO_SYNC, .way = INVOKE };
FIXTURE_VARIANT_ADD(caches, no_sync_number) { .heap = HEAP_NO_SYNC, .way = NUMBER };
FIXTURE_VARIANT_ADD(caches, no_sync_call) { .heap = HEAP_NO_SYNC, .way = CALL };
FIXTURE_VARIANT_ADD(caches, no_sync_submit) { .heap = HEAP_NO_SYNC, .way = SUBMIT };
FIXTURE_VARIANT_ADD(caches, system_invoke) { .heap = "system", .way = INVOKE };
FIXTURE_VARIANT_ADD(caches, system_submit) { .heap = "system", .way = SUBMIT };

static int client_open(struct client *client, enum way way)
{
	int ret;

	client->way = way;
	client->fd = qda_open_process("cdsp");
	if (client->fd < 0)
		return client->fd;
	ret = simdsp_open(client->fd, &client->handle);
	if (!ret && way == SUBMIT)
		ret = queue_create(client->fd, 8, 4);
	return ret;
}

/* Gives a client a handle of @dmabuf, and maps it. */
static int view_import(const struct client *client, int dmabuf, struct view *view)
{
	int ret;

	*view = (struct view) { .buf = { .fd = client->fd, .size = SIZE }, .dmabuf = dmabuf };
	ret = dmabuf_import(client->fd, dmabuf, &view->buf.handle);
	if (ret)
		return ret;
	view->buf.map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, dmabuf, 0);
	return view->buf.map == MAP_FAILED ? -errno : 0;
}

static int view_new(const struct client *client, const char *heap, struct view *view)
{
	int dmabuf = dmabuf_alloc(heap, SIZE);

	return dmabuf < 0 ? dmabuf : view_import(client, dmabuf, view);
}

/* What a client calls it, where that takes a descriptor as well as a handle. */
static __u32 view_number(const struct client *client, const struct view *view)
{
	return client->way == NUMBER ? (__u32)view->dmabuf : view->buf.handle;
}

static void view_free(struct view *view)
{
	qda_buf_free(&view->buf);
	close(view->dmabuf);
}

static struct arg part(const struct view *view, size_t at, size_t len)
{
	return (struct arg) { .view = view, .at = at, .len = len };
}

static struct arg bytes(void *ptr, size_t len)
{
	return (struct arg) { .ptr = ptr, .len = len };
}

static int submit(const struct client *client, __u32 scalars, const struct drm_qda_call_arg *args)
{
	struct drm_qda_submission submission = queue_call(client->handle, scalars, args, 1);
	struct drm_qda_completion completion;
	int ret = queue_submit(client->fd, &submission, 1);

	if (ret != 1)
		return ret ?: -EIO;
	do {
		ret = queue_reap(client->fd, &completion, 1, 1, qda_patience(10000));
	} while (ret == -EINTR);
	if (ret != 1)
		return ret ?: -EIO;
	return completion.error ?: completion.status;
}

/*
 * Makes a call; those arguments that are not buffers by @scalars are handles.
 *
 * Return: what the kernel returned, or the DSP's status.
 */
static int make(const struct client *client, __u32 scalars, const struct arg *args)
{
	__u32 count = qda_arg_count(scalars);
	__u32 buffers = (scalars >> 16 & 0xff) + (scalars >> 8 & 0xff);
	struct drm_qda_invoke_arg invoke_args[MAX_ARGS];
	struct drm_qda_call_arg call_args[MAX_ARGS];
	__s32 status;
	int ret;

	for (__u32 i = 0; i < count; i++) {
		const struct arg *arg = &args[i];

		if (!arg->view) {
			invoke_args[i] = qda_inline(arg->ptr, arg->len);
			call_args[i] = qda_bytes(arg->ptr, arg->len);
			continue;
		}
		invoke_args[i] = qda_ref(&arg->view->buf, arg->at, arg->len);
		if (i >= buffers)
			invoke_args[i].ptr = arg->at;
		invoke_args[i].handle = view_number(client, arg->view);
		call_args[i] = qda_part(&arg->view->buf, arg->at, arg->len);
	}
	switch (client->way) {
	case CALL:
		ret = qda_call(client->fd, client->handle, scalars, call_args, &status);
		return ret ?: status;
	case SUBMIT:
		return submit(client, scalars, call_args);
	default:
		return qda_invoke(client->fd, client->handle, scalars, invoke_args);
	}
}

/* Has the DSP read part of a buffer. Return: whether it finds what the CPU has there. */
static bool is_read(const struct client *client, const struct view *view, size_t at, size_t len)
{
	__u64 sum = 0;
	struct arg args[2] = { part(view, at, len), bytes(&sum, sizeof(sum)) };

	return !make(client, QDA_SCALARS(SIMDSP_CHECKSUM, 1, 1), args) &&
	       sum == simdsp_checksum(view->buf.map + at, len);
}

/* Has the DSP fill part of a buffer. Return: whether the CPU finds that there. */
static bool is_filled(const struct client *client, const struct view *view, size_t at, size_t len,
		      __u32 seed)
{
	struct arg args[2] = { bytes(&seed, sizeof(seed)), part(view, at, len) };

	return !make(client, QDA_SCALARS(SIMDSP_FILL, 1, 1), args) &&
	       simdsp_filled(view->buf.map + at, len, seed);
}

static int echo(const struct client *client, int method, struct arg in, struct arg out)
{
	struct arg args[2] = { in, out };

	return make(client, QDA_SCALARS(method, 1, 1), args);
}

/* Lends parts of a buffer to the DSP, which reads the one and fills the other. */
static int lend(const struct client *client, const struct view *view, struct arg in, struct arg out,
		__u32 seed, __u64 *sum)
{
	struct arg args[4] = { bytes(&seed, sizeof(seed)), bytes(sum, sizeof(*sum)), in, out };

	return make(client, QDA_SCALARS(SIMDSP_HANDLES, 1, 1) | QDA_SCALARS_HANDLES(1, 1), args);
}

/* Has the DSP give it back, so often. */
static int give_back(const struct client *client, const struct view *view, int times)
{
	__u64 numbers[MAX_ARGS];
	struct arg arg = bytes(numbers, times * sizeof(numbers[0]));

	for (int i = 0; i < times; i++)
		numbers[i] = view_number(client, view);
	return make(client, QDA_SCALARS(SIMDSP_GIVE_BACK, 1, 0), &arg);
}

static int map(const struct client *client, const struct view *view, __u64 *address)
{
	struct drm_qda_mem_map args = {
		.request = QDA_MAP_REQUEST_ATTR,
		.flags = QDA_MAP_FD,
		.handle = view_number(client, view),
		.vaddrin = (uintptr_t)view->buf.map,
		.size = SIZE,
	};
	int ret = qda_ioctl(client->fd, DRM_IOCTL_QDA_MAP, &args);

	*address = args.vaddrout;
	return ret;
}

static int unmap(const struct client *client, const struct view *view, __u64 address)
{
	struct drm_qda_mem_unmap args = {
		.request = QDA_MAP_REQUEST_ATTR,
		.handle = view_number(client, view),
		.vaddr = address,
		.size = SIZE,
	};

	return qda_ioctl(client->fd, DRM_IOCTL_QDA_MUNMAP, &args);
}

/* Has the DSP read, or fill, all of a mapped buffer; no argument tells of it. */
static int mapped(const struct client *client, const struct view *view, bool write, __u64 *sum)
{
	__u32 in[4] = { view_number(client, view), 0, SIZE, write };
	struct arg args[2] = { bytes(in, sizeof(in)), bytes(sum, sizeof(*sum)) };

	return make(client, QDA_SCALARS(SIMDSP_MAPPED, 1, 1), args);
}

/* Has the DSP hold, or no longer hold, each call of SIMDSP_ECHO before it executes it. */
static int hold_echoes(bool hold)
{
	return simdsp_cmd(NULL, "script {\"replace\":true,\"rules\":[%s]}", hold ?
			  "{\"module\":\"simdsp\",\"method\":2,\"actions\":[\"hold\"]}" : "");
}

FIXTURE_SETUP(caches)
{
	const char *why = qda_test_begin("caches", _metadata->name, true);

	self->client.fd = -1;
	self->view.dmabuf = -1;
	if (why)
		SKIP(return, "%s", why);
	if (access("/dev/dma_heap", F_OK))
		SKIP(return, "no dma-heaps");
	self->lost = dmabuf_views("lost");
	if (self->lost < 0 && strcmp(variant->heap, "system"))
		SKIP(return, "needs the module qda_two_views");
	ASSERT_EQ(0, client_open(&self->client, variant->way));
	ASSERT_EQ(0, view_new(&self->client, variant->heap, &self->view));
}

FIXTURE_TEARDOWN(caches)
{
	if (self->view.dmabuf >= 0)
		view_free(&self->view);
	if (self->client.fd >= 0)
		close(self->client.fd);
	/* Nothing that the CPU wrote was dropped. */
	EXPECT_EQ(self->lost, dmabuf_views("lost"));
	EXPECT_EQ(0, qda_test_end());
}

TEST_F(caches, untouched)
{
	/* It is zeroed, and the CPU has done that. */
	EXPECT_TRUE(is_read(&self->client, &self->view, 0, SIZE));
}

TEST_F(caches, in_argument)
{
	for (int i = 0; i < ROUNDS; i++) {
		qda_fill(self->view.buf.map, SIZE, i);
		EXPECT_TRUE(is_read(&self->client, &self->view, 0, SIZE));
	}
	/* A few bytes. */
	for (int i = 0; i < ROUNDS; i++) {
		self->view.buf.map[5000 + i]++;
		EXPECT_TRUE(is_read(&self->client, &self->view, 4999, 3 + i));
	}
}

TEST_F(caches, out_argument)
{
	for (int i = 0; i < ROUNDS; i++) {
		EXPECT_TRUE(is_filled(&self->client, &self->view, 0, SIZE, i));
		EXPECT_TRUE(is_filled(&self->client, &self->view, 4099, 7, i));
	}
}

TEST_F(caches, out_argument_that_the_cpu_has_touched)
{
	for (int i = 0; i < ROUNDS; i++) {
		/* Other parts are the CPU's, down to the byte. */
		memset(self->view.buf.map, BEFORE + i, SIZE);
		EXPECT_TRUE(is_filled(&self->client, &self->view, 5003, 30001, i));
		EXPECT_TRUE(qda_all(self->view.buf.map, 5003, BEFORE + i));
		EXPECT_TRUE(qda_all(self->view.buf.map + 35004, SIZE - 35004, BEFORE + i));
	}
}

TEST_F(caches, in_and_out_argument)
{
	__u8 *bytes = self->view.buf.map;

	for (int i = 0; i < ROUNDS; i++) {
		memset(bytes, BEFORE, SIZE);
		qda_fill(bytes + 10, 5000, i);
		EXPECT_EQ(0, echo(&self->client, SIMDSP_ECHO, part(&self->view, 10, 5000),
				  part(&self->view, 30000, 5000)));
		EXPECT_TRUE(qda_filled(bytes + 10, 5000, i));
		EXPECT_TRUE(qda_filled(bytes + 30000, 5000, i));
		EXPECT_TRUE(qda_all(bytes + 5010, 30000 - 5010, BEFORE));
		EXPECT_TRUE(qda_all(bytes + 35000, SIZE - 35000, BEFORE));
	}
}

TEST_F(caches, changed_in_place)
{
	__u8 expected[4000];

	for (int i = 0; i < ROUNDS; i++) {
		qda_fill(self->view.buf.map + 77, sizeof(expected), i);
		for (size_t j = 0; j < sizeof(expected); j++)
			expected[j] = ~self->view.buf.map[77 + j];
		EXPECT_EQ(0, echo(&self->client, SIMDSP_INVERT,
				  part(&self->view, 77, sizeof(expected)),
				  part(&self->view, 77, sizeof(expected))));
		EXPECT_EQ(0, memcmp(expected, self->view.buf.map + 77, sizeof(expected)));
	}
}

TEST_F(caches, two_buffers)
{
	struct view other;

	ASSERT_EQ(0, view_new(&self->client, variant->heap, &other));
	for (int i = 0; i < ROUNDS; i++) {
		/* To and fro. */
		const struct view *in = i % 2 ? &other : &self->view;
		const struct view *out = i % 2 ? &self->view : &other;

		qda_fill(in->buf.map, SIZE, i);
		EXPECT_EQ(0, echo(&self->client, SIMDSP_ECHO, part(in, 3, SIZE - 3),
				  part(out, 1, SIZE - 3)));
		EXPECT_EQ(0, memcmp(in->buf.map + 3, out->buf.map + 1, SIZE - 3));
	}
	view_free(&other);
}

/* A call that refers to nothing of a buffer changes nothing about it. */
TEST_F(caches, empty_arguments)
{
	for (int i = 0; i < ROUNDS; i++) {
		qda_fill(self->view.buf.map, SIZE, i);
		EXPECT_EQ(0, echo(&self->client, SIMDSP_ECHO, part(&self->view, 100, 0),
				  part(&self->view, 200, 0)));
		EXPECT_TRUE(qda_filled(self->view.buf.map, SIZE, i));
		EXPECT_TRUE(is_read(&self->client, &self->view, 0, SIZE));
	}
}

/* What a call reports as failed wrote its outputs all the same. */
TEST_F(caches, failed_call)
{
	for (int i = 1; i < ROUNDS; i++) {
		struct arg args[3] = {
			bytes(&i, sizeof(i)), part(&self->view, 0, 5000),
			part(&self->view, 8192, 5000),
		};

		qda_fill(self->view.buf.map, 5000, i);
		EXPECT_EQ(i, make(&self->client, QDA_SCALARS(SIMDSP_STATUS, 2, 1), args));
		EXPECT_TRUE(qda_filled(self->view.buf.map + 8192, 5000, i));
	}
}

TEST_F(caches, mapped)
{
	__u64 address, sum;

	for (int i = 0; i < ROUNDS; i++) {
		/* An argument before: it may still be mapped from there. */
		qda_fill(self->view.buf.map, SIZE, i);
		EXPECT_TRUE(is_read(&self->client, &self->view, 0, SIZE));
		qda_fill(self->view.buf.map, SIZE, 100 + i);
		ASSERT_EQ(0, map(&self->client, &self->view, &address));
		EXPECT_EQ(0, mapped(&self->client, &self->view, false, &sum));
		EXPECT_EQ(simdsp_checksum(self->view.buf.map, SIZE), sum);

		/* What the DSP writes belongs to the CPU when it is unmapped. */
		EXPECT_EQ(0, mapped(&self->client, &self->view, true, &sum));
		EXPECT_EQ(0, unmap(&self->client, &self->view, address));
		EXPECT_TRUE(simdsp_filled(self->view.buf.map, SIZE, 0));
	}
}

TEST_F(caches, argument_while_mapped)
{
	__u64 address, sum;

	if (!strcmp(variant->heap, HEAP_NO_SYNC))
		SKIP(return, "the DSP keeps the buffer, and nothing but unmapping helps");
	ASSERT_EQ(0, map(&self->client, &self->view, &address));
	for (int i = 0; i < ROUNDS; i++) {
		memset(self->view.buf.map, BEFORE, SIZE);
		qda_fill(self->view.buf.map, SIZE / 2, i);
		EXPECT_TRUE(is_read(&self->client, &self->view, 0, SIZE));
		EXPECT_TRUE(is_filled(&self->client, &self->view, 20001, 5000, i));
		EXPECT_TRUE(qda_all(self->view.buf.map + SIZE / 2, SIZE / 2, BEFORE));
	}
	EXPECT_EQ(0, mapped(&self->client, &self->view, true, &sum));
	EXPECT_EQ(0, unmap(&self->client, &self->view, address));
	EXPECT_TRUE(simdsp_filled(self->view.buf.map, SIZE, 0));
	qda_fill(self->view.buf.map, SIZE, 5);
	EXPECT_TRUE(is_read(&self->client, &self->view, 0, SIZE));
}

TEST_F(caches, synced_by_the_program)
{
	struct drm_qda_buffer_sync sync = { .handle = self->view.buf.handle };
	__u64 address, sum;

	if (!strcmp(variant->heap, HEAP_NO_SYNC))
		SKIP(return, "the DSP keeps the buffer, and nothing but unmapping helps");
	ASSERT_EQ(0, map(&self->client, &self->view, &address));
	for (int i = 0; i < ROUNDS; i++) {
		bool by_driver = i % 2;

		sync.flags = QDA_SYNC_WRITE;
		ASSERT_EQ(0, by_driver ?
			  qda_ioctl(self->client.fd, DRM_IOCTL_QDA_BUFFER_SYNC, &sync) :
			  dmabuf_sync(self->view.dmabuf, DMA_BUF_SYNC_START | DMA_BUF_SYNC_WRITE));
		qda_fill(self->view.buf.map, SIZE, i);
		sync.flags |= QDA_SYNC_END;
		ASSERT_EQ(0, by_driver ?
			  qda_ioctl(self->client.fd, DRM_IOCTL_QDA_BUFFER_SYNC, &sync) :
			  dmabuf_sync(self->view.dmabuf, DMA_BUF_SYNC_END | DMA_BUF_SYNC_WRITE));
		EXPECT_EQ(0, mapped(&self->client, &self->view, false, &sum));
		EXPECT_EQ(simdsp_checksum(self->view.buf.map, SIZE), sum);

		EXPECT_EQ(0, mapped(&self->client, &self->view, true, &sum));
		sync.flags = QDA_SYNC_READ;
		ASSERT_EQ(0, by_driver ?
			  qda_ioctl(self->client.fd, DRM_IOCTL_QDA_BUFFER_SYNC, &sync) :
			  dmabuf_sync(self->view.dmabuf, DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ));
		EXPECT_TRUE(simdsp_filled(self->view.buf.map, SIZE, 0));
		sync.flags |= QDA_SYNC_END;
		ASSERT_EQ(0, by_driver ?
			  qda_ioctl(self->client.fd, DRM_IOCTL_QDA_BUFFER_SYNC, &sync) :
			  dmabuf_sync(self->view.dmabuf, DMA_BUF_SYNC_END | DMA_BUF_SYNC_READ));
	}
	EXPECT_EQ(0, unmap(&self->client, &self->view, address));
}

TEST_F(caches, lent_and_given_back)
{
	__u64 sum;

	for (int i = 0; i < ROUNDS; i++) {
		memset(self->view.buf.map, BEFORE, SIZE);
		qda_fill(self->view.buf.map + 100, 5000, i);
		ASSERT_EQ(0, lend(&self->client, &self->view, part(&self->view, 100, 5000),
				  part(&self->view, 8200, 3000), i, &sum));
		EXPECT_EQ(simdsp_checksum(self->view.buf.map + 100, 5000), sum);
		/* Once for each argument. */
		ASSERT_EQ(0, give_back(&self->client, &self->view, 2));
		EXPECT_TRUE(simdsp_filled(self->view.buf.map + 8200, 3000, i));
		EXPECT_TRUE(qda_all(self->view.buf.map + 11200, SIZE - 11200, BEFORE));
	}
}

TEST_F(caches, lent_again)
{
	__u64 sum;

	if (!strcmp(variant->heap, HEAP_NO_SYNC))
		SKIP(return, "the DSP keeps the buffer, and nothing but unmapping helps");
	for (int i = 0; i < 2; i++) {
		qda_fill(self->view.buf.map, SIZE, i);
		ASSERT_EQ(0, lend(&self->client, &self->view, part(&self->view, 100, 5000),
				  part(&self->view, 8200, 3000), i, &sum));
		EXPECT_EQ(simdsp_checksum(self->view.buf.map + 100, 5000), sum);
		EXPECT_TRUE(simdsp_filled(self->view.buf.map + 8200, 3000, i));
	}
	ASSERT_EQ(0, give_back(&self->client, &self->view, 4));
	EXPECT_TRUE(simdsp_filled(self->view.buf.map + 8200, 3000, 1));
}

TEST_F(caches, two_processes_of_the_dsp)
{
	struct client other;
	struct view view;

	ASSERT_EQ(0, client_open(&other, variant->way));
	ASSERT_EQ(0, view_import(&other, dup(self->view.dmabuf), &view));
	for (int i = 0; i < ROUNDS; i++) {
		const struct client *first = i % 2 ? &other : &self->client;
		const struct client *second = i % 2 ? &self->client : &other;

		/* The CPU, one, the other; and back. */
		qda_fill(self->view.buf.map, SIZE, i);
		EXPECT_TRUE(is_read(first, i % 2 ? &view : &self->view, 0, SIZE));
		EXPECT_TRUE(is_read(second, i % 2 ? &self->view : &view, 0, SIZE));
		EXPECT_TRUE(is_filled(first, i % 2 ? &view : &self->view, 0, SIZE / 2, i));
		EXPECT_TRUE(is_read(second, i % 2 ? &self->view : &view, 0, SIZE));
		EXPECT_TRUE(is_filled(second, i % 2 ? &self->view : &view, SIZE / 4, SIZE / 4, i));
		EXPECT_TRUE(is_read(first, i % 2 ? &view : &self->view, 0, SIZE));
	}
	view_free(&view);
	close(other.fd);
}

/* A call by a thread of its own: an echo within one buffer. */
struct echo {
	pthread_t thread;
	const struct client *client;
	const struct view *view;
	int ret;
};

static void *echo_thread(void *arg)
{
	struct echo *call = arg;

	call->ret = echo(call->client, SIMDSP_ECHO, part(call->view, 10, 5000),
			 part(call->view, 30000, 5000));
	return NULL;
}

static void handler(int signal)
{
}

static void handle_signals(int flags)
{
	struct sigaction action = { .sa_handler = handler, .sa_flags = flags };

	sigaction(SIGUSR1, &action, NULL);
}

TEST_F(caches, interrupted)
{
	struct echo call = { .client = &self->client, .view = &self->view };
	__u8 *bytes = self->view.buf.map;

	handle_signals(SA_RESTART);
	ASSERT_EQ(0, hold_echoes(true));
	for (int i = 0; i < ROUNDS; i++) {
		memset(bytes, BEFORE, SIZE);
		qda_fill(bytes + 10, 5000, i);
		ASSERT_EQ(0, pthread_create(&call.thread, NULL, echo_thread, &call));
		ASSERT_TRUE(simdsp_wait_stat("cdsp", "held", 1, 5000));
		for (int j = 0; j < 3; j++) {
			pthread_kill(call.thread, SIGUSR1);
			usleep(2000);
		}
		ASSERT_EQ(0, simdsp_cmd(NULL, "release-held cdsp"));
		pthread_join(call.thread, NULL);
		EXPECT_EQ(0, call.ret);
		EXPECT_TRUE(qda_filled(bytes + 30000, 5000, i));
		EXPECT_TRUE(qda_all(bytes + 35000, SIZE - 35000, BEFORE));
	}
	ASSERT_EQ(0, hold_echoes(false));
}

/* Waits until there are none, for a second. There are none without the module. */
static bool comes_to_0(const char *counter)
{
	for (int i = 0; i < 100; i++) {
		if (dmabuf_views(counter) <= 0)
			return true;
		usleep(qda_patience(10000));
	}
	fprintf(stderr, "# there are %lld %s\n", dmabuf_views(counter), counter);
	return false;
}

TEST_F(caches, after_an_abandoned_call)
{
	struct echo call = { .client = &self->client, .view = &self->view };
	bool waits = variant->way != SUBMIT;
	__u8 *bytes = self->view.buf.map;

	if (!waits)
		SKIP(return, "a submission is not abandoned by a signal");
	handle_signals(0);
	ASSERT_EQ(0, hold_echoes(true));
	qda_fill(bytes + 10, 5000, 1);
	ASSERT_EQ(0, pthread_create(&call.thread, NULL, echo_thread, &call));
	ASSERT_TRUE(simdsp_wait_stat("cdsp", "held", 1, 5000));
	pthread_kill(call.thread, SIGUSR1);
	pthread_join(call.thread, NULL);
	EXPECT_EQ(-EINTR, call.ret);

	/* While the DSP has it: nothing but unmapping would help with a heap that has no more. */
	if (strcmp(variant->heap, HEAP_NO_SYNC)) {
		qda_fill(bytes + 40000, 5000, 2);
		EXPECT_TRUE(is_read(&self->client, &self->view, 40000, 5000));
		EXPECT_TRUE(is_filled(&self->client, &self->view, 50000, 5000, 2));
	}
	/* And after the DSP has written to it. */
	ASSERT_EQ(0, hold_echoes(false));
	ASSERT_EQ(0, simdsp_cmd(NULL, "release-held cdsp"));
	ASSERT_TRUE(simdsp_wait_stat("cdsp", "outstanding", 0, 5000));
	/* If that unmaps it, what the CPU writes before is lost: nobody can tell it apart. */
	comes_to_0("mappings");
	qda_fill(bytes + 40000, 5000, 3);
	EXPECT_TRUE(is_read(&self->client, &self->view, 40000, 5000));
	EXPECT_TRUE(is_filled(&self->client, &self->view, 50000, 5000, 3));
	EXPECT_TRUE(qda_filled(bytes + 30000, 5000, 1));
}

/* Which heap and way a child uses. */
struct task {
	const char *heap;
	enum way way;
};

static int echoes(struct child *parent, void *arg)
{
	const struct task *task = arg;
	struct client client;
	struct view view;
	int ret = client_open(&client, task->way);

	ret = ret ?: view_new(&client, task->heap, &view);
	if (ret)
		return 1;
	for (int i = 0; i < ROUNDS; i++) {
		memset(view.buf.map, BEFORE, SIZE);
		qda_fill(view.buf.map + 10, 5000, i);
		if (echo(&client, SIMDSP_ECHO, part(&view, 10, 5000), part(&view, 30000, 5000)))
			return 2;
		if (!qda_filled(view.buf.map + 30000, 5000, i) ||
		    !qda_all(view.buf.map + 35000, SIZE - 35000, BEFORE))
			return 3;
	}
	return 0;
}

TEST_F(caches, stopped)
{
	struct task task = { variant->heap, variant->way };
	struct child child;
	int status;

	ASSERT_EQ(0, hold_echoes(true));
	ASSERT_EQ(0, child_start(&child, echoes, &task));
	for (int i = 0; i < ROUNDS; i++) {
		if (!simdsp_wait_stat("cdsp", "held", 1, 5000))
			break;
		/* It is answered while the program does not run. */
		ASSERT_EQ(0, kill(child.pid, SIGSTOP));
		ASSERT_EQ(child.pid, waitpid(child.pid, &status, WUNTRACED));
		ASSERT_TRUE(WIFSTOPPED(status));
		ASSERT_EQ(0, simdsp_cmd(NULL, "release-held cdsp"));
		ASSERT_TRUE(simdsp_wait_stat("cdsp", "outstanding", 0, 5000));
		ASSERT_EQ(0, kill(child.pid, SIGCONT));
	}
	EXPECT_EQ(0, child_wait(&child, 5000));
	ASSERT_EQ(0, hold_echoes(false));
}

/*
 * Unmapping invalidates: what the CPU has written since the call must not go with that. It may
 * write at any time that no call uses the buffer, also when its mapping has long been idle.
 */
TEST_F(caches, written_while_idle)
{
	__u32 *word = (__u32 *)(self->view.buf.map + 4096);

	for (int i = 0; i < 2; i++) {
		long long end = qda_now_ms() + 1500;

		EXPECT_TRUE(is_filled(&self->client, &self->view, 0, 4096, i));
		for (__u32 n = 1; qda_now_ms() < end; n++) {
			__atomic_store_n(word, n, __ATOMIC_RELAXED);
			usleep(100);
			ASSERT_EQ(n, __atomic_load_n(word, __ATOMIC_RELAXED));
		}
		EXPECT_TRUE(simdsp_filled(self->view.buf.map, 4096, i));
		EXPECT_TRUE(is_read(&self->client, &self->view, 0, SIZE));
	}
}

TEST_F(caches, written_after_the_last_call)
{
	struct client other;
	struct view view;

	/* Another one closes its handle, another its file; the program goes on with the buffer. */
	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(0, client_open(&other, variant->way));
		ASSERT_EQ(0, view_import(&other, dup(self->view.dmabuf), &view));
		qda_fill(view.buf.map, SIZE, i);
		EXPECT_TRUE(is_read(&other, &view, 0, SIZE));
		EXPECT_TRUE(is_filled(&other, &view, SIZE / 2, SIZE / 2, i));
		qda_fill(view.buf.map, SIZE, 10 + i);
		if (i)
			view_free(&view);
		close(other.fd);
		EXPECT_TRUE(qda_filled(self->view.buf.map, SIZE, 10 + i));
		usleep(qda_patience(20000));
		EXPECT_TRUE(qda_filled(self->view.buf.map, SIZE, 10 + i));
		EXPECT_TRUE(is_read(&self->client, &self->view, 0, SIZE));
		if (!i) {
			munmap(view.buf.map, SIZE);
			close(view.dmabuf);
		}
	}
}

TEST_F(caches, nothing_is_kept)
{
	long long begins = dmabuf_views("begins"), ends = dmabuf_views("ends");

	if (begins < 0)
		SKIP(return, "needs the module qda_two_views");
	for (int i = 0; i < ROUNDS; i++) {
		EXPECT_EQ(0, echo(&self->client, SIMDSP_ECHO, part(&self->view, 0, 5000),
				  part(&self->view, 8192, 5000)));
	}
	view_free(&self->view);
	self->view.dmabuf = -1;
	close(self->client.fd);
	self->client.fd = -1;
	/* The DSP's process is gone, and with it all that was for it. */
	EXPECT_TRUE(comes_to_0("buffers"));
	EXPECT_TRUE(comes_to_0("attachments"));
	EXPECT_TRUE(comes_to_0("mappings"));
	/* Exporters may have more to do for an access than to look after caches: it ends. */
	EXPECT_EQ(dmabuf_views("begins") - begins, dmabuf_views("ends") - ends);
}

TEST_HARNESS_MAIN
