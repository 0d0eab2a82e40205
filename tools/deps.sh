#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Install the Debian packages that a target needs and that are missing.
#
#   tools/deps.sh run|bench|check|vm
#
# Says what it will install before it does.  Exit status: 0 all there, 1 apt failed,
# 2 not root: the line to run is printed.
set -u

run_packages="gcc make pkg-config liburing-dev libnuma-dev libjson-c-dev libutf8proc-dev
	libseccomp-dev
	python3 python3-pip"
# Whom the benchmarks are compared with.
bench_packages="$run_packages libopenblas0-pthread libdnnl2"
check_packages="$bench_packages libcmocka-dev libfuse3-dev fuse3 gcc-multilib g++
	clang-14 libclang-rt-14-dev abigail-tools binutils"

vm_packages="$check_packages qemu-system-x86 seabios busybox-static cpio kmod make gcc-12 bc
	bison flex libelf-dev xz-utils mmdebstrap sparse
	e2fsprogs"

case "${1:-}" in
run) wanted=$run_packages ;;
bench) wanted=$bench_packages ;;
check) wanted=$check_packages ;;
vm) wanted=$vm_packages ;;
*) echo "usage: tools/deps.sh run|bench|check|vm" >&2; exit 2 ;;
esac

missing=
for p in $wanted; do
	status=$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)
	[ "$status" = installed ] && continue
	# A Python of one's own needs no Debian pip.
	[ "$p" = python3-pip ] && python3 -m pip --version >/dev/null 2>&1 && continue
	missing="$missing $p"
done
[ -z "$missing" ] && exit 0

echo "packages to install:$missing"
if [ "$(id -u)" -ne 0 ]; then
	echo "run as root: apt-get install -y --no-install-recommends$missing" >&2
	exit 2
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -q >/dev/null && apt-get install -qy --no-install-recommends $missing >/dev/null || {
	echo "apt-get install$missing failed" >&2
	exit 1
}
