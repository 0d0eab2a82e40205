#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Inside the machine: vbd serves whole models to processes of another user through
# /dev/vblackwell, and what they get is compared with a device of their own.
#
# Environment: VM_CHUNK bytes (65536), VM_HOST tier of vbd (a quarter of the weights), VM_FORMAT
# and VM_MODE of the weights (mxfp4, a8), VM_PASSES later passes (1), VM_KILLS of vbd during
# one run over so many VM_TEXTS (none; 16), VM_SHOW to see what they print.  The model is the
# one on the disk vb2; on an empty disk one is generated, for kills a larger one, so that a
# quarter of its weights is a tier.
cd /suite || exit 1
chunk=${VM_CHUNK:-65536} kills=${VM_KILLS:-0}
shape="--layers 2 --hidden 96 --ffn 384" many=${VM_FORMAT:-mxfp4}
[ $kills = 0 ] || shape="--layers 11 --hidden 192 --ffn 768" many=${VM_FORMAT:-int8}
export VBLACKWELL_ISA=avx2 HOME=/tmp

verdict() {
	name=$1
	shift
	if "$@" >/tmp/said 2>&1; then
		echo "ok served-$chunk/$name"
	else
		echo "not ok served-$chunk/$name: exit status $?"
		tail -20 /tmp/said | sed 's/^/# /'
	fi
}

users() {
	mkdir -p /etc
	printf '%s\n' 'root:x:0:0::/:/bin/sh' 'vbd:x:900:900::/:/bin/sh' \
		'client:x:1001:1001::/tmp:/bin/sh' >/etc/passwd
	printf '%s\n' 'root:x:0:' 'vbd:x:900:' 'render:x:105:client' 'client:x:1001:' >/etc/group
}

as_client() {
	su client -c "cd /suite && exec $*"
}

model() {
	mkdir -p /model
	if mount -t ext4 /dev/vb2 /model 2>/dev/null; then
		[ ! -e /model/generated ] || generated=yes	# with chunks of another size
		return
	fi
	generated=yes
	mke2fs /dev/vb2 && mount -t ext4 /dev/vb2 /model && : >/model/generated &&
		./vbrun gen /model --bert $shape
}

texts="'a cat sat on the mat' 'the dog ran home' 'waves of the sea'"
embed="./vbrun embed --model /model --mode ${VM_MODE:-a8} --packed derived"
embed_many="$embed --format $many --no-compare --passes 0"
embed="$embed --format ${VM_FORMAT:-mxfp4} --passes ${VM_PASSES:-1}"

# The tier that the device of its own has: a quarter, unless it says that this is too little.
tier_bytes() {
	sed -n 's/.*"tier_bytes": *\([0-9]*\).*/\1/p' /tmp/alone_many.json | head -1
}

# To whole chunks.
tier_is_a_quarter() {
	awk -v tier="$(tier_bytes)" -v chunk="$chunk" '/"weight_bytes"/ { gsub(/[^0-9]/, ""); weights = $0 }
		END { print tier " bytes for " weights; exit !(weights && 4 * tier < weights + 4 * chunk) }' \
		/tmp/alone_many.json
}

# vbd_start: in the background; its pid is $vbd.  What an earlier one said is gone.
vbd_start() {
	: >/tmp/vbd.out
	./vbd --host "${VM_HOST:-$(tier_bytes)}" --nvme /dev/vb0:64M --threads 2 --user vbd >/tmp/vbd.out 2>/tmp/vbd.err &
	vbd=$!
	n=0
	while ! grep -q '^ready' /tmp/vbd.out; do
		[ -d /proc/$vbd ] && [ $n -lt 600 ] || return 1
		n=$((n + 1))
		sleep 0.1
	done
}

status_of() {
	sed -n "s/^$1:[[:space:]]*//p" /proc/$vbd/status
}

is_unprivileged() {
	set -- $(status_of Uid)
	[ "$1 $2 $3 $4" = "900 900 900 900" ] && [ "$(status_of CapEff)" = 0000000000000000 ] &&
		[ "$(status_of CapPrm)" = 0000000000000000 ] && [ "$(status_of Seccomp)" = 2 ] &&
		[ "$(status_of NoNewPrivs)" = 1 ]
}

alone() {
	eval "$embed --no-compare --threads 2 --vectors /tmp/alone $texts" >/tmp/alone.out 2>&1
}

served() {
	as_client "$embed --device /dev/vblackwell --vectors /tmp/$1 $texts" >/tmp/$1.out 2>&1 ||
		{ cat /tmp/$1.out; return 1; }
}

runs() {
	[ -d /proc/$1 ] && ! grep -q '^State:[[:space:]]*Z' /proc/$1/status
}

# What each client has in the host tier, in KiB: number, resident, of it shared, charged.
clients_hold() {
	for f in /proc/[0-9]*/fdinfo/*; do
		grep -q '^drm-driver:.*vblackwell' $f 2>/dev/null || continue
		awk '/^drm-client-id:/ { id = $2 } /^drm-resident-host:/ { resident = $2 }
			/^drm-shared-host:/ { shared = $2 } /^vblackwell-charged-host:/ { charged = $2 }
			END { if (id && shared) print id, resident, shared, charged }' $f
	done 2>/dev/null | sort -u
}

both() {
	: >/tmp/shares
	served one &
	first=$!
	served two &
	second=$!
	most=0
	while runs $first || runs $second; do
		clients_hold >/tmp/hold
		saved=$(awk '{ n += $2 - $4 } END { print NR == 2 ? n : 0 }' /tmp/hold)
		[ "$saved" -gt $most ] && most=$saved && cat /tmp/hold >/tmp/shares
		sleep 0.1
	done
	wait $first && wait $second
}

# Both have what they share, one of them is charged for it.
one_copy() {
	cat /tmp/shares
	awk '{ resident += $2; charged += $4; if (!least || $3 < least) least = $3 }
		END { print resident " KiB had, " charged " KiB there, " least " KiB shared"
			exit NR != 2 || resident - charged < least / 2 }' /tmp/shares
}

# Another vbd goes on with what the one that was killed has left, and loses nothing.
kill_and_succeed() {
	kill -9 $vbd
	wait $vbd
	vbd_start || { cat /tmp/vbd.out /tmp/vbd.err; return 1; }
	! grep -E 'lost|anew' /tmp/vbd.out
}

many_texts() {
	i=0
	while [ $i -lt ${VM_TEXTS:-16} ]; do
		echo "'number $i: a cat came home'"
		i=$((i + 1))
	done | tr '\n' ' '
}

alone_many() {
	eval "$embed_many --threads 2 --vectors /tmp/alone_many --save /tmp/alone_many.json \
		$(many_texts)" >/tmp/alone_many.out 2>&1 && [ -n "$(tier_bytes)" ] ||
		{ cat /tmp/alone_many.out; return 1; }
}

start_many() {
	as_client "$embed_many --device /dev/vblackwell --vectors /tmp/killed $(many_texts)" \
		>/tmp/killed.out 2>&1 &
	busy=$!
}

end_many() {
	wait $busy || { cat /tmp/killed.out; return 1; }
	cmp /tmp/alone_many /tmp/killed
}

# Something of the client is in the executor's hands, or it has ended.
at_work() {
	while runs $busy && ! grep -q '^vblackwell-in-flight:[^1-9]*[1-9]' /proc/$vbd/fdinfo/*; do
		sleep 0.1
	done
}

# A client is at work whenever vbd is killed; one that ended early is followed by another.
killed() {
	began=$(date +%s)
	start_many
	clients=1
	killed=0
	while [ $killed -lt $kills ]; do
		at_work
		tries=$((killed + clients))
		sleep $((tries % 3)).$((tries * 7 % 10))
		if runs $busy; then
			kill_and_succeed || return 1
			killed=$((killed + 1))
			continue
		fi
		end_many && [ $clients -lt $((10 * kills)) ] || return 1
		start_many
		clients=$((clients + 1))
	done
	end_many && echo "$killed kills in $(($(date +%s) - began)) s, $clients clients" >/tmp/kills
}

leaves() {
	kill -TERM $vbd
	wait $vbd && grep -q '^left' /tmp/vbd.out
}

# A client is at work: it may fail when its executor leaves, but not wait for ever.
leaves_amid_work() {
	as_client "$embed --device /dev/vblackwell --passes 8 $texts" >/tmp/busy.out 2>&1 &
	busy=$!
	at_work
	leaves
}

client_ends() {
	n=0
	while [ -d /proc/$busy ] && [ $n -lt 1200 ]; do
		n=$((n + 1))
		sleep 0.1
	done
	[ ! -d /proc/$busy ] || { cat /proc/$busy/stack; return 1; }
	wait $busy
	echo "exit status $?"
}

# A ring of a process that left closes its files in its own time.
let_go() {
	n=0
	while ! umount /model; do
		[ $n -lt 100 ] || return 1
		n=$((n + 1))
		sleep 0.1
	done
	echo "after $n tries"
}

show() {
	echo "== $1"
	cat "$2"
}

# Other tests have written to the disk, and vbd leaves alone what is no arena.
arena() {
	dd if=/dev/zero of=/dev/vb0 bs=1M count=66
}

# The machine is left as it was found, for what comes next.
leave() {
	kill -9 $vbd 2>/dev/null
	wait $vbd
	rmmod vblackwell
	umount /model
	exit 0
}

users
insmod vblackwell.ko chunk_bytes=$chunk || { echo "not ok served-$chunk/load: insmod"; exit 0; }
chgrp 105 /dev/vblackwell
verdict model model
verdict embed_alone alone
if [ $kills != 0 ] || [ -z "${VM_HOST:-}" ]; then
	verdict embed_many_alone alone_many
	[ -n "${VM_HOST:-}" ] || verdict tier_is_a_quarter_of_the_weights tier_is_a_quarter
fi
verdict arena arena
if ! vbd_start; then
	echo "not ok served-$chunk/vbd: did not get ready"
	sed 's/^/# /' /tmp/vbd.out /tmp/vbd.err
	leave 2>/dev/null
fi
echo "ok served-$chunk/vbd_gets_ready"
verdict vbd_has_no_privileges is_unprivileged
verdict client_cannot_open_the_executor_node \
	sh -c '! su client -c "exec 3<>/dev/vblackwell-exec"'
verdict embed_through_the_module served first
verdict embed_is_bitwise_that_of_a_device_of_its_own cmp /tmp/alone /tmp/first
verdict example_maps_and_multiplies_through_the_module \
	as_client "./matmul /model/model.safetensors embeddings.position_embeddings.weight"
verdict two_processes_embed_at_once both
# A model of the disk takes long enough for both to be seen.
if [ -s /tmp/shares ] || [ -z "${generated:-}" ]; then
	verdict both_share_one_copy_of_the_model one_copy
else
	echo "skip served-$chunk/both_share_one_copy_of_the_model: never seen at once, so small is it"
fi
verdict both_are_bitwise_the_same sh -c 'cmp /tmp/alone /tmp/one && cmp /tmp/alone /tmp/two'
if [ $kills = 0 ]; then
	echo "skip served-$chunk/embed_is_the_same_while_vbd_is_killed: not in a short run (make run-vm does)"
else
	verdict embed_is_the_same_while_vbd_is_killed_${kills}_times killed
	[ -e /tmp/kills ] && sed 's/^/# /' /tmp/kills
fi
if [ -n "${VM_SHOW:-}" ]; then
	show "vbd" /tmp/vbd.out
	show "one process" /tmp/one.out
	show "another, at the same time" /tmp/two.out
	show "client, KiB resident in the host tier, of it shared, charged" /tmp/shares
	show "alone, on a device of its own" /tmp/alone.out
fi
verdict vbd_leaves_with_0_amid_work leaves_amid_work
verdict another_vbd_gets_ready vbd_start
verdict client_of_the_one_that_left_ends client_ends
verdict embed_through_another_vbd served again
verdict embed_is_still_the_same cmp /tmp/alone /tmp/again
verdict vbd_leaves_with_0_when_asked leaves
verdict unload rmmod vblackwell
[ -s /tmp/vbd.err ] && sed 's/^/# /' /tmp/vbd.err
verdict files_are_let_go let_go
exit 0
