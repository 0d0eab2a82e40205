#!/bin/bash
# SPDX-License-Identifier: MIT
#
# A Debian kernel and its headers, unpacked in the cache.
#
#   tests/vm/kernel.sh 6.1|6.12
#
# Prints the folder: vmlinuz, build/ (headers to build modules against), modules/,
# release (what uname -r will say).  Nothing is installed: packages are found
# through an apt configuration of our own and unpacked.  Names move every week, so
# they are looked up each time; without a network the newest kernel in the cache
# serves.
#
# Environment: VBLACKWELL_CACHE.
set -eu

cache=${VBLACKWELL_CACHE:-$HOME/.cache/vblackwell}/vm
mirror=${DEBIAN_MIRROR:-http://deb.debian.org}
key=/usr/share/keyrings/debian-archive-keyring.gpg

case "${1:-}" in
6.1) meta=linux-image-cloud-amd64 suites="bookworm bookworm-security" ;;
6.12) meta=linux-image-6.12-cloud-amd64
	suites="bookworm bookworm-security bookworm-backports" ;;
*) echo "usage: tests/vm/kernel.sh 6.1|6.12" >&2; exit 2 ;;
esac
version=$1
apt=$cache/apt-$version

write_apt() {
	mkdir -p "$apt/lists/partial" "$apt/archives/partial"
	: >"$apt/sources.list"
	for suite in $suites; do
		case $suite in
		*-security) at=$mirror/debian-security ;;
		*) at=$mirror/debian ;;
		esac
		echo "deb [arch=amd64 signed-by=$key] $at $suite main" >>"$apt/sources.list"
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

newest_in_cache() {
	ls -d "$cache/kernel-$version."*/ready 2>/dev/null | sort -V | tail -1 | xargs -r dirname
}

resolve() {
	write_apt
	apt-get update -qq >&2 || return 1
	image=$(apt-cache depends "$meta" | sed -n 's/.*Depends: \(linux-image-[0-9][^ ]*\)/\1/p' | head -1)
	[ -n "$image" ] || return 1
	release=${image#linux-image-}
	package_version=$(apt-cache policy "$image" | sed -n 's/.*Candidate: //p')
}

# Headers, common headers and kbuild of exactly this release.
download() {
	local arch_headers=linux-headers-$release
	local wanted
	wanted=$(apt-cache depends "$arch_headers" | sed -n 's/.*Depends: \(linux-\(headers\|kbuild\)-[^ ]*\)/\1/p')
	(cd "$apt/archives" && rm -f ./*.deb &&
		apt-get download -qq "$image" "$arch_headers" $wanted >&2)
}

unpack() {
	local to=$1.part deb link
	rm -rf "$to" "$1"
	mkdir -p "$to/root"
	for deb in "$apt"/archives/*.deb; do
		dpkg -x "$deb" "$to/root"
	done
	rm -f "$apt"/archives/*.deb
	echo "$release" >"$to/release"
	cp "$to/root/boot/vmlinuz-$release" "$to/vmlinuz"
	ln -s "root/lib/modules/$release" "$to/modules"
	ln -s "root/usr/src/linux-headers-$release" "$to/build"
	# The headers name each other by where they would be installed.
	sed -i "s,/usr/src/,$1/root/usr/src/,g" "$to/build/Makefile"
	for link in "$to"/root/usr/src/linux-headers-*/*; do
		[ -L "$link" ] || continue
		case $(readlink "$link") in
		/usr/*) ln -sfn "$1/root$(readlink "$link")" "$link" ;;
		../../lib/*) ln -sfn "$1/root/usr/$(readlink "$link" | sed 's,^\.\./\.\./,,')" "$link" ;;
		esac
	done
	rm -rf "$to"/root/usr/share/doc
	touch "$to/ready"
	mv "$to" "$1"
}

mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
if ! resolve; then
	folder=$(newest_in_cache)
	[ -n "$folder" ] || { echo "no kernel $version: apt failed and none is cached" >&2; exit 1; }
	echo "$folder"
	exit 0
fi
folder=$cache/kernel-${package_version//\~/.}
if [ ! -e "$folder/ready" ]; then
	download
	unpack "$folder"
fi
echo "$folder"
