#!/bin/bash
# SPDX-License-Identifier: MIT
# What the tools print: JSON that every reader takes, nothing that a terminal would obey, no progress
# where there is no terminal.
set -u
. "$(dirname "$0")/lib.sh"
export VBLACKWELL_CACHE=$work/cache

# is_json FILE: one object with "schema": 1
is_json() { python3 -c 'import json, sys; exit(json.load(open(sys.argv[1]))["schema"] != 1)' "$1"; }
# controls FILE: bytes that move a cursor or more
controls() { LC_ALL=C grep -cP '[\x00-\x08\x0b-\x1f\x7f]' "$1"; }

$vbrun gen "$work/m.safetensors" --size 24M >/dev/null
tiny=$work/tiny
$vbrun gen "$tiny" --bert --layers 1 --hidden 96 --ffn 64 >/dev/null
$vbrun gen "$work/d.gguf" --gemma3 --layers 1 >/dev/null

small="--host 6M --chunk 64K"
refuses report_of_no_json 1 'report: .*m.safetensors: is no JSON' $vbrun report "$work/m.safetensors"

# --- texts that are not UTF-8, or would be obeyed by a terminal ---
bad=$(printf 'bad \xff\xfe text \xe6\x97 \x1b[31mred')
$vbrun embed --model "$tiny" --no-compare --json "$bad" >"$work/bad.json"
verdict json_of_a_text_that_is_no_utf8 is_json "$work/bad.json"
verdict json_has_the_text_with_replacements python3 -c '
import json, sys
t = json.load(open(sys.argv[1]))["texts"][0]["text"]
exit(t != "bad \ufffd\ufffd text \ufffd\ufffd \x1b[31mred")' "$work/bad.json"
$vbrun embed --model "$tiny" --no-compare "$bad" 'another' >"$work/text"
verdict text_of_a_text_has_no_controls test "$(controls "$work/text")" -eq 0
$vbrun embed --model "$tiny" --no-compare '日本語日本語日本語日本語日本語日本語' 'x' >"$work/text"
verdict characters_are_not_cut_in_the_middle python3 -c \
	'import sys; open(sys.argv[1], encoding="utf-8").read()' "$work/text"
long=$(printf 'word %.0s' {1..300})
$vbrun embed --model "$tiny" --no-compare short "$long" >"$work/text"
verdict a_text_that_is_cut_is_named grep -qE '^text 2 is cut: [0-9]+ tokens, the model takes 256$' \
	"$work/text"
verdict a_text_that_is_not_cut_is_not test "$(grep -c "^text 1 is cut" "$work/text")" -eq 0

# A checkpoint whose names hold escape sequences.
python3 - "$work/escape.safetensors" "$work/dtype.safetensors" <<'END'
import json, struct, sys
for path, dtype in zip(sys.argv[1:], ("F32", "\x1b[2J")):
    head = json.dumps({"\x1b[31mred\x9b": {"dtype": dtype, "shape": [4, 8], "data_offsets": [0, 128]}}).encode()
    head += b" " * (-len(head) % 8)
    open(path, "wb").write(struct.pack("<Q", len(head)) + head + bytes(128))
END
$vbctl tensor list "$work/escape.safetensors" >"$work/text" 2>&1
verdict tensor_list_shows_no_controls test "$(controls "$work/text")" -eq 0
verdict tensor_list_shows_the_rest grep -q 'red' "$work/text"
$vbctl tensor list "$work/escape.safetensors" --json >"$work/escape.json"
verdict json_of_such_names is_json "$work/escape.json"
$vbctl tensor list "$work/dtype.safetensors" >"$work/text" 2>&1
verdict failure_shows_no_controls test "$(controls "$work/text")" -eq 0
verdict failure_names_the_dtype grep -q "dtype '?\[2J' is unknown" "$work/text"

# --- progress: bytes, rate and time left, on a terminal only; for a second and more ---
passes=${sanitized:+30}
passes=${passes:-150}
# shellcheck disable=SC2086
$vbrun stream "$work/m.safetensors" $small --passes $passes --no-compare >/dev/null 2>"$work/err"
verdict no_progress_where_there_is_no_terminal test ! -s "$work/err"

# --- what does not arrive on standard output is a failure, however it was closed ---
$vbrun stream "$work/m.safetensors" $small --passes 1 --no-compare --trace "$work/trace" >/dev/null
while read -r name words; do
	# shellcheck disable=SC2086
	refuses "${name}_to_a_full_device_is_a_failure" 1 '^vb(run|ctl): standard output: No space left' \
		bash -c '"$@" >/dev/full' - $build/$words
	# shellcheck disable=SC2086
	refuses "${name}_to_a_closed_one_is_a_failure" 1 '^vb(run|ctl): standard output: ' \
		bash -c '"$@" >&-' - $build/$words
done <<END
help vbrun --help
version vbctl --version
stream vbrun stream $work/m.safetensors $small --passes 1 --no-compare
stream_json vbrun stream $work/m.safetensors $small --passes 1 --no-compare --json
embed vbrun embed --model $tiny --no-compare x
generate vbrun generate $work/d.gguf --prompt x --tokens 2 --json
gen vbrun gen $work/g.safetensors --size 1M
doctor vbctl doctor
plan vbctl plan $work/m.safetensors --host 6M
replay vbctl replay $work/trace
replay_json vbctl replay $work/trace --json
list vbctl tensor list $work/m.safetensors
END
# Each program says its version; an object its commands.
for program in vbrun vbctl vbd; do
	verdict "${program}_says_its_version" grep -qE "^$program [0-9]+\.[0-9]+\.[0-9]+$" \
		<($build/$program --version)
done
verdict tensor_says_its_commands grep -qE '^  list +the tensors' <($vbctl tensor --help)
refuses vbd_names_itself_once 2 '^vbd: unknown option --nonsense' $build/vbd --nonsense
# Nothing that is opened gets the number of a closed one, and with it what is printed.
mkfifo "$work/waits"
exec 9<>"$work/waits"
$vbctl replay "$work/waits" >&- 2>"$work/err" 9>&- &
# Before it is that program it has the shell's files.
for _ in {1..500}; do
	[[ $(readlink /proc/$!/exe) = */vbctl ]] &&
		readlink /proc/$!/fd/* 2>/dev/null | grep -q "$work/waits" && break
	sleep 0.02
done
verdict no_file_gets_the_number_of_a_closed_stream test "$(readlink /proc/$!/fd/1)" = /dev/null
kill $!
wait $! 2>/dev/null
exec 9>&-

# --- a limit of the size of files is an error, and nothing is left ---
refuses gen_beyond_the_limit_of_a_file 1 'limited: File too large' \
	bash -c 'ulimit -f 100; "$@"' - $vbrun gen "$work/limited" --size 8M
refuses embed_save_beyond_the_limit_of_a_file 1 'limited: ' \
	bash -c 'ulimit -f 1; "$@" | cat >/dev/null; exit ${PIPESTATUS[0]}' - \
	$vbrun embed --model "$tiny" --no-compare --passes 0 --save "$work/limited" x
verdict nothing_is_left_beyond_the_limit test -z "$(find "$work" -name 'limited*')"

# --- files that are asked for take the place of files alone, and are refused before the work ---
mkfifo "$work/pipe"
ln -s pipe "$work/to-pipe"
ln -s nowhere "$work/dangling"
mkdir "$work/folder"
# asks WHERE: each command that writes a file, to WHERE; its own words are in ${command[@]}
asks() {
	local where=$1 what
	for what in gen stream_save stream_trace route_trace embed_save embed_vectors embed_trace; do
		case $what in
		gen) command=(gen "$where" --size 1M) ;;
		# shellcheck disable=SC2206
		stream*) command=(stream "$work/m.safetensors" $small --${what#*_} "$where") ;;
		# shellcheck disable=SC2206
		route*) command=(stream "$work/m.safetensors" $small --route zipf --${what#*_} "$where") ;;
		embed*) command=(embed --model "$tiny" --${what#*_} "$where" x) ;;
		esac
		refuses "${what}_refuses_${where##*/}" 1 "${where##*/}: $2" $vbrun "${command[@]}"
	done
}
asks "$work/pipe" 'what is there is no file, and stays'
asks "$work/to-pipe" 'what is there is no file, and stays'
asks "$work/dangling" 'what is there is a link that leads nowhere'
asks "$work/folder" 'Is a directory'
asks "$work/absent/file" 'No such file or directory'
asks "$work/absent/" '[^ ]*No such file or directory'
refuses embed_save_refuses_no_name 1 'No such file or directory' \
	$vbrun embed --model "$tiny" --save '' x
refuses gen_refuses_no_name 1 'No such file or directory' $vbrun gen '' --size 1M
verdict nothing_is_made_for_no_name test ! -e .part
verdict a_pipe_stays_a_pipe test -p "$work/pipe" -a -L "$work/to-pipe"
verdict nothing_is_left_beside_them test -z "$(find "$work" -name '*.part')"
# --- two at once: a file is one's or the other's, and whoever says it is done has done it ---
exec 8>"$work/held.part"
flock 8
refuses gen_of_what_another_one_writes 1 'held: another one is writing it' \
	$vbrun gen "$work/held" --size 1M
verdict the_part_of_another_one_stays test -e "$work/held.part"
exec 8>&-
$vbrun gen "$work/held" --size 1M >/dev/null
verdict a_part_that_was_left_is_taken test -s "$work/held" -a ! -e "$work/held.part"
for seed in 1 2 3; do
	$vbrun gen "$work/both" --size $((seed * 8))M --seed $seed >"$work/gen.$seed" 2>&1 &
done
wait
$vbctl tensor list "$work/both" >"$work/text" 2>&1
verdict files_written_at_once_are_whole test $? -eq 0
verdict somebody_wrote_it test "$(cat "$work"/gen.[123] | grep -c "both: .* in ")" -ge 1
for i in 1 2 3; do
	VBLACKWELL_CACHE=$work/first $vbrun embed --no-compare --passes 0 --json x >"$work/first.$i" 2>&1 &
done
wait
for i in 1 2 3; do
	sed -n '/"embedding"/,/\]/p' "$work/first.$i" >"$work/bits.$i"
done
verdict models_generated_at_once_are_one test -s "$work/bits.1" -a \
	"$(cat "$work"/bits.[123] | wc -c)" -eq $((3 * $(wc -c <"$work/bits.1")))
verdict models_generated_at_once_are_the_same \
	bash -c 'cmp -s "$1.1" "$1.2" && cmp -s "$1.1" "$1.3"' - "$work/bits"

# A link to a file stays a link.
: >"$work/real"
ln -s real "$work/link"
$vbrun gen "$work/link" --size 1M >/dev/null
verdict a_link_stays_a_link test -L "$work/link" -a -s "$work/real" -a ! -L "$work/real"
# A name as long as a file system takes, of a trace.
deep=$work/$(printf 'd%.0s' {1..200})/$(printf 'e%.0s' {1..200})
mkdir -p "$deep"
# shellcheck disable=SC2086
$vbrun stream "$work/m.safetensors" $small --passes 1 --no-compare --trace "$deep/trace" >/dev/null
verdict a_trace_may_have_a_long_name test -s "$deep/trace"
if [ "$(id -u)" -eq 0 ] && mknod "$work/null" c 1 3 2>/dev/null; then
	refuses gen_refuses_a_device 1 'null: what is there is no file, and stays' \
		$vbrun gen "$work/null" --size 1M
	verdict a_device_stays_a_device test -c "$work/null"
else
	echo 'skip gen_refuses_a_device: no device can be made by this user'
fi

# --- the terminal is gone: as if interrupted, but under nohup ---
# hung_up NAME COMMAND...: gen gets SIGHUP once it writes; its status in $rc
hung_up() {
	local name=$1
	shift
	"$@" $vbrun gen "$work/$name" --size 256M >/dev/null 2>&1 &
	until [ -s "$work/$name.part" ] || ! kill -0 $! 2>/dev/null; do sleep 0.005; done
	kill -HUP $!
	wait $!
	rc=$?
}
hung_up hup env
verdict gen_without_its_terminal_is_interrupted test $rc -eq 130
verdict gen_without_its_terminal_leaves_nothing test ! -e "$work/hup" -a ! -e "$work/hup.part"
hung_up nohup nohup
verdict gen_under_nohup_goes_on test $rc -eq 0 -a -s "$work/nohup"
rm -f "$work/nohup"

# --- killed without notice: no trace is left ---
mkdir "$work/tmp"
# shellcheck disable=SC2086
TMPDIR=$work/tmp $vbrun stream "$work/m.safetensors" $small --passes 1000 --no-compare >/dev/null &
sleep 0.7
kill -KILL $!
wait $! 2>/dev/null
verdict killed_stream_leaves_no_trace test -z "$(ls -A "$work/tmp")"
exit $status
