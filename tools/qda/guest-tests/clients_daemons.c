// SPDX-License-Identifier: GPL-2.0
/*
 * The daemons of Debian's fastrpc-support, unmodified, on the simulated DSP.
 */
#include "client.h"

/* Directory of the DSP's files. */
#define FILES	"/tmp/dsp"

/** struct daemon - a daemon, as the distribution starts it */
struct daemon {
	const char *argv[4];
	const char *dsp;
	/** @domain: counter of the protection domain that it is for. */
	const char *domain;
	/** @waits: whether it reads messages of the DSP. */
	bool waits;
};

static const struct daemon adsprpcd = { { "adsprpcd" }, "adsp", "root", true };
static const struct daemon audiopd = { { "adsprpcd", "audiopd" }, "adsp", "static", false };
static const struct daemon cdsprpcd = { { "cdsprpcd" }, "cdsp", "root", true };
static const struct daemon sdsprpcd = { { "sdsprpcd" }, "sdsp", "root", false };
static const struct daemon gdsprpcd = {
	{ "gdsprpcd", "rootpd", "gdsp0" }, "gdsp0", "root", true
};

/* Starts a daemon, and sees that it gets where it waits for the DSP. */
static pid_t start(const struct daemon *daemon)
{
	pid_t pid;

	client_begin();
	log_open();
	mkdir(FILES, 0755);
	setenv("ADSP_LIBRARY_PATH", FILES, 1);
	pid = client_start(daemon->argv);
	CHECK(simdsp_wait_stat(daemon->dsp, "listeners", 1, PATIENCE));
	CHECK(simdsp_wait_stat(daemon->dsp, "waiters", daemon->waits, PATIENCE));
	CHECK_EQ(1, simdsp_stat(daemon->dsp, "processes"));
	CHECK_EQ(1, simdsp_stat(daemon->dsp, daemon->domain));
	return pid;
}

static void listens(const struct daemon *daemon)
{
	pid_t pid = start(daemon);

	client_has_services(daemon->dsp);
	client_is_released(pid, daemon->dsp, SIGTERM);
}

static void serves_files(const struct daemon *daemon)
{
	pid_t pid = start(daemon);

	client_reads_file(daemon->dsp, FILES);
	client_is_released(pid, daemon->dsp, SIGTERM);
}

/* Ticks of CPU time that a process has used. */
static long cpu_ticks(pid_t pid)
{
	long user = -1, system = -1;
	char path[64], line[1024];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "r");
	if (!CHECK(file))
		return 0;
	if (fgets(line, sizeof(line), file))
		sscanf(strrchr(line, ')') + 1,
		       " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %ld %ld", &user, &system);
	fclose(file);
	CHECK(user >= 0 && system >= 0);
	return user + system;
}

/* Counter of the calls by which a daemon gets at its process. */
static const char *starts(const struct daemon *daemon)
{
	return strcmp(daemon->domain, "static") ? "attaches" : "creates";
}

/* The daemon has started anew, and waits again without using the CPU. */
static void is_back(const struct daemon *daemon, pid_t pid, long long started)
{
	long ticks;

	CHECK(client_wait_more(daemon->dsp, starts(daemon), started));
	CHECK(simdsp_wait_stat(daemon->dsp, "listeners", 1, PATIENCE));
	CHECK(simdsp_wait_stat(daemon->dsp, "waiters", daemon->waits, PATIENCE));
	CHECK_EQ(1, simdsp_stat(daemon->dsp, "processes"));
	CHECK_EQ(1, simdsp_stat(daemon->dsp, daemon->domain));
	client_has_services(daemon->dsp);

	ticks = cpu_ticks(pid);
	sleep(1);
	ticks = cpu_ticks(pid) - ticks;
	printf("# %ld of %ld ticks of CPU time\n", ticks, sysconf(_SC_CLK_TCK));
	CHECK(ticks <= sysconf(_SC_CLK_TCK) / 5);
	client_is_released(pid, daemon->dsp, SIGTERM);
}

/* The DSP ends its listener: it lets go of everything. */
static void comes_back(const struct daemon *daemon)
{
	pid_t pid = start(daemon);
	long long releases = simdsp_stat(daemon->dsp, "releases");
	long long started = simdsp_stat(daemon->dsp, starts(daemon));

	CHECK_EQ(0, simdsp_cmd(NULL, "complete-listener %s " BAD_STATE, daemon->dsp));
	CHECK(client_wait_more(daemon->dsp, "releases", releases));
	is_back(daemon, pid, started);
}

/*
 * Waits until the daemon has started anew. The kernel's own driver offers its nodes before they
 * have sessions; a daemon that comes too early ends, and is run again as a service would be.
 */
static pid_t run_again(const struct daemon *daemon, pid_t pid, long long started)
{
	for (int i = 0; i < PATIENCE / 10 && simdsp_stat(daemon->dsp, starts(daemon)) == started;
	     i++) {
		if (waitpid(pid, NULL, WNOHANG) == pid) {
			printf("# it has ended\n");
			CHECK_EQ(0, strcmp(tap_driver(), "fastrpc"));
			pid = client_start(daemon->argv);
		}
		usleep(10000);
	}
	return pid;
}

static void survives_restart(const struct daemon *daemon)
{
	pid_t pid = start(daemon);
	long long started = simdsp_stat(daemon->dsp, starts(daemon));

	CHECK_EQ(0, simdsp_cmd(NULL, "restart %s", daemon->dsp));
	pid = run_again(daemon, pid, started);
	is_back(daemon, pid, started);
}

static void killed(const struct daemon *daemon)
{
	for (int i = 0; i < 2; i++)
		client_is_released(start(daemon), daemon->dsp, SIGKILL);
}

/* Lines of the DSP come out in the system log. */
static void logs_messages(const struct daemon *daemon)
{
	static const char *const lines[] = {
		"the first line of the DSP", "x", "a line with 'quotes', and a % sign"
	};
	pid_t pid = start(daemon);

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		char entry[128];

		CHECK_EQ(0, simdsp_cmd(NULL, "message %s %s", daemon->dsp, lines[i]));
		snprintf(entry, sizeof(entry), "adsprpc:%s", lines[i]);
		CHECK(log_has(entry));
		CHECK(simdsp_wait_stat(daemon->dsp, "waiters", 1, PATIENCE));
	}
	client_is_released(pid, daemon->dsp, SIGTERM);
}

#define TEST(daemon, test) \
	static void daemon##_##test(void) { test(&daemon); }

#define TESTS(daemon) \
	TEST(daemon, listens) TEST(daemon, serves_files) TEST(daemon, comes_back) \
	TEST(daemon, survives_restart) TEST(daemon, killed)

TESTS(adsprpcd)
TEST(adsprpcd, logs_messages)
TESTS(audiopd)
TESTS(cdsprpcd)
TEST(cdsprpcd, logs_messages)
TESTS(sdsprpcd)
TESTS(gdsprpcd)
TEST(gdsprpcd, logs_messages)

#define NAMED(name, daemon, test)	{ name "." #test, daemon##_##test }
#define ALL_NAMED(name, daemon) \
	NAMED(name, daemon, listens), NAMED(name, daemon, serves_files), \
	NAMED(name, daemon, comes_back), NAMED(name, daemon, survives_restart), \
	NAMED(name, daemon, killed)

static const struct tap_test tests[] = {
	ALL_NAMED("adsprpcd", adsprpcd),
	NAMED("adsprpcd", adsprpcd, logs_messages),
	ALL_NAMED("adsprpcd_audiopd", audiopd),
	ALL_NAMED("cdsprpcd", cdsprpcd),
	NAMED("cdsprpcd", cdsprpcd, logs_messages),
	ALL_NAMED("sdsprpcd", sdsprpcd),
	ALL_NAMED("gdsprpcd", gdsprpcd),
	NAMED("gdsprpcd", gdsprpcd, logs_messages),
};

int main(void)
{
	return tap_run(tests, sizeof(tests) / sizeof(tests[0]));
}
