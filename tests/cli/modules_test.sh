#!/bin/bash
# SPDX-License-Identifier: MIT
# make modules, modules_install, dkms_install: the module for a kernel whose headers are here,
# in its place, with nothing left among the sources.
set -u
. "$(dirname "$0")/lib.sh"

# Objects of their own: build/module may be of another kernel.
b="B=$work/build"

# ---- headers that are not there ----

make -s $b modules KDIR=/nowhere >"$work/out" 2>"$work/err"
verdict without_headers_it_fails test $? -ne 0
verdict without_headers_it_says_what_is_missing \
	grep -q '^make modules: no headers of a kernel in /nowhere: install linux-headers-' "$work/err"
make -s $b modules_install >"$work/out" 2>"$work/err"
verdict unbuilt_is_not_installed test $? -ne 0
verdict unbuilt_says_what_comes_first grep -q 'make modules comes first' "$work/err"
verdict running_kernel_is_the_default grep -qF "/lib/modules/$(uname -r)/build" \
	<(make -n $b modules 2>&1)

# ---- for DKMS ----

make -s $b dkms_install DESTDIR="$work/root" >"$work/out" 2>&1
verdict dkms_sources_are_installed test $? -eq 0
version=$(sed -n 's/^VERSION := //p' Makefile)
source=$work/root/usr/src/vblackwell-$version
# What DKMS has set when it reads its file.
kernel_source_dir=/headers dkms_tree=/var/lib/dkms
PACKAGE_NAME= PACKAGE_VERSION= BUILT_MODULE_NAME=() MAKE=() BUILD_EXCLUSIVE_KERNEL=
. "$source/dkms.conf"
verdict dkms_has_name_and_version test "$PACKAGE_NAME/$PACKAGE_VERSION" = "vblackwell/$version"
verdict dkms_builds_where_it_looks test "${MAKE[0]}" = \
	"make -C /headers M=/var/lib/dkms/vblackwell/$version/build modules"
verdict dkms_finds_what_kbuild_makes grep -q "^obj-m := ${BUILT_MODULE_NAME[0]}.o" "$source/Kbuild"
takes() { [[ $1 =~ $BUILD_EXCLUSIVE_KERNEL ]]; }
for release in 6.1.0-56-cloud-amd64 6.12.117 6.18.44 7.3.4 10.1.0; do
	verdict "dkms_builds_for_${release//[.-]/_}" takes $release
done
for release in 5.10.0-30-amd64 6.0.12; do
	verdict "dkms_leaves_out_${release//[.-]/_}" test -z "$(takes $release && echo taken)"
done

# ---- headers that are ----

folder=$(ls -d "${VBLACKWELL_CACHE:-$HOME/.cache/vblackwell}"/vm/kernel-*/ready 2>/dev/null | sort -V | head -1)
folder=${folder%/ready}
if [ -z "$folder" ]; then
	echo "skip module_builds: no kernel in the cache (tests/vm/kernel.sh 6.1 puts one there)"
	exit $status
fi
cc=$(cat "$folder/cc") release=$(cat "$folder/release")
if ! command -v "$cc" >/dev/null; then
	echo "skip module_builds: that kernel wants $cc"
	exit $status
fi
made="$b KDIR=$folder/build CC=$cc HOSTCC=$cc"
objects() { find kmod include Kbuild -name '*.o' -o -name '.*.cmd' -o -name conftest.h; }
objects >"$work/before"
make -s -j"$(nproc)" $made modules >"$work/log" 2>&1
verdict module_builds test $? -eq 0
ko=$work/build/module/vblackwell.ko
verdict module_is_for_that_kernel grep -qa "vermagic=$release " "$ko"
objects >"$work/after"
verdict sources_stay_as_they_were diff "$work/before" "$work/after"
diff -r -x dkms.conf -x conftest -x '*.o' -x '.*.cmd' "$source/kmod" "$work/build/module/kmod" >"$work/log"
verdict dkms_has_all_that_was_built test $? -eq 0
make -s $made modules_install DESTDIR="$work/root" >"$work/log" 2>&1
verdict module_is_installed test $? -eq 0
verdict module_is_in_its_place test -n \
	"$(find "$work/root/lib/modules/$release" -name 'vblackwell.ko*' 2>/dev/null)"
# DKMS cleans before it builds, with nothing there yet.
make -s -C "$folder/build" M="$source" CC="$cc" clean >"$work/log" 2>&1
verdict sources_without_a_build_can_be_cleaned test $? -eq 0
exit $status
