#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Print what a kernel reported about itself in its logs: faults, and the findings of
# every checker.
#
#	tests/vm/scan.sh LOG...
#
# Data races are the exception: the kernel has some of its own, so a KCSAN report
# counts when one of its two sides, or whoever called it, is the module.
set -u

tr -d '\r' <<<"$(cat "$@" 2>/dev/null)" | sed -E 's/^\[ *[0-9]+\.[0-9]+\](\[[ TC0-9]+\])? //' | awk '
	/^={60,}$/ { if (race) { if (ours) printf "%s", race; race = ""; ours = 0 }; next }
	/^BUG: KCSAN/ { race = $0 "\n"; next }
	race { race = race $0 "\n"; if (/vblackwell/) ours = 1; next }
	/KCSAN: / { next }
	/(BUG:|WARNING:|Oops|general protection|Call Trace|KASAN|UBSAN|unreferenced object|possible (recursive|circular|irq lock)|suspicious RCU|inconsistent lock|bad unlock balance|held lock freed|lock held when returning|sleeping function called|ODEBUG|DMA-API: .*device driver|hung task|blocked for more than|soft lockup|stalls? on|self-detected stall|Kernel panic|Bad page|refcount_t|list_(add|del) corruption|scheduling while atomic|turning off the locking|memory leak detector disabled|debugging out of memory)/ { print }
	END { if (race && ours) printf "%s", race }
'
