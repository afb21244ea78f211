/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Failing allocations and copies of user memory, one after the other.
 */
#ifndef FAULTS_H
#define FAULTS_H

#include <stdbool.h>

/** struct fault_state - what the steps of an operation share; each test program has its own */
struct fault_state;

/**
 * struct fault_op - an operation of which every allocation and every copy is to fail
 * @name: its name
 * @prepare: brings about what a pass needs. Return: 0 or -errno. May be NULL.
 * @call: the operation. Return: 0 or -errno.
 * @undo: takes back a @call that succeeded. May be NULL.
 * @check: looks at what a pass has left. Return: 0, or -errno if that is wrong. May be NULL.
 * @settle: takes back @prepare, whatever @call came to. May be NULL.
 * @once: whether a @call that has failed is made again only by the next pass; for what is
 *        costly to prepare
 * @none: whether there may be nothing to fail
 * @done: what another @call returns after one that did its work and could not tell the result,
 *        and said -EFAULT therefore; 0 where another one works.
 */
struct fault_op {
	const char *name;
	int (*prepare)(struct fault_state *state);
	int (*call)(struct fault_state *state);
	void (*undo)(struct fault_state *state);
	int (*check)(struct fault_state *state);
	void (*settle)(struct fault_state *state);
	bool once;
	bool none;
	int done;
};

/**
 * FAULT_OP() - an operation, and a variant of the fixture "faultinject" with it as its "op"
 * @_name: name of both
 *
 * What follows are the other members of the structure.
 */
#define FAULT_OP(_name, ...) \
	static const struct fault_op op_##_name = { .name = #_name, __VA_ARGS__ }; \
	FIXTURE_VARIANT_ADD(faultinject, _name) { .op = &op_##_name }

/**
 * faults_begin() - have a thread's faults work, and quietly
 *
 * Return: NULL, or why they can't be.
 */
const char *faults_begin(void);

/**
 * faults_try() - have @op fail at its first allocation or copy, then at its second, and so on
 * @op: the operation
 * @state: passed to its steps
 *
 * The last pass is the one that has none left to fail; it must succeed. A failure must be -ENOMEM
 * or -EFAULT, and the same operation work after it.
 *
 * Return: whether all went well; if not, it is printed what did not.
 */
bool faults_try(const struct fault_op *op, struct fault_state *state);

#endif /* FAULTS_H */
