// SPDX-License-Identifier: GPL-2.0
/*
 * QDA: memory that stays with the DSP process: buffers mapped under a number, heap, and buffers
 * that are passed by number.
 */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dmabuf.h"
#include "fixture.h"
#include "harness.h"
#include "module.h"
#include "qda.h"
#include "simdsp.h"

#define SIZE	65536

/* Status of the DSP that a script makes it answer. */
#define REFUSED	DSP_ERROR(0x02)

FIXTURE(map)
{
	int fd;
	__u32 handle;
	struct qda_buf buf;
};

FIXTURE_SETUP(map)
{
	if (!fixture_setup(_metadata, &self->fd, &self->handle))
		return;
	ASSERT_EQ(0, qda_buf_new(self->fd, SIZE, &self->buf));
	qda_fill(self->buf.map, SIZE, 1);
}

FIXTURE_TEARDOWN(map)
{
	if (self->fd >= 0)
		qda_buf_free(&self->buf);
	fixture_teardown(_metadata, self->fd);
}

static struct drm_qda_mem_map attr(const struct qda_buf *buf, __s32 number)
{
	return (struct drm_qda_mem_map) {
		.request = QDA_MAP_REQUEST_ATTR,
		.flags = QDA_MAP_FD,
		.handle = buf->handle,
		.dsp_handle = number,
		.vaddrin = (uintptr_t)buf->map,
		.size = buf->size,
	};
}

static int map(int fd, struct drm_qda_mem_map *args)
{
	return qda_ioctl(fd, DRM_IOCTL_QDA_MAP, args);
}

static int unmap(int fd, __s32 number, __u64 address, __u64 size)
{
	struct drm_qda_mem_unmap args = {
		.request = QDA_MAP_REQUEST_ATTR,
		.dsp_handle = number,
		.vaddr = address,
		.size = size,
	};

	return qda_ioctl(fd, DRM_IOCTL_QDA_MUNMAP, &args);
}

static int shrink(int fd, __u64 address, __u64 size)
{
	struct drm_qda_mem_unmap args = {
		.request = QDA_MAP_REQUEST_LEGACY,
		.vaddrout = address,
		.size = size,
	};

	return qda_ioctl(fd, DRM_IOCTL_QDA_MUNMAP, &args);
}

/* Has the DSP process read, or fill, part of a mapped buffer; @sum gets the checksum of it. */
static int mapped(int fd, __u32 handle, __s32 number, __u32 offset, __u32 len, bool write,
		  __u64 *sum)
{
	__u32 in[4] = { number, offset, len, write };
	struct drm_qda_invoke_arg args[2] = {
		qda_inline(in, sizeof(in)), qda_inline(sum, sizeof(*sum)),
	};

	return qda_invoke(fd, handle, QDA_SCALARS(SIMDSP_MAPPED, 1, 1), args);
}

/* Calls with one buffer as an in-handle; @sum gets its checksum. */
static int lend(int fd, __u32 handle, __u32 number, __u64 offset, __u64 len, __u64 *sum)
{
	__u32 seed = 0;
	struct drm_qda_invoke_arg args[3] = {
		qda_inline(&seed, sizeof(seed)), qda_inline(sum, sizeof(*sum)),
		{ .ptr = offset, .length = len, .handle = number },
	};

	return qda_invoke(fd, handle,
			  QDA_SCALARS(SIMDSP_HANDLES, 1, 1) | QDA_SCALARS_HANDLES(1, 0), args);
}

/* Has the DSP give back @count numbers. */
static int give_back(int fd, __u32 handle, const __u64 *numbers, size_t count)
{
	struct drm_qda_invoke_arg arg = qda_inline(numbers, count * sizeof(*numbers));

	return qda_invoke(fd, handle, QDA_SCALARS(SIMDSP_GIVE_BACK, 1, 0), &arg);
}

/* Has the DSP refuse every call of a method of the kernel. */
static int refuse(int method)
{
	return simdsp_cmd(NULL,
			  "script {\"replace\":true,\"rules\":[{\"dsp\":\"cdsp\",\"handle\":1,\"method\":%d,\"actions\":[{\"fail\":%d}]}]}",
			  method, REFUSED);
}

/* Has the DSP do again what it is asked. */
static int obey(void)
{
	return simdsp_cmd(NULL, "script {\"replace\":true}");
}

TEST_F(map, buffer)
{
	struct drm_qda_mem_map args = attr(&self->buf, 0);
	__u64 sum;

	ASSERT_EQ(0, map(self->fd, &args));
	EXPECT_NE(0, args.vaddrout);
	EXPECT_EQ(1, simdsp_stat("cdsp", "maps"));
	ASSERT_EQ(0, mapped(self->fd, self->handle, self->buf.handle, 0, SIZE, false, &sum));
	EXPECT_EQ(simdsp_checksum(self->buf.map, SIZE), sum);

	/* What the DSP writes is seen here. */
	ASSERT_EQ(0, mapped(self->fd, self->handle, self->buf.handle, 4096, 100, true, &sum));
	EXPECT_TRUE(simdsp_filled(self->buf.map + 4096, 100, 0));

	EXPECT_EQ(0, unmap(self->fd, self->buf.handle, args.vaddrout, SIZE));
	EXPECT_EQ(0, simdsp_stat("cdsp", "maps"));
	EXPECT_EQ(-EINVAL, unmap(self->fd, self->buf.handle, args.vaddrout, SIZE));
}

TEST_F(map, number_of_the_clients_choice)
{
	struct drm_qda_mem_map args = attr(&self->buf, 4711);
	__u64 sum;

	ASSERT_EQ(0, map(self->fd, &args));
	ASSERT_EQ(0, mapped(self->fd, self->handle, 4711, 0, SIZE, false, &sum));
	EXPECT_EQ(simdsp_checksum(self->buf.map, SIZE), sum);
	/* The pair counts. */
	EXPECT_EQ(-EINVAL, unmap(self->fd, 4712, args.vaddrout, SIZE));
	EXPECT_EQ(-EINVAL, unmap(self->fd, 4711, args.vaddrout + 4096, SIZE));
	EXPECT_EQ(0, unmap(self->fd, 4711, args.vaddrout, SIZE));
}

TEST_F(map, unmap_by_address_alone)
{
	struct drm_qda_mem_map args = attr(&self->buf, 9);

	ASSERT_EQ(0, map(self->fd, &args));
	EXPECT_EQ(-EINVAL, unmap(self->fd, -1, args.vaddrout + 1, SIZE));
	EXPECT_EQ(0, unmap(self->fd, -1, args.vaddrout, SIZE));
}

TEST_F(map, part_of_a_buffer)
{
	size_t page = qda_page_size();
	struct drm_qda_mem_map args = attr(&self->buf, 5);
	__u64 sum;

	/* From where the client has it mapped. */
	args.vaddrin += page;
	args.size = SIZE - page > 5000 ? 5000 : page;
	if (page == SIZE) {
		EXPECT_EQ(-EINVAL, map(self->fd, &args));
		return;
	}
	ASSERT_EQ(0, map(self->fd, &args));
	ASSERT_EQ(0, mapped(self->fd, self->handle, 5, 0, args.size, false, &sum));
	EXPECT_EQ(simdsp_checksum(self->buf.map + page, args.size), sum);
	EXPECT_EQ(0, unmap(self->fd, 5, args.vaddrout, args.size));
}

TEST_F(map, without_an_address)
{
	struct drm_qda_mem_map args = attr(&self->buf, 5);
	__u64 sum;

	args.vaddrin = 0;
	ASSERT_EQ(0, map(self->fd, &args));
	ASSERT_EQ(0, mapped(self->fd, self->handle, 5, 0, SIZE, false, &sum));
	EXPECT_EQ(simdsp_checksum(self->buf.map, SIZE), sum);
	EXPECT_EQ(0, unmap(self->fd, 5, args.vaddrout, SIZE));
}

TEST_F(map, all_flags)
{
	static const __u32 flags[] = {
		QDA_MAP_STATIC, QDA_MAP_RESERVED, QDA_MAP_FD, QDA_MAP_FD_DELAYED, QDA_MAP_FD_NOMAP,
	};

	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		struct drm_qda_mem_map args = attr(&self->buf, 10 + i);

		args.flags = flags[i];
		ASSERT_EQ(0, map(self->fd, &args));
		/* Address 0 is as good as any. */
		EXPECT_EQ(flags[i] == QDA_MAP_FD_NOMAP, args.vaddrout == 0);
		EXPECT_EQ(0, unmap(self->fd, 10 + i, args.vaddrout, SIZE));
	}
	for (__u32 flag = 0; flag < 40; flag++) {
		struct drm_qda_mem_map args = attr(&self->buf, 3);

		if (flag <= QDA_MAP_FD_DELAYED || flag == QDA_MAP_FD_NOMAP)
			continue;
		args.flags = flag;
		EXPECT_EQ(-EINVAL, map(self->fd, &args));
	}
}

TEST_F(map, two_at_address_0)
{
	struct drm_qda_mem_map first = attr(&self->buf, 7);
	struct drm_qda_mem_map second = attr(&self->buf, 8);

	first.flags = QDA_MAP_FD_NOMAP;
	second.flags = QDA_MAP_FD_NOMAP;
	ASSERT_EQ(0, map(self->fd, &first));
	ASSERT_EQ(0, map(self->fd, &second));
	EXPECT_EQ(0, unmap(self->fd, 8, 0, SIZE));
	EXPECT_EQ(-EINVAL, unmap(self->fd, 8, 0, SIZE));
	EXPECT_EQ(0, unmap(self->fd, 7, 0, SIZE));
}

TEST_F(map, one_number_one_buffer)
{
	struct drm_qda_mem_map args = attr(&self->buf, 77), again = args, other;
	struct qda_buf buf;

	ASSERT_EQ(0, qda_buf_new(self->fd, SIZE, &buf));
	other = attr(&buf, 77);
	ASSERT_EQ(0, map(self->fd, &args));
	EXPECT_EQ(-EEXIST, map(self->fd, &again));
	EXPECT_EQ(-EEXIST, map(self->fd, &other));
	EXPECT_EQ(0, unmap(self->fd, 77, args.vaddrout, SIZE));
	EXPECT_EQ(0, map(self->fd, &other));
	EXPECT_EQ(-EEXIST, map(self->fd, &again));
	EXPECT_EQ(0, unmap(self->fd, 77, other.vaddrout, SIZE));
	qda_buf_free(&buf);
}

TEST_F(map, handle_closed_while_mapped)
{
	struct drm_qda_mem_map args, other;
	struct qda_buf buf, next;
	__u64 expected, sum;

	ASSERT_EQ(0, qda_buf_new(self->fd, SIZE, &buf));
	qda_fill(buf.map, SIZE, 3);
	expected = simdsp_checksum(buf.map, SIZE);
	args = attr(&buf, 0);
	ASSERT_EQ(0, map(self->fd, &args));
	qda_buf_free(&buf);

	/* The next buffer gets the handle, but the DSP still has the old one under it. */
	ASSERT_EQ(0, qda_buf_new(self->fd, SIZE, &next));
	ASSERT_EQ(buf.handle, next.handle);
	other = attr(&next, 0);
	EXPECT_EQ(-EEXIST, map(self->fd, &other));
	EXPECT_EQ(0, mapped(self->fd, self->handle, buf.handle, 0, SIZE, false, &sum));
	EXPECT_EQ(expected, sum);

	EXPECT_EQ(0, unmap(self->fd, buf.handle, args.vaddrout, SIZE));
	EXPECT_EQ(0, map(self->fd, &other));
	EXPECT_EQ(0, unmap(self->fd, next.handle, other.vaddrout, SIZE));
	qda_buf_free(&next);
}

TEST_F(map, left_to_the_end_of_the_process)
{
	struct drm_qda_mem_map args = attr(&self->buf, 1);

	ASSERT_EQ(0, map(self->fd, &args));
	/* The end of the test checks that nothing is mapped any more. */
}

TEST_F(map, descriptor_of_a_dma_buf)
{
	int dmabuf = dmabuf_export(self->fd, self->buf.handle);
	struct qda_buf buf = self->buf;
	struct drm_qda_mem_map args;
	__u64 sum;

	/* A number that is no handle, and the one that a buffer of another kind has. */
	ASSERT_LE(0, dmabuf);
	dmabuf = dup2(dmabuf, 1000);
	ASSERT_EQ(1000, dmabuf);
	buf.handle = dmabuf;
	args = attr(&buf, 0);
	ASSERT_EQ(0, map(self->fd, &args));
	EXPECT_EQ(0, mapped(self->fd, self->handle, dmabuf, 0, SIZE, false, &sum));
	EXPECT_EQ(simdsp_checksum(self->buf.map, SIZE), sum);
	EXPECT_EQ(0, unmap(self->fd, dmabuf, args.vaddrout, SIZE));
	close(dmabuf);
}

TEST_F(map, descriptor_where_a_handle_has_the_number)
{
	struct drm_qda_mem_map args = attr(&self->buf, 500);
	int dmabuf = dmabuf_heap(SIZE);
	struct qda_buf other;
	__u8 *there;
	__u64 sum;

	if (dmabuf == -ENOENT)
		SKIP(return, "no /dev/dma_heap/system");
	ASSERT_LE(0, dmabuf);
	/* Handles grow until one is the descriptor; what is mapped at the address decides. */
	for (;;) {
		ASSERT_EQ(0, qda_buf_new(self->fd, SIZE, &other));
		if (other.handle >= (__u32)dmabuf)
			break;
		munmap(other.map, other.size);
	}
	dmabuf = dup2(dmabuf, other.handle);
	ASSERT_EQ((int)other.handle, dmabuf);
	there = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, dmabuf, 0);
	ASSERT_NE(MAP_FAILED, (void *)there);
	memset(there, 0x11, SIZE);
	memset(other.map, 0x22, SIZE);

	args.handle = other.handle;
	args.vaddrin = (uintptr_t)there;
	ASSERT_EQ(0, map(self->fd, &args));
	EXPECT_EQ(0, mapped(self->fd, self->handle, 500, 0, SIZE, false, &sum));
	EXPECT_EQ(simdsp_checksum(there, SIZE), sum);
	EXPECT_EQ(0, unmap(self->fd, 500, args.vaddrout, SIZE));
	args.vaddrin = (uintptr_t)other.map;
	ASSERT_EQ(0, map(self->fd, &args));
	EXPECT_EQ(0, mapped(self->fd, self->handle, 500, 0, SIZE, false, &sum));
	EXPECT_EQ(simdsp_checksum(other.map, SIZE), sum);
	EXPECT_EQ(0, unmap(self->fd, 500, args.vaddrout, SIZE));
	qda_buf_free(&other);
	munmap(there, SIZE);
	close(dmabuf);
}

TEST_F(map, refused_by_the_dsp)
{
	struct drm_qda_mem_map args = attr(&self->buf, 6);

	ASSERT_EQ(0, refuse(10));
	EXPECT_EQ(REFUSED, map(self->fd, &args));
	EXPECT_EQ(0, args.vaddrout);
	ASSERT_EQ(0, obey());
	ASSERT_EQ(0, map(self->fd, &args));

	/* What the DSP does not unmap stays mapped. */
	ASSERT_EQ(0, refuse(11));
	EXPECT_EQ(REFUSED, unmap(self->fd, 6, args.vaddrout, SIZE));
	ASSERT_EQ(0, obey());
	EXPECT_EQ(0, unmap(self->fd, 6, args.vaddrout, SIZE));
}

TEST_F(map, bad_input)
{
	struct drm_qda_mem_map good = attr(&self->buf, 2), args;
	struct drm_qda_mem_unmap undo = { .request = QDA_MAP_REQUEST_ATTR, .size = SIZE };
	long long before = simdsp_stat("cdsp", "kernel_calls");
	int fd;

#define REFUSED_WITH(error, field, value) do { \
		args = good; \
		args.field = value; \
		EXPECT_EQ(-(error), map(self->fd, &args)); \
	} while (0)
	REFUSED_WITH(EINVAL, request, 0);
	REFUSED_WITH(EINVAL, request, 3);
	REFUSED_WITH(EINVAL, request, 0xffffffff);
	REFUSED_WITH(EINVAL, flags, QDA_HEAP_ADD);
	REFUSED_WITH(EINVAL, attrs, 1);
	REFUSED_WITH(EINVAL, offset, 4096);
	REFUSED_WITH(EINVAL, size, 0);
	REFUSED_WITH(EINVAL, size, SIZE + 1);
	REFUSED_WITH(EINVAL, size, 1ULL << 40);
	REFUSED_WITH(EINVAL, size, -1);
	REFUSED_WITH(EINVAL, vaddrin, good.vaddrin + 1);
	REFUSED_WITH(ENOENT, handle, 0);
	REFUSED_WITH(ENOENT, handle, 12345);
	REFUSED_WITH(ENOENT, handle, -1);
	/* A descriptor, but not of a dma-buf. */
	REFUSED_WITH(ENOENT, handle, self->fd == (int)self->buf.handle ? 2 : self->fd);

	good.request = QDA_MAP_REQUEST_LEGACY;
	good.flags = QDA_HEAP_ADD;
	REFUSED_WITH(EINVAL, flags, 0);
	REFUSED_WITH(EINVAL, flags, 0x2000);
	REFUSED_WITH(EINVAL, attrs, 1);
	REFUSED_WITH(EINVAL, offset, 1);
	REFUSED_WITH(EINVAL, size, 0);
	REFUSED_WITH(EINVAL, size, SIZE + 1);
	REFUSED_WITH(ENOENT, handle, 12345);
	/* Memory of the kernel's has no address here. */
	REFUSED_WITH(EINVAL, handle, 0);
	REFUSED_WITH(EINVAL, handle, -1);
	good.handle = -1;
	good.vaddrin = 0;
	REFUSED_WITH(EINVAL, size, 0);
	REFUSED_WITH(E2BIG, size, QDA_MAX_BUFFER_SIZE + 1);
#undef REFUSED_WITH

	EXPECT_EQ(-EINVAL, qda_ioctl(self->fd, DRM_IOCTL_QDA_MUNMAP, &undo));
	undo.request = 0;
	EXPECT_EQ(-EINVAL, qda_ioctl(self->fd, DRM_IOCTL_QDA_MUNMAP, &undo));
	undo.request = QDA_MAP_REQUEST_LEGACY;
	EXPECT_EQ(-EINVAL, qda_ioctl(self->fd, DRM_IOCTL_QDA_MUNMAP, &undo));
	undo.pad = 1;
	EXPECT_EQ(-EINVAL, qda_ioctl(self->fd, DRM_IOCTL_QDA_MUNMAP, &undo));
	EXPECT_EQ(before, simdsp_stat("cdsp", "kernel_calls"));

	/* Without a process there is nothing to map into. */
	fd = qda_open("cdsp");
	ASSERT_LE(0, fd);
	good.size = 4096;
	EXPECT_EQ(-ENOTCONN, map(fd, &good));
	EXPECT_EQ(-ENOTCONN, shrink(fd, 0, 4096));
	close(fd);
}

TEST_F(map, heap_by_the_kernel)
{
	static const __u32 flags[] = { QDA_HEAP_ADD, QDA_HEAP_ADD_LLC };

	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		struct drm_qda_mem_map args = {
			.request = QDA_MAP_REQUEST_LEGACY,
			.flags = flags[i],
			/* As the one library says it, and the other. */
			.handle = i ? 0 : -1,
			.dsp_handle = i ? -1 : 0,
			.size = 300000,
		};

		ASSERT_EQ(0, map(self->fd, &args));
		EXPECT_EQ(1, simdsp_stat("cdsp", "maps"));
		/* Only the exact pair. */
		EXPECT_EQ(-EINVAL, shrink(self->fd, args.vaddrout, args.size - 1));
		EXPECT_EQ(-EINVAL, shrink(self->fd, args.vaddrout + 4096, args.size));
		EXPECT_EQ(0, shrink(self->fd, args.vaddrout, args.size));
		EXPECT_EQ(-EINVAL, shrink(self->fd, args.vaddrout, args.size));
		EXPECT_EQ(0, simdsp_stat("cdsp", "maps"));
	}
}

TEST_F(map, heap_of_a_buffer)
{
	struct drm_qda_mem_map args = attr(&self->buf, 0);

	args.request = QDA_MAP_REQUEST_LEGACY;
	args.flags = QDA_HEAP_ADD_LLC;
	ASSERT_EQ(0, map(self->fd, &args));
	/* It is the DSP's until it is taken back, whatever happens to the handle. */
	qda_buf_free(&self->buf);
	EXPECT_EQ(1, simdsp_stat("cdsp", "maps"));
	EXPECT_EQ(0, shrink(self->fd, args.vaddrout, args.size));
	ASSERT_EQ(0, qda_buf_new(self->fd, SIZE, &self->buf));
}

TEST_F(map, heap_refused_by_the_dsp)
{
	struct drm_qda_mem_map args = {
		.request = QDA_MAP_REQUEST_LEGACY, .flags = QDA_HEAP_ADD, .handle = -1,
		.size = SIZE,
	};

	ASSERT_EQ(0, refuse(4));
	EXPECT_EQ(REFUSED, map(self->fd, &args));
	ASSERT_EQ(0, obey());
	ASSERT_EQ(0, map(self->fd, &args));
	ASSERT_EQ(0, refuse(5));
	EXPECT_EQ(REFUSED, shrink(self->fd, args.vaddrout, SIZE));
	ASSERT_EQ(0, obey());
	EXPECT_EQ(0, shrink(self->fd, args.vaddrout, SIZE));
}

TEST_F(map, older_munmap)
{
	struct drm_qda_mem_map args = attr(&self->buf, 0), heap = {
		.request = QDA_MAP_REQUEST_LEGACY, .flags = QDA_HEAP_ADD, .handle = -1,
		.size = SIZE,
	};
	struct drm_qda_mem_unmap_legacy older = { .request = QDA_MAP_REQUEST_ATTR };

	ASSERT_EQ(0, map(self->fd, &args));
	older.fd = self->buf.handle;
	older.vaddr = args.vaddrout;
	older.size = SIZE;
	EXPECT_EQ(0, qda_ioctl(self->fd, QDA_IOCTL_MUNMAP_A, &older));
	EXPECT_EQ(-EINVAL, qda_ioctl(self->fd, QDA_IOCTL_MUNMAP_A, &older));

	ASSERT_EQ(0, map(self->fd, &heap));
	older = (struct drm_qda_mem_unmap_legacy) {
		.request = QDA_MAP_REQUEST_LEGACY, .vaddrout = heap.vaddrout, .size = SIZE,
	};
	EXPECT_EQ(0, qda_ioctl(self->fd, QDA_IOCTL_MUNMAP_A, &older));
	EXPECT_EQ(0, simdsp_stat("cdsp", "maps"));
}

TEST_F(map, handle_arguments)
{
	__u32 seed = 40;
	__u64 sum;
	struct drm_qda_invoke_arg args[4] = {
		qda_inline(&seed, sizeof(seed)), qda_inline(&sum, sizeof(sum)),
		{ .ptr = 100, .length = 5000, .handle = self->buf.handle },
		{ .ptr = 8192, .length = 3000, .handle = self->buf.handle },
	};
	__u64 expected = simdsp_checksum(self->buf.map + 100, 5000);

	ASSERT_EQ(0, qda_invoke(self->fd, self->handle,
				QDA_SCALARS(SIMDSP_HANDLES, 1, 1) | QDA_SCALARS_HANDLES(1, 1),
				args));
	EXPECT_EQ(expected, sum);
	EXPECT_TRUE(simdsp_filled(self->buf.map + 8192, 3000, 40));
}

TEST_F(map, lent_until_given_back)
{
	__u64 numbers[2] = { 0, 0 }, expected, sum;
	struct drm_qda_mem_map other;
	struct qda_buf buf, next;

	ASSERT_EQ(0, qda_buf_new(self->fd, SIZE, &buf));
	qda_fill(buf.map, SIZE, 9);
	expected = simdsp_checksum(buf.map, SIZE);
	/* The DSP gets it twice. */
	ASSERT_EQ(0, lend(self->fd, self->handle, buf.handle, 0, SIZE, &sum));
	ASSERT_EQ(0, lend(self->fd, self->handle, buf.handle, 0, SIZE, &sum));
	EXPECT_EQ(expected, sum);
	qda_buf_free(&buf);

	/* It still has it: the number can't be mapped as another, but a call gets what it means. */
	ASSERT_EQ(0, qda_buf_new(self->fd, SIZE, &next));
	ASSERT_EQ(buf.handle, next.handle);
	qda_fill(next.map, SIZE, 10);
	other = attr(&next, 0);
	EXPECT_EQ(-EEXIST, map(self->fd, &other));
	ASSERT_EQ(0, lend(self->fd, self->handle, next.handle, 0, SIZE, &sum));
	EXPECT_EQ(simdsp_checksum(next.map, SIZE), sum);

	/* Three loans; those that were never made count for nothing. */
	numbers[0] = buf.handle;
	ASSERT_EQ(0, give_back(self->fd, self->handle, numbers, 1));
	EXPECT_EQ(-EEXIST, map(self->fd, &other));
	numbers[0] = 0x12345;
	numbers[1] = 1ULL << 40 | buf.handle;
	ASSERT_EQ(0, give_back(self->fd, self->handle, numbers, 2));
	EXPECT_EQ(-EEXIST, map(self->fd, &other));
	numbers[0] = buf.handle;
	numbers[1] = buf.handle;
	ASSERT_EQ(0, give_back(self->fd, self->handle, numbers, 2));
	EXPECT_EQ(0, map(self->fd, &other));
	EXPECT_EQ(0, unmap(self->fd, next.handle, other.vaddrout, SIZE));
	qda_buf_free(&next);
}

TEST_F(map, mapped_and_lent)
{
	struct drm_qda_mem_map args = attr(&self->buf, 0), other;
	__u64 number = self->buf.handle, sum;
	struct qda_buf buf;

	ASSERT_EQ(0, qda_buf_new(self->fd, SIZE, &buf));
	other = attr(&buf, self->buf.handle);
	ASSERT_EQ(0, map(self->fd, &args));
	ASSERT_EQ(0, lend(self->fd, self->handle, self->buf.handle, 0, SIZE, &sum));
	EXPECT_EQ(0, unmap(self->fd, self->buf.handle, args.vaddrout, SIZE));
	EXPECT_EQ(-EEXIST, map(self->fd, &other));
	ASSERT_EQ(0, give_back(self->fd, self->handle, &number, 1));
	EXPECT_EQ(0, map(self->fd, &other));
	EXPECT_EQ(0, unmap(self->fd, self->buf.handle, other.vaddrout, SIZE));
	qda_buf_free(&buf);
}

TEST_F(map, bad_handle_arguments)
{
	long long before = simdsp_stat("cdsp", "invokes");
	struct drm_qda_mem_map args = attr(&self->buf, 0);
	__u64 sum;

	EXPECT_EQ(-ENOENT, lend(self->fd, self->handle, 0, 0, 4, &sum));
	EXPECT_EQ(-ENOENT, lend(self->fd, self->handle, -1, 0, 4, &sum));
	EXPECT_EQ(-ENOENT, lend(self->fd, self->handle, 12345, 0, 4, &sum));
	EXPECT_EQ(-EINVAL, lend(self->fd, self->handle, self->buf.handle, 0, SIZE + 1, &sum));
	EXPECT_EQ(-EINVAL, lend(self->fd, self->handle, self->buf.handle, SIZE, 1, &sum));
	EXPECT_EQ(-EINVAL, lend(self->fd, self->handle, self->buf.handle, 1, SIZE, &sum));
	EXPECT_EQ(-EINVAL, lend(self->fd, self->handle, self->buf.handle, 1ULL << 32, 1, &sum));
	EXPECT_EQ(-EINVAL, lend(self->fd, self->handle, self->buf.handle, 0, 1ULL << 32, &sum));
	EXPECT_EQ(before, simdsp_stat("cdsp", "invokes"));

	/* A loan with a call that was not sent is none. */
	args.dsp_handle = self->buf.handle;
	EXPECT_EQ(0, map(self->fd, &args));
	EXPECT_EQ(0, unmap(self->fd, self->buf.handle, args.vaddrout, SIZE));
}

TEST_F(map, array_without_the_handles)
{
	/* As both libraries pass it: only buffers. Whatever follows is the program's own memory. */
	struct drm_qda_invoke_arg *args;
	size_t page = qda_page_size();
	__u64 sum;
	__u8 *end;

	end = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)end);
	end += page;
	munmap(end, page);
	args = (struct drm_qda_invoke_arg *)end - 2;
	args[0] = qda_inline(&sum, 4);
	args[1] = qda_inline(&sum, sizeof(sum));
	EXPECT_EQ(-EFAULT, qda_invoke(self->fd, self->handle,
				      QDA_SCALARS(SIMDSP_HANDLES, 1, 1) |
				      QDA_SCALARS_HANDLES(1, 0), args));
	munmap(end - page, page);
}

TEST_F(map, descriptor_as_an_argument)
{
	/* A dma-buf that was never imported, in place of a handle. */
	int dmabuf = dmabuf_heap(SIZE);
	struct qda_buf buf = { .size = SIZE };
	struct drm_qda_invoke_arg args[2];
	__u64 sum;

	if (dmabuf == -ENOENT)
		SKIP(return, "no /dev/dma_heap/system");
	ASSERT_LE(0, dmabuf);
	dmabuf = dup2(dmabuf, 900);
	buf.handle = dmabuf;
	buf.map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, dmabuf, 0);
	ASSERT_NE(MAP_FAILED, (void *)buf.map);
	for (int i = 0; i < 3; i++) {
		qda_fill(buf.map, SIZE, i);
		args[0] = qda_ref(&buf, 10, 5000);
		args[1] = qda_ref(&buf, 30000, 5000);
		EXPECT_EQ(0, qda_invoke(self->fd, self->handle, QDA_SCALARS(SIMDSP_ECHO, 1, 1),
					args));
		EXPECT_EQ(0, memcmp(buf.map + 10, buf.map + 30000, 5000));
		EXPECT_EQ(0, lend(self->fd, self->handle, dmabuf, 0, SIZE, &sum));
		EXPECT_EQ(simdsp_checksum(buf.map, SIZE), sum);
	}
	munmap(buf.map, SIZE);
	close(dmabuf);
}

TEST_HARNESS_MAIN
