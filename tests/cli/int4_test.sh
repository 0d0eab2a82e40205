#!/bin/bash
# SPDX-License-Identifier: MIT
# Checkpoints of AWQ and GPTQ: their layers are packed once into a file of the cache and multiplied
# from there; where settings come from; what is refused, by tensor, file and field.
set -u
. "$(dirname "$0")/lib.sh"

export VBLACKWELL_CACHE=$work/cache
packed=$work/cache/packed
make() { python3 tests/cli/int4_make.py "$@" || exit 1; }
# sum FILE EXPRESSION: of a JSON file, in python over s
sum() { python3 -c "import json, sys; s = json.load(open(sys.argv[1])); print($2)" "$1"; }
run() { $vbrun stream "$@" --chunk 64K --passes 2 --no-compare --json; }
digest() { field <(run "$@") digest; }
# same NAME WANT GOT: digests
same() { verdict "$1" test "${#2}" -eq 16 -a "$2" = "$3"; }

# --- the same values as AWQ, GPTQ and GPTQ v2 have them: the same products ---
for scheme in awq gptq gptq_v2; do
	make model "$work/$scheme" $scheme 64 zeros
	run "$work/$scheme" --host 1M >"$work/$scheme.json"
	verdict "every_layer_is_a_matrix_$scheme" test "$(sum "$work/$scheme.json" \
		'(s["matrices"], [k["tensors"] for k in s["skipped"]])')" = '(4, [3])'
	verdict "layers_are_said_to_keep_their_values_$scheme" test "$(sum "$work/$scheme.json" \
		'[(c["how"], c["to"], c["tensors"]) for c in s["conversions"]]')" = \
		"[('exact', 'int4-z64-g16', 3)]"
	same "products_are_those_of_the_values_$scheme" "$(field "$work/awq.json" digest)" \
		"$(field "$work/$scheme.json" digest)"
done
verdict the_type_is_named test "$(sum "$work/gptq_v2.json" 's["conversions"][0]["from"]')" = 'GPTQ v2'
for group in 32 128 -1; do
	make model "$work/awq$group" awq "$group" zeros
	make model "$work/gptq$group" gptq "$group" zeros
	same "groups_of_${group/-/all_}" "$(digest "$work/awq$group" --host 2M)" \
		"$(digest "$work/gptq$group" --host 1M)"
done

# --- and where all zero points are 8, in groups of 32, those of Q4_0 in a GGUF file ---
make q4_0 "$work/twin.gguf"
for scheme in awq gptq; do
	make model "$work/even_$scheme" $scheme 32 even
	for mode in f32 a16 a8; do
		same "products_are_those_of_q4_0_${scheme}_$mode" \
			"$(digest "$work/twin.gguf" --host 16M --mode $mode)" \
			"$(digest "$work/even_$scheme" --host 1M --mode $mode)"
	done
done

# --- a layer stays what it is, in any tier, whatever is asked for ---
for format in keep int8 mxfp4; do
	run "$work/awq" --host 1M --format $format >"$work/small.json"
	run "$work/awq" --host 16M --format $format >"$work/large.json"
	same "the_tier_changes_nothing_$format" "$(field "$work/small.json" digest)" \
		"$(field "$work/large.json" digest)"
	verdict "layers_stay_int4_$format" test "$(sum "$work/small.json" \
		'[c["to"] for c in s["conversions"] if c["from"] == "AWQ"]')" = "['int4-z64-g16']"
done
file=$(field "$work/awq.json" packed_file)
verdict packed_bytes_are_a_little_more_than_the_files test "$(sum "$work/awq.json" \
	'1 < s["conversions"][0]["bytes"] / s["conversions"][0]["source_bytes"] < 1.04')" = True

# --- packed once ---
before=$(stat -c '%i %Y %y' "$file")
$vbrun stream "$work/awq" --host 1M --chunk 64K --passes 1 --no-compare >"$work/text"
verdict the_file_stays_when_it_fits test "$before" = "$(stat -c '%i %Y %y' "$file")"
verdict text_names_the_file grep -qE "^packed file  $file: 427 KiB, made when it was not there$" "$work/text"
verdict text_names_the_layers grep -qx 'exact        3 tensors AWQ -> int4-z64-g16, the same values' \
	"$work/text"
touch "$work/awq/model.safetensors"
same a_changed_model_is_packed_again "$(field "$work/awq.json" digest)" "$(digest "$work/awq" --host 1M)"
verdict the_file_is_another test "$before" != "$(stat -c '%i %Y %y' "$file")"
$vbrun stream "$work/awq" --host 1M --chunk 64K --passes 2 >"$work/text"
verdict no_pass_packs_a_layer test "$(grep -c '^packing ' "$work/text")" = 0
truncate -s 100000 "$file"
same a_damaged_file_is_made_anew "$(field "$work/awq.json" digest)" "$(digest "$work/awq" --host 1M)"
verdict nothing_is_left_beside test -z "$(find "$packed" -name '*.part')"

# --- plan and tensor list: without packing ---
rm -r "$packed"
$vbctl plan "$work/awq" --host 2M --json >"$work/plan.json"
verdict plan_says_what_the_file_takes test "$(sum "$work/plan.json" \
	's["packed_file_bytes"] == s["conversions"][0]["bytes"] and s["derived_bytes"] == 0')" = True
verdict plan_says_it_as_text grep -q '^packed file  427 KiB of disk, once' \
	<($vbctl plan "$work/awq" --host 2M)
verdict plan_measures_products_of_layers test "$(sum <($vbctl plan "$work/awq" --host 2M --measure \
	--json) 's["measured"]')" = True
$vbctl tensor list "$work/awq" --json >"$work/list.json"
verdict tensor_list_names_all_of_a_layer test "$(sum "$work/list.json" \
	'sorted((t["name"].split(".")[-1], t["how"]) for t in s["tensors"] if t["format"] == "int4-z64-g16" and "up_proj" in t["name"])')" = \
	"[('qweight', 'exact'), ('qzeros', 'exact'), ('scales', 'exact')]"
verdict neither_packs test ! -e "$packed"

# --- settings, wherever they are; a layer in two files ---
want=$(digest "$work/gptq" --host 2M)
for where in quantize meta; do
	make model "$work/gptq_$where" gptq 64 zeros $where
	same "settings_in_${where}_are_found" "$want" "$(digest "$work/gptq_$where" --host 2M)"
done
make model "$work/awq_quant" awq 64 zeros quant
same settings_in_quant_are_found "$want" "$(digest "$work/awq_quant" --host 2M)"
make model "$work/shards" gptq 64 zeros config shards
same a_layer_may_lie_in_two_files "$want" "$(digest "$work/shards" --host 2M)"

make model "$work/no_order" gptq 64 zeros config no_order
same order_may_be_missing "$want" "$(digest "$work/no_order" --host 2M)"
make model "$work/in_order" gptq 64 zeros config desc_act=true
same another_order_may_be_this_one "$want" "$(digest "$work/in_order" --host 2M)"

# --- what is not taken: refused by tensor, file and field, and nothing is packed ---
rm -r "$packed"
codes="tensor 'model.layers.0.mlp.down_proj.qweight'"
# refused CASE PATTERN ARGUMENT...: of int4_make.py
refused() {
	local name=$1 pattern=$2
	shift 2
	make model "$work/$name" "$@"
	refuses "${name}_is_refused_by_stream" 1 "$name: $pattern" $vbrun stream "$work/$name"
	refuses "${name}_is_refused_by_plan" 1 "$name: $pattern" $vbctl plan "$work/$name"
}
refused no_settings "$codes: no settings of its layer: config.json: No such file or directory; nor is there quantize_config.json" \
	gptq 64 zeros none
mkdir "$work/other"
cp "$work/no_settings/model.safetensors" "$work/other"
echo '{"model_type": "llama", "quantization_config": null}' >"$work/other/config.json"
refuses a_config_without_settings_is_named 1 "config.json has no quantization_config; nor" \
	$vbrun stream "$work/other"
echo '[' >"$work/other/config.json"
refuses a_config_that_is_none_is_named 1 "config.json holds no JSON object$" $vbrun stream "$work/other"
refused no_bits "$codes: config.json has no quantization_config.bits$" gptq 64 zeros config bits=
refused no_group "$codes: config.json has no quantization_config.group_size$" awq 64 zeros config group_size=
refused no_method "$codes: config.json has no quantization_config.quant_method$" awq 64 zeros config quant_method=
refused text_bits "$codes: config.json: quantization_config.bits is \"4\", no whole number$" \
	gptq 64 zeros config 'bits="4"'
refused method "$codes: config.json: quantization_config.quant_method is \"hqq\", taken are \"awq\" and \"gptq\"$" \
	gptq 64 zeros config 'quant_method="hqq"'
refused gemv "$codes: config.json: quantization_config.version is \"gemv\", taken is \"gemm\"$" \
	awq 64 zeros config 'version="gemv"'
refused marlin "$codes: quantize_config.json: checkpoint_format is \"marlin\", taken are \"gptq\" and \"gptq_v2\"$" \
	gptq 64 zeros quantize 'checkpoint_format="marlin"'
refused meta_bits "$codes: the metadata's gptq_bits is \"four\", no whole number$" gptq 64 zeros meta 'bits="four"'
refused bits "$codes: bits is 8, taken is 4$" gptq 64 zeros config bits=8
refused group "$codes: group size is 16, taken are 32, 64, 128, and -1 for all inputs$" \
	gptq 64 zeros config group_size=16
refused another_group "tensor 'model.layers.0.mlp.down_proj.qzeros': dimension 0 is 10, inputs and group size give 5$" \
	gptq 64 zeros config group_size=128
refused order "tensor 'model.layers.0.mlp.down_proj.g_idx': input 7 is in group 9, not 0: inputs out of order" \
	gptq 64 zeros config order
for where in config quantize meta; do
	refused "lost_order_$where" "$codes: the settings' desc_act is true, and there is no g_idx" \
		gptq 64 zeros $where lost_order
done
refused number_desc_act "$codes: config.json: quantization_config.desc_act is 1, neither true nor false$" \
	gptq 64 zeros config desc_act=1
refused meta_desc_act "$codes: the metadata's gptq_desc_act is \"1\", neither true nor false$" \
	gptq 64 zeros meta desc_act=1
verdict what_is_refused_is_not_packed test ! -e "$packed"
refuses a_cache_that_cannot_be_made_is_named 1 'VBLACKWELL_CACHE names another place for the cache.*/dev/null/c/' \
	env VBLACKWELL_CACHE=/dev/null/c $vbrun stream "$work/gptq"
refuses no_cache_at_all_is_named 1 'neither VBLACKWELL_CACHE nor HOME says where the cache is' \
	env -u VBLACKWELL_CACHE -u HOME $vbrun stream "$work/gptq"
exit $status
