#!/bin/bash
# SPDX-License-Identifier: MIT
#
# make run-vm: a machine with the module, vbd serving it, and MiniLM embedded by two
# processes at once that share one copy of it, through /dev/vblackwell, compared with a
# device in process; then by one while vbd is killed again and again.
#
#	tests/vm/run-vm.sh [KERNEL]
#
# KERNEL as in tests/vm/run.sh (6.1).  The machine is an emulation: what it takes says
# nothing of real ones.  Exit status: 0 all as it should be, 1 not.
# Environment: VM_HOST tier of vbd (a quarter of the weights), VM_FORMAT, VM_MODE (mxfp4, a8),
# VM_PASSES, VM_KILLS of vbd during one run (20) of VM_TEXTS (20), VBLACKWELL_CACHE.
set -u -o pipefail

here=$(dirname "$(readlink -f "$0")")
top=$(readlink -f "$here/../..")
cd "$top" || exit 1
export VBLACKWELL_CACHE=${VBLACKWELL_CACHE:-$HOME/.cache/vblackwell}
image=$VBLACKWELL_CACHE/vm/model.ext4

die() { echo "run-vm: $1" >&2; exit 1; }

# MiniLM, or a generated model of its shape, as a file system.
choose_model() {
	model=$VBLACKWELL_CACHE/models/all-MiniLM-L6-v2
	tools/fetch-models.sh minilm && return
	model=$VBLACKWELL_CACHE/models/generated-minilm
	[ -e "$model/model.safetensors" ] || build/vbrun gen "$model" --bert >/dev/null ||
		die "no model can be had"
}

make_image() {
	local bytes
	[ -e "$image" ] && [ "$image" -nt "$model/model.safetensors" ] &&
		[ "$(cat "$image.of" 2>/dev/null)" = "$model" ] && return
	bytes=$(du -s -B1 "$model" | cut -f1)
	rm -f "$image.part"
	truncate -s $((bytes / 1048576 * 5 / 4 + 32))M "$image.part" &&
		mke2fs -q -t ext4 -d "$model" "$image.part" || die "cannot make $image"
	mv "$image.part" "$image"
	echo "$model" >"$image.of"
}

mkdir -p "$VBLACKWELL_CACHE/vm" || exit 1
choose_model
make_image
export VM_SUITE=$here/served.sh VM_DISK=$image VM_KEEP=$top/build/run-vm VM_LIMIT=${VM_LIMIT:-1800}
export VM_APPEND="VM_SHOW=1 ${VM_HOST:+VM_HOST=$VM_HOST} VM_FORMAT=${VM_FORMAT:-mxfp4} VM_MODE=${VM_MODE:-a8} VM_PASSES=${VM_PASSES:-1} VM_KILLS=${VM_KILLS:-20} VM_TEXTS=${VM_TEXTS:-20}"
echo "booting, with $(basename "$model") on an NVMe disk"
rm -f "$VM_KEEP"/*.out
"$here/run.sh" "${1:-6.1}" >"$VBLACKWELL_CACHE/vm/run-vm.log"
status=$?
cat "$VM_KEEP"/*.out 2>/dev/null || cat "$VBLACKWELL_CACHE/vm/run-vm.log"
tests/ktap.sh <"$VBLACKWELL_CACHE/vm/run-vm.log" |
	grep -E '^(not ok [^ ]*/(end|log|build|initramfs|kernel)|skip linux-[^/ ]*):'
exit $status
