# SPDX-License-Identifier: MIT
"""
Writes gguf_blocks.gguf: blocks of every GGUF type that weights are packed from, and the values
that another implementation gives them.  For each type the file holds two tensors:

	TYPE		blocks, in rows of one block, as bytes that no quantiser chose
	TYPE.values	F32, the same shape: gguf.quants.dequantize() of them

Both the values and the file are made by the package `gguf` of PyPI (version 0.19.0, MIT licence,
by the authors of the format), which shares nothing with our code:

	python3 -m venv venv && venv/bin/pip install gguf==0.19.0 numpy==2.4.6
	venv/bin/python tests/unit/data/gguf_blocks.py tests/unit/data/gguf_blocks.gguf

The bytes are random from a fixed seed.  Then the F16 scales and minima are set, one kind a block:
normal; the smallest subnormal; a larger subnormal and a negative one; the largest finite; zero.
The last block has all other bytes 0xff, the one before all 0x00.  IQ1_M has its F16 in the highest
nibbles of four words.  Q8_K has an F32 (here one of those F16 times 1.1), and its values are
written here, because the package has none for it: the F32 times each of 256 signed bytes.  So are
Q1_0's: the F16, or less than zero by it, for each of 128 bits, the lowest of a byte first.
"""
import sys

import gguf
import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType as T

# Where a block has its F16 numbers.
HALVES = {
    T.Q8_0: [0], T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q2_K: [80, 82],
    T.Q3_K: [108], T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208], T.IQ4_NL: [0], T.IQ4_XS: [0],
    T.NVFP4: [], T.TQ1_0: [52], T.TQ2_0: [64], T.IQ1_S: [0], T.IQ1_M: [], T.IQ2_XXS: [0],
    T.IQ2_XS: [0], T.IQ2_S: [0], T.IQ3_XXS: [0], T.IQ3_S: [0], T.Q8_K: [],
    T.Q1_0: [0],
}
KINDS = [(0x2a3c, 0x31d7), (0x0001, 0x8001), (0x02af, 0x8333), (0x7bff, 0xfbff), (0x0000, 0x8000),
         (0x9c01, 0x1401), (0x3c00, 0x3c00), (0x3555, 0x2eef)]


def blocks_of(kind, rng):
    size = GGML_QUANT_SIZES[kind][1]
    blocks = rng.integers(0, 256, (len(KINDS), size), dtype=np.uint8)
    blocks[-2] = 0
    blocks[-1] = 0xff
    for block, halves in zip(blocks, KINDS):
        for at, bits in zip(HALVES[kind], halves):
            block[at] = bits & 255
            block[at + 1] = bits >> 8
    for block, halves in zip(blocks, KINDS):
        if kind == T.IQ1_M:
            for i in range(4):
                block[49 + 2 * i] = block[49 + 2 * i] & 15 | (halves[0] >> 4 * i & 15) << 4
        if kind == T.Q8_K:
            scale = np.array(halves[:1], np.uint16).view(np.float16).astype(np.float32)
            block[:4] = (scale * np.float32(1.1)).view(np.uint8)
    return blocks


def values_of(blocks, kind):
    if kind == T.Q8_K:
        scales = blocks[:, :4].copy().view(np.float32)
        return scales * blocks[:, 4:260].view(np.int8).astype(np.float32)
    if kind == T.Q1_0:
        scales = blocks[:, :2].copy().view(np.float16).astype(np.float32)
        return np.where(np.unpackbits(blocks[:, 2:], axis=1, bitorder="little"), scales, -scales)
    return gguf.quants.dequantize(blocks, kind).astype(np.float32)


def main(path):
    rng = np.random.default_rng(20260101)
    writer = gguf.GGUFWriter(path, "blocks")
    for kind in HALVES:
        blocks = blocks_of(kind, rng)
        values = values_of(blocks, kind)
        writer.add_tensor(kind.name, blocks, raw_dtype=kind)
        writer.add_tensor(kind.name + ".values", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


main(sys.argv[1])
