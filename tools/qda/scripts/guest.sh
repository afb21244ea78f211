#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# usage: guest.sh <configuration>
#
# Makes the guest's file system, build/guest-<configuration>.cpio: busybox,
# the kernel's modules and those for the simulator, the test programs, the
# sample, Debian's programs that use a DSP, and udev for our rules, with their
# libraries. Run after kernel.sh.
#
# The test programs are the same on all kernels: they are built once, in
# build/guest-programs/.

set -eu
. "$(dirname "$0")/lib.sh"
. "$scripts/apt-root.sh"

config=${1:?usage: guest.sh <configuration>}
timed "guest ($config)"
out=$(kout "$config")
image=$build/guest-$config.cpio
work=$build/guest-$config
root=$work/root
stamp=$stamps/guest-$config
programs=$build/guest-programs
programs_stamp=$stamps/guest-programs

downloads=$build/downloads
busybox=$downloads/busybox
udev=$downloads/udev
busybox_suites="trixie bookworm sid"
udev_suites="trixie forky sid"

# The kernels whose guests have programs of Debian's.
case $config in
normal | debug) foreign=y ;;
*) foreign= ;;
esac

# Programs that use a DSP, each with the packages that it takes, and the
# releases that may have them. They run with the newest libc.
clients="libc6 hexagonrpcd fastrpc"
libc6_packages="libc6"
libc6_suites="sid forky trixie"
hexagonrpcd_packages="hexagonrpcd ^libhexagonrpc[0-9.]+$"
hexagonrpcd_suites="sid forky trixie"
fastrpc_packages="fastrpc-support libfastrpc1 libfastrpc-dev libbsd0 libmd0 libyaml-0-2"
fastrpc_suites="sid forky trixie-backports,trixie"

# Selftests that 32-bit programs are made of as well: all ioctls are in them.
selftests32="qda_basic qda_session qda_invoke qda_call qda_map qda_gem qda_bad_input fastrpc_nodes"

# fetch_deb <suites> <directory> <packages...>: downloads arm64 packages of the
# first release that has them, and unpacks them there.
fetch_deb() {
	local suites=$1 dir=$2 suite deb
	shift 2
	command -v apt-get >/dev/null || return 1
	for suite in $suites; do
		apt_open "$suite" arm64 main contrib || continue
		rm -rf "$dir" "$dir.deb"
		apt_fetch "$suite" "$dir.deb" "$@" || continue
		mkdir -p "$dir"
		for deb in "$dir.deb"/*.deb; do
			dpkg-deb -x "$deb" "$dir"
			dpkg-deb -f "$deb" Package Version | paste -sd' ' |
				sed 's/Package: //; s/Version: //' >>"$dir/versions"
		done
		rm -rf "$dir.deb"
		return 0
	done
	return 1
}

get_busybox() {
	[ -e "$busybox/versions" ] && return
	say "fetching busybox for the guest"
	fetch_deb "$busybox_suites" "$busybox" busybox-static ||
		die "no arm64 package of busybox-static to be had in Debian ($busybox_suites)" \
			"Put a static arm64 busybox at $busybox/busybox and its version into $busybox/versions."
}

# get_client <name>: what can't be had leaves a message, with which the tests of
# that program fail; the driver's own need none of them.
get_client() {
	local name=$1 dir=$downloads/$1 packages=$1_packages suites=$1_suites
	[ -e "$dir/versions" ] && return
	say "fetching $name for the guest"
	rm -f "$dir.missing"
	# shellcheck disable=SC2086 # several packages
	fetch_deb "${!suites}" "$dir" ${!packages} && return
	rm -rf "$dir"
	{
		echo "no arm64 packages of $name to be had in Debian (${!suites}): ${!packages}"
		echo "Unpack them into build/downloads/$name, and put a line with name and version of"
		echo "each into build/downloads/$name/versions."
	} >"$dir.missing"
	sed 's/^/warning: /' "$dir.missing" >&2
}

client_versions() {
	local name
	for name in $clients; do
		cat "$downloads/$name/versions" 2>/dev/null || true
	done
}

get_udev() {
	[ -e "$udev/versions" ] && return
	say "fetching udev for the guest"
	fetch_deb "$udev_suites" "$udev" udev libsystemd-shared libacl1 libaudit1 libblkid1 \
		libcap2 libcap-ng0 libcrypt1 libmount1 libpam0g libpcre2-8-0 libseccomp2 \
		libselinux1 libssl3t64 libzstd1 zlib1g ||
		die "no arm64 package of udev to be had in Debian ($udev_suites)" \
			"Unpack udev of a Debian release and its libraries, except libc6, into $udev" \
			"and put their names and versions into $udev/versions."
}

# The programs that the project brings, static, against the kernel's own
# headers.
compile_programs() {
	local cc=${cross}gcc
	local headers=$out/usr/include
	# The cross compiler's own kernel headers are older: ours come first.
	local flags="-static -O2 -g -Wall -Wextra -Werror"
	local tests=$programs/tests examples=$programs/examples
	rm -rf "$examples"
	mkdir -p "$programs/bin" "$tests" "$examples"
	# `set -e` does not hold in a function whose result is looked at.
	$cc $flags -isystem "$headers" -o "$programs/bin/qda-run" "$qda/guest/qda-run.c" || return
	python3 "$scripts/doc-examples.py" "$top/Documentation/accel/qda" \
		"$qda/guest-tests" "$top/drivers/accel/qda" "$qda/configs/base.config" \
		"$examples" || return
	make -s -j"$jobs" -C "$src/tools/testing/selftests/drivers/accel/qda" \
		ARCH=arm64 CROSS_COMPILE=$cross LLVM= CC="$cc" LDFLAGS=-static \
		KHDR_INCLUDES="-isystem $headers" top_srcdir="$src" OUTPUT="$tests" all || return
	local fastrpc=
	if [ -e "$downloads/fastrpc/versions" ]; then
		fastrpc=$downloads/fastrpc/usr
	fi
	make -s -j"$jobs" -C "$qda/guest-tests" CC="$cc" LDFLAGS=-static FASTRPC="$fastrpc" \
		EXAMPLES="$examples" \
		KHDR_INCLUDES="-isystem $headers" OUTPUT="$tests" all || return
	make -s -j"$jobs" -C "$qda/bench" CC="$cc" LDFLAGS=-static \
		KHDR_INCLUDES="-isystem $headers" OUTPUT="$tests" all || return
	local sample
	for sample in qda_calculator qda_in_flight; do
		$cc $flags -isystem "$headers" -o "$tests/$sample" \
			"$top/samples/accel/qda/$sample.c" || return
	done
	compile32
}

# Tests as 32-bit programs. Of the kernel's headers only those of the processor
# are not for them; the cross compiler's are.
compile32() {
	local cc="${cross32}gcc -D_FILE_OFFSET_BITS=64 -D_TIME_BITS=64"
	local headers=$programs/headers32 tests=$programs/tests32 directory
	rm -rf "$headers"
	mkdir -p "$headers" "$tests"
	for directory in "$out"/usr/include/*; do
		[ "${directory##*/}" = asm ] || ln -s "$directory" "$headers/"
	done
	make -s -j"$jobs" -C "$src/tools/testing/selftests/drivers/accel/qda" \
		ARCH=arm CROSS_COMPILE=$cross32 LLVM= CC="$cc" LDFLAGS=-static \
		KHDR_INCLUDES="-isystem $headers -Wno-pointer-to-int-cast" top_srcdir="$src" \
		OUTPUT="$tests" $(printf "$tests/%s " $selftests32) || return
	make -s -C "$qda/guest-tests" CC="$cc" LDFLAGS=-static FASTRPC= \
		KHDR_INCLUDES="-isystem $headers" OUTPUT="$tests" "$tests/reference"
}

# build_programs: unless those of the last time do. Make does not see that the
# headers have changed: with others it begins anew.
build_programs() {
	local headers digest have
	headers=$(cd "$out/usr/include" && hash_of .)
	digest=$({
		hash_of "$qda/guest/qda-run.c" "$qda/guest-tests" "$qda/bench" "$top/samples" \
			"$scripts/guest.sh" "$scripts/doc-examples.py" "$qda/configs/base.config" \
			"$top/tools/testing/selftests" "$top/Documentation/accel/qda"
		client_versions
	} | sha256sum)
	have=$(cat "$programs_stamp" 2>/dev/null) || true
	[ "$have" != "$headers $digest" ] || return 0
	rm -f "$programs_stamp"
	[ "${have%% *}" = "$headers" ] || rm -rf "$programs"
	compile_programs || return
	printf '%s\n' "$headers $digest" >"$programs_stamp"
}

# guest_modules <make arguments...>: make for the modules of guest-modules/.
# They are built from a copy: the kernel's build writes beside the sources. It is
# a new one each time, since make doesn't see that the kernel's configuration,
# and with it the layout of its structures, has changed.
guest_modules() {
	[ "$1" = modules_install ] || rm -rf "$work/modules"
	mkdir -p "$work/modules"
	rsync -a "$qda/guest-modules/" "$work/modules/"
	kmake "$out" -s M="$work/modules" "$@"
}

# add_libraries <program> <directories...>: adds the shared libraries that the
# program needs, from unpacked packages.
add_libraries() {
	local file=$1 name found
	shift
	for name in $("${cross}readelf" -d "$file" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'); do
		[ ! -e "$root/usr/lib/$name" ] || continue
		found=$(find "$@" -name "$name" | head -n 1)
		[ -n "$found" ] || die "no library $name for $file"
		cp -L "$found" "$root/usr/lib/$name"
		add_libraries "$found" "$@"
	done
}

# assemble: the tree of the guest's file system.
assemble() {
	local file
	rm -rf "$root"
	mkdir -p "$root"/{bin,dev,proc,sys,tmp,tests/32}
	find "$busybox" -type f -name busybox -perm -u+x -exec cp {} "$root/bin/" \;
	# The host can't run it and ask for its list: what the scripts use, and
	# what one wants in a shell.
	for file in sh ash mount umount mkdir cat echo ls tr sed grep awk dmesg \
		sleep modprobe insmod rmmod lsmod poweroff setsid cttyhack wc head tail cut \
		sort uniq test "[" timeout kill ps top vi less hexdump dd rm cp mv \
		ln chmod date env find free id printf seq stat tee touch true \
		false uname which xargs readlink basename dirname cmp md5sum; do
		ln -s busybox "$root/bin/$file"
	done
	cp "$qda/guest/init" "$root/init"
	chmod 755 "$root/init"
	cp -r "$qda/guest/suites" "$root/suites"
	if [ "$foreign" ]; then
		mkdir -p "$root/examples"
		find "$programs/examples" -name '*.sh' -exec cp {} "$root/examples/" \;
	fi
	cp "$programs/bin/qda-run" "$root/bin/"
	find "$programs/tests" -maxdepth 1 -type f -perm -u+x -exec cp {} "$root/tests/" \;
	if [ "$config" = normal ]; then
		find "$programs/tests32" -maxdepth 1 -type f -perm -u+x -exec cp {} "$root/tests/32/" \;
	fi
	"llvm-strip-$llvm" "$root"/tests/* "$root"/tests/32/* "$root/bin/qda-run" 2>/dev/null || true
	kmake "$out" -s INSTALL_MOD_PATH="$root" modules_install >>"$logs/guest-$config.log" 2>&1
	guest_modules modules_install INSTALL_MOD_PATH="$root" >>"$logs/guest-$config.log" 2>&1
	rm -f "$root"/lib/modules/*/{build,source}
	[ -n "$(find "$root/lib/modules" -name qda.ko)" ] ||
		grep -q '/qda\.ko$' "$root"/lib/modules/*/modules.builtin || die "$out has no qda"
	if [ "$foreign" ]; then
		add_clients
		add_udev
	fi
}

# add_clients: the programs, unchanged, with their libraries.
add_clients() {
	local name lib=usr/lib/aarch64-linux-gnu
	mkdir -p "$root/usr/lib" "$root/missing"
	for name in $clients; do
		if [ -e "$downloads/$name.missing" ]; then
			cp "$downloads/$name.missing" "$root/missing/$name"
		fi
	done
	if [ -e "$downloads/libc6/versions" ]; then
		cp -P "$downloads/libc6/$lib"/{ld-linux-aarch64.so.1,libc.so.6,libm.so.6} "$root/usr/lib/"
		ln -s /usr/lib/ld-linux-aarch64.so.1 "$root/lib/ld-linux-aarch64.so.1"
	fi
	if [ -e "$downloads/hexagonrpcd/versions" ]; then
		cp -P "$downloads/hexagonrpcd/$lib"/libhexagonrpc.so.* "$root/usr/lib/"
		cp "$downloads/hexagonrpcd/usr/libexec/hexagonrpc/hexagonrpcd" "$root/bin/"
	fi
	if [ -e "$downloads/fastrpc/versions" ]; then
		cp -P "$downloads/fastrpc/$lib"/*.so.* "$root/usr/lib/"
		cp "$downloads/fastrpc/usr/sbin"/?dsprpcd "$root/bin/"
	fi
	client_versions >"$root/versions"
}

# add_udev: with the driver's rules.
add_udev() {
	cp "$udev/usr/bin/udevadm" "$root/bin/"
	ln -s udevadm "$root/bin/systemd-udevd"
	add_libraries "$udev/usr/bin/udevadm" "$udev" "$root/usr/lib"
	mkdir -p "$root/usr/lib/udev/rules.d"
	cp "$top"/Documentation/accel/qda/*.rules "$root/usr/lib/udev/rules.d/"
}

get_busybox
for client in $clients; do
	get_client "$client"
done
[ -z "$foreign" ] || get_udev
digest=$({
	cat "$stamps/kernel-$config"
	hash_of "$qda/guest" "$qda/guest-modules" "$qda/guest-tests" "$qda/bench" \
		"$top/samples" "$scripts/guest.sh" "$scripts/doc-examples.py" \
		"$top/tools/testing/selftests" "$busybox/versions" "$top/Documentation/accel/qda"
	client_versions
	cat "$udev/versions" "$downloads"/*.missing 2>/dev/null || true
} | sha256sum)
if [ -e "$image" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$digest" ]; then
	say "guest ($config): up to date"
	exit 0
fi
rm -f "$stamp"
{ build_programs && guest_modules modules; } >"$logs/guest-$config.log" 2>&1 || {
	tail -n 40 "$logs/guest-$config.log" >&2
	die "the guest's programs do not compile; the whole output is in $logs/guest-$config.log"
}
assemble
(cd "$root" && find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0) >"$image"
printf '%s\n' "$digest" >"$stamp"
say "guest ($config): $image, $(($(stat -c %s "$image") / 1048576)) MiB"
