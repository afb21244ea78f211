// SPDX-License-Identifier: GPL-2.0
/*
 * Two sessions whose banks are one address space: one ends, and the DSP never says that it did.
 * What it had stays at its addresses, so that nothing of the other comes there.
 *
 *	isolation_shared <dsp>
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "module.h"
#include "qda.h"
#include "session.h"
#include "simdsp.h"

#define MAX_SESSIONS	64
#define PATIENCE	20000
/* Too large for what the kernel keeps of freed addresses for each CPU: the next one gets them. */
#define SIZE		(1 << 20)
#define PAGES		(SIZE / 4096)
#define TRIES		4
#define MAX_RANGES	8192

struct session {
	int fd;
	__u32 handle;
	__u32 bank;
};

static const char *dsp;
static struct session sessions[MAX_SESSIONS];
static int count;

/* Opens one session more. */
static int open_session(void)
{
	struct session *session = &sessions[count];
	struct simdsp_info info;
	int ret;

	session->fd = session_open(dsp, 0);
	if (session->fd < 0)
		return session->fd;
	count++;
	ret = simdsp_open(session->fd, &session->handle);
	ret = ret ?: simdsp_info(session->fd, session->handle, &info);
	session->bank = info.bank;
	return ret;
}

/* The session before the last that has the last one's addresses, which are given last. */
static struct session *neighbour(void)
{
	for (int i = 0; i < count - 1; i++) {
		if (dsp_one_context(dsp, sessions[i].bank, sessions[count - 1].bank))
			return &sessions[i];
	}
	return NULL;
}

/* Makes a buffer that a call uses. */
static int use_buffer(const struct session *session, struct qda_buf *buf)
{
	struct drm_qda_invoke_arg args[2];
	__u64 sum;
	int ret;

	ret = qda_buf_new(session->fd, SIZE, buf);
	if (ret)
		return ret;
	args[0] = qda_ref(buf, 0, SIZE);
	args[1] = qda_inline(&sum, sizeof(sum));
	return qda_invoke(session->fd, session->handle, QDA_SCALARS(SIMDSP_CHECKSUM, 1, 1), args);
}

/* As use_buffer(), and learns the address from the DSP while it has nothing else. */
static int find_buffer(const struct session *session, struct qda_buf *buf, __u64 *iova)
{
	struct drm_qda_invoke_arg arg;
	struct simdsp_call call;
	struct held_call held;
	int ret;

	ret = use_buffer(session, buf);
	if (ret)
		return ret;
	arg = qda_ref(buf, 0, SIZE);
	ret = simdsp_call_start(&call, session->fd, session->handle,
				QDA_SCALARS(SIMDSP_HOLD, 1, 0), &arg);
	if (ret)
		return ret;
	if (!simdsp_wait_stat(dsp, "held", 1, PATIENCE))
		ret = -ETIMEDOUT;
	ret = ret ?: dsp_held_call(dsp, &held);
	ret = simdsp_cmd(NULL, "release-held %s 0", dsp) ?: ret;
	ret = simdsp_call_join(&call) ?: ret;
	*iova = held.args[0].iova;
	return ret;
}

/* What is behind the pages of a bank that begin at @iova; 0: nothing. */
static int look(__u32 bank, __u64 iova, __u64 *pages)
{
	static struct simdsp_range ranges[MAX_RANGES];
	int found = simdsp_mappings(dsp, bank, ranges, MAX_RANGES);

	for (int i = 0; i < PAGES; i++) {
		__u64 at = iova + i * 4096;

		pages[i] = 0;
		for (int j = 0; j < found; j++) {
			if (at >= ranges[j].iova && at - ranges[j].iova < ranges[j].len)
				pages[i] = ranges[j].pa + at - ranges[j].iova;
		}
	}
	return found < 0 ? found : 0;
}

/* One has ended, the other lives on; @client, which had @pages at @old, still runs in the DSP. */
static void after_the_end(struct tap *tap, const struct session *living, int client, __u64 old,
			  const __u64 *pages)
{
	struct qda_buf bufs[TRIES];
	__u64 now[PAGES];
	bool intact = true;
	int ret = 0, made = 0;

	while (!ret && made < TRIES) {
		ret = use_buffer(living, &bufs[made]);
		if (!ret)
			qda_fill(bufs[made].map, SIZE, made);
		made += !ret;
	}
	ret = ret ?: look(living->bank, old, now);
	if (ret)
		printf("# error %d\n", -ret);
	tap_result(tap, !ret && !memcmp(now, pages, sizeof(now)),
		   "%s: nothing else comes to the old addresses", dsp);

	ret = ret ?: simdsp_cmd(NULL, "touch %s %d %#llx %d w", dsp, client,
				(unsigned long long)old, SIZE);
	for (int i = 0; i < made; i++)
		intact = intact && qda_filled(bufs[i].map, SIZE, i);
	tap_result(tap, !ret && intact, "%s: a late write hits what it was meant for", dsp);
	while (made--)
		qda_buf_free(&bufs[made]);
}

int main(int argc, char **argv)
{
	struct session *leaving = NULL, *living;
	struct tap tap = { 0 };
	struct qda_buf buf;
	static __u64 pages[PAGES];
	__u64 old = 0;
	int client = 0, ret;

	dsp = argc > 1 ? argv[1] : "cdsp";
	tap_plan(5);
	ret = simdsp_begin("isolation-shared");
	while (!ret && !leaving && count < MAX_SESSIONS) {
		ret = open_session();
		leaving = neighbour();
	}
	ret = ret ?: leaving ? 0 : -ENOENT;
	ret = ret ?: find_buffer(leaving, &buf, &old) ?: look(leaving->bank, old, pages);
	tap_result(&tap, !ret, "%s: two sessions with the same addresses", dsp);
	if (ret) {
		printf("# error %d with %d sessions\n", -ret, count);
		return 1;
	}
	living = &sessions[count - 1];
	printf("# banks %u and %u, address %#llx\n", leaving->bank, living->bank,
	       (unsigned long long)old);

	client = qda_fdinfo(leaving->fd, "qda-client");
	ret = simdsp_cmd(NULL,
			 "script {\"rules\":[{\"dsp\":\"%s\",\"handle\":1,\"method\":1,\"actions\":[\"hold\"]}]}",
			 dsp);
	/* The driver frees it with the session, unless the DSP may still use it. */
	munmap(buf.map, SIZE);
	close(leaving->fd);
	leaving->fd = -1;
	ret = ret ?: simdsp_cmd(NULL, "script {\"replace\":true}");
	if (ret)
		printf("# error %d\n", -ret);
	after_the_end(&tap, living, client, old, pages);

	/* It ends at last. */
	ret = ret ?: simdsp_cmd(NULL, "release-held %s", dsp);
	while (count--) {
		if (sessions[count].fd >= 0)
			close(sessions[count].fd);
	}
	if (!ret && !simdsp_wait_stat(dsp, "processes", 0, PATIENCE))
		ret = -ETIMEDOUT;
	ret = ret ?: qda_rebind(dsp);
	count = 0;
	ret = ret ?: open_session();
	tap_result(&tap, !ret, "%s: the channel comes back", dsp);
	if (count)
		close(sessions[0].fd);
	tap_result(&tap, !simdsp_end(), "the DSP saw no problem");
	return tap.failed ? 1 : 0;
}
