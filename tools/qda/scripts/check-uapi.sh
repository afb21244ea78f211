#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The user header alone: as C and C++, 32 and 64 bit, with the kernel's user
# headers as the only others; and every structure has the same size everywhere.
# Prints what is wrong.

set -u
. "$(dirname "$0")/lib.sh"

headers=$(kout normal)/usr/include
name=drm/qda_accel.h
header=$headers/$name
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cmp -s <(grep -c . "$header") <(grep -c . "$top/include/uapi/$name") ||
	[ -s "$header" ] || { echo "$header is missing"; exit 1; }

flags="-fsyntax-only -Wall -Wextra -Werror -nostdinc -isystem $headers"
targets="x86_64-linux-gnu i386-linux-gnu aarch64-linux-gnu arm-linux-gnueabihf"
printf '#include <%s>\n' "$name" >"$work/alone.c"
cp "$work/alone.c" "$work/alone.cc"
for target in $targets; do
	for std in gnu90 gnu99 c11 gnu17; do
		# shellcheck disable=SC2086 # a list of flags
		"clang-$llvm" --target=$target -std=$std $flags "$work/alone.c" ||
			echo "not as C ($std) for $target"
	done
	for std in c++11 c++20; do
		# shellcheck disable=SC2086
		"clang-$llvm" --target=$target -std=$std $flags -x c++ "$work/alone.cc" ||
			echo "not as C++ ($std) for $target"
	done
done

# The sizes of all structures, as the sizes of arrays in an object file.
{
	cat "$work/alone.c"
	sed -n 's/^struct \([a-z0-9_]*\) {.*/char size_of_\1[sizeof(struct \1)];/p' "$header"
} >"$work/sizes.c"
for target in $targets; do
	"clang-$llvm" --target=$target -nostdinc -isystem "$headers" -c -o "$work/$target.o" "$work/sizes.c" &&
		"llvm-nm-$llvm" -S --defined-only "$work/$target.o" |
		awk '{ print $NF, $2 }' | sed 's/ 0*/ 0x/' >"$work/$target.sizes"
	cmp -s "$work/$target.sizes" "$work/x86_64-linux-gnu.sizes" || {
		echo "structures of another size for $target:"
		diff "$work/x86_64-linux-gnu.sizes" "$work/$target.sizes"
	}
done
[ "$(wc -l <"$work/x86_64-linux-gnu.sizes")" -gt 3 ] || echo "no structures were compared"
