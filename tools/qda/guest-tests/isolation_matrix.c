// SPDX-License-Identifier: GPL-2.0
/*
 * Every session of a DSP tries, by way of the DSP, to read and to write what each other session
 * has: its buffers of every origin, the memory of a call under way, the memory that its DSP process
 * began with, a buffer that the process knows by a number, memory that its heap was grown by, and a
 * buffer that it has freed.
 *
 *	isolation_matrix <dsp>
 *
 * There is a client for each session that the DSP has room for, a process of its own. In each round
 * another of them is the victim, until each bank has been. An access is tried in two ways: the
 * simulator makes it in the attacker's name, and the attacker's own call makes it. It has to fault
 * in the attacker's stream, except where the device tree gives both one address space.
 *
 * All clients start alike, so the same addresses mean something to each. The victim differs: its
 * process has more memory, its call is longer, its buffers come below all that others have. Only
 * addresses that mean nothing to the attacker are tried; that none of the attacker's own leads to
 * the victim's memory is seen from the tables.
 */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "child.h"
#include "module.h"
#include "qda.h"
#include "session.h"
#include "simdsp.h"

#define PAGE		4096
#define BUFFER_SIZE	65536
#define INLINE_SIZE	1048576
#define IMAGE_SIZE	2097152
/* More than all who share a bank have mapped there. */
#define SPACER_SIZE	33554432
#define MAX_BANKS	32
#define MAX_SESSIONS	24
#define MAX_RANGES	8192
/* Buffers, those of them that a call refers to, and the last of these. */
#define BUFFERS		6
#define REFERRED	5
#define LAST		(REFERRED - 1)
/* Addresses that are tried of one range. */
#define TRIES		3
#define PATIENCE	20000

enum kind { BUFFER, CACHED, HEAP, UDMABUF, CALL, MEMORY, MAPPED, GROWN, FREED, KINDS };

static const char *const kind_names[KINDS] = {
	"buffer", "cached", "heap", "udmabuf", "call", "memory", "mapped", "grown", "freed",
};

/* How the accesses of one kind ended. */
enum cell { UNTRIED, FAULT, OK, SHARED, WRONG };

static const char *const cell_names[] = { "-", "fault", "ok", "shared", "WRONG" };

/* What a client is told to do. */
enum order { TOUCH, HOLD, FREE, VERIFY, LEAVE };

struct session {
	struct child child;
	int client;
	int bank;
	__u32 sid;
};

static const char *dsp;
/* By the bank of the attacker and that of the victim; own is what a victim has itself. */
static enum cell matrix[MAX_BANKS][MAX_BANKS][KINDS];
static enum cell own[MAX_BANKS][KINDS];
static long long refused, allowed, expected_faults;

/* ---- clients ---- */

struct client {
	int fd;
	__u32 handle;
	struct qda_buf spacer;
	struct qda_buf bufs[KINDS];
	struct drm_qda_invoke_arg args[REFERRED];
	struct simdsp_call call;
	__u8 *inline_data;
};

/* The buffers; calls refer to the first ones of them, and the last of those is freed. */
static const struct {
	enum kind kind;
	enum origin origin;
} buffers[BUFFERS] = {
	{ BUFFER, ORIGIN_WRITE_COMBINED },
	{ CACHED, ORIGIN_CACHED },
	{ HEAP, ORIGIN_HEAP },
	{ UDMABUF, ORIGIN_UDMABUF },
	{ FREED, ORIGIN_WRITE_COMBINED },
	{ MAPPED, ORIGIN_CACHED },
};

static int client_call(struct client *me)
{
	return simdsp_call_start(&me->call, me->fd, me->handle,
				 QDA_SCALARS(SIMDSP_HOLD, REFERRED, 0), me->args);
}

/*
 * Takes so many addresses that what comes after has none that somebody else uses as well: at those
 * nothing can be tried.
 */
static int client_space(struct client *me)
{
	struct drm_qda_invoke_arg ms;
	int ret = session_buf(me->fd, ORIGIN_HEAP, SPACER_SIZE, &me->spacer);

	if (ret)
		return ret;
	ms = qda_ref(&me->spacer, 0, 4);
	return qda_invoke(me->fd, me->handle, QDA_SCALARS(SIMDSP_SLEEP, 1, 0), &ms);
}

/* Makes the buffers, and has the DSP hold a call with them. */
static int client_hold(struct client *me)
{
	int ret = client_space(me);

	if (ret)
		return ret;
	for (int i = 0; i < BUFFERS; i++) {
		struct qda_buf *buf = &me->bufs[buffers[i].kind];

		ret = session_buf(me->fd, buffers[i].origin, BUFFER_SIZE, buf);
		if (ret)
			return ret;
		qda_fill(buf->map, BUFFER_SIZE, buffers[i].kind);
		if (i < REFERRED)
			me->args[i] = qda_ref(buf, 0, BUFFER_SIZE);
	}
	ret = session_map(me->fd, &me->bufs[MAPPED]) ?: session_grow(me->fd, BUFFER_SIZE);
	return ret ?: client_call(me);
}

/* Frees one buffer, and has the DSP hold a call with the others and much inline data. */
static int client_free(struct client *me)
{
	int ret = simdsp_call_join(&me->call);

	if (ret)
		return ret;
	qda_buf_free(&me->bufs[FREED]);
	me->inline_data = malloc(INLINE_SIZE);
	if (!me->inline_data)
		return -ENOMEM;
	qda_fill(me->inline_data, INLINE_SIZE, CALL);
	me->args[LAST] = qda_inline(me->inline_data, INLINE_SIZE);
	return client_call(me);
}

static int client_verify(struct client *me)
{
	int ret = simdsp_call_join(&me->call);

	if (ret)
		return ret;
	for (int i = 0; i < BUFFERS; i++) {
		enum kind kind = buffers[i].kind;

		if (kind != FREED && !qda_filled(me->bufs[kind].map, BUFFER_SIZE, kind))
			return -EIO;
	}
	return 0;
}

static int client_main(struct child *parent, void *arg)
{
	const size_t *image = arg;
	struct simdsp_info info;
	struct client me = { 0 };
	int ret;

	me.fd = session_open(dsp, *image);
	ret = me.fd < 0 ? me.fd : simdsp_open(me.fd, &me.handle);
	ret = ret ?: simdsp_info(me.fd, me.handle, &info);
	if (ret) {
		child_tell(parent, ret < 0 ? ret : -EREMOTEIO);
		return 1;
	}
	child_tell(parent, info.client_id);
	child_tell(parent, info.bank);

	for (;;) {
		switch (child_hear(parent, -1)) {
		case TOUCH: {
			__u32 low = child_hear(parent, PATIENCE);
			__u32 high = child_hear(parent, PATIENCE);
			int write = child_hear(parent, PATIENCE);

			child_tell(parent, simdsp_touch(me.fd, me.handle,
							(__u64)high << 32 | low, 4, write));
			break;
		}
		case HOLD:
			child_tell(parent, client_hold(&me));
			break;
		case FREE:
			child_tell(parent, client_free(&me));
			break;
		case VERIFY:
			child_tell(parent, client_verify(&me));
			break;
		default:
			close(me.fd);
			return 0;
		}
	}
}

/* ---- the parent's side of them ---- */

static int order(struct session *session, enum order what)
{
	child_tell(&session->child, what);
	return child_hear(&session->child, PATIENCE);
}

static int touch_by_call(struct session *session, __u64 iova, bool write)
{
	child_tell(&session->child, TOUCH);
	child_tell(&session->child, (__u32)iova);
	child_tell(&session->child, iova >> 32);
	child_tell(&session->child, write);
	return child_hear(&session->child, PATIENCE);
}

static int start(struct session *session, size_t image)
{
	__u32 sids[16];

	if (child_start(&session->child, client_main, &image))
		return -EAGAIN;
	session->client = child_hear(&session->child, PATIENCE);
	if (session->client < 0) {
		child_wait(&session->child, 1000);
		return session->client;
	}
	session->bank = child_hear(&session->child, PATIENCE);
	if (session->bank < 0 || session->bank >= MAX_BANKS ||
	    dsp_streams(dsp, session->bank, sids, 16) <= 0)
		return -EPROTO;
	session->sid = sids[0];
	return 0;
}

static void stop(struct session *sessions, int count)
{
	for (int i = 0; i < count; i++)
		child_tell(&sessions[i].child, LEAVE);
	for (int i = 0; i < count; i++)
		child_wait(&sessions[i].child, PATIENCE);
}

/* ---- attacks ---- */

static bool mapped(const struct simdsp_range *ranges, int count, __u64 iova)
{
	for (int i = 0; i < count; i++) {
		if (iova >= ranges[i].iova && iova - ranges[i].iova < ranges[i].len)
			return true;
	}
	return false;
}

static bool overlap(__u64 at, __u64 len, __u64 other, __u64 other_len)
{
	return at < other + other_len && other < at + len;
}

/* Whether any address of an attacker leads to what is behind a range of the victim's addresses. */
static bool reaches(const struct simdsp_range *attacker, int attacker_count,
		    const struct simdsp_range *victim, int victim_count,
		    const struct simdsp_range *target)
{
	for (int i = 0; i < victim_count; i++) {
		const struct simdsp_range *piece = &victim[i];
		__u64 from = piece->iova > target->iova ? piece->iova : target->iova;
		__u64 piece_end = piece->iova + piece->len;
		__u64 target_end = target->iova + target->len;
		__u64 to = piece_end < target_end ? piece_end : target_end;

		if (from >= to)
			continue;
		for (int j = 0; j < attacker_count; j++) {
			if (overlap(piece->pa + (from - piece->iova), to - from, attacker[j].pa,
				    attacker[j].len)) {
				printf("# %#llx of the victim is mapped for the attacker\n",
				       (unsigned long long)from);
				return true;
			}
		}
	}
	return false;
}

/* Whether an access, tried in both ways, faults in the attacker's stream. */
static bool faults(struct session *attacker, __u64 iova, bool write)
{
	char line[SIMDSP_LINE], wanted[96];
	int ret;

	snprintf(wanted, sizeof(wanted), "F_TRANSLATION sid %#x iova %#llx ", attacker->sid,
		 (unsigned long long)iova);
	ret = simdsp_cmd(line, "touch %s %d %#llx 4 %c", dsp, attacker->client,
			 (unsigned long long)iova, write ? 'w' : 'r');
	if (ret != -EFAULT || !strstr(line, wanted)) {
		printf("# client %d, %#llx, %s: %d %s, not %s\n", attacker->client,
		       (unsigned long long)iova, write ? "write" : "read", ret, line, wanted);
		return false;
	}
	ret = touch_by_call(attacker, iova, write);
	if (ret != SIMDSP_FAULT) {
		printf("# client %d, %#llx, %s in a call: %#x\n", attacker->client,
		       (unsigned long long)iova, write ? "write" : "read", ret);
		return false;
	}
	expected_faults++;
	refused += 2;
	return true;
}

/* The same for one that is allowed; only read, as the victim looks for changes later. */
static bool succeeds(struct session *session, __u64 iova)
{
	int ret = simdsp_cmd(NULL, "touch %s %d %#llx 4 r", dsp, session->client,
			     (unsigned long long)iova);

	if (!ret)
		ret = touch_by_call(session, iova, false);
	if (ret)
		printf("# client %d, %#llx: %#x\n", session->client, (unsigned long long)iova, ret);
	else
		allowed += 2;
	return !ret;
}

static enum cell attack(struct session *attacker, const struct simdsp_range *mine, int mine_count,
			const struct simdsp_range *victim, int victim_count,
			const struct simdsp_range *target)
{
	__u64 step = target->len / 16 & -(__u64)PAGE;
	int tried = 0;

	if (!step)
		step = PAGE;
	if (reaches(mine, mine_count, victim, victim_count, target))
		return WRONG;
	for (__u64 at = 0; at < target->len && tried < TRIES; at += step) {
		__u64 iova = target->iova + at;

		if (mapped(mine, mine_count, iova))
			continue;
		tried++;
		if (!faults(attacker, iova, false) || !faults(attacker, iova, true))
			return WRONG;
	}
	return tried ? FAULT : UNTRIED;
}

/* A cell is as bad as the worst that happened there. */
static void note(enum cell *cell, enum cell seen)
{
	if (*cell != WRONG && seen != UNTRIED)
		*cell = *cell == UNTRIED || *cell == seen ? seen : WRONG;
}

/*
 * Checks the faults that the calls caused, as the walker saw them: each in the first stream of the
 * bank that the call came from.
 */
static bool check_faults(struct session *sessions, int count)
{
	char line[SIMDSP_LINE];
	int lines;

	if (simdsp_cmd(line, "faults"))
		return false;
	lines = atoi(line);
	for (int i = 0; i < lines; i++) {
		int client, bank;
		__u32 sid;
		bool found = false;
		char kind[32];

		if (simdsp_next_line(line))
			return false;
		if (sscanf(line, "%*s client %d bank %d %31s sid %x", &client, &bank, kind,
			   &sid) != 4)
			return false;
		for (int j = 0; j < count; j++)
			found |= sessions[j].client == client && sessions[j].bank == bank &&
				 sessions[j].sid == sid;
		if (!found || strcmp(kind, "F_TRANSLATION")) {
			printf("# %s\n", line);
			return false;
		}
	}
	return true;
}

/* Has the victim hold its calls; finds out where everything is. */
static int find_targets(struct session *victim, struct simdsp_range *targets)
{
	struct dsp_process process;
	struct held_call held;
	int ret;

	ret = order(victim, HOLD);
	if (ret || !simdsp_wait_stat(dsp, "held", 1, PATIENCE))
		return ret ?: -ETIMEDOUT;
	ret = dsp_held_call(dsp, &held) ?: simdsp_cmd(NULL, "release-held %s 0", dsp);
	if (ret)
		return ret;
	targets[FREED] = held.args[LAST];

	ret = order(victim, FREE);
	if (ret || !simdsp_wait_stat(dsp, "held", 1, PATIENCE))
		return ret ?: -ETIMEDOUT;
	ret = dsp_held_call(dsp, &held);
	for (int i = 0; i < LAST; i++)
		targets[buffers[i].kind] = held.args[i];
	targets[CALL] = held.call;
	ret = ret ?: dsp_process(dsp, victim->client, &process);
	if (ret)
		return ret;
	if (!process.memory.len || process.maps_count != 2)
		return -EPROTO;
	targets[MEMORY] = process.memory;
	targets[MAPPED] = process.maps[0];
	targets[GROWN] = process.maps[1];
	return 0;
}

/* One round: the session that starts as number @number is the victim. Gives its bank, or -errno. */
static int play(int number, int count, bool *unchanged, int *problems)
{
	static struct simdsp_range theirs[MAX_RANGES], mine[MAX_RANGES];
	struct session sessions[MAX_SESSIONS], *victim = &sessions[number];
	int ret, started = 0, theirs_count, mine_count;
	struct simdsp_range targets[KINDS];

	ret = simdsp_begin("isolation-matrix");
	expected_faults = 0;
	while (!ret && started < count) {
		ret = start(&sessions[started], started == number ? IMAGE_SIZE : 0);
		started += !ret;
	}
	if (ret)
		printf("# session %d of %d: error %d\n", started + 1, count, -ret);
	ret = ret ?: find_targets(victim, targets);
	theirs_count = ret ?: simdsp_mappings(dsp, victim->bank, theirs, MAX_RANGES);
	if (theirs_count < 0) {
		stop(sessions, started);
		simdsp_end();
		return ret ?: theirs_count;
	}

	for (int i = 0; i < count; i++) {
		struct session *attacker = &sessions[i];
		bool is_shared = dsp_one_context(dsp, attacker->bank, victim->bank);
		enum cell *row = i == number ? own[victim->bank] :
					       matrix[attacker->bank][victim->bank];

		mine_count = simdsp_mappings(dsp, attacker->bank, mine, MAX_RANGES);
		for (int kind = 0; kind < KINDS; kind++) {
			const struct simdsp_range *target = &targets[kind];
			enum cell seen;

			if (mine_count < 0)
				seen = WRONG;
			else if (!is_shared || kind == FREED)
				seen = attack(attacker, mine, mine_count, theirs,
					      kind == FREED ? 0 : theirs_count, target);
			else if (!succeeds(attacker, target->iova) ||
				 !succeeds(attacker, target->iova + target->len - 4))
				seen = WRONG;
			else
				seen = i == number ? OK : SHARED;
			note(&row[kind], seen);
		}
	}

	if (!check_faults(sessions, count))
		*problems += 1;
	ret = simdsp_cmd(NULL, "release-held %s 0", dsp);
	if (ret || order(victim, VERIFY))
		*unchanged = false;
	stop(sessions, started);
	simdsp_cmd(NULL, "expect-fault %lld", expected_faults);
	*problems += simdsp_end();
	return victim->bank;
}

static void print_row(const char *from, const char *to, const enum cell *row)
{
	printf("#  %-5s %-5s", from, to);
	for (int kind = 0; kind < KINDS; kind++)
		printf(" %-8s", cell_names[row[kind]]);
	printf("\n");
}

/* Whether a row that was played is as it should be. */
static bool is_right(const enum cell *row, enum cell wanted)
{
	for (int kind = 0; kind < KINDS; kind++) {
		if (row[kind] != (kind == FREED ? FAULT : wanted))
			return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	bool victims[MAX_BANKS] = { 0 }, attackers[MAX_BANKS] = { 0 };
	bool unchanged = true, faulted = true, reached = true, declared = true;
	int count, banks = 0, shared = 0, problems = 0, error = 0;
	struct survey survey;
	struct tap tap = { 0 };
	char from[8], to[8];

	if (argc != 2) {
		fprintf(stderr, "usage: isolation_matrix <dsp>\n");
		return 2;
	}
	dsp = argv[1];
	tap_plan(8);
	count = qda_banks(dsp);
	if (count < 2 || count > MAX_SESSIONS) {
		printf("Bail out! %s has room for %d sessions\n", dsp, count);
		return 1;
	}

	/* Whoever starts first gets the first free bank; in whatever order, each has its turn. */
	for (int number = 0; number < count && !error; number++) {
		int bank = play(number, count, &unchanged, &problems);

		if (bank < 0)
			error = -bank;
		else
			victims[bank] = true;
	}

	for (int bank = 0; bank < MAX_BANKS; bank++) {
		for (int other = 0; other < MAX_BANKS; other++)
			attackers[bank] |= matrix[bank][other][BUFFER] != UNTRIED;
		banks += attackers[bank] || victims[bank];
	}
	printf("# %s: %d sessions in %d banks; what the one has, to the other:\n#  %-5s %-5s", dsp,
	       count, banks, "from", "to");
	for (int kind = 0; kind < KINDS; kind++)
		printf(" %-8s", kind_names[kind]);
	printf("\n");
	for (int bank = 0; bank < MAX_BANKS; bank++) {
		snprintf(from, sizeof(from), "%d", bank);
		if (victims[bank]) {
			print_row(from, "own", own[bank]);
			reached &= is_right(own[bank], OK);
		}
		for (int other = 0; other < MAX_BANKS; other++) {
			bool is_shared;

			if (matrix[bank][other][BUFFER] == UNTRIED)
				continue;
			snprintf(to, sizeof(to), "%d", other);
			print_row(from, to, matrix[bank][other]);
			is_shared = dsp_one_context(dsp, bank, other);
			shared += is_shared;
			if (is_shared)
				declared &= is_right(matrix[bank][other], SHARED);
			else
				faulted &= is_right(matrix[bank][other], FAULT);
		}
	}
	printf("# %lld accesses were refused, %lld allowed\n", refused, allowed);

	for (int bank = 0; bank < MAX_BANKS; bank++) {
		if (attackers[bank] && !victims[bank]) {
			printf("# bank %d was no victim\n", bank);
			error = error ?: ENODATA;
		}
	}
	tap_result(&tap, !error, "each of %d banks was a victim", banks);
	tap_result(&tap, faulted && refused, "another's memory faults in the attacker's stream");
	tap_result(&tap, reached && allowed, "own memory does not");
	tap_result(&tap, declared, "%d pairs share an address space, as declared", shared);
	tap_result(&tap, unchanged, "nobody's memory was changed");
	tap_result(&tap, !problems, "the DSP saw no other problem");
	if (dsp_survey(&survey))
		survey = (struct survey) { .mapped = -1, .shared = -1 };
	tap_result(&tap, !survey.mapped, "mappings left: %lld", survey.mapped);
	tap_result(&tap, !survey.shared, "shared tables: %lld", survey.shared);
	return tap.failed ? 1 : 0;
}
