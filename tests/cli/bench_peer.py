#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
#
# A peer as bench/peers/ggml_serve.c that has products of bf16 in two kinds of buffer, the second of
# which is the faster. ERROR: relative error of each output, up and down by turns.
import os
import struct
import sys


def numbers(seed):
    state = seed
    while True:
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        yield state >> 32


def number(random):
    return struct.unpack("f", struct.pack("f", (random - 2**32 * (random >> 31)) * 2.0**-31))[0]


# bench/peers/values.h: the upper half of every second number.
def weights(count):
    draw = numbers(2)
    for _ in range(count):
        next(draw)
        half = struct.pack("f", number(next(draw)))[2:]
        yield struct.unpack("f", b"\0\0" + half)[0]


def outputs(n, k, m, count):
    draw = numbers(1)
    x = [number(next(draw)) for _ in range(m * k)]
    w = list(weights(n * k))
    error = float(os.environ.get("ERROR", "0"))
    part = m * n // count if count else 0
    for i in range(count):
        row, column = divmod(part * i + i * 7 % part, n)
        y = sum(a * b for a, b in zip(x[row * k:][:k], w[column * k:][:k]))
        yield y * (1 + error * (-1) ** i)


def main():
    shape = (0, 0)
    print("ok 9.9", flush=True)
    for line in sys.stdin:
        what, name, *rest = line.split()
        rest = [int(number) for number in rest]
        if what == "matmul" and name == "bf16":
            shape = rest[:2]
            print("ok SLOW FAST", flush=True)
        elif what == "matmul":
            print("error no products of type", name, flush=True)
        elif what == "run":
            seconds = 0.002 if name == "FAST" else 0.004
            print("ok", seconds, *outputs(*shape, rest[0], rest[3]), flush=True)


main()
