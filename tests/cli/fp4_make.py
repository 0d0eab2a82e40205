# SPDX-License-Identifier: MIT
# Safetensors files with F4, and what their values are.
#   fp4_make.py plain OUT TWIN		F4 that has no scales; the twin has its values in F32
#   fp4_make.py mx OUT TWIN		F4 beside its E8M0 scales; the twin has values times scales in F32
#   fp4_make.py CASE OUT		one matrix that is refused
# The values are read off the definitions here: OCP MX v1.0, 5.3.3, the first of two in the low
# nibble (PyTorch, float4_e2m1fn_x2).
import random, struct, sys

sys.dont_write_bytecode = True
from safetensors_file import File

N, K, EXPERTS = 300, 416, 3
rng = random.Random(11)

def e2m1(code):
    sign = -1.0 if code & 8 else 1.0
    exponent, mantissa = code >> 1 & 3, code & 1
    return sign * (mantissa * 0.5 if exponent == 0 else (1 + mantissa / 2) * 2.0 ** (exponent - 1))

def values_of(data):
    return [e2m1(c) for byte in data for c in (byte & 15, byte >> 4)]

def f32(values):
    return struct.pack("<%df" % len(values), *values)

def plain(out, twin):
    for name, shape in (("a.weight", [N, K]), ("b.weight", [17, 34]), ("c.experts", [EXPERTS, N, K])):
        n = 1
        for d in shape:
            n *= d
        data = rng.randbytes(n // 2)
        out.add(name, "F4", shape, data)
        twin.add(name, "F32", shape, f32(values_of(data)))

# The scales lie before their weights, or behind them.
def mx(out, twin):
    for name, scale, dtype, shape in (("a.weight", "a.weight_scale", "F8_E8M0", [N, K]),
                                      ("b.weight", "b.scale", "U8", [17, 32]),
                                      ("c.experts", "c.experts_scale_inv", "F8_E8M0", [EXPERTS, N, K])):
        count = 1
        for d in shape:
            count *= d
        data, scales = rng.randbytes(count // 2), bytes(rng.randint(110, 130) for _ in range(count // 32))
        if scale < name:
            out.add(scale, dtype, shape[:-1] + [shape[-1] // 32], scales)
        out.add(name, "F4", shape, data)
        if scale > name:
            out.add(scale, dtype, shape[:-1] + [shape[-1] // 32], scales)
        twin.add(name, "F32", shape, f32([v * 2.0 ** (scales[i // 32] - 127)
                                          for i, v in enumerate(values_of(data))]))

def main():
    case, out, twin = sys.argv[1], File(), File()
    if case == "plain":
        plain(out, twin)
    elif case == "mx":
        mx(out, twin)
    elif case == "narrow":		# a scale for each 16 values: NVFP4 has such
        out.add("w.weight", "F4", [40, 128], rng.randbytes(40 * 64))
        out.add("w.weight_scale", "F8_E8M0", [40, 8], bytes(40 * 8))
    elif case == "e4m3":
        out.add("w.weight", "F4", [40, 128], rng.randbytes(40 * 64))
        out.add("w.weight_scale", "F8_E4M3", [40, 4], bytes(40 * 4))
    elif case == "odd":			# rows that end within a byte
        out.add("w.weight", "F4", [4, 33], rng.randbytes(66))
    elif case in ("F6_E2M3", "F6_E3M2"):
        out.add("w.weight", case, [40, 128], rng.randbytes(40 * 128 * 6 // 8))
    else:
        sys.exit("no case " + case)
    out.write(sys.argv[2])
    if len(sys.argv) > 3:
        twin.write(sys.argv[3])

main()
