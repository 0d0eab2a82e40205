#!/bin/bash
# SPDX-License-Identifier: MIT
#
# What `make check` runs: every test that needs no GPU.
#
#   tests/check.sh [person | ci | host]
#
#	person	all suites, then most of them and the shorter tests of the tools under
#		ASan and UBSan, each fuzzer for 5 s from its corpus, the module in a virtual
#		machine with Debian's 6.1 and chunks of 64 KiB; the default
#	ci	also under TSan, most tests of the tools under ASan and some under TSan, each
#		fuzzer for 60 s, the module on 6.1 and a debug kernel with chunks of 64 KiB,
#		on 6.12 with chunks of 2 MiB; the default with CI=true
#	host	what of that needs no virtual machine, and is too long for it: all suites under
#		both sanitizers, kernels under valgrind, each fuzzer for 600 s; a part of
#		check-all.sh
#
# Two suites run at a time, but for those that measure time.  These come first, and then
# the virtual machines run beside all others.  The first result needs nothing that has
# to be installed or built; then come missing packages (exit status 2 where only
# root may install them: the line to run is printed).
#
# Environment: FUZZ_SECONDS, KERNELS and VM_DEPTH (as of make check-vm) instead of these.
set -u
cd "$(dirname "$0")/.." || exit 1

form=${1:-$([ "${CI:-}" = true ] && echo ci || echo person)}
case $form in
person) fuzz=5 kernels=6.1 depth=short ;;
ci) fuzz=60 kernels="6.1 6.12/2097152 debug" depth=short ;;
host) fuzz=600 kernels= depth= ;;
*) echo "usage: tests/check.sh [person | ci | host]" >&2; exit 2 ;;
esac
fuzz=${FUZZ_SECONDS:-$fuzz}

export LOGS=build/test-logs TALLY=build/test-logs/tally
mkdir -p $LOGS
: >$TALLY
: >$TALLY.skips
: >$TALLY.failures
begin=$(date +%s)
jobs=$(nproc)
lanes=$((jobs < 2 ? 1 : 2))
# What measures time, or what others use of the CPU, has the machine to itself.
alone='unit/exec_long_test unit/io_open_test unit/io_probe_test selftests/share_test kernels/pool_test cli/check_test cli/vbctl_test'
# Tests of the tools that a sanitizer does not make long, and those that the thread sanitizer
# runs: what computes alone for minutes shows it nothing.
short='cli/model_test cli/vbctl_test cli/vbd_test'
threaded="$short cli/reads_test"
products='kernels/matmul_test kernels/matmul_cut_test kernels/matmul_ends_test kernels/matmul_error_test'
# What is left to `host`: tests of the tools that a sanitizer makes long, and suites in which the
# thread sanitizer has nothing to find: of one thread, or of nothing but long sums.
late_address='cli/arena_test cli/generate_test cli/progress_test cli/restore_test cli/vbrun_test unit/exec_experts_test'
late_thread="$products kernels/attention_test kernels/blocks_test kernels/draw_test kernels/layer_test kernels/pack_test"
late_thread="$late_thread unit/bert_test unit/chunk_test unit/cmd_test unit/exec_epilogue_test unit/policy_test unit/policy_freq_test unit/policy_replay_test unit/policy_schedule_test"
# Of the kernels what valgrind is done with in minutes: of products those that are drawn.
memchecked='kernels/attention_test kernels/blocks_test kernels/dispatch_test kernels/draw_test'
memchecked="$memchecked kernels/int4_layer_test kernels/layer_test kernels/pack_test"
# And to `ci`: what the address sanitizer takes longest for.
[ "$form" != person ] || late_address="$late_address fault/exec_slow_test kernels/attention_test $products unit/bert_test unit/chunk_test unit/cmd_test unit/exec_derive_test unit/exec_epilogue_test unit/policy_schedule_test"
[ "$form" != host ] || late_address='' late_thread=''
later=$([ "$form" = person ] && echo "CI=true make check" || echo check-all)

stage() { echo "== $1 ($(($(date +%s) - begin)) s)"; }

# Build, or count one failure and say where it broke.
build() {
	if ! make -s -j"$jobs" "$@" >$LOGS/build.log 2>&1; then
		{
			echo "build of $* failed:"
			grep -E 'error|Error|undefined' $LOGS/build.log | head -20 | sed 's/^/    /'
		} | tee -a $TALLY.failures
		echo "0 1 0 0 0 build of $1" >>$TALLY
		return 1
	fi
}

# Those of faults wait most: what others compute meanwhile ends with them.
suites() {
	local folder
	for folder in fault unit kernels selftests; do
		ls tests/$folder/*_test.c
	done 2>/dev/null | sed 's/\.c$//'
}

# Not those that are about memory, which is the sanitizer's own there.
tool_suites() { grep -lE '\$vb(run|ctl|d)\b' tests/cli/*_test.sh | grep -v /memory_test; }

# is_in LIST SUITE: tests/cli/x_test.sh is cli/x_test
is_in() {
	local name=${2#tests/}
	case " $1 " in *" ${name%.sh} "*) return 0 ;; *) return 1 ;; esac
}

# run PREFIX OPTION...: suites from standard input, in lanes and then those that run alone
run() {
	local prefix=$1 suite two= one=
	shift
	while read -r suite; do
		if is_in "$alone" "$suite"; then
			one="$one $prefix$suite"
		else
			two="$two $prefix$suite"
		fi
	done
	# shellcheck disable=SC2086
	[ -z "$two" ] || tests/run.sh "$@" --jobs $lanes $two
	# shellcheck disable=SC2086
	[ -z "$one" ] || tests/run.sh "$@" $one
}

# but LIST: of the suites from standard input those that it does not have
but() {
	local suite
	while read -r suite; do
		is_in "$1" "$suite" || echo "$suite"
	done
}

# only LIST: of the suites from standard input those that it has
only() {
	local suite
	while read -r suite; do
		! is_in "$1" "$suite" || echo "$suite"
	done
}

# sanitized FILTER SAN LABEL LATE [TOOL-SUITE...]: all of the tools' without any; of all
# what FILTER (but, only) leaves of those that measure time
sanitized() {
	local filter=$1 san=$2 label=$3 late=$4
	shift 4
	build SAN="$san" lib tools tests || return
	[ "$filter" = only ] || [ -z "$late" ] || echo "left to $later: $late"
	suites | but "$late" | $filter "$alone" | run "build-$san/" --label "$label"
	tool_suites | but "$late" | $filter "$alone" | while read -r suite; do
		if [ $# -eq 0 ] || is_in "$*" "$suite"; then
			echo "$suite"
		fi
	done | BUILD=build-$san run '' --label "$label" --limit 900
}

address_sanitized() {
	# shellcheck disable=SC2046
	sanitized "$1" address asan "$late_address" $([ $form != person ] || echo "$short")
}

thread_sanitized() {
	# shellcheck disable=SC2086
	[ $form = person ] || sanitized "$1" thread tsan "$late_thread" $threaded
}

# Kernels without the sanitizers' instructions. Valgrind 3.19 knows no AVX-512: what these levels
# have is tested there by name as skipped.
under_valgrind() {
	if ! command -v valgrind >/dev/null; then
		echo "skip valgrind: it is not installed" | tee -a $TALLY.skips
		echo "0 0 1 0 0 valgrind" >>$TALLY
	else
		suites | only "$memchecked" | DRAWS=1500 VBLACKWELL_ISA=avx2 run build/ --label "valgrind avx2" \
			--limit 900 --under "valgrind -q --error-exitcode=9"
	fi
}

# fuzz_one NAME: from its corpus, new finds are thrown away
fuzz_one() {
	local log=$LOGS/fuzz-$1.log work verdict=ok passed=1 seconds user system TIMEFORMAT='%R %U %S'
	work=$(mktemp -d)
	{ time build-fuzz/tests/fuzz/"$1"_fuzz -max_total_time="$fuzz" -rss_limit_mb=4096 \
		-timeout=20 -artifact_prefix=$LOGS/ "$work" tests/fuzz/corpus/"$1" >"$log" 2>&1 ||
		{ verdict="not ok"; passed=0; }; } 2>"$log.time"
	read -r seconds user system < <(tail -1 "$log.time")
	rm -rf "$work" "$log.time"
	{
		printf '%-44s %s, %s, %.1f s\n' "fuzz/$1" "$verdict" \
			"$(grep -oE 'Done [0-9]+ runs' "$log")" "$seconds"
		[ $passed -eq 1 ] || tail -20 "$log" | sed 's/^/    | /'
	} >"$log.said"
	[ $passed -eq 1 ] || cat "$log.said" >>$TALLY.failures
	echo "$passed $((1 - passed)) 0 $seconds $(awk "BEGIN { print $user + $system }") fuzz/$1" \
		>"$log.tally"
}

# fuzz_some NAME...: at the same time; what is said of them in this order
fuzz_some() {
	local name
	for name in "$@"; do
		fuzz_one "$name" &
	done
	wait
	for name in "$@"; do
		cat $LOGS/fuzz-"$name".log.said
		cat $LOGS/fuzz-"$name".log.tally >>$TALLY
	done
}

fuzzers() {
	local names
	if ! command -v clang-14 >/dev/null; then
		echo "skip fuzzers: clang-14 is not installed" | tee -a $TALLY.skips
		echo "0 0 1 0 0 fuzzers" >>$TALLY
	elif build fuzz; then
		ls tests/fuzz/*_fuzz.c | xargs -n 1 basename -s _fuzz.c | xargs -n $lanes |
			while read -r names; do
				# shellcheck disable=SC2086
				fuzz_some $names
			done
	fi
}

# one_machine KERNEL [CHUNK-BYTES]
one_machine() {
	VM_KERNELS=$1 VM_DEPTH=${VM_DEPTH:-$depth} VM_CHUNKS=${2:-65536} \
		tests/run.sh --label "linux-$1" --limit 7200 tests/vm/run.sh
}

# style KERNEL: by the tools that come with it
style() {
	tests/vm/kernel.sh "${1%/*}" >$LOGS/kernel.log 2>&1
	tests/run.sh --limit 900 tests/vm/style.sh >$LOGS/style.said 2>&1
}

# Each kernel is a suite of its own; one that cannot be had is a skip.
machines() {
	local kernel
	# shellcheck disable=SC2086
	set -- ${KERNELS:-$kernels}
	style "${!#}" &
	for kernel; do
		one_machine ${kernel/\// }
	done
	wait
	cat $LOGS/style.said
}

# Machines wait more than they compute: they run while other things do, which give way to
# them.  In a process group of their own, that nothing of them outlives this.
begin_machines() {
	if ! tools/deps.sh vm; then
		echo "skip machines: their packages are not installed" | tee -a $TALLY.skips
		echo "0 0 1 0 0 machines" >>$TALLY
	elif build vm-programs; then
		set -m
		machines >$LOGS/machines.said 2>&1 &
		machines=$!
		set +m
		trap 'kill -TERM -- -$machines; exit 130' INT TERM
		renice -n 5 -p $$ >/dev/null
	fi
}

end_machines() {
	[ -n "$machines" ] || return
	wait "$machines"
	trap - INT TERM
	cat $LOGS/machines.said
}

stage "first"
tests/run.sh tests/cli/one_command_test.sh
tools/deps.sh check || exit $?

stage "what measures time"
commands() { ls tests/cli/*_test.sh | grep -v one_command_test; }
built=
build all tests benches && built=yes
[ -z "$built" ] || suites | only "$alone" | run build/
commands | only "$alone" | run '' --limit 900

stage "virtual machines begin, beside what follows"
machines=
[ -z "${KERNELS:-$kernels}" ] || begin_machines

stage "suites"
[ -z "$built" ] || suites | but "$alone" | run build/

stage "tools"
commands | but "$alone" | run '' --limit 900

stage "address and undefined behaviour sanitizers"
# Tests that make up machines load a library of theirs before the sanitizer's.
export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0:verify_asan_link_order=0
export UBSAN_OPTIONS=print_stacktrace=1
address_sanitized but

if [ $form != person ]; then
	stage "thread sanitizer"
	export TSAN_OPTIONS=second_deadlock_stack=1
	thread_sanitized but
fi

if [ $form = host ]; then
	stage "valgrind, kernels up to level avx2"
	[ -z "$built" ] || under_valgrind
fi

stage "fuzzers, $fuzz s each"
fuzzers

stage "virtual machines"
end_machines

stage "what measures time, under the sanitizers"
address_sanitized only
thread_sanitized only

echo "== total $(($(date +%s) - begin)) s"
tests/tally.sh $TALLY
