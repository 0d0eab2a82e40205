# SPDX-License-Identifier: MIT
# Checkpoints of AWQ and GPTQ, packed here by the words of their packers, not read off our code.
#   int4_make.py model FOLDER SCHEME GROUP zeros|even [WHERE [CHANGE]]
#   int4_make.py q4_0 FILE.gguf
# Scheme: awq, gptq, gptq_v2; group: as the settings say it.  Codes, zero points and scales are
# those of the group alone: models of two schemes have the same values.  WHERE: what holds the
# settings: config, quantize, quant, meta or none.  CHANGE: order (act-order), or FIELD=JSON of the
# settings, or FIELD= without it; no_order: there is no g_idx; lost_order: nor are inputs in order, as
# the settings say; shards: scales and zero points lie in another file.
# q4_0: the model "32 even" with blocks of GGUF, whose zero points are 8.
import json, os, random, struct, sys

sys.dont_write_bytecode = True
from safetensors_file import File

LAYERS = [("model.layers.0.mlp.down_proj", 512, 640), ("model.layers.0.mlp.up_proj", 640, 512),
          ("model.layers.0.self_attn.q_proj", 264, 512)]		# outputs, inputs
EMBED = (2048, 512)

def draw(group, even):
    rng = random.Random(11)
    for name, n, k in LAYERS:
        size = k if group < 0 else group
        groups = -(-k // size)
        codes = [[b & 15 for b in rng.randbytes(k)] for _ in range(n)]
        zeros = [[8 if even else rng.randrange(1, 16) for _ in range(groups)] for _ in range(n)]
        scales = [[rng.uniform(0.01, 0.02) for _ in range(groups)] for _ in range(n)]
        yield name, codes, zeros, scales

def embedding():
    rng = random.Random(12)
    return struct.pack("<%de" % (EMBED[0] * EMBED[1]),
                       *(rng.uniform(-1, 1) for _ in range(EMBED[0] * EMBED[1])))

def word(nibbles):
    w = 0
    for i, code in enumerate(nibbles):
        w |= code << 4 * i
    return w

def pack(words):
    return struct.pack("<%dI" % len(words), *words)

def along_outputs(columns, order):		# columns: [..][outputs]
    return pack([word([column[j + o] for o in order]) for column in columns
                 for j in range(0, len(column), 8)])

def add_layer(out, rest, scheme, layer, size, change):
    name, codes, zeros, scales = layer
    n, k, groups = len(codes), len(codes[0]), len(zeros[0])
    plain, awq = range(8), (0, 2, 4, 6, 1, 3, 5, 7)
    less = 1 if scheme == "gptq" else 0
    columns = list(zip(*codes))
    if scheme == "awq":
        out.add(name + ".qweight", "I32", [k, n // 8], along_outputs(columns, awq))
    else:
        out.add(name + ".qweight", "I32", [k // 8, n],
                pack([word(codes[r][j:j + 8]) for j in range(0, k, 8) for r in range(n)]))
        order = [c // size for c in range(k)]
        if change == "order":
            order[7], order[-1] = order[-1], order[7]
        if not change.endswith("_order"):
            out.add(name + ".g_idx", "I32", [k], struct.pack("<%di" % k, *order))
    rest.add(name + ".qzeros", "I32", [groups, n // 8],
             along_outputs([[z - less for z in group] for group in zip(*zeros)],
                           awq if scheme == "awq" else plain))
    rest.add(name + ".scales", "F16", [groups, n],
             b"".join(struct.pack("<%de" % n, *group) for group in zip(*scales)))

def settings(scheme, group, where):
    if where == "quant":			# AutoAWQ's own names
        return {"zero_point": True, "q_group_size": group, "w_bit": 4, "version": "GEMM"}
    s = {"bits": 4, "group_size": group, "desc_act": False}
    if where == "config" or scheme != "gptq":
        s["quant_method"] = scheme[:4] if scheme != "awq" else "awq"
    if scheme == "awq":
        s["version"] = "gemm"
    elif scheme == "gptq_v2":
        s["checkpoint_format"] = scheme
    return s

def write_settings(folder, s, where):
    def write(name, o):
        with open(os.path.join(folder, name), "w") as f:
            json.dump(o, f)
    if where == "config":
        write("config.json", {"model_type": "llama", "quantization_config": s})
    elif where in ("quantize", "quant"):
        write("config.json", {"model_type": "llama"})
        write(where + ("_config.json"), s)
    elif where == "meta":			# AutoGPTQ
        return {"format": "pt", "gptq_bits": str(s["bits"]), "gptq_group_size": str(s["group_size"]),
                "gptq_desc_act": str(s["desc_act"])}
    return None

def model(folder, scheme, group, kind, where="config", change=""):
    os.mkdir(folder)
    group, first = int(group), File()
    rest = File() if change == "shards" else first
    first.add("model.embed_tokens.weight", "F16", list(EMBED), embedding())
    for layer in draw(group, kind == "even"):
        size = len(layer[1][0]) if group < 0 else group
        add_layer(first, rest, scheme, layer, size, change)
        first.add(layer[0] + ".bias", "F16", [len(layer[1])], bytes(2 * len(layer[1])))
    s = settings(scheme, group, where)
    if change == "lost_order":
        s["desc_act"] = True
    field, _, value = change.partition("=")
    if "=" in change:
        s.pop(field, None)
        if value:
            s[field] = json.loads(value)
    meta = write_settings(folder, s, where)
    if meta:
        first.head["__metadata__"] = meta
    if rest is first:
        first.write(os.path.join(folder, "model.safetensors"))
        return
    names = ["model-0000%d-of-00002.safetensors" % i for i in (1, 2)]
    weight_map = {}
    for name, part in zip(names, (first, rest)):
        weight_map.update({tensor: name for tensor in part.head})
        part.write(os.path.join(folder, name))
    with open(os.path.join(folder, "model.safetensors.index.json"), "w") as f:
        json.dump({"weight_map": weight_map}, f)

def q4_0(path):
    tensors = [("token_embd.weight", 1, list(EMBED), embedding())]
    for name, codes, _, scales in draw(32, True):
        data = b"".join(struct.pack("<e", scale) +
                        bytes(row[32 * b + i] | row[32 * b + 16 + i] << 4 for i in range(16))
                        for row, row_scales in zip(codes, scales)
                        for b, scale in enumerate(row_scales))
        tensors.append((name, 2, [len(codes), len(codes[0])], data))

    def text(s):
        return struct.pack("<Q", len(s)) + s.encode()

    head, body = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), 0), b""
    for name, number, shape, data in tensors:
        head += text(name) + struct.pack("<I2QIQ", 2, shape[1], shape[0], number, len(body))
        body += data + bytes(-len(data) % 32)
    with open(path, "wb") as f:
        f.write(head + bytes(-len(head) % 32) + body)

{"model": model, "q4_0": q4_0}[sys.argv[1]](*sys.argv[2:])
