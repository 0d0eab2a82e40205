#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Make the initramfs of a test machine.
#
#   tests/vm/initramfs.sh KERNEL MODULE.ko OUT SUITE PROGRAM...
#
# KERNEL is a folder of tests/vm/kernel.sh, SUITE a shell script that becomes
# /suite/run.  Programs come with the libraries that ldd names, and without what a
# debugger reads: an emulated CPU unpacks all that, so nothing is compressed either.
set -eu

here=$(dirname "$(readlink -f "$0")")
kernel=$1 module=$2 out=$3 suite=$4
shift 4
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

# Drivers that the machine needs and that the kernel does not have built in.
drivers="nvme ext4 fuse"	# built in where the name is not a file
# Only some kernels have these as modules; algif_hash lets bench/fault.c use what they compute with,
# msdos is a file system that fill_test.c can make.  crc32c-intel, which a distribution loads at
# boot, is left out: QEMU takes each instruction of it bit by bit, four times as long as the
# kernel's plain C, where a processor takes a tenth.
others="crc32c-cryptoapi algif_hash msdos nls_cp437"

copy_drivers() {
	local release driver name path
	release=$(cat "$kernel/release")
	mkdir -p "$root/modules"
	: >"$root/modules/order"
	# Kernels of our own have all built in.
	[ -d "$kernel/root" ] || return 0
	[ -e "$kernel/root/lib/modules/$release/modules.dep.bin" ] || depmod -b "$kernel/root" "$release"
	for driver in $drivers $others; do
		case " $others " in
		*" $driver "*) modinfo -b "$kernel/root" -k "$release" -n "$driver" >/dev/null 2>&1 || continue ;;
		esac
		modprobe -d "$kernel/root" -S "$release" --show-depends "$driver" |
			sed -n 's/^insmod \([^ ]*\).*/\1/p' | while read -r path; do
			name=$(basename "$path" .xz)
			grep -qx "$name" "$root/modules/order" && continue
			case $path in
			*.xz) xz -dc "$path" >"$root/modules/$name" ;;
			*) cp "$path" "$root/modules/" ;;
			esac
			echo "$name" >>"$root/modules/order"
		done
	done
}

# Programs and libraries, each at one place.
copy_programs() {
	local program library
	for program in "$@"; do
		strip -o "$root/suite/${program##*/}" "$program" 2>/dev/null ||
			cp "$program" "$root/suite/"	# a script
		ldd "$program" 2>/dev/null | grep -o '/[^ )]*' | while read -r library; do
			[ -e "$root/lib/$(basename "$library")" ] || cp -L "$library" "$root/lib/"
		done
	done
}

mkdir -p "$root/bin" "$root/lib" "$root/suite"
ln -s lib "$root/lib64"
cp "$(command -v busybox)" "$root/bin/busybox"
ln -s busybox "$root/bin/sh"
cp "$here/init" "$root/init"
cp "$suite" "$root/suite/run"
cp "$module" "$root/suite/vblackwell.ko"
chmod 755 "$root" "$root/init" "$root/suite/run"
copy_drivers
copy_programs "$@"
(cd "$root" && find . | cpio --quiet -o -H newc -R 0:0) >"$out"
