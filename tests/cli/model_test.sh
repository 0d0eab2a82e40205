#!/bin/bash
# SPDX-License-Identifier: MIT
# vbrun embed and models that are not what they seem: one line that names the field, its value and
# what it must be.
set -u
. "$(dirname "$0")/lib.sh"

good=$work/good
$vbrun gen "$good" --bert --layers 2 --hidden 96 --ffn 128 --json >/dev/null
matrix=encoder.layer.1.intermediate.dense.weight

# spoil NAME PYTHON: a copy of the model of which PYTHON changed h (header), c (config), v (words)
# or data
spoil() {
	python3 - "$good" "$work/$1" "$2" <<'END'
import json, os, struct, sys
src, out, change = sys.argv[1:]
f = open(src + "/model.safetensors", "rb")
h = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
data = bytearray(f.read())
c = json.load(open(src + "/config.json"))
v = open(src + "/vocab.txt").read().split("\n")[:-1]
def place(name):
    return h[name]["data_offsets"][0]
exec(change)
os.mkdir(out)
head = json.dumps(h).encode()
head += b" " * (-len(head) % 8)
open(out + "/model.safetensors", "wb").write(struct.pack("<Q", len(head)) + head + data)
open(out + "/config.json", "w").write(c if isinstance(c, str) else json.dumps(c))
if v:
    open(out + "/vocab.txt", "w").write("\n".join(v) + "\n")
END
}
# wrong NAME PATTERN PYTHON
wrong() {
	spoil "$1" "$3"
	refuses "names_what_is_wrong_with_$1" 1 "model: .*$2" \
		$vbrun embed --model "$work/$1" --no-compare --json hello
}

spoil same 'pass'
$vbrun embed --model "$work/same" --no-compare --json hello >/dev/null
verdict an_unchanged_model_runs test $? -eq 0

# --- which model it was, in both forms; without --model the one in the cache, else a generated one ---
# says NAME MODEL OPTION...
says() {
	local name=$1 model=$2
	shift 2
	$vbrun embed --no-compare --passes 0 "$@" hello >"$work/text"
	verdict "${name}_is_named_first" test "$(head -1 "$work/text")" = "model: $model"
	$vbrun embed --no-compare --passes 0 --json "$@" hello >"$work/json"
	verdict "${name}_is_named_in_json" test "$(field "$work/json" model)" = "$model"
}
cache=${VBLACKWELL_CACHE:-${HOME:-}/.cache/vblackwell}/models
mkdir -p "$work/cache/models" "$work/fetched/models"
says a_generated_model generated --model "$good"
cp -r "$good" "$work/cache/models/generated-minilm"
VBLACKWELL_CACHE=$work/cache says the_default_without_a_fetched_model generated
# A name of a folder alone makes no MiniLM.
cp -r "$good" "$work/all-MiniLM-L6-v2"
says a_generated_model_in_a_folder_of_that_name generated --model "$work/all-MiniLM-L6-v2"
if [ -d "$cache/all-MiniLM-L6-v2" ]; then
	ln -s "$cache/all-MiniLM-L6-v2" "$work/fetched/models/"
	VBLACKWELL_CACHE=$work/fetched says the_default_with_a_fetched_model all-MiniLM-L6-v2
else
	echo 'skip the name of the fetched model: all-MiniLM-L6-v2 is not in the cache'
fi

wrong dtype "tensor $matrix: type F16, must be F32" \
	"h['$matrix'].update(dtype='F16', shape=[128, 192])"
wrong shape "tensor $matrix: rank 2, \[96\]\[128\], must be rank 2, \[128\]\[96\]" \
	"h['$matrix']['shape'] = [96, 128]"
wrong rank "tensor $matrix: rank 1, .* must be rank 2, \[128\]\[96\]" \
	"h['$matrix']['shape'] = [128 * 96]"
wrong absent "tensor $matrix is missing" \
	"h['other'] = h.pop('$matrix')"
wrong truncated 'data_offsets end [0-9]+ exceeds data bytes [0-9]+' 'del data[-5000:]'
wrong text_config 'config.json: is no JSON' "c = 'layers: 2'"
wrong layers 'num_hidden_layers 1000000 is outside 1 .. ' "c['num_hidden_layers'] = 1000000"
wrong layers_missing 'no num_hidden_layers' "del c['num_hidden_layers']"
wrong more_layers 'tensor encoder.layer.2.* is missing' "c['num_hidden_layers'] = 3"
wrong hidden 'hidden_size is "many", no whole number' "c['hidden_size'] = 'many'"
wrong heads 'hidden_size 96 is no multiple of num_attention_heads 7' "c['num_attention_heads'] = 7"
wrong act 'hidden_act is "relu", must be "gelu"' "c['hidden_act'] = 'relu'"
wrong type 'model_type is "mpnet", must be "bert"' "c['model_type'] = 'mpnet'"
wrong positions 'position_embedding_type is "relative_key", must be "absolute"' \
	"c['position_embedding_type'] = 'relative_key'"
wrong eps 'layer_norm_eps -1 is outside 0 .. 1' "c['layer_norm_eps'] = -1"
wrong eps_text 'layer_norm_eps "small" is outside 0 .. 1' "c['layer_norm_eps'] = 'small'"
wrong vocabulary_missing 'vocab.txt: No such file' 'v = None'
wrong vocabulary_short 'vocab.txt: none of 1 tokens is \[UNK\]' "v = ['hello']"
wrong vocabulary_twice "vocab.txt: line 10: token '.*' stands in line 9 already" 'v[9] = v[8]'
wrong vocabulary_long 'vocab.txt has [0-9]+ tokens, the embedding [0-9]+ rows' \
	"v += ['w%d' % i for i in range(1000)]"

# NaN among the weights: the file cannot be packed, in whichever way it is done.
spoil nan "struct.pack_into('<f', data, place('$matrix') + 400, float('nan'))"
for how in derived file; do
	VBLACKWELL_CACHE=$work/cache-$how refuses "names_nan_in_weights_packed_$how" 1 \
		'NaN|not finite|infin' \
		$vbrun embed --model "$work/nan" --packed $how --no-compare --json hello
	verdict "leaves_no_packed_file_of_nan_$how" \
		test -z "$(find "$work/cache-$how" -type f 2>/dev/null)"
done
exit $status
