#!/bin/bash
# SPDX-License-Identifier: MIT
#
# A kernel to boot, and what modules are built against for it, in the cache.
#
#	tests/vm/kernel.sh 6.1|6.12|7.x|debug|kcsan
#
# Prints the folder: vmlinuz, build/ (make -C it to build a module), modules/ (drivers,
# in root/), release (what uname -r will say), cc (compiler for modules).  6.1, 6.12 and
# 7.x are Debian's, debug and kcsan are built here (debug-kernel.sh).
#
# Nothing is installed: packages are found through an apt configuration of our own and
# unpacked.  Names move every week, so they are looked up each time; without a network
# the newest kernel in the cache serves.  Exit status 3: this kernel cannot be had
# here, and the last line on standard error says why.
#
# Environment: VBLACKWELL_CACHE, DEBIAN_MIRROR.
set -eu

here=$(dirname "$(readlink -f "$0")")
. "$here/apt.sh"

case "${1:-}" in
6.1) meta=linux-image-cloud-amd64 suites="bookworm bookworm-security" ;;
6.12) meta=linux-image-6.12-cloud-amd64
	suites="bookworm bookworm-security bookworm-backports" ;;
7.x) exec "$here/trixie-kernel.sh" ;;
debug|kcsan) exec "$here/debug-kernel.sh" "$1" ;;
*) echo "usage: tests/vm/kernel.sh 6.1|6.12|7.x|debug|kcsan" >&2; exit 2 ;;
esac
version=$1

newest_in_cache() {
	ls -d "$cache/kernel-$version."*/ready 2>/dev/null | sort -V | tail -1 | xargs -r dirname
}

resolve() {
	apt_private "$version" $suites
	apt-get update -qq >&2 || return 1
	image=$(apt-cache depends "$meta" | sed -n 's/.*Depends: \(linux-image-[0-9][^ ]*\)/\1/p' | head -1)
	[ -n "$image" ] || return 1
	release=${image#linux-image-}
	package_version=$(apt_version "$image")
}

# Headers, common headers and kbuild of exactly this release.
unpack() {
	local arch_headers=linux-headers-$release wanted
	wanted=$(apt-cache depends "$arch_headers" | sed -n 's/.*Depends: \(linux-\(headers\|kbuild\)-[^ ]*\)/\1/p')
	rm -rf "$1" "$1.part"
	apt_unpack "$1.part/root" "$image" "$arch_headers" $wanted
	echo "$release" >"$1.part/release"
	echo gcc-12 >"$1.part/cc"
	cp "$1.part/root/boot/vmlinuz-$release" "$1.part/vmlinuz"
	ln -s "root/lib/modules/$release" "$1.part/modules"
	ln -s "root/usr/src/linux-headers-$release" "$1.part/build"
	headers_move "$1.part" "$1"
	rm -rf "$1.part"/root/usr/share/doc
	touch "$1.part/ready"
	mv "$1.part" "$1"
}

mkdir -p "$cache"
exec 9>"$cache/lock-$version"
flock 9
if ! resolve; then
	folder=$(newest_in_cache)
	[ -n "$folder" ] || { echo "no kernel $version: apt failed and none is cached" >&2; exit 3; }
	echo "$folder"
	exit 0
fi
folder=$cache/kernel-${package_version//\~/.}
[ -e "$folder/ready" ] || unpack "$folder"
[ -e "$folder/cc" ] || echo gcc-12 >"$folder/cc"
echo "$folder"
