#!/bin/bash
# SPDX-License-Identifier: MIT
# vbrun: memory that is measured stands beside the budget, is what the kernel says, and is at most
# the budget and 32 MiB above that of a run without a pass, also where weights are packed on demand.
set -u
. "$(dirname "$0")/lib.sh"

export VBLACKWELL_CACHE=$work/cache
model=$work/model
# 182 MiB: packed on demand, a chunk of 2 MiB has a source of 15.
$vbrun gen "$model" --bert --layers 3 --hidden 1152 --ffn 4608 >/dev/null
# embed OPTION...
embed() { $vbrun embed --model "$model" --no-compare --json --passes 1 "$@" 'one text'; }
allowed=$((32 << 20))

# within NAME BUDGET FILE
within() {
	local before after
	before=$(field "$3" vm_hwm_before_bytes)
	after=$(field "$3" vm_hwm_bytes)
	if [ "${before:-0}" -gt 0 ] && [ "$after" -ge "$before" ] &&
		[ "$after" -le $((before + $2 + allowed)) ]; then
		ok "$1"
	else
		not_ok "$1" "$((after >> 20)) MiB, $((before >> 20)) before the first pass, budget $(($2 >> 20))"
	fi
}
# Packing a file takes memory before the first pass: here it is there already.
embed --packed file --host 12M --chunk 512K >/dev/null
for how in "mxfp4 derived 8M 64K" "mxfp4 derived 12M 512K" "mxfp4 derived 34M 2M" \
	"int8 derived 12M 512K" "int8 derived 40M 2M" \
	"mxfp4 file 12M 512K" "f32 derived 12M 512K"; do
	read -r format packed host chunk <<<"$how"
	embed --format "$format" --packed "$packed" --host "$host" --chunk "$chunk" >"$work/run.json"
	within "embed_memory_within_budget_${how// /_}" $((${host%M} << 20)) "$work/run.json"
done

# --- rows of 262,144 columns, in a tier of 16 MiB: whatever they are packed from ---
# wide TYPE FORMAT: beside a run without a pass, whose tier is there already. Of each row a chunk
# has 4 KiB of FP8: with the blocks of the disk around them twice as much is read.
wide() {
	local run zero
	$vbrun stream "$work/$1" --host 16M --chunk 64K --format "$2" --passes 0 --no-compare \
		--json >"$work/zero.json"
	$vbrun stream "$work/$1" --host 16M --chunk 64K --format "$2" --passes 2 --no-compare \
		--json >"$work/run.json"
	zero=$(field "$work/zero.json" vm_hwm_bytes) run=$(field "$work/run.json" vm_hwm_bytes)
	verdict "wide_rows_stay_within_the_budget_$1_$2" \
		test "${run:-0}" -gt 0 -a "$run" -le $((zero + allowed))
	verdict "wide_rows_are_compared_within_the_budget_$1_$2" \
		test "${zero:-0}" -gt 0 -a "$zero" -le $(((16 << 20) + allowed))
	verdict "wide_rows_are_not_read_again_for_each_chunk_$1_$2" test \
		"$(field "$work/run.json" read_bytes)" -le $(($(stat -c %s "$work/$1") * 5 / 2))
}
for type in F32 F8_E4M3 MXFP4; do
	python3 tests/cli/wide_make.py $type 48 262144 "$work/$type" || exit 1
	for format in keep int8 mxfp4; do
		wide $type $format
	done
done

# --- from outside: what the kernel counted for the child; a tier that holds all is seen ---
python3 - "$work/all.json" $vbrun embed --model "$model" --no-compare --json --passes 1 --format f32 \
	--host 256M 'one text' <<'END' >"$work/outside"
import resource, subprocess, sys
subprocess.run(sys.argv[2:], stdout=open(sys.argv[1], "w"))
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
END
inside=$(field "$work/all.json" vm_hwm_bytes)
outside=$(cat "$work/outside")
verdict embed_memory_is_what_the_kernel_counted \
	test $((inside * 95)) -le $((outside * 100)) -a $((inside * 100)) -ge $((outside * 95))
verdict embed_memory_has_the_weights test "$inside" -gt $((128 << 20))

# --- in the table: budget, then what was measured; likewise in JSON ---
$vbrun gen "$work/m.safetensors" --size 24M >/dev/null
$vbrun stream "$work/m.safetensors" --host 6M --chunk 64K --passes 1 --no-compare \
	--save "$work/stream.json" >/dev/null
$vbrun stream "$work/m.safetensors" --host 6M --chunk 64K --route zipf --tokens 4 \
	--save "$work/route.json" >/dev/null
$vbrun embed --model "$model" --packed derived --no-compare --passes 1 --host 24M \
	--save "$work/embed.json" 'one text' >"$work/text"
verdict embed_prints_its_memory grep -qE '^memory \(VmHWM\) +[1-9][0-9.]* MiB$' "$work/text"
$vbrun report "$work/embed.json" "$work/stream.json" "$work/route.json" >"$work/table"
verdict table_heads_budget_and_memory grep -qE ' budget +memory +accuracy$' "$work/table"
verdict table_says_what_memory_is grep -q '^memory: .* (VmHWM)' "$work/table"
$vbrun report "$work/embed.json" "$work/stream.json" "$work/route.json" --json >"$work/table.json"
verdict table_has_what_each_run_measured python3 - "$work" <<'END'
import json, re, sys
load = lambda name: json.load(open(sys.argv[1] + "/" + name + ".json"))
runs = [load("embed")["runs"][0], load("stream"), load("route")]
lines = load("table")["lines"]
text = [l for l in open(sys.argv[1] + "/table") if l.startswith(("embed ", "stream"))][:3]
unit = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
for run, line, row in zip(runs, lines, text):
    assert run["vm_hwm_bytes"] == line["vm_hwm_bytes"] > 0
    assert run["host_bytes"] == line["host_bytes"]
    # stall %, budget, memory
    budget, memory = [float(x) * unit[u] for x, u in
                      re.findall(r"(\S+) (KiB|MiB|GiB)", row.split("%")[1])[:2]]
    assert abs(budget - run["host_bytes"]) <= budget / 100
    assert abs(memory - run["vm_hwm_bytes"]) <= memory / 100
END
exit $status
