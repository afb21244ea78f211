/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What /dev/qda_floor does; see qda_floor.c.
 */
#ifndef QDA_FLOOR_H
#define QDA_FLOOR_H

#include <linux/ioctl.h>
#include <linux/types.h>

/** define QDA_FLOOR_CALL - send 40 bytes, wait for the 16 that answer them. */
#define QDA_FLOOR_CALL		_IO('F', 0x40)

/**
 * define QDA_FLOOR_IDLE - microseconds that all CPUs have been idle
 *
 * Since the first time that it is asked.
 */
#define QDA_FLOOR_IDLE		_IOR('F', 0x41, __u64)

/**
 * struct qda_floor_count - what has happened so far
 * @instructions: that the CPU has executed, modulo 2^32
 * @ticks: of the kernel's clock, modulo 2^32
 */
struct qda_floor_count {
	__u32 instructions;
	__u32 ticks;
};

/**
 * define QDA_FLOOR_COUNT - read &struct qda_floor_count
 *
 * EOPNOTSUPP if the CPU does not count: QEMU's do under -icount only.
 */
#define QDA_FLOOR_COUNT		_IOR('F', 0x42, struct qda_floor_count)

/**
 * define QDA_FLOOR_ALLOC - allocate so many bytes, zeroed, in as few pages as there are
 *
 * No page is larger than 2 MiB. EBUSY before the last are freed.
 */
#define QDA_FLOOR_ALLOC		_IOW('F', 0x43, __u64)

/** define QDA_FLOOR_FREE - free them. */
#define QDA_FLOOR_FREE		_IO('F', 0x44)

#endif /* QDA_FLOOR_H */
