#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# usage: check.sh <make> <suites of the debug kernel>
#
# Runs every test, then some again on the debug kernel, and prints one table and
# one line for both. The debug kernel is built meanwhile: guests wait more than
# they work, and the suites have the CPUs first, but those that count what is done
# in short pauses wait for its end. What that build says is in a log; if it fails,
# it is made again where its errors are seen.

set -u
. "$(dirname "$0")/lib.sh"

make=${1:?usage: check.sh <make> <suites>}
suites=${2:?usage: check.sh <make> <suites>}
log=$logs/check-debug.log
ended=$logs/check-debug.ended
status=0

mkdir -p "$logs"
rm -f "$ended"
"$make" --no-print-directory test-build DEBUG=0 SUITES= || exit 1

say "the debug kernel is built meanwhile; its log is $log"
# A process group of its own, so that it can be ended as a whole.
set -m
{
	nice -n 10 "$make" --no-print-directory test-build DEBUG=1 SUITES="$suites" >"$log" 2>&1
	touch "$ended"
} &
builder=$!
set +m
trap 'kill -- -$builder 2>/dev/null' EXIT
trap 'exit 1' INT TERM

QUIET_AFTER=$ended "$make" --no-print-directory test-run PART=1 DEBUG=0 SUITES= || status=1
# It has ended, if the suites have got as far as those that wait for it.
wait "$builder"
trap - EXIT
"$make" --no-print-directory test PART=1 DEBUG=1 BRIEF=1 SUITES="$suites" || status=1
"$make" --no-print-directory total || status=1
exit $status
