#!/bin/bash
# SPDX-License-Identifier: MIT
# The library as others meet it: installed, found by pkg-config, loaded beside a
# foreign libvgpu.so, exporting what its header declares and nothing else.
cd "$(dirname "$0")/../.." || exit 1
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
status=0

verdict() {
	if [ "$1" -eq 0 ]; then
		echo "ok $2"
	else
		echo "not ok $2: ${3:-see above}"
		status=1
	fi
}

make -s install DESTDIR="$root" PREFIX=/usr >"$root/log" 2>&1
verdict $? install_succeeds "$(tail -1 "$root/log")"
lib=$root/usr/lib
export PKG_CONFIG_PATH=$lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$root

gcc -Wall -Wextra -Werror examples/matmul.c -o "$root/matmul" \
	$(pkg-config --cflags --libs vgpu) 2>"$root/log"
verdict $? example_builds_against_the_installed_library "$(head -3 "$root/log")"

python3 - "$root/model.safetensors" <<'EOF'
import json, struct, sys
n, k = 4, 64
header = json.dumps({"w": {"dtype": "F32", "shape": [n, k], "data_offsets": [0, 4 * n * k]}}).encode()
header += b" " * (-len(header) % 8)
data = struct.pack("<%df" % (n * k), *[(r + 1) / 64 for r in range(n) for c in range(k)])
open(sys.argv[1], "wb").write(struct.pack("<Q", len(header)) + header + data)
EOF
out=$(LD_LIBRARY_PATH=$lib VBLACKWELL_DEVICE=embedded "$root/matmul" "$root/model.safetensors" w 2>&1)
# x is all ones: row r sums to r + 1.
echo "$out" | tr -s ' \n' ' ' | grep -qE '1(\.0+)? 2(\.0+)? 3(\.0+)? 4(\.0+)?'
verdict $? example_computes_the_product "$out"

# The archive, with what pkg-config says it needs: no libvgpu.so at run time.
# shellcheck disable=SC2046
gcc examples/matmul.c -o "$root/archive" $(pkg-config --cflags vgpu) "$lib/libvgpu.a" \
	$(pkg-config --static --libs-only-l vgpu | sed 's/-lvgpu//') 2>"$root/log"
out=$(VBLACKWELL_DEVICE=embedded "$root/archive" "$root/model.safetensors" w 2>&1)
echo "$out" | tr -s ' \n' ' ' | grep -qE '1(\.0+)? 2(\.0+)? 3(\.0+)? 4(\.0+)?'
verdict $? archive_links_with_what_pkg_config_says "$(head -2 "$root/log") $out"

lines=$(wc -l <examples/matmul.c)
[ "$lines" -lt 40 ]
verdict $? example_is_under_40_lines "$lines lines"

readelf -d "$lib/libvgpu.so" | grep -q 'SONAME.*libvgpu.so.1\]'
verdict $? soname_is_versioned

# Every exported symbol is declared in the header, and the other way round.
nm -D --defined-only "$lib/libvgpu.so" | awk '{print $3}' | sed 's/@.*//' | grep -v '^VGPU_' |
	sort -u >"$root/exported"
gcc -E -P -x c libvgpu/vgpu.h | tr '\n' ' ' |
	grep -oE 'visibility\("default"\)\)\) [^(;]*' | grep -oE 'vgpu_[a-z0-9_]+$' |
	sort -u >"$root/declared"
diff "$root/declared" "$root/exported" >"$root/log"
verdict $? exports_are_what_the_header_declares "$(grep '^[<>]' "$root/log" | head -5 | tr '\n' ' ')"

# The header stands alone, in C and C++.
echo '#include <vgpu.h>' >"$root/t.c"
gcc -std=c11 -pedantic -Wall -Werror -I"$root/usr/include" -fsyntax-only "$root/t.c" 2>"$root/log" &&
	g++ -x c++ -Wall -Werror -I"$root/usr/include" -fsyntax-only "$root/t.c" 2>>"$root/log"
verdict $? header_stands_alone "$(head -2 "$root/log")"

# HAMi-core preloads an unversioned libvgpu.so into containers: both must load.
echo 'int hami_marker(void) { return 1; }' >"$root/other.c"
gcc -shared -fPIC "$root/other.c" -o "$root/libvgpu.so"
out=$(LD_PRELOAD=$root/libvgpu.so LD_LIBRARY_PATH=$lib VBLACKWELL_DEVICE=embedded \
	"$root/matmul" "$root/model.safetensors" w 2>&1)
echo "$out" | tr -s ' \n' ' ' | grep -qE '1(\.0+)? 2(\.0+)? 3(\.0+)? 4(\.0+)?'
verdict $? works_beside_a_preloaded_foreign_libvgpu "$out"

# A folder whose name has a space.
make -s install DESTDIR="$root/a folder" PREFIX=/usr >"$root/log" 2>&1 &&
	[ -e "$root/a folder/usr/lib/pkgconfig/vgpu.pc" ] && [ -x "$root/a folder/usr/bin/vbrun" ] &&
	[ ! -e "$root/a" ]
verdict $? install_takes_a_folder_with_a_space "$(tail -1 "$root/log")"

# As README.md has it, without any variable: /usr/local and the loader's cache are our own here.
unset PKG_CONFIG_PATH PKG_CONFIG_SYSROOT_DIR
mkdir "$root/etc"
if ! unshare -rm mount -t tmpfs none /usr/local 2>/dev/null; then
	echo 'skip installed_example_runs_as_the_readme_says: no mount namespace for this user'
else
	out=$(unshare -rm bash -c '
		cp -r /etc/. "$1/etc" 2>/dev/null
		mount --bind "$1/etc" /etc && mount -t tmpfs none /usr/local &&
		make -s install >"$1/log" 2>&1 && cc examples/matmul.c -o "$1/plain" \
			$(pkg-config --cflags --libs vgpu) && "$1/plain" "$1/model.safetensors" w
		' - "$root" 2>&1)
	echo "$out" | tr -s ' \n' ' ' | grep -qE '1(\.0+)? 2(\.0+)? 3(\.0+)? 4(\.0+)?'
	verdict $? installed_example_runs_as_the_readme_says "$out"
fi

exit $status
