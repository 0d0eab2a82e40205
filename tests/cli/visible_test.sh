#!/bin/bash
# SPDX-License-Identifier: MIT
# What the module shows of itself is documented, all of it and nothing else: keys of fdinfo,
# files of sysfs and debugfs, tracepoints with their fields, parameters.  That the numbers
# are right is tested where there is a module: tests/vm/visible_test.c, which reads each.
set -u
. "$(dirname "$0")/lib.sh"

page=Documentation/kernel-module.md
abi=Documentation/ABI/testing/sysfs-class-misc-vblackwell
test=tests/vm/visible_test.c

# same NAME FROM-SOURCE ELSEWHERE: lists, one a line; what is in one alone is said
same() {
	local lone
	lone=$(diff <(sort -u <<<"$2") <(sort -u <<<"$3") | grep '^[<>]')
	if [ -z "$2" ]; then
		not_ok "$1" "nothing found in the source"
	elif [ -n "$lone" ]; then
		sed 's/^</# in the source alone:/; s/^>/# not in the source:/' <<<"$lone"
		not_ok "$1" "$(wc -l <<<"$lone") differ"
	else
		ok "$1"
	fi
}

# section TITLE: of the page, to the next one
section() { sed -n "/^### $1\$/,/^##/p" $page; }

# rows TITLE: first column of its tables, a name a line
rows() { section "$1" | grep '^| `' | cut -d'|' -f2 | grep -o '`[^`]*`' | tr -d '`'; }

keys=$(grep -oE '"[^"]*"' kmod/fdinfo.c | grep -oE '(drm|vblackwell)-[a-z%-]+:' | sed 's/%s/TIER/; s/:$//')
same fdinfo_has_the_documented_keys "$keys" "$(rows fdinfo)"
same fdinfo_has_the_keys_that_are_tested "$keys" \
	"$(grep -oE '"(drm|vblackwell)-[a-z-]+"' $test | tr -d '"' | sed -E 's/-(host|device|nvme)$/-TIER/')"

attributes=$(
	grep -ohE '^static DEVICE_ATTR_[RWO]+\([a-z_]+' kmod/sysfs.c | cut -d'(' -f2 | sed 's,^user_,limits/&,'
	grep -ohE '^LIMIT\([a-z_]+, [a-z_]+' kmod/sysfs.c | sed 's,LIMIT(,limits/,; s/, /_/'
	grep -ohE ' __ATTR_RO\([a-z_]+' kmod/sysfs.c | sed 's,.*(,tiers/<tier>/,'
)
same sysfs_has_the_documented_files "$attributes" \
	"$(sed -n 's,^What:[[:space:]]*/sys/class/misc/vblackwell/,,p' $abi)"

files=$(grep -oE 'debugfs_create_file\("[a-z]+' kmod/debugfs.c | cut -d'"' -f2)
same debugfs_has_the_documented_files "$files" "$(rows debugfs)"
same debugfs_has_the_files_that_are_tested "$files" "$(grep -oE 'DEBUGFS "[a-z]+' $test | cut -d'"' -f2)"

# Events with their fields: those of a class are its own.
events=$(tr -d '\n' <kmod/trace.h | sed -E 's/(DECLARE_EVENT_CLASS|TRACE_EVENT|DEFINE_EVENT)\(/\n&/g' | awk '
	function fields(s,  out) {
		sub(/.*TP_printk\(/, "", s)
		while (match(s, /[a-z_]+=(0x)?%/)) {
			out = out " " substr(s, RSTART, index(substr(s, RSTART), "=") - 1)
			s = substr(s, RSTART + RLENGTH)
		}
		return out
	}
	{ match($0, /\([a-z_]+/); name = substr($0, 2 + RSTART - 1, RLENGTH - 1) }
	/^DECLARE_EVENT_CLASS/ { of[name] = fields($0) }
	/^TRACE_EVENT/ { print name fields($0) }
	/^DEFINE_EVENT/ { match($0, /, *[a-z_]+/); event = substr($0, RSTART, RLENGTH)
		sub(/^, */, "", event); print event of[name] }')
same tracepoints_are_documented_with_their_fields "$events" \
	"$(section Tracepoints | sed -n 's/^| `\([a-z_]*\)` |[^|]*|\(.*\)|$/\1 \2/p' | sed 's/([^)]*)//g' |
		tr -d '`' | tr -s ' ' | sed 's/ $//')"
same tracepoints_are_all_tested "$(cut -d' ' -f1 <<<"$events")" \
	"$(grep -oE '"vb_[a-z_]+"' $test | tr -d '"')"

same parameters_are_documented \
	"$(grep -ohE 'module_param(_named)?\([a-z_]+' kmod/main.c | cut -d'(' -f2)" \
	"$(sed -n '/^## Parameters/,/^## Borders/p' $page | grep '^| `' | cut -d'`' -f2)"
exit $status
