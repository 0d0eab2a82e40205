#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Inside the machine: what a command costs that goes through the module to another process,
# and what a client gets beside a greedy one (bench/broker.c); what a fault costs whose chunk
# that process reads from NVMe (bench/fault.c).  A line of JSON a result;
# a clock that costs as much as a system call (hpet) is said: boot with tsc=reliable.
# The exit status is no test's, an emulated machine beside other work is no place for one.
#
# Environment: VM_HOPS=1: also where the time goes; VM_SPIN wait_spin_us; BENCH_RUNS.
cd /suite || exit 1
export BENCH_JSONL=/tmp/bench.jsonl
mount -t tracefs none /sys/kernel/tracing 2>/dev/null
if ! insmod vblackwell.ko chunk_bytes=65536 ${VM_SPIN:+wait_spin_us=$VM_SPIN}; then
	echo "not ok bench: insmod"
	exit 0
fi
echo "# clock: $(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)"
[ -z "$VM_HOPS" ] || ./broker --hops 2>&1 | sed 's/^/# /'
./broker $VM_BROKER >/tmp/out 2>&1
rc=$?
sed 's/^/# /' /tmp/out
if [ $rc -eq 0 ]; then
	echo "ok bench-broker"
else
	echo "not ok bench-broker: exit status $rc"
fi
rmmod vblackwell
insmod vblackwell.ko chunk_bytes=2097152
if ./fault >/tmp/out 2>&1; then
	echo "ok bench-fault"
else
	echo "not ok bench-fault: $(tail -1 /tmp/out)"
fi
sed 's/^/# /' /tmp/out
rmmod vblackwell
[ ! -e $BENCH_JSONL ] || cat $BENCH_JSONL
exit 0
