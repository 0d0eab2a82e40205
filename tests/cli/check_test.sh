#!/bin/bash
# SPDX-License-Identifier: MIT
# tests/run.sh, tests/tally.sh, tests/result.sh and what calls them: no suite passes that did not, and what
# they count is what was there.
set -u
. "$(dirname "$0")/lib.sh"

mkdir -p "$work/fake" "$work/logs"
# suite NAME LINE...: a suite that runs these lines
suite() {
	local file=$work/fake/$1
	shift
	{ echo '#!/bin/bash'; printf '%s\n' "$@"; } >"$file"
	chmod +x "$file"
}
# count NAME [OPTION...]: run one suite; "passed failed skipped"
count() {
	local name=$1
	shift
	: >"$work/logs/tally"
	: >"$work/logs/tally.skips"
	: >"$work/logs/tally.failures"
	LOGS=$work/logs TALLY=$work/logs/tally tests/run.sh "$@" "$work/fake/$name" >"$work/out"
	rc=$?
	cut -d' ' -f1-3 "$work/logs/tally"
}
# counts NAME WANT STATUS [OPTION...]
counts() {
	local name=$1 want=$2 status_wanted=$3 got
	shift 3
	count "$name" "$@" >"$work/got"
	got=$(cat "$work/got")
	verdict "runner_${name%.sh}_counts" test "$got" = "$want"
	verdict "runner_${name%.sh}_status" test $rc -eq "$status_wanted"
	verdict "runner_${name%.sh}_leaves_a_line" \
		grep -qE '^[0-9]+ [0-9]+ [0-9]+ [0-9.]+ [0-9.]+ fake/[a-z_]+$' "$work/logs/tally"
}

suite good.sh 'echo ok one' 'echo ok two' 'echo "skip three: no disk"'
counts good.sh '2 0 1' 0
verdict runner_says_why_it_skipped grep -q '^ *skip three: no disk' "$work/out"
verdict runner_keeps_why_it_skipped grep -q '^skip three: no disk' "$work/logs/tally.skips"
suite bad.sh 'echo ok one' 'echo "not ok two: broken"'
counts bad.sh '1 1 0' 1
verdict runner_names_what_failed grep -q 'not ok two: broken' "$work/out"
# Of a machine's many lines, too: what was said when it failed, not what was said last.
suite machine.sh 'echo "ok one"' 'echo "# of one"' 'echo "not ok two: see below"' \
	'echo "# tests/x.c:7: error"' 'echo "ok three"' 'seq 100 | sed "s/^/# later /"' \
	'echo "ok four"'
counts machine.sh '3 1 0' 1
verdict runner_keeps_what_it_said_of_a_failure \
	grep -q '^ *| # tests/x.c:7: error' "$work/logs/tally.failures"
verdict runner_says_why_it_failed grep -q '^ *| # tests/x.c:7: error' "$work/out"
verdict runner_says_no_more test "$(grep -c '# of one' "$work/out")" = 0
suite silent.sh 'true'
counts silent.sh '0 1 0' 1
suite crash.sh 'echo ok one' 'kill -SEGV $$'
counts crash.sh '1 1 0' 1
suite status.sh 'echo ok one' 'exit 3'
counts status.sh '1 1 0' 1
suite endless.sh 'echo ok one' 'sleep 20'
counts endless.sh '1 1 0' 1 --limit 1
# What cmocka prints.
suite good_test 'printf "[       OK ] one\n[       OK ] two\n[  SKIPPED ] three\n[  SKIPPED ] three\n"'
counts good_test '2 0 1' 0
suite bad_test 'printf "[       OK ] one\n[  FAILED  ] two\n[  FAILED  ] 1 test(s)\n[  FAILED  ] two\n"; exit 1'
counts bad_test '1 1 0' 1
suite crash_test 'printf "[       OK ] one\n[ RUN      ] two\n"; kill -ABRT $$'
counts crash_test '1 1 0' 1

# Seconds, of the clock and of the CPU, and the name with its label.
suite busy.sh 'end=$((SECONDS + 2)); while [ $SECONDS -lt $end ]; do :; done; echo ok one'
count busy.sh --label asan >/dev/null
read -r _ _ _ seconds cpu name <"$work/logs/tally"
verdict runner_names_the_suite test "$name" = "asan fake/busy"
verdict runner_measures_seconds awk "BEGIN { exit !($seconds > 0.9 && $seconds < 60) }"
verdict runner_measures_cpu_seconds awk "BEGIN { exit !($cpu > 0.1 && $cpu <= $seconds + 0.1) }"

# Two at a time: each of these ends only when the other has begun. What is said comes in
# the order asked for, though the second is done first.
suite first.sh ": >$work/first; until [ -e $work/second ]; do sleep 0.02; done" 'sleep 0.3' \
	'echo ok one'
suite second.sh ": >$work/second; until [ -e $work/first ]; do sleep 0.02; done" 'echo ok two' \
	'echo ok three' 'echo "skip four: why not"'
suite third.sh 'echo "not ok five: no"'
# several OPTION...: these three
several() {
	rm -f "$work/first" "$work/second"
	: >"$work/logs/tally"
	: >"$work/logs/tally.skips"
	: >"$work/logs/tally.failures"
	LOGS=$work/logs TALLY=$work/logs/tally tests/run.sh --limit 10 "$@" \
		"$work/fake/first.sh" "$work/fake/second.sh" "$work/fake/third.sh" >"$work/out"
}
several --jobs 2
verdict runner_of_two_fails_when_one_does test $? -eq 1
verdict runner_runs_two_at_a_time test "$(cut -d' ' -f1-3 "$work/logs/tally" | tr '\n' '|')" = \
	'1 0 0|2 0 1|0 1 0|'
verdict runner_says_it_in_order test \
	"$(grep -oE '^fake/[a-z]+' "$work/out" | tr '\n' ' ')" = 'fake/first fake/second fake/third '
verdict runner_of_two_keeps_skips grep -q '^skip four: why not' "$work/logs/tally.skips"
: >"$work/second"
suite second.sh "[ -e $work/first.over ] || echo 'not ok alone: beside the first'" 'echo ok two'
suite first.sh 'sleep 0.3' 'echo ok one' ": >$work/first.over"
several
verdict runner_runs_one_at_a_time_unless_told test \
	"$(head -2 "$work/logs/tally" | cut -d' ' -f1-3 | tr '\n' '|')" = '1 0 0|1 0 0|'

# Interrupted: the suites that run end with it.
suite endless.sh "trap 'touch $work/ended; exit 1' TERM" ": >$work/begun" \
	'for i in $(seq 200); do sleep 0.1; done'
LOGS=$work/logs TALLY=$work/logs/tally tests/run.sh --jobs 2 "$work/fake/endless.sh" >/dev/null &
until [ -e "$work/begun" ]; do sleep 0.02; done
kill -TERM $!
wait $!
verdict runner_that_is_interrupted_says_so test $? -eq 130
verdict runner_that_is_interrupted_ends_its_suites test -e "$work/ended"

# Sums and the page.
printf '%s\n' '3 0 1 1.5 1.25 unit/a_test' '4 2 0 10 20.5 asan unit/b_test' >"$work/logs/tally"
echo 'skip three: no disk' >"$work/logs/tally.skips"
rm -f "$work/logs/tally.failures"
verdict tally_adds_up test "$(tests/tally.sh "$work/logs/tally")" = '7 passed, 2 failed, 1 skipped'
echo '    not ok two: broken' >"$work/logs/tally.failures"
tests/tally.sh "$work/logs/tally" >"$work/out"
verdict tally_says_again_what_failed grep -qx '    not ok two: broken' "$work/out"
verdict tally_ends_with_the_sum \
	test "$(tail -1 "$work/out")" = '7 passed, 2 failed, 1 skipped'
tests/tally.sh "$work/logs/tally" >/dev/null
verdict tally_fails_when_a_suite_did test $? -eq 1
: >"$work/empty"
tests/tally.sh "$work/empty" >/dev/null
verdict tally_of_nothing_fails test $? -eq 1
tests/result.sh 6.1 "$work/logs/tally" 77 0.5 >"$work/page"
verdict page_has_each_suite test "$(grep -c '^| .*_test | ' "$work/page")" -eq 2
verdict page_has_the_sum grep -qF '| **all** | 7 | 2 | 1 | 11.5 | 21.8 |' "$work/page"
verdict page_has_the_verdict grep -qF '| result | **7 passed, 2 failed, 1 skipped** |' "$work/page"
verdict page_has_the_date grep -qF "| date | $(date +%F) |" "$work/page"
verdict page_has_the_commit grep -qE '^\| commit \| ([0-9a-f]{12}(-dirty)?|unknown) \|' "$work/page"
verdict page_says_what_failed grep -qx '        not ok two: broken' "$work/page"
verdict page_says_what_was_skipped grep -qx -- '- skip three: no disk' "$work/page"

# tests/check.sh in a tree of its own, where suites and a make only write down that they ran.
tree=$work/tree
mkdir -p $tree/tests/{cli,unit,kernels,selftests,fault,fuzz} $tree/tools "$work/path"
cp tests/{check,check-all,run,tally,result}.sh $tree/tests/
# does FILE NAME [LINE...]: a suite or a tool that writes NAME down
does() {
	local file=$1 name=$2
	shift 2
	mkdir -p "${file%/*}"
	{ echo '#!/bin/bash'; echo "echo $name >>$work/order"; printf '%s\n' "$@"; } >"$file"
	chmod +x "$file"
}
does $tree/tests/cli/one_command_test.sh first 'echo ok one'
does $tree/tests/cli/model_test.sh 'model in ${BUILD:-build}' '# $'vbrun 'echo ok one'
does $tree/tests/cli/output_test.sh 'output in ${BUILD:-build}' '# $'vbrun 'echo ok one'
does $tree/tests/cli/page_test.sh page 'echo ok one'
does $tree/tools/deps.sh 'deps $1' "exit \$(cat $work/deps)"
does "$work/path/make" 'make $*'
does "$work/path/clang-14" clang
does $tree/tests/vm/run.sh 'machine $VM_KERNELS $VM_DEPTH $VM_CHUNKS' 'echo "ok boots"'
does $tree/tests/vm/kernel.sh 'kernel $1'
does $tree/tests/vm/style.sh style 'echo "ok style"'
touch $tree/tests/unit/{a,io_open}_test.c $tree/tests/fuzz/{x,y}_fuzz.c
for b in build build-address build-thread; do
	for s in a io_open; do
		does $tree/$b/tests/unit/${s}_test "$s in $b" 'echo "[       OK ] one"'
	done
done
for f in x y; do
	does $tree/build-fuzz/tests/fuzz/${f}_fuzz "$f" 'echo Done 5 runs'
done
unset CI KERNELS VM_DEPTH FUZZ_SECONDS RESULT
# checks FORM: the order of what runs
checks() {
	: >"$work/order"
	PATH=$work/path:$PATH $tree/tests/check.sh $1 >"$work/out" 2>&1
}
ran() { grep -c "$1" "$work/order"; }
echo 0 >"$work/deps"
checks person
verdict check_passes test $? -eq 0
verdict check_begins_with_a_result_that_needs_no_package_and_no_build test \
	"$(head -3 "$work/order" | tr '\n' '|')" = \
	"first|deps check|make -s -j$(nproc) all tests benches|"
verdict check_says_the_first_result_first test \
	"$(sed -n 2p "$work/out" | cut -d' ' -f1)" = cli/one_command_test
verdict check_of_a_person_has_no_thread_sanitizer test "$(ran thread)" -eq 0
verdict check_runs_suites_in_both_builds test "$(ran '^a in build$')$(ran '^a in build-address$')" = 11
verdict check_runs_what_measures_time_before_a_machine test \
	"$(grep -E '^(io_open in build|machine.*)$' "$work/order" | cut -d' ' -f1 | tr '\n' '|')" = 'io_open|machine|'
verdict check_runs_other_suites_after_that test \
	"$(grep ' in build$' "$work/order" | head -2 | tr '\n' '|')" = 'io_open in build|a in build|'
verdict check_of_a_person_runs_short_tools_sanitized test "$(ran 'model in build-address')" -eq 1
verdict check_of_a_person_runs_no_long_ones test "$(ran 'output in build-address')" -eq 0
verdict check_says_fuzzers_in_order test "$(grep -oE '^fuzz/.' "$work/out" | tr '\n' ' ')" = \
	'fuzz/x fuzz/y '
verdict check_of_a_person_boots_one_kernel test "$(grep machine "$work/order")" = 'machine 6.1 short 65536'
verdict check_looks_at_style_with_what_a_kernel_brings test \
	"$(grep -E '^(kernel|style)' "$work/order" | tr '\n' '|')" = 'kernel 6.1|style|'
verdict check_says_of_machines_what_came_of_them grep -q '^linux-6.1 vm/run  *1 passed' "$work/out"
verdict check_runs_what_measures_time_beside_no_machine test \
	"$(tail -1 "$work/order")" = 'io_open in build-address'
verdict check_counts_all_of_it grep -qx '13 passed, 0 failed, 0 skipped' "$work/out"
checks ci
verdict check_of_ci_looks_at_style_with_what_the_last_kernel_brings test \
	"$(grep -E '^(kernel|style)' "$work/order" | tr '\n' '|')" = 'kernel debug|style|'
verdict check_of_ci_boots_three test "$(grep machine "$work/order" | tr '\n' '|')" = \
	'machine 6.1 short 65536|machine 6.12 short 2097152|machine debug short 65536|'
for build in build build-address; do
	verdict check_of_ci_runs_all_in_$build test \
		"$(grep "in $build\$" "$work/order" | sort | tr '\n' '|')" = \
		"a in $build|io_open in $build|model in $build|output in $build|"
done
verdict check_of_ci_runs_tools_with_threads_in_build-thread test \
	"$(grep 'in build-thread$' "$work/order" | sort | tr '\n' '|')" = \
	"a in build-thread|io_open in build-thread|model in build-thread|"
verdict check_of_ci_runs_pages_once test "$(ran '^page')" -eq 1
# What is late is left to the longest form.
late() {
	echo "$(ran 'progress in build$')$(ran 'progress in build-address')$(ran 'chunk in build-address')$(ran 'chunk in build-thread')"
}
does $tree/tests/cli/progress_test.sh 'progress in ${BUILD:-build}' '# $'vbrun 'echo ok one'
touch $tree/tests/unit/chunk_test.c
for b in build build-address build-thread; do
	does $tree/$b/tests/unit/chunk_test "chunk in $b" 'echo "[       OK ] one"'
done
checks ci
verdict check_of_ci_leaves_out_what_is_late test "$(late)" = 1010
verdict check_of_ci_says_what_is_late test \
	"$(grep -c '^left to check-all: .*/\(progress\|chunk\)_test' "$work/out")" = 2
checks person
verdict check_of_a_person_leaves_out_more test "$(late)" = 1000
verdict check_of_a_person_says_so grep -q '^left to CI=true make check: .*/chunk_test' "$work/out"
mkdir -p $tree/tests/kernels
touch $tree/tests/kernels/draw_test.c
for b in build build-address build-thread; do
	does $tree/$b/tests/kernels/draw_test "draw in $b by \$VBLACKWELL_ISA" 'echo "[       OK ] one"'
done
does "$work/path/valgrind" 'valgrind $*' 'while [[ $1 == -* ]]; do shift; done; exec "$@"'
checks host
verdict check_of_the_host_runs_kernels_under_valgrind test \
	"$(grep -A1 '^valgrind' "$work/order" | tr '\n' '|')" = \
	'valgrind -q --error-exitcode=9 build/tests/kernels/draw_test|draw in build by avx2|'
verdict check_of_the_host_says_at_which_level grep -q '^valgrind avx2 kernels/draw_test  *1 passed' "$work/out"
verdict check_of_the_host_does_not test "$(late)" = 1111
verdict check_of_the_host_boots_nothing test "$(grep -c '^machine\|^style' "$work/order")" = 0
# Others go on beside a machine, and whoever interrupts ends it too.
does $tree/tests/vm/run.sh machine \
	"until grep -q '^a in build$' $work/order && grep -q '^page' $work/order && grep -q '^style' $work/order && grep -q '^x' $work/order; do sleep 0.02; done" \
	'echo ok one'
checks person
verdict check_runs_suites_tools_style_and_fuzzers_beside_machines grep -q '^linux-6.1 vm/run  *1 passed' "$work/out"
does $tree/tests/vm/run.sh machine "trap 'touch $work/machine.ended; exit 1' TERM" \
	": >$work/machine.begun" 'for i in $(seq 200); do sleep 0.1; done'
rm -f "$work/machine.begun"
PATH=$work/path:$PATH $tree/tests/check.sh person >"$work/out" 2>&1 &
until [ -e "$work/machine.begun" ]; do sleep 0.02; done
kill -TERM $!
wait $!
verdict check_that_is_interrupted_says_so test $? -eq 130
for _ in $(seq 3000); do [ -e "$work/machine.ended" ] && break; sleep 0.02; done
verdict check_that_is_interrupted_ends_its_machines test -e "$work/machine.ended"
does $tree/tests/vm/run.sh 'machine $VM_KERNELS $VM_DEPTH $VM_CHUNKS' 'echo "ok boots"'
# tests/check-all.sh: a page a part, and what there is of them in one.
# parts PART...
parts() {
	: >"$work/order"
	PATH=$work/path:$PATH RESULT=$work/pages $tree/tests/check-all.sh "$@" >"$work/out" 2>&1
}
does $tree/tests/vm/run.sh 'machine $VM_KERNELS $VM_DEPTH $VM_APPEND' 'echo "ok boots"'
parts 7.x debug-tests debug-faults kcsan-fuzz
verdict parts_pass test $? -eq 0
verdict parts_are_run_in_order test "$(grep -E '^(machine|style)' "$work/order" | tr '\n' '|')" = \
	'machine 7.x long|machine debug long VM_ONLY=tests,served|style|machine debug long VM_ONLY=fail_nth,fail_load|machine kcsan long VM_ONLY=fuzz|'
verdict parts_have_a_page_each test "$(ls "$work/pages" | tr '\n' ' ')" = \
	'7.x.md debug-faults.md debug-tests.md kcsan-fuzz.md '
verdict parts_have_their_suites_in_it grep -q '^| linux-debug tests,served vm/run | 1 | 0 | 0 |' \
	"$work/pages/debug-tests.md"
verdict parts_are_summed_up grep -qF \
	"| [debug-tests](check-all/debug-tests.md) | $(date +%F) |" "$work/pages.md"
verdict parts_that_were_never_run_are_told grep -qx '| debug-fuzz | never | | | |' "$work/pages.md"
does $tree/tests/vm/run.sh machine 'echo "not ok boots: no"'
parts 6.1
verdict parts_fail test $? -eq 1
verdict parts_that_fail_have_a_page grep -qF '| result | **0 passed, 1 failed, 0 skipped** |' "$work/pages/6.1.md"
verdict parts_keep_the_pages_of_others grep -qF '[kcsan-fuzz](check-all/kcsan-fuzz.md)' "$work/pages.md"
parts host 6.2
verdict parts_that_there_are_not_are_refused test $? -eq 2
verdict parts_that_there_are_not_run_nothing test ! -s "$work/order"
parts host
verdict parts_begin_with_the_host test "$(late)$(ran '^machine')" = 11110
does $tree/tests/vm/run.sh 'machine $VM_KERNELS $VM_DEPTH $VM_CHUNKS' 'echo "ok boots"'
echo 2 >"$work/deps"
checks person
verdict check_ends_with_2_where_packages_are_missing test $? -eq 2
verdict check_has_a_result_even_then grep -q '^cli/one_command_test  *1 passed' "$work/out"
refuses check_refuses_other_words 2 'usage: tests/check.sh' tests/check.sh nonsense
exit $status
