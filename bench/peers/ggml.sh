#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Run ggml's CPU backend as Debian sid has it, for benchmarks to ask (ggml_serve.c, ggml_attend.c).
#
#	bench/peers/ggml.sh		serves on standard input and output
#
# Its packages and the C library that they want are unpacked into the cache and never
# installed; without a network the newest in the cache serves.  Exit status 3: it cannot be
# had here, and the last line on standard error says why.
#
# Environment: VBLACKWELL_CACHE, DEBIAN_MIRROR.
set -eu

here=$(dirname "$(readlink -f "$0")")
. "$here/../../tests/vm/apt.sh"
cache=${cache%/vm}/peers

packages='libggml0 libggml-dev libc6 libgcc-s1 libgomp1 libstdc++6'

newest_in_cache() {
	ls -d "$cache"/ggml-*/ready 2>/dev/null | sort -V | tail -1 | xargs -r dirname
}

# Sets $folder.
find_folder() {
	local version
	apt_private ggml sid
	if apt-get update -qq >&2 && version=$(apt_version libggml0) && [ -n "$version" ]; then
		folder=$cache/ggml-${version//\~/.}
	else
		folder=$(newest_in_cache)
	fi
}

unpack() {
	rm -rf "$folder" "$folder.part"
	# shellcheck disable=SC2086
	apt_unpack "$folder.part" $packages
	touch "$folder.part/ready"
	mv "$folder.part" "$folder"
}

# Of these sources, whatever other working trees share the cache; sets $serve.
build() {
	local lib=$folder/usr/lib/x86_64-linux-gnu sources
	sources=$(cat "$here"/ggml_*.c "$here"/*.h | sha256sum | cut -c1-16)
	serve=$folder/serve-$sources
	[ ! -e "$serve" ] || return 0
	find "$folder" -maxdepth 1 -name 'serve*' -mtime +7 -delete
	gcc -O2 -Wall -Wextra -I"$folder/usr/include" "$here"/ggml_*.c -o "$serve.part" \
		-L"$lib" -lggml -lggml-base -lm -Wl,--allow-shlib-undefined >&2 &&
		mv "$serve.part" "$serve"
}

mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
find_folder
[ -n "$folder" ] || { echo "no ggml: apt failed and none is cached" >&2; exit 3; }
[ -e "$folder/ready" ] || unpack || { echo "no ggml: its packages cannot be fetched" >&2; exit 3; }
build || { echo "no ggml: what asks it does not build" >&2; exit 3; }
exec 9>&-
lib=$folder/usr/lib/x86_64-linux-gnu
exec "$lib/ld-linux-x86-64.so.2" --library-path "$lib" "$serve" "$lib/ggml/backends0"
