# SPDX-License-Identifier: GPL-2.0
#
# Common ground of the scripts: paths, messages, and how the kernel's make is
# called. To be sourced by bash scripts that have set -eu.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
qda=$top/tools/qda
scripts=$qda/scripts
build=${BUILD:-$top/build}
mkdir -p "$build"
build=$(cd "$build" && pwd)
stamps=$build/stamps
logs=$build/logs

# The kernel: the source with our files in it, and one output directory for
# each configuration.
src=$build/linux
jobs=${JOBS:-$(nproc)}

# The toolchain that the kernel is built with. A compiler of rustup that comes
# first in PATH has no source of the core library that matches, therefore the
# distribution's is named in full.
llvm=${LLVM_VERSION:-19}
rust_bin=${RUST_BIN:-/usr/bin}
rust_min=1.85
rust_tested=1.96
bindgen_version=0.72.1
bindgen=$build/tools/bin/bindgen
cross=aarch64-linux-gnu-
cross32=arm-linux-gnueabihf-

export CARGO_TARGET_DIR=$build/cargo

say() { printf '%s\n' "$*"; }
warn() { printf 'warning: %s\n' "$*" >&2; }

# Ends the script with a message: the first line says what went wrong, the
# others what to do about it.
die() {
	printf 'error: %s\n' "$1" >&2
	shift
	[ $# -eq 0 ] || printf '       %s\n' "$@" >&2
	exit 1
}

# kout <config>: the output directory of a kernel configuration.
kout() { printf '%s/kernel-%s\n' "$build" "$1"; }

# kmake <output directory> <arguments...>: make in the kernel's tree.
#
# PATH is cut down to the system's directories, so that no other compiler or
# wrapper gets in; variables of an outer make are not passed on.
kmake() {
	local out=$1
	shift
	env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS -u KCONFIG_CONFIG \
		PATH=/usr/sbin:/usr/bin:/sbin:/bin \
		LIBCLANG_PATH="/usr/lib/llvm-$llvm/lib" \
		make -C "$src" O="$out" ARCH=arm64 LLVM="-$llvm" \
		RUSTC="$rust_bin/rustc" RUSTDOC="$rust_bin/rustdoc" \
		RUSTFMT="$rust_bin/rustfmt" \
		CLIPPY_DRIVER="$rust_bin/clippy-driver" \
		BINDGEN="$bindgen" "$@"
}

# progress <label> <log> <expected steps> <command...>: runs a long command with
# its output in a log, and shows how far it is. What counts is the lines that it
# prints; expected is how many there were when they were last counted, 0 if that is
# not known. On a terminal the counter moves on one line, elsewhere a line is
# printed every 20 seconds. When the command fails, the errors in its log and the
# log's end are printed. Nothing is needed for it that Debian's minimum lacks.
progress() {
	local label=$1 log=$2 expected=$3 began=$SECONDS status=0 meter word=done
	shift 3
	: >"$log"
	show_progress &
	meter=$!
	"$@" >"$log" 2>&1 || status=$?
	kill "$meter" 2>/dev/null || true
	wait "$meter" 2>/dev/null || true
	[ "$status" -eq 0 ] || word="failed (status $status)"
	show_line "$label: $word, $(clock $((SECONDS - began)))"
	[ ! -t 1 ] || echo
	[ "$status" -ne 0 ] || return 0
	{
		head -n -25 "$log" | grep -iE 'error|\*\*\*' | head -n 25
		tail -n 25 "$log"
	} | sed 's/^/  /' >&2
	die "$label failed; the whole output is in $log"
}

clock() { printf '%d:%02d' $(($1 / 60)) $(($1 % 60)); }

# show_line <text>: in place of the last one on a terminal.
show_line() {
	if [ -t 1 ]; then
		printf '\r%s\033[K' "$1"
	else
		printf '%s\n' "$1"
	fi
}

# show_progress: the meter of progress, until it is killed or the script is gone.
show_progress() {
	local pause=20 count text
	[ ! -t 1 ] || pause=0.5
	# A sleep that is left over must not keep a pipe open.
	while sleep $pause </dev/null >/dev/null 2>&1 && kill -0 $$ 2>/dev/null; do
		count=$(wc -l <"$log")
		text=
		if [ "$expected" -gt 0 ]; then
			[ "$count" -le "$expected" ] || count=$expected
			text=" $count of about $expected steps,"
		elif [ "$count" -gt 0 ]; then
			text=" $count steps,"
		fi
		show_line "$label:$text $(clock $((SECONDS - began)))"
	done
}

# hash_of <file or directory...>: one digest of the content.
hash_of() {
	find "$@" -type f -print0 2>/dev/null | sort -z |
		xargs -0 -r sha256sum | sha256sum | cut -d' ' -f1
}

# version_ge <a> <b>: whether version a is b or later.
version_ge() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n1)" = "$2" ]; }

# The steps of a run of make, for the table at its end: see harness/src/steps.rs.
step_list=$build/steps

# cpu_ticks: the CPU time of this script and of what it has run, in 1/100 s.
cpu_ticks() {
	local stat
	read -r stat </proc/$$/stat
	# shellcheck disable=SC2206 # words
	stat=(${stat##*) })
	printf '%s\n' $((stat[11] + stat[12] + stat[13] + stat[14]))
}

# microseconds: since the epoch; the clock's radix is the locale's.
microseconds() { printf '%s\n' "${EPOCHREALTIME/[.,]/}"; }

# timed <name>: makes what the script does from here on a step.
timed() {
	step=$1
	step_began=$(microseconds)
	step_ticks=$(cpu_ticks)
	trap record_step EXIT
}

record_step() {
	local tenths=$((($(microseconds) - step_began) / 100000))
	local cpu=$((($(cpu_ticks) - step_ticks) / 10))
	printf '%s\t%d.%d\t%d.%d\n' "$step" $((tenths / 10)) $((tenths % 10)) \
		$((cpu / 10)) $((cpu % 10)) >>"$step_list"
}

mkdir -p "$stamps" "$logs"
