#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# usage: kernel.sh <configuration>
#
# Builds the kernel of a configuration, tools/qda/configs/<configuration>.config,
# with its modules and user headers, in build/kernel-<configuration>/. Nothing
# is done when nothing that goes into it changed.

set -eu
. "$(dirname "$0")/lib.sh"

config=${1:?usage: kernel.sh <configuration>}
out=$(kout "$config")
stamp=$stamps/kernel-$config
# How many lines a build from nothing prints, for the progress counter.
steps=2650

# fragments <configuration>: its file, after those that it names in "include"
# comments.
fragments() {
	local file=$qda/configs/$1.config name
	[ -e "$file" ] || die "no configuration $1 (there are: $(cd "$qda/configs" && echo *.config))"
	for name in $(sed -n 's/^# include //p' "$file"); do
		fragments "$name"
	done
	printf '%s\n' "$file"
}

# seed: a first build of a configuration that differs little from another one
# begins with what that one's has built, if its file says so in a "from" comment.
seed() {
	local from
	from=$(sed -n 's/^# from //p' "$qda/configs/$config.config")
	[ -n "$from" ] && [ ! -e "$out" ] && [ -e "$(kout "$from")/arch/arm64/boot/Image" ] || return 0
	say "kernel ($config): from a copy of $(kout "$from")"
	rm -rf "$out.part"
	cp -a "$(kout "$from")" "$out.part"
	rm -f "$out.part/config-digest" "$out.part/arch/arm64/boot/Image"
	mv "$out.part" "$out"
	steps=0
}

# Options that a fragment asks for and that did not come about: a dependency
# is missing, or an option has another name in this kernel.
check_config() {
	awk -F= '
		FNR == NR && /^CONFIG_/ { want[$1] = substr($0, length($1) + 2); next }
		FNR == NR { next }
		/^CONFIG_/ { have[$1] = substr($0, length($1) + 2) }
		END {
			for (o in want) {
				h = (o in have) ? have[o] : "n"
				if (h != want[o])
					printf "%s is %s, wanted %s\n", o, h, want[o]
			}
		}' "$out/fragment" "$out/.config.new" >"$out/missing"
	[ ! -s "$out/missing" ] ||
		die "the kernel's configuration does not take these options:" \
			"$(sort "$out/missing" | paste -sd';' | sed 's/;/; /g')" \
			"See the dependencies in the Kconfig files, and whether rustc and bindgen" \
			"are found ($(kmake "$out" rustavailable 2>&1 | tail -n 3 | head -n 1))."
}

configure() {
	local files digest
	mapfile -t files < <(fragments "$config")
	digest=$({
		cat "${files[@]}"
		printf '%s\n' "$toolchain" "$(cat "$stamps/source")"
		find "$top" -path "$build" -prune -o -name Kconfig -print0 | sort -z | xargs -0 cat
		cat "$top"/patches/*.patch 2>/dev/null | grep -A40 '^+++ .*Kconfig' || true
	} | sha256sum)
	if [ -e "$out/.config" ] && [ "$(cat "$out/config-digest" 2>/dev/null)" = "$digest" ]; then
		return
	fi
	# The last word on an option counts.
	awk -F= '/^CONFIG_/ { if (!($1 in v)) order[n++] = $1; v[$1] = $0 }
		END { for (i = 0; i < n; i++) print v[order[i]] }' "${files[@]}" >"$out/fragment"
	if ! kmake "$out" KCONFIG_CONFIG="$out/.config.new" KCONFIG_ALLCONFIG="$out/fragment" \
		allnoconfig >"$logs/config-$config.log" 2>&1; then
		tail -n 20 "$logs/config-$config.log" >&2
		die "the kernel's configuration failed"
	fi
	check_config
	cmp -s "$out/.config.new" "$out/.config" || mv "$out/.config.new" "$out/.config"
	rm -f "$out/.config.new"
	printf '%s\n' "$digest" >"$out/config-digest"
}

"$scripts/setup.sh"
"$scripts/source.sh"
timed "kernel ($config)"
overlay=$(python3 "$scripts/overlay.py" "$top" "$src" "$build") || exit 1
[ -e "$qda/configs/$config.config" ] && seed
mkdir -p "$out"
toolchain=$("$rust_bin/rustc" --version
	"clang-$llvm" --version | head -n 1
	"$bindgen" --version)
digest=$({
	printf '%s\n' "$overlay" "$toolchain" "$(cat "$stamps/source")"
	cat $(fragments "$config")
} | sha256sum)
if [ -e "$out/arch/arm64/boot/Image" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$digest" ]; then
	say "kernel ($config): up to date"
	exit 0
fi

rm -f "$stamp"
[ ! -e "$out/arch/arm64/boot/Image" ] || steps=0
configure
progress "kernel ($config)" "$logs/kernel-$config.log" $steps \
	bash -c '. "$1/lib.sh"; kmake "$2" -j"$jobs" Image modules headers' \
	kernel "$scripts" "$out"
printf '%s\n' "$digest" >"$stamp"
say "kernel ($config): $out/arch/arm64/boot/Image, Linux $(cat "$out/include/config/kernel.release")"
