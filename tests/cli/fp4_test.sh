#!/bin/bash
# SPDX-License-Identifier: MIT
# Safetensors' types of less than a byte: F4 runs with the values it has; F6, of which nobody
# says how it lies in bytes, is refused by name.
set -u
. "$(dirname "$0")/lib.sh"

make() { python3 tests/cli/fp4_make.py "$@" || exit 1; }
# sum FILE EXPRESSION: of a JSON file, in python over s
sum() { python3 -c "import json, sys; s = json.load(open(sys.argv[1])); print($2)" "$1"; }
run() { $vbrun stream "$@" --chunk 64K --passes 2 --json; }

make plain "$work/f4.safetensors" "$work/f32.safetensors"
for host in 1M 16M; do
	for mode in f32 a16 a8; do
		run "$work/f4.safetensors" --host $host --mode $mode --m 3 >"$work/f4.json"
		run "$work/f32.safetensors" --format mxfp4 --host $host --mode $mode --m 3 >"$work/f32.json"
		verdict "products_are_those_of_the_values_${mode}_$host" test \
			"$(field "$work/f4.json" digest)" = "$(field "$work/f32.json" digest)"
	done
done
verdict every_matrix_of_f4_runs test "$(sum "$work/f4.json" '(s["matrices"], s["skipped"])')" = '(3, [])'
verdict f4_is_packed_where_it_keeps_its_values test "$(sum "$work/f4.json" \
	'[(c["from"], c["to"], c["how"], c["tensors"], c["nmse"]) for c in s["conversions"]]')" = \
	"[('F4', 'mxfp4-g16', 'exact', 3, 0)]"
verdict f4_keeps_its_values_whatever_is_asked_for test \
	"$(field <(run "$work/f4.safetensors" --format int8 --host 16M --mode a8 --m 3) digest)" = \
	"$(field "$work/f4.json" digest)"
verdict f4_is_listed_as_what_it_becomes grep -qE '^a.weight +F4 +\[300\]\[416\] .* mxfp4-g16, exact$' \
	<($vbctl tensor list "$work/f4.safetensors")
$vbctl plan "$work/f4.safetensors" --host 16M --chunk 64K --json >"$work/plan.json"
verdict plan_and_stream_agree_on_f4 test \
	"$(sum "$work/plan.json" '(s["source_bytes"], s["weight_bytes"])')" = \
	"$(sum "$work/f4.json" '(s["source_bytes"], s["weight_bytes"])')"

# --- with the scales of MX beside it: MXFP4 as it lies there ---
make mx "$work/mx.safetensors" "$work/mx32.safetensors"
for host in 1M 16M; do
	for mode in f32 a16 a8; do
		run "$work/mx.safetensors" --host $host --mode $mode --m 3 >"$work/mx.json"
		run "$work/mx32.safetensors" --format mxfp4 --host $host --mode $mode --m 3 >"$work/mx32.json"
		verdict "products_are_those_of_scaled_values_${mode}_$host" test \
			"$(field "$work/mx.json" digest)" = "$(field "$work/mx32.json" digest)"
	done
done
verdict every_matrix_of_mx_runs_as_it_lies_there test \
	"$(sum "$work/mx.json" '(s["matrices"], s["skipped"], s["conversions"])')" = '(3, [], [])'
$vbctl tensor list "$work/mx.safetensors" >"$work/text"
verdict mx_is_listed_as_codes_and_scales test "$(grep -c ' mxfp4-split$' "$work/text")" -eq 6

# refused CASE PATTERN
refused() {
	make "$1" "$work/$1.safetensors"
	refuses "$1_is_refused_by_stream" 1 "$1.safetensors: $2" $vbrun stream "$work/$1.safetensors"
	refuses "$1_is_refused_by_plan" 1 "$1.safetensors: $2" $vbctl plan "$work/$1.safetensors"
}
for case in narrow e4m3; do
	refused $case "tensor 'w.weight': its scales 'w.weight_scale' are not E8M0, one for each 32 values of a row, as F4 takes them\$"
done
refused odd 'none of its 1 tensors is .*rows are no whole number of blocks.* U8 _blocks \[..\]\[16\] beside _scales$'
for dtype in F6_E2M3 F6_E3M2; do
	refused $dtype "tensor 'w.weight': type $dtype is of 6 bits, and safetensors does not define how they lie in bytes; taken are f32, .*f4_e2m1, "
	verdict "${dtype}_is_listed" grep -qE "^w.weight +F6_E[23]M[23] +\[40\]\[128\] .* -\$" \
		<($vbctl tensor list "$work/$dtype.safetensors")
done
exit $status
