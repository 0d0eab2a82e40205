#!/bin/bash
# SPDX-License-Identifier: MIT
#
# A 6.12 kernel with checkers, built from Debian's source into the cache.
#
#	tests/vm/debug-kernel.sh debug|kcsan
#
# Prints the folder, which looks as those of tests/vm/kernel.sh do.  The configuration
# is tests/vm/config/base and the file of that name on top of tinyconfig.  A folder is
# named by the version and a hash of the configuration: one that is there is used for
# as long as the configuration stays the same, whatever Debian has by then.
#
# Environment: VBLACKWELL_CACHE.
set -eu

here=$(dirname "$(readlink -f "$0")")
. "$here/apt.sh"
name=$1
package=linux-source-6.12
# Read once: what the folder is named by is what is built, whoever edits it meanwhile.
config=$(cat "$here/config/base" "$here/config/$name")
hash=$(sha256sum <<<"$config" | cut -c1-12)

built() {
	ls -d "$cache/$name"-*-"$hash"/ready 2>/dev/null | sort -V | tail -1 | xargs -r dirname
}

# What was asked for and is not there: an option that something else took away.
check_config() {
	local line lost=
	while read -r line; do
		case $line in
		CONFIG_*) grep -qxF "$line" "$1" || lost="$lost ${line%%=*}" ;;
		"# CONFIG_"*) ! grep -q "^$(echo "$line" | cut -d' ' -f2)=" "$1" ||
			lost="$lost $(echo "$line" | cut -d' ' -f2)" ;;
		esac
	done <<<"$config"
	[ -z "$lost" ] || { echo "$name kernel: not as asked for:$lost" >&2; return 1; }
}

# make_kernel TARGET...: quietly, and its end when it fails.
make_kernel() {
	nice -n 10 make -s -C "$folder/source" O="$folder/build" ARCH=x86_64 \
		CC=gcc-12 HOSTCC=gcc-12 -j"$(nproc)" "$@" >>"$folder/log" 2>&1 ||
		{ tail -20 "$folder/log" >&2; return 1; }
}

# What modules are built against stays, and the scripts that look at sources.
prune() {
	find "$folder/build" \( -name '*.o' -o -name '*.a' -o -name '.*.cmd' \) \
		-not -path '*/scripts/*' -not -path '*/tools/*' -delete
	rm -f "$folder/build/vmlinux" "$folder/build"/.tmp_vmlinux*
	(cd "$folder/source" && rm -rf Documentation block certs crypto drivers fs init io_uring \
		ipc kernel lib mm net rust samples security sound tools usr virt)
}

build() {
	local archive
	apt_private "source" bookworm-security bookworm-backports
	apt-get update -qq >&2
	folder=$cache/$name-$(apt_version $package | tr '~' .)-$hash
	rm -rf "$folder"
	mkdir -p "$folder/build" "$folder/source" "$folder/modules"
	apt_unpack "$folder/package" $package
	archive=$folder/package/usr/src/$package.tar.xz
	tar -C "$folder/source" --strip-components=1 --exclude='*/Documentation/*/*' -xf "$archive"
	rm -rf "$folder/package"
	make_kernel tinyconfig
	cat <<<"$config" >>"$folder/build/.config"
	make_kernel olddefconfig
	check_config "$folder/build/.config"
	make_kernel bzImage modules
	make_kernel kernelrelease
	cp "$folder/build/arch/x86/boot/bzImage" "$folder/vmlinuz"
	cp "$folder/build/include/config/kernel.release" "$folder/release"
	echo gcc-12 >"$folder/cc"
	prune
	touch "$folder/ready"
}

mkdir -p "$cache"
exec 9>"$cache/lock-$name"
flock 9
folder=$(built)
if [ -z "$folder" ]; then
	echo "building the $name kernel, once: some ten minutes" >&2
	build
fi
echo "$folder"
