#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Boot kernels in QEMU, load the module built for each, run the suite in it.
#
#	tests/vm/run.sh [KERNEL...]
#
# KERNEL is a name that tests/vm/kernel.sh knows (6.1, 6.12, 7.x, debug, kcsan) or a
# folder as it makes them; without any, those that VM_KERNELS names, or 6.1.
#
# Prints KTAP (the kernel's Documentation/dev-tools/ktap.rst): a result a kernel, below it
# one a program and chunk size, below these their tests.  A kernel that does not build the
# module, does not boot, reports a fault of its own (tests/vm/scan.sh), or does not
# end within the limit is a failure; one that cannot be had on this machine is a skip.
# tests/ktap.sh makes a line a test of it.
#
# The machine: q35 without acceleration (TCG), 2 CPUs, 2 NUMA nodes, an NVMe disk (vb0), a
# second one (vb1) whose sectors from 2 MiB on cannot be read and from 4 MiB on cannot be
# written, a third one (vb2) for files, a shared memory device (a BAR to stand in for a
# GPU's).  Its CPU says that it is slow at "rep movsb", as an emulated one is: memory is
# copied and cleared by whole words then.
#
# Packages: tools/deps.sh vm installs them.  Programs are those that
#	make vm-programs has built.
# Environment:
#	VM_DEPTH   short: chunks of one size; middle: of both, and longer campaigns; long
#	VM_CHUNKS  the size of a short run in bytes; 65536
#	VM_LIMIT   seconds a kernel; default by depth
#	VM_BOOT    seconds of these until its suite begins; 240
#	VM_SUITE   the script to run in the machine
#	VM_APPEND  more for the kernel's command line; NAME=VALUE is in the suite's
#		   environment
#	VM_DISK    image of vb2, else it is empty; what is written to it is forgotten
#	VM_KEEP    a folder that gets the logs
#	VBLACKWELL_CACHE
set -u

here=$(dirname "$(readlink -f "$0")")
top=$(readlink -f "$here/../..")
suite=${VM_SUITE:-$here/suite.sh}
logs=${VM_KEEP:-$top/build/vm}
depth=${VM_DEPTH:-middle}
programs=$(printf '%s ' "$top"/build/tests/vm/{*_test,fuzz_module,compat_client,vb_fail_nth,vb_fail_load} \
	"$top"/build/tests/selftests/{uapi,bo,limit,queue,fence,submit,share,executor,invariant,index}_test \
	"$top"/build/{vbd,vbrun,examples/matmul,bench/{broker,share,fault}} "$here"/served.sh)

[ $# -gt 0 ] || set -- ${VM_KERNELS:-6.1}
mkdir -p "$logs" && logs=$(readlink -f "$logs") || exit 1
status=0

# What the campaigns of a depth are on a kernel: VARIABLE=VALUE for the suite, and the
# limit.  Checkers make a kernel several times slower, and are worth the long runs.
case $depth in
short) stock="VM_FUZZ=3000 VM_LOADS=20 VM_CHUNKS=${VM_CHUNKS:-65536}" checked="$stock VM_SHORT=yes" limit=1200 ;;
middle) stock="VM_FUZZ=10000 VM_LOADS=20" checked="VM_FUZZ=20000 VM_LOADS=50" limit=2400 ;;
long) stock="VM_FUZZ=50000 VM_LOADS=200 VM_KILLS=20" checked="VM_FUZZ=200000 VM_LOADS=200 VM_KILLS=20" limit=7000 ;;
*) echo "VM_DEPTH is short, middle or long" >&2; exit 2 ;;
esac
limit=${VM_LIMIT:-$limit}

missing=
for tool in qemu-system-x86_64 busybox cpio depmod; do
	command -v "$tool" >/dev/null || missing="$missing $tool"
done

# What is said of a kernel: verdicts, for tests/vm/ktap.sh.
fail() {
	echo "not ok $1: $2"
}

is_checked() {
	case $name in *-vb-*) true ;; *) false ;; esac
}

# make_module FOLDER HEADERS COMMAND...: the sources are in FOLDER.
make_module() {
	local m=$1 headers=$2 cc
	shift 2
	cc=$(cat "$folder/cc")
	"$@" make -s -j"$(nproc)" -C "$headers" M="$m" CC="$cc" HOSTCC="$cc" CONFIG_DEBUG_INFO_BTF_MODULES= \
		KBUILD_MODPOST_WARN= KCOV_INSTRUMENT=y modules
}

# Headers of another Debian bring programs that need its libraries.
make_in_chroot() {
	local root=$folder/root m=/module-$$ rc
	rm -rf "$root$m" && cp -a "$logs/$name" "$root$m" &&
		make_module $m "/usr/src/linux-headers-$(cat "$folder/release")" \
			unshare --mount sh -c "mount -t proc proc $root/proc && exec chroot $root \"\$@\"" sh
	rc=$?
	[ $rc -eq 0 ] && cp "$root$m/vblackwell.ko" "$logs/$name/"
	rm -rf "$root$m"
	return $rc
}

# The module, in a folder of its own: what did not change is not compiled again.
build() {
	local out=$logs/$name
	[ "$(cat "$out/.folder" 2>/dev/null)" = "$folder" ] || rm -rf "$out"
	mkdir -p "$out"
	echo "$folder" >"$out/.folder"
	cp -rpu "$top/kmod" "$top/include" "$top/Kbuild" "$out/"
	if [ -e "$folder/chroot" ]; then
		make_in_chroot
	else
		make_module "$out" "$folder/build"
	fi
}

# A machine that has not come to its suite by then is ended, and said to be stuck.
watch() {
	local n
	for ((n = 0; n < ${VM_BOOT:-240}; n++)); do
		sleep 1
		! grep -q '^@@begin' "$logs/$name.console" || return
	done
	touch "$logs/$name.stuck"
	kill "$1"
}

boot() {
	local disk=$logs/$name.disk bad=$logs/$name.bad empty=$logs/$name.empty rc memory=1536M node=768M machine watcher
	is_checked && memory=3G node=1536M
	truncate -s 256M "$disk"
	truncate -s 16M "$bad"
	truncate -s 256M "$empty"
	timeout -k 10 "$limit" qemu-system-x86_64 \
		-accel tcg,thread=multi -machine q35 -cpu max,-erms -smp 2,sockets=2 -m $memory \
		-object memory-backend-ram,id=m0,size=$node -numa node,nodeid=0,cpus=0,memdev=m0 \
		-object memory-backend-ram,id=m1,size=$node -numa node,nodeid=1,cpus=1,memdev=m1 \
		-drive "file=$disk,if=none,id=d0,format=raw,cache=unsafe" -device nvme,serial=vb0,drive=d0 \
		-blockdev "driver=file,node-name=f1,filename=$bad" \
		-blockdev "driver=blkdebug,node-name=d1,image=f1,$(bad_sectors)" \
		-device nvme,serial=vb1,drive=d1 \
		-drive "file=${VM_DISK:-$empty},if=none,id=d2,format=raw,snapshot=on" -device nvme,serial=vb2,drive=d2 \
		-object memory-backend-ram,id=bar,size=64M,share=on -device ivshmem-plain,memdev=bar \
		-nodefaults -no-reboot -display none -nic none \
		-chardev "file,id=c0,path=$logs/$name.console" -serial chardev:c0 \
		-chardev "file,id=c1,path=$logs/$name.dmesg" -serial chardev:c1 \
		-kernel "$folder/vmlinuz" -initrd "$logs/$name.cpio" \
		-append "console=ttyS0 quiet loglevel=4 panic=-1 oops=panic transparent_hugepage=always $campaigns ${VM_APPEND:-}" \
		>"$logs/$name.qemu" 2>&1 &
	machine=$!
	rm -f "$logs/$name.stuck"
	watch $machine 2>/dev/null &
	watcher=$!
	# timeout has a process group of its own: what ends us does not reach it.
	trap "kill $machine $watcher; rm -f $disk $bad $empty; exit 130" INT TERM
	wait $machine
	rc=$?
	trap - INT TERM
	kill $watcher 2>/dev/null
	rm -f "$disk" "$bad" "$empty"
	return $rc
}

# Sectors of 512 bytes; one rule is for one sector.
bad_sectors() {
	local i
	for i in 0 1 2 3 4 5 6 7; do
		printf 'inject-error.%d.event=none,inject-error.%d.iotype=read,' $i $i
		printf 'inject-error.%d.errno=5,inject-error.%d.sector=%d,' $i $i $((4096 + i * 512))
		printf 'inject-error.%d.event=none,inject-error.%d.iotype=write,' $((i + 8)) $((i + 8))
		printf 'inject-error.%d.errno=5,inject-error.%d.sector=%d%s' $((i + 8)) $((i + 8)) \
			$((8192 + i * 512)) "$([ $i -lt 7 ] && echo ,)"
	done
}

# The kernel patches its code under a breakpoint (int3), and TCG may run its translation of the
# breakpoint when that has been replaced.  The report says so: an int3 where no int3 stands.
is_stale_int3() {
	local code
	grep -q 'Oops: int3' "$logs/$name.console" || return
	code=$(grep -m1 -oE 'Code: [0-9a-f <>]*<[0-9a-f]{2}>' "$logs/$name.console") || return
	[ "${code: -4}" != "<cc>" ]
}

# What the module cannot have brought about: such a machine is started again, once.
emulator_failed() {
	if [ -e "$logs/$name.stuck" ]; then
		echo "# it did not come to its suite, nothing of ours had run: started again"
	elif is_stale_int3; then
		echo "# QEMU ran a breakpoint that the kernel had replaced: started again"
	else
		return 1
	fi
}

boot_again() {
	mv "$logs/$name.console" "$logs/$name.console.first"
	: >"$logs/$name.console"
	: >"$logs/$name.dmesg"
	boot
}

scan() {
	"$here/scan.sh" "$logs/$name.console" "$logs/$name.dmesg"
}

report() {
	tr -d '\r' <"$logs/$name.console" | sed -n '/^@@begin/,/^@@end/p' | grep -v '^@@' >"$logs/$name.out"
	grep -E '^(ok|not ok|skip|#) ' "$logs/$name.out"
	grep -q '^@@end 0' "$logs/$name.console" ||
		fail end "did not reach its end, after $2 s of at most $limit (see $logs/$name.console)"
	if [ -n "$(scan 2>&3)" ]; then
		fail log "$(scan 2>/dev/null | head -1)"
		scan 2>/dev/null | head -60 | sed 's/^/# /'
	else
		echo "ok log"
	fi 3>&1
	echo "# $name: $(grep -c '^ok ' "$logs/$name.out") ok," \
		"$(grep -c '^not ok ' "$logs/$name.out") failed," \
		"$(grep -c '^skip ' "$logs/$name.out") skipped," \
		"$1 s to build, $2 s in the machine"
}

# Sets $folder and $name, or $skipped; prints why not.
find_kernel() {
	local rc
	name=linux-$(basename "$1")
	skipped=${missing:+not installed:$missing (tools/deps.sh vm)}
	[ -z "$skipped" ] || return 1
	if [ -d "$1" ]; then
		folder=$1
	else
		folder=$("$here/kernel.sh" "$1" 2>"$logs/kernel.log")
		rc=$?
		sed 's/^/# /' "$logs/kernel.log"
		if [ $rc -eq 3 ]; then
			skipped=$(tail -1 "$logs/kernel.log")
			return 1
		elif [ $rc -ne 0 ]; then
			fail kernel "$(tail -1 "$logs/kernel.log")"
			return 1
		fi
	fi
	name=linux-$(cat "$folder/release")
}

one() {
	local start built campaigns=$stock
	find_kernel "$1" || return
	is_checked && campaigns="$checked TEST_LIMIT=600"
	start=$(date +%s)
	if ! build >"$logs/$name.build" 2>&1; then
		fail build "the module does not build"
		grep -E 'error|warning|ERROR' "$logs/$name.build" | head -20 | sed 's/^/# /'
		return
	fi
	"$here/initramfs.sh" "$folder" "$logs/$name/vblackwell.ko" "$logs/$name.cpio" "$suite" \
		$programs || { fail initramfs "it cannot be made"; return; }
	: >"$logs/$name.console"
	: >"$logs/$name.dmesg"
	built=$(date +%s)
	boot
	! emulator_failed || boot_again
	report $((built - start)) $(($(date +%s) - built))
}

echo "KTAP version 1"
echo "1..$#"
number=0
for kernel in "$@"; do
	number=$((number + 1))
	one "$kernel" >"$logs/said" 2>&1
	if [ -n "$skipped" ]; then
		echo "ok $number $name # SKIP $skipped"
	else
		"$here/ktap.sh" $number "$name" <"$logs/said" || status=1
	fi
done
exit $status
