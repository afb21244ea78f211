/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Processes that are frozen: by a control group, or all of them, as for a suspend.
 */
#ifndef FREEZER_H
#define FREEZER_H

#include <sys/types.h>

/** enum freezer - the two freezers that control groups have */
enum freezer {
	/** @FREEZER_UNIFIED: of the unified hierarchy, which has a state of its own. */
	FREEZER_UNIFIED,
	/** @FREEZER_OWN: with a hierarchy of its own, which freezes as suspend does. */
	FREEZER_OWN,
};

/**
 * freezer_mount() - get ready to freeze processes
 *
 * Return: 0, or -errno where the kernel has no such freezer.
 */
int freezer_mount(enum freezer freezer);

/** freezer_umount() - finish; all processes that were frozen are gone. Return: 0 or -errno. */
int freezer_umount(void);

/**
 * freezer_freeze() - freeze a process with all its threads
 *
 * Return: 0 when they are frozen, -ETIMEDOUT when that takes too long, or another -errno.
 */
int freezer_freeze(pid_t pid);

/** freezer_thaw() - let it run again. Return: 0 or -errno. */
int freezer_thaw(pid_t pid);

/**
 * freezer_suspend() - freeze all processes, this one too, and thaw them
 * @seconds: for how long
 *
 * Return: 0 after that, or -errno, -ENOENT where the kernel can't test suspending.
 */
int freezer_suspend(int seconds);

#endif /* FREEZER_H */
