#!/bin/sh
# SPDX-License-Identifier: MIT
#
# What runs inside the machine: for each chunk size the module is loaded, the
# selftests speak to its nodes, the module is unloaded.  One line a verdict.
cd /suite || exit 1
export VBLACKWELL_SELFTEST_NODE=/dev/vblackwell VBLACKWELL_SELFTEST_EXEC=/dev/vblackwell-exec

# run NAME PROGRAM: a cmocka program; its verdicts become our lines.
run() {
	name=$1
	shift
	timeout "${TEST_LIMIT:-240}" "$@" >/tmp/out 2>&1
	rc=$?
	sed -n -E \
		-e "s,^\[ +OK \] (.*),ok $name/\1,p" \
		-e "s,^\[  (FAILED|ERROR) +\] ([A-Za-z_0-9]+)$,not ok $name/\2: see below,p" \
		-e "s,^SKIP: (.*),skip $name/\1,p" /tmp/out >/tmp/lines
	# The other chunk size has its turn; and who skips says why.
	sed -i '/has another chunk size$/d' /tmp/lines
	# cmocka names a failure twice, in place and at the end.
	grep -v '^not ok' /tmp/lines
	grep '^not ok' /tmp/lines | sort -u
	if [ $rc -ne 0 ]; then
		grep -q '^not ok' /tmp/lines || echo "not ok $name: exit status $rc"
		grep -vE '^\[ +(RUN|OK|=)' /tmp/out | tail -60 | sed 's/^/# /'
	fi
}

for chunk in 65536 2097152; do
	# Huge pages are asked for; what ran before has left memory in pieces.
	echo 3 >/proc/sys/vm/drop_caches
	echo 1 >/proc/sys/vm/compact_memory
	if ! insmod vblackwell.ko chunk_bytes=$chunk; then
		echo "not ok load-$chunk: insmod"
		continue
	fi
	for t in *_test; do
		echo "vm: $t $chunk" >/dev/kmsg
		run "$t-$chunk" "./$t"
	done
	if rmmod vblackwell; then
		echo "ok unload-$chunk"
	else
		echo "not ok unload-$chunk: $(cat /sys/module/vblackwell/refcnt) references"
	fi
done
# again: load and unload, with both nodes opened in between.
again() {
	n=0
	while [ $n -lt 20 ]; do
		insmod vblackwell.ko chunk_bytes=65536 || return 1
		: <>/dev/vblackwell
		: <>/dev/vblackwell-exec
		rmmod vblackwell || return 1
		n=$((n + 1))
	done
}
if again; then
	echo "ok load-and-unload-20"
else
	echo "not ok load-and-unload-20: round $n"
fi
exit 0
