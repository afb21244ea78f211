// SPDX-License-Identifier: GPL-2.0
/*
 * The simulated DSP against Debian's hexagonrpcd, unmodified, on the kernel's own FastRPC driver.
 *
 * The program is taken from the PATH, or is what the environment variable HEXAGONRPCD says.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "tap.h"

/* hexagonrpcd serves sensors and audio: it attaches to the ADSP. */
#define DSP	"adsp"

/* Status with which a DSP ends a listener. */
#define BAD_STATE	"0x8000040d"

static pid_t start(void)
{
	const char *program = getenv("HEXAGONRPCD");
	const char *node = "/dev/fastrpc-" DSP;
	pid_t pid;

	if (access(node, F_OK))
		node = "/dev/fastrpc-" DSP "-secure";
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		/* What it says is a comment to these results. */
		execlp(program ? program : "hexagonrpcd", "hexagonrpcd", "-f", node, NULL);
		printf("# hexagonrpcd: %s\n", strerror(errno));
		_exit(127);
	}
	return pid;
}

/* Waits for the program's end. Return: its wait status, or -1 after 5 seconds. */
static int end(pid_t pid)
{
	int status;

	for (int i = 0; i < 500; i++) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return status;
		usleep(10000);
	}
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	return -1;
}

static void attaches_and_listens(void)
{
	long long attaches = simdsp_stat(DSP, "attaches");
	char reply[SIMDSP_LINE];
	pid_t pid = start();
	int status = -1, handle = -1;

	CHECK(simdsp_wait_stat(DSP, "listeners", 1, 10000));
	CHECK_EQ(attaches + 1, simdsp_stat(DSP, "attaches"));

	/* The DSP calls it: opens its file service. */
	CHECK_EQ(0, simdsp_cmd(reply, "reverse-open " DSP " apps_std"));
	printf("# reverse open of apps_std: %s\n", reply);
	CHECK_EQ(2, sscanf(reply, "%i %i", &status, &handle));
	CHECK_EQ(0, status);
	CHECK(handle > 0);
	CHECK(simdsp_wait_stat(DSP, "listeners", 1, 5000));

	/* A service that it doesn't have. */
	CHECK_EQ(0, simdsp_cmd(reply, "reverse-open " DSP " no_such_service"));
	printf("# reverse open of no_such_service: %s\n", reply);
	CHECK_EQ(1, sscanf(reply, "%i", &status));
	CHECK(status);
	CHECK(simdsp_wait_stat(DSP, "listeners", 1, 5000));

	CHECK_EQ(0, simdsp_cmd(NULL, "complete-listener " DSP " " BAD_STATE));
	CHECK_EQ(0, end(pid));
	CHECK(simdsp_wait_stat(DSP, "processes", 0, 5000));
}

static void terminated(void)
{
	long long releases = simdsp_stat(DSP, "releases");
	pid_t pid = start();
	long long leaked;
	int status;

	CHECK(simdsp_wait_stat(DSP, "listeners", 1, 10000));
	CHECK_EQ(releases, simdsp_stat(DSP, "releases"));
	kill(pid, SIGTERM);
	status = end(pid);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
	CHECK(simdsp_wait_stat(DSP, "releases", releases + 1, 5000));
	CHECK_EQ(0, simdsp_stat(DSP, "processes"));
	CHECK_EQ(0, simdsp_stat(DSP, "listeners"));
	CHECK_EQ(0, simdsp_stat(DSP, "outstanding"));

	/*
	 * The driver leaks the metadata of a call whose caller was killed, here one page:
	 * fastrpc_user_free() would put the call, but the call has a reference on the user.
	 */
	leaked = simdsp_stat(DSP, "mappings");
	CHECK(leaked == 0 || leaked == getpagesize());
	tap_known_problems = leaked ? 1 : 0;
}

static const struct tap_test tests[] = {
	{ "hexagonrpcd.attaches_and_listens", attaches_and_listens },
	{ "hexagonrpcd.terminated", terminated },
};

int main(void)
{
	return tap_run(tests, sizeof(tests) / sizeof(tests[0]));
}
