#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Debian's newest kernel (trixie-backports), with the compiler it wants: its headers
# come with programs that need trixie's libraries, so modules are built in a chroot.
#
# Prints the folder, as tests/vm/kernel.sh says, with root/ the chroot.  Exit status 3
# when this kernel cannot be had here.  Needs mmdebstrap, and root to enter the chroot.
set -eu

here=$(dirname "$(readlink -f "$0")")
. "$here/apt.sh"

cannot() {
	echo "$*" >&2
	exit 3
}

newest_in_cache() {
	ls -d "$cache"/trixie-*/ready 2>/dev/null | sort -V | tail -1 | xargs -r dirname
}

resolve() {
	local image
	apt_private 7.x trixie trixie-backports
	echo 'APT::Default-Release "trixie-backports";' >>"$APT_CONFIG"
	apt-get update -qq >&2 || return 1
	image=$(apt-cache depends linux-image-cloud-amd64 |
		sed -n 's/.*Depends: \(linux-image-[0-9][^ ]*\)/\1/p' | head -1)
	[ -n "$image" ] || return 1
	release=${image#linux-image-}
	version=$(apt_version "$image")
}

# The chroot as far as a compiler needs it; nothing in it is configured or run but that.
unpack() {
	local to=$1.part link
	rm -rf "$to" "$1"
	mkdir -p "$to"
	env -u APT_CONFIG mmdebstrap --quiet --mode=root --variant=extract --architectures=amd64 \
		--include=gcc-14,make,dash,bash,coreutils,sed,grep,mawk,findutils,libelf1t64,libssl3t64,zlib1g \
		trixie "$to/root" "deb [signed-by=$keyring] $mirror/debian trixie main" >&2
	apt_unpack "$to/kernel" "linux-binary-$release" "linux-modules-$release" "linux-base-$release" \
		"linux-headers-$release" "linux-headers-${release%-cloud-amd64}-common" \
		"linux-kbuild-${release%-cloud-amd64}"
	cp -a "$to"/kernel/. "$to/root/"
	for link in bin sbin lib lib64; do
		[ -e "$to/root/$link" ] || ln -s "usr/$link" "$to/root/$link"
	done
	ln -sf mawk "$to/root/usr/bin/awk"
	rm -rf "$to/kernel" "$to"/root/usr/share/{doc,man,locale}
	find "$to/root" -name "vmlinuz*" -type f -exec cp {} "$to/vmlinuz" \;
	echo "$release" >"$to/release"
	echo gcc-14 >"$to/cc"
	touch "$to/chroot" "$to/ready"
	mv "$to" "$1"
}

mkdir -p "$cache"
exec 9>"$cache/lock-7.x"
flock 9
if ! resolve; then
	folder=$(newest_in_cache)
	[ -n "$folder" ] || cannot "apt does not serve trixie-backports and no kernel is cached"
	echo "$folder"
	exit 0
fi
[ "$(id -u)" -eq 0 ] || cannot "only root may enter the chroot that modules are built in"
command -v mmdebstrap >/dev/null || cannot "mmdebstrap is not installed"
folder=$cache/trixie-${version//\~/.}
[ -e "$folder/ready" ] || unpack "$folder"
echo "$folder"
