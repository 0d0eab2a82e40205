# SPDX-License-Identifier: MIT
# Shared by the shell tests of the tools: verdicts, and a place to work in.

cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
build=${BUILD:-build}
# In a build with a sanitizer time and memory are the sanitizer's, and all takes long.
case $build in build) sanitized= ;; *) sanitized=yes ;; esac
vbrun=$build/vbrun
vbctl=$build/vbctl
golden=tests/cli/golden
status=0
work=$(mktemp -d "${TMPDIR:-/var/tmp}/vblackwell-cli-XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT

ok() { echo "ok $1"; }
not_ok() { echo "not ok $1: $2"; status=1; }
# verdict NAME COMMAND...: ok when the command succeeds
verdict() {
	local name=$1
	shift
	if "$@"; then ok "$name"; else not_ok "$name" "failed: $*"; fi
}

# refuses NAME STATUS PATTERN COMMAND...: the command ends with STATUS, prints nothing on
# stdout, and one line on stderr that matches PATTERN
refuses() {
	local name=$1 want=$2 pattern=$3 got lines
	shift 3
	"$@" >"$work/out" 2>"$work/err" </dev/null
	got=$?
	lines=$(wc -l <"$work/err")
	if [ $got -ne "$want" ]; then
		not_ok "$name" "exit status $got, must be $want: $(head -c 200 "$work/err")"
	elif [ "$lines" -ne 1 ]; then
		not_ok "$name" "$lines lines on stderr, must be 1"
	elif ! grep -qE -- "$pattern" "$work/err"; then
		not_ok "$name" "'$(cat "$work/err")' does not match '$pattern'"
	else
		ok "$name"
	fi
}

# field FILE KEY: the first value of KEY in a summary, one field a line
field() { grep -m1 "\"$2\":" "$1" | sed -E 's/.*: *"?([^",]*)"?,?$/\1/'; }
# keys FILE: every key of a summary, once
keys() { grep -oE '^ *"[a-z0-9_.]+":' "$1" | tr -d ' ":' | LC_ALL=C sort -u; }

# same_keys NAME FILE GOLDEN: fields of a summary are only ever added; a golden list names
# those that scripts may rely on
same_keys() {
	local gone
	gone=$(LC_ALL=C comm -13 <(keys "$2") "$3" | tr '\n' ' ')
	if [ "$(field "$2" schema)" != 1 ]; then
		not_ok "$1" "schema is '$(field "$2" schema)'"
	elif [ -n "$gone" ]; then
		not_ok "$1" "fields are gone: $gone"
	else
		ok "$1"
	fi
}
