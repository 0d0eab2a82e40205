#!/bin/bash
# SPDX-License-Identifier: MIT
# Documentation/one-command.md names symbols and files: all of them exist, and a symbol is
# in the file that is named behind it.
cd "$(dirname "$0")/../.." || exit 1
page=Documentation/one-command.md
status=0
for s in $(grep -oE '`(struct )?(vb|vgpu|VB)_[A-Za-z0-9_]+(\(\))?`' $page | tr -d '`()' | sed 's/^struct //' | sort -u); do
	if grep -rqwE "$s" include kmod libvgpu --include='*.[ch]'; then
		echo "ok $s exists"
	else
		echo "not ok $s: named in $page, nowhere in the source"
		status=1
	fi
done
for f in $(grep -oE '`[a-z]+/[A-Za-z0-9_/.*-]+`' $page | tr -d '`' | sort -u); do
	if compgen -G "$f" >/dev/null; then
		echo "ok $f exists"
	else
		echo "not ok $f: named in $page, not in the tree"
		status=1
	fi
done
pairs=0
while IFS='`' read -r _ s _ f _; do
	s=${s%()}
	pairs=$((pairs + 1))
	# shellcheck disable=SC2086
	if grep -qE "^[a-z].*[ *]$s\(" $f 2>/dev/null; then
		echo "ok $s is in $f"
	else
		echo "not ok $s: $page says $f, which does not define it"
		status=1
	fi
done < <(tr '\n' ' ' <$page | grep -oE '`[a-z0-9_]+\(\)` \(`[^`]+`\)')
if [ $pairs -eq 0 ]; then
	echo "not ok pairs: $page names no file behind any symbol"
	status=1
fi
exit $status
