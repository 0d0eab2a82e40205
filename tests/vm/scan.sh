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
	$0 ~ report { print; context = 30; next }
	context > 0 { print "    " $0; context-- }
	END { if (ours) printf "%s", race }
'
