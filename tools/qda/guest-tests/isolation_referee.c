// SPDX-License-Identifier: GPL-2.0
/*
 * What the IOMMU itself lets through, and what not: not the simulator walks the page tables here,
 * but QEMU's own SMMUv3, which has a TLB and reports events to the kernel.
 *
 * The board gives the first banks of two CDSPs the stream ids of two "edu" devices, which copy
 * between memory and a buffer of theirs, 100 ms after they are told to. The kernel is to be started
 * with iommu.strict=0, with which it may leave stale translations in the TLB until 10 ms later, and
 * with iommu.passthrough=1, with which it may not translate at all: banks are to be kept from both.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "child.h"
#include "module.h"
#include "qda.h"
#include "session.h"
#include "simdsp.h"

#define DSP		"cdsp"
#define OTHER_DSP	"cdsp1"
#define SIZE		4096
#define COPIED		1024
/* The device's accesses are of this size; where they are refused, each is an event. */
#define WORD		4
/* What the device takes for a transfer. */
#define TRANSFER_US	100000
/* For how long the kernel may leave a translation in the TLB. */
#define STALE_US	10000
/* Rounds of the last tests: how many must hit that time, and how many are tried for it. */
#define HITS		8
#define MAX_ROUNDS	80
#define PATIENCE	20000

static __u32 sids[2];
/* What the simulated DSP saw. */
static int problems;

static long long now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

static int edu_start(__u32 sid, const char *way, __u64 iova, int len)
{
	return simdsp_cmd(NULL, "edu %#x %s %#llx %d", sid, way, (unsigned long long)iova, len);
}

static int edu_wait(__u32 sid)
{
	for (int i = 0; i < 1000; i++) {
		char line[SIMDSP_LINE];
		int ret = simdsp_cmd(line, "edu %#x busy", sid);

		if (ret || !atoi(line))
			return ret;
		usleep(2000);
	}
	return -ETIMEDOUT;
}

static int edu_copy(__u32 sid, const char *way, __u64 iova, int len)
{
	return edu_start(sid, way, iova, len) ?: edu_wait(sid);
}

/* Copies from one place in memory to another, by way of the device. */
static int edu_move(__u32 sid, __u64 from, __u64 to)
{
	return edu_copy(sid, "read", from, COPIED) ?: edu_copy(sid, "write", to, COPIED);
}

/* The kernel's log, from now on. */
static int log_open(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd >= 0)
		lseek(fd, 0, SEEK_END);
	return fd;
}

/* Whether the SMMU's driver reports that a stream was refused an address; waits up to a second. */
static bool log_has_event(int log, __u32 sid, __u64 iova)
{
	char record[2048], stream[32], address[32];
	long long end = now_us() + 1000000;

	snprintf(stream, sizeof(stream), " sid: %#x ", sid);
	snprintf(address, sizeof(address), " iova: %#llx ", (unsigned long long)iova);
	while (now_us() < end) {
		struct pollfd pfd = { .fd = log, .events = POLLIN };
		ssize_t len;

		if (poll(&pfd, 1, 100) <= 0)
			continue;
		len = read(log, record, sizeof(record) - 1);
		if (len < 0)
			continue;
		record[len] = '\0';
		if (strstr(record, "F_TRANSLATION") && strstr(record, stream) &&
		    strstr(record, address)) {
			printf("# %.*s\n", (int)strcspn(strchr(record, ';') + 1, "\n"),
			       strchr(record, ';') + 1);
			return true;
		}
	}
	return false;
}

/* A session with two buffers that a call keeps mapped. */
struct session {
	const char *dsp;
	int fd;
	__u32 handle;
	__u32 bank;
	struct qda_buf bufs[2];
	struct drm_qda_invoke_arg args[2];
	struct simdsp_call call;
	__u64 iova[2];
};

/* Opens a session; buffer 0 is imported from @dmabuf, unless that is negative. */
static int session_start(struct session *session, const char *dsp, int dmabuf)
{
	struct simdsp_info info;
	int ret;

	session->dsp = dsp;
	session->fd = session_open(dsp, 0);
	if (session->fd < 0)
		return session->fd;
	ret = simdsp_open(session->fd, &session->handle);
	ret = ret ?: simdsp_info(session->fd, session->handle, &info);
	session->bank = info.bank;
	if (!ret && dmabuf >= 0)
		ret = session_import(session->fd, dmabuf, SIZE, &session->bufs[0]);
	else if (!ret)
		ret = qda_buf_new(session->fd, SIZE, &session->bufs[0]);
	ret = ret ?: qda_buf_new(session->fd, SIZE, &session->bufs[1]);
	/* They stay where they are, whether calls use them or not. */
	for (int i = 0; i < 2; i++)
		ret = ret ?: session_map(session->fd, &session->bufs[i]);
	if (ret)
		return ret;
	for (int i = 0; i < 2; i++)
		session->args[i] = qda_ref(&session->bufs[i], 0, SIZE);
	return simdsp_call_start(&session->call, session->fd, session->handle,
				 QDA_SCALARS(SIMDSP_HOLD, 2, 0), session->args);
}

/* Learns the addresses of the buffers of the one session whose call is held. */
static int session_find(const char *dsp, __u64 *iova)
{
	struct held_call held;
	int ret;

	if (!simdsp_wait_stat(dsp, "held", 1, PATIENCE))
		return -ETIMEDOUT;
	ret = dsp_held_call(dsp, &held);
	for (int i = 0; i < 2; i++)
		iova[i] = held.args[i].iova;
	return ret;
}

static int session_release(struct session *session)
{
	int ret = simdsp_cmd(NULL, "release-held %s 0", session->dsp);

	return ret ?: simdsp_call_join(&session->call);
}

static void session_end(struct session *session)
{
	for (int i = 0; i < 2; i++)
		qda_buf_free(&session->bufs[i]);
	close(session->fd);
}

static __u32 first_stream(const char *dsp, __u32 bank)
{
	__u32 found[16] = { 0 };

	return dsp_streams(dsp, bank, found, 16) > 0 ? found[0] : 0;
}

/* A dma-buf of one of a session's own buffers. Return: descriptor or a negative errno. */
static int session_export(const struct session *session, int number)
{
	struct drm_prime_handle args = {
		.handle = session->bufs[number].handle,
		.flags = DRM_CLOEXEC | DRM_RDWR,
	};

	return ioctl(session->fd, DRM_IOCTL_PRIME_HANDLE_TO_FD, &args) ? -errno : args.fd;
}

/* A good address copies, a bad one is refused, and so is a good one in another stream. */
static void good_and_bad(struct tap *tap)
{
	struct session one = { 0 }, two = { 0 };
	struct session three = { 0 };
	__u64 iova[2], other[2], bad;
	int log = log_open(), dmabuf;
	bool ok;
	int ret;

	ret = simdsp_begin("referee");
	ret = ret ?: session_start(&one, DSP, -1);
	ret = ret ?: session_find(DSP, iova);
	ret = ret ?: session_release(&one);
	ret = ret ?: session_start(&two, OTHER_DSP, -1);
	ret = ret ?: session_find(OTHER_DSP, other);
	ret = ret ?: session_release(&two);
	ok = !ret && first_stream(DSP, one.bank) == sids[0] &&
	     first_stream(OTHER_DSP, two.bank) == sids[1];
	tap_result(tap, ok, "two sessions in banks whose streams the devices use");
	if (!ok) {
		printf("# error %d\n", -ret);
		return;
	}

	qda_fill(one.bufs[0].map, SIZE, 1);
	memset(one.bufs[1].map, 0, SIZE);
	ok = !edu_move(sids[0], iova[0], iova[1]);
	ok = ok && !memcmp(one.bufs[1].map, one.bufs[0].map, COPIED);
	tap_result(tap, ok && qda_all(one.bufs[1].map + COPIED, SIZE - COPIED, 0),
		   "good addresses copy");

	/* Below everything that is mapped; IOVAs are given out from the top. */
	bad = 0x10000000;
	ok = !edu_copy(sids[0], "read", bad, WORD) && log_has_event(log, sids[0], bad);
	ok = ok && !edu_copy(sids[0], "write", bad + SIZE, WORD);
	tap_result(tap, ok && log_has_event(log, sids[0], bad + SIZE),
		   "bad ones raise the kernel's event");

	/*
	 * The same addresses mean other memory in the other stream: put into the one what the other
	 * must not see, and let the other look there.
	 */
	memset(two.bufs[0].map, 0x22, SIZE);
	memset(two.bufs[1].map, 0x22, SIZE);
	ok = !edu_move(sids[1], iova[0], other[1]);
	ok = ok && memcmp(two.bufs[1].map, one.bufs[0].map, COPIED);
	ok = ok && !edu_copy(sids[1], "write", iova[0], COPIED);
	tap_result(tap, ok && qda_filled(one.bufs[0].map, SIZE, 1),
		   "another stream reaches none of it");

	/* Unless it is given to it: an exported buffer, in place, by the other DSP's stream. */
	session_end(&two);
	dmabuf = session_export(&one, 0);
	ret = dmabuf < 0 ? dmabuf : session_start(&three, OTHER_DSP, dmabuf);
	ret = ret ?: session_find(OTHER_DSP, other);
	ret = ret ?: session_release(&three);
	ret = ret ?: edu_move(sids[1], other[0], other[1]);
	ok = !ret && !memcmp(three.bufs[1].map, one.bufs[0].map, COPIED);
	if (ok)
		memset(three.bufs[1].map, 0x33, SIZE);
	ok = ok && !edu_move(sids[1], other[1], other[0]);
	tap_result(tap, ok && qda_all(one.bufs[0].map, COPIED, 0x33),
		   "an exported buffer copies in another stream");

	session_end(&three);
	close(dmabuf);
	session_end(&one);
	close(log);
	problems += simdsp_end();
}

/* Waits for a moment. */
static void sleep_until(long long at)
{
	while (at - now_us() > 1500)
		usleep(500);
	while (now_us() < at)
		;
}

/* The bank's first owner: tells of its memory, then closes at the given moment. */
static int owner(struct child *parent, void *arg)
{
	int dmabuf = *(int *)arg;
	struct session me = { 0 };
	long long at;
	int ret;

	ret = session_start(&me, DSP, dmabuf);
	child_tell(parent, ret ? -1 : (int)me.bank);
	if (ret || simdsp_call_join(&me.call))
		return 1;
	child_tell(parent, 0);

	/* The moment comes as microseconds from now, by the clock that all share. */
	at = child_hear(parent, PATIENCE);
	at += (long long)child_hear(parent, PATIENCE) * 1000000;
	sleep_until(at);
	/* A mapping of it would keep the file open. */
	munmap(me.bufs[1].map, SIZE);
	close(me.fd);
	/* From here on this memory is none of the DSP's business. */
	at = now_us();
	memset(me.bufs[0].map, 0xbb, SIZE);
	child_tell(parent, at % 1000000);
	child_tell(parent, at / 1000000);
	return 0;
}

enum verdict { REFUSED, LEAKED, BEFORE, BROKEN };

/*
 * What the device got, which it copies into @buf at @iova: 0xaa was there before the memory was out
 * of its reach, 0xbb after that.
 */
static enum verdict what_it_got(const struct qda_buf *buf, __u64 iova)
{
	memset(buf->map, 0, SIZE);
	if (edu_copy(sids[0], "write", iova, WORD))
		return BROKEN;
	switch (buf->map[0]) {
	case 0xbb:
		return LEAKED;
	case 0xaa:
		return BEFORE;
	default:
		return REFUSED;
	}
}

/*
 * One round: the device begins to read the first owner's memory and does so 100 ms later; meanwhile
 * the owner goes. What the device got is copied to the next owner. @delay says when the owner goes;
 * @gap, how long after that the device read.
 */
static enum verdict round_of_owners(int delay, long long *gap)
{
	struct session next = { 0 };
	__u64 iova[2], mine[2];
	long long started, closed;
	enum verdict verdict;
	struct child child;
	int dmabuf, bank, ret;
	__u8 *secret;

	dmabuf = session_dmabuf(ORIGIN_HEAP, SIZE);
	if (dmabuf < 0)
		return BROKEN;
	secret = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, dmabuf, 0);
	if (secret == MAP_FAILED)
		return BROKEN;
	memset(secret, 0xaa, SIZE);

	ret = child_start(&child, owner, &dmabuf);
	bank = ret ?: child_hear(&child, PATIENCE);
	if (bank < 0 || first_stream(DSP, bank) != sids[0])
		return BROKEN;
	ret = session_find(DSP, iova) ?: simdsp_cmd(NULL, "release-held " DSP " 0");
	ret = ret ?: child_hear(&child, PATIENCE);
	/* Now the translation is in the TLB. */
	ret = ret ?: edu_copy(sids[0], "read", iova[0], WORD);

	started = now_us();
	ret = ret ?: edu_start(sids[0], "read", iova[0], WORD);
	started = (started + now_us()) / 2;
	closed = started + delay;
	child_tell(&child, closed % 1000000);
	child_tell(&child, closed / 1000000);
	closed = child_hear(&child, PATIENCE);
	closed += (long long)child_hear(&child, PATIENCE) * 1000000;
	*gap = started + TRANSFER_US - closed;
	ret = ret ?: edu_wait(sids[0]);
	ret = ret ?: child_wait(&child, PATIENCE);

	/* Let the next owner have what the device got. */
	ret = ret ?: session_start(&next, DSP, -1);
	ret = ret ?: session_find(DSP, mine);
	ret = ret ?: session_release(&next);
	if (ret || (int)next.bank != bank) {
		printf("# error %d, bank %u after %d\n", -ret, next.bank, bank);
		return BROKEN;
	}
	verdict = what_it_got(&next.bufs[1], mine[1]);
	session_end(&next);
	munmap(secret, SIZE);
	close(dmabuf);
	return verdict;
}

/* The session that lives on in round_of_buffers(). */
static struct session living;

/*
 * One round: the device begins to read a buffer and does so 100 ms later; meanwhile the program
 * closes the buffer, and goes on with its session. @delay and @gap as in round_of_owners().
 */
static enum verdict round_of_buffers(int delay, long long *gap)
{
	long long started, closed;
	struct qda_buf freed;
	enum verdict verdict;
	__u64 iova[2];
	int dmabuf, ret;

	dmabuf = session_dmabuf(ORIGIN_HEAP, SIZE);
	if (dmabuf < 0 || session_import(living.fd, dmabuf, SIZE, &freed))
		return BROKEN;
	memset(freed.map, 0xaa, SIZE);

	living.args[0] = qda_ref(&freed, 0, SIZE);
	ret = simdsp_call_start(&living.call, living.fd, living.handle,
				QDA_SCALARS(SIMDSP_HOLD, 2, 0), living.args);
	ret = ret ?: session_find(DSP, iova) ?: session_release(&living);
	/* Now the translation is in the TLB. */
	ret = ret ?: edu_copy(sids[0], "read", iova[0], WORD);

	started = now_us();
	ret = ret ?: edu_start(sids[0], "read", iova[0], WORD);
	started = (started + now_us()) / 2;
	sleep_until(started + delay);
	ret = ret ?: qda_gem_close(living.fd, freed.handle);
	/* From here on this memory is none of the DSP's business. */
	closed = now_us();
	memset(freed.map, 0xbb, SIZE);
	*gap = started + TRANSFER_US - closed;
	ret = ret ?: edu_wait(sids[0]);
	if (ret)
		printf("# error %d\n", -ret);
	verdict = ret ? BROKEN : what_it_got(&living.bufs[1], iova[1]);
	munmap(freed.map, SIZE);
	close(dmabuf);
	return verdict;
}

/* Takes all banks but the first device's. Return: how many, or a negative errno. */
static int take_other_banks(int *fds, int max)
{
	int count = 0, wanted = -1, ret = 0;

	while (!ret && count < max && count < qda_banks(DSP)) {
		struct simdsp_info info;
		__u32 handle;

		fds[count] = session_open(DSP, 0);
		if (fds[count] < 0)
			return fds[count];
		ret = simdsp_open(fds[count], &handle);
		ret = ret ?: simdsp_info(fds[count], handle, &info);
		if (!ret && first_stream(DSP, info.bank) == sids[0])
			wanted = count;
		count++;
	}
	if (ret || wanted < 0)
		return -ENODEV;
	close(fds[wanted]);
	fds[wanted] = fds[--count];
	return count;
}

/* Whether the device gets nothing in any of so many rounds that hit the time when it might. */
static bool nothing_leaks(enum verdict (*round)(int delay, long long *gap))
{
	int rounds = 0, hits = 0, early = 0, leaked = 0, broken = 0;
	int delay = TRANSFER_US - STALE_US;

	while (!broken && !leaked && hits < HITS && rounds < MAX_ROUNDS) {
		long long gap = 0;

		rounds++;
		switch (round(delay, &gap)) {
		case REFUSED:
			hits += gap > 0 && gap < STALE_US;
			break;
		case BEFORE:
			early++;
			break;
		case LEAKED:
			printf("# the device read %lld us after the memory had gone\n", gap);
			leaked++;
			break;
		case BROKEN:
			broken++;
			break;
		}
		/* Aim at the middle of the time in which the TLB may be stale. */
		delay += (gap - STALE_US / 3) / 2;
	}
	printf("# %d rounds: %d reads within %d us after the memory went, %d before, %d leaked\n",
	       rounds, hits, STALE_US, early, leaked);
	return !broken && !leaked && hits == HITS;
}

/* What the bank's former owner had mapped is out of the next one's reach, TLB or not. */
static void former_owner(struct tap *tap)
{
	int others[8], count;

	count = simdsp_begin("referee-owners") ?: take_other_banks(others, 8);
	if (count < 0)
		printf("# the other banks: error %d\n", -count);
	tap_result(tap, count >= 0 && nothing_leaks(round_of_owners),
		   "memory of a bank's former owner is out of reach");
	while (count > 0)
		close(others[--count]);
	problems += simdsp_end();
}

/* So is what a session that lives on has closed. */
static void freed_buffer(struct tap *tap)
{
	int ret = simdsp_begin("referee-buffers");
	__u64 iova[2];

	ret = ret ?: session_start(&living, DSP, -1);
	ret = ret ?: session_find(DSP, iova) ?: session_release(&living);
	if (!ret && first_stream(DSP, living.bank) != sids[0])
		ret = -ENODEV;
	if (ret)
		printf("# the session: error %d\n", -ret);
	tap_result(tap, !ret && nothing_leaks(round_of_buffers),
		   "a buffer that was closed is out of reach");
	session_end(&living);
	problems += simdsp_end();
}

int main(void)
{
	struct tap tap = { 0 };
	struct survey survey;
	char line[SIMDSP_LINE];

	tap_plan(9);
	if (simdsp_begin("referee-edus") || simdsp_cmd(line, "edus") || atoi(line) != 2) {
		printf("Bail out! the board has no two edu devices\n");
		return 1;
	}
	for (int i = 0; i < 2; i++) {
		if (simdsp_next_line(line))
			return 1;
		sids[i] = strtoul(line, NULL, 0);
	}
	good_and_bad(&tap);
	former_owner(&tap);
	freed_buffer(&tap);
	tap_result(&tap, !problems, "the DSP saw no problem");
	if (dsp_survey(&survey))
		survey.mapped = -1;
	tap_result(&tap, !survey.mapped, "mappings left: %lld", survey.mapped);
	return tap.failed ? 1 : 0;
}
