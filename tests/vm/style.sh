#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The module's sources as the kernel's own tools see them: checkpatch, sparse,
# kernel-doc.
#
# Prints "ok style/TOOL", "not ok style/TOOL: why", "skip style: why".  The tools, but
# for sparse, come with the source that the debug kernel was built from.
#
# What checkpatch says and we do not follow, each with its reason:
#	UNCOMMENTED_DEFINITION	locks have their comment in the kernel-doc above
#	MACRO_ARG_REUSE		a condition to wait for is there to be looked at again
#	BLOCK_COMMENT_STYLE	remarks behind members may go on in a second line
#	BIT_MACRO, ARRAY_SIZE, COMPLEX_MACRO, PREFER_KERNEL_TYPES
#				in kmod/core: user space builds it, without the
#				kernel's macros; tables are made of initializers
#	PARENTHESIS_ALIGNMENT, OPEN_ENDED_LINE, COMPLEX_MACRO
#				in kmod/trace.h: event macros are no code, and look so
#				throughout the kernel
#
# kernel-doc does not parse a structure that is declared with its only variable
# (kmod/bar.c).
set -u

here=$(dirname "$(readlink -f "$0")")
top=$(readlink -f "$here/../..")
. "$here/apt.sh"
everywhere=UNCOMMENTED_DEFINITION,MACRO_ARG_REUSE,BLOCK_COMMENT_STYLE
trace=PARENTHESIS_ALIGNMENT,OPEN_ENDED_LINE,COMPLEX_MACRO
core=BIT_MACRO,ARRAY_SIZE,COMPLEX_MACRO,PREFER_KERNEL_TYPES
folder=$(ls -d "$cache"/debug-*/ready 2>/dev/null | sort -V | tail -1 | xargs -r dirname)
status=0

# verdict NAME OUTPUT: no output is good news.
verdict() {
	if [ -z "$2" ]; then
		echo "ok style/$1"
	else
		echo "not ok style/$1: $(wc -l <<<"$2") findings"
		sed 's/^/# /' <<<"$2"
		status=1
	fi
}

checkpatch() {
	perl "$scripts/checkpatch.pl" --no-tree --terse --strict --max-line-length=100 "$@" 2>/dev/null |
		grep -v '^total:'
}

sparse_module() {
	local m
	m=$(mktemp -d)
	cp -r kmod include Kbuild "$m/"
	make -s -C "$folder/build" M="$m" CC=gcc-12 HOSTCC=gcc-12 CONFIG_DEBUG_INFO_BTF_MODULES= \
		C=2 CHECK=sparse modules 2>&1 | grep -E 'warning:|error:' | sed "s,$m/,,"
	rm -rf "$m"
}

cd "$top" || exit 1
if [ -z "$folder" ]; then
	echo "skip style: no kernel source in the cache (tests/vm/kernel.sh debug puts it there)"
	exit 0
fi
scripts=$folder/source/scripts
verdict checkpatch "$(checkpatch --ignore $everywhere -f $(ls kmod/*.[ch] | grep -v trace.h) \
		include/uapi/linux/*.h
	checkpatch --ignore $everywhere,$trace -f kmod/trace.h
	checkpatch --ignore $everywhere,$core -f kmod/core/*.[ch])"
verdict kernel-doc "$(perl "$scripts/kernel-doc" -none -Wall kmod/*.[ch] kmod/core/*.[ch] \
	include/uapi/linux/*.h 2>&1 | grep -E 'warning|error' | grep -v 'bar.c.*Cannot parse struct')"
if command -v sparse >/dev/null; then
	verdict sparse "$(sparse_module)"
else
	echo "skip style/sparse: sparse is not installed"
fi
exit $status
