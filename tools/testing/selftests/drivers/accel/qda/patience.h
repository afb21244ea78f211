/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How long tests wait.
 */
#ifndef PATIENCE_H
#define PATIENCE_H

#include <stdlib.h>

/**
 * qda_patience() - how long to wait for what takes @time at most on an ordinary kernel
 *
 * QDA_SLOWER in the environment says how much longer it may take on this one, e.g. with KASAN.
 */
static inline int qda_patience(int time)
{
	const char *slower = getenv("QDA_SLOWER");

	return slower ? time * atoi(slower) : time;
}

#endif /* PATIENCE_H */
