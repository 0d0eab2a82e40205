#!/bin/bash
# SPDX-License-Identifier: MIT
# vbrun stream says what it read from storage: beside it stands what the kernel counted for the
# process, taken from outside (a shell's /proc/self/io has the reads of the children it waited
# for). Within 1 %, for every engine.
set -u
. "$(dirname "$0")/lib.sh"

# Pages of the file that are in the page cache would cost the buffered engine no read: they are
# written and dropped before each run (posix_fadvise DONTNEED).
drop() { sync "$1" && dd if="$1" iflag=nocache count=0 status=none; }

# outside OPTION...: run vbrun stream; its summary goes to $work/reads.json, the bytes that the
# kernel counted to stdout
outside() {
	bash -c '"${@:2}" >"$1" || exit 1; sed -n "s/^read_bytes: //p" /proc/$$/io' \
		outside "$work/reads.json" $vbrun stream --json "$@"
}

storage() { field "$work/reads.json" "$1"; }

# near A B: within 1 % of B
near() { [ $((100 * ($1 > $2 ? $1 - $2 : $2 - $1))) -le "$2" ]; }

# each_pass_near: content that was asked for in a pass, beside what the process read in it
each_pass_near() {
	local said read i=1
	read=$(grep -oE '"process_read_bytes": *[0-9]+' "$work/reads.json" | grep -oE '[0-9]+$')
	for said in $(sed -n '/"passes"/,/\]/p' "$work/reads.json" |
		grep -oE '"read_bytes": *[0-9]+' | grep -oE '[0-9]+$'); do
		near "$said" "$(echo "$read" | sed -n ${i}p)" || return 1
		i=$((i + 1))
	done
	[ $i -gt 1 ]
}

parts_make_the_sum() {
	local sum=$(($(storage content_bytes) + $(storage beyond_content_bytes) - \
		$(storage page_cache_bytes)))
	for part in program header engine probe compute; do
		sum=$((sum + $(storage ${part}_bytes)))
	done
	[ $sum -eq "$(storage storage_read_bytes)" ]
}

# content_is_at_least_the_misses: the trace counts them by itself; a chunk that is still in staging
# is missed and not read, and the last one of the file is short
content_is_at_least_the_misses() {
	local misses chunk
	misses=$(storage our_misses)
	chunk=$(storage chunk_bytes)
	[ "$(storage content_bytes)" -ge $(((misses - misses / 50 - 4) * chunk)) ]
}

# check NAME ENGINE FILE OPTION...
check() {
	local name=$1 engine=$2 file=$3 read
	shift 3
	drop "$file"
	read=$(outside "$file" --engine "$engine" "$@") || { not_ok "${name}_runs" "it failed"; return; }
	verdict "${name}_reports_what_the_kernel_counted" near "$(storage storage_read_bytes)" "$read"
	verdict "${name}_parts_make_the_sum" parts_make_the_sum
	if [ "$engine" = buffered ]; then
		# The kernel may read ahead of what is asked for, never less.
		verdict "${name}_content_cost_reads" test \
			$((100 * $(storage page_cache_bytes))) -le "$(storage content_bytes)"
	else
		verdict "${name}_content_is_what_was_read" test \
			$((100 * ($(storage beyond_content_bytes) + $(storage page_cache_bytes)))) \
			-le "$(storage content_bytes)"
		verdict "${name}_each_pass_is_what_was_read" each_pass_near
	fi
}

$vbrun gen "$work/small.safetensors" --size 24M >/dev/null
$vbrun gen "$work/large.safetensors" --size 200M >/dev/null
# The program's own pages come in now.
drop "$work/small.safetensors"
read=$(outside "$work/small.safetensors" --host 6M --chunk 64K --passes 1 --engine uring)
if [ "${read:-0}" -eq 0 ]; then
	echo "skip reads: /proc/self/io counts nothing for files in ${work%/*}"
	exit $status
fi

rows='1 32 512'
[ -z "$sanitized" ] || rows=32
for engine in uring threads buffered; do
	for m in $rows; do
		check small_${engine}_m_$m $engine "$work/small.safetensors" --host 6M --chunk 64K \
			--passes 2 --m $m --no-compare
	done
	check small_${engine}_chunks_2m $engine "$work/small.safetensors" --host 24M --chunk 2M \
		--passes 3 --m 32 --no-compare
	[ -n "$sanitized" ] || check large_${engine} $engine "$work/large.safetensors" --host 50M \
		--passes 2 --m 32 --backend null --no-compare
done
# With all that is compared: probes, arithmetic alone.
check compared auto "$work/small.safetensors" --host 6M --chunk 64K --passes 2
verdict compared_content_is_at_least_the_misses content_is_at_least_the_misses
verdict compared_counts_its_probes test "$(storage probe_bytes)" -gt 0

# Experts chosen at run time.
drop "$work/small.safetensors"
read=$(outside "$work/small.safetensors" --host 6M --chunk 64K --route zipf --tokens 24)
verdict route_reports_what_the_kernel_counted near "$(storage storage_read_bytes)" "$read"
verdict route_parts_make_the_sum parts_make_the_sum
exit $status
