// SPDX-License-Identifier: GPL-2.0
/*
 * The ioctls of submissions, as tests make them.
 */
#include <time.h>

#include "module.h"
#include "qda.h"
#include "queue.h"

int queue_create(int fd, __u32 depth, __u32 threads)
{
	struct drm_qda_queue_create arg = { .depth = depth, .threads = threads };

	return qda_ioctl(fd, DRM_IOCTL_QDA_QUEUE_CREATE, &arg);
}

struct drm_qda_submission queue_call(__u32 handle, __u32 scalars,
				     const struct drm_qda_call_arg *args, __u64 user_data)
{
	return (struct drm_qda_submission) {
		.user_data = user_data,
		.args = (uintptr_t)args,
		.handle = handle,
		.scalars = scalars,
		.arg_count = qda_arg_count(scalars),
	};
}

struct drm_qda_submission queue_hold(__u32 handle, __u64 user_data)
{
	return queue_call(handle, QDA_SCALARS(SIMDSP_HOLD, 0, 0), NULL, user_data);
}

int queue_submit(int fd, struct drm_qda_submission *submissions, int count)
{
	struct drm_qda_submit arg = {
		.submissions = (uintptr_t)submissions,
		.submission_size = sizeof(*submissions),
		.arg_size = sizeof(struct drm_qda_call_arg),
		.count = count,
	};
	int ret = qda_ioctl(fd, DRM_IOCTL_QDA_SUBMIT, &arg);

	return ret ?: (int)arg.accepted;
}

__s64 queue_deadline(long long ms)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec + ms * 1000000;
}

int queue_reap(int fd, struct drm_qda_completion *completions, int max, int min, int ms)
{
	struct drm_qda_reap arg = {
		.completions = (uintptr_t)completions,
		.completion_size = sizeof(*completions),
		.max_count = max,
		.min_count = min,
		.timeout_ns = queue_deadline(ms),
	};
	int ret = qda_ioctl(fd, DRM_IOCTL_QDA_REAP, &arg);

	return ret ?: (int)arg.reaped;
}

int queue_cancel(int fd, __u64 id)
{
	struct drm_qda_cancel arg = { .id = id };

	return qda_ioctl(fd, DRM_IOCTL_QDA_CANCEL, &arg);
}
