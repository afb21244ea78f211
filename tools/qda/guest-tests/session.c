// SPDX-License-Identifier: GPL-2.0
/*
 * Sessions on any DSP, memory of every origin, and what the simulator knows of both.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/dma-heap.h>
#include <linux/udmabuf.h>

#include "session.h"
#include "simdsp.h"

#define HEAP		"/dev/dma_heap/system"
#define UDMABUF		"/dev/udmabuf"

static bool has_unsigned(const char *dsp)
{
	return !strncmp(dsp, "cdsp", 4) || !strncmp(dsp, "gdsp", 4);
}

int session_open(const char *dsp, size_t image)
{
	struct drm_qda_init_create create = {
		.attrs = has_unsigned(dsp) ? QDA_PROC_ATTR_UNSIGNED : 0,
		.filelen = image,
	};
	char *bytes = NULL;
	int fd, ret;

	fd = qda_open(dsp);
	if (fd < 0)
		return fd;
	if (image) {
		bytes = calloc(1, image);
		if (!bytes) {
			close(fd);
			return -ENOMEM;
		}
		memcpy(bytes, "\177ELF", 4);
		create.file = (uintptr_t)bytes;
	}
	ret = qda_ioctl(fd, DRM_IOCTL_QDA_INIT_CREATE, &create);
	free(bytes);
	if (!ret)
		return fd;
	close(fd);
	return ret < 0 ? ret : -EREMOTEIO;
}

int session_new(int fd, __u32 flags, size_t size, struct qda_buf *buf)
{
	struct drm_qda_buffer_create args = { .size = size, .flags = flags };
	__u64 offset;
	int ret;

	ret = qda_ioctl(fd, DRM_IOCTL_QDA_BUFFER_CREATE, &args);
	if (ret)
		return ret;
	buf->fd = fd;
	buf->handle = args.handle;
	buf->size = size;
	ret = qda_mmap_offset(fd, args.handle, &offset);
	if (!ret) {
		buf->map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);
		if (buf->map != MAP_FAILED)
			return 0;
		ret = -errno;
	}
	qda_gem_close(fd, args.handle);
	return ret;
}

static int heap_new(size_t size)
{
	struct dma_heap_allocation_data args = { .len = size, .fd_flags = O_RDWR | O_CLOEXEC };
	int heap = open(HEAP, O_RDWR | O_CLOEXEC);
	int ret;

	if (heap < 0)
		return -errno;
	ret = ioctl(heap, DMA_HEAP_IOCTL_ALLOC, &args) ? -errno : (int)args.fd;
	close(heap);
	return ret;
}

static int udmabuf_new(size_t size)
{
	struct udmabuf_create args = { .flags = UDMABUF_FLAGS_CLOEXEC, .size = size };
	int device, ret;

	device = open(UDMABUF, O_RDWR | O_CLOEXEC);
	if (device < 0)
		return -errno;
	args.memfd = memfd_create("isolation", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if ((int)args.memfd < 0 || ftruncate(args.memfd, size) ||
	    fcntl(args.memfd, F_ADD_SEALS, F_SEAL_SHRINK)) {
		ret = -errno;
	} else {
		ret = ioctl(device, UDMABUF_CREATE, &args);
		ret = ret < 0 ? -errno : ret;
	}
	close(args.memfd);
	close(device);
	return ret;
}

int session_dmabuf(enum origin origin, size_t size)
{
	return origin == ORIGIN_HEAP ? heap_new(size) : udmabuf_new(size);
}

int session_import(int fd, int dmabuf, size_t size, struct qda_buf *buf)
{
	struct drm_prime_handle args = { .fd = dmabuf };

	if (ioctl(fd, DRM_IOCTL_PRIME_FD_TO_HANDLE, &args))
		return -errno;
	buf->fd = fd;
	buf->handle = args.handle;
	buf->size = size;
	buf->map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, dmabuf, 0);
	if (buf->map != MAP_FAILED)
		return 0;
	qda_gem_close(fd, args.handle);
	return -errno;
}

int session_buf(int fd, enum origin origin, size_t size, struct qda_buf *buf)
{
	int dmabuf, ret;

	if (origin == ORIGIN_WRITE_COMBINED) {
		/* A DSP that sees the CPU's caches has none. */
		ret = session_new(fd, QDA_BUFFER_WRITE_COMBINED, size, buf);
		return ret == -EOPNOTSUPP ? session_new(fd, 0, size, buf) : ret;
	}
	if (origin == ORIGIN_CACHED)
		return session_new(fd, QDA_BUFFER_CACHED, size, buf);
	dmabuf = session_dmabuf(origin, size);
	if (dmabuf < 0)
		return dmabuf;
	ret = session_import(fd, dmabuf, size, buf);
	close(dmabuf);
	return ret;
}

int session_map(int fd, const struct qda_buf *buf)
{
	struct drm_qda_mem_map args = {
		.request = QDA_MAP_REQUEST_ATTR,
		.flags = QDA_MAP_FD,
		.handle = buf->handle,
		.size = buf->size,
	};

	return qda_ioctl(fd, DRM_IOCTL_QDA_MAP, &args);
}

int session_grow(int fd, size_t size)
{
	struct drm_qda_mem_map args = {
		.request = QDA_MAP_REQUEST_LEGACY,
		.flags = QDA_HEAP_ADD_LLC,
		.size = size,
	};

	return qda_ioctl(fd, DRM_IOCTL_QDA_MAP, &args);
}

int dsp_held_call(const char *dsp, struct held_call *held)
{
	char line[SIMDSP_LINE], *at;
	unsigned long long iova, len;
	int ret, calls, args, used;

	memset(held, 0, sizeof(*held));
	ret = simdsp_cmd(line, "calls %s", dsp);
	if (ret)
		return ret;
	calls = atoi(line);
	for (int i = 0; i < calls; i++) {
		ret = simdsp_next_line(line);
		if (ret)
			return ret;
	}
	if (calls != 1)
		return -EPROTO;

	at = strstr(line, " at ");
	if (!at || sscanf(at, " at %llx %llx args %d%n", &iova, &len, &args, &used) != 3 ||
	    args > MAX_ARGS)
		return -EPROTO;
	held->call = (struct simdsp_range) { .iova = iova, .len = len };
	at += used;
	for (int i = 0; i < args; i++) {
		if (sscanf(at, " %llx %llx%n", &iova, &len, &used) != 2)
			return -EPROTO;
		held->args[i] = (struct simdsp_range) { .iova = iova, .len = len };
		at += used;
	}
	return 0;
}

/* Reads what @line tells of a process, from the memory on. */
static int read_process(const char *line, struct dsp_process *process)
{
	unsigned long long iova, len;
	int used;

	memset(process, 0, sizeof(*process));
	if (sscanf(line, "memory %llx %llx maps %d%n", &iova, &len, &process->maps_count,
		   &used) != 3 || process->maps_count > MAX_MAPS)
		return -EPROTO;
	process->memory = (struct simdsp_range) { .iova = iova, .len = len };
	for (int i = 0; i < process->maps_count; i++) {
		line += used;
		if (sscanf(line, " %llx %llx%n", &iova, &len, &used) != 2)
			return -EPROTO;
		process->maps[i] = (struct simdsp_range) { .iova = iova, .len = len };
	}
	return 0;
}

int dsp_process(const char *dsp, int client, struct dsp_process *process)
{
	char line[SIMDSP_LINE];
	int ret, lines, found = -ENOENT;

	ret = simdsp_cmd(line, "processes %s", dsp);
	if (ret)
		return ret;
	lines = atoi(line);
	for (int i = 0; i < lines; i++) {
		int id, used = 0;

		ret = simdsp_next_line(line);
		if (ret)
			return ret;
		if (sscanf(line, "client %d bank %*s %n", &id, &used) != 1 || !used)
			return -EPROTO;
		if (id == client)
			found = read_process(line + used, process);
	}
	return found;
}

int dsp_streams(const char *dsp, unsigned int bank, __u32 *sids, int max)
{
	char line[SIMDSP_LINE];
	int ret, lines;

	ret = simdsp_cmd(line, "streams %s %u", dsp, bank);
	if (ret)
		return ret;
	lines = atoi(line);
	for (int i = 0; i < lines; i++) {
		ret = simdsp_next_line(line);
		if (ret)
			return ret;
		if (i < max)
			sids[i] = strtoul(line, NULL, 0);
	}
	return lines <= max ? lines : -ENOBUFS;
}

bool dsp_one_context(const char *dsp, unsigned int one, unsigned int other)
{
	__u32 ones[16], others[16];
	int count, other_count;

	if (one == other)
		return true;
	count = dsp_streams(dsp, one, ones, 16);
	other_count = dsp_streams(dsp, other, others, 16);
	for (int i = 0; i < count; i++) {
		for (int j = 0; j < other_count; j++) {
			if (ones[i] == others[j])
				return true;
		}
	}
	return false;
}

int dsp_survey(struct survey *survey)
{
	char line[SIMDSP_LINE];
	int ret;

	ret = simdsp_cmd(line, "survey");
	if (ret)
		return ret;
	if (sscanf(line, "banks %lld tables %lld mapped %lld shared %lld", &survey->banks,
		   &survey->tables, &survey->mapped, &survey->shared) != 4)
		return -EPROTO;
	return 0;
}

void tap_plan(int tests)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("TAP version 13\n1..%d\n", tests);
}

void tap_result(struct tap *tap, bool ok, const char *fmt, ...)
{
	va_list args;

	printf("%sok %d - ", ok ? "" : "not ", ++tap->results);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	printf("\n");
	tap->failed += !ok;
}
