#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Sees to it that everything the other targets need is on the machine: Debian
# packages, cargo, bindgen, disk and memory. Installs what is missing when it
# may, else says what is missing and how to get it. Prints nothing when all is
# there.

set -eu
. "$(dirname "$0")/lib.sh"
timed setup

# What it takes, measured on Debian 12: packages 2.5 GiB, make check 5.5.
need_disk_gib=9
need_mem_mib=3500

# What the host's crates ask for; the kernel is content with $rust_min.
cargo_min=1.88

# package:what it is for
packages="
gcc:linker and host programs
libc6-dev:headers of the host
make:the build
git:make lint, make series
patch:patches/
bc:kernel build
bison:kernel build
flex:kernel build
libelf-dev:kernel build
libssl-dev:kernel build
kmod:kernel modules
cpio:the guest's file system
rsync:kernel headers
xz-utils:the kernel's source
perl:checkpatch, kernel build
python3:scripts
clang-$llvm:kernel compiler
lld-$llvm:kernel linker
llvm-$llvm:kernel binary tools
libclang-$llvm-dev:bindgen
rustc-web:Rust compiler for the kernel
rust-web-src:the core library's source
rustfmt-web:make lint
rust-web-clippy:make lint
python3-sphinx:make lint
python3-yaml:make lint
qemu-system-arm:the machine that the guest runs in
device-tree-compiler:the machine's device tree
gcc-aarch64-linux-gnu:test programs of the guest
libc6-dev-arm64-cross:test programs of the guest
gcc-arm-linux-gnueabihf:32-bit test programs of the guest
libc6-dev-armhf-cross:32-bit test programs of the guest
ca-certificates:fetching over https
debian-archive-keyring:verifying what is fetched
"

installed() {
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

cargo_ok() {
	command -v cargo >/dev/null &&
		version_ge "$(cargo --version 2>/dev/null | cut -d' ' -f2)" "$cargo_min"
}

missing_packages() {
	local line name
	while IFS= read -r line; do
		name=${line%%:*}
		[ -z "$name" ] || installed "$name" || printf '%s\n' "$name"
	done <<<"$packages"
	cargo_ok || printf 'cargo-web\n'
}

# Where there is no dpkg: look for the programs themselves.
check_elsewhere() {
	local missing=() program
	for program in gcc make git patch bc bison flex kmod cpio rsync xz perl \
		python3 "clang-$llvm" "ld.lld-$llvm" "llvm-objcopy-$llvm" \
		"$rust_bin/rustc" "$rust_bin/rustfmt" \
		"$rust_bin/clippy-driver" qemu-system-aarch64 dtc \
		"${cross}gcc" "${cross32}gcc" cargo; do
		command -v "$program" >/dev/null || missing+=("$program")
	done
	[ ${#missing[@]} -eq 0 ] ||
		die "this is not a Debian system, and these programs are missing: ${missing[*]}" \
			"Install them by your system's means (Debian's names of all the packages:" \
			"$(sed 's/:.*//' <<<"$packages" | xargs) cargo)." \
			"LLVM_VERSION=, RUST_BIN= name another LLVM version and another directory of rustc."
}

install_packages() {
	local missing=("$@") gone=() name
	if [ "$(id -u)" != 0 ]; then
		die "these Debian packages are missing: ${missing[*]}" \
			"Install them as root, then run make again:" \
			"  apt-get update && apt-get install --no-install-recommends ${missing[*]}"
	fi
	export DEBIAN_FRONTEND=noninteractive
	progress "package lists" "$logs/apt-update.log" 0 apt-get update
	for name in "${missing[@]}"; do
		if ! apt-cache policy "$name" | grep -q 'Candidate: [^(]'; then
			gone+=("$name ($(sed -n "s/^$name://p" <<<"$packages"))")
		fi
	done
	[ ${#gone[@]} -eq 0 ] ||
		die "the archives that this machine is set up for do not have: ${gone[*]}" \
			"Debian 12 and 13 have them in main and in their security archive; see that both are" \
			"in /etc/apt/sources.list or /etc/apt/sources.list.d. If a package has been dropped" \
			"or renamed since, install what replaces it; LLVM_VERSION= and RUST_BIN= name another" \
			"LLVM version and another directory of rustc."
	progress "installing ${#missing[@]} packages" "$logs/apt-install.log" 0 \
		apt-get install -y --no-install-recommends "${missing[@]}"
}

check_rustc() {
	local have
	have=$("$rust_bin/rustc" --version | cut -d' ' -f2)
	version_ge "$have" "$rust_min" ||
		die "$rust_bin/rustc is version $have; Linux 7.3 needs $rust_min or later" \
			"Name the directory of another one with RUST_BIN=; its core library's source must be there."
	version_ge "$rust_tested.999" "$have" ||
		warn "$rust_bin/rustc is version $have; the last version tried here is $rust_tested"
	[ -e "$("$rust_bin/rustc" --print sysroot)/lib/rustlib/src/rust/library/core/src/lib.rs" ] ||
		die "the core library's source of $rust_bin/rustc is missing" \
			"On Debian it is in the package rust-web-src, elsewhere in rust-src."
}

install_bindgen() {
	if [ "$("$bindgen" --version 2>/dev/null)" = "bindgen $bindgen_version" ]; then
		return
	fi
	cargo_ok || die "cargo $cargo_min or later is missing" \
		"Debian has it in the package cargo-web; rustup's does as well."
	progress "building bindgen $bindgen_version" "$logs/bindgen.log" 110 \
		env -u MAKEFLAGS -u MAKELEVEL cargo install --locked --root "$build/tools" \
		--target-dir "$build/tools/target" "bindgen-cli@$bindgen_version"
	rm -rf "$build/tools/target"
}

check_room() {
	local free_gib mem_mib
	# What an earlier run has already taken counts as free.
	free_gib=$(($(df --output=avail -k "$build" | tail -n1) / 1048576))
	if [ ! -e "$stamps/room" ]; then
		[ "$free_gib" -ge "$need_disk_gib" ] ||
			die "$build has $free_gib GiB free; $need_disk_gib GiB are needed" \
				"BUILD=<directory> puts the output elsewhere."
		touch "$stamps/room"
	fi
	mem_mib=$(($(awk '/^MemTotal/ { print $2 }' /proc/meminfo) / 1024))
	[ "$mem_mib" -ge "$need_mem_mib" ] ||
		warn "the machine has $mem_mib MiB of memory; $need_mem_mib MiB are what the build was measured to need with 2 jobs"
}

check_room
if command -v dpkg-query >/dev/null && command -v apt-get >/dev/null; then
	missing=$(missing_packages)
	# shellcheck disable=SC2086 # a list of names
	[ -z "$missing" ] || install_packages $missing
else
	check_elsewhere
fi
check_rustc
install_bindgen
