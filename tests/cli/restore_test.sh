#!/bin/bash
# SPDX-License-Identifier: MIT
# vbrun embed --accuracy of MXFP4: what each layer costs, which in INT8 bring a model back to a
# goal, and at what bytes. On a small generated model, whose MXFP4 embeddings are worse than MiniLM's.
set -u
. "$(dirname "$0")/lib.sh"

export VBLACKWELL_CACHE=$work/cache
$vbrun gen "$work/model" --bert --layers 6 --hidden 96 --ffn 384 >/dev/null
few="--model $work/model --no-compare --sentences 20 --json"

# study FILE OPTION...
study() {
	local file=$1
	shift
	# shellcheck disable=SC2086
	$vbrun embed $few "$@" 'A small test.' >"$work/$file"
}
# figure FILE OBJECT KEY: KEY inside OBJECT
figure() { sed -n "/\"$2\":/,/}/p" "$work/$1" | grep -m1 "\"$3\":" | grep -oE '(-?[0-9][0-9.e-]*|true|false)'; }
# layers FILE: of the restored set, "0,2"
layers() { sed -n '/"int8_layers":/,/\]/p' "$work/$1" | grep -oE '[0-9]+,?$' | tr -d ',\n' | sed 's/./&,/g; s/,$//'; }
# holds EXPRESSION: of awk, which knows reals
holds() { awk "BEGIN { exit !($1) }"; }

# --- the goal of 0.95 lies between MXFP4 and INT8: some layers are found, and do suffice ---
goal=0.95
study found --accuracy
study int8 --accuracy --format int8
low=$(figure found against_f32 spearman)
verdict generated_model_needs_restoring holds \
	"$low < $goal && $goal <= $(figure int8 against_f32 spearman)"
set=$(layers found)
count=$(echo "$set" | tr ',' '\n' | wc -l)
verdict study_finds_layers test -n "$set"
verdict study_says_they_are_enough test "$(figure found restored enough)" = true
verdict study_reaches_the_goal holds "$(figure found restored spearman) >= $goal"
study check --accuracy --layers-int8 "$set"
verdict study_figure_is_that_of_a_run_with_these_layers test \
	"$(figure check against_f32 spearman)" = "$(figure found restored spearman)"
verdict study_bytes_are_those_of_a_run_with_these_layers test \
	"$(figure check against_f32 weight_bytes)" = "$(figure found restored weight_bytes)"
verdict study_bytes_lie_between holds "$(figure found against_f32 weight_bytes) < \
	$(figure found restored weight_bytes) && $(figure found restored weight_bytes) <= \
	$(figure int8 against_f32 weight_bytes)"
# One layer fewer was not enough: the figures of all sets that were tried are there.
before=$low
[ "$count" -gt 1 ] && before=$(figure found int8_layers_$((count - 1)) spearman)
verdict study_stops_at_the_first_set_that_is_enough holds "$before < $goal"
# The worst layers come first.
worst=$(for i in 0 1 2 3 4 5; do
	echo "$(figure found only_layer_$i spearman) $i"
done | sort -g | head -n "$count" | cut -d' ' -f2 | sort | tr '\n' ',')
verdict study_takes_the_worst_layers test "$worst" = "$set,"

# --- the same as text: a line a layer, and what restores the goal; INT8 has no such part ---
$vbrun embed --model "$work/model" --no-compare --sentences 20 --accuracy 'A small test.' >"$work/text"
for i in 0 1 2 3 4 5; do
	verdict study_prints_what_layer_${i}_costs grep -qE "^  only layer $i mxfp4-g16: loses \
0\.[0-9]{6} +NMSE +[0-9.e-]+ +max-abs +[0-9.e-]+ +Spearman 0\.[0-9]{6} +[0-9.]+ [KM]iB$" "$work/text"
done
verdict study_prints_what_restores_the_goal grep -qE "^  INT8 in layers? $(echo "$set" | tr ',' ' ') \
restores Spearman 0\.9[5-9][0-9]{4}, at least 0.95, at [0-9.]+ [KM]iB$" "$work/text"
verdict study_of_int8_has_no_layers test "$(grep -c only_layer "$work/int8")" -eq 0

# --- a goal out of reach: all layers, and it says that they are not enough ---
study never --accuracy --goal 1 --layers-int8 0-3
verdict study_ends_at_all_int8 test "$(layers never)" = 4,5
verdict study_says_they_are_not_enough test "$(figure never restored enough)" = false
verdict study_bytes_are_those_of_int8 test \
	"$(figure never restored weight_bytes)" = "$(figure int8 against_f32 weight_bytes)"
verdict study_figure_is_that_of_int8 test \
	"$(figure never restored spearman)" = "$(figure int8 against_f32 spearman)"

# --- a goal that is met: nothing changes ---
$vbrun embed --model "$work/model" --no-compare --sentences 20 --accuracy --goal 0 'A small test.' \
	>"$work/text"
verdict study_of_a_met_goal_needs_no_layer grep -q 'is not below 0: no layer needs INT8' "$work/text"

refuses usage_goal_range 2 'goal 1.5 is outside 0 .. 1' $vbrun embed --goal 1.5
refuses usage_goal_number 2 'goal nan is no number' $vbrun embed --goal nan
refuses usage_sentences_range 2 'sentences 2 is outside 3 .. 200' $vbrun embed --sentences 2
exit $status
