#!/bin/bash
# SPDX-License-Identifier: MIT
# What takes more than a second says on a terminal how far it is, and can be interrupted: then
# nothing is half-written. So that a little work takes that long, it is stopped in between.
set -u
. "$(dirname "$0")/lib.sh"

# slowly.py end|interrupt COMMAND...: stderr is a terminal, what it got goes to stdout. Until
# a first whole line is there the command runs 5 ms of every 225; interrupt sends SIGINT then.
# Ends as the command does.
cat >"$work/slowly.py" <<'END'
import fcntl, os, pty, signal, subprocess, sys, time

how, command = sys.argv[1], sys.argv[2:]
master, slave = pty.openpty()
fcntl.fcntl(master, fcntl.F_SETFL, os.O_NONBLOCK)
child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=slave, stdin=subprocess.DEVNULL)
os.close(slave)
text, slow = b"", True

def take():
    global text
    try:
        text += os.read(master, 65536)
    except OSError:
        pass

while child.poll() is None:
    time.sleep(0.005)
    if slow:
        # Looked at while it stands still: it cannot end before it gets the signal.
        child.send_signal(signal.SIGSTOP)
        time.sleep(0.22)
        take()
        slow = b" left" not in text
        if how == "interrupt" and not slow:
            child.send_signal(signal.SIGINT)
        child.send_signal(signal.SIGCONT)
    take()
take()
sys.stdout.buffer.write(text.replace(b"\r", b"\n"))
sys.exit(child.returncode if child.returncode >= 0 else 128 - child.returncode)
END
size='[0-9.]+ ([KMGT]i)?B'
line_gone() { [ "$(tail -c 3 "$1" | od -An -c | tr -d ' \n')" = '033[K' ]; }
# shows NAME WHAT COMMAND...: a line with bytes, rate and time left, which is taken away
shows() {
	local name=$1 what=$2 tty=$work/tty-$1
	shift 2
	python3 "$work/slowly.py" end "$@" >"$tty"
	verdict "${name}_ends" test $? -eq 0
	verdict "${name}_shows_bytes_rate_and_time_left" \
		grep -qE "$what: $size of $size, $size/s, [0-9.]+ (us|ms|s|min|h) left" "$tty"
	verdict "${name}_takes_its_line_away" line_gone "$tty"
}
# stops NAME FOLDER COMMAND...: 130, and FOLDER has no other files than before
stops() {
	local name=$1 folder=$2 tty=$work/tty-stop-$1
	shift 2
	find "$folder" | sort >"$tty.before"
	python3 "$work/slowly.py" interrupt "$@" >"$tty"
	verdict "interrupted_${name}_is_130" test $? -eq 130
	verdict "interrupted_${name}_had_begun" grep -q ' left' "$tty"
	find "$folder" | sort >"$tty.after"
	verdict "interrupted_${name}_leaves_nothing" cmp -s "$tty.before" "$tty.after"
	verdict "interrupted_${name}_says_nothing_more" line_gone "$tty"
}
# These spend their time stopped: several at once, each in folders of its own.
cases=0
beside() {
	cases=$((cases + 1))
	mkdir -p "$work/tmp$cases" "$work/cache$cases/packed" "$work/out$cases"
	TMPDIR=$work/tmp$cases VBLACKWELL_CACHE=$work/cache$cases out=$work/out$cases \
		"$@" >"$work/verdicts$cases" 2>&1 &
}
# All that were begun: what they found.
collect() {
	local i
	wait
	for i in $(seq $cases); do
		cat "$work/verdicts$i"
		! grep -q '^not ok' "$work/verdicts$i" || status=1
	done
	cases=0
}
export TMPDIR VBLACKWELL_CACHE

layers=4
[ -z "$sanitized" ] || layers=1
shows_gen() { shows gen gen $vbrun gen "$out/m.safetensors" --size 96M; }
stops_gen() { stops gen "$out" $vbrun gen "$out/m.safetensors" --size 96M; }
stops_gen_bert() { stops gen_bert "$out" $vbrun gen "$out/model" --bert --layers $layers --hidden 768 --ffn 3072; }
shows_gen_bert() { shows gen_bert gen $vbrun gen "$work/model" --bert --layers $layers --hidden 768 --ffn 3072; }
stops_gen_over_a_file() {
	$vbrun gen "$out/m.safetensors" --size 1M >/dev/null
	cp "$out/m.safetensors" "$TMPDIR"
	stops gen_over_a_file "$out" $vbrun gen "$out/m.safetensors" --size 96M
	verdict interrupted_gen_keeps_the_file_that_was_there \
		cmp -s "$TMPDIR/m.safetensors" "$out/m.safetensors"
}
$vbrun gen "$work/m.safetensors" --size 64M >/dev/null
for one in shows_gen stops_gen stops_gen_over_a_file shows_gen_bert stops_gen_bert; do
	beside $one
done
collect

embed="$vbrun embed --model $work/model --no-compare --json"
# shellcheck disable=SC2086
stops_packing() { stops packing "$VBLACKWELL_CACHE" $embed --packed file --passes 0 --chunk 64K x; }
# shellcheck disable=SC2086
shows_packing() { shows packing packing $embed --packed file --passes 0 --chunk 64K x; }
# shellcheck disable=SC2086
shows_embed() { shows embed 'mxfp4 a16' $embed --packed derived --host 64M one two; }
# shellcheck disable=SC2086
stops_embed() {
	stops embed "$out" $embed --packed derived --host 64M --vectors "$out/vectors" \
		--save "$out/save" --nvme "$out/arena" one two
}
route="$vbrun stream $work/m.safetensors --host 24M --chunk 64K --route zipf --tokens 300 --json"
# shellcheck disable=SC2086
shows_route() { shows route route $route; }
# shellcheck disable=SC2086
stops_route() { stops route "$out" env TMPDIR="$out" $route --save "$out/save"; }
shows_stream() {
	shows stream stream $vbrun stream "$work/m.safetensors" --host 24M --chunk 64K --passes 60 \
		--no-compare --json
}
shows_study() {
	$vbrun gen "$out/model" --bert --layers 2 --hidden 384 --ffn 1536 >/dev/null
	shows study 'float64 reference' $vbrun embed --model "$out/model" --packed derived --host 64M \
		--passes 0 --no-compare --json --accuracy --sentences 6 x
}
stops_stream() {
	stops stream "$out" env TMPDIR="$out" $vbrun stream "$work/m.safetensors" --host 24M \
		--chunk 64K --passes 200 --save "$out/save"
}
for one in stops_packing shows_packing shows_embed stops_embed shows_study shows_route stops_route \
	shows_stream stops_stream; do
	beside $one
done
collect

# Two passes, and what they did over and over.
$vbrun stream "$work/m.safetensors" --host 24M --chunk 64K --passes 2 --no-compare \
	--trace "$work/passes" >/dev/null
python3 -c 'import sys
t = open(sys.argv[1], "rb").read()
open(sys.argv[2], "wb").write(t[:64] + 200 * t[64:])' "$work/passes" "$work/trace"
shows_plan() { shows plan 'probing storage' $vbctl plan "$work/m.safetensors" --measure; }
stops_plan() { stops plan "$out" env TMPDIR="$out" $vbctl plan "$work/m.safetensors" --measure; }
shows_replay() { shows replay replay $vbctl replay "$work/trace"; }
stops_replay() { stops replay "$out" $vbctl replay "$work/trace"; }
stops_machine() { stops machine "$out" $vbrun machine "$out"; }
shows_machine() { shows machine 'scratch file to read from' $vbrun machine "$out"; }
for one in shows_plan stops_plan shows_replay stops_replay shows_machine stops_machine; do
	beside $one
done
collect
exit $status
