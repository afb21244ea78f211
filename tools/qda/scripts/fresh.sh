#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# usage: fresh.sh <step> <release...>
#
# Takes the README at its word: on a machine that has Debian's minimum and what the
# README's first line installs, a clone of this repository gets itself ready (step
# setup), or does that and shows the driver at work (step demo). The machine is a
# chroot, build/fresh-<release>/; what is tried is what has been committed.

set -eu
. "$(dirname "$0")/lib.sh"
. "$scripts/apt-root.sh"

# in_root <command>: runs a shell command in the chroot, of whose environment only
# the way to the network is this machine's. The namespaces are its own: what it mounts
# and what it runs is gone when it ends, however it does.
in_root() {
	local name way=()
	for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY; do
		[ -z "${!name:-}" ] || way+=("$name=${!name}")
	done
	# shellcheck disable=SC2016 # for the shell in the namespaces
	unshare --mount --pid --fork --kill-child --propagation private bash -c '
		set -eu
		root=$1
		shift
		mount -t proc proc "$root/proc"
		mount --rbind /sys "$root/sys"
		mount --rbind /dev "$root/dev"
		exec chroot "$root" "$@"' in_root "$root" \
		env -i "${way[@]}" HOME=/root TERM="${TERM:-dumb}" LANG=C.UTF-8 \
		DEBIAN_FRONTEND=noninteractive \
		PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
		bash -euc "$1" </dev/null
}

# make_root: Debian's minimum, with the archives and the authorities that this
# machine has.
make_root() {
	local mirror security include=()
	mirror=$(debian_mirror)
	security=$(debian_security_mirror)
	[ -n "$mirror" ] || die "this machine is set up for no Debian mirror" \
		"DEBIAN_MIRROR=<address> names one."
	case $mirror$security in
	*https:*) include=(--include=ca-certificates) ;;
	esac
	rm -rf "$root"
	progress "$release: Debian's minimum" "$logs/fresh-$release-debootstrap.log" 0 \
		debootstrap --variant=minbase "${include[@]}" --keyring="$apt_keyring" \
		"$release" "$root" "$mirror"
	{
		printf 'deb %s %s main\n' "$mirror" "$release" "$mirror" "$release-updates"
		[ -z "$security" ] || printf 'deb %s %s main\n' "$security" "$release-security"
	} >"$root/etc/apt/sources.list"
	[ -n "$security" ] || warn "this machine has no security archive, so $release has none"
	cp -L /etc/resolv.conf "$root/etc/resolv.conf"
	mkdir -p "$root/usr/local/share/ca-certificates"
	find /usr/local/share/ca-certificates -name '*.crt' 2>/dev/null |
		xargs -r cp -t "$root/usr/local/share/ca-certificates"
	git -C "$top" bundle create -q "$root/qda.bundle" HEAD
}

step=${1:?usage: fresh.sh <step> <release...>}
shift
case $step in
setup | demo) ;;
*) die "STEP is $step; there are: setup demo" ;;
esac
[ "$(id -u)" = 0 ] || die "a chroot takes root"
if ! command -v debootstrap >/dev/null; then
	progress "installing debootstrap" "$logs/apt-debootstrap.log" 0 sh -c \
		'apt-get update && apt-get install -y --no-install-recommends debootstrap'
fi
for release; do
	root=$build/fresh-$release
	make_root
	say "$release: the README's first line"
	in_root 'apt-get update && apt-get install -y git make ca-certificates
		git -c advice.detachedHead=false clone -q /qda.bundle /qda' \
		>"$logs/fresh-$release.log" 2>&1 || {
		tail -n 25 "$logs/fresh-$release.log" >&2
		die "$release: it failed; the whole output is in $logs/fresh-$release.log"
	}
	say "$release: make $step"
	in_root "cd /qda && make $step" 2>&1 | tee -a "$logs/fresh-$release.log"
	[ "${PIPESTATUS[0]}" -eq 0 ] ||
		die "$release: make $step failed; the chroot is $root"
	rm -rf --one-file-system "$root"
	say "$release: make $step works"
done
