#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Boot kernels in QEMU, load the module built for each, run the suite in it.
#
#	tests/vm/run.sh [KERNEL...]
#
# KERNEL is 6.1, 6.12, or a folder as tests/vm/kernel.sh makes; without any, those that
# VM_KERNELS names, or 6.1.
#
# Prints the KTAP lines that tests/run.sh counts: "ok NAME", "not ok NAME: why" and
# "skip NAME: why", with diagnostics behind "#".  A kernel that does not build the
# module, does not boot, reports a fault of its own (BUG, WARNING, Oops, a lock or
# memory checker), or does not end within the limit is a failure.
#
# The machine: q35 without acceleration (TCG), 2 CPUs, 2 NUMA nodes, an NVMe disk, a
# shared memory device (a BAR to stand in for a GPU's).
#
# Packages: qemu-system-x86 seabios busybox-static cpio kmod libelf-dev bison flex bc
#	make gcc-12 (tools/deps.sh vm installs them).  Programs are those that
#	make -f tests/vm/Makefile.vm vm-programs has built.
# Environment: VM_LIMIT seconds a kernel (600), VM_SUITE the script to run in the
# machine, VM_KEEP a folder that gets the logs, VBLACKWELL_CACHE.
set -u

here=$(dirname "$(readlink -f "$0")")
top=$(readlink -f "$here/../..")
limit=${VM_LIMIT:-600}
suite=${VM_SUITE:-$here/suite.sh}
logs=${VM_KEEP:-$top/build/vm}
programs=$(printf '%s ' "$top"/build/tests/vm/*_test "$top"/build/tests/selftests/{uapi,bo,queue,executor,invariant}_test)

[ $# -gt 0 ] || set -- ${VM_KERNELS:-6.1}
mkdir -p "$logs"
status=0

missing=
for tool in qemu-system-x86_64 busybox cpio depmod; do
	command -v "$tool" >/dev/null || missing="$missing $tool"
done
if [ -n "$missing" ]; then
	echo "skip vm: not installed:$missing (tools/deps.sh vm)"
	exit 0
fi

fail() {
	echo "not ok $1: $2"
	status=1
}

# build KERNEL_FOLDER LOG: the module, in a folder of its own.
build() {
	local out=$logs/$name
	rm -rf "$out"
	mkdir -p "$out"
	cp -r "$top/kmod" "$top/include" "$top/Kbuild" "$out/"
	make -s -C "$1/build" M="$out" CC=gcc-12 HOSTCC=gcc-12 CONFIG_DEBUG_INFO_BTF_MODULES= \
		KBUILD_MODPOST_WARN= modules >"$2" 2>&1
}

boot() {
	local disk=$logs/$name.disk
	truncate -s 256M "$disk"
	timeout -k 10 "$limit" qemu-system-x86_64 \
		-accel tcg,thread=multi -machine q35 -cpu max -smp 2,sockets=2 -m 1536 \
		-object memory-backend-ram,id=m0,size=768M -numa node,nodeid=0,cpus=0,memdev=m0 \
		-object memory-backend-ram,id=m1,size=768M -numa node,nodeid=1,cpus=1,memdev=m1 \
		-drive "file=$disk,if=none,id=d0,format=raw,cache=unsafe" -device nvme,serial=vb0,drive=d0 \
		-object memory-backend-ram,id=bar,size=64M,share=on -device ivshmem-plain,memdev=bar \
		-nodefaults -no-reboot -display none -nic none \
		-chardev "file,id=c0,path=$logs/$name.console" -serial chardev:c0 \
		-chardev "file,id=c1,path=$logs/$name.dmesg" -serial chardev:c1 \
		-kernel "$1/vmlinuz" -initrd "$logs/$name.cpio.gz" \
		-append "console=ttyS0 quiet loglevel=4 panic=-1 oops=panic transparent_hugepage=always ${VM_APPEND:-}" \
		>"$logs/$name.qemu" 2>&1
	local rc=$?
	rm -f "$disk"
	return $rc
}

# Faults that a kernel reports by itself, from any of its checkers.
scan() {
	grep -hE '(BUG:|WARNING:|Oops|general protection|Call Trace|KASAN|KCSAN|UBSAN|kmemleak|possible (recursive|circular)|suspicious RCU|inconsistent lock|DMA-API|hung task|soft lockup|Kernel panic)' \
		"$logs/$name.console" "$logs/$name.dmesg" 2>/dev/null
}

one() {
	local folder start seconds
	start=$(date +%s)
	if [ -d "$1" ]; then
		folder=$1
	else
		folder=$("$here/kernel.sh" "$1") || { fail "linux-$1" "no kernel"; return; }
	fi
	name=linux-$(cat "$folder/release")
	if ! build "$folder" "$logs/$name.build"; then
		fail "$name" "the module does not build"
		grep -E 'error|warning|ERROR' "$logs/$name.build" | head -20 | sed 's/^/# /'
		return
	fi
	"$here/initramfs.sh" "$folder" "$logs/$name/vblackwell.ko" "$logs/$name.cpio.gz" "$suite" \
		$programs || { fail "$name" "no initramfs"; return; }
	: >"$logs/$name.console"
	: >"$logs/$name.dmesg"
	boot "$folder"
	seconds=$(($(date +%s) - start))
	tr -d '\r' <"$logs/$name.console" | sed -n '/^@@begin/,/^@@end/p' | grep -v '^@@' >"$logs/$name.out"
	sed -n -E "s,^(ok|not ok|skip|#) ,\\1 $name ,p" "$logs/$name.out"
	grep -q '^not ok ' "$logs/$name.out" && status=1
	grep -q '^@@end 0' "$logs/$name.console" ||
		fail "$name" "did not reach its end within $limit s (see $logs/$name.console)"
	if [ -n "$(scan)" ]; then
		fail "$name/log" "$(scan | head -1)"
		scan | head -20 | sed 's/^/# /'
	else
		echo "ok $name/log"
	fi
	echo "# $name: $(grep -c '^ok ' "$logs/$name.out") ok," \
		"$(grep -c '^not ok ' "$logs/$name.out") failed," \
		"$(grep -c '^skip ' "$logs/$name.out") skipped, $seconds s"
}

echo "KTAP version 1"
for kernel in "$@"; do
	one "$kernel"
done
exit $status
