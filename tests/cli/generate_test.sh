#!/bin/bash
# SPDX-License-Identifier: MIT
# vbrun generate: text on stdout and the summary on stderr, the same text in every budget and
# engine, errors with numbers; with gemma-3-270m where the cache has it.
set -u
. "$(dirname "$0")/lib.sh"

model=$work/model.gguf
$vbrun gen "$model" --gemma3 --hidden 512 --ffn 2048 >/dev/null
generate() { $vbrun generate "$model" --prompt 'It is' "$@"; }
# drawn OPTION...: the tokens that are made. The likeliest of a generated model is one and the same
# again and again; those that are drawn are many, and depend on the logits' last bits.
drawn() { ids --temperature 3 --seed 5 "$@"; }
# ids OPTION...: the same, the likeliest
ids() { generate --json "$@" 2>"$work/err" | python3 -c 'import json, sys; print(json.load(sys.stdin)["ids"])'; }
# holds FILE PYTHON: about the summary s
holds() { python3 -c 'import json, sys; s = json.load(open(sys.argv[1])); sys.exit(not eval(sys.argv[2]))' "$@"; }

# --- what is where ---
generate --tokens 12 --save "$work/saved.json" >"$work/text" 2>"$work/summary"
verdict generate_ends_with_0 test $? -eq 0
verdict generate_saves_the_text_that_it_shows python3 - "$work/saved.json" "$work/text" <<'END'
import json, sys
made = json.load(open(sys.argv[1]))["text"]
shown = open(sys.argv[2], newline="").read()
clean = "".join(c if c in "\n\t" or ord(c) >= 0xa0 or 0x20 <= ord(c) < 0x7f else "?" for c in made if c != "\r")
sys.exit(shown != clean + ("" if clean.endswith("\n") else "\n"))
END
for line in 'model +generated: gemma3, ' 'prompt +[0-9]+ tokens in .*tokens/s; read a token .*stall [0-9.]+%' \
	'decode +11 tokens in .*tokens/s' 'made +12 tokens, as many as were asked for' \
	'ops on device +[0-9]+ of [0-9]+ \(backend cpu' 'tier host ' 'exact +[0-9]+ tensors Q6_K -> q6-k-g16, the same values' \
	'  keys and values +anonymous ' 'Where every object lives'; do
	verdict "summary_has_$(tr -cs 'a-z0-9\n' _ <<<"${line%%+*}")" grep -qE "^$line" "$work/summary"
done

# --- the same text, whatever is given ---
want=$(drawn --tokens 24 --host 256M)
verdict generate_makes_as_many_as_asked test "$(tr -cd , <<<"$want" | wc -c)" -eq 23
verdict generate_draws_many test "$(tr -d '[] ' <<<"$want" | tr , '\n' | sort -u | wc -l)" -ge 12
for how in '' '--engine threads' '--engine buffered' '--policy lru' '--policy schedule' '--threads 1' '--chunk 128K'; do
	# shellcheck disable=SC2086
	verdict "generate_in_a_quarter_says_the_same$(tr -c 'a-zA-Z0-9\n' _ <<<"$how")" \
		test "$(drawn --tokens 24 $how)" = "$want"
done
generate --tokens 24 --host 256M --json >"$work/all.json"
verdict generate_groups_rows_that_stay holds "$work/all.json" \
	'("Q8_0", "int8-g16") in [(c["from"], c["to"]) for c in s["conversions"]]'
generate --tokens 24 --json >"$work/quarter.json"
verdict generate_leaves_rows_that_do_not_stay holds "$work/quarter.json" \
	'"Q8_0" not in [c["from"] for c in s["conversions"]]'
verdict generate_takes_a_quarter holds "$work/quarter.json" 's["host_bytes"] == s["weight_bytes"] // 4'
verdict generate_in_a_quarter_reads_for_each_token holds "$work/quarter.json" \
	's["decoded"]["token_read_bytes"] > s["weight_bytes"] // 8 and s["decoded"]["evictions"] + s["decoded"]["bypasses"] > 100'
verdict generate_runs_all_on_the_device holds "$work/quarter.json" \
	's["seen"]["fallbacks"] == s["decoded"]["fallbacks"] == s["decoded"]["errors"] == 0'
# kv_takes FORMAT NAME BYTES: keys and values of that name take BYTES for 32 columns, 128 in F32
kv_takes() {
	generate --tokens 24 --host 256M --kv "$1" --json >"$work/kv.json" 2>"$work/err"
	verdict "generate_keeps_${1}_in_its_room" python3 - "$work/kv.json" "$work/all.json" "$2" "$3" <<'END'
import json, sys
less, all = (json.load(open(f)) for f in sys.argv[1:3])
sys.exit(not (less["kv_format"] == sys.argv[3] and 128 * less["kv_bytes"] == int(sys.argv[4]) * all["kv_bytes"]
	and len(less["ids"]) == len(all["ids"]) and less["seen"]["fallbacks"] == less["decoded"]["errors"] == 0))
END
}
kv_takes f16 f16 64
kv_takes bf16 bf16 64
kv_takes int8 q8-0 34
verdict generate_in_int8_says_the_same_in_a_quarter test "$(drawn --tokens 24 --kv int8)" = \
	"$(drawn --tokens 24 --kv int8 --host 256M --threads 1)"
verdict generate_with_an_arena_says_the_same \
	test "$(drawn --tokens 24 --host 2500K --chunk 64K --nvme "$work/arena")" = "$want"

# --- the model ends the text: a file whose token for that is the first one that differs ---
ended=$(python3 - "$model" "$work/ends.gguf" "$want" <<'END'
import struct, sys
data, ids = bytearray(open(sys.argv[1], "rb").read()), eval(sys.argv[3])
at = next(i for i, x in enumerate(ids) if i > 2 and x not in ids[:i])
key = b"tokenizer.ggml.eos_token_id"
place = data.index(key) + len(key) + 4
struct.pack_into("<I", data, place, ids[at])
open(sys.argv[2], "wb").write(data)
print(at + 1)
END
)
$vbrun generate "$work/ends.gguf" --host 256M --prompt 'It is' --tokens 24 --temperature 3 --seed 5 --json >"$work/ends.json"
verdict generate_ends_where_the_model_does holds "$work/ends.json" \
	"s['ended'] == 'model' and len(s['ids']) == $ended and s['ids'] == $want[:$ended]"

# --- drawing ---
verdict generate_draws_others_with_another_seed test "$(ids --tokens 24 --temperature 3 --seed 6)" != "$want"
likeliest=$(ids --tokens 24)
verdict generate_takes_the_likeliest_at_0 test "$likeliest" != "$want"
verdict generate_draws_the_likeliest_of_one test "$(drawn --tokens 24 --top 1)" = "$likeliest"

# --- what does not go ---
refuses generate_of_an_empty_prompt 1 'generate: the prompt is empty' $vbrun generate "$model" --prompt ''
refuses generate_longer_than_the_context 1 \
	'generate: [0-9]+ tokens of the prompt and --tokens 40000 are more than the 32768 of the model' \
	generate --tokens 40000
refuses generate_in_too_little 1 \
	'generate: --host 1.00 MiB is below the [0-9.]+ MiB \([0-9]+ bytes\) that two panels, intermediates and [0-9.]+ .iB of keys and values of [0-9]+ tokens need at chunks of 64.0 KiB' \
	generate --host 1M --json
$vbrun gen "$work/m.safetensors" --size 4M >/dev/null
refuses generate_of_no_decoder 1 \
	'm.safetensors: general.architecture is missing: generate takes a GGUF file of a decoder; known: gemma3' \
	$vbrun generate "$work/m.safetensors" --prompt x
refuses generate_where_it_cannot_save 1 'absent/s.json: ' generate --save "$work/absent/s.json"
sed 's/gemma3/llama9/g' "$model" >"$work/other.gguf"
refuses generate_of_another_architecture 1 "architecture 'llama9' is not known; known: gemma3" \
	$vbrun generate "$work/other.gguf" --prompt x

# The bytes that it names do.
need=$(generate --host 1M --json 2>&1 | grep -oE '\([0-9]+ bytes' | tr -dc 0-9)
verdict generate_runs_in_what_it_names test "$(drawn --tokens 24 --chunk 64K --host "$need")" = "$want"
generate --tokens 100000000 --json >/dev/null 2>&1
verdict generate_of_too_many_is_no_use test $? -eq 2

# --- an interruption leaves the text so far ---
$vbrun generate "$model" --prompt 'It is' --tokens 20000 --nvme "$work/arena" --nvme-size 1G \
	>"$work/text" 2>/dev/null &
pid=$!
for _ in $(seq 200); do [ ! -s "$work/text" ] || break; sleep 0.1; done
kill -INT $pid
wait $pid
verdict interrupted_generate_is_130 test $? -eq 130
verdict interrupted_generate_has_shown_text test -s "$work/text"
verdict interrupted_generate_leaves_no_arena test ! -e "$work/arena"

# --- a text that cannot be written is not gone on with ---
start=$SECONDS
generate --tokens 30000 --host 512M >/dev/full 2>"$work/err"
verdict generate_to_a_full_device_fails test $? -eq 1
verdict generate_to_a_full_device_stops test $((SECONDS - start)) -lt 60
verdict generate_to_a_full_device_says_so grep -q '^vbrun: standard output: No space left' "$work/err"

# --- what rounding costs ---
$vbrun quality "$model" --text Documentation/generate.md --tokens 40 --context 24 >"$work/text" 2>"$work/err"
verdict quality_ends_with_0 test $? -eq 0
verdict quality_says_what_it_is_of grep -q 'generate.md: 40 tokens foretold, in stretches of 24' "$work/text"
verdict quality_has_a_row_for_each_variant \
	test "$(sed -nE 's/^(f32|file|mxfp4) +(f32|a16|a8) +[0-9].*/\1\2/p' "$work/text" | tr '\n' ' ')" = \
	'f32f32 filef32 filea16 filea8 mxfp4a16 mxfp4a8 '
echo 'It is short.' >"$work/short"
refuses quality_of_a_short_text 1 'quality: .*/short has [0-9]+ tokens, --tokens 500 are wanted' \
	$vbrun quality "$model" --text "$work/short" --tokens 500
refuses quality_of_an_empty_text 1 '/dev/null: is no text' $vbrun quality "$model" --text /dev/null
refuses quality_of_no_text 1 'absent: No such file' $vbrun quality "$model" --text absent
refuses quality_beyond_the_context 1 'quality: --context 40000 is more than the 32768 of the model' \
	$vbrun quality "$model" --text "$work/short" --tokens 2 --context 40000

# --- the real model, where it is ---
gemma=${VBLACKWELL_CACHE:-${HOME:-}/.cache/vblackwell}/models/gemma-3-270m-Q4_K_M/gemma-3-270m-q4_k_m.gguf
if [ -n "$sanitized" ]; then
	echo 'skip gemma-3-270m: a sanitizer takes too long over it'
elif [ -f "$gemma" ]; then
	prompt='Monday, Tuesday, Wednesday,'
	$vbrun generate "$gemma" --host 512M --prompt "$prompt" --tokens 8 2>"$work/summary" >"$work/text"
	verdict gemma_knows_the_days test "$(cat "$work/text")" = ' Thursday, Friday, Saturday, Sunday,'
	$vbrun generate "$gemma" --prompt "$prompt" --tokens 8 --json >"$work/gemma.json"
	verdict gemma_says_the_same_in_a_quarter holds "$work/gemma.json" \
		's["text"] == " Thursday, Friday, Saturday, Sunday," and s["host_bytes"] == s["weight_bytes"] // 4'
	verdict gemma_stays_near_its_budget holds "$work/gemma.json" \
		's["vm_hwm_bytes"] < s["host_bytes"] + (48 << 20)'
else
	echo 'skip gemma-3-270m: it is not in the cache (tools/fetch-models.sh gemma)'
fi
exit $status
