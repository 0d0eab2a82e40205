#!/bin/bash
# SPDX-License-Identifier: MIT
# vbctl doctor: a line for everything that decides how well a machine runs us; on machines that lack
# something, the line that says so and its fix.
set -u
. "$(dirname "$0")/lib.sh"

gcc -Wall -Wextra -Werror -D_GNU_SOURCE -Iinclude/uapi -shared -fPIC tests/cli/preload.c \
	-o "$work/preload.so" -ldl
verdict preload_builds test $? -eq 0
root=$work/root
mkdir -p "$root/dev" "$root/proc/sys/kernel" "$root/sys/fs/cgroup" \
	"$root/sys/kernel/mm/transparent_hugepage"

# --- what it looks at, on this machine ---
$vbctl doctor --dir "$work" >"$work/doctor"
rc=$?
verdict doctor_passes_or_fails test $rc -le 1
verdict doctor_has_a_fix_for_each_problem test \
	"$(grep -cE '^(warn|fail) ' "$work/doctor")" -eq "$(grep -c '  fix: ' "$work/doctor")"
for name in kernel module io_uring memlock filesystem disk huge_pages numa cpu gpu cgroup; do
	verdict doctor_looks_at_$name grep -qE "^(ok|warn|fail) +$name " "$work/doctor"
done
verdict doctor_says_the_kernel grep -q "kernel  *Linux $(uname -r)" "$work/doctor"
verdict doctor_says_o_direct grep -qE 'filesystem .*O_DIRECT' "$work/doctor"
verdict doctor_counts_its_lines grep -qE \
	"^$(grep -c '^ok ' "$work/doctor") ok, $(grep -c '^warn ' "$work/doctor") warnings, $(grep -c \
	'^fail ' "$work/doctor") failures$" "$work/doctor"
$vbctl doctor --dir "$work" --json >"$work/doctor.json"
same_keys doctor_json_keeps_its_fields "$work/doctor.json" $golden/doctor.keys

# --- and on others: lacks STATE NAME TEXT FIX COMMAND..., the fix follows its line ---
lacks() {
	local state=$1 name=$2 text=$3 fix=$4
	shift 4
	"$@" >"$work/out" 2>&1
	grep -A1 "^$state *$name " "$work/out" >"$work/line"
	if ! head -1 "$work/line" | grep -qE -- "$text"; then
		not_ok "doctor_finds_${name}_$cause" "'$(grep -A1 " $name " "$work/out" | head -c 200)'"
	elif ! sed -n 2p "$work/line" | grep -qE "^ +fix: .*$fix"; then
		not_ok "doctor_has_a_fix_for_${name}_$cause" "'$(sed -n 2p "$work/line")'"
	else
		ok "doctor_finds_${name}_${cause}_and_its_fix"
	fi
}
# preloaded VARIABLE=VALUE... COMMAND; a sanitizer wants to be loaded first, and need not be
preloaded() {
	env LD_PRELOAD="$work/preload.so" FAKE_ROOT="$root" \
		ASAN_OPTIONS="${ASAN_OPTIONS:-}:verify_asan_link_order=0" "$@"
}
doctor="$vbctl doctor --dir $work"

cause=old lacks warn kernel 'Linux 2\.6\.' 'Linux 5.15 or newer; 6.1 for the module' \
	setarch "$(uname -m)" --uname-2.6 $doctor

# io_uring_setup (425 on every architecture) ends with EPERM, as in a container's profile.
cat >"$work/forbid.py" <<'END'
import ctypes, os, struct, sys
code = [(0x20, 0, 0, 0), (0x15, 0, 1, 425), (0x06, 0, 0, 0x00050001), (0x06, 0, 0, 0x7fff0000)]
program = b"".join(struct.pack("HBBI", *c) for c in code)
buffer = ctypes.create_string_buffer(program, len(program))
filter_ = struct.pack("HxxxxxxP", len(code), ctypes.addressof(buffer))
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, filter_, 0, 0):
    sys.exit(77)
os.execvp(sys.argv[1], sys.argv[1:])
END
forbidden() { python3 "$work/forbid.py" "$@"; }
if ! forbidden true; then
	echo 'skip doctor without io_uring: no seccomp filter for this process'
else
	cause=forbidden lacks warn io_uring 'Operation not permitted; reads use threads instead' \
		'allow io_uring_setup, .* in the seccomp profile' forbidden $doctor
	echo 2 >"$root/proc/sys/kernel/io_uring_disabled"
	cause=disabled lacks warn io_uring 'kernel.io_uring_disabled is 2' \
		'sysctl kernel.io_uring_disabled=0' \
		preloaded python3 "$work/forbid.py" $doctor
fi

# 64 KiB, and no right to more: a root of a user namespace of its own has none either.
if [ "$(id -u)" -eq 0 ]; then
	without="setpriv --bounding-set -all --inh-caps -all --reuid 65534 --clear-groups"
	chmod 755 "$work"
else
	without=""
fi
# shellcheck disable=SC2086
cause=limited lacks warn memlock 'RLIMIT_MEMLOCK is 64\.0 KiB, hard 64\.0 KiB' \
	'ulimit -l unlimited, or LimitMEMLOCK=infinity' prlimit --memlock=65536:65536 $without $doctor
if ! unshare -r true 2>/dev/null; then
	echo 'skip doctor in a user namespace: not allowed here'
else
	cause=limited_in_a_user_namespace lacks warn memlock 'RLIMIT_MEMLOCK is 64\.0 KiB' \
		'ulimit -l unlimited' prlimit --memlock=65536:65536 unshare -r $doctor
fi

if [ -w /proc ]; then
	cause=without_o_direct lacks warn filesystem '/proc: .*, no O_DIRECT' \
		'keep models on ext4, xfs or btrfs' $vbctl doctor --dir /proc
else
	echo 'skip doctor_finds_filesystem_without_o_direct: this user may write to none'
fi
mkdir "$work/small"
if unshare -rm mount -t tmpfs none "$work/small" 2>/dev/null; then
	cause=no_room_to_try lacks warn filesystem 'small: tmpfs, O_DIRECT could not be tried \(No space' \
		'free some space, and look again' unshare -rm bash -c '
			mount -t tmpfs -o size=16k none "$1/small" && head -c 64k /dev/zero >"$1/small/f"
			"$2" doctor --dir "$1/small"' - "$work" $vbctl
else
	echo 'skip doctor in a full folder: no mount namespace for this user'
fi
cause=full lacks warn disk '/proc: 0 B free' 'free some space: make run takes 4 GiB' \
	$vbctl doctor --dir /proc
# NFS has O_DIRECT, and no files without a name.
preloaded FAKE_NO_TMPFILE=1 $doctor >"$work/out"
verdict doctor_tries_o_direct_without_files_that_have_no_name \
	test "$(grep ' filesystem ' "$work/out")" = "$(grep ' filesystem ' "$work/doctor")"
preloaded FAKE_NO_TMPFILE=1 $vbrun machine "$work" >"$work/out"
verdict machine_measures_without_files_that_have_no_name grep -q '^storage ' "$work/out"
verdict nothing_is_left_of_files_with_a_name test -z "$(find "$work" -name '.vblackwell*')"
cause=absent lacks fail filesystem 'absent: .*No such file' 'give --dir a folder' \
	$vbctl doctor --dir "$work/absent"
$vbctl doctor --dir "$work/absent" >/dev/null
verdict doctor_fails_for_an_absent_folder test $? -eq 1

echo 'always madvise [never]' >"$root/sys/kernel/mm/transparent_hugepage/enabled"
cause=never lacks warn huge_pages 'transparent huge pages: always madvise \[never\]' \
	'echo madvise > /sys/kernel/mm/transparent_hugepage/enabled' preloaded $doctor
rm "$root/sys/kernel/mm/transparent_hugepage/enabled"
cause=absent lacks warn huge_pages 'not in this kernel' 'transparent_hugepage' preloaded $doctor

echo 104857600 >"$root/sys/fs/cgroup/memory.max"
mkdir -p "$root/proc/self"
echo 0::/ >"$root/proc/self/cgroup"
cause=limited lacks warn cgroup 'cgroup memory limit 100 MiB of ' 'raise memory.max' preloaded $doctor

if [ "$(uname -m)" = x86_64 ] && grep -qw avx2 /proc/cpuinfo; then
	cause=capped lacks warn cpu 'CPU level avx(2|512), of which ref is used' 'unset VBLACKWELL_ISA' \
		env VBLACKWELL_ISA=ref $doctor
else
	cause=slow lacks warn cpu 'CPU level ref' 'AVX2' $doctor
fi

# A node that is there and cannot be used.
touch "$root/dev/vblackwell"
cause=broken lacks warn module '/dev/vblackwell: no Virtual Blackwell device' \
	'VBLACKWELL_DEVICE=embedded' preloaded $doctor
cause=busy lacks warn module '/dev/vblackwell: Device or resource busy' \
	'VBLACKWELL_DEVICE=embedded' preloaded FAKE_ERRNO=16 $doctor
preloaded FAKE_ANSWER=0 $doctor >"$work/out"
verdict doctor_is_content_with_a_node_that_answers grep -qE '^ok +module +/dev/vblackwell$' "$work/out"
chmod 000 "$root/dev/vblackwell"
if [ "$(id -u)" -eq 0 ]; then
	cause=closed lacks warn module 'is there, but not for you' 'group of /dev/vblackwell' \
		preloaded setpriv --reuid 65534 --regid 65534 --clear-groups $doctor
else
	cause=closed lacks warn module 'is there, but not for you' 'group of /dev/vblackwell' \
		preloaded $doctor
fi
rm -f "$root/dev/vblackwell"

# Nothing wrong, nothing to fix.
verdict doctor_has_no_fix_for_what_is_well test \
	"$(grep -A1 '^ok ' "$work/doctor" | grep -c 'fix:')" -eq 0
exit $status
