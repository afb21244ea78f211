#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Writes the git series for the kernel to build/series/. With CHECK=1 the tree
# is also built at each commit: without Rust, with Rust, and, once the driver
# is there, with the driver as a module and built in. Run after kernel.sh normal.

set -eu
. "$(dirname "$0")/lib.sh"

count=$(python3 "$scripts/series.py" "$top" "$build")
say "series: $count commits in $build/series/"

if [ -z "${CHECK:-}" ]; then
	say "series: not built; CHECK=1 builds each commit"
	exit 0
fi

# The kernel's tree without our files: hard links, except where the series
# writes, which breaks them.
tree=$build/series-tree
rm -rf "$tree"
cp -al "$src" "$tree"
python3 - "$build" "$tree" <<'PY'
import json, pathlib, shutil, sys
build, tree = (pathlib.Path(arg) for arg in sys.argv[1:])
for path, how in json.loads((build / "overlay.json").read_text()).items():
    (tree / path).unlink(missing_ok=True)
    if how == "changed":
        shutil.copy2(build / "pristine" / path, tree / path)
PY
cp -al "$tree" "$tree.pristine"
src=$tree
export src

# make_config <directory> <script of changes...>: the tests' configuration with
# options changed, as far as this commit has them.
make_config() {
	local out=$1 change
	shift
	mkdir -p "$out"
	cp "$(kout normal)/fragment" "$out/fragment"
	for change in "$@"; do
		sed -i "/^${change%%=*}=/d" "$out/fragment"
		printf '%s\n' "$change" >>"$out/fragment"
	done
	kmake "$out" -s KCONFIG_ALLCONFIG="$out/fragment" allnoconfig >/dev/null
}

# build_in <label> <directory> <targets...>
build_in() {
	local label=$1 out=$2
	shift 2
	progress "$label" "$logs/series.log" 0 bash -c \
		'. "$1/lib.sh"; src=$2; out=$3; shift 3; kmake "$out" -j"$jobs" "$@"' \
		series "$scripts" "$tree" "$out" "$@"
}

targets="drivers/accel/ drivers/rpmsg/ drivers/iommu/ drivers/gpu/drm/"
for number in $(seq 1 "$count"); do
	rm -rf "$tree"
	cp -al "$tree.pristine" "$tree"
	python3 "$scripts/series.py" "$top" "$build" --into "$tree" --upto "$number" >/dev/null
	# Links keep the time of the originals, files of the series are new: make
	# sees what changed by the time, also where a file got its older state back.
	label="commit $number of $count"
	make_config "$(kout series-c)" CONFIG_RUST=n
	# shellcheck disable=SC2086 # a list
	build_in "$label, RUST=n" "$(kout series-c)" $targets
	make_config "$(kout series-m)"
	build_in "$label, RUST=y" "$(kout series-m)" drivers/accel/
	if grep -q '^CONFIG_DRM_ACCEL_QDA=m' "$(kout series-m)/.config"; then
		make_config "$(kout series-y)" CONFIG_DRM_ACCEL_QDA=y
		grep -q '^CONFIG_DRM_ACCEL_QDA=y' "$(kout series-y)/.config" ||
			die "$label: the driver can't be built in"
		build_in "$label, driver built in" "$(kout series-y)" drivers/accel/
	fi
done
rm -rf "$tree" "$tree.pristine"
say "series: every commit builds"
