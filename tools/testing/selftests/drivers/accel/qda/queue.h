/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The ioctls of submissions, as tests make them.
 */
#ifndef QUEUE_H
#define QUEUE_H

#include <drm/qda_accel.h>

/* Slots that the driver lets submissions have on one DSP, and threads of a queue. */
#define MAX_SUBMITTED	128
#define MAX_THREADS	64

/** queue_create() - give a file a queue by DRM_QDA_QUEUE_CREATE. Return: 0 or -errno. */
int queue_create(int fd, __u32 depth, __u32 threads);

/** queue_call() - a call of @handle to submit, with as many @args as @scalars says. */
struct drm_qda_submission queue_call(__u32 handle, __u32 scalars,
				     const struct drm_qda_call_arg *args, __u64 user_data);

/** queue_hold() - one that the DSP does not answer before it is told to. */
struct drm_qda_submission queue_hold(__u32 handle, __u64 user_data);

/** queue_submit() - DRM_QDA_SUBMIT. Return: how many were accepted, or -errno. */
int queue_submit(int fd, struct drm_qda_submission *submissions, int count);

/** queue_deadline() - the point in time that is @ms milliseconds from now, for DRM_QDA_REAP. */
__s64 queue_deadline(long long ms);

/**
 * queue_reap() - DRM_QDA_REAP
 * @completions: room for @max of them
 * @min: how many to wait for
 * @ms: how long to wait
 *
 * Return: how many were taken, or -errno.
 */
int queue_reap(int fd, struct drm_qda_completion *completions, int max, int min, int ms);

/** queue_cancel() - DRM_QDA_CANCEL. Return: 0 or -errno. */
int queue_cancel(int fd, __u64 id);

#endif /* QUEUE_H */
