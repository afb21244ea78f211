// SPDX-License-Identifier: GPL-2.0
/*
 * What the tests of the QDA driver share: opening a DSP, buffers, calls.
 */
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "patience.h"
#include "qda.h"
#include "simdsp.h"
#include "sysfs.h"

#define RPMSG_DEVICES	"/sys/bus/rpmsg/devices"
#define RPMSG_DRIVER	"/sys/bus/rpmsg/drivers/qda"

/* Whether there is a simulator, and whether it took the test's beginning. */
static bool simulated;
static int begun;

const char *qda_test_begin(const char *fixture, const char *name, bool needs_simdsp)
{
	char test[128];

	snprintf(test, sizeof(test), "%s.%s", fixture, name);
	begun = simdsp_begin(test);
	simulated = begun != -ENODEV;
	if (simulated)
		return NULL;
	if (needs_simdsp)
		return "needs the simulated DSP";
	if (access("/dev/accel", F_OK))
		return "no accel device";
	return NULL;
}

int qda_test_end(void)
{
	if (!simulated)
		return 0;
	/* A simulator that does not answer is a failure, not an absence. */
	return begun ?: simdsp_end();
}

int qda_ioctl(int fd, unsigned long cmd, void *arg)
{
	int ret = ioctl(fd, cmd, arg);

	/* libc splits -1 to -4095 into -1 and errno; put them together again. */
	return ret == -1 ? -errno : ret;
}

int qda_open(const char *dsp)
{
	char path[300];
	struct dirent *entry;
	int found = -ENODEV;
	DIR *dir;

	dir = opendir("/dev/accel");
	if (!dir)
		return -ENODEV;
	while (found < 0 && (entry = readdir(dir))) {
		struct drm_qda_query query = { .query_type = QDA_QUERY_DSP_NAME };
		int fd;

		if (strncmp(entry->d_name, "accel", 5))
			continue;
		snprintf(path, sizeof(path), "/dev/accel/%s", entry->d_name);
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (!qda_ioctl(fd, DRM_IOCTL_QDA_QUERY, &query) &&
		    !strncmp((char *)query.dsp_name, dsp, sizeof(query.dsp_name)))
			found = fd;
		else
			close(fd);
	}
	closedir(dir);
	return found;
}

int qda_create(int fd)
{
	struct drm_qda_init_create create = { .attrs = QDA_PROC_ATTR_UNSIGNED };

	return qda_ioctl(fd, DRM_IOCTL_QDA_INIT_CREATE, &create);
}

int qda_open_process(const char *dsp)
{
	int fd = qda_open(dsp);
	int ret;

	if (fd < 0)
		return fd;
	ret = qda_create(fd);
	if (!ret)
		return fd;
	close(fd);
	return ret < 0 ? ret : -EREMOTEIO;
}

int qda_session(int fd, struct drm_qda_session_create arg)
{
	int ret = qda_ioctl(fd, DRM_IOCTL_QDA_SESSION_CREATE, &arg);

	return ret ?: arg.status;
}

int qda_session_kind(int fd, __u32 kind)
{
	return qda_session(fd, (struct drm_qda_session_create) { .kind = kind });
}

__u64 qda_max_buffer(int fd)
{
	__u64 size;

	return qda_param(fd, QDA_PARAM_MAX_BUFFER, 0, &size) ? 0 : size;
}

int qda_param(int fd, __u32 param, __u32 index, __u64 *value)
{
	struct drm_qda_get_param arg = { .param = param, .index = index };
	int ret = qda_ioctl(fd, DRM_IOCTL_QDA_GET_PARAM, &arg);

	*value = arg.value;
	return ret;
}

long long qda_fdinfo(int fd, const char *key)
{
	char path[64], line[256];
	long long value = -ENOENT;
	size_t len = strlen(key);
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	file = fopen(path, "re");
	if (!file)
		return -ENOENT;
	while (fgets(line, sizeof(line), file)) {
		if (!strncmp(line, key, len) && line[len] == ':')
			value = strtoll(line + len + 1, NULL, 10);
	}
	fclose(file);
	return value;
}

int qda_gem_close(int fd, __u32 handle)
{
	struct drm_gem_close close = { .handle = handle };

	return qda_ioctl(fd, DRM_IOCTL_GEM_CLOSE, &close);
}

int qda_mmap_offset(int fd, __u32 handle, __u64 *offset)
{
	struct drm_qda_gem_mmap_offset arg = { .handle = handle };
	int ret;

	ret = qda_ioctl(fd, DRM_IOCTL_QDA_GEM_MMAP_OFFSET, &arg);
	*offset = arg.offset;
	return ret;
}

int qda_buf_new(int fd, size_t size, struct qda_buf *buf)
{
	struct drm_qda_gem_create create = { .size = size };
	size_t page = qda_page_size();
	__u64 offset;
	int ret;

	ret = qda_ioctl(fd, DRM_IOCTL_QDA_GEM_CREATE, &create);
	if (ret)
		return ret;
	buf->fd = fd;
	buf->handle = create.handle;
	buf->size = (size + page - 1) / page * page;
	ret = qda_mmap_offset(fd, create.handle, &offset);
	if (!ret) {
		buf->map = mmap(NULL, buf->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);
		if (buf->map != MAP_FAILED)
			return 0;
		ret = -errno;
	}
	qda_gem_close(fd, create.handle);
	return ret;
}

void qda_buf_free(struct qda_buf *buf)
{
	munmap(buf->map, buf->size);
	qda_gem_close(buf->fd, buf->handle);
}

struct drm_qda_invoke_arg qda_inline(const void *ptr, size_t len)
{
	return (struct drm_qda_invoke_arg) { .ptr = (uintptr_t)ptr, .length = len };
}

struct drm_qda_invoke_arg qda_ref(const struct qda_buf *buf, size_t offset, size_t len)
{
	return (struct drm_qda_invoke_arg) {
		.ptr = (uintptr_t)(buf->map + offset),
		.length = len,
		.handle = buf->handle,
	};
}

struct drm_qda_call_arg qda_bytes(const void *ptr, size_t len)
{
	return (struct drm_qda_call_arg) { .address = (uintptr_t)ptr, .length = len };
}

struct drm_qda_call_arg qda_part(const struct qda_buf *buf, __u64 offset, __u64 len)
{
	return (struct drm_qda_call_arg) {
		.handle = buf->handle, .offset = offset, .length = len,
	};
}

__u32 qda_arg_count(__u32 scalars)
{
	return (scalars >> 16 & 0xff) + (scalars >> 8 & 0xff) + (scalars >> 4 & 0xf) +
	       (scalars & 0xf);
}

int qda_invoke(int fd, __u32 handle, __u32 sc, const struct drm_qda_invoke_arg *args)
{
	struct drm_qda_invoke call = {
		.handle = handle,
		.sc = sc,
		.args = (uintptr_t)args,
	};

	return qda_ioctl(fd, DRM_IOCTL_QDA_INVOKE, &call);
}

int qda_call(int fd, __u32 handle, __u32 scalars, const struct drm_qda_call_arg *args,
	     __s32 *status)
{
	struct drm_qda_call call = {
		.handle = handle,
		.scalars = scalars,
		.args = (uintptr_t)args,
		.arg_count = qda_arg_count(scalars),
		.arg_size = sizeof(*args),
	};
	int ret = qda_ioctl(fd, DRM_IOCTL_QDA_CALL, &call);

	*status = call.status;
	return ret;
}

int qda_remote_open(int fd, const char *name, __u32 *handle)
{
	__u32 in[2] = { strlen(name) + 1, 256 };
	__u32 out[2] = { 0 };
	char error[256];
	struct drm_qda_invoke_arg args[4] = {
		qda_inline(in, sizeof(in)),
		qda_inline(name, in[0]),
		qda_inline(out, sizeof(out)),
		qda_inline(error, sizeof(error)),
	};
	int ret;

	ret = qda_invoke(fd, REMOTECTL, QDA_SCALARS(0, 2, 2), args);
	*handle = out[0];
	return ret ?: (int)out[1];
}

int qda_remote_close(int fd, __u32 handle)
{
	__u32 in[2] = { handle, 256 };
	__u32 out = 0;
	char error[256];
	struct drm_qda_invoke_arg args[3] = {
		qda_inline(in, sizeof(in)),
		qda_inline(&out, sizeof(out)),
		qda_inline(error, sizeof(error)),
	};
	int ret;

	ret = qda_invoke(fd, REMOTECTL, QDA_SCALARS(1, 1, 2), args);
	return ret ?: (int)out;
}

static __u8 pattern(size_t place, __u32 seed)
{
	__u32 x = (__u32)place * 2654435761u + seed * 40503u;

	return x >> 24 ^ x >> 11;
}

void qda_fill(void *ptr, size_t len, __u32 seed)
{
	__u8 *bytes = ptr;

	for (size_t i = 0; i < len; i++)
		bytes[i] = pattern(i, seed);
}

bool qda_filled(const void *ptr, size_t len, __u32 seed)
{
	const __u8 *bytes = ptr;

	for (size_t i = 0; i < len; i++) {
		if (bytes[i] == pattern(i, seed))
			continue;
		fprintf(stderr, "# byte %zu of %zu is %#x, not %#x\n", i, len, bytes[i],
			pattern(i, seed));
		return false;
	}
	return true;
}

bool qda_all(const void *ptr, size_t len, __u8 value)
{
	const __u8 *bytes = ptr;

	for (size_t i = 0; i < len; i++) {
		if (bytes[i] == value)
			continue;
		fprintf(stderr, "# byte %zu of %zu is %#x, not %#x\n", i, len, bytes[i], value);
		return false;
	}
	return true;
}

size_t qda_page_size(void)
{
	return sysconf(_SC_PAGESIZE);
}

long long qda_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

bool qda_rpmsg_device(const char *dsp, char *name, size_t size)
{
	char path[512], label[32];
	struct dirent *entry;
	bool found = false;
	DIR *dir;

	dir = opendir(RPMSG_DEVICES);
	if (!dir)
		return false;
	while (!found && (entry = readdir(dir))) {
		size_t len;
		FILE *file;

		snprintf(path, sizeof(path), RPMSG_DEVICES "/%s/of_node/label", entry->d_name);
		file = fopen(path, "re");
		if (!file)
			continue;
		len = fread(label, 1, sizeof(label) - 1, file);
		label[len] = '\0';
		fclose(file);
		found = !strcmp(label, dsp);
		if (found)
			snprintf(name, size, "%s", entry->d_name);
	}
	closedir(dir);
	return found;
}

void qda_shell_header(void *ptr)
{
	Elf32_Ehdr header = {
		.e_ident = {
			ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS32, ELFDATA2LSB, EV_CURRENT,
		},
		.e_type = ET_DYN,
		.e_machine = EM_QDSP6,
	};

	memcpy(ptr, &header, sizeof(header));
}

int qda_rebind(const char *dsp)
{
	char name[256];
	int fd, ret;

	if (!qda_rpmsg_device(dsp, name, sizeof(name)))
		return -ENODEV;
	ret = sysfs_write(RPMSG_DRIVER "/unbind", name);
	/* The channel closed with the driver; the DSP offers it anew, and the driver takes it. */
	for (int i = 0; !ret && i < qda_patience(1000); i++) {
		fd = qda_open(dsp);
		if (fd >= 0) {
			close(fd);
			return 0;
		}
		usleep(10000);
	}
	return ret ?: -ETIMEDOUT;
}

int qda_unload(void)
{
	return syscall(SYS_delete_module, "qda", O_NONBLOCK) ? -errno : 0;
}

bool qda_reload(int devices)
{
	if (system("modprobe qda"))
		return false;
	for (int i = 0; i < qda_patience(1000) && sysfs_count("/dev/accel") != devices; i++)
		usleep(10000);
	return sysfs_count("/dev/accel") == devices;
}

int qda_open_node(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	for (int i = 0; fd < 0 && errno == ENOENT && i < qda_patience(500); i++) {
		usleep(10000);
		fd = open(path, O_RDWR | O_CLOEXEC);
	}
	return fd < 0 ? -errno : fd;
}

bool qda_of_bool(const char *dsp, const char *property)
{
	char name[256], path[600];

	if (!qda_rpmsg_device(dsp, name, sizeof(name)))
		return false;
	snprintf(path, sizeof(path), RPMSG_DEVICES "/%s/of_node/%s", name, property);
	return !access(path, F_OK);
}

int qda_banks(const char *dsp)
{
	char name[256], path[900];
	struct dirent *entry;
	int banks = 0;
	DIR *dir;

	if (!qda_rpmsg_device(dsp, name, sizeof(name)))
		return 0;
	snprintf(path, sizeof(path), RPMSG_DEVICES "/%s/of_node", name);
	dir = opendir(path);
	if (!dir)
		return 0;
	while ((entry = readdir(dir))) {
		__u8 cell[4];
		FILE *file;

		/* Most are called compute-cb. */
		if (!strstr(entry->d_name, "cb@"))
			continue;
		snprintf(path, sizeof(path), RPMSG_DEVICES "/%s/of_node/%s/qcom,nsessions", name,
			 entry->d_name);
		file = fopen(path, "re");
		if (file && fread(cell, 1, sizeof(cell), file) == sizeof(cell))
			banks += cell[3];
		else
			banks++;
		if (file)
			fclose(file);
	}
	closedir(dir);
	return banks;
}

int qda_stream_id(const char *dsp, unsigned int bank)
{
	char name[256], path[600];
	__u8 cells[8];
	int id = -1;
	FILE *file;

	if (!qda_rpmsg_device(dsp, name, sizeof(name)))
		return -1;
	snprintf(path, sizeof(path), RPMSG_DEVICES "/%s/of_node/compute-cb@%x/iommus", name, bank);
	file = fopen(path, "re");
	if (!file)
		return -1;
	/* Big endian: which IOMMU, and the stream. */
	if (fread(cells, 1, sizeof(cells), file) == sizeof(cells))
		id = cells[4] << 24 | cells[5] << 16 | cells[6] << 8 | cells[7];
	fclose(file);
	return id;
}
