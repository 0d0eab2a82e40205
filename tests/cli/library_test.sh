#!/bin/bash
# SPDX-License-Identifier: MIT
# What the built library asks of others, and kmod/core of anybody: the library never prints and
# never ends the process; core has no floats, allocation, locks, clock or state of its own.
set -u
. "$(dirname "$0")/lib.sh"

# Standard streams and who writes to them, the ends of a process, handlers of signals.
# Text goes to memory: snprintf, vsnprintf and asprintf are no part of it.
prints='(__)?v?(f|d)?printf(_chk)?|f?puts(_unlocked)?|f?putc(har)?(_unlocked)?|fwrite(_unlocked)?|stdout|stderr|perror|psignal|v?syslog|v?warnx?|v?errx?|error(_at_line)?'
ends='abort|_?exit|_Exit|quick_exit|__assert(_perror)?_fail|__assert|raise|kill|tgkill|pthread_kill|pthread_exit|longjmp|siglongjmp'
handles='signal|sigaction|sigaltstack|atexit|on_exit|__cxa_atexit'

# imports FILE: names it does not define
imports() { nm -u ${2:-} "$1" | awk '{ print $NF }' | sed 's/@.*//' | sort -u; }
# none_of NAME PATTERN NAMES-FILE
none_of() {
	local found
	found=$(grep -xE -- "$2" "$3" | tr '\n' ' ')
	if [ -n "$found" ]; then not_ok "$1" "$found"; else ok "$1"; fi
}

imports "$build/libvgpu.so" -D >"$work/imports"
verdict library_imports_something grep -qx malloc "$work/imports"
none_of library_never_prints "$prints" "$work/imports"
none_of library_never_ends_the_process "$ends" "$work/imports"
none_of library_installs_no_handler "$handles" "$work/imports"

# The patterns find what they are for, through what the compiler makes of it.
cat >"$work/bad.c" <<'END'
#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
int bad(int n)
{
	assert(n != 3);
	printf("%d\n", n);
	printf("line\n");
	fprintf(stderr, "x");
	signal(SIGINT, SIG_IGN);
	if (n)
		abort();
	exit(1);
}
END
gcc -O2 -fPIC -c "$work/bad.c" -o "$work/bad.o" && imports "$work/bad.o" >"$work/bad.imports"
verdict patterns_find_who_prints test \
	"$(grep -cxE "$prints" "$work/bad.imports")" -ge 4
verdict patterns_find_who_ends test \
	"$(grep -xE "$ends" "$work/bad.imports" | tr '\n' ' ')" = '__assert_fail abort exit '
verdict patterns_find_who_handles grep -qxE "$handles" "$work/bad.imports"
verdict patterns_leave_text_in_memory test \
	"$(printf 'snprintf\nvsnprintf\nasprintf\n__snprintf_chk\n' | grep -cxE "$prints")" -eq 0

# Nothing leaves the library but what libvgpu.map names.
nm -D --defined-only "$build/libvgpu.so" | awk '$2 != "A" { print $3 }' | sed 's/@.*//' \
	>"$work/exports"
verdict exports_are_those_of_the_map test "$(grep -vc '^vgpu_' "$work/exports")" -eq 0
verdict exports_carry_the_version_of_the_map test \
	"$(nm -D --defined-only "$build/libvgpu.so" | grep -c ' [TDBR] .*@@VGPU_1$')" -eq \
	"$(wc -l <"$work/exports")"

# --- core, compiled as a kernel compiles: a float is an error there ---
core() {
	gcc -std=gnu11 -O2 -Wall -Wextra -Werror -mgeneral-regs-only -mno-red-zone -fno-pie -Ikmod \
		-Iinclude/uapi -c "$1" -o "$2" 2>"$work/log"
}
# state FILE: names of what can be written
state() { nm "$1" | awk '$2 ~ /^[bBdDcCgGsS]$/ { print $3 }'; }
: >"$work/core.imports"
: >"$work/core.state"
mkdir "$work/core"
for c in kmod/core/*.c; do
	o=$work/core/$(basename "$c" .c).o
	if core "$c" "$o"; then
		ok "core_$(basename "$c" .c)_has_no_floats"
	else
		not_ok "core_$(basename "$c" .c)_has_no_floats" "$(grep -m1 error "$work/log")"
		continue
	fi
	imports "$o" >>"$work/core.imports"
	state "$o" >>"$work/core.state"
done
for bad in 'float f(float x); float f(float x) { return x * 2; }' \
	'unsigned long f(void *p); unsigned long f(void *p) { return *(double *)p + 1; }'; do
	echo "$bad" >"$work/float.c"
	! core "$work/float.c" "$work/float.o"
	verdict "a_${bad%% *}_would_be_found" test $? -eq 0
done
echo 'int f(void); int f(void) { static int n; return ++n; }' >"$work/state.c"
core "$work/state.c" "$work/state.o"
verdict state_would_be_found test -n "$(state "$work/state.o")"

# Allocation, locks, clocks, user memory, printing: all would be names from elsewhere.
nm --defined-only "$work"/core/*.o | awk '$2 == "T" { print $3 }' | sort -u >"$work/core.defined"
outside=$(sort -u "$work/core.imports" | grep -vxFf "$work/core.defined" |
	grep -vxE 'memset|memcpy|memmove|memcmp' | tr '\n' ' ')
verdict core_calls_nobody test -z "$outside"
[ -z "$outside" ] || echo "it calls $outside"
verdict core_has_no_state test ! -s "$work/core.state"
verdict core_functions_carry_its_prefix test "$(grep -vc '^vb_' "$work/core.defined")" -eq 0
verdict only_deps_h_asks_for_the_kernel test \
	"$(grep -lE '\b__KERNEL__\b' kmod/core/*)" = kmod/core/deps.h
exit $status
