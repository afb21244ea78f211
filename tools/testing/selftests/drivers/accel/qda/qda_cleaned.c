// SPDX-License-Identifier: GPL-2.0
/*
 * QDA: what the driver has done about the CPU's caches for its own buffers, by the events of the
 * DMA API: on a machine without caches nothing else shows it.
 *
 * It needs a kernel with tracing, and for some tests banks that are not coherent.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <unistd.h>

#include <linux/dma-buf.h>

#include "dmabuf.h"
#include "fixture.h"
#include "harness.h"
#include "module.h"
#include "nodes.h"
#include "qda.h"
#include "simdsp.h"
#include "sysfs.h"

#define TRACING		"/sys/kernel/tracing/"
#define SIZE		65536
#define PAGE		4096UL
#define PAGES		(SIZE / PAGE)
#define MAX_RANGES	4096

/* Entries of a list in an event that are of interest: the buffers are small. */
#define MAX_ENTRIES	128

/* The device of the module qda_importer. */
#define IMPORTER	"/dev/qda-importer"
#define IMPORTER_NAME	"qda-importer"
#define IMPORTER_MAP	_IOW('q', 0, __s32)

static int trace_write(const char *file, const char *text)
{
	char path[128];
	ssize_t ret;
	int fd;

	snprintf(path, sizeof(path), TRACING "%s", file);
	fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = write(fd, text, strlen(text));
	close(fd);
	return ret < 0 ? -errno : 0;
}

/* Starts with nothing recorded. Return: whether the kernel has the events. */
static bool trace_start(void)
{
	if (access(TRACING "events", F_OK))
		mount("tracefs", TRACING, "tracefs", 0, NULL);
	return !trace_write("events/dma/enable", "1") && !trace_write("trace", "");
}

static void trace_stop(void)
{
	trace_write("events/dma/enable", "0");
	trace_write("trace", "");
}

static int trace_mark(const char *text)
{
	return trace_write("trace_marker", text);
}

/* An event of the DMA API. */
struct event {
	char name[64];
	char device[128];
	bool skip;
	int phys_count;
	int dma_count;
	int size_count;
	__u64 phys[MAX_ENTRIES];
	__u64 dma[MAX_ENTRIES];
	__u64 sizes[MAX_ENTRIES];
};

/* Reads "{0x1,0x2}", or one number of @base. */
static int read_list(const char *line, const char *key, int base, __u64 *list)
{
	const char *at = strstr(line, key);
	int count = 0;
	char *end;

	if (!at)
		return 0;
	at += strlen(key);
	if (*at != '{') {
		list[0] = strtoull(at, NULL, base);
		return 1;
	}
	for (; count < MAX_ENTRIES && (*at == '{' || *at == ','); at = end)
		list[count++] = strtoull(at + 1, &end, 0);
	return count;
}

/* Reads a line of the trace. Return: whether it is an event of the DMA API, or a mark. */
static bool read_event(const char *line, struct event *event)
{
	const char *at = strstr(line, ": dma_");

	memset(event, 0, sizeof(*event));
	if (!at) {
		at = strstr(line, ": tracing_mark_write: ");
		if (!at || sscanf(at, ": tracing_mark_write: %127s", event->device) != 1)
			return false;
		snprintf(event->name, sizeof(event->name), "mark");
		return true;
	}
	if (sscanf(at, ": %63[a-z_]: %127s", event->name, event->device) != 2)
		return false;
	event->skip = strstr(at, "SKIP_CPU_SYNC");
	event->phys_count = read_list(at, " phys_addrs=", 0, event->phys) ?:
			    read_list(at, " phys_addr=", 16, event->phys);
	event->dma_count = read_list(at, " dma_addrs=", 0, event->dma) ?:
			   read_list(at, " dma_addr=", 16, event->dma);
	event->size_count = read_list(at, " sizes=", 0, event->sizes) ?:
			    read_list(at, " size=", 10, event->sizes);
	return true;
}

/* Whether a device sees what is in the caches. */
static bool is_coherent(const char *device)
{
	char pattern[300];
	glob_t found;
	bool coherent;

	snprintf(pattern, sizeof(pattern), "/sys/bus/*/devices/%s/of_node/dma-coherent", device);
	coherent = !glob(pattern, 0, NULL, &found);
	if (coherent)
		globfree(&found);
	return coherent;
}

static bool is(const struct event *event, const char *name)
{
	return !strcmp(event->name, name);
}

static bool is_map(const struct event *event)
{
	return !strncmp(event->name, "dma_map_", 8) && !is(event, "dma_map_sg_err");
}

static bool is_sync(const struct event *event, const char *whom)
{
	return !strncmp(event->name, "dma_sync_", 9) && strstr(event->name, whom);
}

/*
 * Notes which pages an event cleans. Entries of a list that follow each other in memory may be one:
 * all of them have the length that the addresses for the device have.
 */
static void note_cleaned(const struct event *event, const __u64 *pages, bool *cleaned)
{
	bool seen[PAGES] = { false };
	__u64 all = 0;

	for (int i = 0; i < event->size_count; i++)
		all += event->sizes[i];
	for (size_t i = 0; i < PAGES; i++) {
		for (int j = 0; j < event->phys_count; j++) {
			__u64 size = event->phys_count == event->size_count ? event->sizes[j] : 1;

			seen[i] |= event->phys[j] <= pages[i] && pages[i] < event->phys[j] + size;
		}
		if (i && all >= SIZE && seen[i - 1] && pages[i] == pages[i - 1] + PAGE)
			seen[i] = true;
		cleaned[i] |= seen[i];
	}
}

/* How many of these pages nobody has cleaned up to a mark. */
static int dirty_pages(const __u64 *pages, const char *mark)
{
	FILE *file = fopen(TRACING "trace", "re");
	struct event event, skipped = { 0 };
	bool cleaned[PAGES] = { false };
	char *line = NULL;
	size_t size = 0;
	int dirty = 0;

	while (file && getline(&line, &size, file) > 0) {
		if (!read_event(line, &event))
			continue;
		if (is(&event, "mark") && !strcmp(event.device, mark))
			break;
		if (is_coherent(event.device))
			continue;
		if (is_map(&event) && event.skip)
			skipped = event;
		else if (is_map(&event))
			note_cleaned(&event, pages, cleaned);
		else if (is_sync(&event, "for_device") && skipped.dma_count &&
			 event.dma[0] == skipped.dma[0])
			note_cleaned(&skipped, pages, cleaned);
	}
	free(line);
	if (file)
		fclose(file);
	for (size_t i = 0; i < PAGES; i++)
		dirty += !cleaned[i];
	return dirty;
}

/* Whether a device is synced between two marks; "for_device" or "for_cpu". */
static bool is_synced(const char *from, const char *to, const char *whom, const char *device)
{
	bool cpu = !strcmp(whom, "for_cpu"), inside = false, found = false;
	FILE *file = fopen(TRACING "trace", "re");
	struct event event;
	char *line = NULL;
	size_t size = 0;

	while (file && getline(&line, &size, file) > 0) {
		if (!read_event(line, &event))
			continue;
		if (is(&event, "mark")) {
			if (!strcmp(event.device, to))
				break;
			inside |= !strcmp(event.device, from);
			continue;
		}
		if (!inside || (device && strcmp(event.device, device)) || event.skip)
			continue;
		/* Mapping and unmapping do the same. */
		found |= is_sync(&event, whom) ||
			 (cpu ? !strncmp(event.name, "dma_unmap_", 10) : is_map(&event));
	}
	free(line);
	if (file)
		fclose(file);
	return found;
}

/* Where the DSP has the only buffer that is mapped into a process. Return: 0 or -errno. */
static int mapped_at(__u32 client, __u64 *iova)
{
	char line[SIMDSP_LINE];
	int lines, ret = simdsp_cmd(line, "processes cdsp"), found = -ENOENT;

	if (ret)
		return ret;
	lines = atoi(line);
	for (int i = 0; i < lines; i++) {
		unsigned long long at;
		unsigned int id;

		ret = simdsp_next_line(line);
		if (ret)
			return ret;
		if (sscanf(line, "client %u bank %*s memory %*x %*x maps 1 %llx", &id, &at) == 2 &&
		    id == client) {
			*iova = at;
			found = 0;
		}
	}
	return found;
}

/* Where the pages of that buffer are. Return: whether all are somewhere. */
static bool find_pages(const struct simdsp_info *info, __u64 *pages)
{
	static struct simdsp_range ranges[MAX_RANGES];
	int count = simdsp_mappings("cdsp", info->bank, ranges, MAX_RANGES);
	__u64 iova;

	if (mapped_at(info->client_id, &iova))
		return false;
	for (size_t i = 0; i < PAGES; i++, iova += PAGE) {
		pages[i] = 0;
		for (int j = 0; j < count; j++) {
			if (iova >= ranges[j].iova && iova < ranges[j].iova + ranges[j].len)
				pages[i] = ranges[j].pa + iova - ranges[j].iova;
		}
		if (!pages[i])
			return false;
	}
	return true;
}

FIXTURE(cleaned)
{
	int fd;
	__u32 handle;
	struct simdsp_info info;
};

FIXTURE_SETUP(cleaned)
{
	if (!fixture_setup(_metadata, &self->fd, &self->handle))
		return;
	ASSERT_EQ(0, simdsp_info(self->fd, self->handle, &self->info));
	if (!trace_start())
		SKIP(return, "this kernel has no tracing");
}

FIXTURE_TEARDOWN(cleaned)
{
	trace_stop();
	fixture_teardown(_metadata, self->fd);
}

/* A buffer that is not cached. Return: 0, -errno, or 1 where the driver has it cached. */
static int uncached(int fd, __u32 flags, struct qda_buf *buf)
{
	struct drm_qda_buffer_create args = { .size = SIZE, .flags = flags };
	int ret = qda_ioctl(fd, DRM_IOCTL_QDA_BUFFER_CREATE, &args);

	if (ret)
		return ret;
	*buf = (struct qda_buf) { .fd = fd, .handle = args.handle, .size = SIZE };
	if (args.flags == QDA_BUFFER_WRITE_COMBINED)
		return 0;
	qda_gem_close(fd, args.handle);
	return 1;
}

static bool map_handle(struct qda_buf *buf)
{
	__u64 offset;

	if (qda_mmap_offset(buf->fd, buf->handle, &offset))
		return false;
	buf->map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, buf->fd, offset);
	return buf->map != MAP_FAILED;
}

/* Gives a buffer to the DSP, which tells where it is. */
static int find_buffer(int fd, const struct simdsp_info *info, const struct qda_buf *buf,
		       __u64 *pages)
{
	struct drm_qda_mem_map map = {
		.request = QDA_MAP_REQUEST_ATTR, .flags = QDA_MAP_FD, .handle = buf->handle,
		.dsp_handle = 4711, .vaddrin = (uintptr_t)buf->map, .size = SIZE,
	};
	struct drm_qda_mem_unmap unmap = {
		.request = QDA_MAP_REQUEST_ATTR, .handle = buf->handle, .dsp_handle = 4711,
		.size = SIZE,
	};
	int ret = qda_ioctl(fd, DRM_IOCTL_QDA_MAP, &map);

	if (ret)
		return ret;
	ret = find_pages(info, pages) ? 0 : -ENOENT;
	unmap.vaddr = map.vaddrout;
	return qda_ioctl(fd, DRM_IOCTL_QDA_MUNMAP, &unmap) ?: ret;
}

/*
 * The kernel zeroes new pages by its cache. Where the program's mapping is not cached, that is in
 * memory before the program gets there: else it reads what others left, and the zeroes overwrite
 * what it has written.
 */
TEST_F(cleaned, before_the_program_has_it)
{
	static const __u32 flags[] = { 0, QDA_BUFFER_WRITE_COMBINED };
	__u64 pages[PAGES];
	struct qda_buf buf;

	for (int i = 0; i < 2; i++) {
		int ret = uncached(self->fd, flags[i], &buf);

		/* None is made where nothing wants it. */
		if (ret == 1 || ret == -EOPNOTSUPP)
			continue;
		ASSERT_EQ(0, ret);
		ASSERT_TRUE(map_handle(&buf));
		EXPECT_TRUE(qda_all(buf.map, SIZE, 0));
		ASSERT_EQ(0, trace_mark("touched"));
		ASSERT_EQ(0, find_buffer(self->fd, &self->info, &buf, pages));
		EXPECT_EQ(0, dirty_pages(pages, "touched"));
		qda_buf_free(&buf);
		ASSERT_EQ(0, trace_write("trace", ""));
	}
}

TEST_F(cleaned, before_a_program_has_it_by_its_dma_buf)
{
	__u64 pages[PAGES];
	struct qda_buf buf;
	int dmabuf, ret;

	ret = uncached(self->fd, 0, &buf);
	if (ret == 1)
		SKIP(return, "the driver has buffers cached here");
	ASSERT_EQ(0, ret);
	dmabuf = dmabuf_export(self->fd, buf.handle);
	ASSERT_LE(0, dmabuf);
	buf.map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, dmabuf, 0);
	ASSERT_NE(MAP_FAILED, (void *)buf.map);
	EXPECT_TRUE(qda_all(buf.map, SIZE, 0));
	ASSERT_EQ(0, trace_mark("touched"));
	ASSERT_EQ(0, find_buffer(self->fd, &self->info, &buf, pages));
	EXPECT_EQ(0, dirty_pages(pages, "touched"));
	qda_buf_free(&buf);
	close(dmabuf);
}

TEST_F(cleaned, before_a_program_of_the_other_driver_has_it)
{
	struct fastrpc_alloc_dma_buf alloc = { .size = SIZE };
	struct fastrpc_mem_unmap undo = { .length = SIZE };
	struct fastrpc_mem_map args = { .flags = FASTRPC_MAP_FD, .length = SIZE };
	int fd = open(CDSP, O_RDWR | O_CLOEXEC);
	struct fastrpc_invoke_args arg;
	struct simdsp_info info;
	__u64 pages[PAGES];
	__u32 handle;
	__u8 *map;

	if (fd < 0)
		SKIP(return, "no " CDSP);
	if (qda_of_bool("cdsp", "compute-cb@1/dma-coherent"))
		SKIP(return, "the driver has buffers cached here");
	ASSERT_EQ(0, create(fd, UNSIGNED));
	handle = module(fd);
	arg = bytes(&info, sizeof(info));
	ASSERT_EQ(0, invoke(fd, handle, QDA_SCALARS(SIMDSP_INFO, 0, 1), &arg));
	ASSERT_EQ(0, qda_ioctl(fd, FASTRPC_IOCTL_ALLOC_DMA_BUFF, &alloc));
	map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, alloc.fd, 0);
	ASSERT_NE(MAP_FAILED, (void *)map);
	EXPECT_TRUE(qda_all(map, SIZE, 0));
	ASSERT_EQ(0, trace_mark("touched"));

	args.fd = alloc.fd;
	args.vaddrin = (uintptr_t)map;
	ASSERT_EQ(0, qda_ioctl(fd, FASTRPC_IOCTL_MEM_MAP, &args));
	EXPECT_TRUE(find_pages(&info, pages));
	EXPECT_EQ(0, dirty_pages(pages, "touched"));
	undo.fd = alloc.fd;
	undo.vaddr = args.vaddrout;
	EXPECT_EQ(0, qda_ioctl(fd, FASTRPC_IOCTL_MEM_UNMAP, &undo));
	munmap(map, SIZE);
	close(alloc.fd);
	close(fd);
}

static int cached(int fd, struct qda_buf *buf)
{
	struct drm_qda_buffer_create args = { .size = SIZE, .flags = QDA_BUFFER_CACHED };
	int ret = qda_ioctl(fd, DRM_IOCTL_QDA_BUFFER_CREATE, &args);

	if (ret)
		return ret;
	*buf = (struct qda_buf) { .fd = fd, .handle = args.handle, .size = SIZE };
	return map_handle(buf) ? 0 : -EIO;
}

/* A buffer that the CPU caches is synced for the DSP before each call, and for the CPU after it. */
TEST_F(cleaned, around_each_call)
{
	static const char hold[] =
		"script {\"rules\":[{\"module\":\"simdsp\",\"method\":2,\"actions\":[\"hold\"]}]}";
	struct drm_qda_invoke_arg args[2];
	struct simdsp_call call;
	struct qda_buf buf;

	if (qda_of_bool("cdsp", "compute-cb@1/dma-coherent"))
		SKIP(return, "the DSP sees the caches");
	ASSERT_EQ(0, cached(self->fd, &buf));
	ASSERT_EQ(0, simdsp_cmd(NULL, hold));
	args[0] = qda_ref(&buf, 0, 5000);
	args[1] = qda_ref(&buf, 8192, 5000);
	for (int i = 0; i < 3; i++) {
		ASSERT_EQ(0, trace_write("trace", ""));
		ASSERT_EQ(0, trace_mark("call"));
		qda_fill(buf.map, 5000, i);
		ASSERT_EQ(0, simdsp_call_start(&call, self->fd, self->handle,
					       QDA_SCALARS(SIMDSP_ECHO, 1, 1), args));
		ASSERT_TRUE(simdsp_wait_stat("cdsp", "held", 1, 5000));
		ASSERT_EQ(0, trace_mark("sent"));
		ASSERT_EQ(0, simdsp_cmd(NULL, "release-held cdsp"));
		EXPECT_EQ(0, simdsp_call_join(&call));
		ASSERT_EQ(0, trace_mark("answered"));
		EXPECT_TRUE(qda_filled(buf.map + 8192, 5000, i));
		EXPECT_TRUE(is_synced("call", "sent", "for_device", NULL));
		EXPECT_TRUE(is_synced("sent", "answered", "for_cpu", NULL));
	}
	qda_buf_free(&buf);
}

/* That these tests know a cleaned page: a buffer of a heap, which another device has mapped. */
TEST_F(cleaned, by_another_device)
{
	int other = open(IMPORTER, O_RDWR | O_CLOEXEC), dmabuf = dmabuf_heap(SIZE);
	struct qda_buf buf = { .fd = self->fd, .size = SIZE };
	__u64 pages[PAGES];
	__s32 fd = dmabuf;

	if (other < 0 || dmabuf == -ENOENT)
		SKIP(return, "needs the module qda_importer, and a heap");
	ASSERT_LE(0, dmabuf);
	ASSERT_EQ(0, dmabuf_import(self->fd, dmabuf, &buf.handle));
	buf.map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, dmabuf, 0);
	ASSERT_NE(MAP_FAILED, (void *)buf.map);
	ASSERT_EQ(0, trace_mark("before"));
	ASSERT_EQ(0, qda_ioctl(other, IMPORTER_MAP, &fd));
	ASSERT_EQ(0, trace_mark("mapped"));
	ASSERT_EQ(0, find_buffer(self->fd, &self->info, &buf, pages));
	EXPECT_EQ(PAGES, dirty_pages(pages, "before"));
	EXPECT_EQ(0, dirty_pages(pages, "mapped"));
	close(other);
	close(dmabuf);
	qda_buf_free(&buf);
}

/* That they know a buffer that is synced: the program asks for it, while the DSP has it. */
TEST_F(cleaned, by_the_program)
{
	struct drm_qda_mem_map map = {
		.request = QDA_MAP_REQUEST_ATTR, .flags = QDA_MAP_FD, .size = SIZE,
	};
	struct drm_qda_buffer_sync sync = { .flags = QDA_SYNC_WRITE };
	struct qda_buf buf;

	if (qda_of_bool("cdsp", "compute-cb@1/dma-coherent"))
		SKIP(return, "the DSP sees the caches");
	ASSERT_EQ(0, cached(self->fd, &buf));
	map.handle = buf.handle;
	sync.handle = buf.handle;
	ASSERT_EQ(0, qda_ioctl(self->fd, DRM_IOCTL_QDA_MAP, &map));
	ASSERT_EQ(0, trace_mark("begin"));
	ASSERT_EQ(0, qda_ioctl(self->fd, DRM_IOCTL_QDA_BUFFER_SYNC, &sync));
	sync.flags |= QDA_SYNC_END;
	ASSERT_EQ(0, qda_ioctl(self->fd, DRM_IOCTL_QDA_BUFFER_SYNC, &sync));
	ASSERT_EQ(0, trace_mark("written"));
	sync.flags = QDA_SYNC_READ;
	ASSERT_EQ(0, qda_ioctl(self->fd, DRM_IOCTL_QDA_BUFFER_SYNC, &sync));
	ASSERT_EQ(0, trace_mark("end"));
	EXPECT_TRUE(is_synced("begin", "written", "for_device", NULL));
	EXPECT_TRUE(is_synced("written", "end", "for_cpu", NULL));
	EXPECT_FALSE(is_synced("end", "nothing", "for_cpu", NULL));
	qda_buf_free(&buf);
}

/* Another device has mapped the buffer, and does not see the caches either. */
TEST_F(cleaned, for_another_device)
{
	int other = open(IMPORTER, O_RDWR | O_CLOEXEC), dmabuf;
	struct qda_buf buf;
	__s32 fd;

	if (other < 0)
		SKIP(return, "needs the module qda_importer");
	ASSERT_EQ(0, cached(self->fd, &buf));
	dmabuf = dmabuf_export(self->fd, buf.handle);
	ASSERT_LE(0, dmabuf);
	fd = dmabuf;
	ASSERT_EQ(0, qda_ioctl(other, IMPORTER_MAP, &fd));

	ASSERT_EQ(0, trace_mark("write"));
	EXPECT_EQ(0, dmabuf_sync(dmabuf, DMA_BUF_SYNC_START | DMA_BUF_SYNC_WRITE));
	EXPECT_EQ(0, dmabuf_sync(dmabuf, DMA_BUF_SYNC_END | DMA_BUF_SYNC_WRITE));
	ASSERT_EQ(0, trace_mark("read"));
	EXPECT_EQ(0, dmabuf_sync(dmabuf, DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ));
	ASSERT_EQ(0, trace_mark("end"));
	EXPECT_EQ(0, dmabuf_sync(dmabuf, DMA_BUF_SYNC_END | DMA_BUF_SYNC_READ));
	EXPECT_TRUE(is_synced("write", "read", "for_device", IMPORTER_NAME));
	EXPECT_TRUE(is_synced("read", "end", "for_cpu", IMPORTER_NAME));
	close(other);
	close(dmabuf);
	qda_buf_free(&buf);
}

TEST_HARNESS_MAIN
