#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The module's sources as the kernel's own tools see them: checkpatch, sparse,
# kernel-doc; and that no function which crosses a file lacks the last.
#
# Prints "ok style/TOOL", "not ok style/TOOL: why", "skip style/TOOL: why".  The tools, but
# for sparse, come with kernels of the cache: Debian's headers bring kernel-doc, the
# source that the debug kernel was built from brings checkpatch too.
#
# Each tool is given a mistake beside the sources: one that does not find it has not
# looked.
#
# What checkpatch says and we do not follow, each with its reason:
#	UNCOMMENTED_DEFINITION	locks have their comment in the kernel-doc above
#	MACRO_ARG_REUSE		a condition to wait for is there to be looked at again
#	BIT_MACRO, ARRAY_SIZE, COMPLEX_MACRO, PREFER_KERNEL_TYPES
#				in kmod/core: user space builds it, without the
#				kernel's macros; tables are made of initializers
#	PARENTHESIS_ALIGNMENT, OPEN_ENDED_LINE, COMPLEX_MACRO
#				in kmod/trace.h: event macros are no code, and look so
#				throughout the kernel
#
# Environment: VBLACKWELL_CACHE.
set -u

here=$(dirname "$(readlink -f "$0")")
top=$(readlink -f "$here/../..")
. "$here/apt.sh"
everywhere=UNCOMMENTED_DEFINITION,MACRO_ARG_REUSE
trace=PARENTHESIS_ALIGNMENT,OPEN_ENDED_LINE,COMPLEX_MACRO
core=BIT_MACRO,ARRAY_SIZE,COMPLEX_MACRO,PREFER_KERNEL_TYPES
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
status=0

# verdict NAME OUTPUT: the mistake, in a file named so, and nothing else is good news.
verdict() {
	local others
	others=$(grep -v mistake <<<"$2")
	if [ "$others" = "$2" ]; then
		echo "not ok style/$1: it did not find the mistake made for it"
		status=1
	elif [ -z "$others" ]; then
		echo "ok style/$1"
	else
		echo "not ok style/$1: $(wc -l <<<"$others") findings"
		sed 's/^/# /' <<<"$others"
		status=1
	fi
}

# newest FILE: of those in the cache; FILE may have wildcards
newest() {
	# shellcheck disable=SC2086
	ls -d "$cache"/$1 2>/dev/null | sort -V | tail -1
}

# ---- checkpatch ----

checkpatch() {
	perl "$script" --no-tree --terse --strict --max-line-length=100 "$@" 2>&1 | grep -v '^total:'
}

patches() {
	printf '%s\n' '// SPDX-License-Identifier: MIT' 'int a( void );' >"$work/mistake.c"
	checkpatch --ignore $everywhere -f $(ls kmod/*.[ch] | grep -v trace.h) include/uapi/linux/*.h
	checkpatch --ignore $everywhere,$trace -f kmod/trace.h
	checkpatch --ignore $everywhere,$core -f kmod/core/*.[ch] "$work/mistake.c"
}

check_patches() {
	script=$(newest 'debug-*/source/scripts/checkpatch.pl')
	if [ -n "$script" ]; then
		verdict checkpatch "$(patches)"
	else
		echo "skip style/checkpatch: no kernel source in the cache (tests/vm/kernel.sh debug puts it there)"
	fi
}

# ---- kernel-doc ----

documents() {
	local all=
	# Old ones know fewer warnings.
	! perl "$script" -Wall -none /dev/null >/dev/null 2>&1 || all=-Wall
	printf '%s\n' '/**' ' * mistake() - of two parameters' ' * @a: one' ' */' \
		'int mistake(int a, int b)' '{' '}' >"$work/mistake.c"
	perl "$script" -none $all kmod/*.[ch] kmod/core/*.[ch] include/uapi/linux/*.h "$work/mistake.c" 2>&1 |
		grep -v 'no structured comments'
}

check_documents() {
	script=$(newest 'debug-*/source/scripts/kernel-doc')
	[ -n "$script" ] || script=$(newest 'kernel-*/root/usr/lib/linux-kbuild-*/scripts/kernel-doc')
	if [ -n "$script" ]; then
		verdict kernel-doc "$(documents)"
	else
		echo "skip style/kernel-doc: no kernel in the cache (tests/vm/kernel.sh 6.1 puts one there)"
	fi
}

# ---- kernel-doc of every function that crosses a file ----

# A definition begins in the first column and its body has a line of its own; the kernel-doc
# stands there or with the declaration in a header.
undocumented() {
	printf '%s\n' '/*' ' * mistake() - in a plain comment' ' */' 'int mistake(void)' '{' '}' >"$work/mistake.c"
	awk '
	opened && match($0, /^ \* [a-z0-9_]+\(\) - /) { documented[substr($2, 1, length($2) - 2)] = 1 }
	{ opened = /^\/\*\*$/ }
	/^[a-z]/ { head = $0; at = FILENAME ":" FNR }
	/^{/ && head ~ /\(/ && head !~ /^static / {
		sub(/\(.*/, "", head)
		sub(/.*[ *]/, "", head)
		where[head] = at
	}
	END {
		for (name in where)
			if (!(name in documented))
				print where[name] ": " name "() has no kernel-doc"
	}' kmod/*.[ch] kmod/core/*.[ch] "$work/mistake.c" | sort
}

check_undocumented() {
	verdict documented "$(undocumented)"
}

# ---- sparse, and what the compiler says when asked for more ----

sparsely() {
	cp -r kmod include Kbuild "$work/"
	echo 'int a;' >"$work/kmod/mistake.c"
	echo 'vblackwell-y += kmod/mistake.o' >>"$work/Kbuild"
	make -s -j"$(nproc)" -C "$headers" M="$work" CC=gcc-12 HOSTCC=gcc-12 CONFIG_DEBUG_INFO_BTF_MODULES= \
		W=1 C=2 CHECK=sparse modules 2>&1 | grep -E 'warning:|error:|Error' | sed "s,$work/,,"
}

check_sparse() {
	headers=$(newest 'debug-*/ready')
	[ -n "$headers" ] || headers=$(newest 'kernel-*/ready')
	headers=${headers:+${headers%/ready}/build}
	if ! command -v sparse >/dev/null; then
		echo "skip style/sparse: sparse is not installed (tools/deps.sh vm)"
	elif [ -z "$headers" ]; then
		echo "skip style/sparse: no kernel in the cache (tests/vm/kernel.sh 6.1 puts one there)"
	else
		verdict sparse "$(sparsely)"
	fi
}

cd "$top" || exit 1
check_patches
check_documents
check_undocumented
check_sparse
exit $status
