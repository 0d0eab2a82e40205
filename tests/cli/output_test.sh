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

# --- killed without notice: no trace is left ---
mkdir "$work/tmp"
# shellcheck disable=SC2086
TMPDIR=$work/tmp $vbrun stream "$work/m.safetensors" $small --passes 1000 --no-compare >/dev/null &
sleep 0.7
kill -KILL $!
wait $! 2>/dev/null
verdict killed_stream_leaves_no_trace test -z "$(ls -A "$work/tmp")"
exit $status
