#!/bin/bash
# SPDX-License-Identifier: MIT
# GGUF files of every type through the tools: what runs, what is packed first and what that
# changes, what is refused.
set -u
. "$(dirname "$0")/lib.sh"

make() { python3 tests/cli/gguf_make.py "$@" || exit 1; }
# sum FILE EXPRESSION: of a JSON file, in python over s
sum() { python3 -c "import json, sys; s = json.load(open(sys.argv[1])); print($2)" "$1"; }
run() { $vbrun stream "$@" --chunk 64K --passes 2 --no-compare --json; }

# --- every type: 29 matrices and one embedding, 5 stacks of experts, one narrow one ---
make all "$work/all.gguf"
run "$work/all.gguf" --host 2M >"$work/all.json"
verdict every_type_streams test $? -eq 0
verdict all_matrices_of_the_file_run test "$(sum "$work/all.json" 's["matrices"]')" -eq 36
verdict only_norms_are_left_out test \
	"$(sum "$work/all.json" '[(k["why"], k["tensors"]) for k in s["skipped"]]')" = \
	"[('rank below 2 (biases, norms)', 30)]"
$vbctl tensor list "$work/all.gguf" --json >"$work/list.json"
verdict bytes_are_those_of_the_files_matrices test "$(sum "$work/all.json" 's["source_bytes"]')" -eq \
	"$(sum "$work/list.json" 'sum(t["bytes"] for t in s["tensors"] if len(t["shape"]) > 1)')"
verdict bytes_read_hold_all_that_does_not_stay test \
	"$(sum "$work/all.json" 's["passes"][0]["read_bytes"] >= s["source_bytes"]')" = True
verdict every_packed_type_is_said test \
	"$(sum "$work/all.json" '" ".join(sorted(c["from"] for c in s["conversions"]))')" = \
	'F64 IQ1_M IQ1_S IQ2_S IQ2_XS IQ2_XXS IQ3_S IQ3_XXS IQ4_NL IQ4_XS NVFP4 Q1_0 Q2_K Q3_K Q4_0 Q4_1 Q4_K Q5_0 Q5_1 Q5_K Q6_K Q8_K TQ1_0 TQ2_0'
verdict what_is_exact_differs_in_nothing test \
	"$(sum "$work/all.json" '[(c["from"], c["nmse"]) for c in s["conversions"] if c["how"] == "exact"]')" = \
	"[('Q4_0', 0), ('Q4_1', 0), ('Q5_0', 0), ('Q5_1', 0), ('Q4_K', 0), ('Q5_K', 0), ('Q6_K', 0), \
('IQ4_NL', 0), ('NVFP4', 0), ('TQ1_0', 0), ('TQ2_0', 0), ('Q1_0', 0)]"
verdict the_rest_says_how_far_it_moved test \
	"$(sum "$work/all.json" 'all(1e-7 < c["nmse"] < 1e-4 and c["how"] == ("packed" if c["from"] == "F64" else "requantised") and \
	   c["to"] == "int8-g16" for c in s["conversions"] if c["how"] != "exact")')" = True
verdict small_models_are_compared_whole test \
	"$(sum "$work/all.json" 'all(c["compared_values"] == c["values"] for c in s["conversions"])')" = True
$vbrun stream "$work/all.gguf" --host 2M --chunk 64K --passes 1 >"$work/text"
verdict text_says_what_was_rounded grep -qE \
	'^requantised  1 tensors Q3_K -> int8-g16, NMSE of the weights [0-9.]+e-0[5-7]$' "$work/text"
verdict text_says_what_was_not grep -qE \
	'^exact        3 tensors Q5_0 -> q5-0-g16, the same values' "$work/text"
verdict text_says_that_k_quants_are_kept grep -qE \
	'^exact        2 tensors Q4_K -> q4-k-g16, the same values' "$work/text"

# --- the format asked for, where values cannot be kept ---
run "$work/all.gguf" --host 2M --format mxfp4 >"$work/mxfp4.json"
verdict the_rest_goes_where_it_was_asked_to test \
	"$(sum "$work/mxfp4.json" '{c["to"] for c in s["conversions"] if c["how"] == "requantised"} == \
	   {"mxfp4-g16"} and all(c["nmse"] < 0.1 for c in s["conversions"])')" = True
verdict what_is_exact_stays_exact test \
	"$(sum "$work/mxfp4.json" '[c["from"] for c in s["conversions"] if c["how"] == "exact"]')" = \
	"['Q4_0', 'Q5_0', 'IQ4_NL', 'TQ1_0', 'TQ2_0', 'Q1_0']"
verdict floats_are_packed_when_asked test \
	"$(sum "$work/mxfp4.json" '[c["from"] for c in s["conversions"] if c["how"] == "packed"]')" = \
	"['F32', 'F16', 'BF16', 'F64']"

# --- as INT8 the same results whatever the tier, and those of the same weights as Q8_0, which the
# script makes of the blocks by itself and the device takes as they are ---
make blocks "$work/blocks.gguf"
make q8 "$work/q8.gguf"
for mode in f32 a16 a8; do
	for host in 1M 16M; do
		run "$work/blocks.gguf" --host $host --mode $mode --m 3 --format int8 >"$work/blocks.json"
		run "$work/q8.gguf" --host $host --mode $mode --m 3 >"$work/q8.json"
		verdict "products_are_those_of_the_same_weights_as_q8_0_${mode}_$host" \
			test "$(field "$work/blocks.json" digest)" = "$(field "$work/q8.json" digest)"
	done
done
for mode in f32 a16 a8; do
	verdict "packed_with_their_values_they_say_the_same_in_any_tier_$mode" test \
		"$(run "$work/blocks.gguf" --host 1M --mode $mode --m 3 | grep '"digest"')" = \
		"$(run "$work/blocks.gguf" --host 16M --mode $mode --m 3 | grep '"digest"')"
done
verdict q8_0_is_taken_as_it_is test "$(sum "$work/q8.json" 's["conversions"]')" = '[]'
verdict the_digest_is_of_products test "$(field "$work/blocks.json" digest)" != \
	"$(run "$work/blocks.gguf" --host 16M --mode a8 --backend null | grep digest | cut -d'"' -f4)"

# --- a model in parts is the same model, whichever part is named ---
make split "$work/parts"
whole=$(run "$work/blocks.gguf" --host 2M | grep '"digest"')
for i in 1 3; do
	verdict "a_model_in_parts_streams_whole_by_part_$i" test \
		"$(run "$work/parts-0000$i-of-00003.gguf" --host 2M | grep '"digest"')" = "$whole"
done
rm "$work/parts-00002-of-00003.gguf"
refuses a_part_that_is_missing_is_named 1 'parts-00002-of-00003.gguf: No such file' \
	$vbrun stream "$work/parts-00001-of-00003.gguf"

# --- what cannot run is refused by tensor and type, by both tools ---
# refused NUMBER PATTERN
refused() {
	make type "$work/t$1.gguf" "$1"
	refuses "type_$1_is_refused_by_stream" 1 "t$1.gguf: $2" $vbrun stream "$work/t$1.gguf"
	refuses "type_$1_is_refused_by_plan" 1 "t$1.gguf: $2" $vbctl plan "$work/t$1.gguf"
}
refused 42 "tensor 'blk.0.ffn_up.weight': type 42 is unknown, is none of ggml's 0-3, .*39-41"
make cut "$work/cut.gguf"
refuses a_file_that_was_cut_is_refused 1 \
	"tensor '.*': offset [0-9]+ \+ [0-9]+ bytes exceeds data bytes [0-9]+" $vbrun stream "$work/cut.gguf"
make infinite "$work/infinite.gguf"
refuses a_scale_that_is_infinite_is_named 1 \
	"tensor 'blk.0.ffn_up.weight': a value is NaN, infinite, or too large for q5-0-g16" \
	$vbrun stream "$work/infinite.gguf" --chunk 64K --host 2M --json

$vbrun gen "$work/f32.safetensors" --size 8M --format f32 >/dev/null
for format in int8 mxfp4; do
	$vbrun stream "$work/f32.safetensors" --route zipf --format $format --chunk 64K --json \
		>"$work/route.json"
	verdict "experts_that_are_packed_read_1.5_times_the_optimum_at_most_$format" test \
		"$(sum "$work/route.json" '1 <= s["against_optimum"] <= 1.5 and s["token_read_bytes"] > 0 \
		   and abs(s["expert_share"] - 0.25) < 0.02')" = True
	verdict "room_is_for_experts_as_they_are_packed_$format" test \
		"$(sum "$work/route.json" '2 * s["expert_bytes"] < s["expert_source_bytes"]')" = True
done

# --- safetensors: FP8 and F64 are packed, too; complex numbers are not ---
# fp8 FILE DTYPE WIDTH
fp8() {
	python3 - "$@" <<'END'
import json, random, struct, sys
path, dtype, width = sys.argv[1], sys.argv[2], int(sys.argv[3])
codes = [c for c in range(256) if c % 128 < 0x7c]	# finite in both
data = bytes(random.Random(1).choice(codes) for _ in range(40 * 100 * width))
head = json.dumps({"w": {"dtype": dtype, "shape": [40, 100], "data_offsets": [0, len(data)]}}).encode()
open(path, "wb").write(struct.pack("<Q", len(head)) + head + data)
END
}
for dtype in F8_E4M3 F8_E5M2; do
	fp8 "$work/$dtype.safetensors" $dtype 1
	run "$work/$dtype.safetensors" --host 2M >"$work/f8.json"
	verdict "${dtype}_runs_packed" test "$(sum "$work/f8.json" \
		'[(c["from"], c["to"], c["nmse"] < 1e-4, c["how"]) for c in s["conversions"]]')" = \
		"[('$dtype', 'int8-g16', True, 'requantised')]"
done
fp8 "$work/c64.safetensors" C64 8
refuses c64_is_refused 1 "tensor 'w': type C64 has no product and is not packed; taken are f32, .*f8_e4m3" \
	$vbrun stream "$work/c64.safetensors"
python3 - "$work/f64.safetensors" "$work/f32_too.safetensors" <<'END'
import json, random, struct, sys
rng, values = random.Random(2), []
values = [rng.gauss(0, 1) for _ in range(40 * 100)]
for path, dtype, code in (sys.argv[1], "F64", "d"), (sys.argv[2], "F32", "f"):
    data = struct.pack("<4000" + code, *values)
    head = json.dumps({"w": {"dtype": dtype, "shape": [40, 100], "data_offsets": [0, len(data)]}})
    open(path, "wb").write(struct.pack("<Q", len(head)) + head.encode() + data)
END
run "$work/f64.safetensors" --host 2M --format int8 >"$work/f64.json"
verdict f64_gives_the_products_of_the_nearest_f32 test "$(field "$work/f64.json" digest)" = \
	"$(field <(run "$work/f32_too.safetensors" --host 2M --format int8) digest)"

# --- plan and list know all types ---
$vbctl plan "$work/all.gguf" --host 2M --chunk 64K --json >"$work/plan.json"
verdict plan_and_stream_agree_on_bytes test \
	"$(sum "$work/plan.json" '(s["source_bytes"], s["weight_bytes"])')" = \
	"$(sum "$work/all.json" '(s["source_bytes"], s["weight_bytes"])')"
verdict plan_and_stream_agree_on_what_is_packed test \
	"$(sum "$work/plan.json" '[(c["from"], c["to"], c["bytes"]) for c in s["conversions"]]')" = \
	"$(sum "$work/all.json" '[(c["from"], c["to"], c["bytes"]) for c in s["conversions"]]')"
$vbctl plan "$work/all.gguf" --host 2M --chunk 64K --measure >"$work/text"
verdict plan_measures_a_model_that_is_packed grep -q '^packed weights' "$work/text"
$vbctl tensor list "$work/all.gguf" >"$work/text"
for line in 'Q4_K q4-k-g16, exact' 'Q5_0 q5-0-g16, exact' 'Q2_K int8-g16, requantised' 'MXFP4 mxfp4' 'Q8_0 q8-0' 'BF16 bf16'; do
	verdict "list_says_${line%% *}" grep -qE "\.weight +${line%% *} .*  ${line#* }\$" "$work/text"
done

# --- real models, where they are ---
models=${VBLACKWELL_CACHE:-${HOME:-}/.cache/vblackwell}/models
gemma=$models/gemma-3-270m-Q4_K_M/gemma-3-270m-q4_k_m.gguf
if [ -n "${VBLACKWELL_GEMMA:-}" ]; then
	# Whoever sets it takes the terms of the model, and 253 MB.
	VBLACKWELL_CACHE=$work/fetched tools/fetch-models.sh gemma >"$work/text" 2>&1
	verdict gemma_is_fetched_and_its_sum_checked test $? -eq 0
	gemma=$work/fetched/models/gemma-3-270m-Q4_K_M/gemma-3-270m-q4_k_m.gguf
else
	echo 'skip fetching gemma-3-270m: VBLACKWELL_GEMMA is not set (its terms, and 253 MB)'
fi
if [ -f "$gemma" ]; then
	VBLACKWELL_CACHE=${gemma%/models/*} tools/fetch-models.sh gemma >"$work/text" 2>&1
	verdict gemma_in_the_cache_has_its_sum test $? -eq 0
	$vbrun stream "$gemma" --host 64M --passes 2 --json >"$work/gemma.json"
	verdict gemma_streams test $? -eq 0
	verdict gemma_runs_all_of_its_127_matrices test \
		"$(sum "$work/gemma.json" '(s["matrices"], s["source_bytes"])')" = '(127, 246364160)'
	$vbrun stream "$gemma" --host 64M --passes 0 --json >"$work/base.json"
	verdict gemma_stays_within_the_budget test "$(field "$work/gemma.json" vm_hwm_bytes)" -le \
		$(($(field "$work/base.json" vm_hwm_bytes) + (64 << 20) + (32 << 20)))
	verdict gemma_says_what_it_did test \
		"$(sum "$work/gemma.json" '[(c["from"], c["how"], c["tensors"]) for c in s["conversions"]]')" = \
		"[('Q5_0', 'exact', 81), ('Q4_K', 'exact', 27), ('Q6_K', 'exact', 9)]"
else
	echo 'skip gemma-3-270m: it is not in the cache (tools/fetch-models.sh gemma)'
fi
# A file that is not the one named is never kept: what is there is fetched again, or nothing is.
mkdir -p "$work/wrong/models/gemma-3-270m-Q4_K_M"
head -c 1000 /dev/zero >"$work/wrong/models/gemma-3-270m-Q4_K_M/gemma-3-270m-q4_k_m.gguf"
VBLACKWELL_CACHE=$work/wrong refuses gemma_with_another_sum_is_not_taken 1 'pip cannot download' \
	env PIP_NO_INDEX=1 tools/fetch-models.sh gemma
if [ -d "$models/all-MiniLM-L6-v2" ]; then
	$vbrun stream "$models/all-MiniLM-L6-v2" --host 32M --passes 2 --json >"$work/minilm.json"
	verdict minilm_streams_from_safetensors test \
		"$(sum "$work/minilm.json" '(s["matrices"], s["weight_bytes"], s["conversions"])')" = \
		'(40, 90728448, [])'
else
	echo 'skip streaming MiniLM: it is not in the cache (tools/fetch-models.sh)'
fi
exit $status
