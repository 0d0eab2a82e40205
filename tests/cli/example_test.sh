#!/bin/bash
# SPDX-License-Identifier: MIT
# examples/matmul.c: under 40 lines, builds against the installed library, says what numpy
# would say.
set -u
. "$(dirname "$0")/lib.sh"

verdict example_has_under_40_lines test "$(wc -l <examples/matmul.c)" -lt 40
if ! make -s install DESTDIR="$work/root" PREFIX=/usr >"$work/log" 2>&1; then
	not_ok install "$(tail -1 "$work/log")"
	exit 1
fi
ok install
# The prefix in the file is that of the installed system; here it lies below a folder.
sed -i "s,^prefix=,prefix=$work/root," "$work"/root/usr/lib/pkgconfig/vgpu.pc
sed -i "s,^libdir=,libdir=$work/root," "$work"/root/usr/lib/pkgconfig/vgpu.pc
export PKG_CONFIG_PATH=$work/root/usr/lib/pkgconfig
# shellcheck disable=SC2046
verdict example_builds_against_the_installed_library \
	${CC:-cc} -Wall -Wextra -Werror -o "$work/matmul" examples/matmul.c \
	$(pkg-config --cflags --libs vgpu)
export LD_LIBRARY_PATH=$work/root/usr/lib

# w[r][c] = 1 for c <= r, so that a row's sum is its number and one more.
make_checkpoint() {
	local json='{"w":{"dtype":"F32","shape":[8,16],"data_offsets":[0,512]}}      '
	printf '\x40\0\0\0\0\0\0\0%s' "${json:0:64}"
	for r in 0 1 2 3 4 5 6 7; do
		for c in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
			if [ $c -le $r ]; then printf '\0\0\x80\x3f'; else printf '\0\0\0\0'; fi
		done
	done
}
make_checkpoint >"$work/w.safetensors"
"$work/matmul" "$work/w.safetensors" w >"$work/out" 2>"$work/err"
verdict example_multiplies test "$(cat "$work/out")" = 'w [8][16]: 1 2 3 4 ...'
refuses example_names_a_missing_matrix 1 'no such matrix' "$work/matmul" "$work/w.safetensors" v
refuses example_needs_two_words 1 'usage: matmul FILE TENSOR' "$work/matmul"
exit $status
