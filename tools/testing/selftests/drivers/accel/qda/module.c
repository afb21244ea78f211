// SPDX-License-Identifier: GPL-2.0
/*
 * Modules that the simulated DSP offers.
 */
#include <errno.h>
#include <string.h>

#include "module.h"
#include "qda.h"

/* The FastRPC library's name for the function of a skeleton that takes the calls. */
#define CALCULATOR_URI	"file:///libcalculator_skel.so?calculator_skel_handle_invoke" \
			"&_modver=1.0&_idlver=1.2.3&_dom=cdsp"

/* Enough for ioctl(); hundreds of threads are to fit into a small machine. */
#define STACK_SIZE	(128 * 1024)

int simdsp_open(int fd, __u32 *handle)
{
	return qda_remote_open(fd, "simdsp", handle);
}

int simdsp_echo(int fd, __u32 handle, const void *in, void *out, size_t len)
{
	struct drm_qda_invoke_arg args[2] = { qda_inline(in, len), qda_inline(out, len) };

	return qda_invoke(fd, handle, QDA_SCALARS(SIMDSP_ECHO, 1, 1), args);
}

int simdsp_echo_buf(int fd, __u32 handle, const struct qda_buf *in, size_t from,
		    const struct qda_buf *out, size_t to, size_t len)
{
	struct drm_qda_invoke_arg args[2] = { qda_ref(in, from, len), qda_ref(out, to, len) };

	return qda_invoke(fd, handle, QDA_SCALARS(SIMDSP_ECHO, 1, 1), args);
}

static int one_number(int fd, __u32 handle, int method, __u32 number)
{
	struct drm_qda_invoke_arg arg = qda_inline(&number, sizeof(number));

	return qda_invoke(fd, handle, QDA_SCALARS(method, 1, 0), &arg);
}

int simdsp_status(int fd, __u32 handle, __s32 status)
{
	return one_number(fd, handle, SIMDSP_STATUS, status);
}

int simdsp_sleep(int fd, __u32 handle, __u32 ms)
{
	return one_number(fd, handle, SIMDSP_SLEEP, ms);
}

int simdsp_hold(int fd, __u32 handle)
{
	return qda_invoke(fd, handle, QDA_SCALARS(SIMDSP_HOLD, 0, 0), NULL);
}

int simdsp_touch(int fd, __u32 handle, __u64 iova, __u32 len, bool write)
{
	struct simdsp_touch touch = { .iova = iova, .len = len, .write = write };
	struct drm_qda_invoke_arg arg = qda_inline(&touch, sizeof(touch));

	return qda_invoke(fd, handle, QDA_SCALARS(SIMDSP_TOUCH, 1, 0), &arg);
}

int simdsp_poll(int fd, bool on)
{
	__u32 in[2] = { on, 1000 };
	struct drm_qda_invoke_arg arg = qda_inline(in, sizeof(in));

	return qda_invoke(fd, CURRENT_PROCESS, QDA_SCALARS(POLL_MODE, 1, 0), &arg);
}

int simdsp_info(int fd, __u32 handle, struct simdsp_info *info)
{
	struct drm_qda_invoke_arg arg = qda_inline(info, sizeof(*info));

	return qda_invoke(fd, handle, QDA_SCALARS(SIMDSP_INFO, 0, 1), &arg);
}

bool simdsp_filled(const void *ptr, size_t len, __u32 seed)
{
	const __u8 *bytes = ptr;

	for (size_t i = 0; i < len; i++) {
		if (bytes[i] != (__u8)(seed + 131 * i + 17 * (i >> 8) + 29 * (i >> 16)))
			return false;
	}
	return true;
}

__u64 simdsp_checksum(const void *ptr, size_t len)
{
	const __u8 *bytes = ptr;
	__u64 sum = 0xcbf29ce484222325ULL;

	for (size_t i = 0; i < len; i++)
		sum = (sum ^ bytes[i]) * 0x100000001b3ULL;
	return sum;
}

static void *call_thread(void *arg)
{
	struct simdsp_call *call = arg;

	call->ret = qda_invoke(call->fd, call->handle, call->sc, call->args);
	__atomic_store_n(&call->done, 1, __ATOMIC_RELEASE);
	return NULL;
}

int simdsp_call_start(struct simdsp_call *call, int fd, __u32 handle, __u32 sc,
		      const struct drm_qda_invoke_arg *args)
{
	pthread_attr_t attr;
	int ret;

	call->fd = fd;
	call->handle = handle;
	call->sc = sc;
	call->args = args;
	call->done = 0;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	ret = -pthread_create(&call->thread, &attr, call_thread, call);
	pthread_attr_destroy(&attr);
	return ret;
}

bool simdsp_call_done(struct simdsp_call *call)
{
	return __atomic_load_n(&call->done, __ATOMIC_ACQUIRE);
}

int simdsp_call_join(struct simdsp_call *call)
{
	pthread_join(call->thread, NULL);
	return call->ret;
}

int listener_start(struct listener *listener, int fd)
{
	int ret;

	/* init2, then next2 with no result of an earlier call. */
	ret = qda_invoke(fd, ADSP_LISTENER, QDA_SCALARS(3, 0, 0), NULL);
	if (ret)
		return ret;
	listener->in[0] = 0;
	listener->in[1] = ~0u;
	listener->in[2] = 0;
	listener->in[3] = sizeof(listener->buffer);
	listener->args[0] = qda_inline(listener->in, sizeof(listener->in));
	listener->args[1] = qda_inline(NULL, 0);
	listener->args[2] = qda_inline(listener->out, sizeof(listener->out));
	listener->args[3] = qda_inline(listener->buffer, sizeof(listener->buffer));
	return simdsp_call_start(&listener->call, fd, ADSP_LISTENER, QDA_SCALARS(4, 2, 2),
				 listener->args);
}

int simdsp_serve_on(int fd, void (*interrupted)(void *arg), void *arg)
{
	__u32 in[4] = { 0, ~0u, 0, 256 }, out[4] = { 0 };
	__u8 result[8] = { 4, 0, 0, 0 }, packed[256], answer[12];
	struct drm_qda_invoke_arg args[4] = {
		qda_inline(in, sizeof(in)), qda_inline(NULL, 0),
		qda_inline(out, sizeof(out)), qda_inline(packed, sizeof(packed)),
	};

	memcpy(answer, result, sizeof(result));
	memset(answer + sizeof(result), 0xa5, 4);
	for (;;) {
		int ret = qda_invoke(fd, ADSP_LISTENER, QDA_SCALARS(4, 2, 2), args);

		if (ret == -EINTR && interrupted) {
			/* The next call is the same. */
			interrupted(arg);
			continue;
		}
		if (ret)
			return ret;
		in[0] = out[0];
		in[1] = 0;
		in[2] = sizeof(answer);
		args[1] = qda_inline(answer, sizeof(answer));
	}
}

void *simdsp_serve(void *fd)
{
	return (void *)(long)simdsp_serve_on(*(int *)fd, NULL, NULL);
}

int calculator_open(int fd, __u32 *handle)
{
	return qda_remote_open(fd, CALCULATOR_URI, handle);
}

static int calculate(int fd, __u32 handle, int method, __u32 count,
		     struct drm_qda_invoke_arg numbers, void *result, size_t size)
{
	struct drm_qda_invoke_arg args[3] = {
		qda_inline(&count, sizeof(count)),
		numbers,
		qda_inline(result, size),
	};

	return qda_invoke(fd, handle, QDA_SCALARS(method, 2, 1), args);
}

int calculator_sum(int fd, __u32 handle, __u32 count, struct drm_qda_invoke_arg numbers,
		   __s64 *sum)
{
	return calculate(fd, handle, 2, count, numbers, sum, sizeof(*sum));
}

int calculator_max(int fd, __u32 handle, __u32 count, struct drm_qda_invoke_arg numbers,
		   __s32 *max)
{
	return calculate(fd, handle, 3, count, numbers, max, sizeof(*max));
}
