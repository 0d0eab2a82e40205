# SPDX-License-Identifier: MIT
# A checkpoint of one matrix with few rows of very many columns.
#   wide_make.py F32|F8_E4M3|MXFP4 ROWS COLS OUT.safetensors
import json, random, struct, sys

dtype, n, k, path = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
rng = random.Random(3)
tensors = {
    "F32": [("w", "F32", [n, k], struct.pack("<1024f", *(rng.gauss(0, 1) for _ in range(1024))))],
    "F8_E4M3": [("w", "F8_E4M3", [n, k], bytes(rng.randrange(0x7c) for _ in range(1024)))],
    "MXFP4": [("w_blocks", "U8", [n, k // 32, 16], rng.randbytes(512)),
              ("w_scales", "U8", [n, k // 32], bytes(rng.randrange(120, 128) for _ in range(32)))],
}[dtype]
size = {"F32": 4 * n * k, "F8_E4M3": n * k, "w_blocks": n * k // 2, "w_scales": n * k // 32}
head, at = {}, 0
for name, kind, shape, _ in tensors:
    length = size[name if dtype == "MXFP4" else dtype]
    head[name] = {"dtype": kind, "shape": shape, "data_offsets": [at, at + length]}
    at += length
text = json.dumps(head).encode()
with open(path, "wb") as f:
    f.write(struct.pack("<Q", len(text)) + text)
    for name, kind, shape, pattern in tensors:
        length = size[name if dtype == "MXFP4" else dtype]
        for _ in range(length // len(pattern) // n):
            f.write(pattern * n)
