#!/bin/bash
# SPDX-License-Identifier: MIT
# What takes more than a second says on a terminal how far it is, and can be interrupted: then
# nothing is half-written. So that a little work takes that long, it is stopped in between.
set -u
. "$(dirname "$0")/lib.sh"

# slowly.py end|interrupt WHAT COMMAND...: stderr is a terminal, what it got goes to stdout. Until
# a whole line of WHAT is there the command runs 5 ms of every 225; interrupt sends SIGINT then.
# Ends as the command does.
cat >"$work/slowly.py" <<'END'
import fcntl, os, pty, re, signal, subprocess, sys, time

how, what, command = sys.argv[1], sys.argv[2].encode(), sys.argv[3:]
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
        slow = not re.search(what + b": [^\r]* left", text)
        if how == "interrupt" and not slow:
            child.send_signal(signal.SIGINT)
        child.send_signal(signal.SIGCONT)
    take()
take()
sys.stdout.buffer.write(text.replace(b"\r", b"\n"))
sys.exit(child.returncode if child.returncode >= 0 else 128 - child.returncode)
END
size='[0-9.]+ ([KMGT]i)?B'
# line_of WHAT FILE: with bytes, rate and time left
line_of() { grep -qE "$1: $size of $size, $size/s, ([0-9.]+ (us|ms|s|min|h) )+left" "$2"; }
line_gone() { [ "$(tail -c 3 "$1" | od -An -c | tr -d ' \n')" = '033[K' ]; }
# shows NAME WHAT COMMAND...: a line of WHAT, which is taken away
shows() {
	local name=$1 what=$2 tty=$work/tty-$1
	shift 2
	python3 "$work/slowly.py" end "$what" "$@" >"$tty"
	verdict "${name}_ends" test $? -eq 0
	verdict "${name}_shows_bytes_rate_and_time_left" line_of "$what" "$tty"
	verdict "${name}_takes_its_line_away" line_gone "$tty"
}
# stops NAME WHAT FOLDER COMMAND...: after a line of WHAT 130, and FOLDER has no other files
# than before
stops() {
	local name=$1 what=$2 folder=$3 tty=$work/tty-stop-$1
	shift 3
	find "$folder" | sort >"$tty.before"
	python3 "$work/slowly.py" interrupt "$what" "$@" >"$tty"
	verdict "interrupted_${name}_is_130" test $? -eq 130
	verdict "interrupted_${name}_had_shown_bytes_rate_and_time_left" line_of "$what" "$tty"
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
stops_gen() { stops gen gen "$out" $vbrun gen "$out/m.safetensors" --size 96M; }
stops_gen_bert() { stops gen_bert gen "$out" $vbrun gen "$out/model" --bert --layers $layers --hidden 768 --ffn 3072; }
shows_gen_bert() { shows gen_bert gen $vbrun gen "$work/model" --bert --layers $layers --hidden 768 --ffn 3072; }
stops_gen_over_a_file() {
	$vbrun gen "$out/m.safetensors" --size 1M >/dev/null
	cp "$out/m.safetensors" "$TMPDIR"
	stops gen_over_a_file gen "$out" $vbrun gen "$out/m.safetensors" --size 96M
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
stops_packing() { stops packing packing "$VBLACKWELL_CACHE" $embed --packed file --passes 0 --chunk 64K x; }
# shellcheck disable=SC2086
shows_packing() { shows packing packing $embed --packed file --passes 0 --chunk 64K x; }
# shellcheck disable=SC2086
shows_embed() { shows embed 'mxfp4 a16' $embed --packed derived --host 64M one two; }
# shellcheck disable=SC2086
stops_embed() {
	stops embed 'mxfp4 a16' "$out" $embed --packed derived --host 64M --vectors "$out/vectors" \
		--save "$out/save" --nvme "$out/arena" --trace "$out/trace" one two
}
route="$vbrun stream $work/m.safetensors --host 24M --chunk 64K --route zipf --tokens 300 --json"
# shellcheck disable=SC2086
stops_route() { stops route route "$out" env TMPDIR="$out" $route --save "$out/save" --trace "$out/trace"; }
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
	stops stream stream "$out" env TMPDIR="$out" $vbrun stream "$work/m.safetensors" --host 24M \
		--chunk 64K --passes 200 --save "$out/save" --trace "$out/trace"
}
for one in stops_packing shows_packing shows_embed stops_embed shows_study stops_route \
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
stops_plan() { stops plan 'probing storage' "$out" env TMPDIR="$out" $vbctl plan "$work/m.safetensors" --measure; }
stops_replay() { stops replay replay "$out" $vbctl replay "$work/trace"; }
stops_machine() { stops machine 'scratch file to read from' "$out" $vbrun machine "$out"; }
for one in stops_plan stops_replay stops_machine; do
	beside $one
done
collect
exit $status
