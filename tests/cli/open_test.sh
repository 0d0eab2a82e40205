#!/bin/bash
# SPDX-License-Identifier: MIT
# Which device vgpu_open() takes, and how large its host tier is by default, on machines that
# tests/cli/preload.c makes up.
set -u
. "$(dirname "$0")/lib.sh"

cat >"$work/open.c" <<'END'
#include <stdio.h>
#include <vgpu.h>
int main(int argc, char **argv)
{
	struct vgpu_device_info device = { .size = sizeof(device) };
	struct vgpu_tier_info tier = { .size = sizeof(tier) };
	char name[64];
	struct vgpu *v;
	int rc = vgpu_open(argc > 1 ? argv[1] : NULL, &v);

	if (rc) {
		printf("%d %s\n", rc, vgpu_error_text());
		return 1;
	}
	vgpu_describe(v, "device", name, sizeof(name));
	if (vgpu_device_info(v, &device))
		return 2;
	if (device.embedded)
		vgpu_tier_info(v, 0, &tier);
	printf("%s %u %llu\n", name, device.chunk_bytes, (unsigned long long)tier.bytes);
	vgpu_close(v);
	return 0;
}
END
gcc -Wall -Werror -Ilibvgpu "$work/open.c" -o "$work/open" -L"$build" -lvgpu &&
	gcc -Wall -Wextra -Werror -D_GNU_SOURCE -Iinclude/uapi -shared -fPIC tests/cli/preload.c \
		-o "$work/preload.so" -ldl
verdict programs_build test $? -eq 0
export LD_LIBRARY_PATH=$build FAKE_ROOT=$work/root
unset VBLACKWELL_DEVICE
mkdir -p "$FAKE_ROOT/dev"

# opens [VARIABLE=VALUE...] [-- DEVICE]: what the program says
opens() {
	local set=
	while [ $# -gt 0 ] && [ "$1" != -- ]; do set="$set $1"; shift; done
	[ $# -eq 0 ] || shift
	# shellcheck disable=SC2086
	env $set LD_PRELOAD="$work/preload.so" "$work/open" "$@" 2>&1
}
# says NAME WANT OPENS-WORD...: it begins with WANT
says() {
	local name=$1 want=$2 got
	shift 2
	got=$(opens "$@")
	case "$got" in "$want"*) ok "$name" ;; *) not_ok "$name" "'$got' is not '$want'" ;; esac
}

says without_a_node_the_process_has_a_device 'embedded 2097152 '
says a_device_that_is_named_and_absent_is_an_error '-19 /dev/vblackwell: no Virtual Blackwell device' \
	-- /dev/vblackwell
verdict no_way_around_is_offered_then test "$(opens -- /dev/vblackwell | grep -c embedded)" -eq 0
says the_variable_that_names_an_absent_one_is_an_error '-19 /dev/vblackwell: ' \
	VBLACKWELL_DEVICE=/dev/vblackwell

touch "$FAKE_ROOT/dev/vblackwell"
says a_node_is_taken '/dev/vblackwell 65536 ' FAKE_ANSWER=0
says the_variable_forces_the_process_own 'embedded 2097152 ' FAKE_ANSWER=0 VBLACKWELL_DEVICE=embedded
says an_empty_variable_says_nothing '/dev/vblackwell 65536 ' FAKE_ANSWER=0 VBLACKWELL_DEVICE=
says the_argument_comes_before_the_variable 'embedded 2097152 ' FAKE_ANSWER=0 \
	VBLACKWELL_DEVICE=/dev/vblackwell -- embedded
says the_variable_names_another_node '-19 /dev/vblackwell9: ' FAKE_ANSWER=0 \
	VBLACKWELL_DEVICE=/dev/vblackwell9

# There, and not to be used: an error that says what, and the way without it.
around='; VBLACKWELL_DEVICE=embedded takes the in-process device instead'
says a_node_without_access_is_an_error "-13 /dev/vblackwell: Permission denied$around" FAKE_ERRNO=13
says a_node_that_is_busy_is_an_error "-16 /dev/vblackwell: Device or resource busy$around" \
	FAKE_ERRNO=16
says something_else_of_that_name_is_an_error \
	"-19 /dev/vblackwell: no Virtual Blackwell device$around"
says a_module_that_knows_no_such_request_is_an_error \
	"-19 /dev/vblackwell: no Virtual Blackwell device$around" FAKE_ANSWER=25
says a_node_that_refuses_this_process_is_an_error \
	"-1 /dev/vblackwell: Operation not permitted$around" FAKE_ANSWER=1
says a_node_without_access_can_be_gone_round 'embedded ' FAKE_ERRNO=13 VBLACKWELL_DEVICE=embedded
rm "$FAKE_ROOT/dev/vblackwell"

# --- the default tier: a quarter of what this process may have, in 120 chunks or more ---
group=$FAKE_ROOT/sys/fs/cgroup/box/job
mkdir -p "$group" "$FAKE_ROOT/proc/self"
echo 0::/box/job >"$FAKE_ROOT/proc/self/cgroup"
memory=$(($(getconf _PHYS_PAGES) * $(getconf PAGESIZE)))
# tier: bytes, in whole chunks
quarter() { echo $(($1 / 4 / 2097152 * 2097152)); }
says the_tier_is_a_quarter_of_the_machine "embedded 2097152 $(quarter $memory)"
echo 536870912 >"$FAKE_ROOT/sys/fs/cgroup/box/memory.max"
echo max >"$group/memory.max"
says the_tier_is_a_quarter_of_the_cgroup "embedded 1048576 $(quarter 536870912)"
echo 268435456 >"$group/memory.max"
says the_tier_is_a_quarter_of_the_least_limit "embedded 524288 $(quarter 268435456)"
echo $((memory * 2)) | tee "$group/memory.max" >"$FAKE_ROOT/sys/fs/cgroup/box/memory.max"
says a_limit_above_the_machine_is_none "embedded 2097152 $(quarter $memory)"
echo 1048576 >"$group/memory.max"
says a_tier_that_is_too_small_is_an_error '-22 host_bytes is 262144; two panels and one chunk need at least'
exit $status
