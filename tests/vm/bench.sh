#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Inside the machine: what a command costs that goes through the module to another process
# (bench/broker.c); what a client gets beside a greedy one, and one of sixteen equal ones
# (bench/share.c); what a fault costs whose chunk that process reads from NVMe
# (bench/fault.c).  A line of JSON a result;
# a clock that costs as much as a system call (hpet) is said: boot with tsc=reliable.
# The exit status is no test's, an emulated machine beside other work is no place for one.
#
# Environment: VM_BENCH some of "broker sixteen greedy file evicted pager"; VM_HOPS=1: also where the
# time goes; VM_SPIN wait_spin_us; BENCH_RUNS.
cd /suite || exit 1
export BENCH_JSONL=/tmp/bench.jsonl
mount -t tracefs none /sys/kernel/tracing 2>/dev/null
# Linux 7.3 lends nobody its CRC32C otherwise (fault.c), not even root.
[ ! -e /proc/sys/crypto/af_alg_restrict ] || echo 0 >/proc/sys/crypto/af_alg_restrict

# wanted NAME
wanted() {
	case " $(echo "${VM_BENCH:-broker,sixteen,greedy,file,evicted,pager}" | tr , ' ') " in
	*" $1 "*) true ;;
	*) false ;;
	esac
}

# run NAME PROGRAM...: its limits are its own.
run() {
	name=$1
	shift
	wanted "$name" || return
	"$@" >/tmp/out 2>&1
	rc=$?
	sed 's/^/# /' /tmp/out
	if [ $rc -eq 0 ]; then
		echo "ok bench-$name"
	else
		echo "not ok bench-$name: exit status $rc: $(tail -1 /tmp/out)"
	fi
}

# load CHUNK
load() {
	insmod vblackwell.ko chunk_bytes="$1" ${VM_SPIN:+wait_spin_us=$VM_SPIN} && return
	echo "not ok bench: insmod"
	exit 0
}

echo "# clock: $(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)"
load 65536
[ -z "$VM_HOPS" ] || ! wanted broker || ./broker --hops 2>&1 | sed 's/^/# /'
run broker ./broker
run sixteen ./share sixteen
run greedy ./share greedy
rmmod vblackwell
load 2097152
run file ./fault file
run evicted ./fault evicted
rmmod vblackwell
# Its memory is of huge pages too.
echo always >/sys/kernel/mm/transparent_hugepage/shmem_enabled
run pager ./fault pager
[ ! -e $BENCH_JSONL ] || cat $BENCH_JSONL
exit 0
