#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Everything that can be said about the sources without running them. Prints
# "lint: clean", or what is wrong; the details are in the build directory's
# logs. Run after kernel.sh normal.

set -u
. "$(dirname "$0")/lib.sh"

log=$logs/lint
rm -rf "$log"
mkdir -p "$log"
failed=()

# lint <name> <command...>: one check. It fails when the command does, or when
# it prints anything.
lint() {
	local name=$1 started=$SECONDS
	shift
	if "$@" >"$log/$name.log" 2>&1 && [ ! -s "$log/$name.log" ]; then
		printf '  ok %s (%d s)\n' "$name" $((SECONDS - started))
	else
		printf 'FAIL %s (%d s), %s\n' "$name" $((SECONDS - started)) "$log/$name.log"
		tail -n 30 "$log/$name.log" | sed 's/^/     /'
		failed+=("$name")
	fi
}

cd "$top" || exit 1
mapfile -t kernel_rust < <(find drivers rust samples -name '*.rs' | sort)
kernel_paths=(Documentation drivers include rust samples tools/testing)

rustfmt_kernel() {
	"$rust_bin/rustfmt" --check --edition 2021 --config-path "$src/.rustfmt.toml" \
		"${kernel_rust[@]}"
	# What patches/ changes, as it stands in the kernel's tree.
	local path
	python3 "$scripts/patched.py" .rs | while read -r path; do
		"$rust_bin/rustfmt" --check --edition 2021 --config-path "$src/.rustfmt.toml" \
			--config skip_children=true "$src/$path" 2>/dev/null ||
			echo "rustfmt: $path"
	done
}

rustfmt_host() { cargo fmt --all --check --manifest-path "$qda/Cargo.toml"; }

# Only what is wrong is printed; cargo's progress goes elsewhere.
quietly() {
	local out=$1
	shift
	env -u MAKEFLAGS -u MAKELEVEL "$@" >"$out" 2>&1 || tail -n 60 "$out"
}

clippy_host() {
	cargo clippy --version >/dev/null 2>&1 || {
		echo "cargo has no clippy: rustup component add clippy, or Debian's rust-web-clippy"
		return
	}
	quietly "$log/clippy-host.out" cargo clippy --locked --workspace --all-targets \
		--manifest-path "$qda/Cargo.toml" -- -D warnings
}

# The kernel's Rust with clippy and our C with W=1, in an output directory of
# its own: both change what the compiler is called with.
kernel_lint_build() {
	local out targets=() path
	out=$(kout lint)
	mkdir -p "$out"
	cmp -s "$(kout normal)/.config" "$out/.config" 2>/dev/null ||
		cp "$(kout normal)/.config" "$out/.config"
	while read -r path; do
		targets+=("${path%.c}.o")
	done < <(python3 "$scripts/patched.py" .c | grep -v '^rust/')
	# What is up to date prints no warnings: our crates are compiled anew.
	rm -f "$out"/drivers/accel/qda/*.o "$out"/rust/kernel.o "$out"/rust/helpers/helpers.o
	for path in "${targets[@]}"; do rm -f "$out/$path"; done
	kmake "$out" -j"$jobs" -k CLIPPY=1 W=1 drivers/accel/qda/ "${targets[@]}" \
		>"$log/kernel-build.out" 2>&1 || {
		grep -E -A12 'error' "$log/kernel-build.out" | head -n 60
		return 1
	}
}

# The warnings that point at a file that is ours or that we patch.
our_warnings() {
	python3 "$scripts/patched.py" --warnings "$log/kernel-build.out"
}

rustdoc_kernel() {
	local out
	out=$(kout lint)
	rm -f "$out"/rust/.rustdoc-kernel* "$out"/Documentation/output/rust/rustdoc/kernel/index.html
	kmake "$out" -j"$jobs" rustdoc >"$log/rustdoc.out" 2>&1 || tail -n 40 "$log/rustdoc.out"
	python3 "$scripts/patched.py" --warnings "$log/rustdoc.out"
}

# The driver is no part of the kernel's rustdoc target: its compiler's command
# line, with rustdoc in the compiler's place.
rustdoc_driver() {
	python3 "$scripts/rustdoc-driver.py" "$(kout lint)" "$src" "$rust_bin/rustdoc" \
		>"$log/rustdoc-driver.out" 2>&1 || tail -n 60 "$log/rustdoc-driver.out"
	python3 "$scripts/patched.py" --warnings "$log/rustdoc-driver.out"
}

# What checkpatch is not asked for and why:
#   FILE_PATH_CHANGES     the series adds MAINTAINERS at its end, for all
#   CAMELCASE             structures of elf.h, in the tests
#   CONFIG_DESCRIPTION    hidden options
#   EMBEDDED_FILENAME     names of test programs in their own usage lines
#   MISSING_SIGN_OFF      the series has one where git knows who makes it
# The repository's own commits are about more than the kernel, therefore also:
#   COMMIT_MESSAGE, COMMIT_LOG_LONG_LINE, GIT_COMMIT_ID
ignored=FILE_PATH_CHANGES,CAMELCASE,CONFIG_DESCRIPTION,EMBEDDED_FILENAME,MISSING_SIGN_OFF
ignored_here=$ignored,COMMIT_MESSAGE,COMMIT_LOG_LONG_LINE,GIT_COMMIT_ID

# checkpatch <ignored types> <arguments...>
checkpatch() {
	local types=$1
	shift
	perl "$src/scripts/checkpatch.pl" --no-tree --strict --quiet --terse --show-types \
		--no-summary --max-line-length=100 --ignore "$types" "$@"
	# It keeps a cache where it runs.
	rm -f .checkpatch-camelcase.*
}

# Every commit of the series for the kernel: all our files, all of patches/.
checkpatch_series() {
	local patch
	python3 "$scripts/series.py" "$top" "$build" >/dev/null || return 1
	for patch in "$build"/series/*.patch; do
		checkpatch "$ignored" "$patch" | sed "s|^$build/||"
	done
}

# Of checkpatch's complaints about a patch, those that the sources still deserve: a
# later commit may have mended them.
not_mended() {
	local patch=$1 complaint kind line files
	while read -r complaint; do
		kind=$(cut -d: -f4 <<<"$complaint")
		line=$(sed -n "$(cut -d: -f2 <<<"$complaint")s/^[+]//p" "$patch")
		if [ -n "${line//[[:space:]]/}" ]; then
			mapfile -t files < <(grep -rlxF -e "$line" "${kernel_paths[@]}")
			[ ${#files[@]} -gt 0 ] || continue
			checkpatch "$ignored_here" -f "${files[@]}" | grep -qF ":$kind:" ||
				continue
		fi
		printf '%s\n' "$complaint"
	done
}

# The kernel files of each of the repository's commits.
checkpatch_commits() {
	local commit
	git rev-parse -q --verify HEAD >/dev/null || return 0
	git rev-list --no-merges --reverse HEAD -- "${kernel_paths[@]}" |
		while read -r commit; do
			git format-patch -1 --stdout "$commit" -- "${kernel_paths[@]}" \
				>"$log/commit.patch"
			checkpatch "$ignored_here" "$log/commit.patch" |
				not_mended "$log/commit.patch" |
				sed "s|^.*commit.patch|$(git log -1 --format=%h "$commit")|"
		done
}

# The examples, the tables of contents, and what Sphinx says of the pages.
documentation() {
	local out
	python3 "$scripts/doc-examples.py" Documentation/accel/qda "$qda/guest-tests" \
		drivers/accel/qda "$(kout normal)/.config" || return 1
	[ -x /usr/bin/sphinx-build ] || {
		echo "Sphinx is not there: Debian's python3-sphinx"
		return
	}
	out=$(kout docs)
	rm -rf "$out"
	mkdir -p "$out"
	kmake "$out" htmldocs SPHINXDIRS=accel/qda RUSTDOC= >"$log/htmldocs.out" 2>&1 || {
		tail -n 40 "$log/htmldocs.out"
		return 1
	}
	grep -E 'WARNING|ERROR' "$log/htmldocs.out" | grep -v 'dot(1) not found' || true
}

# Whether the measurements that are published are of this tree. No failure: not
# each change needs a benchmark.
measurements() {
	local digest
	digest=$(bash "$scripts/tree-digest.sh")
	grep -qF "$digest" Documentation/accel/qda/measurements.rst ||
		echo "     warning: measurements.rst is not of this tree, $digest: make bench bench-docs"
}

uapi_header() { bash "$scripts/check-uapi.sh"; }

bindings() { grep -rn 'bindings::' drivers/accel/qda --include='*.rs' || true; }

# The root Kconfig and MAINTAINERS know all that we add.
lists_complete() {
	local path
	find "${kernel_paths[@]}" -name Kconfig | while read -r path; do
		grep -qF "source \"$path\"" Kconfig || echo "Kconfig does not source $path"
	done
	python3 "$scripts/patched.py" --new | while read -r path; do
		sed -n 's/^F:\t//p' MAINTAINERS | while read -r listed; do
			case $path in "$listed"*) echo covered ;; esac
		done | grep -q covered || echo "MAINTAINERS does not list $path"
	done
}

scripts_parse() {
	local file
	for file in "$scripts"/*.sh .ci/run; do bash -n "$file"; done
	for file in "$qda"/guest/init "$qda"/guest/suites/*; do sh -n "$file"; done
	for file in "$scripts"/*.py; do
		python3 -c 'import ast, sys; ast.parse(open(sys.argv[1]).read(), sys.argv[1])' "$file"
	done
}

lint rustfmt-kernel rustfmt_kernel
lint rustfmt-host rustfmt_host
lint unsafe-has-safety python3 "$scripts/check-unsafe.py" "$top"
lint no-bindings-in-driver bindings
lint checkpatch-series checkpatch_series
lint checkpatch-commits checkpatch_commits
lint uapi-header uapi_header
lint documentation documentation
measurements
lint lists-complete lists_complete
lint scripts scripts_parse
lint clippy-host clippy_host
lint kernel-build kernel_lint_build
lint clippy-and-W1 our_warnings
lint rustdoc-kernel rustdoc_kernel
lint rustdoc-driver rustdoc_driver

if [ ${#failed[@]} -eq 0 ]; then
	say "lint: clean"
else
	say "lint: ${#failed[@]} of the checks failed: ${failed[*]}"
	exit 1
fi
