#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Puts a pristine Linux 7.3 below the build directory, from the first of these
# that works:
#   KDIR=<tree>         copied, and left as it is
#   TARBALL=<file>      a linux-7.3.y tarball
#   Debian              the package linux-source-7.3, verified by apt
#   kernel.org          the tarball, verified by the list of checksums there
# An unpacked tree is kept until `make distclean`.

set -eu
. "$(dirname "$0")/lib.sh"
. "$scripts/apt-root.sh"
timed source

release=7.3
suites="trixie-backports forky sid"
kernel_org=https://cdn.kernel.org/pub/linux/kernel/v7.x
stamp=$stamps/source
new=$build/linux.new
downloads=$build/downloads

tree_version() { make -s -C "$1" kernelversion 2>/dev/null; }

check_version() {
	local have
	have=$(tree_version "$1") || die "$1 is not a kernel tree"
	case $have in
	$release | $release.* | $release-*) ;;
	*) die "$1 is Linux $have; this project is for $release" ;;
	esac
}

# Takes a tree that is ready at $new.
finish() {
	check_version "$new"
	rm -rf "$src" "$build/pristine" "$build/overlay.json"
	mv "$new" "$src"
	printf '%s\n' "$1" >"$stamp"
	say "kernel source: Linux $(tree_version "$src") from $2"
}

unpack() {
	rm -rf "$new"
	mkdir -p "$new"
	progress "unpacking ${1##*/}" "$logs/unpack.log" 0 \
		tar -xf "$1" -C "$new" --strip-components=1
}

from_kdir() {
	[ -e "$KDIR/Kbuild" ] || die "KDIR=$KDIR is not a kernel tree"
	check_version "$KDIR"
	rm -rf "$new"
	mkdir -p "$new"
	# What a build left in it: the bulk stays behind, mrproper does the rest.
	progress "copying $KDIR" "$logs/unpack.log" 0 rsync -a \
		--exclude=.git --exclude='*.o' --exclude='*.ko' --exclude='*.rmeta' \
		--exclude='/vmlinux*' --exclude='/.config*' --exclude='/debian/' \
		"$KDIR/" "$new/"
	progress "cleaning the copy" "$logs/mrproper.log" 0 \
		env -u MAKEFLAGS -u MAKELEVEL make -C "$new" ARCH=arm64 mrproper
}

from_debian() {
	local suite deb
	command -v apt-get >/dev/null || return 1
	for suite in $suites; do
		say "looking for linux-source-$release in Debian $suite"
		apt_open "$suite" "$(dpkg --print-architecture)" || continue
		rm -rf "$downloads/kernel"
		apt_fetch "$suite" "$downloads/kernel" "linux-source-$release" || continue
		deb=$(echo "$downloads"/kernel/linux-source-*.deb)
		[ -e "$deb" ] || continue
		dpkg-deb --fsys-tarfile "$deb" |
			tar -xf - -C "$downloads/kernel" --wildcards '*/linux-source-*.tar.xz' --strip-components=3
		rm -f "$deb"
		origin="Debian $suite, ${deb##*/}"
		unpack "$(echo "$downloads"/kernel/linux-source-*.tar.xz)"
		rm -rf "$downloads/kernel"
		return 0
	done
	return 1
}

from_kernel_org() {
	say "looking for Linux $release at kernel.org"
	mkdir -p "$downloads"
	origin=$(python3 - "$kernel_org" "$release" "$downloads/linux.tar.xz" 2>"$logs/kernel-org.log" <<'PY'
import hashlib
import re
import sys
import urllib.request

base, release, target = sys.argv[1:]
listing = urllib.request.urlopen(f"{base}/sha256sums.asc", timeout=30).read().decode()
found = re.findall(rf"^([0-9a-f]{{64}})  (linux-{re.escape(release)}(?:\.(\d+))?\.tar\.xz)$", listing, re.M)
if not found:
    sys.exit(f"no linux-{release} in {base}")
digest, name, _ = max(found, key=lambda f: int(f[2] or 0))
sums = hashlib.sha256()
with urllib.request.urlopen(f"{base}/{name}", timeout=30) as stream, open(target, "wb") as out:
    while block := stream.read(1 << 20):
        sums.update(block)
        out.write(block)
if sums.hexdigest() != digest:
    sys.exit(f"{name}: checksum does not match")
print(f"kernel.org, {name}")
PY
	) || return 1
	unpack "$downloads/linux.tar.xz"
	rm -f "$downloads/linux.tar.xz"
}

if [ -n "${KDIR:-}" ]; then
	KDIR=$(cd "$KDIR" && pwd) || die "KDIR: no such directory"
	want="kdir $KDIR"
else
	want=fetched
fi
if [ -e "$stamp" ] && [ -e "$src/Kbuild" ]; then
	have=$(cat "$stamp")
	# A tree that was made from something else serves as well, unless the
	# caller names another one.
	if [ "$want" = fetched ] || [ "$want" = "$have" ]; then
		exit 0
	fi
fi

origin=
if [ -n "${KDIR:-}" ]; then
	from_kdir
	origin=$KDIR
elif [ -n "${TARBALL:-}" ]; then
	unpack "$TARBALL"
	origin=$TARBALL
elif ! from_debian && ! from_kernel_org; then
	die "no Linux $release to be had: neither the Debian mirror of this machine nor kernel.org gave it" \
		"(logs: $logs/apt-*.log, $logs/kernel-org.log). Get a $release.y tree or tarball by other means and run" \
		"  make KDIR=<tree> ...    or    make TARBALL=<linux-$release.y.tar.xz> ..."
fi
finish "$want" "$origin"
