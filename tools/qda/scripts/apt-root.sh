# SPDX-License-Identifier: GPL-2.0
#
# An apt of the project's own below the build directory: it fetches packages of
# other Debian releases and of arm64, verified by the releases' signatures, and
# leaves the machine's own package lists alone. To be sourced after lib.sh.

apt_dir=$build/apt
apt_keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# debian_archives: those that the machine itself is set up for. Fields that apt has
# no value for (before the first update) are printed as their names.
debian_archives() {
	apt-get indextargets --format '$(LABEL)|$(REPO_URI)' "Created-By: Packages" |
		awk -F'|' '($1 ~ /^Debian/ || $1 ~ /LABEL/) && $2 ~ /debian/ { print $2 }'
}

# The Debian mirror that the machine is set up for.
debian_mirror() {
	if [ -n "${DEBIAN_MIRROR:-}" ]; then
		printf '%s\n' "$DEBIAN_MIRROR"
		return
	fi
	debian_archives | awk '!/security/ { print; exit }'
}

# The archive of security updates that it is set up for, or nothing.
debian_security_mirror() { debian_archives | awk '/security/ { print; exit }'; }

# apt_in <release> <apt program> <arguments...>
apt_in() {
	local dir=$apt_dir/$1 program=$2
	shift 2
	"$program" -q \
		-o Dir::Etc::sourcelist="$dir/sources.list" \
		-o Dir::Etc::sourceparts=/dev/null \
		-o Dir::Etc::preferences=/dev/null \
		-o Dir::Etc::preferencesparts=/dev/null \
		-o Dir::State="$dir/state" \
		-o Dir::State::status="$dir/status" \
		-o Dir::Cache="$dir/cache" \
		-o APT::Sandbox::User="$(id -un)" \
		-o APT::Architecture="$(cat "$dir/arch")" \
		-o APT::Architectures::="$(cat "$dir/arch")" \
		-o Acquire::Languages=none \
		-o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false \
		-o Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false \
		"$@"
}

# apt_open <release> <architecture> [components...]: makes the root and fetches
# the release's index. Fails when there is no mirror, no network or no such
# release. A release may be several, joined by commas: one and what it rests on.
apt_open() {
	local dir=$apt_dir/$1 releases=$1 arch=$2 mirror release
	shift 2
	[ $# -gt 0 ] || set -- main
	mirror=$(debian_mirror)
	if [ -z "$mirror" ] || [ ! -e "$apt_keyring" ]; then
		return 1
	fi
	mkdir -p "$dir"/state/lists/partial "$dir"/cache/archives/partial
	: >"$dir/status"
	printf '%s\n' "$arch" >"$dir/arch"
	for release in ${releases//,/ }; do
		printf 'deb [signed-by=%s arch=%s] %s %s %s\n' \
			"$apt_keyring" "$arch" "$mirror" "$release" "$*"
	done >"$dir/sources.list"
	apt_in "$releases" apt-get -o APT::Update::Error-Mode=any update \
		>"$logs/apt-$releases.log" 2>&1
}

# apt_fetch <release> <directory> <packages...>: downloads packages there.
apt_fetch() {
	local release=$1 dir=$2
	shift 2
	mkdir -p "$dir"
	(cd "$dir" && apt_in "$release" apt-get download "$@" >>"$logs/apt-$release.log" 2>&1)
}
