# SPDX-License-Identifier: MIT
#
# Debian packages that are unpacked and never installed; sourced by its neighbours.

cache=${VBLACKWELL_CACHE:-$HOME/.cache/vblackwell}/vm
mirror=${DEBIAN_MIRROR:-http://deb.debian.org}
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# apt_private NAME SUITE...: an apt configuration of our own, in force from here on.
# Sets $apt to its folder.
apt_private() {
	local suite at
	apt=$cache/apt-$1
	shift
	mkdir -p "$apt/lists/partial" "$apt/archives/partial"
	: >"$apt/sources.list"
	for suite in "$@"; do
		case $suite in
		*-security) at=$mirror/debian-security ;;
		*) at=$mirror/debian ;;
		esac
		echo "deb [arch=amd64 signed-by=$keyring] $at $suite main" >>"$apt/sources.list"
	done
	cat >"$apt/apt.conf" <<-END
	APT::Architecture "amd64";
	APT::Architectures { "amd64"; };
	APT::Sandbox::User "";
	Acquire::Languages "none";
	Debug::NoLocking "1";
	Dir::Etc::sourcelist "$apt/sources.list";
	Dir::Etc::sourceparts "/dev/null";
	Dir::Etc::preferencesparts "/dev/null";
	Dir::State::lists "$apt/lists";
	Dir::State::status "/dev/null";
	Dir::Cache "$apt";
	Dir::Cache::archives "$apt/archives";
	END
	export APT_CONFIG=$apt/apt.conf
}

# The version of package $1 that would be installed; nothing when there is none.
apt_version() {
	apt-cache policy "$1" | sed -n 's/.*Candidate: //p' | grep -v none
}

# apt_unpack FOLDER PACKAGE...: download them, unpack them into FOLDER.
apt_unpack() {
	local to=$1 deb
	shift
	(cd "$apt/archives" && rm -f ./*.deb && apt-get download -qq "$@" >&2) || return
	mkdir -p "$to"
	for deb in "$apt"/archives/*.deb; do
		dpkg -x "$deb" "$to" || return
	done
	rm -f "$apt"/archives/*.deb
}

# headers_move UNPACKED FOLDER: headers name each other by where they would be
# installed; make that FOLDER, where UNPACKED is going to be.
headers_move() {
	local link
	sed -i "s,/usr/src/,$2/root/usr/src/,g" "$1/build/Makefile"
	for link in "$1"/root/usr/src/linux-headers-*/*; do
		[ -L "$link" ] || continue
		case $(readlink "$link") in
		/usr/*) ln -sfn "$2/root$(readlink "$link")" "$link" ;;
		../../lib/*) ln -sfn "$2/root/usr/$(readlink "$link" | sed 's,^\.\./\.\./,,')" "$link" ;;
		esac
	done
}
