#!/bin/bash
# SPDX-License-Identifier: MIT
# vbrun embed --nvme: a tier too small for the intermediates, the rest of which go through a file;
# and files that cannot be had.
set -u
. "$(dirname "$0")/lib.sh"

export VBLACKWELL_CACHE=$work/cache
model=$work/model
$vbrun gen "$model" --bert --layers 2 --hidden 384 --ffn 1536 >/dev/null
arena=$work/arena
small="--host 640K --nvme $arena --nvme-size 4M"
# embed OPTION...
embed() { $vbrun embed --model "$model" --json "$@" 'A small test.' 'And another one.'; }
# holds FILE EXPRESSION: of Python, where o is the summary and asked the run that was asked for
holds() {
	python3 -c 'import json, sys
o = json.load(open(sys.argv[1]))
asked = o["runs"][0]
tier = {t["tier"]: t for t in o["tiers"]}
exit(not eval("(" + sys.argv[2] + ")"))' "$1" "$2"
}
# Why a tier of 640 KiB needs it.
refuses embed_without_an_arena_has_no_room 1 \
	'host tier of 640 KiB: [0-9]+ bytes cannot be reserved' \
	embed --no-compare --host 640K

# --- the same bits through the file, whoever packs the weights ---
embed --no-compare --host 64M --passes 0 --vectors "$work/want" >/dev/null
for packed in file derived; do
	for engine in uring threads buffered; do
		# shellcheck disable=SC2086
		embed --no-compare $small --packed $packed --engine $engine --passes 2 \
			--vectors "$work/got" >"$work/$packed-$engine.json"
		verdict "embed_through_an_arena_gives_the_same_bits_${packed}_$engine" \
			cmp -s "$work/want" "$work/got"
	done
done
# Those of the passes that count, and of the one before them.
# shellcheck disable=SC2086
embed --no-compare $small --passes 2 --trace "$work/trace" >"$work/traced.json"
$vbctl replay "$work/trace" --json >"$work/replay.json"
verdict trace_has_what_was_written_to_the_arena python3 -c 'import json, sys
run, replay = (json.load(open(path)) for path in sys.argv[1:])
counted, traced = run["runs"][0]["write_bytes"], replay["recorded"]["writes"] * replay["chunk_bytes"]
sys.exit(not 0 < counted <= traced <= 4 * counted)' "$work/traced.json" "$work/replay.json"
json=$work/file-uring.json
verdict embed_says_what_the_arena_holds holds "$json" \
	'tier["nvme"]["tier_bytes"] == 4 << 20 and tier["nvme"]["used_chunks"] > 2'
verdict embed_writes_intermediates_there_and_reads_them_again holds "$json" \
	'asked["write_bytes"] > 4 * 65536 and asked["read_bytes"] > asked["write_bytes"] and
	 asked["write_bytes"] % 65536 == 0'
# What is beyond the objects is on its way, for the pass that may come.
verdict objects_add_up_to_the_tiers holds "$json" \
	'all(0 <= tier[t]["used_bytes"] - sum(b[k] for b in o["objects"]) <= asked["staging_bytes"]
	     for t, k in (("nvme", "nvme_bytes"), ("host", "host_bytes")))'
verdict only_intermediates_are_in_the_arena holds "$json" \
	'all((b["kind"] == "anonymous") >= (b["nvme_bytes"] > 0) for b in o["objects"])'
verdict embed_removes_the_arena_that_it_made test ! -e "$arena"
# shellcheck disable=SC2086
$vbrun embed --model "$model" --no-compare $small --passes 1 'A small test.' >"$work/text"
verdict embed_prints_the_tiers test "$(grep -cE \
	'^tier (host|nvme) +[1-9][0-9.]* [KM]iB of [0-9.]+ [KM]iB used, [1-9][0-9]* chunks of 64.0 KiB' \
	"$work/text")" -eq 2

# --- F32 beside it has the same arena, one after the other; the study needs none ---
# shellcheck disable=SC2086
embed $small --passes 1 --accuracy --sentences 4 >"$work/all.json"
verdict embed_compares_in_the_same_arena holds "$work/all.json" \
	'len(o["runs"]) == 4 and not any("refused" in r for r in o["runs"]) and
	 all(r["write_bytes"] > 0 for r in o["runs"] if r["host_bytes"] == 640 << 10) and
	 o["same_bits"] and o["accuracy"]["against_f64"]["nmse"] < 1e-4'
# The study's runs are not in the trace of what was asked for.
for study in "" "--accuracy --sentences 4"; do
	# shellcheck disable=SC2086
	embed --no-compare $small --passes 1 $study --trace "$work/trace" >/dev/null
	$vbctl replay "$work/trace" --json | grep -m1 '"uses":'
done >"$work/uses"
verdict embed_traces_what_was_asked_for_alone test \
	"$(wc -l <"$work/uses"),$(uniq "$work/uses" | wc -l)" = 2,1

# --- a file that was there: ours again, or not touched ---
: >"$arena"
# shellcheck disable=SC2086
embed --no-compare $small --passes 1 >/dev/null
verdict embed_leaves_a_file_that_it_was_given test "$(stat -c %s "$arena")" -eq 65536
# shellcheck disable=SC2086
embed --no-compare $small --passes 0 --vectors "$work/got" >/dev/null
verdict embed_takes_its_arena_again cmp -s "$work/want" "$work/got"
head -c 100000 /dev/urandom >"$work/precious"
cp "$work/precious" "$work/kept"
refuses embed_refuses_a_file_of_others 1 'precious: has content that is not an arena; not touched' \
	embed --no-compare --host 640K --nvme "$work/precious"
verdict embed_does_not_touch_a_file_of_others cmp -s "$work/precious" "$work/kept"

# --- files that cannot be had: one line with the numbers, nothing left ---
rm -f "$arena"
long=$(printf 'word %.0s' {1..300})
refuses embed_in_an_arena_too_small 1 \
	'host tier of 640 KiB, arena of 1.00 MiB: [0-9]+ bytes cannot be reserved: .* hold 1310720 bytes' \
	$vbrun embed --model "$model" --no-compare --json --host 640K --nvme "$arena" --nvme-size 1M \
	"$long"
verdict nothing_is_left_of_an_arena_too_small test ! -e "$arena"
refuses embed_in_no_folder 1 'absent/arena: open: No such file' \
	embed --no-compare --host 640K --nvme "$work/absent/arena"
refuses embed_in_a_folder_for_an_arena 1 ': open: Is a directory' \
	embed --no-compare --host 640K --nvme "$work"

# mounted OPTIONS FILL COMMAND...: with a file system of its own at $work/disk, FILL bytes of it
# taken; what is left there is in $work/left
mounted() {
	local options=$1 fill=$2
	shift 2
	unshare -rm bash -c '
		work=$1 options=$2 fill=$3
		shift 3
		mount -t tmpfs -o "$options" none "$work/disk" || exit 77
		[ "$fill" -eq 0 ] || head -c "$fill" /dev/zero >"$work/disk/fill" 2>/dev/null
		[[ $options != *size=1m* ]] || mount -o remount,ro,bind "$work/disk" || exit 77
		"$@"
		rc=$?
		ls "$work/disk" | grep -v fill >"$work/left"
		exit $rc' mounted "$work" "$options" "$fill" "$@"
}
mkdir "$work/disk"
disk="$vbrun embed --model $model --no-compare --json --host 640K --nvme $work/disk/arena --nvme-size 4M x"
if ! mounted size=8m 0 true 2>/dev/null; then
	echo 'skip arenas on disks that are full: no mount namespace for this user'
else
	# shellcheck disable=SC2086
	refuses embed_on_a_disk_too_small 1 \
		'disk/arena: 64 slots of 65536 bytes need 4259840 bytes, [0-9]+ are free' \
		mounted size=2m 0 $disk
	verdict nothing_is_left_on_a_disk_too_small test ! -s "$work/left"
	# shellcheck disable=SC2086
	refuses embed_on_a_disk_that_is_full 1 'disk/arena: writing the header: No space left' \
		mounted size=2m 4000000 $disk
	verdict nothing_is_left_on_a_disk_that_is_full test ! -s "$work/left"
	# shellcheck disable=SC2086
	refuses embed_on_a_disk_that_is_read_only 1 'disk/arena: open: Read-only file system' \
		mounted size=1m 0 $disk
	# shellcheck disable=SC2086
	mounted size=8m 0 $disk >"$work/out"
	verdict embed_on_a_disk_that_is_large_enough test $? -eq 0
	# The trace by which stream is compared, which nobody asked for.
	$vbrun gen "$work/m.safetensors" --size 24M >/dev/null
	for route in none zipf; do
		passes='--passes 4'
		[ $route = none ] || passes=
		# shellcheck disable=SC2086
		refuses "stream_${route}_with_a_full_folder_for_traces" 1 \
			'/disk: the trace could not be written whole; TMPDIR names another folder' \
			mounted size=64k 0 env TMPDIR="$work/disk" $vbrun stream \
			"$work/m.safetensors" --host 6M --route $route $passes --json
	done
	# What is written beside the summary: 60 KB of embeddings, and the trace of passes.
	for file in vectors trace save; do
		mapfile -t texts < <(seq 40)
		refuses embed_${file}_on_a_disk_that_is_full 1 \
			"disk/$file: (No space left|the trace could not be written whole)" \
			mounted size=64k 40000 $vbrun embed --model "$model" --no-compare --json \
			--passes 3 --$file "$work/disk/$file" "${texts[@]}"
		verdict nothing_is_left_of_${file}_on_a_disk_that_is_full test ! -s "$work/left"
	done
fi
if [ "$(id -u)" -eq 0 ]; then
	mkdir -m 755 "$work/closed"
	chmod 755 "$work"
	chmod -R a+rX "$model"
	# shellcheck disable=SC2086
	refuses embed_in_a_folder_of_others 1 'closed/arena: open: Permission denied' \
		setpriv --reuid 65534 --regid 65534 --clear-groups \
		$vbrun embed --model "$model" --packed derived --no-compare --json --host 640K \
		--nvme "$work/closed/arena" x
else
	mkdir -m 555 "$work/closed"
	refuses embed_in_a_folder_of_others 1 'closed/arena: open: Permission denied' \
		embed --packed derived --no-compare --host 640K --nvme "$work/closed/arena"
fi
verdict nothing_is_left_in_a_folder_of_others test -z "$(ls -A "$work/closed")"

# --- interrupted: the arena goes too ---
# shellcheck disable=SC2086
$vbrun embed --model "$model" --no-compare --json $small --accuracy --packed derived >"$work/out" 2>&1 &
pid=$!
for _ in {1..500}; do
	[ -e "$arena" ] && break
	sleep 0.02
done
verdict interrupted_embed_had_an_arena test -e "$arena"
kill -INT $pid
wait $pid
verdict interrupted_embed_is_130 test $? -eq 130
verdict interrupted_embed_leaves_no_arena test ! -e "$arena"
exit $status
