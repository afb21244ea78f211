// SPDX-License-Identifier: GPL-2.0
/*
 * Runs tests of the catalogue, each in a process of its own and watched by the simulator.
 *
 *	DRIVER=fastrpc|qda catalogue <row>...
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "catalogue.h"
#include "patience.h"

/* Longer than any test takes that doesn't hang. */
#define LIMIT_S		60

static bool failed;

bool catalogue_expect(const char *outcome, bool ok, const char *file, int line, const char *what)
{
	if (!ok) {
		printf("# %s:%d: %s\n", file, line, what);
		printf("# outcome: %s\n", outcome);
		failed = true;
	}
	return ok;
}

bool catalogue_expect_eq(const char *outcome, long long expected, long long seen, const char *file,
			 int line, const char *what)
{
	char text[512];

	snprintf(text, sizeof(text), "%s is %lld (%#llx), not %lld", what, seen, seen, expected);
	return catalogue_expect(outcome, expected == seen, file, line, text);
}

static const char *driver(void)
{
	const char *driver = getenv("DRIVER");

	return driver ? driver : "fastrpc";
}

bool catalogue_is_new(void)
{
	return !strcmp(driver(), "qda");
}

void catalogue_interrupts(void)
{
	if (!catalogue_is_new())
		simdsp_cmd(NULL, "allow-leaks");
}

void catalogue_script(const char *which, const char *actions)
{
	EXPECT_EQ("not provoked", 0,
		  simdsp_cmd(NULL, "script {\"replace\":true,\"rules\":[{%s,\"actions\":[%s]}]}",
			     which, actions));
}

void catalogue_no_script(void)
{
	EXPECT_EQ("not provoked", 0, simdsp_cmd(NULL, "script {\"replace\":true}"));
}

bool catalogue_works(int fd, uint32_t handle)
{
	uint8_t in[5000], out[5000] = { 0 };

	node_fill(in, sizeof(in), handle);
	return !node_echo(fd, handle, node_bytes(in, sizeof(in)), node_bytes(out, sizeof(out))) &&
	       !memcmp(in, out, sizeof(in));
}

int catalogue_said(const char *text)
{
	static char log[1 << 20];
	int len = klogctl(3, log, sizeof(log) - 1), count = 0;

	log[len < 0 ? 0 : len] = 0;
	for (char *line = strtok(log, "\n"); line; line = strtok(NULL, "\n")) {
		/* What programs print is there as well. */
		if (!strstr(line, "qda| ") && strstr(line, text))
			count++;
	}
	return count;
}

void *catalogue_unwritable(const void *what, size_t length)
{
	void *page = mmap(NULL, sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		exit(1);
	memcpy(page, what, length);
	mprotect(page, sysconf(_SC_PAGESIZE), PROT_READ);
	return page;
}

int catalogue_reopen(const char *node)
{
	for (int i = 0; i < PATIENCE; i += 20) {
		int fd = open(node, O_RDWR | O_CLOEXEC);

		if (fd >= 0)
			return fd;
		usleep(20000);
	}
	return -ENODEV;
}

/* What the simulator has to say at the end. */
static void judge(void)
{
	long long violations = simdsp_stat("cdsp", "violations");

	EXPECT_EQ("protocol violated", 0, violations);
	if (simdsp_end() > violations)
		EXPECT("leak", !"something was left behind");
}

static int run(const struct entry *entry)
{
	char name[64];
	int ret;

	snprintf(name, sizeof(name), "%s.%s", entry->row, entry->name);
	ret = simdsp_begin(name);
	if (ret) {
		printf("# the simulator's control port: error %d\n", -ret);
		return 1;
	}
	alarm(qda_patience(LIMIT_S));
	EXPECT_EQ("not provoked", 0, simdsp_cmd(NULL, "profile %s", driver()));
	entry->run();
	judge();
	return failed;
}

static const struct entry *find(const char *row)
{
	static const struct {
		const struct entry *entries;
		const int *count;
	} parts[] = {
		{ catalogue_replies, &catalogue_replies_count },
		{ catalogue_memory, &catalogue_memory_count },
		{ catalogue_sessions, &catalogue_sessions_count },
	};

	for (size_t part = 0; part < sizeof(parts) / sizeof(*parts); part++) {
		for (int i = 0; i < *parts[part].count; i++) {
			if (!strcmp(parts[part].entries[i].row, row))
				return &parts[part].entries[i];
		}
	}
	return NULL;
}

int main(int argc, char **argv)
{
	int bad = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("TAP version 13\n1..%d\n", argc - 1);
	for (int i = 1; i < argc; i++) {
		const struct entry *entry = find(argv[i]);
		int status = -1;
		pid_t pid;

		if (!entry) {
			printf("Bail out! no row %s\n", argv[i]);
			return 1;
		}
		pid = fork();
		if (!pid)
			exit(run(entry));
		waitpid(pid, &status, 0);
		if (WIFSIGNALED(status))
			printf("# outcome: %s\n", WTERMSIG(status) == SIGALRM ? "hang" : "killed");
		printf("%sok %d - %s.%s\n", status ? "not " : "", i, entry->row, entry->name);
		bad += !!status;
	}
	return bad ? 1 : 0;
}
