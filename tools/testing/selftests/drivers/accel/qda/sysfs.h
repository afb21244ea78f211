/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Drivers that come and go by sysfs.
 */
#ifndef SYSFS_H
#define SYSFS_H

#include <stdbool.h>
#include <stddef.h>

/** sysfs_write() - write @text to a file. Return: 0 or -errno. */
int sysfs_write(const char *path, const char *text);

/**
 * sysfs_write_within() - write from another process
 * @ms: for how many milliseconds to wait
 *
 * A kernel that hangs in it doesn't take the test along.
 *
 * Return: 0, -errno, or -ETIMEDOUT.
 */
int sysfs_write_within(const char *path, const char *text, int ms);

/**
 * sysfs_find() - look for an entry of a directory
 * @dir: the directory
 * @part: what the entry's name has in it
 * @name: gets the whole name
 * @size: bytes at @name
 *
 * Return: whether there is one.
 */
bool sysfs_find(const char *dir, const char *part, char *name, size_t size);

/** sysfs_count() - how many entries a directory has, or 0. */
int sysfs_count(const char *dir);

#endif /* SYSFS_H */
