#!/bin/sh
# SPDX-License-Identifier: MIT
#
# What runs inside the machine: for each chunk size the module is loaded, the
# selftests speak to its nodes, the module is unloaded; then the campaigns.  One line a
# verdict.
#
# Environment: VM_CHUNKS sizes with commas between, VM_FUZZ iterations, VM_SEED, VM_LOADS,
# VM_KILLS of vbd (5, and none while a model is embedded), VM_ONLY some parts (tests, served,
# loads, fuzz, fail_nth, fail_load; commas between), VM_SHORT=yes without what takes long where all is checked,
# VM_TESTS some of tests, with commas between.
cd /suite || exit 1
export VBLACKWELL_SELFTEST_NODE=/dev/vblackwell VBLACKWELL_SELFTEST_EXEC=/dev/vblackwell-exec
seed=${VM_SEED:-$(date +%s)}
chunks=$(echo "${VM_CHUNKS:-65536,2097152}" | tr , ' ')

# What a short run on a kernel with checkers leaves to the others: hundreds of thousands of
# allocations, each looked at, and arithmetic in user space while its indices are flipped.
late="scale_test objects_test index_test"

is_late() {
	case "${VM_SHORT:+ $late }" in *" $1 "*) true ;; *) false ;; esac
}

part() {
	case ",${VM_ONLY:-$1}," in *",$1,"*) true ;; *) false ;; esac
}

seconds() {
	cut -d. -f1 /proc/uptime
}

# timed NAME COMMAND...: and how long it took.
timed() {
	local label=$1 began
	began=$(seconds)
	shift
	"$@"
	echo "# $label: $(($(seconds) - began)) s"
}

# verdicts NAME STATUS: what a cmocka program said becomes our lines.  It names a failure twice, in
# place and at the end, and so what it skipped: who skips says why before, of a test while it
# runs, of many before any does.  The other chunk size has its turn.  Where nothing ran, and
# nobody said why, an exit status of 0 is no success.
verdicts() {
	awk -v program="$1" -v rc="$2" '
	function skip(what) {
		if (what !~ /has another chunk size$/)
			print "skip " program "/" what
	}
	/^\[ RUN |^SKIP: / { spoke = 1 }
	/^\[ RUN / { running = $NF; why = "" }
	/^SKIP: / && running == "" { skip(substr($0, 7)) }
	/^SKIP: / {
		why = substr($0, 7)
		why = ": " (index(why, running ": ") == 1 ? substr(why, length(running) + 3) : why)
	}
	/^\[ +OK \] / { print "ok " program "/" $NF }
	/^\[ +(OK|SKIPPED) +\] / && running != "" {
		if (why != "" || /SKIPPED/)
			skip(running why)
	}
	/^\[  (FAILED|ERROR) +\] [A-Za-z_0-9]+$/ { failed[$NF] = 1 }
	/^\[ +(OK|SKIPPED|FAILED|ERROR) +\] / { running = "" }
	END {
		for (test in failed)
			print "not ok " program "/" test ": see below"
		if (!spoke && !rc)
			print "not ok " program ": no test ran"
	}'
}

# run NAME PROGRAM: a cmocka program
run() {
	name=$1
	shift
	timeout "${TEST_LIMIT:-240}" "$@" >/tmp/out 2>&1
	rc=$?
	verdicts "$name" $rc </tmp/out | tee /tmp/lines
	if [ $rc -ne 0 ]; then
		grep -q '^not ok' /tmp/lines || echo "not ok $name: exit status $rc"
		grep -vE '^\[ +(RUN|OK|=)' /tmp/out | tail -60 | sed 's/^/# /'
	fi
}

# load CHUNK [RECOVERY_MS]: executors of tests come and go, and where nobody comes back,
# nobody is waited for.
# Huge pages are asked for; what ran before has left memory in pieces.
load() {
	echo 3 >/proc/sys/vm/drop_caches
	echo 1 >/proc/sys/vm/compact_memory
	insmod vblackwell.ko chunk_bytes="$1" recovery_ms="${2:-0}" && return
	echo "not ok load-$1: insmod"
	return 1
}

# What the dead had open is closed in its own time, and a page of the BAR that was lent keeps the
# module until it is back (kmod/bar.c).
unload_soon() {
	tries=0
	while ! rmmod vblackwell 2>/tmp/out; do
		[ $tries -lt 100 ] || return 1
		tries=$((tries + 1))
		sleep 0.1
	done
}

# unload NAME: nobody may have it.
unload() {
	if unload_soon; then
		echo "ok unload-$1"
	else
		echo "not ok unload-$1: $(cat /sys/module/vblackwell/refcnt) references"
		exit 0
	fi
}

tests() {
	for chunk in $chunks; do
		load "$chunk" || continue
		for t in $(echo "${VM_TESTS:-*_test}" | tr , ' '); do
			if is_late "$t"; then
				echo "skip $t-$chunk: not in a short run on this kernel"
				continue
			fi
			echo "vm: $t $chunk" >/dev/kmsg
			timed "$t-$chunk" run "$t-$chunk" "./$t"
		done
		unload "$chunk"
	done
}

# A vbd gets ready and is killed.
serve_and_die() {
	./vbd --host 2M --threads 1 --user 1000:1000 >/tmp/out 2>&1 &
	vbd=$!
	tries=0
	while ! grep -q '^ready' /tmp/out; do
		[ -d /proc/$vbd ] && [ $tries -lt 600 ] || return 1
		tries=$((tries + 1))
		sleep 0.1
	done
	kill -9 $vbd
	wait $vbd 2>/dev/null
	return 0
}

# Load and unload, with both nodes opened in between; every tenth time somebody serves.
again() {
	n=0
	while [ $n -lt "$loads" ]; do
		insmod vblackwell.ko chunk_bytes=65536 || return 1
		: <>/dev/vblackwell
		: <>/dev/vblackwell-exec
		if [ $((n % 10)) = 9 ]; then
			serve_and_die && unload_soon || return 1
		else
			rmmod vblackwell || return 1
		fi
		n=$((n + 1))
	done
}

loads() {
	loads=${VM_LOADS:-20}
	echo "vm: $loads times loaded" >/dev/kmsg
	if again; then
		echo "ok load-and-unload-$loads"
	else
		echo "not ok load-and-unload-$loads: round $n"
		sed 's/^/# /' /tmp/out
	fi
}

# Pages that are charged to the fuzzers and are none of slabs, stacks and tables: what is
# left when they and the module have gone was leaked.
leaked_kib() {
	awk '/^kernel / { n += $2 }
		/^(slab|vmalloc|percpu|kernel_stack|pagetables|sec_pagetables) / { n -= $2 }
		END { print int(n / 1024) }' /sys/fs/cgroup/fuzz/memory.stat
}

# fuzz_round ITERATIONS CHUNK: the module comes and goes with it.
fuzz_round() {
	seed=$((seed + 1))
	load "$2" $((seed % 2 * 300)) || return
	echo "vm: fuzz $1 $2 seed $seed" >/dev/kmsg
	(
		echo 0 >/sys/fs/cgroup/fuzz/cgroup.procs
		exec ./fuzz_module "$1" $seed
	) >/tmp/out 2>&1
	rc=$?
	grep -E '^# .*(iterations|participants)' /tmp/out
	grep '^# request' /tmp/out >>/tmp/requests
	grep -E '^# (coverage|not entered):' /tmp/out >/tmp/coverage
	if [ $rc -eq 0 ]; then
		echo "ok fuzz-$2-$seed"
	else
		echo "not ok fuzz-$2-$seed: $(grep -v '^#' /tmp/out | head -1)"
		sed 's/^/# /' /tmp/out
	fi
	unload "fuzz-$2-$seed"
	echo "# $(leaked_kib) KiB of pages are left"
	[ "$(leaked_kib)" -le 1024 ] || echo "not ok fuzz-$2-$seed/pages: $(leaked_kib) KiB leaked"
}

# Fewer iterations than this meet some requests by luck; those of successors, of which there
# are one or two in so many, need more.
enough=20000 enough_for_successors=200000

# Requests that never succeeded in any round: what they are for was not looked at.
never_succeeded() {
	awk -v long=$((${VM_FUZZ:-0} >= enough_for_successors)) '
		{ n[$3] += $5 }
		END { for (nr in n) if (!n[nr] && (long || nr !~ /^0x4[a-e]:/)) printf " %s", nr }
	' /tmp/requests
}

# Fewer places of the module than any round reaches: what kcov said was not read.
enough_places=1000

# What the fuzzers reached in all rounds.
coverage() {
	cat /tmp/coverage
	grep -q ' __sanitizer_cov_trace_pc$' /proc/kallsyms || return
	reached=$(awk '/^# coverage:/ { print $3 + 0 }' /tmp/coverage)
	if [ "${reached:-0}" -ge $enough_places ]; then
		echo "ok fuzz-coverage"
	else
		echo "not ok fuzz-coverage: ${reached:-no} places of the module, fewer than $enough_places"
	fi
}

fuzz() {
	left=${VM_FUZZ:-3000}
	: >/tmp/requests
	rm -f /tmp/fuzz.places
	round=$((left / 20 > 2500 ? left / 20 : left > 5000 ? 2500 : (left + 1) / 2))
	echo "+memory" >/sys/fs/cgroup/cgroup.subtree_control
	mkdir -p /sys/fs/cgroup/fuzz
	while [ "$left" -gt 0 ]; do
		for chunk in $chunks; do
			[ "$left" -gt 0 ] && fuzz_round $round "$chunk"
			left=$((left - round))
		done
	done
	coverage
	[ "${VM_FUZZ:-0}" -lt $enough ] && return
	if [ -s /tmp/requests ] && [ -z "$(never_succeeded)" ]; then
		echo "ok fuzz-requests"
	else
		echo "not ok fuzz-requests: never succeeded:$(never_succeeded)"
		sort /tmp/requests | sed 's/^#/# /'
	fi
}

# Whole models through vbd, with chunks and a tier that are small, and large; where vbd is to
# be killed the small tier is a quarter of the model.
served() {
	echo "vm: served" >/dev/kmsg
	for chunk in $chunks; do
		host=$((chunk == 65536 ? 8 : 48))M
		[ "$chunk" != 65536 ] || [ -z "${VM_KILLS:-}" ] || host=
		VM_CHUNK=$chunk VM_HOST=$host ./served.sh
	done
}

# Campaigns that need fault injection.
injects() {
	if [ -n "${VM_SHORT:-}" ]; then
		echo "skip $1: not in a short run"
	elif [ -e /proc/thread-self/fail-nth ]; then
		return 0
	else
		echo "skip $1: this kernel injects no faults (the debug kernel does)"
	fi
	return 1
}

fail_nth() {
	injects fail-nth || return
	echo "vm: fail-nth" >/dev/kmsg
	load 65536 || return
	# Each of thousands of runs makes the device anew, or waits for what it leaves.
	(TEST_LIMIT=$((${TEST_LIMIT:-240} * 2)) && run fail-nth ./vb_fail_nth)
	unload fail-nth
}

fail_load() {
	injects fail-load || return
	echo "vm: fail-load" >/dev/kmsg
	timeout "${TEST_LIMIT:-240}" ./vb_fail_load vblackwell.ko
	[ $? -le 1 ] || echo "not ok load_fails_cleanly: no end, or a signal"
}

# What nothing points to any more.  It is told after the second look, some seconds later.
leaks() {
	list=/sys/kernel/debug/kmemleak
	if ! [ -e $list ]; then
		echo "skip kmemleak: this kernel looks for no leaks (the debug kernel does)"
		return
	fi
	echo scan >$list
	sleep 6
	echo scan >$list
	cat $list >/tmp/leaks
	if [ -s /tmp/leaks ]; then
		echo "not ok kmemleak: $(grep -c '^unreferenced' /tmp/leaks) objects"
		head -60 /tmp/leaks | sed 's/^/# /'
	else
		echo "ok kmemleak"
	fi
}

echo "# booted: $(seconds) s"
part tests && tests
for campaign in served loads fuzz fail_nth fail_load; do
	part $campaign && timed $campaign $campaign
done
timed leaks leaks
exit 0
