#!/bin/bash
# SPDX-License-Identifier: MIT
# tests/vm/run.sh, tests/vm/ktap.sh and tests/ktap.sh: what machines said becomes KTAP, whatever
# became of them, and what is no KTAP is not taken for it.
set -u
. "$(dirname "$0")/lib.sh"

# ---- what a machine says ----

cat >"$work/lines" <<'END'
# booted: 12 s
ok bo_test-65536/a
not ok bo_test-65536/b: see below
# tests/x.c:7: error
skip bo_test-65536/c: no disk # here
ok unload-65536
skip late_test-65536: not in a short run
ok fuzz-1
of no kind
not ok fuzz-1/pages: 2000 KiB leaked
ok bo_test-65536/d
END
cat >"$work/want" <<'END'
  KTAP version 1
  # Subtest: linux-6.1
  1..4
  # booted: 12 s
    KTAP version 1
    # Subtest: bo_test-65536
    1..4
    ok 1 a
    not ok 2 b # see below
    # tests/x.c:7: error
    ok 3 c # SKIP no disk # here
    ok 4 d
  not ok 1 bo_test-65536
  ok 2 unload-65536
  ok 3 late_test-65536 # SKIP not in a short run
    KTAP version 1
    # Subtest: fuzz-1
    1..2
    ok 1 fuzz-1
    # of no kind
    not ok 2 pages # 2000 KiB leaked
  not ok 4 fuzz-1
not ok 7 linux-6.1
END
tests/vm/ktap.sh 7 linux-6.1 <"$work/lines" >"$work/got"
verdict lines_nest_by_program diff "$work/want" "$work/got"
tests/vm/ktap.sh 1 x <"$work/lines" >"$work/out"
verdict one_failure_fails_all test $? -eq 1
grep -v '^not' "$work/lines" | tests/vm/ktap.sh 1 x >"$work/out"
verdict no_failure_is_ok test $? -eq 0
verdict no_failure_says_ok test "$(tail -1 "$work/out")" = "ok 1 x"
tests/vm/ktap.sh 1 x </dev/null >"$work/out"
verdict no_verdict_fails test $? -eq 1
verdict no_verdict_is_said grep -q 'not ok 1 verdict # there was none' "$work/out"

# ---- what a cmocka program says, in the machine ----

cat >"$work/cmocka" <<'END'
SKIP: bo, 2 MiB chunks: the module has another chunk size
SKIP: bo, slow executor: the node cannot be opened
[==========] Running 4 test(s).
[ RUN      ] passes
[       OK ] passes
[ RUN      ] skips
SKIP: skips: no io_uring
[  SKIPPED ] skips
[ RUN      ] fails
[  ERROR   ] --- 0x1 != 0x2
bo_test.c:7: error: Failure!
[  FAILED  ] fails
[ RUN      ] skips_otherwise
SKIP: no disk
[  SKIPPED ] skips_otherwise
[==========] 4 test(s) run.
[  SKIPPED ] 2 test(s), listed below:
[  SKIPPED ] skips
[  SKIPPED ] skips_otherwise

 2 SKIPPED TEST(S)
[  FAILED  ] 1 test(s), listed below:
[  FAILED  ] fails

 1 FAILED TEST(S)
END
cat >"$work/said" <<'END'
skip bo_test-65536/bo, slow executor: the node cannot be opened
ok bo_test-65536/passes
skip bo_test-65536/skips: no io_uring
skip bo_test-65536/skips_otherwise: no disk
not ok bo_test-65536/fails: see below
END
sed -n '/^verdicts() {/,/^}/p' tests/vm/suite.sh >"$work/verdicts"
(. "$work/verdicts" && verdicts bo_test-65536 0) <"$work/cmocka" >"$work/got"
verdict cmocka_is_counted_once diff "$work/said" "$work/got"
echo "not ok bo_test-65536: no test ran" >"$work/said"
(. "$work/verdicts" && verdicts bo_test-65536 0) <<<'[==========] Running 0 test(s).' >"$work/got"
verdict cmocka_without_a_test_fails diff "$work/said" "$work/got"
(. "$work/verdicts" && verdicts bo_test-65536 0) >"$work/got" \
	<<<'SKIP: bo, 2 MiB chunks: the module has another chunk size'
verdict another_chunk_size_is_no_failure test ! -s "$work/got"

# ---- read again ----

{ printf '%s\n' "KTAP version 1" 1..1; sed 's/^not ok 7/not ok 1/' "$work/want"; } >"$work/ktap"
cat >"$work/want" <<'END'
# booted: 12 s
ok linux-6.1/bo_test-65536/a
not ok linux-6.1/bo_test-65536/b: see below
# tests/x.c:7: error
skip linux-6.1/bo_test-65536/c: no disk # here
ok linux-6.1/bo_test-65536/d
ok linux-6.1/unload-65536
skip linux-6.1/late_test-65536: not in a short run
ok linux-6.1/fuzz-1/fuzz-1
# of no kind
not ok linux-6.1/fuzz-1/pages: 2000 KiB leaked
END
tests/ktap.sh <"$work/ktap" >"$work/got"
verdict reader_says_what_was_said diff "$work/want" "$work/got"

# refused NAME PATTERN SED-COMMAND: the reader says so of what was changed
refused() {
	sed -E "$3" "$work/ktap" >"$work/changed"
	tests/ktap.sh <"$work/changed" >"$work/got"
	verdict "reader_refuses_$1" test $? -eq 1
	verdict "reader_says_of_$1" grep -qE "^not ok ktap: line [0-9]+: $2" "$work/got"
}
refused no_version 'a level at another depth|no version line' '1d'
refused no_nested_version 'a plan out of its place' '/^    KTAP/d'
refused no_plan 'a level without a plan' '/^    1\.\.4/d'
refused a_plan_for_more 'a plan for 5 results, and 4' 's/1\.\.4/1..5/'
refused a_second_plan 'a plan out of its place' 's/^(  # booted.*)/  1..4/'
refused a_number_left_out 'number 3 stands where 2 must' 's/^  ok 2/  ok 3/'
refused a_sum_that_hides 'bo_test-65536 is ok, and what is nested in it is not' \
	's/^  not ok 1 bo/  ok 1 bo/'
refused an_end_too_soon 'a level has no end' '$d'
refused a_line_of_no_kind 'neither a result nor a remark: Killed' 's/^  # booted.*/Killed/'
refused nothing_at_all 'no version line' 'd'

# ---- the runner, with machines that are not there ----

tree=$work/tree
mkdir -p $tree/{tests/vm,kmod,include,path}
touch $tree/Kbuild
cp tests/vm/{run,ktap,scan}.sh $tree/tests/vm/
# script FILE LINE...
script() {
	local file=$1
	shift
	{ echo '#!/bin/bash'; printf '%s\n' "$@"; } >"$file"
	chmod +x "$file"
}
script $tree/tests/vm/initramfs.sh 'echo "written to stderr" >&2'
script $tree/tests/vm/kernel.sh 'case $1 in' 'none) echo "no network" >&2; exit 3 ;;' \
	'broken) echo "no space" >&2; exit 1 ;;' 'esac' "echo $work/\$1"
script $tree/path/make 'case "$*" in *unbuilt*) echo "x.c: error: no"; exit 2 ;; esac'
for tool in cpio depmod busybox; do
	script $tree/path/$tool :
done
# Its console has what the folder of the kernel says, in its last run what it says at last; some
# do not come to an end.
script $tree/path/qemu-system-x86_64 'console=$(sed -E "s,.*path=([^ ]*console).*,\1,;q" <<<"$*")' \
	'kernel=$(sed -E "s,.*-kernel ([^ ]*)/vmlinuz.*,\1,;q" <<<"$*")' 'cat "$kernel/says" >"$console"' '[ ! -e "$kernel/last" ] || mv "$kernel/last" "$kernel/says"' \
	'[ ! -e "$kernel/hangs" ] || { rm "$kernel/hangs"; exec sleep 30; }'
# kernel NAME LINE...: one that says these lines
kernel() {
	local folder=$work/$1
	mkdir -p "$folder/build"
	echo "$1" >"$folder/release"
	echo gcc >"$folder/cc"
	shift
	printf '%s\n' "$@" >"$folder/says"
}
kernel good booting @@begin '# booted: 3 s' 'ok a_test-65536/x' 'skip a_test-65536/y: no disk' \
	'ok kmemleak' '@@end 0'
kernel bad @@begin 'not ok a_test-65536/x: see below' '# here' '@@end 0'
kernel hung @@begin 'ok a_test-65536/x'
kernel patched @@begin 'Oops: int3: 0000 [#1] PREEMPT SMP NOPTI' 'Code: 00 0f 85 42 0f <1f> 44 00 00 48'
kernel trapped @@begin 'Oops: int3: 0000 [#1] PREEMPT SMP NOPTI' 'Code: 00 0f 85 42 0f <cc> 44 00 00 48'
kernel stuck booting
for name in patched trapped stuck; do
	cp "$work/good/says" "$work/$name/last"
done
touch "$work/stuck/hangs"
kernel twice @@begin 'Oops: int3: 0000 [#1] PREEMPT SMP NOPTI' 'Code: 00 0f 85 42 0f <1f> 44 00 00 48'
kernel unbuilt
machines() {
	PATH=$tree/path:$PATH VM_KEEP=$work/kept $tree/tests/vm/run.sh "$@" >"$work/out" 2>"$work/err"
	rc=$?
	tests/ktap.sh <"$work/out" >"$work/got"
}
machines good
verdict runner_succeeds test $rc -eq 0
grep -v '^ *#' "$work/out" >"$work/plain"
cat >"$work/want" <<'END'
KTAP version 1
1..1
  KTAP version 1
  1..3
    KTAP version 1
    1..2
    ok 1 x
    ok 2 y # SKIP no disk
  ok 1 a_test-65536
  ok 2 kmemleak
  ok 3 log
ok 1 linux-good
END
verdict runner_prints_ktap diff "$work/want" "$work/plain"
verdict runner_names_levels grep -q '^    # Subtest: a_test-65536$' "$work/out"
verdict runner_keeps_remarks grep -q '^  # booted: 3 s$' "$work/out"
verdict runner_prints_nothing_else test ! -s "$work/err"
machines good none bad broken hung unbuilt
verdict runner_fails test $rc -eq 1
verdict runner_is_well_formed test "$(grep -c '^not ok ktap' "$work/got")" = 0
verdict runner_has_a_plan test "$(sed -n 2p "$work/out")" = 1..6
said() { grep -E '^(ok|not ok|skip)' "$work/got" | sed -E 's/after [0-9]+ s/after N s/' >"$work/plain"; }
said
cat >"$work/want" <<END
ok linux-good/a_test-65536/x
skip linux-good/a_test-65536/y: no disk
ok linux-good/kmemleak
ok linux-good/log
skip linux-none: no network
not ok linux-bad/a_test-65536/x: see below
ok linux-bad/log
not ok linux-broken/kernel: no space
ok linux-hung/a_test-65536/x
not ok linux-hung/end: did not reach its end, after N s of at most 2400 (see $work/kept/linux-hung.console)
ok linux-hung/log
not ok linux-unbuilt/build: the module does not build
END
verdict runner_says_what_became_of_each diff "$work/want" "$work/plain"
verdict runner_says_why_it_did_not_build grep -q '^ *# x.c: error: no$' "$work/out"
# A breakpoint where none stands any more is the emulator's, once.
VM_BOOT=1 machines patched trapped twice stuck
said
cat >"$work/want" <<END
ok linux-patched/a_test-65536/x
skip linux-patched/a_test-65536/y: no disk
ok linux-patched/kmemleak
ok linux-patched/log
not ok linux-trapped/end: did not reach its end, after N s of at most 2400 (see $work/kept/linux-trapped.console)
not ok linux-trapped/log: Oops: int3: 0000 [#1] PREEMPT SMP NOPTI
not ok linux-twice/end: did not reach its end, after N s of at most 2400 (see $work/kept/linux-twice.console)
not ok linux-twice/log: Oops: int3: 0000 [#1] PREEMPT SMP NOPTI
ok linux-stuck/a_test-65536/x
skip linux-stuck/a_test-65536/y: no disk
ok linux-stuck/kmemleak
ok linux-stuck/log
END
verdict emulator_faults_are_tried_again diff "$work/want" "$work/plain"
verdict another_try_is_said test "$(grep -c 'QEMU ran a breakpoint.*started again' "$work/out")" -eq 2
verdict another_try_of_one_that_hung_is_said test "$(grep -c 'not come to its suite.*started again' "$work/out")" -eq 1
# It is tried no third time.
echo booting | tee "$work/stuck/says" >"$work/stuck/last"
touch "$work/stuck/hangs"
VM_BOOT=1 machines stuck
said
verdict one_that_says_nothing_again_fails grep -q '^not ok linux-stuck/end: ' "$work/plain"
# What tests/run.sh makes of it.
LOGS=$work/logs TALLY=$work/tally PATH=$tree/path:$PATH VM_KEEP=$work/kept \
	VM_KERNELS="good bad none" tests/run.sh $tree/tests/vm/run.sh >"$work/out"
verdict suites_are_counted grep -qE '^4 1 2 [0-9. ]+ vm/run$' "$work/tally"
verdict suites_name_what_failed grep -q 'not ok linux-bad/a_test-65536/x: see below' "$work/out"
verdict suites_say_why_they_failed grep -q '| # here' "$work/out"
verdict suites_say_why_they_skipped grep -q 'skip linux-none: no network' "$work/tally.skips"
# Without what emulates them there is a skip for each.
rm $tree/path/qemu-system-x86_64
mkdir "$work/bin"
ln -s /usr/bin/* "$work/bin"
rm -f "$work"/bin/qemu-system-*
PATH=$tree/path:$work/bin VM_KEEP=$work/kept $tree/tests/vm/run.sh 6.1 "$work/good" >"$work/out"
verdict missing_is_no_failure test $? -eq 0
tests/ktap.sh <"$work/out" >"$work/got"
cat >"$work/want" <<'END'
skip linux-6.1: not installed: qemu-system-x86_64 (tools/deps.sh vm)
skip linux-good: not installed: qemu-system-x86_64 (tools/deps.sh vm)
END
verdict missing_is_said_of_each diff "$work/want" "$work/got"
exit $status
