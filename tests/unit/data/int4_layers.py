# SPDX-License-Identifier: MIT
"""
Writes int4_layers.safetensors: layers as AWQ and GPTQ checkpoints have them, and their values.

	python3 tests/unit/data/int4_layers.py tests/unit/data/int4_layers.safetensors

For each case there are CASE.qweight, CASE.qzeros, CASE.scales, GPTQ's CASE.g_idx, and CASE.values,
F32 [outputs][inputs].  Codes, zero points and scales are drawn from a fixed seed; the values are
computed from these, and the tensors packed from these as the packers of AutoAWQ and GPTQModel do:

	AWQ	place i of word j has output 8 j + (0 2 4 6 1 3 5 7)[i]; zero points as they are
	GPTQ	place i of word j has number 8 j + i, in qweight of the inputs, in qzeros of the
		outputs; zero points less one, but not in gptq_v2

so that nothing here unpacks.  Scales have either sign, are subnormal, the largest finite F16, and
zero.  Every value is exact in F32.
"""
import json
import random
import struct
import sys

# name, group size (-1: all inputs), inputs, outputs, whether all zero points are 8
CASES = [
    ("32", 32, 96, 24, False), ("64", 64, 192, 8, False), ("128", 128, 256, 8, False),
    ("all", -1, 160, 8, False), ("even_32", 32, 64, 8, True), ("even_64", 64, 64, 8, True),
    ("even_128", 128, 128, 8, True), ("even_all", -1, 128, 16, True), ("least", 32, 32, 8, False),
]
SHORT = ("short", 128, 320, 8, False)		# GPTQ: the last group has 64 inputs
SPECIAL = [0x0001, 0x8001, 0x02af, 0x83ff, 0x7bff, 0xfbff, 0x0000, 0x8000]


def word(nibbles):
    return sum(code << 4 * i for i, code in enumerate(nibbles))


def words(rows):
    return b"".join(struct.pack("<%dI" % len(row), *row) for row in rows)


def awq_words(rows):				# [..][outputs]
    return words([[word([row[j + o] for o in (0, 2, 4, 6, 1, 3, 5, 7)])
                   for j in range(0, len(row), 8)] for row in rows])


def gptq_words(rows):				# [..][outputs], along the last
    return words([[word(row[j:j + 8]) for j in range(0, len(row), 8)] for row in rows])


def draw_scale(rng):
    if rng.random() < 0.2:
        return rng.choice(SPECIAL)
    return rng.randrange(0x1400, 0x3000) | rng.choice((0, 0, 0, 0x8000))


def as_float(half):
    return struct.unpack("<e", struct.pack("<H", half))[0]


class File:
    def __init__(self):
        self.head, self.data = {}, b""

    def add(self, name, dtype, shape, data):
        end = len(self.data) + len(data)
        self.head[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(self.data), end]}
        self.data += data

    def write(self, path):
        head = json.dumps(self.head, separators=(",", ":")).encode()
        with open(path, "wb") as f:
            f.write(struct.pack("<Q", len(head)) + head + self.data)


def add_layer(out, scheme, case, rng):
    name, group, k, n, even = case
    name = scheme + "_" + name
    size = k if group < 0 else group
    groups = -(-k // size)
    least = 1 if scheme == "gptq" else 0
    codes = [[rng.randrange(16) for _ in range(n)] for _ in range(k)]
    zeros = [[8 if even else rng.randrange(16) + least for _ in range(n)] for _ in range(groups)]
    scales = [[draw_scale(rng) for _ in range(n)] for _ in range(groups)]
    values = [(codes[c][r] - zeros[c // size][r]) * as_float(scales[c // size][r])
              for r in range(n) for c in range(k)]

    if scheme == "awq":
        out.add(name + ".qweight", "I32", [k, n // 8], awq_words(codes))
        out.add(name + ".qzeros", "I32", [groups, n // 8], awq_words(zeros))
    else:
        along = [[word([codes[j + i][r] for i in range(8)]) for r in range(n)]
                 for j in range(0, k, 8)]
        out.add(name + ".qweight", "I32", [k // 8, n], words(along))
        out.add(name + ".qzeros", "I32", [groups, n // 8],
                gptq_words([[zero - least for zero in row] for row in zeros]))
        if case[0] != "least":
            out.add(name + ".g_idx", "I32", [k], struct.pack("<%di" % k, *(c // size for c in range(k))))
    out.add(name + ".scales", "F16", [groups, n],
            b"".join(struct.pack("<%dH" % n, *row) for row in scales))
    packed = struct.pack("<%df" % len(values), *values)
    assert list(struct.unpack("<%df" % len(values), packed)) == values
    out.add(name + ".values", "F32", [n, k], packed)


def main(path):
    rng = random.Random(20260101)
    out = File()
    for scheme in ("awq", "gptq", "gptq_v2"):
        for case in CASES + ([] if scheme == "awq" else [SHORT]):
            add_layer(out, scheme, case, rng)
    out.write(path)


main(sys.argv[1])
