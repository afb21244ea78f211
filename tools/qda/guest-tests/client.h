/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A program that uses a DSP, run by a test; and the system log that it writes to.
 */
#ifndef CLIENT_H
#define CLIENT_H

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>

#include "freezer.h"
#include "tap.h"

/* Status with which a DSP ends a listener. */
#define BAD_STATE	"0x8000040d"

/* How long a program may take to get where it should be, in milliseconds. */
#define PATIENCE	qda_patience(10000)

/* What programs have sent to the system log. */
static struct {
	pthread_mutex_t lock;
	char text[65536];
	size_t len;
} log_text = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void *log_reader(void *arg)
{
	int fd = (intptr_t)arg;
	char line[2048];
	ssize_t n;

	while ((n = recv(fd, line, sizeof(line) - 1, 0)) >= 0) {
		line[n] = 0;
		/* Of less than errors there are too many. */
		if (atoi(line + 1) % 8 <= LOG_ERR)
			printf("# log: %s\n", line);
		pthread_mutex_lock(&log_text.lock);
		if (log_text.len + n + 1 < sizeof(log_text.text)) {
			memcpy(log_text.text + log_text.len, line, n);
			log_text.len += n;
			log_text.text[log_text.len++] = '\n';
			log_text.text[log_text.len] = 0;
		}
		pthread_mutex_unlock(&log_text.lock);
	}
	return NULL;
}

/* Is the system log of the test. To be called before a program starts. */
static inline bool log_open(void)
{
	struct sockaddr_un addr = { AF_UNIX, "/dev/log" };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	pthread_t thread;

	unlink(addr.sun_path);
	return CHECK(fd >= 0) &&
	       CHECK_EQ(0, bind(fd, (struct sockaddr *)&addr, sizeof(addr))) &&
	       CHECK_EQ(0, pthread_create(&thread, NULL, log_reader, (void *)(intptr_t)fd));
}

/* Whether the log has this text, or gets it in time. */
static inline bool log_has(const char *text)
{
	for (int i = 0; i < PATIENCE / 10; i++) {
		bool has;

		pthread_mutex_lock(&log_text.lock);
		has = strstr(log_text.text, text);
		pthread_mutex_unlock(&log_text.lock);
		if (has)
			return true;
		usleep(10000);
	}
	return false;
}

/*
 * Whether the metadata of a call stays mapped when its caller is killed. With the kernel's own
 * driver it does: fastrpc_user_free() would put the call, but the call has a reference on the user.
 */
static inline bool client_leaks(void)
{
	return !strcmp(tap_driver(), "fastrpc");
}

/*
 * Whether calls are sent again when their caller was frozen. With the kernel's own driver they are:
 * fastrpc_internal_invoke() leaves the call that it waited for, and the ioctl is restarted. The DSP
 * has two listeners then, and calls by the first, which nobody waits for.
 */
static inline bool client_resends(void)
{
	return client_leaks();
}

/* What every test of a client begins with. */
static inline void client_begin(void)
{
	if (client_leaks())
		CHECK_EQ(0, simdsp_cmd(NULL, "allow-leaks"));
}

/* The node of a DSP. */
static inline const char *client_node(const char *dsp)
{
	static char node[64];

	snprintf(node, sizeof(node), "/dev/fastrpc-%s-secure", dsp);
	if (access(node, F_OK))
		snprintf(node, sizeof(node), "/dev/fastrpc-%s", dsp);
	return node;
}

/* Waits until a counter has grown. */
static inline bool client_wait_more(const char *dsp, const char *key, long long than)
{
	for (int i = 0; i < PATIENCE / 10; i++) {
		if (simdsp_stat(dsp, key) > than)
			return true;
		usleep(10000);
	}
	return false;
}

/* Starts a program; what it prints is a comment to the results. */
static inline pid_t client_start(const char *const *argv)
{
	pid_t pid = fork();

	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execvp(argv[0], (char **)argv);
		printf("# %s: %s\n", argv[0], strerror(errno));
		_exit(127);
	}
	return pid;
}

/* Waits for the program's end. Return: its wait status, or -1 when it doesn't come. */
static inline int client_end(pid_t pid)
{
	int status;

	for (int i = 0; i < PATIENCE / 10; i++) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return status;
		usleep(10000);
	}
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	return -1;
}

/* Whether a signal ends the program. */
static inline bool client_killed(pid_t pid, int signal)
{
	int status;

	kill(pid, signal);
	status = client_end(pid);
	return CHECK(WIFSIGNALED(status)) && CHECK_EQ(signal, WTERMSIG(status));
}

/* A program in its listener is killed: nothing of it stays on the DSP. */
static inline void client_is_released(pid_t pid, const char *dsp, int signal)
{
	long long releases = simdsp_stat(dsp, "releases");

	client_killed(pid, signal);
	CHECK(simdsp_wait_stat(dsp, "releases", releases + 1, PATIENCE));
	CHECK_EQ(0, simdsp_stat(dsp, "processes"));
	CHECK_EQ(0, simdsp_stat(dsp, "listeners"));
	CHECK_EQ(0, simdsp_stat(dsp, "outstanding"));
}

/* The DSP opens services of the program: one that there is, and one that there isn't. */
static inline void client_has_services(const char *dsp)
{
	char reply[SIMDSP_LINE];
	unsigned int handle = 0, error = -1;
	int status = -1;

	CHECK_EQ(0, simdsp_cmd(reply, "reverse-open %s apps_std", dsp));
	printf("# open of apps_std: %s\n", reply);
	CHECK_EQ(3, sscanf(reply, "%d %u %u", &status, &handle, &error));
	CHECK_EQ(0, status);
	CHECK_EQ(0, error);
	CHECK(handle);

	CHECK_EQ(0, simdsp_cmd(reply, "reverse-open %s no_such_service", dsp));
	printf("# open of no_such_service: %s\n", reply);
	CHECK(sscanf(reply, "%d %u %u", &status, &handle, &error) >= 1);
	CHECK(status || error);
	CHECK(simdsp_wait_stat(dsp, "listeners", 1, PATIENCE));
}

/* The DSP reads a file of the program's directory, in several calls. */
static inline void client_reads_file(const char *dsp, const char *dir)
{
	static const char name[] = "greeting.txt";
	char path[128], reply[SIMDSP_LINE];
	unsigned char text[1000];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	file = fopen(path, "w");
	if (!CHECK(file))
		return;
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = i * 7 + i / 256;
	CHECK_EQ(sizeof(text), fwrite(text, 1, sizeof(text), file));
	fclose(file);

	if (!CHECK_EQ(0, simdsp_cmd(reply, "read-file %s %s", dsp, name)))
		return;
	CHECK_EQ(2 * sizeof(text), strlen(reply));
	for (size_t i = 0; i < sizeof(text); i++) {
		unsigned int byte;

		if (!CHECK_EQ(1, sscanf(reply + 2 * i, "%2x", &byte)) || !CHECK_EQ(text[i], byte))
			return;
	}
	CHECK(simdsp_cmd(reply, "read-file %s no-such-file", dsp));
	CHECK(simdsp_wait_stat(dsp, "listeners", 1, PATIENCE));
}

static inline void client_serves(const char *dsp, const char *dir)
{
	client_has_services(dsp);
	client_reads_file(dsp, dir);
}

/*
 * A program is kept from running twice. Nothing is sent because of that, nothing of what the DSP
 * has is answered, and the program serves the DSP as before.
 */
static inline void client_goes_on(pid_t pid, const char *dsp, const char *dir,
				  int (*disturb)(pid_t pid))
{
	long long parked = simdsp_stat(dsp, "parked");

	/* Two calls of a thread that was interrupted. */
	if (client_resends())
		CHECK_EQ(0, simdsp_cmd(NULL, "allow thread-busy"));
	for (int i = 0; i < 2; i++) {
		long long invokes = simdsp_stat(dsp, "invokes");

		if (!CHECK_EQ(0, disturb(pid)))
			return;
		if (client_resends()) {
			CHECK(client_wait_more(dsp, "invokes", invokes));
			printf("# sent again: %lld\n", simdsp_stat(dsp, "invokes") - invokes);
			continue;
		}
		usleep(100000);
		CHECK_EQ(invokes, simdsp_stat(dsp, "invokes"));
		CHECK_EQ(1, simdsp_stat(dsp, "listeners"));
		CHECK_EQ(parked, simdsp_stat(dsp, "parked"));
		client_serves(dsp, dir);
		CHECK_EQ(parked, simdsp_stat(dsp, "parked"));
	}
}

static inline int client_freeze_and_thaw(pid_t pid)
{
	int ret = freezer_freeze(pid);

	usleep(200000);
	return ret ? ret : freezer_thaw(pid);
}

/* Where and to whom the DSP calls while the program is frozen. */
struct client_at {
	const char *dsp;
	const char *dir;
};

static inline void *client_serves_thread(void *arg)
{
	const struct client_at *at = arg;

	client_serves(at->dsp, at->dir);
	return NULL;
}

/*
 * A program goes on after two cycles of a control group's freezer. In a third the DSP calls while
 * the program is frozen.
 */
static inline void client_thaws(pid_t pid, const char *dsp, const char *dir)
{
	struct client_at at = { dsp, dir };
	pthread_t thread;

	if (!CHECK_EQ(0, freezer_mount(FREEZER_UNIFIED)))
		return;
	client_goes_on(pid, dsp, dir, client_freeze_and_thaw);
	if (client_resends())
		return;
	CHECK_EQ(0, freezer_freeze(pid));
	CHECK_EQ(0, pthread_create(&thread, NULL, client_serves_thread, &at));
	usleep(200000);
	CHECK_EQ(0, freezer_thaw(pid));
	pthread_join(thread, NULL);
}

static inline int client_suspend(pid_t pid)
{
	(void)pid;
	return freezer_suspend(1);
}

/* A program goes on after suspends in which all programs were frozen. */
static inline void client_resumes(pid_t pid, const char *dsp, const char *dir)
{
	client_goes_on(pid, dsp, dir, client_suspend);
}

#endif /* CLIENT_H */
