#!/bin/bash
# SPDX-License-Identifier: MIT
# No huge pages: vbrun says so and why before it begins, and computes the same.
set -u
. "$(dirname "$0")/lib.sh"

$vbrun gen "$work/m.safetensors" --size 24M >/dev/null
# stream COMMAND...: run by COMMAND; text and digest
stream() {
	"$@" $vbrun stream "$work/m.safetensors" --host 8M --chunk 64K --passes 1 --no-compare \
		>"$work/text" && "$@" $vbrun stream "$work/m.safetensors" --host 8M --chunk 64K \
		--passes 1 --no-compare --json >"$work/run.json"
}
# says PATTERN: among the lines about the device, before the run
says() { head -12 "$work/text" | grep -qE "^host\.pages +$1"; }
# A process that has them switched off, as a service manager does it.
without() {
	python3 -c 'import ctypes, os, sys
ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)
os.execv(sys.argv[1], sys.argv[1:])' "$@"
}

stream env
want=$(field "$work/run.json" digest)
verdict stream_says_what_pages_it_has says '(2 MiB|small: )'
stream without
verdict stream_says_that_they_are_switched_off says \
	'small: huge pages are switched off for this process$'
verdict stream_computes_the_same_without_them test "$(field "$work/run.json" digest)" = "$want"
verdict summary_says_it_too grep -q \
	'"host.pages": *"small: huge pages are switched off for this process"' "$work/run.json"

# A machine where nobody gets any.
export FAKE_ROOT=$work/root
mkdir -p "$FAKE_ROOT/sys/kernel/mm/transparent_hugepage"
echo 'always madvise [never]' >"$FAKE_ROOT/sys/kernel/mm/transparent_hugepage/enabled"
gcc -D_GNU_SOURCE -Iinclude/uapi -shared -fPIC tests/cli/preload.c -o "$work/preload.so" -ldl
stream env LD_PRELOAD="$work/preload.so"
verdict stream_says_that_the_machine_gives_none says \
	'small: /sys/kernel/mm/transparent_hugepage/enabled is never$'
verdict stream_computes_the_same_there test "$(field "$work/run.json" digest)" = "$want"
exit $status
