#!/bin/bash
# SPDX-License-Identifier: MIT
# Bad input of every command: one line that names the field, its value and the limit; nothing on
# stdout; exit status 2 for what was typed, 1 for what was found.
set -u
. "$(dirname "$0")/lib.sh"

# --- options: from the help of each command, so that a new one is among them ---
# What takes any text; everything else has a range, a list or no value.
texts=' model layers-int8 device nvme trace vectors save dir match prompt text '
commands=('vbrun embed' 'vbrun generate' 'vbrun quality' 'vbrun stream' 'vbrun gen' 'vbrun report' 'vbrun machine' 'vbctl doctor'
	'vbctl plan' 'vbctl replay' 'vbctl tensor list')
# refused NAME PATTERN PROGRAM WORDS...
refused() {
	local name=$1 pattern=$2
	shift 2
	refuses "$name" 2 "$pattern" "$@"
}
options=0
for command in "${commands[@]}"; do
	program=$build/$command
	verb=${command#* }
	id=${command// /_}
	# shellcheck disable=SC2086
	$program --help >"$work/help"
	verdict "${id}_says_its_exit_statuses" \
		grep -qx 'Exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted.' "$work/help"
	# shellcheck disable=SC2086
	refused "${id}_unknown_option" "$verb: unknown option --nonsense; see $command --help" \
		$program --nonsense
	# shellcheck disable=SC2086
	refused "${id}_short_option" "$verb: unknown option -x; see" $program -x
	while read -r option arg; do
		at="${id}_${option//-/_}"
		options=$((options + 1))
		if [ -z "$arg" ]; then
			# shellcheck disable=SC2086
			refused "${at}_takes_no_value" "$verb: --$option takes no value" \
				$program "--$option=1" f
			continue
		fi
		# shellcheck disable=SC2086
		refused "${at}_needs_a_value" "$verb: --$option needs a $arg" $program f "--$option"
		[[ $texts != *" $option "* ]] || continue
		# shellcheck disable=SC2086
		refused "${at}_is_no_nonsense" \
			"$verb: --$option nonsense is (no (size|number)|none of [a-z0-9]+, )" \
			$program "--$option" nonsense f
		[[ $(grep -c -- "is none of" "$work/err") -eq 0 ]] || continue
		# shellcheck disable=SC2086
		refused "${at}_has_a_limit" \
			"$verb: --$option 99999999999999999 is outside [0-9]+ \.\. [0-9]+" \
			$program "--$option" 99999999999999999 f
		# shellcheck disable=SC2086
		refused "${at}_is_not_negative" "$verb: --$option -1 is no (size|number)" \
			$program "--$option" -1 f
	done < <(sed -nE 's/^  --([a-z0-9-]+) ?([A-Z]*) .*/\1 \2/p' "$work/help" | grep -v '^help')
done
verdict all_options_were_there test $options -ge 60

# --- numbers of arguments, and options that exclude each other ---
# STATUS | PATTERN | COMMAND
while IFS='|' read -r want pattern words; do
	read -r -a words <<<"$words"
	words[0]=$build/${words[0]}
	refuses "usage_$(echo "${words[*]#"$build/"}" | tr -cs 'a-z0-9\n' '_')" "$want" "$pattern" \
		"${words[@]}"
done <<'END'
2|no command|vbrun
2|unknown command nonsense|vbrun nonsense
2|stream: 0 arguments, takes FILE|vbrun stream
2|stream: 2 arguments, takes FILE|vbrun stream a b
2|gen: 0 arguments, takes FILE|vbrun gen
2|report: 0 arguments, takes SUMMARY|vbrun report
2|machine: 2 arguments, takes|vbrun machine a b
2|--chunk 100000 is no power of two|vbrun stream f --chunk 100000
2|--chunk 100000 is no power of two|vbrun embed --chunk 100000
2|--chunk 100000 is no power of two|vbctl plan f --chunk 100000
2|--chunk 32K is outside 65536 .. 2097152|vbrun stream f --chunk 32K
2|--nvme-size 1.00 MiB is for --nvme FILE, which is not given|vbrun stream f --nvme-size 1M
2|stream: --m is not for --route, which runs one token at a time|vbrun stream f --route zipf --m 32
2|stream: --passes is not for --route, which|vbrun stream f --route zipf --passes 4
2|stream: --no-compare is not for --route, which|vbrun stream f --route zipf --no-compare
2|stream: --tokens is for --route zipf, which is not given|vbrun stream f --tokens 9
2|stream: --seed is for --route zipf, which is not given|vbrun stream f --seed 9
2|gen: --size is not for --bert, whose|vbrun gen f --bert --size 1M
2|gen: --experts is not for --bert, whose|vbrun gen f --bert --experts 4
2|gen: --format is not for --bert, whose|vbrun gen f --bert --format f32
2|gen: --size is not for --gemma3, whose|vbrun gen f --gemma3 --size 1M
2|gen: --bert and --gemma3 exclude each other|vbrun gen f --bert --gemma3
2|generate: 0 arguments, takes MODEL|vbrun generate
2|generate: --prompt TEXT is missing|vbrun generate f
2|generate: --seed is for --temperature above 0, which is not given|vbrun generate f --prompt x --seed 3
2|generate: --top is for --temperature above 0, which is not given|vbrun generate f --prompt x --top 3
2|quality: 0 arguments, takes MODEL|vbrun quality
2|quality: --text FILE is missing|vbrun quality f
2|--chunk 100000 is no power of two|vbrun generate f --prompt x --chunk 100000
2|--compare and --no-compare exclude each other|vbrun embed --compare --no-compare
2|--trace needs a device of its own, without --device|vbrun embed --trace t --device /dev/null
2|--compare needs devices of its own, without --device|vbrun embed --compare --device /dev/null
2|--goal 1.5 is outside 0 .. 1|vbrun embed --goal 1.5
2|--goal 1e-1 is no number|vbrun embed --goal 1e-1
2|--sentences 201 is outside 3 .. 200|vbrun embed --sentences 201
2|--host 12Q is no size \(bytes, or with K, M, G, T\)|vbctl plan f --host 12Q
2|no object|vbctl
2|unknown object nonsense|vbctl nonsense
2|tensor: no command, takes list|vbctl tensor
2|tensor: unknown command print, takes list|vbctl tensor print
2|doctor: 1 arguments, takes none|vbctl doctor here
2|plan: 0 arguments, takes FILE|vbctl plan
2|replay: 0 arguments, takes TRACE|vbctl replay
1|absent: No such file|vbrun stream absent
1|absent: No such file|vbrun generate absent --prompt x
1|absent: No such file|vbrun quality absent --text x
1|absent: No such file|vbctl plan absent
1|absent: No such file|vbctl tensor list absent
1|absent: open: No such file|vbctl replay absent
1|absent: No such file|vbrun report absent
1|absent: No such file|vbrun machine absent
1|absent/config.json: No such file|vbrun embed --model absent x
1|absent/x: No such file|vbrun gen absent/x --size 1M
1|gen: hidden 100 is not a multiple of 64 up to 32768|vbrun gen absent/x --hidden 100
1|gen: ffn 33 is not a multiple of 32 up to 131072|vbrun gen absent/x --ffn 33
1|gen: hidden 100 is not a multiple of 32 between 32 and 4096|vbrun gen absent/x --gemma3 --hidden 100
1|gen: ffn 300 is not a multiple of 256 up to 65536|vbrun gen absent/x --gemma3 --ffn 300
1|gen: hidden 1024 is not a multiple of heads 12|vbrun gen absent/x --bert --hidden 1024
1|/dev/null: no Virtual Blackwell device|vbrun embed --device /dev/null x
END

# --- checkpoints that are not what they seem: the same of every command that reads them ---
mkdir "$work/bad"
python3 - "$work/bad" <<'END'
import json, struct, sys
out = sys.argv[1]

def write(name, data):
    open(f"{out}/{name}", "wb").write(data)

def st(name, head, data=bytes(128), length=None):
    text = head if isinstance(head, bytes) else json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    write(name + ".safetensors",
          struct.pack("<Q", len(text) if length is None else length) + text + data)

def t(dtype="F32", shape=(4, 8), end=128, begin=0):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}

st("good", {"w": t()})
st("dtype", {"w": t("Q99")})
st("shape", {"w": t(shape=(4, 9))})
st("shape_negative", {"w": t(shape=(4, -8))})
st("shape_huge", {"w": t(shape=(1 << 40, 1 << 40))})
st("rank", {"w": t(shape=(1,) * 40)})
st("truncated", {"w": t()}, bytes(100))
st("truncated_header", {"w": t()}, b"", length=1 << 20)
st("header_huge", {"w": t()}, length=1 << 60)
st("reversed", {"w": t(begin=128, end=0)})
st("hole", {"w": t(), "v": t(begin=256, end=384)}, bytes(384))
twice = json.dumps(t()).encode(), json.dumps(t(begin=128, end=256)).encode()
st("twice", b'{"w":%s,"w":%s}' % twice, bytes(256))
st("overlap", {"w": t(), "v": t(begin=64, end=192)}, bytes(192))
st("no_json", b"{not json}")
st("no_matrix", {"w": t(shape=(32,))})
st("no_operand", {"w": t("I64", (4, 4))})
write("empty.safetensors", b"")
write("short.safetensors", b"\0\0\0")

def text(x):
    return struct.pack("<Q", len(x)) + x

def gguf(name, tensors, data=bytes(1024), version=3, magic=b"GGUF", count=None, meta=()):
    head = magic + struct.pack("<IQQ", version, len(tensors) if count is None else count, len(meta))
    head += b"".join(meta)
    for n, dims, kind, offset in tensors:
        head += text(n) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, offset)
    write(name + ".gguf", head + bytes(-len(head) % 32) + data)

w = (b"w", (8, 4), 0, 0)
gguf("good", [w])
gguf("magic", [w], magic=b"GGML")
gguf("version", [w], version=99)
gguf("type", [(b"w", (8, 4), 77, 0)])
gguf("twice", [w, (b"w", (8, 4), 0, 128)])
gguf("truncated", [w], data=bytes(100))
gguf("offset", [(b"w", (8, 4), 0, 8)])
gguf("count", [w], count=1 << 50)
gguf("rank", [(b"w", (2,) * 9, 0, 0)])
gguf("block", [(b"w", (33, 4), 8, 0)])
gguf("align", [w], meta=[text(b"general.alignment") + struct.pack("<II", 4, 3)])
END
readers=("$vbrun stream --host 64M" "$vbctl plan --host 64M" "$vbctl tensor list")
for file in good.safetensors good.gguf; do
	for reader in "${readers[@]}"; do
		$reader "$work/bad/$file" >"$work/out" 2>&1
		verdict "${file/./_}_is_read_by_$(echo "${reader#"$build/"}" | cut -d' ' -f1-2 | tr ' ' _)" \
			test $? -eq 0
	done
done
while IFS='|' read -r file pattern; do
	for reader in "${readers[@]}"; do
		what=$(echo "${reader#"$build/"}" | cut -d' ' -f1-2 | tr ' ' _)
		# A list has tensors that no product takes.
		[[ $pattern != none* || $what != vbctl_tensor ]] || continue
		# shellcheck disable=SC2086
		refuses "${file/./_}_is_named_by_$what" 1 "$file: $pattern" $reader "$work/bad/$file"
	done
done <<'END'
dtype.safetensors|tensor 'w': dtype 'Q99' is unknown, is none of F32 F16 BF16 .* F4 
shape.safetensors|tensor 'w': data_offsets span 128 bytes, its F32 shape needs 144
shape_negative.safetensors|tensor 'w': shape\[1\] is -8, below 0
shape_huge.safetensors|tensor 'w': product of the shape exceeds 64 bits at dimension 1 of 1099511627776
rank.safetensors|tensor 'w': shape has 40 dimensions, limit 8
truncated.safetensors|tensor 'w': data_offsets end 128 exceeds data bytes 100
truncated_header.safetensors|no GGUF file, nor a whole safetensors one: header length 1048576 exceeds the [0-9]+ bytes after it
header_huge.safetensors|no GGUF file, nor a whole safetensors one: header length 1152921504606846976 exceeds the [0-9]+ bytes after it
reversed.safetensors|tensor 'w': data_offsets begin 128 exceeds end 0
hole.safetensors|tensors cover 256 of 384 data bytes
twice.safetensors|tensor 'w' appears twice
overlap.safetensors|tensor 'v' at byte [0-9]+ overlaps tensor 'w', which ends at byte [0-9]+
no_json.safetensors|JSON byte 1: malformed
no_matrix.safetensors|none of its 1 tensors is a matrix .*1: rank below 2 .*takes rank 2 or 3 of type f32,
no_operand.safetensors|none of its 1 tensors is a matrix .*1: type I64 .*takes rank 2 or 3 of type f32,
empty.safetensors|no GGUF file, nor a whole safetensors one: header length needs 8 bytes, the file has 0
short.safetensors|no GGUF file, nor a whole safetensors one: header length needs 8 bytes, the file has 3
magic.gguf|magic is 47 47 4d 4c, must be 'GGUF'
version.gguf|version 99 is not 2 or 3
type.gguf|tensor 'w': type 77 is unknown, is none of ggml's 0-3, 
twice.gguf|tensor 'w' appears twice
truncated.gguf|tensor 'w': offset 0 \+ 128 bytes exceeds data bytes 100
offset.gguf|tensor 'w': offset 8 is not a multiple of the alignment 32
count.gguf|tensor count 1125899906842624 cannot fit the [0-9]+ bytes left of the file
rank.gguf|tensor 'w': 9 dimensions, limit 4
block.gguf|tensor 'w': row length 33 is not a multiple of 32, the block of Q8_0
align.gguf|general.alignment 3 is not a power of two up to 1048576
END

# --- summaries and traces ---
$vbctl tensor list "$work/bad/good.gguf" --json >"$work/tensors.json"
echo '[1, 2]' >"$work/list.json"
echo '{"schema": 9, "command": "embed"}' >"$work/schema.json"
echo '{"schema": 1, "command": null}' >"$work/null.json"
echo '{"schema": 1, "command": "embed", "runs": 3, "texts": {}, "objects": 1}' >"$work/odd.json"
for json in "" --json; do
	while IFS='|' read -r file pattern; do
		refuses "report${json/--/_}_names_what_is_wrong_with_${file%.*}" 1 "$file: $pattern" \
			$vbrun report "$work/odd.json" "$work/$file" $json
	done <<-'END'
		help|is no JSON
		list.json|is no JSON object
		schema.json|schema is 9, must be 1
		null.json|command is "", must be embed, generate or stream
		tensors.json|command is "tensor list", must be embed, generate or stream
	END
done
$vbrun stream "$work/bad/good.safetensors" --host 1M --chunk 64K --no-compare --trace "$work/trace" >/dev/null
: >"$work/empty.trace"
head -c 100 /dev/zero >"$work/zero.trace"
head -c 30 "$work/trace" >"$work/cut.trace"
{ head -c 64 "$work/trace"; printf '\377%.0s' {1..16}; } >"$work/record.trace"
head -c 64 "$work/trace" >"$work/no_uses.trace"
while IFS='|' read -r file pattern; do
	refuses "replay_names_what_is_wrong_with_$file" 1 "$file.trace: $pattern" \
		$vbctl replay "$work/$file.trace"
done <<'END'
empty|does not begin with the 64 bytes of a trace's header, version 1
zero|does not begin with the 64 bytes of a trace's header, version 1
cut|does not begin with the 64 bytes of a trace's header, version 1
record|record 0 at byte 64 is not valid
no_uses|the trace has no uses
END
exit $status
