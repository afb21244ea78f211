#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Prints a short digest of what of this repository is compiled into the kernel:
# what a measurement is of. Lines of Rust that are comments do not count, nor do
# KUnit tests, which the kernel of the benchmark has not.

set -eu
cd "$(dirname "$0")/../../.."
export LC_ALL=C
find drivers include rust patches -type f -print0 | sort -z |
	while IFS= read -r -d '' file; do
		printf '%s\n' "$file"
		case $file in
		*.rs) sed -E '/^[[:space:]]*\/\//d; /^#\[macros::kunit_tests/,/^\}/d' "$file" ;;
		*) cat "$file" ;;
		esac
	done | sha256sum | cut -c1-16
