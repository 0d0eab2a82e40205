#!/bin/bash
# SPDX-License-Identifier: MIT
# What the tools print: JSON that every reader takes, nothing that a terminal would obey, progress
# on terminals and only there.
set -u
. "$(dirname "$0")/lib.sh"
export VBLACKWELL_CACHE=$work/cache

# is_json FILE: one object with "schema": 1
is_json() { python3 -c 'import json, sys; exit(json.load(open(sys.argv[1]))["schema"] != 1)' "$1"; }
# controls FILE: bytes that move a cursor or more
controls() { LC_ALL=C grep -cP '[\x00-\x08\x0b-\x1f\x7f]' "$1"; }

$vbrun gen "$work/m.safetensors" --size 24M --json >"$work/gen.json"
tiny=$work/tiny
$vbrun gen "$tiny" --bert --layers 1 --hidden 96 --ffn 64 >/dev/null

# --- every summary as JSON ---
small="--host 6M --chunk 64K"
# shellcheck disable=SC2086
summary() {
	local name=$1
	shift
	"$@" >"$work/$name.json" 2>"$work/err"
	verdict "${name}_prints_json" is_json "$work/$name.json"
	verdict "${name}_prints_nothing_else" test ! -s "$work/err"
}
verdict gen_prints_json is_json "$work/gen.json"
# shellcheck disable=SC2086
summary stream $vbrun stream "$work/m.safetensors" $small --passes 2 --json
# shellcheck disable=SC2086
summary route $vbrun stream "$work/m.safetensors" $small --route zipf --tokens 4 --json
summary embed $vbrun embed --model "$tiny" --json 'One text.' 'And another.'
summary accuracy $vbrun embed --model "$tiny" --accuracy --sentences 4 --json 'One text.'
summary machine $vbrun machine --json
summary report $vbrun report "$work/stream.json" "$work/route.json" "$work/embed.json" --json
verdict report_json_has_a_line_a_run test "$(grep -c '"what":' "$work/report.json")" -ge 4
same_keys report_json_keeps_its_fields "$work/report.json" $golden/report.keys
summary plan $vbctl plan "$work/m.safetensors" --host 64M --json
summary tensors $vbctl tensor list "$work/m.safetensors" --json
# shellcheck disable=SC2086
$vbrun stream "$work/m.safetensors" $small --passes 2 --no-compare --trace "$work/trace" >/dev/null
summary replay $vbctl replay "$work/trace" --json
$vbctl doctor --json >"$work/doctor.json"
verdict doctor_prints_json is_json "$work/doctor.json"
refuses report_of_no_json 1 'report: .*trace: is no JSON' $vbrun report "$work/trace"

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
summary escape_tensors $vbctl tensor list "$work/escape.safetensors" --json
$vbctl tensor list "$work/dtype.safetensors" >"$work/text" 2>&1
verdict failure_shows_no_controls test "$(controls "$work/text")" -eq 0
verdict failure_names_the_dtype grep -q "dtype '?\[2J' is unknown" "$work/text"

# --- progress: bytes, rate and time left, on a terminal only; for a second and more ---
passes=${sanitized:+30}
passes=${passes:-150}
# shellcheck disable=SC2086
$vbrun stream "$work/m.safetensors" $small --passes $passes --no-compare >/dev/null 2>"$work/err"
verdict no_progress_where_there_is_no_terminal test ! -s "$work/err"
# on_terminal COMMAND...: what a terminal gets, line by line
on_terminal() { script -qec "$*" /dev/null </dev/null | tr '\r' '\n'; }
if ! command -v script >/dev/null; then
	echo 'skip progress: script(1) is not installed'
else
	size='[0-9.]+ ([KMG]i)?B'
	on_terminal $vbrun stream "$work/m.safetensors" "$small" --passes $((2 * passes)) --no-compare \
		--save "$work/saved.json" '>/dev/null' >"$work/tty"
	verdict progress_has_bytes_rate_and_time_left \
		grep -qE "stream: $size of $size, $size/s, [0-9.]+ (ms|s) left" "$work/tty"
	verdict progress_is_taken_away \
		test "$(tail -c 3 "$work/tty" | od -An -c | tr -d ' \n')" = '033[K'
	on_terminal $vbrun machine "$work" '>/dev/null' >"$work/tty"
	verdict progress_of_a_probe grep -qE "(scratch file to read from|probing storage): $size of $size, $size/s" \
		"$work/tty"
	on_terminal $vbrun embed --accuracy --sentences 6 --no-compare --json '>/dev/null' >"$work/tty"
	verdict progress_of_a_study grep -qE "float64 reference: $size of $size, $size/s" "$work/tty"
fi

# --- killed without notice: no trace is left ---
mkdir "$work/tmp"
# shellcheck disable=SC2086
TMPDIR=$work/tmp $vbrun stream "$work/m.safetensors" $small --passes 1000 --no-compare >/dev/null &
sleep 0.7
kill -KILL $!
wait $! 2>/dev/null
verdict killed_stream_leaves_no_trace test -z "$(ls -A "$work/tmp")"
exit $status
