#!/bin/bash
# SPDX-License-Identifier: MIT
# vbrun: failures, summaries, and results that do not depend on the tier. Bad input of all kinds:
# refusal_test.sh.
set -u
. "$(dirname "$0")/lib.sh"

# --- failures: exit status 1 and one line that names what (more in refusal_test.sh) ---
$vbrun gen "$work/m.safetensors" --size 24M >/dev/null
head -c 1000000 "$work/m.safetensors" >"$work/cut.safetensors"
refuses fails_on_truncated_checkpoint 1 'cut.safetensors: ' $vbrun stream "$work/cut.safetensors"
head -c 100000 /dev/zero >"$work/zero.safetensors"
refuses fails_on_garbage 1 'zero.safetensors: ' $vbrun stream "$work/zero.safetensors"
refuses fails_on_tiny_host 1 'stream: --host 256 KiB is below the [0-9.]+ [KM]iB \([0-9]+ bytes\) that two panels' \
	$vbrun stream "$work/m.safetensors" --host 256K --chunk 64K
refuses fails_without_experts 1 'no experts' \
	$vbrun stream tests/cli/golden/dense.safetensors --route zipf --json
refuses fails_on_layer_list 2 'layers-int8 names layer 9' \
	env VBLACKWELL_CACHE="$work/cache" $vbrun embed --layers-int8 9 --json x

# --- the same results whatever the tier ---
# digest HOST OPTION...
digest() {
	local host=$1
	shift
	$vbrun stream "$work/m.safetensors" --host "$host" --chunk 64K --passes 2 --no-compare \
		--json "$@" >"$work/stream.json" && field "$work/stream.json" digest
}
$vbrun stream "$work/m.safetensors" --host 8M --chunk 64K >"$work/reserve"
verdict stream_prints_a_reserve_of_5_percent_at_most \
	grep -qE '^staging reserve .*\(([0-4]\.[0-9]|5\.0) % of the host tier of 8\.00 MiB\)' \
	"$work/reserve"
verdict stream_prints_what_is_used_beside_the_tier \
	grep -qE '^staging +[0-9.]+ [KM]iB of the tier; beside it at most [0-9.]+ ([KM]i)?B so far, of 16\.0 MiB$' \
	"$work/reserve"
# The default chunks of a tier this small are such that six of them are no more; chunks that were
# asked for may be too few, which is said.
$vbrun stream "$work/m.safetensors" --host 20M --passes 1 --no-compare >"$work/reserve"
verdict stream_keeps_5_percent_at_most_of_a_small_tier \
	grep -qE '^staging reserve .*\(([0-4]\.[0-9]|5\.0) % of the host tier of 20\.0 MiB\)' \
	"$work/reserve"
$vbrun stream "$work/m.safetensors" --host 20M --chunk 2M --passes 1 --no-compare >"$work/reserve"
verdict stream_says_why_a_reserve_is_more_than_5_percent grep -qE \
	'^staging reserve .*\(60\.0 % of the host tier of 20\.0 MiB: the least that two panels take\)' \
	"$work/reserve"
want=$(digest 64M)
verdict stream_makes_a_digest test -n "$want"
for how in "4M" "8M" "4M --policy lru" "4M --policy freq" "4M --policy schedule" \
	"4M --engine threads" "4M --engine buffered" "4M --threads 1" "4M --staging 128K"; do
	# shellcheck disable=SC2086
	got=$(digest $how)
	verdict "stream_digest_with_host_$(echo "$how" | tr ' ' '_')" test "$got" = "$want"
done

# --- in a quarter of the model less is read than by LRU, no more than 2 % above the optimum
# for what a reserve of 5 % leaves; memory: the tier and little more ---
$vbrun gen "$work/four.safetensors" --size 32M >/dev/null
for m in 1 32 512; do
	$vbrun stream "$work/four.safetensors" --host 8M --chunk 64K --passes 4 --m $m --json \
		>"$work/stream.json"
	ours=$(field "$work/stream.json" our_misses_later)
	best=$(field "$work/stream.json" optimum_misses_later)
	lru=$(field "$work/stream.json" lru_misses_later)
	verdict stream_within_two_percent_of_optimum_m_$m test $((100 * ours)) -le $((102 * best))
	verdict stream_reads_less_than_lru_m_$m test "$ours" -lt "$lru"
	# What a pass reads it has asked for ahead of the product that uses it.
	verdict stream_reads_ahead_of_its_products_m_$m python3 -c 'import json, sys
later = json.load(open(sys.argv[1]))["passes"][1:]
ahead, read = sum(p["prefetch_used"] for p in later), sum(p["read_bytes"] for p in later)
sys.exit(read == 0 or ahead * 65536 < 0.95 * read)' "$work/stream.json"
	verdict stream_keeps_5_percent_at_most_m_$m \
		test $((20 * $(field "$work/stream.json" staging_bytes))) -le $((8 << 20))
	peak=$(field "$work/stream.json" vm_hwm_bytes)
	$vbrun stream "$work/four.safetensors" --host 8M --chunk 64K --passes 0 --m $m --json \
		>"$work/none.json"
	base=$(field "$work/none.json" vm_hwm_bytes)
	if [ -z "$sanitized" ]; then
		verdict stream_memory_within_budget_m_$m \
			test "$peak" -le $((base + (8 << 20) + (32 << 20)))
	fi
done
# A reserve that is too small for the panels costs time, not bytes.
$vbrun stream "$work/four.safetensors" --host 8M --chunk 64K --passes 4 --staging 128K --json \
	>"$work/small.json"
ours=$(field "$work/small.json" our_misses_later)
best=$(field "$work/small.json" optimum_misses_later)
verdict stream_keeps_as_little_as_it_is_told \
	test "$(field "$work/small.json" staging_bytes)" -eq $((128 << 10))
verdict stream_within_two_percent_of_optimum_with_two_chunks_of_staging \
	test $((100 * ours)) -le $((102 * best))
same_keys stream_json_keeps_its_fields "$work/stream.json" $golden/stream.keys
verdict stream_misses_no_less_than_the_optimum \
	test "$(field "$work/stream.json" our_misses)" -ge "$(field "$work/stream.json" optimum_misses)"

# --- a ratio to the optimum below 1 is explained, in the run and in the table, else not ---
for host in 6M 64M; do
	$vbrun stream "$work/m.safetensors" --host $host --chunk 64K --passes 3 \
		--save "$work/below.json" >"$work/text"
	below=$(($(field "$work/below.json" pass_read_bytes) < \
		$(field "$work/below.json" pass_optimum_bytes)))
	verdict stream_explains_a_ratio_below_one_host_$host \
		test "$(grep -c '^below 1: ' "$work/text")" -eq $below
	$vbrun report "$work/below.json" >"$work/text"
	verdict report_explains_a_ratio_below_one_host_$host \
		test "$(grep -c '^x optimum below 1: ' "$work/text")" -eq $below
done

# --- experts chosen at run time ---
$vbrun stream "$work/m.safetensors" --host 6M --chunk 64K --route zipf --tokens 24 --json \
	>"$work/route.json"
verdict route_runs test "$(field "$work/route.json" token_read_bytes)" -gt 0
same_keys route_json_keeps_its_fields "$work/route.json" $golden/route.keys
$vbrun stream "$work/m.safetensors" --host 64M --chunk 64K --route zipf --tokens 24 --json \
	>"$work/route2.json"
verdict route_chooses_the_same_in_any_tier \
	test "$(field "$work/route.json" digest)" = "$(field "$work/route2.json" digest)"
$vbrun stream "$work/m.safetensors" --host 64M --chunk 64K --route zipf --tokens 24 --seed 5 \
	--json >"$work/route2.json"
verdict route_of_another_seed_chooses_others \
	test "$(field "$work/route.json" digest)" != "$(field "$work/route2.json" digest)"

# Without --host the tier has room for a quarter of the experts: at most 1.5 times the
# fewest bytes, whatever the seed, and what is compared with reads more than that.
$vbrun gen "$work/experts.safetensors" --size 64M >/dev/null
# route POLICY SEED: the summary in $work/quarter.json
route() {
	$vbrun stream "$work/experts.safetensors" --chunk 64K --route zipf --tokens 64 \
		--policy "$1" --seed "$2" --json >"$work/quarter.json"
}
# quarter CONDITION: of the ratio r, the share of the experts s and prefetches p and l
quarter() {
	awk -v r="$(field "$work/quarter.json" against_optimum)" \
		-v s="$(field "$work/quarter.json" expert_share)" \
		-v p="$(field "$work/quarter.json" prefetch_precision)" \
		-v l="$(field "$work/quarter.json" prefetch_late_fraction)" "BEGIN { exit !($1) }"
}
for seed in 1 2 $([ -n "$sanitized" ] || echo 3 4 5 6); do
	route replay $seed
	verdict route_in_a_quarter_reads_1.5_times_the_optimum_at_most_seed_$seed \
		quarter 'r >= 1 && r <= 1.5'
done
verdict route_has_room_for_a_quarter_of_the_experts quarter 's > 0.249 && s <= 0.25'
verdict route_prefetches_what_is_used quarter 'p > 0.99 && p <= 1 && l >= 0 && l <= 1'
route lru 2
verdict route_in_a_quarter_by_lru_reads_more quarter 'r > 1.8'

# --- embeddings: bit by bit the same in any tier ---
export VBLACKWELL_CACHE=$work/cache
embed() { $vbrun embed --no-compare --json "$@" 'A small test.' 'And another one.'; }
embed --host 64M >"$work/a.json"
verdict embed_says_generated test "$(field "$work/a.json" model)" = generated
same_keys embed_json_keeps_its_fields "$work/a.json" $golden/embed.keys
# bits FILE: the embeddings alone
bits() { sed -n '/"embedding"/,/\]/p' "$1"; }
for how in "--host 2M" "--host 3M --policy lru" "--host 2M --engine threads"; do
	# shellcheck disable=SC2086
	embed $how >"$work/b.json"
	verdict "embed_bits_with_$(echo "$how" | tr -s ' -' '_')" \
		cmp -s <(bits "$work/a.json") <(bits "$work/b.json")
done
embed --passes 0 --vectors "$work/vectors" >/dev/null
verdict embed_vectors_are_float32 test "$(stat -c %s "$work/vectors")" -eq \
	$(($(bits "$work/a.json" | grep -c '[0-9]') * 4))
# All layers of a batch are one command buffer: 5 commands make the embeddings of tokens, 8 and
# one a text a layer, one a text and one the mean.
verdict embed_submits_whole_layers_in_one_buffer test \
	"$(field "$work/a.json" submits)" -eq "$(field "$work/a.json" passes)"
verdict embed_submits_every_command_of_every_layer test "$(field "$work/a.json" commands)" -eq \
	$(($(field "$work/a.json" passes) * (5 + 6 * (8 + 2) + 2 + 1)))
$vbrun embed --no-compare --json --host 1600K 'The first of two that take a batch each.' \
	'The second of two that take a batch each.' >"$work/b.json"
verdict embed_submits_once_a_text_where_a_batch_is_one_text test \
	"$(field "$work/b.json" submits)" -eq $((2 * $(field "$work/b.json" passes)))
$vbrun embed --no-compare --passes 1 one >"$work/text"
verdict embed_prints_submissions_a_text grep -qE '^submissions a text +1\.000$' "$work/text"
verdict embed_bits_are_there test "$(bits "$work/a.json" | wc -l)" -gt 700

# --- the machine: storage measured on a file, or on a scratch file in a folder ---
mkdir "$work/scratch"
$vbrun machine "$work/scratch" --json >"$work/machine.json"
verdict machine_measures_a_folder \
	test "$(field "$work/machine.json" read_bytes_per_second)" -gt 1000000
verdict machine_leaves_nothing_in_the_folder test -z "$(ls -A "$work/scratch")"
same_keys machine_json_keeps_its_fields "$work/machine.json" $golden/machine.keys
head -c 100000 /dev/zero >"$work/short"
refuses machine_says_how_long_a_file_must_be 1 'short: too short to probe, needs 8.00 MiB' \
	$vbrun machine "$work/short"

# --- interrupted: 130, nothing left behind (more in progress_test.sh) ---
mkdir "$work/tmp"
# While it makes the model and packs it, while it embeds: what stays in the cache is whole.
mkdir "$work/cut"
for after in 0.3 2; do
	TMPDIR=$work/tmp VBLACKWELL_CACHE=$work/cut $vbrun embed --accuracy --json \
		>/dev/null 2>"$work/err" &
	# What a shell starts beside itself ignores an interruption until it wants to hear of it.
	until grep -qsE '^SigCgt:.*[2367abef]$' /proc/$!/status || ! kill -0 $! 2>/dev/null; do
		sleep 0.02
	done
	sleep $after
	kill -INT $!
	wait $!
	verdict interrupted_accuracy_is_130_after_$after test $? -eq 130
	verdict interrupted_accuracy_leaves_no_trace_after_$after test -z "$(ls -A "$work/tmp")"
	left=$(find "$work/cut" -type f | grep -vE \
		'/generated-minilm/(vocab.txt|config.json|model.safetensors)$|/packed/generated-mxfp4.safetensors$')
	verdict interrupted_accuracy_leaves_the_cache_whole_after_$after test -z "$left"
	count=$(find "$work/cut" -path '*/generated-minilm/*' -type f | wc -l)
	verdict interrupted_accuracy_leaves_a_whole_model_or_none_after_$after \
		test "$count" -eq 0 -o "$count" -eq 3
done
TMPDIR=$work/tmp VBLACKWELL_CACHE=$work/cut $vbrun embed --no-compare --json 'A small test.' \
	'And another one.' >"$work/b.json"
verdict interrupted_cache_gives_the_same_bits cmp -s <(bits "$work/a.json") <(bits "$work/b.json")

# --- stdout that cannot be written does not hang or crash ---
$vbrun stream --help >/dev/full 2>/dev/null
verdict help_to_full_device_fails test $? -eq 1
exit $status
