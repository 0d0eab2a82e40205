# SPDX-License-Identifier: MIT
# FP8 checkpoints with scales in tensors of their own, and what their values are, in F32.
#   fp8_make.py CASE OUT.safetensors [TWIN.safetensors]
# The twin has each matrix in F32, its values multiplied by the scales, read off the rules of
# the formats here and not off our code.
import math, random, struct, sys

sys.dont_write_bytecode = True
from safetensors_file import File

N, K, EXPERTS = 300, 416, 3		# the last block of 128 is cut, down and across
rng = random.Random(7)

def f8(code, exponent_bits):
    mantissa_bits = 7 - exponent_bits
    bias = (1 << (exponent_bits - 1)) - 1
    sign = -1.0 if code & 0x80 else 1.0
    exponent, mantissa = (code & 0x7f) >> mantissa_bits, code & ((1 << mantissa_bits) - 1)
    if exponent == 0:
        return sign * mantissa * 2.0 ** (1 - bias - mantissa_bits)
    return sign * (1 + mantissa / (1 << mantissa_bits)) * 2.0 ** (exponent - bias)

def codes(n):				# finite in both formats
    good = [c for c in range(256) if c % 128 < 0x7c]
    return bytes(rng.choice(good) for _ in range(n))

def as_f32(x):
    return struct.unpack("<f", struct.pack("<f", x))[0]

def as_bf16(x):				# cut, not rounded: any bits will do for a scale
    return struct.unpack("<f", b"\0\0" + struct.pack("<f", x)[2:])[0]

def scale_bytes(dtype, values):
    if dtype in ("U8", "F8_E8M0"):	# powers of two: their exponents
        return bytes(127 + math.frexp(v)[1] - 1 for v in values)
    if dtype == "BF16":
        return b"".join(struct.pack("<f", v)[2:] for v in values)
    return b"".join(struct.pack("<e" if dtype == "F16" else "<f", v) for v in values)

def some_scales(dtype, n):
    if dtype in ("U8", "F8_E8M0"):
        return [2.0 ** rng.randint(-9, 3) for _ in range(n)]
    made = [as_f32(2.0 ** rng.randint(-9, 3) * (1 + rng.random())) for _ in range(n)]
    if dtype == "BF16":
        return [as_bf16(v) for v in made]
    if dtype == "F16":
        return [struct.unpack("<e", struct.pack("<e", v))[0] for v in made]
    return made

def matrix(out, twin, name, scale_name, dtype, scale_dtype, stack, grid_shape, high, wide,
           N=N, K=K):
    """grid_shape: of the scale tensor; a scale for each high x wide values of a matrix"""
    n = (stack or 1) * N * K
    data = codes(n)
    down, across = -(-N // high), -(-K // wide)
    scales = some_scales(scale_dtype, (stack or 1) * down * across)
    shape = ([stack] if stack else []) + [N, K]
    values = []
    for i, code in enumerate(data):
        row, col = i // K, i % K
        at = (row // N * down + row % N // high) * across + col // wide
        values.append(f8(code, 4 if dtype == "F8_E4M3" else 5) * scales[at])
    # Scales first, so that weights do not lie where they would without.
    if scale_name < name:
        out.add(scale_name, scale_dtype, grid_shape, scale_bytes(scale_dtype, scales))
    out.add(name, dtype, shape, data)
    if scale_name >= name:
        out.add(scale_name, scale_dtype, grid_shape, scale_bytes(scale_dtype, scales))
    twin.add(name, "F32", shape, struct.pack("<%df" % n, *values))

def blocks():
    return [-(-N // 128), -(-K // 128)]

def good(out, twin):
    cases = [
        ("a.weight", "a.weight_scale_inv", "F8_E4M3", "F32", 0, blocks(), 128, 128),
        ("b.weight", "b.weight_scale", "F8_E4M3", "BF16", 0, [N, 1], 1, K),
        ("c.weight", "c.weight_scale", "F8_E5M2", "F16", 0, [N], 1, K),
        ("d.weight", "d.weight_scale", "F8_E4M3", "F32", 0, [], N, K),
        ("e.weight", "e.scale_weight", "F8_E4M3", "F32", 0, [1], N, K),
        ("f.experts", "f.experts_scale_inv", "F8_E4M3", "F32", EXPERTS, [EXPERTS] + blocks(), 128, 128),
        ("g.experts", "g.experts_scale", "F8_E4M3", "BF16", EXPERTS, [EXPERTS, N, 1], 1, K),
        ("h.experts", "h.experts_scale", "F8_E5M2", "F32", EXPERTS, [EXPERTS], N, K),
        ("j.weight", "j.weight_scale", "F8_E4M3", "U8", 0, [N, K // 32], 1, 32),	# MXFP8
        ("k.weight", "k.weight_scale_inv", "F8_E5M2", "F8_E8M0", 0, blocks(), 128, 128),
        ("i.weight", "i.weight_scale_inv", "F8_E4M3", "F32", 0, [-(-N // 64), -(-K // 64)], 64, 64),
    ]
    for c in cases:
        matrix(out, twin, *c)
    # One that has none: its values are as they lie there.
    data = codes(N * K)
    out.add("z.weight", "F8_E4M3", [N, K], data)
    twin.add("z.weight", "F32", [N, K], struct.pack("<%df" % (N * K), *(f8(c, 4) for c in data)))

# A mixture: gate and up of each expert together, and down.
def experts(out, twin):
    for layer in range(2):
        for name, n, k in (("gate_up_proj", 256, 160), ("down_proj", 160, 128)):
            name = "model.layers.%d.mlp.experts.%s" % (layer, name)
            grid = [-(-n // 128), -(-k // 128)]
            matrix(out, twin, name, name + "_scale_inv", "F8_E4M3", "BF16", 8, [8] + grid, 128, 128,
                   n, k)

def main():
    case, out, twin = sys.argv[1], File(), File()
    ones = struct.pack("<6f", *[1.0] * 6)
    if case == "good":
        good(out, twin)
    elif case == "experts":
        experts(out, twin)
    elif case == "shape":
        out.add("w.weight", "F8_E4M3", [N, K], codes(N * K))
        out.add("w.weight_scale", "F32", [3], ones[:12])	# of q, k and v in one matrix
    elif case == "dtype":
        out.add("w.weight", "F8_E4M3", [N, K], codes(N * K))
        out.add("w.weight_scale", "F64", [N, 1], bytes(8 * N))
    elif case == "int8":
        out.add("w.weight", "I8", [N, K], codes(N * K))
        out.add("w.weight_scale", "F32", [], ones[:4])
    elif case == "nvfp4":
        out.add("w.weight", "U8", [N, K // 2], codes(N * K // 2))
        out.add("w.weight_scale", "F8_E4M3", [N, K // 16], codes(N * K // 16))
        out.add("w.weight_scale_2", "F32", [], ones[:4])
    elif case == "nan":
        out.add("w.weight", "F8_E4M3", [N, K], codes(N * K))
        out.add("w.weight_scale", "F32", [], struct.pack("<f", float("nan")))
    elif case == "file1":
        out.add("w.weight", "F8_E4M3", [N, K], codes(N * K))
    elif case == "file2":
        out.add("w.weight_scale", "F32", [], ones[:4])
    else:
        sys.exit("no case " + case)
    out.write(sys.argv[2])
    if len(sys.argv) > 3:
        twin.write(sys.argv[3])

main()
