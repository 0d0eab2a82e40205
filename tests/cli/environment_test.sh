#!/bin/bash
# SPDX-License-Identifier: MIT
# Where the tools are called: variables, limits, users, folders. What cannot work there is one line
# that names the way out; everything else computes what it computes elsewhere.
set -u
. "$(dirname "$0")/lib.sh"

unset VBLACKWELL_DEVICE VBLACKWELL_THREADS VBLACKWELL_TRACE VBLACKWELL_ISA
export VBLACKWELL_CACHE=$work/cache
model=$work/model
$vbrun gen "$model" --bert --layers 3 --hidden 384 --ffn 1536 >/dev/null
mkdir "$work/a folder"
checkpoint="$work/a folder/m 1.safetensors"
$vbrun gen "$checkpoint" --size 24M >/dev/null
stream() { $vbrun stream "$checkpoint" --host 6M --passes 2 --no-compare --json "$@"; }
embed() { $vbrun embed --model "$model" --no-compare --json "$@" 'Café naïve' 'zwei'; }
stream >"$work/want.json"
digest=$(field "$work/want.json" digest)
verdict a_folder_with_a_space_is_a_folder test "${#digest}" -eq 16

# --- nobody says where the cache is: not the root of the file system ---
no_home='neither VBLACKWELL_CACHE nor HOME says where the cache is'
before=$(ls -A /)
for home in '-u HOME' 'HOME='; do
	# shellcheck disable=SC2086
	refuses "embed_without_a_home_${home//[^a-zA-Z]/_}" 1 "^vbrun: $no_home" \
		env -u VBLACKWELL_CACHE $home $vbrun embed x
	# shellcheck disable=SC2086
	refuses "fetching_without_a_home_${home//[^a-zA-Z]/_}" 1 "^fetch-models: $no_home" \
		env -u VBLACKWELL_CACHE $home tools/fetch-models.sh minilm
	# shellcheck disable=SC2086
	refuses "make_run_without_a_home_${home//[^a-zA-Z]/_}" 1 "^run: $no_home" \
		env -u VBLACKWELL_CACHE $home tools/run.sh
done
verdict nothing_was_made_in_the_root_folder test "$(ls -A /)" = "$before"
refuses a_cache_that_cannot_be_made_is_named 1 '/dev/null/c.*; VBLACKWELL_CACHE names another place' \
	env VBLACKWELL_CACHE=/dev/null/c $vbrun embed x
no_folder='/absent/vbrun-trace-[A-Za-z0-9]+: cannot make a trace file: No such file or directory; TMPDIR names another folder'
refuses a_folder_for_traces_that_is_not_there_is_named 1 "$no_folder, --no-compare needs none$" \
	env TMPDIR=/absent $vbrun stream "$checkpoint"
refuses a_folder_for_traces_that_is_not_there_is_named_by_route 1 "$no_folder$" \
	env TMPDIR=/absent $vbrun stream "$checkpoint" --route zipf
for how in '--no-compare' '--passes 0'; do
	# shellcheck disable=SC2086
	TMPDIR=/absent $vbrun stream "$checkpoint" --host 6M $how >/dev/null 2>&1
	verdict "stream_needs_no_folder_for_traces_${how//[^a-z]/}" test $? -eq 0
done

# --- a cache that only others may write to: packed on demand, the same bits ---
embed --packed file --passes 0 --vectors "$work/want" >/dev/null
rm -rf "$work/cache/packed"
mkdir -p "$work/cache"
chmod 755 "$work" "$work/cache"
chmod -R a+rX "$model"
other=
[ "$(id -u)" -ne 0 ] || other='setpriv --reuid 65534 --regid 65534 --clear-groups'
[ -n "$other" ] || chmod 555 "$work/cache"
mkdir -m 777 "$work/theirs"
# shellcheck disable=SC2086
$other $vbrun embed --model "$model" --no-compare --passes 0 --vectors "$work/theirs/got" 'Café naïve' \
	'zwei' >"$work/text" 2>&1
verdict a_cache_of_others_is_not_needed test $? -eq 0
verdict a_cache_of_others_is_named grep -qE '^packed +on demand: .*/packed/' "$work/text"
verdict packed_on_demand_gives_the_same_bits cmp -s "$work/want" "$work/theirs/got"
# shellcheck disable=SC2086
refuses a_packed_file_that_was_asked_for_is_an_error 1 '/packed/' \
	$other $vbrun embed --model "$model" --no-compare --packed file x
chmod 755 "$work/cache"

# --- variables ---
node=$work/absent
own='VBLACKWELL_DEVICE is .*/absent, and this needs a device of its own'
refuses the_device_forced_is_taken_by_embed 1 "absent: no Virtual Blackwell device" \
	env VBLACKWELL_DEVICE="$node" $vbrun embed --model "$model" x
refuses the_device_forced_is_none_for_stream 1 "$own" \
	env VBLACKWELL_DEVICE="$node" $vbrun stream "$checkpoint"
refuses the_device_forced_is_none_for_route 1 "$own" \
	env VBLACKWELL_DEVICE="$node" $vbrun stream "$checkpoint" --route zipf
refuses the_device_forced_is_none_for_machine 1 "$own" env VBLACKWELL_DEVICE="$node" $vbrun machine
for bad in many -1 1025 2x; do
	refuses "threads_from_the_environment_are_not_$bad" 1 \
		"VBLACKWELL_THREADS is $bad: no number up to 1024, nor off" \
		env VBLACKWELL_THREADS=$bad $vbrun stream "$checkpoint" --host 6M
done
refuses threads_have_the_limit_of_the_pool 2 '--threads 1025 is outside 1 \.\. 1024' \
	$vbrun stream "$checkpoint" --threads 1025
VBLACKWELL_TRACE=$work/trace $vbrun machine >/dev/null
verdict the_variable_names_a_trace test -s "$work/trace"

# --- the same numbers under any limit ---
# same NAME COMMAND...: runs the stream in its surroundings
same() {
	local name=$1
	shift
	"$@" $vbrun stream "$checkpoint" --host 6M --passes 2 --no-compare --json >"$work/json" 2>"$work/err"
	verdict "$name" test "$(field "$work/json" digest)" = "$digest"
}
limited() { local limit=$1; shift; bash -c "ulimit $limit; \"\$@\"" - "$@"; }
same one_cpu_computes_the_same taskset -c 0
same sixteen_descriptors_are_enough limited '-n 16'
same no_locked_memory_is_needed limited '-l 0'
same other_locales_compute_the_same env LC_ALL=C TERM=dumb
same locales_that_are_not_there_compute_the_same env LC_ALL=xx_YY.none LANG=xx
if [ -z "$sanitized" ]; then
	# Root may have as many processes as it wants; a sanitizer's own need one.
	# shellcheck disable=SC2086
	refuses too_few_processes_are_named 1 'threads: Resource temporarily unavailable' \
		$other prlimit --nproc=1 $vbrun machine
	same as_little_address_space_as_it_takes_is_enough limited '-v 500000'
	# What is compared with runs in a tier of 1 GiB, which is not to be had: said, and no failure.
	bash -c 'ulimit -v 400000; "$@"' - $vbrun embed --model "$model" --passes 1 x >"$work/text" 2>&1
	verdict a_comparison_without_memory_is_refused_alone test $? -eq 0
	verdict a_comparison_without_memory_says_so grep -qE \
		'in memory: host tier of [0-9]+ bytes: Cannot allocate memory' "$work/text"
fi
same no_more_threads_than_one_are_needed env VBLACKWELL_THREADS=off
refuses too_few_descriptors_are_named 1 'Too many open files' limited '-n 7' \
	$vbrun stream "$checkpoint" --host 6M
# shellcheck disable=SC2086
LC_ALL=C embed --packed derived --passes 0 --vectors "$work/got" >/dev/null
verdict texts_are_utf_8_in_any_locale cmp -s "$work/want" "$work/got"
exit $status
