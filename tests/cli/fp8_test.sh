#!/bin/bash
# SPDX-License-Identifier: MIT
# FP8 with scales in tensors of their own: products are those of the values times the scales,
# and what cannot be applied is refused by name.
set -u
. "$(dirname "$0")/lib.sh"

make() { python3 tests/cli/fp8_make.py "$@" || exit 1; }
# sum FILE EXPRESSION: of a JSON file, in python over s
sum() { python3 -c "import json, sys; s = json.load(open(sys.argv[1])); print($2)" "$1"; }
run() { $vbrun stream "$@" --chunk 64K --passes 2 --json; }

make good "$work/fp8.safetensors" "$work/f32.safetensors"
for format in int8 mxfp4; do
	for host in 1M 16M; do
		run "$work/fp8.safetensors" --format $format --host $host --m 3 >"$work/fp8.json"
		run "$work/f32.safetensors" --format $format --host $host --m 3 >"$work/f32.json"
		verdict "products_are_those_of_scaled_values_${format}_$host" test \
			"$(field "$work/fp8.json" digest)" = "$(field "$work/f32.json" digest)"
	done
done
verdict every_matrix_runs_and_no_scale_does test "$(sum "$work/fp8.json" \
	'(s["matrices"], [k["tensors"] for k in s["skipped"]])')" = '(12, [])'
run "$work/fp8.safetensors" --host 2M >"$work/keep.json"
verdict what_packing_changes_is_measured_on_scaled_values test "$(sum "$work/keep.json" \
	'all(0 < c["nmse"] < 1e-4 and c["how"] == "requantised" for c in s["conversions"])')" = True
for mode in a16 a8; do
	verdict "the_tier_changes_nothing_$mode" test \
		"$(field <(run "$work/fp8.safetensors" --host 1M --mode $mode) digest)" = \
		"$(field <(run "$work/fp8.safetensors" --host 16M --mode $mode) digest)"
done

# --- experts chosen at run time, packed as they are read: those of the same values in F32 ---
make experts "$work/experts.safetensors" "$work/twin.safetensors"
route() { $vbrun stream "$@" --chunk 64K --route zipf --tokens 16 --json; }
for format in int8 mxfp4; do
	route "$work/experts.safetensors" --format $format --host 1M >"$work/route.json"
	verdict "experts_that_are_packed_are_routed_$format" \
		test "$(field "$work/route.json" weight)" = $format-g16
	verdict "hidden_state_is_that_of_scaled_values_$format" test \
		"$(field "$work/route.json" digest)" = \
		"$(field <(route "$work/twin.safetensors" --format $format --host 8M) digest)"
done

# --- what cannot be applied is refused by name, by both tools ---
# refused CASE PATTERN
refused() {
	make "$1" "$work/$1.safetensors"
	refuses "$1_is_refused_by_stream" 1 "$1.safetensors: tensor 'w.weight': $2" \
		$vbrun stream "$work/$1.safetensors"
	refuses "$1_is_refused_by_plan" 1 "$1.safetensors: tensor 'w.weight': $2" \
		$vbctl plan "$work/$1.safetensors"
}
refused shape "its scales 'w.weight_scale' have a shape that does not fit its own$"
refused dtype "its scales 'w.weight_scale' are of type F64, not of F32, F16, BF16 or E8M0$"
refused int8 "its scales 'w.weight_scale' are applied to FP8 only, not to I8$"
refused nvfp4 "its scales 'w.weight_scale' are applied to FP8 only, not to U8$"
mkdir "$work/two"
make file1 "$work/two/model-00001-of-00002.safetensors"
make file2 "$work/two/model-00002-of-00002.safetensors"
echo '{"weight_map": {"w.weight": "model-00001-of-00002.safetensors",
	"w.weight_scale": "model-00002-of-00002.safetensors"}}' >"$work/two/model.safetensors.index.json"
refuses scales_in_another_file_are_refused 1 \
	"tensor 'w.weight': its scales 'w.weight_scale' lie in another file$" $vbrun stream "$work/two"
make nan "$work/nan.safetensors"
refuses a_scale_that_is_nan_is_named 1 \
	"tensor 'w.weight': a value is NaN, infinite, or too large for int8-g16" \
	$vbrun stream "$work/nan.safetensors" --chunk 64K --host 2M --json
exit $status
