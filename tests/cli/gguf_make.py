# SPDX-License-Identifier: MIT
"""
Writes small GGUF files for gguf_test.sh; python3 alone, nothing of ours, no numpy.

	gguf_make.py all FILE		every type that streams, rows of odd number, experts, norms
	gguf_make.py blocks FILE	matrices in types that are packed before they are used
	gguf_make.py split FILE		the same in three parts, FILE-00001-of-00003.gguf and so on
	gguf_make.py q8 FILE		the same matrices as Q8_0: by the format's own words, exactly
					where the values allow it, else rounded as INT8 is
	gguf_make.py type FILE T	one matrix of ggml type number T, bytes zero
	gguf_make.py infinite FILE	a Q5_0 matrix whose last scale is infinite
	gguf_make.py cut FILE		`all`, one byte short

The bytes are random from a fixed seed, but for scales, which stay small and finite.
"""
import random
import struct
import sys

# Number, values and bytes a block, offsets of F16 numbers.
TYPES = {
    "F32": (0, 1, 4, []), "F16": (1, 1, 2, []), "BF16": (30, 1, 2, []),
    "Q4_0": (2, 32, 18, [0]), "Q4_1": (3, 32, 20, [0, 2]), "Q5_0": (6, 32, 22, [0]),
    "Q5_1": (7, 32, 24, [0, 2]), "Q8_0": (8, 32, 34, [0]), "Q2_K": (10, 256, 84, [80, 82]),
    "Q3_K": (11, 256, 110, [108]), "Q4_K": (12, 256, 144, [0, 2]),
    "Q5_K": (13, 256, 176, [0, 2]), "Q6_K": (14, 256, 210, [208]), "IQ4_NL": (20, 32, 18, [0]),
    "IQ4_XS": (23, 256, 136, [0]), "MXFP4": (39, 32, 17, []), "NVFP4": (40, 64, 36, []),
    "TQ1_0": (34, 256, 54, [52]), "TQ2_0": (35, 256, 66, [64]), "IQ2_XXS": (16, 256, 66, [0]),
    "IQ2_XS": (17, 256, 74, [0]), "IQ3_XXS": (18, 256, 98, [0]), "IQ1_S": (19, 256, 50, [0]),
    "IQ3_S": (21, 256, 110, [0]), "IQ2_S": (22, 256, 82, [0]), "IQ1_M": (29, 256, 56, []),
    "Q8_K": (15, 256, 292, []), "F64": (28, 1, 8, []), "Q1_0": (41, 128, 18, [0]),
}
OTHERS = {42: (64, 18)}
IQ4 = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113]
rng = random.Random(20260102)


def f16(x):
    return struct.pack("<e", x)


def f32(x):
    return struct.unpack("<f", struct.pack("<f", x))[0]


def half(block, at):
    return struct.unpack_from("<e", block, at)[0]


def floats(name, n):
    values = [rng.uniform(-1, 1) for _ in range(n)]
    if name == "F32":
        return struct.pack("<%df" % n, *values)
    if name == "F16":
        return struct.pack("<%de" % n, *values)
    if name == "F64":
        return struct.pack("<%dd" % n, *values)
    return b"".join(struct.pack("<f", v)[2:] for v in values)


def one_block(name):
    block = bytearray(rng.randbytes(TYPES[name][2]))
    for at in TYPES[name][3]:
        block[at:at + 2] = f16(rng.choice([-1, 1]) * rng.uniform(1e-6, 0.02))
    if name == "MXFP4":
        block[0] = rng.randrange(115, 125)
    if name == "NVFP4":
        block[0:4] = bytes(rng.randrange(0, 0x40) for _ in range(4))
    if name == "Q8_K":
        block[0:4] = struct.pack("<f", rng.uniform(1e-6, 0.02))
    if name == "IQ1_M":			# an F16 in the highest nibbles of four words
        bits = struct.unpack("<H", f16(rng.uniform(1e-6, 0.02)))[0]
        for i in range(4):
            block[49 + 2 * i] = block[49 + 2 * i] & 15 | (bits >> 4 * i & 15) << 4
    return bytes(block)


def data_of(name, shape):
    n = 1
    for d in shape:
        n *= d
    if name in ("F32", "F16", "BF16", "F64"):
        return floats(name, n)
    return b"".join(one_block(name) for _ in range(n // TYPES[name][1]))


def write(path, tensors, cut=0, part=None):
    """tensors: (name, type number, shape outermost first, bytes); part: number, count, tensors"""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), 5 if part else 2)

    def text(s):
        return struct.pack("<Q", len(s)) + s.encode()

    head += text("general.architecture") + struct.pack("<I", 8) + text("test")
    head += text("general.alignment") + struct.pack("<II", 4, 64)
    if part:
        head += text("split.no") + struct.pack("<IH", 2, part[0])
        head += text("split.count") + struct.pack("<IH", 2, part[1])
        head += text("split.tensors.count") + struct.pack("<Ii", 5, part[2])
    at = 0
    for name, number, shape, data in tensors:
        head += text(name) + struct.pack("<I", len(shape))
        head += struct.pack("<%dQ" % len(shape), *reversed(shape)) + struct.pack("<IQ", number, at)
        at += -(-len(data) // 64) * 64
    body = b"".join(d + b"\0" * (-len(d) % 64) for _, _, _, d in tensors)
    out = head + b"\0" * (-len(head) % 64) + body
    with open(path, "wb") as f:
        f.write(out[:len(out) - cut])


def tensor(name, kind, shape):
    return (name, TYPES[kind][0], shape, data_of(kind, shape))


def everything():
    """Rows of every kind of number: one, a group, a group and one, many."""
    rows = [1, 15, 16, 17, 33, 64, 100]
    out = [tensor("token_embd.weight", "Q8_0", [500, 256])]
    for i, kind in enumerate(TYPES):
        k = 256 * (1 + i % 3)
        out.append(tensor("blk.%d.ffn_up.weight" % i, kind, [rows[i % 7], k]))
        out.append(tensor("blk.%d.attn_norm.weight" % i, "F32", [k]))
    for kind in ("Q4_K", "MXFP4", "Q5_0", "Q8_0", "F16"):
        out.append(tensor("blk.0.ffn_%s_exps.weight" % kind, kind, [3, 33, 512]))
    # Blocks of 32 in a row that is no multiple of 128, nor of 64.
    out.append(tensor("narrow.weight", "Q5_0", [37, 96]))
    out.append(tensor("output_norm.weight", "F32", [256]))
    return out


# --- what blocks hold, and Q8_0 of it --------------------------------------

def q4_0(b):
    return half(b, 0), [x & 15 for x in b[2:]] + [x >> 4 for x in b[2:]], -8


def q5_0(b):
    high = struct.unpack_from("<I", b, 2)[0]
    low = [x & 15 for x in b[6:]] + [x >> 4 for x in b[6:]]
    return half(b, 0), [v | (high >> j & 1) << 4 for j, v in enumerate(low)], -16


def iq4_nl(b):
    return half(b, 0), [IQ4[x & 15] for x in b[2:]] + [IQ4[x >> 4] for x in b[2:]], 0


def q4_k(b):
    d, dmin, out = half(b, 0), half(b, 2), []
    for i in range(8):
        if i < 4:
            scale, least = b[4 + i] & 63, b[8 + i] & 63
        else:
            scale = b[8 + i] & 15 | b[i] >> 6 << 4
            least = b[8 + i] >> 4 | b[4 + i] >> 6 << 4
        codes = b[16 + i // 2 * 32:48 + i // 2 * 32]
        out += [f32(d * scale * (c >> 4 * (i % 2) & 15) - dmin * least) for c in codes]
    return out


def q6_k(b):
    d, out = half(b, 208), []
    for i in range(256):
        part, j = i // 128, i % 128
        low = b[64 * part + j % 64] >> 4 * (j // 64) & 15
        high = b[128 + 32 * part + j % 32] >> 2 * (j // 32) & 3
        scale = struct.unpack_from("<b", b, 192 + i // 16)[0]
        out.append(f32(d * scale * ((low | high << 4) - 32)))
    return out


def q8_exact(parts):
    d, codes, add = parts
    return f16(d) + struct.pack("<32b", *[c + add for c in codes])


def q8_rounded(values):
    """As INT8 is packed: d = max / 127 in f32, then F16; to nearest even, within 127."""
    d = half(f16(f32(max(map(abs, values)) / 127)), 0)
    codes = [max(-127, min(127, round(v / d))) if d else 0 for v in values]
    return f16(d) + struct.pack("<32b", *codes)


def as_q8(kind, data):
    size, out = TYPES[kind][2], []
    exact = {"Q4_0": q4_0, "Q5_0": q5_0, "IQ4_NL": iq4_nl}
    rounded = {"Q4_K": q4_k, "Q6_K": q6_k}
    for at in range(0, len(data), size):
        block = data[at:at + size]
        if kind in exact:
            out.append(q8_exact(exact[kind](block)))
            continue
        values = rounded[kind](block)
        out += [q8_rounded(values[i:i + 32]) for i in range(0, 256, 32)]
    return b"".join(out)


def packed(to_q8):
    out = []
    for i, kind in enumerate(("Q4_0", "Q5_0", "IQ4_NL", "Q4_K", "Q6_K")):
        for shape in ([19 + i, 512], [2, 33, 256]):
            data = data_of(kind, shape)
            number = TYPES["Q8_0" if to_q8 else kind][0]
            out.append(("blk.%d.%d" % (i, len(shape)), number, shape,
                        as_q8(kind, data) if to_q8 else data))
    return out


def main(what, path, number=None):
    if what in ("all", "cut"):
        write(path, everything(), what == "cut")
    elif what in ("blocks", "q8"):
        write(path, packed(what == "q8"))
    elif what == "split":
        tensors = packed(False)
        for i in range(3):
            write("%s-%05d-of-00003.gguf" % (path, i + 1), tensors[4 * i:4 * i + 4],
                  part=(i, 3, len(tensors)))
    elif what == "type":
        values, size = OTHERS[int(number)]
        write(path, [tensor("token_embd.weight", "F16", [8, 256]),
                     ("blk.0.ffn_up.weight", int(number), [8, 256], bytes(8 * 256 // values * size))])
    elif what == "infinite":
        data = bytearray(data_of("Q5_0", [40, 64]))
        data[-22:-20] = f16(float("inf"))
        write(path, [("blk.0.ffn_up.weight", 6, [40, 64], bytes(data))])
    else:
        sys.exit("unknown " + what)


main(*sys.argv[1:])
