// SPDX-License-Identifier: GPL-2.0
/*
 * Debian's hexagonrpcd, unmodified, on the simulated DSP.
 */
#include "client.h"

/* It serves sensors and audio: it attaches to the ADSP. */
#define DSP	"adsp"

/* Its directory of files, and that of the DSP's files in it. */
#define FILES		"/tmp/hexagonrpcd"
#define DSP_FILES	FILES "/dsp"

static pid_t start(const char *option)
{
	const char *argv[] = {
		"hexagonrpcd", "-R", FILES, "-f", client_node(DSP), option, NULL
	};

	mkdir(FILES, 0755);
	mkdir(DSP_FILES, 0755);
	return client_start(argv);
}

static void ended_by_the_dsp(pid_t pid)
{
	CHECK_EQ(0, simdsp_cmd(NULL, "complete-listener " DSP " " BAD_STATE));
	CHECK_EQ(0, client_end(pid));
	CHECK(simdsp_wait_stat(DSP, "processes", 0, PATIENCE));
}

static void attaches_and_listens(void)
{
	long long attaches = simdsp_stat(DSP, "attaches");
	pid_t pid;

	client_begin();
	pid = start(NULL);
	CHECK(simdsp_wait_stat(DSP, "listeners", 1, PATIENCE));
	CHECK_EQ(attaches + 1, simdsp_stat(DSP, "attaches"));
	CHECK_EQ(1, simdsp_stat(DSP, "root"));
	client_has_services(DSP);
	ended_by_the_dsp(pid);
}

static void attaches_to_sensors(void)
{
	pid_t pid;

	client_begin();
	pid = start("-s");
	CHECK(simdsp_wait_stat(DSP, "listeners", 1, PATIENCE));
	CHECK_EQ(1, simdsp_stat(DSP, "sensors"));
	client_has_services(DSP);
	ended_by_the_dsp(pid);
}

static void serves_files(void)
{
	pid_t pid;

	client_begin();
	pid = start(NULL);
	CHECK(simdsp_wait_stat(DSP, "listeners", 1, PATIENCE));
	client_reads_file(DSP, DSP_FILES);
	client_is_released(pid, DSP, SIGTERM);
}

static void disturbed(void (*disturb)(pid_t pid, const char *dsp, const char *dir))
{
	pid_t pid;

	client_begin();
	pid = start(NULL);
	CHECK(simdsp_wait_stat(DSP, "listeners", 1, PATIENCE));
	disturb(pid, DSP, DSP_FILES);
	client_is_released(pid, DSP, SIGTERM);
}

static void frozen(void)
{
	disturbed(client_thaws);
	CHECK_EQ(0, freezer_umount());
}

static void suspended(void)
{
	disturbed(client_resumes);
}

static void killed(void)
{
	long long mappings = simdsp_stat(DSP, "mappings");

	client_begin();
	for (int i = 1; i <= 3; i++) {
		pid_t pid = start(NULL);
		long long leaked;

		CHECK(simdsp_wait_stat(DSP, "listeners", 1, PATIENCE));
		client_is_released(pid, DSP, SIGKILL);
		leaked = simdsp_stat(DSP, "mappings") - mappings;
		CHECK(leaked == 0 || (client_leaks() && leaked == i * getpagesize()));
	}
}

static const struct tap_test tests[] = {
	{ "hexagonrpcd.attaches_and_listens", attaches_and_listens },
	{ "hexagonrpcd.attaches_to_sensors", attaches_to_sensors },
	{ "hexagonrpcd.serves_files", serves_files },
	{ "hexagonrpcd.frozen", frozen },
	{ "hexagonrpcd.suspended", suspended },
	{ "hexagonrpcd.killed", killed },
};

int main(void)
{
	return tap_run(tests, sizeof(tests) / sizeof(tests[0]));
}
