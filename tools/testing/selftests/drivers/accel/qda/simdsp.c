// SPDX-License-Identifier: GPL-2.0
/*
 * Control port of the simulated DSP: lines over a virtio serial port.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "patience.h"
#include "simdsp.h"

#define PORT_NAME	"qda.ctl"
#define PORT_CLASS	"/sys/class/virtio-ports"

/* Longer than any command takes, shorter than a test's own time limit. */
#define REPLY_MS	15000

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int port = -1;

/* Bytes that were read but not yet handed out. */
static char pending[SIMDSP_LINE];
static size_t pending_len;

static int open_port(void)
{
	char path[512], name[64];
	struct dirent *entry;
	int ret = -ENODEV;
	DIR *dir;

	dir = opendir(PORT_CLASS);
	if (!dir)
		return -ENODEV;

	while ((entry = readdir(dir))) {
		FILE *file;

		snprintf(path, sizeof(path), PORT_CLASS "/%s/name", entry->d_name);
		file = fopen(path, "re");
		if (!file)
			continue;
		if (!fgets(name, sizeof(name), file))
			name[0] = '\0';
		fclose(file);
		name[strcspn(name, "\n")] = '\0';
		if (strcmp(name, PORT_NAME))
			continue;

		snprintf(path, sizeof(path), "/dev/%s", entry->d_name);
		/* One process at a time; the one before may still be exiting. */
		for (int i = 0; i < 200; i++) {
			port = open(path, O_RDWR | O_CLOEXEC);
			ret = port < 0 ? -errno : 0;
			if (ret != -EBUSY)
				break;
			usleep(10000);
		}
		break;
	}
	closedir(dir);
	return ret;
}

static int read_line(char *line)
{
	for (;;) {
		char *end = memchr(pending, '\n', pending_len);
		struct pollfd pfd = { .fd = port, .events = POLLIN };
		ssize_t got;

		if (end) {
			size_t len = end - pending;

			memcpy(line, pending, len);
			line[len] = '\0';
			pending_len -= len + 1;
			memmove(pending, end + 1, pending_len);
			return 0;
		}
		if (pending_len == sizeof(pending))
			return -EMSGSIZE;

		switch (poll(&pfd, 1, qda_patience(REPLY_MS))) {
		case 0:
			return -ETIMEDOUT;
		case -1:
			if (errno == EINTR)
				continue;
			return -errno;
		}
		got = read(port, pending + pending_len, sizeof(pending) - pending_len);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (!got)
			return -EPIPE;
		pending_len += got;
	}
}

static int write_all(const char *text, size_t len)
{
	while (len) {
		ssize_t done = write(port, text, len);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		text += done;
		len -= done;
	}
	return 0;
}

/* Sends @command and reads the first line of the reply into @line. */
static int exchange(const char *command, char *line)
{
	int ret;

	if (port < 0)
		return -ENODEV;
	ret = write_all(command, strlen(command));
	if (!ret)
		ret = read_line(line);
	if (ret)
		fprintf(stderr, "# simdsp: %.*s: %s\n", (int)strcspn(command, "\n"), command,
			strerror(-ret));
	return ret;
}

int simdsp_cmd(char *reply, const char *fmt, ...)
{
	char command[SIMDSP_LINE + 1], line[SIMDSP_LINE];
	const char *rest = line;
	va_list args;
	int len, ret;

	va_start(args, fmt);
	len = vsnprintf(command, SIMDSP_LINE, fmt, args);
	va_end(args);
	if (len >= SIMDSP_LINE)
		return -EMSGSIZE;
	command[len] = '\n';
	command[len + 1] = '\0';

	pthread_mutex_lock(&lock);
	ret = exchange(command, line);
	pthread_mutex_unlock(&lock);
	if (ret)
		return ret;

	rest += strcspn(rest, " ");
	rest += strspn(rest, " ");
	if (reply)
		memcpy(reply, rest, strlen(rest) + 1);
	if (!strncmp(line, "ok", 2))
		return 0;
	if (!strncmp(line, "fault", 5))
		return -EFAULT;
	fprintf(stderr, "# simdsp: %.*s: %s\n", len, command, line);
	return -EPROTO;
}

int simdsp_next_line(char *line)
{
	int ret;

	pthread_mutex_lock(&lock);
	ret = read_line(line);
	pthread_mutex_unlock(&lock);
	return ret;
}

/*
 * Skips what a test that was killed left on its way here: asks for something that does not exist,
 * and reads until that is refused.
 */
static int synchronize(void)
{
	char question[64], name[32], line[SIMDSP_LINE];
	int ret;

	snprintf(name, sizeof(name), "nobody-%d", getpid());
	snprintf(question, sizeof(question), "\nstat %s -\n", name);
	ret = write_all(question, strlen(question));
	while (!ret) {
		ret = read_line(line);
		if (!ret && strstr(line, name))
			break;
	}
	return ret;
}

int simdsp_begin(const char *test)
{
	if (port < 0) {
		int ret = open_port();

		if (!ret)
			ret = synchronize();
		if (ret)
			return ret;
	}
	return simdsp_cmd(NULL, "begin %s", test);
}

int simdsp_end(void)
{
	char line[SIMDSP_LINE];
	int ret, problems = 0;

	pthread_mutex_lock(&lock);
	ret = exchange("end\n", line);
	if (!ret && !strncmp(line, "fail ", 5)) {
		problems = atoi(line + 5);
		for (int i = 0; !ret && i < problems; i++) {
			ret = read_line(line);
			if (!ret)
				fprintf(stderr, "# simdsp: %s\n", line);
		}
	} else if (!ret && strncmp(line, "ok", 2)) {
		fprintf(stderr, "# simdsp: end: %s\n", line);
		ret = -EPROTO;
	}
	pthread_mutex_unlock(&lock);
	return ret ?: problems;
}

int simdsp_mappings(const char *dsp, unsigned int bank, struct simdsp_range *ranges, int max)
{
	char line[SIMDSP_LINE];
	int ret, lines;

	ret = simdsp_cmd(line, "mappings %s %u", dsp, bank);
	if (ret)
		return ret;
	lines = atoi(line);
	for (int i = 0; i < lines; i++) {
		unsigned long long iova, pa, len;

		ret = simdsp_next_line(line);
		if (ret)
			return ret;
		if (sscanf(line, "%llx %llx %llx", &iova, &pa, &len) != 3)
			return -EPROTO;
		if (i < max)
			ranges[i] = (struct simdsp_range) { iova, pa, len };
	}
	return lines <= max ? lines : -ENOBUFS;
}

int simdsp_reach(const char *dsp, unsigned int bank, struct simdsp_range *ranges, int max)
{
	int lines = simdsp_mappings(dsp, bank, ranges, max), count = 0;

	for (int i = 0; i < lines; i++) {
		if (count && ranges[count - 1].iova + ranges[count - 1].len == ranges[i].iova)
			ranges[count - 1].len += ranges[i].len;
		else
			ranges[count++] = ranges[i];
	}
	return lines < 0 ? lines : count;
}

bool simdsp_reaches(const struct simdsp_range *ranges, int count, __u64 iova)
{
	for (int i = 0; i < count; i++) {
		if (iova >= ranges[i].iova && iova - ranges[i].iova < ranges[i].len)
			return true;
	}
	return false;
}

long long simdsp_stat(const char *dsp, const char *key)
{
	char reply[SIMDSP_LINE];
	int ret = simdsp_cmd(reply, "stat %s %s", dsp, key);

	return ret ?: strtoll(reply, NULL, 0);
}

bool simdsp_wait_stat(const char *dsp, const char *key, long long value, int ms)
{
	for (;;) {
		long long seen = simdsp_stat(dsp, key);

		if (seen == value)
			return true;
		if (ms <= 0) {
			fprintf(stderr, "# simdsp: %s %s is %lld, not %lld\n", dsp, key, seen,
				value);
			return false;
		}
		usleep(5000);
		ms -= 5;
	}
}
