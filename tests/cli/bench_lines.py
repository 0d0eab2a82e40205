#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
#
# Check lines of build/bench.jsonl against Documentation/bench.md.
#
#   bench_lines.py FILE NAME...
#
# Every NAME must have a line. Prints what is wrong, one line each; exit status 1 then.
import json
import sys

# Which figure is the better one, by unit.
LESS = {"s", "ms a text", "bytes a token", "perplexity"}
MORE = {"GF/s", "GB/s", "1/s", "uses/read"}

TEXTS = ("bench", "weight", "mode", "residency", "policy", "routing", "unit", "peer")
COUNTS = ("m", "n", "k", "experts", "used", "threads", "runs")
NUMBERS = ("ours", "theirs", "ratio", "bound", "fraction", "round_trip_ns")
ERRORS = ("nmse", "peer_nmse")
RESIDENCIES = {"dram", "cache", "nvme"}

# Parameters that a bench has on each line, beside bench, unit, ours and runs.
PARAMETERS = {
    "matmul": "weight mode m n k threads residency bound nmse",
    "transposed": "weight mode m n k threads residency peer bound nmse",
    "pack": "weight n k threads residency bound",
    "decode": "weight n k threads residency bound",
    "acts": "mode m k threads residency bound",
    "pack_file": "weight n k threads residency bound",
    "packed_read": "weight n k threads residency peer",
    "attention": "weight mode m threads bound",
    "moe": "weight mode m n k experts used routing threads residency bound",
    "io": "residency peer bound",
    "crc32c": "threads residency",
    "pool": "mode threads peer",
    "policy-": "policy peer bound",
    "submit": "mode threads peer bound",
    "fault": "mode residency peer",
    "page_in": "mode residency peer",
    "broker": "mode threads peer",
    "share": "mode threads peer",
    "embed": "weight mode threads residency policy peer bound",
    "tokens": "weight mode threads residency bound",
    "quality": "weight mode peer model text context perplexity_error excess excess_error kl kl_p99 top1 nmse",
    "stream": "weight mode m threads residency policy peer bound compute compute_share",
    "route": "weight mode m threads residency policy peer bound seed",
}


def near(a, b):
    return abs(a - b) <= 1e-3 * abs(b)


def types(line):
    for key, value in line.items():
        if isinstance(value, (dict, list)) or value is None:
            yield f"{key} is not flat"
        if key in TEXTS and not (isinstance(value, str) and value):
            yield f"{key} is no text"
        if key in COUNTS and not (type(value) is int and value > 0):
            yield f"{key} is no count"
        if key in NUMBERS and not (type(value) in (int, float) and value > 0):
            yield f"{key} is no number above 0"
        if key in ERRORS and not (type(value) in (int, float) and value >= 0):
            yield f"{key} is no error"


def keys(line):
    name = line["bench"]
    name = "policy-" if name.startswith("policy-") else name
    if name not in PARAMETERS:
        yield "bench is not known"
    for key in ("unit ours runs " + PARAMETERS.get(name, "")).split():
        if key not in line:
            yield f"{key} is missing"
    if len({key in line for key in ("peer", "theirs", "ratio")}) > 1:
        yield "peer, theirs and ratio go together"
    if ("bound" in line) != ("fraction" in line):
        yield "bound and fraction go together"
    if line.get("residency", "dram") not in RESIDENCIES:
        yield "residency is not known"


# Above 1: we are better; a fraction is the part of the bound that we reach.
def quotient(line, of, other):
    if other not in line:
        return
    wanted = line["ours"] / line[other]
    if line["unit"] in LESS:
        wanted = 1 / wanted
    if not near(line[of], wanted):
        yield f"{of} is {line[of]}, must be {wanted:.6g}"


def wrong(text):
    try:
        line = json.loads(text)
    except ValueError as error:
        return [f"no JSON: {error}"]
    if not isinstance(line, dict) or not isinstance(line.get("bench"), str):
        return ["no object with a bench"]
    found = [*types(line), *keys(line)]
    if line.get("unit") not in LESS | MORE:
        found.append("unit is not known")
    return found or [*quotient(line, "ratio", "theirs"), *quotient(line, "fraction", "bound")]


def main():
    status = 0
    seen = set()
    with open(sys.argv[1], encoding="utf-8") as lines:
        for number, text in enumerate(lines, 1):
            for what in wrong(text):
                print(f"{number}: {what}: {text.strip()}")
                status = 1
            if not status:
                seen.add(json.loads(text)["bench"])
    for name in sys.argv[2:]:
        if not any(bench == name or name.endswith("-") and bench.startswith(name)
                   for bench in seen):
            print(f"no line of {name}")
            status = 1
    return status


sys.exit(main())
