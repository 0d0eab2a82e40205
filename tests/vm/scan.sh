#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Print what a kernel reported about itself in its logs: faults, and the findings of
# every checker, each with what follows it.
#
#	tests/vm/scan.sh LOG...
#
# What a program of the machine does wrong is told by its test: its "general protection
# fault ip:" is no report of the kernel's about itself.
#
# Data races are the exception: the kernel has some of its own, so a KCSAN report
# counts when the module is on one of its two sides, or called them; who was interrupted is
# below an interrupt on the stack, but has not called it.
#
# One report of Linux's own is left out, and how often is said as an error: madvise(MADV_COLD) of
# a part of a large folio wants to split it, and asks for its cgroup first, with no RCU section.
# obj_cgroup_memcg() asserts one, for memory that is charged as the kernel's and mapped by user
# space, as ours is (and rings of io_uring); then the folio is in no file, and nothing is split.
set -u

tr -d '\r' <<<"$(cat "$@" 2>/dev/null)" | sed -E 's/^\[ *[0-9]+\.[0-9]+\](\[[ TC0-9]+\])? //' | awk '
	BEGIN {
		memory = "BUG:|KASAN|UBSAN|Oops|general protection fault[,:]|Bad page|refcount_t|" \
			"list_(add|del) corruption|unreferenced object|ODEBUG|DMA-API: .*device driver"
		locks = "possible (recursive|circular|irq lock)|suspicious RCU|inconsistent lock|" \
			"bad unlock balance|held lock freed|lock held when returning|" \
			"sleeping function called|scheduling while atomic"
		time = "blocked for more than|soft lockup|stalls on|self-detected stall"
		checkers = "turning off the locking|memory leak detector disabled|debugging out of memory"
		report = "WARNING:|Kernel panic|" memory "|" locks "|" time "|" checkers
	}
	/^=+$/ && length() >= 60 { if (ours) printf "%s", race; race = ""; ours = 0; next }
	/^BUG: KCSAN/ { race = $0 "\n"; next }
	race {
		race = race $0 "\n"
		if (/ of [0-9]+ bytes by /)
			interrupted = 0
		else if (/ asm_(sysvec_|common_interrupt)/)
			interrupted = 1
		if (/vblackwell/ && !interrupted)
			ours = 1
		next
	}
	own != "" && $0 ~ report { printf "%s", own; own = "" }
	/^WARNING: .* folio_memcg\+/ { own = $0 "\n"; left = 30; next }
	own ~ /split_huge_page_to_list/ && /^ +madvise_cold_or_pageout_pte_range\+/ { own = ""; linux++; next }
	own != "" {
		own = own "    " $0 "\n"
		if (!--left) {
			printf "%s", own
			own = ""
		}
		next
	}
	$0 ~ report { print; context = 30; next }
	context > 0 { print "    " $0; context-- }
	END {
		if (ours)
			printf "%s", race
		printf "%s", own
		if (linux)
			print "# " linux " of Linux\047s own: madvise() of a part of a large folio" >"/dev/stderr"
	}
'
