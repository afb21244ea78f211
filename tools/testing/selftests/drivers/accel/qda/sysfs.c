// SPDX-License-Identifier: GPL-2.0
/*
 * Drivers that come and go by sysfs.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "child.h"
#include "sysfs.h"

int sysfs_write(const char *path, const char *text)
{
	int fd, ret;

	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = write(fd, text, strlen(text)) < 0 ? -errno : 0;
	close(fd);
	return ret;
}

struct order {
	const char *path;
	const char *text;
};

static int write_child(struct child *parent, void *arg)
{
	const struct order *order = arg;

	child_tell(parent, sysfs_write(order->path, order->text));
	return 0;
}

int sysfs_write_within(const char *path, const char *text, int ms)
{
	struct order order = { .path = path, .text = text };
	struct child child;
	int ret;

	ret = child_start(&child, write_child, &order);
	if (ret)
		return ret;
	ret = child_hear(&child, ms);
	/* One that hangs can't be killed either. */
	if (ret != -ETIMEDOUT)
		child_wait(&child, 1000);
	return ret;
}

bool sysfs_find(const char *dir, const char *part, char *name, size_t size)
{
	struct dirent *entry;
	bool found = false;
	DIR *stream;

	stream = opendir(dir);
	if (!stream)
		return false;
	while (!found && (entry = readdir(stream))) {
		found = strstr(entry->d_name, part);
		if (found)
			snprintf(name, size, "%s", entry->d_name);
	}
	closedir(stream);
	return found;
}

int sysfs_count(const char *dir)
{
	struct dirent *entry;
	int count = 0;
	DIR *stream;

	stream = opendir(dir);
	if (!stream)
		return 0;
	while ((entry = readdir(stream)))
		count += entry->d_name[0] != '.';
	closedir(stream);
	return count;
}
