// SPDX-License-Identifier: GPL-2.0
/*
 * A board's smoke test: every DSP that it has takes as many DSP processes as its device-tree node
 * has room for, in every bank, and each of them computes.
 *
 *	every_dsp <dsp>[-<bank>]...
 *
 * A bank that is named is one that the driver has to leave out.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "module.h"
#include "qda.h"
#include "session.h"
#include "simdsp.h"

#define MAX_SESSIONS	32
#define MAX_BANKS	32
#define INLINE_SIZE	20000
#define BUFFER_SIZE	262144

static __u8 in[INLINE_SIZE], out[INLINE_SIZE];

/* Bytes that are copied there and back. */
static int copy(int fd, __u32 handle, __u32 bank)
{
	int ret;

	qda_fill(in, sizeof(in), bank);
	memset(out, 0, sizeof(out));
	ret = simdsp_echo(fd, handle, in, out, sizeof(in));
	if (!ret && memcmp(in, out, sizeof(in)))
		ret = -EIO;
	return ret;
}

/* Bytes of a buffer that the DSP reads and writes in place. */
static int share(int fd, __u32 handle, struct qda_buf *buf)
{
	struct drm_qda_invoke_arg args[2];
	size_t half = buf->size / 2;
	int ret;

	qda_fill(buf->map, half, buf->handle);
	args[0] = qda_ref(buf, 0, half);
	args[1] = qda_ref(buf, half, half);
	ret = qda_invoke(fd, handle, QDA_SCALARS(SIMDSP_ECHO, 1, 1), args);
	if (!ret && memcmp(buf->map, buf->map + half, half))
		ret = -EIO;
	return ret;
}

/*
 * A buffer of each kind. Where no IOMMU makes one range of scattered pages, it is the pool that has
 * to do; elsewhere a DSP may have none. One that sees the CPU's caches has no write-combined ones.
 */
static int share_each_kind(int fd, __u32 handle, bool is_physical)
{
	static const __u32 kinds[] = { QDA_BUFFER_WRITE_COMBINED, QDA_BUFFER_CACHED,
				       QDA_BUFFER_POOL };

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		bool is_pool = kinds[i] == QDA_BUFFER_POOL;
		bool is_optional = is_pool != is_physical || kinds[i] == QDA_BUFFER_WRITE_COMBINED;
		struct qda_buf buf;
		int ret;

		ret = session_new(fd, kinds[i], BUFFER_SIZE, &buf);
		if (!ret) {
			ret = share(fd, handle, &buf);
			qda_buf_free(&buf);
		}
		if (ret && (ret != -EOPNOTSUPP || !is_optional)) {
			printf("# kind %#x of buffers\n", kinds[i]);
			return ret;
		}
	}
	return 0;
}

/* All that a process can do with memory. */
static int compute(const char *dsp, int fd, __u32 bank)
{
	struct qda_buf buf;
	__u32 handle, sid;
	int ret;

	ret = simdsp_open(fd, &handle) ?: copy(fd, handle, bank);
	ret = ret ?: share_each_kind(fd, handle, dsp_streams(dsp, bank, &sid, 1) == 0);
	ret = ret ?: qda_buf_new(fd, BUFFER_SIZE, &buf);
	if (ret)
		return ret;
	ret = share(fd, handle, &buf) ?: session_map(fd, &buf);
	ret = ret ?: session_grow(fd, BUFFER_SIZE);
	qda_buf_free(&buf);
	return ret;
}

static int bank_of(int fd)
{
	struct simdsp_info info;
	__u32 handle;
	int ret;

	ret = simdsp_open(fd, &handle) ?: simdsp_info(fd, handle, &info);
	return ret ?: (int)info.bank;
}

/* Whether the simulator knows of a bank that no process got, other than @left_out. */
static int unused_banks(const char *dsp, const bool *used, int left_out)
{
	char line[SIMDSP_LINE];
	int lines, unused = 0;

	if (simdsp_cmd(line, "dsps"))
		return -EPROTO;
	lines = atoi(line);
	while (lines--) {
		char *bank;

		if (simdsp_next_line(line))
			return -EPROTO;
		if (strncmp(line, dsp, strlen(dsp)) || line[strlen(dsp)] != ' ')
			continue;
		bank = strstr(line, " banks ") + strlen(" banks ");
		for (bank = strtok(bank, ","); bank; bank = strtok(NULL, ",")) {
			if (!used[atoi(bank)] && atoi(bank) != left_out) {
				printf("# nobody got bank %s\n", bank);
				unused++;
			}
		}
	}
	return unused;
}

static void try_dsp(struct tap *tap, char *dsp)
{
	int fds[MAX_SESSIONS], count = 0, wanted, left_out = -1, ret;
	bool used[MAX_BANKS] = { 0 };
	char *bank = strchr(dsp, '-');

	if (bank) {
		*bank = '\0';
		left_out = atoi(bank + 1);
	}
	wanted = qda_banks(dsp) - (left_out >= 0);
	ret = simdsp_begin(dsp);
	while (!ret && count < wanted && count < MAX_SESSIONS) {
		int bank;

		fds[count] = session_open(dsp, 0);
		if (fds[count] < 0) {
			ret = fds[count];
			break;
		}
		bank = bank_of(fds[count++]);
		if (bank < 0 || bank >= MAX_BANKS) {
			ret = bank;
			break;
		}
		used[bank] = true;
		if (bank == left_out)
			ret = -EUCLEAN;
		ret = ret ?: compute(dsp, fds[count - 1], bank);
	}
	if (ret)
		printf("# process %d: %s (%#x)\n", count, ret < 0 ? strerror(-ret) : "", ret);
	ret = ret ?: unused_banks(dsp, used, left_out);
	while (count)
		close(fds[--count]);
	ret = simdsp_end() ?: ret;
	tap_result(tap, !ret && wanted, "%s: %d processes compute, in every bank", dsp, wanted);
}

int main(int argc, char **argv)
{
	struct tap tap = { 0 };

	tap_plan(argc - 1);
	for (int i = 1; i < argc; i++)
		try_dsp(&tap, argv[i]);
	return tap.failed ? 1 : 0;
}
