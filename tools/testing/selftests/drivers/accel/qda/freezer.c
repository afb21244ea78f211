// SPDX-License-Identifier: GPL-2.0
/*
 * Processes that are frozen.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "freezer.h"
#include "patience.h"
#include "sysfs.h"

/* Where control groups are mounted, and the one whose processes are frozen. */
#define CGROUPS	"/tmp/qda-cgroups"
#define GROUP	CGROUPS "/frozen"

/* Test of suspending that ends when all processes are frozen. */
#define PM_TEST	"/sys/power/pm_test"

/**
 * struct hierarchy - how a hierarchy of control groups freezes
 * @type: of the file system
 * @options: for mount()
 * @control: file to write to
 * @freeze: what to write
 * @thaw: what to write
 * @shown: file that tells
 * @frozen: line in it when all are frozen
 */
static const struct hierarchy {
	const char *type;
	const char *options;
	const char *control;
	const char *freeze;
	const char *thaw;
	const char *shown;
	const char *frozen;
} hierarchies[] = {
	[FREEZER_UNIFIED] = {
		"cgroup2", NULL, GROUP "/cgroup.freeze", "1", "0",
		GROUP "/cgroup.events", "\nfrozen 1\n",
	},
	[FREEZER_OWN] = {
		"cgroup", "freezer", GROUP "/freezer.state", "FROZEN", "THAWED",
		GROUP "/freezer.state", "\nFROZEN\n",
	},
};

static const struct hierarchy *mounted;

int freezer_mount(enum freezer freezer)
{
	const struct hierarchy *hierarchy = &hierarchies[freezer];

	mkdir(CGROUPS, 0755);
	if (mount("none", CGROUPS, hierarchy->type, 0, hierarchy->options))
		return -errno;
	mounted = hierarchy;
	return mkdir(GROUP, 0755) && errno != EEXIST ? -errno : 0;
}

int freezer_umount(void)
{
	return rmdir(GROUP) || umount(CGROUPS) ? -errno : 0;
}

static bool has_line(const char *path, const char *line)
{
	char text[512] = "\n";
	FILE *file = fopen(path, "re");
	size_t len;

	if (!file)
		return false;
	len = fread(text + 1, 1, sizeof(text) - 2, file);
	text[len + 1] = '\0';
	fclose(file);
	return strstr(text, line);
}

int freezer_freeze(pid_t pid)
{
	char text[16];
	int ret;

	snprintf(text, sizeof(text), "%d", pid);
	ret = sysfs_write(GROUP "/cgroup.procs", text);
	ret = ret ?: sysfs_write(mounted->control, mounted->freeze);
	for (int i = 0; !ret && i < qda_patience(500); i++) {
		if (has_line(mounted->shown, mounted->frozen))
			return 0;
		usleep(10000);
	}
	return ret ?: -ETIMEDOUT;
}

int freezer_thaw(pid_t pid)
{
	return sysfs_write(mounted->control, mounted->thaw);
}

int freezer_suspend(int seconds)
{
	char text[16];
	int ret;

	snprintf(text, sizeof(text), "%d", seconds);
	ret = sysfs_write(PM_TEST, "freezer");
	if (ret)
		return ret;
	ret = sysfs_write("/sys/module/suspend/parameters/pm_test_delay", text);
	ret = ret ?: sysfs_write("/sys/power/state", "freeze");
	return sysfs_write(PM_TEST, "none") ?: ret;
}
