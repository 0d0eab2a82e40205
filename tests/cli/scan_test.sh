#!/bin/bash
# SPDX-License-Identifier: MIT
# tests/vm/scan.sh: what a kernel reports about itself is found in its log, the races of
# others are not ours, and a log without a report says nothing.
set -u
. "$(dirname "$0")/lib.sh"

# finds NAME LINES-WANTED LINE...: how many reports the log has, by their first lines
finds() {
	local name=$1 want=$2 got
	shift 2
	printf '%s\r\n' "$@" >"$work/log"
	tests/vm/scan.sh "$work/log" >"$work/out"
	got=$(grep -cv '^ ' "$work/out")
	if [ "$got" -eq "$want" ]; then
		ok "$name"
	else
		not_ok "$name" "$got lines, must be $want: $(head -c 300 "$work/out")"
	fi
}

# Of each checker, as it writes.
while read -r line; do
	finds "scan_finds_$(tr -cs 'A-Za-z\n' _ <<<"${line:0:40}")" 1 '[    1.000000] vm: before' \
		"[   12.345678][  T123] $line" 'after'
done <<'END'
BUG: KASAN: slab-use-after-free in vb_bo_put+0x10/0x20 [vblackwell]
BUG: kernel NULL pointer dereference, address: 0000000000000008
BUG: sleeping function called from invalid context at kernel/locking/mutex.c:585
UBSAN: shift-out-of-bounds in /module/kmod/arena.c:10:20
WARNING: CPU: 1 PID: 77 at kernel/trace/trace_events.c:2628 event_define_fields+0x2f8/0x530
WARNING: possible circular locking dependency detected
WARNING: suspicious RCU usage
refcount_t: underflow; use-after-free.
list_del corruption. prev->next should be ffff888000000000
unreferenced object 0xffff888106a0c000 (size 512):
DMA-API: nvme 0000:00:03.0: device driver frees DMA memory with wrong function
INFO: task vbd:77 blocked for more than 150 seconds.
watchdog: BUG: soft lockup - CPU#1 stuck for 26s!
rcu: INFO: rcu_preempt self-detected stall on CPU
Kernel panic - not syncing: Fatal exception
general protection fault, probably for non-canonical address 0xdffffc0000000001
general protection fault: 0000 [#1] PREEMPT SMP KASAN NOPTI
kmemleak: Kernel memory leak detector disabled
INFO: lockdep is turned off: turning off the locking correctness validator.
END
finds scan_of_a_quiet_log_says_nothing 0 '[    0.000000] Linux version 6.1' \
	'[    9.000000] vblackwell: loading out-of-tree module taints kernel.' 'vm: bo_test 65536'
finds scan_leaves_faults_of_programs_to_their_tests 0 \
	'[   12.345678] traps: fuzz_module[77] general protection fault ip:401234 sp:7ffc0 error:0 in fuzz_module' \
	'[   12.345679] fuzz_module[77]: segfault at 8 ip 0000000000401234 sp 00007ffc0 error 4'
finds scan_of_an_empty_log_says_nothing 0 ''
finds scan_finds_each_of_several 2 'WARNING: one' 'Call Trace:' 'BUG: two'
tests/vm/scan.sh "$work/log" | grep -q '^ *Call Trace:'
verdict scan_shows_what_follows test $? -eq 0

# As Linux 6.12 wrote it; the same from elsewhere, and what comes amid it, count.
memcg() {
	printf '%s\n' 'WARNING: CPU: 0 PID: 2706 at include/linux/memcontrol.h:384 folio_memcg+0x14b/0x1d0' \
		'Call Trace:' ' <TASK>' " $1" ' ? lock_acquire+0x19b/0x4d0' " $2" '</TASK>'
}
split=split_huge_page_to_list_to_order+0xb0/0x35c0
advice=madvise_cold_or_pageout_pte_range+0xeee/0x1890
mapfile -t linux < <(memcg $split $advice)
mapfile -t other < <(memcg $split vb_fault+0x1/0x2)
mapfile -t asked < <(memcg vb_fault+0x1/0x2 $advice)
mapfile -t guess < <(memcg $split "? $advice")
finds scan_leaves_out_that_linux_asks_for_a_cgroup_to_split 0 "${linux[@]}"
finds scan_finds_who_else_splits 1 "${other[@]}"
finds scan_finds_who_else_asks_for_a_cgroup 1 "${asked[@]}"
finds scan_takes_no_guess_for_a_caller 1 "${guess[@]}"
finds scan_finds_what_follows_a_report_of_linux 2 "${linux[@]}" 'BUG: one' "${other[@]}"
finds scan_finds_what_is_amid_a_report_of_linux 2 "${linux[@]:0:5}" 'BUG: one' "${linux[@]:5}"
printf '%s\n' "${linux[@]}" "${linux[@]}" >"$work/log"
tests/vm/scan.sh "$work/log" 2>&1 | grep -q "^# 2 of Linux's own"
verdict scan_says_how_many_were_left_out test $? -eq 0

rule='=================================================================='
race() {
	printf '%s\n' "$rule" 'BUG: KCSAN: data-race in a / b' 'read to 0xffff888 of 4 bytes:' " $1" "$rule"
}
mapfile -t ours < <(race 'vb_queue_next+0x1/0x2 [vblackwell]')
mapfile -t theirs < <(race 'tick_sched_do_timer+0x1/0x2')
finds scan_counts_a_race_of_ours 2 "${ours[@]}"
finds scan_leaves_races_to_others 0 "${theirs[@]}"
finds scan_tells_races_apart 2 "${theirs[@]}" "${ours[@]}" "${theirs[@]}"
mapfile -t theirs < <(race 'rcu_core+0x1/0x2
 asm_sysvec_apic_timer_interrupt+0x16/0x20
 vb_request_put+0x39/0x50 [vblackwell]')
finds scan_leaves_races_of_an_interrupt_to_others 0 "${theirs[@]}"
mapfile -t ours < <(race 'rcu_core+0x1/0x2
 asm_sysvec_apic_timer_interrupt+0x16/0x20
 vb_request_put+0x39/0x50 [vblackwell]

read to 0xffff888 of 4 bytes by task 7 on cpu 1:
 vb_queue_next+0x1/0x2 [vblackwell]')
finds scan_counts_the_other_side_of_an_interrupt 4 "${ours[@]}"
mapfile -t ours < <(race 'vb_watch+0x1/0x2 [vblackwell]
 asm_sysvec_apic_timer_interrupt+0x16/0x20
 do_idle+0x1/0x2')
finds scan_counts_interrupts_of_ours 2 "${ours[@]}"
finds scan_goes_on_after_a_race 1 "${theirs[@]}" 'WARNING: one'
exit $status
