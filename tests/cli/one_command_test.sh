#!/bin/bash
# SPDX-License-Identifier: MIT
# Documentation/one-command.md names symbols and files: all of them exist.
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
exit $status
