#!/bin/bash
# SPDX-License-Identifier: MIT
# vbctl plan: its figures are those of a computation of its own, in another language, from the
# header of the file; and those of a run.
set -u
. "$(dirname "$0")/lib.sh"

$vbrun gen "$work/moe.safetensors" --size 24M >/dev/null
$vbrun gen "$work/bf16.safetensors" --size 12M --format bf16 >/dev/null

# check.py PLAN FILE HOST DEVICE CHUNK FORMAT M: PLAN is what these say, each figure
cat >"$work/check.py" <<'END'
import json, math, struct, sys

plan = json.load(open(sys.argv[1]))
path, fmt = sys.argv[2], sys.argv[6]
host, device, chunk, m = (int(sys.argv[i]) for i in (3, 4, 5, 7))
KiB, MiB = 1 << 10, 1 << 20
f = open(path, "rb")
head = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
head.pop("__metadata__", None)

def up(x, to):
    return -(-x // to)

def touched(n):		# chunks under n bytes, wherever they begin
    return up(n, chunk) + 1

source = content = derived = derived_source = xs = ys = products = 0
panels = 6 * chunk
for name, t in head.items():
    shape, (begin, end) = t["shape"], t["data_offsets"]
    if len(shape) < 2 or name.endswith("_scales"):
        continue
    if name.endswith("_blocks"):
        # 16 bytes a block of 32 columns, and one of the scales
        n, k = shape[-3], 32 * shape[-2]
        scales = head[name.replace("_blocks", "_scales")]["data_offsets"]
        row = k // 2
        bytes_ = end - begin + scales[1] - scales[0]
        source += bytes_
        content += bytes_
        panel = max(row, chunk)
        need = touched(2 * panel) + touched(2 * panel // row * (k // 32))
    else:
        n, k = shape[-2:]
        row = (end - begin) // math.prod(shape[:-1])
        bytes_ = end - begin
        source += bytes_
        if fmt != "keep":
            # groups of 16 rows: blocks of 32 columns, their scales in tiles of four
            block, scales = {"mxfp4": (256, 64), "int8": (512, 128)}[fmt]
            unit = k // 32 * block + up(k // 32, 4) * scales
            packed = math.prod(shape[:-2]) * up(n, 16) * unit
            derived += packed
            derived_source += bytes_
            content += packed
            need = touched(2 * max(unit, chunk))
        else:
            content += bytes_
            need = touched(2 * max(row, chunk))
    panels = max(panels, need * chunk)
    # a product of more than 8 MiB is cut into several, of whole groups of packed rows
    group = 16 if fmt != "keep" and not name.endswith("_blocks") else 1
    rows = max(8 * MiB // 4 // m // group * group, group)
    xs, ys = max(xs, m * k * 4), max(ys, m * min(n, rows) * 4)
    products += math.prod(shape[:-3 if name.endswith("_blocks") else -2]) * up(n, rows)

# the first 16 outputs of each product beside them
arrays = xs, ys, products * 64
acts, act_room = sum(arrays), sum(up(a, chunk) * chunk for a in arrays)

def reserve(host):
    return max(host // chunk // 20 * chunk, panels)

staging = reserve(host)
need = act_room + panels
while need < act_room + reserve(need):
    need = act_room + reserve(need)
room = max(0, host // chunk * chunk - staging - act_room)
in_device = min(content, device)
in_host = min(content - in_device, room)
overflow = content - in_device - in_host
share = overflow / content
reads = share * (content - derived + derived_source)
rate = {k: plan[k + "_bytes_per_second"] for k in ("storage", "compute", "pack")}
storage = reads / rate["storage"]
work = content / rate["compute"] + share * derived_source / rate["pack"]
want = dict(source_bytes=source, weight_bytes=content, activation_bytes=acts, staging_bytes=staging,
            need_host_bytes=need, in_device_bytes=in_device, in_host_bytes=in_host,
            overflow_bytes=overflow, derived_bytes=derived, derived_source_bytes=derived_source,
            cache_file_bytes=derived, host_bytes=host, device_bytes=device, chunk_bytes=chunk, m=m,
            possible=host >= need)
if not plan["measured"]:
    want |= {k + "_bytes_per_second": v for k, v in
             dict(storage=1.5e9, compute=5e9, pack=1e9).items()}
wrong = {k: (plan[k], v) for k, v in want.items() if plan[k] != v}
near = dict(pass_read_bytes=reads, pass_ns=1e9 * max(storage, work),
            stall=max(0, (storage - work) / storage) if storage else 0)
wrong |= {k: (plan[k], v) for k, v in near.items() if abs(plan[k] - v) > 1e-6 * abs(v) + 1}
# No tier has more than there is of it.
if plan["possible"] and (in_host + staging + acts > host or in_device > device):
    wrong["tiers"] = (in_host + staging + acts, host)
for k, (got, v) in wrong.items():
    print(f"{k} is {got}, must be {v}", file=sys.stderr)
sys.exit(bool(wrong))
END
# agrees NAME FILE HOST DEVICE CHUNK FORMAT M [OPTION]
agrees() {
	local name=$1 file=$work/$2.safetensors
	$vbctl plan "$file" --host "$3" --device "$4" --chunk "$5" --format "$6" --m "$7" --json \
		"${@:8}" >"$work/plan.json" 2>"$work/err"
	if python3 "$work/check.py" "$work/plan.json" "$file" "${@:3:5}" 2>"$work/err"; then
		ok "$name"
	else
		not_ok "$name" "$(head -3 "$work/err" | tr '\n' ';')"
	fi
}
M=1048576
K=1024
for format in keep int8 mxfp4; do
	agrees plan_of_split_mxfp4_agrees_$format moe $((8 * M)) 0 $((64 * K)) $format 1
	agrees plan_of_bf16_agrees_$format bf16 $((4 * M)) 0 $((64 * K)) $format 32
done
agrees plan_of_a_tier_that_holds_all_agrees moe $((64 * M)) 0 $((2 * M)) keep 1
agrees plan_of_large_chunks_agrees moe $((20 * M)) 0 $((2 * M)) mxfp4 512
agrees plan_of_odd_sizes_agrees moe 8888888 3333333 $((64 * K)) mxfp4 3
agrees plan_of_many_rows_agrees bf16 $((32 * M)) 0 $((128 * K)) keep 65536
agrees plan_that_is_refused_agrees moe $((256 * K)) 0 $((64 * K)) keep 1
agrees plan_that_is_measured_agrees moe $((8 * M)) 0 $((64 * K)) mxfp4 1 --measure
verdict plan_that_is_measured_says_so grep -q '"measured": true' "$work/plan.json"

# --- the share of the reserve, and that it is the least where six chunks are more than 5 % ---
$vbctl plan "$work/moe.safetensors" --host 4M --chunk 64K >"$work/text"
verdict plan_says_why_the_reserve_is_large grep -q \
	'staging 384 KiB (9.4 %: the least that two panels take)$' "$work/text"
$vbctl plan "$work/moe.safetensors" --host 8M --chunk 64K >"$work/text"
verdict plan_says_the_share_of_the_reserve grep -q 'staging 384 KiB (4.7 %)$' "$work/text"

# --- a device takes the weights first, the host the next, the rest is read ---
for device in 0 $((4 * M)) $((16 * M)) $((1024 * M)); do
	agrees plan_with_a_device_of_$((device / M))_mib_agrees moe $((8 * M)) "$device" $((64 * K)) keep 1
done
verdict plan_that_fits_the_device_reads_nothing test \
	"$(field "$work/plan.json" overflow_bytes),$(field "$work/plan.json" pass_read_bytes),$(field \
	"$work/plan.json" in_host_bytes)" = 0,0,0
$vbctl plan "$work/moe.safetensors" --host 8M --device 4M --chunk 64K >"$work/text"
verdict plan_prints_the_device grep -qE '^device +4\.00 MiB of +4\.00 MiB +weights$' "$work/text"
without=$($vbctl plan "$work/moe.safetensors" --host 8M --chunk 64K | sed -n 's/^storage *\(.*iB\)  .*/\1/p')
verdict plan_says_that_no_backend_has_a_device \
	grep -q "no device backend yet: this supposes one; today $without would be read again" "$work/text"
verdict plan_prints_peak_cost_and_stall test "$(grep -cE \
	'^host +[0-9.]+ MiB of +8\.00 MiB +weights|^storage +[0-9.]+ MiB +read again|, stall [0-9]+ %$' \
	"$work/text")" -eq 3
$vbctl plan "$work/bf16.safetensors" --host 4M --chunk 64K --format mxfp4 >"$work/text"
verdict plan_prints_what_a_cache_file_costs grep -qE \
	'^cache file +[0-9.]+ [KM]iB of disk, once [0-9.]+ (us|ms|s); reads [0-9.]+ ([KM]i)?B a pass' "$work/text"

# --- what a run finds: the same reserve, and the bytes of a pass within 2 % ---
for host in 4M 8M 16M; do
	$vbctl plan "$work/moe.safetensors" --host $host --chunk 64K --json >"$work/plan.json"
	$vbrun stream "$work/moe.safetensors" --host $host --chunk 64K --passes 4 --no-compare --json \
		>"$work/run.json"
	planned=$(field "$work/plan.json" pass_read_bytes)
	read=$(field "$work/run.json" pass_read_bytes)
	verdict run_keeps_the_reserve_of_the_plan_host_$host test \
		"$(field "$work/plan.json" staging_bytes)" = "$(field "$work/run.json" staging_bytes)"
	verdict run_reads_what_the_plan_says_host_$host \
		test $((100 * (read > planned ? read - planned : planned - read))) -le $((2 * planned))
done

# --- refused with the numbers: what was asked for, what would do, for what; that does ---
$vbctl plan "$work/moe.safetensors" --host 256K --chunk 64K --json >"$work/plan.json" 2>/dev/null
verdict refused_plan_fails test $? -eq 1
need=$(field "$work/plan.json" need_host_bytes)
refuses refused_plan_names_the_sizes 1 \
	"--host 256 KiB is below the [0-9.]+ [KM]iB \($need bytes\) that two panels and [0-9.]+ KiB of activations need at chunks of 64.0 KiB" \
	$vbctl plan "$work/moe.safetensors" --host 256K --chunk 64K
refuses a_byte_less_than_the_plan_needs_is_refused 1 "\($need bytes\)" \
	$vbctl plan "$work/moe.safetensors" --host $((need - 1)) --chunk 64K
$vbctl plan "$work/moe.safetensors" --host "$need" --chunk 64K >/dev/null
verdict what_the_plan_needs_is_accepted test $? -eq 0
# What it asks for is what a run takes, compared and all, and a chunk less is too little.
for file in moe bf16; do
	for m in 1 32; do
		at="$work/$file.safetensors --chunk 64K --m $m"
		# shellcheck disable=SC2086
		need=$($vbctl plan $at --host 1K --json 2>/dev/null | sed -n 's/.*"need_host_bytes": \([0-9]*\).*/\1/p')
		# shellcheck disable=SC2086
		$vbrun stream $at --host "$need" --passes 2 --json >"$work/run.json" 2>"$work/err"
		verdict "run_in_what_the_plan_needs_succeeds_${file}_m_$m" test $? -eq 0
		# shellcheck disable=SC2086
		refuses "run_in_less_is_refused_with_that_number_${file}_m_$m" 1 "stream: --host .* \($need bytes\)" \
			$vbrun stream $at --host $((need - 1))
		# shellcheck disable=SC2086
		refuses "run_in_a_chunk_less_has_no_room_${file}_m_$m" 1 'bytes cannot be reserved' \
			$vbrun stream $at --host $((need - 65536)) --staging 384K --no-compare
	done
done
need=$(field "$work/plan.json" need_host_bytes)
# A device makes no difference to what the host needs: it holds no activations.
refuses a_device_does_not_replace_the_host 1 "\($need bytes\)" \
	$vbctl plan "$work/moe.safetensors" --host 256K --device 1G --chunk 64K
exit $status
