/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests of the QDA driver share: opening a DSP, buffers, calls.
 *
 * Functions that end in an ioctl return what the kernel returned: a negative errno, or the DSP's
 * status, which for DRM_QDA_INVOKE may be any 32-bit number.
 */
#ifndef QDA_H
#define QDA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <drm/qda_accel.h>

/* The encodings of the older library, which differ from the header's. */
#define QDA_IOCTL_QUERY_A	DRM_IOR(DRM_COMMAND_BASE + DRM_QDA_QUERY, \
					struct drm_qda_query_legacy)
#define QDA_IOCTL_MUNMAP_A	DRM_IOWR(DRM_COMMAND_BASE + DRM_QDA_MUNMAP, \
					 struct drm_qda_mem_unmap_legacy)
/* Both libraries encode the size of an argument, 24 bytes, and pass the 16-byte header. */
#define QDA_IOCTL_INVOKE_LIB	DRM_IOWR(DRM_COMMAND_BASE + DRM_QDA_INVOKE, \
					 struct drm_qda_invoke_arg)

/* Static remote handles. */
#define REMOTECTL		0
#define ADSP_LISTENER		3

/* Status of the DSP for one of its own error codes, e.g. 0x14: not supported. */
#define DSP_ERROR(code)		((__s32)(0x80000400u + (code)))
#define DSP_EUNSUPPORTED	DSP_ERROR(0x14)
#define DSP_ENOSUCHMOD		DSP_ERROR(0x3e)

/**
 * struct qda_buf - a mapped GEM buffer
 * @fd: file that it belongs to
 * @handle: its handle there
 * @size: bytes, whole pages
 * @map: its first byte in this process
 */
struct qda_buf {
	int fd;
	__u32 handle;
	size_t size;
	__u8 *map;
};

/**
 * qda_test_begin() - start a test
 * @fixture: what it belongs to
 * @name: its name
 * @needs_simdsp: whether it means nothing on real hardware
 *
 * Return: NULL, or why the test is to be skipped.
 */
const char *qda_test_begin(const char *fixture, const char *name, bool needs_simdsp);

/**
 * qda_test_end() - finish a test, all of whose files and mappings are closed
 *
 * Return: problems that the simulated DSP saw; 0 where there is none.
 */
int qda_test_end(void);

/**
 * qda_ioctl() - ioctl() with the kernel's own value
 *
 * Return: what the kernel returned. A DSP status of -1 to -4095 can't be told from an errno, here
 * as anywhere.
 */
int qda_ioctl(int fd, unsigned long cmd, void *arg);

/**
 * qda_open() - open the accel device of a DSP
 * @dsp: its name, e.g. "cdsp"
 *
 * Return: a file descriptor, or -ENODEV.
 */
int qda_open(const char *dsp);

/** qda_create() - make an unsigned DSP process that runs the DSP's own shell. */
int qda_create(int fd);

/** qda_open_process() - qda_open() and qda_create(). Return: descriptor or a negative errno. */
int qda_open_process(const char *dsp);

/**
 * qda_session() - give a file its DSP process by DRM_QDA_SESSION_CREATE
 * @arg: what to ask for
 *
 * Return: a negative errno, or the DSP's status.
 */
int qda_session(int fd, struct drm_qda_session_create arg);

/** qda_session_kind() - qda_session() with a kind that needs nothing else. */
int qda_session_kind(int fd, __u32 kind);

/** qda_max_buffer() - size of the largest buffer that the DSP can map, in bytes; 0 for an error. */
__u64 qda_max_buffer(int fd);

/** qda_param() - ask for a number by DRM_QDA_GET_PARAM. Return: 0 or -errno. */
int qda_param(int fd, __u32 param, __u32 index, __u64 *value);

/**
 * qda_fdinfo() - a number that the kernel tells about an open file
 * @key: its name, e.g. "qda-bank"
 *
 * Return: the number, or -ENOENT.
 */
long long qda_fdinfo(int fd, const char *key);

/** qda_shell_header() - write the head of a program for the DSP, of 52 bytes, to @ptr. */
void qda_shell_header(void *ptr);

/**
 * qda_rebind() - have the driver leave a DSP and come back
 * @dsp: label of the DSP's node
 *
 * Return: 0 or -errno.
 */
int qda_rebind(const char *dsp);

/**
 * qda_unload() - unload the driver, which is a module, if nothing uses it
 *
 * Return: 0, -EWOULDBLOCK where something does, or another -errno.
 */
int qda_unload(void);

/**
 * qda_reload() - load it again
 * @devices: how many accel devices are to come back
 *
 * Return: whether they do.
 */
bool qda_reload(int devices);

/**
 * qda_open_node() - open a node of /dev/fastrpc-* that may be about to come
 *
 * The driver makes it after the accel device, for which qda_rebind() waits.
 *
 * Return: the file, or -errno.
 */
int qda_open_node(const char *path);

/** qda_buf_new() - allocate and map a buffer of at least @size bytes. Return: 0 or -errno. */
int qda_buf_new(int fd, size_t size, struct qda_buf *buf);

/** qda_buf_free() - unmap and close a buffer. */
void qda_buf_free(struct qda_buf *buf);

/** qda_gem_close() - close a handle. Return: 0 or -errno. */
int qda_gem_close(int fd, __u32 handle);

/** qda_mmap_offset() - offset for mmap() of a handle. Return: 0 or -errno. */
int qda_mmap_offset(int fd, __u32 handle, __u64 *offset);

/** qda_inline() - an argument that is copied. */
struct drm_qda_invoke_arg qda_inline(const void *ptr, size_t len);

/** qda_ref() - an argument that is @len bytes at @offset of a buffer. */
struct drm_qda_invoke_arg qda_ref(const struct qda_buf *buf, size_t offset, size_t len);

/** qda_bytes() - an argument of DRM_QDA_CALL that is copied. */
struct drm_qda_call_arg qda_bytes(const void *ptr, size_t len);

/** qda_part() - one that is @len bytes at @offset of a buffer. */
struct drm_qda_call_arg qda_part(const struct qda_buf *buf, __u64 offset, __u64 len);

/** qda_arg_count() - how many arguments a call with @scalars has. */
__u32 qda_arg_count(__u32 scalars);

/** qda_invoke() - call @handle with scalars @sc; @args as many as they say. */
int qda_invoke(int fd, __u32 handle, __u32 sc, const struct drm_qda_invoke_arg *args);

/**
 * qda_call() - call @handle by DRM_QDA_CALL with scalars @scalars
 * @args: as many as they say
 * @status: what the DSP answers
 *
 * Return: 0 or -errno.
 */
int qda_call(int fd, __u32 handle, __u32 scalars, const struct drm_qda_call_arg *args,
	     __s32 *status);

/**
 * qda_remote_open() - open a module on the DSP by name
 * @handle: its remote handle
 *
 * Return: 0, the DSP's status, or -errno.
 */
int qda_remote_open(int fd, const char *name, __u32 *handle);

/** qda_remote_close() - close what qda_remote_open() opened. */
int qda_remote_close(int fd, __u32 handle);

/** qda_fill() - fill with bytes that depend on @seed and place. */
void qda_fill(void *ptr, size_t len, __u32 seed);

/** qda_filled() - whether @ptr holds what qda_fill() puts there. */
bool qda_filled(const void *ptr, size_t len, __u32 seed);

/** qda_all() - whether @len bytes are all @value. */
bool qda_all(const void *ptr, size_t len, __u8 value);

/** qda_page_size() - bytes of a page of this kernel, 4096 to 65536. */
size_t qda_page_size(void);

/** qda_now_ms() - a clock in milliseconds that never goes back. */
long long qda_now_ms(void);

/**
 * qda_of_bool() - whether a DSP's device-tree node has a property
 * @dsp: label of the node
 * @property: its name
 */
bool qda_of_bool(const char *dsp, const char *property);

/**
 * qda_banks() - sessions that a DSP has room for, by its device-tree node
 * @dsp: label of the node
 *
 * Return: how many, or 0 where that can't be told.
 */
int qda_banks(const char *dsp);

/**
 * qda_stream_id() - stream of the IOMMU that a context bank uses
 * @dsp: label of the DSP's node
 * @bank: number of the bank, its "reg"
 *
 * Return: the stream id, or -1 where the bank has none.
 */
int qda_stream_id(const char *dsp, unsigned int bank);

/**
 * qda_rpmsg_device() - find the rpmsg device of a DSP
 * @dsp: label of its node
 * @name: gets the device's name
 * @size: bytes at @name
 *
 * Return: whether there is one.
 */
bool qda_rpmsg_device(const char *dsp, char *name, size_t size);

#endif /* QDA_H */
