#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Print the name of the text that benchmarks of quality are about: the Developer's Reference of
# Debian from its first chapter on, 292,388 bytes of English.
#
#	bench/text.sh
#
# Its package is unpacked into the cache and never installed. Exit status 1: it cannot be had,
# and the last line on standard error says why.
#
# Environment: VBLACKWELL_CACHE, DEBIAN_MIRROR.
set -eu

. "$(dirname "$(readlink -f "$0")")/../tests/vm/apt.sh"
folder=${cache%/vm}/texts

package=developers-reference
version=12.18
sum=3b2910b303ed975123ea253769d07f54bab93b6b439edb1575293c5aad43ca4f
text=$folder/$package-$version.txt

is_there() {
	[ -f "$1" ] && [ "$(sha256sum <"$1" | cut -d' ' -f1)" = "$sum" ]
}

if ! is_there "$text"; then
	mkdir -p "$folder"
	work=$(mktemp -d "$folder/.fetch.XXXXXX")
	trap 'rm -rf "$work"' EXIT
	apt_private text bookworm
	apt-get update -qq >&2 && apt_unpack "$work" "$package=$version" ||
		{ echo "no text: $package $version of Debian bookworm cannot be fetched" >&2; exit 1; }
	# Before it there are only licences and contents.
	zcat "$work/usr/share/$package/$package.txt.gz" |
		sed -n '/^1\. Scope of This Document$/,$p' >"$work/text"
	is_there "$work/text" || { echo "no text: $package $version has another one" >&2; exit 1; }
	mv "$work/text" "$text"
fi
echo "$text"
