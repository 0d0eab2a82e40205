# SPDX-License-Identifier: MIT
"""
Writes libvgpu/kernels/pack/grids.c: the codebooks of GGUF's IQ1, IQ2 and IQ3 types, which are
part of the format, from the package `gguf` of PyPI (see gguf_blocks.py):

	venv/bin/python tests/unit/data/gguf_grids.py > libvgpu/kernels/pack/grids.c

An entry has the place of each of its values in the list of values that the type knows, two or
three bits each, the first value lowest.
"""
from gguf import quants

TABLES = [("iq1", quants.IQ1_S, 2), ("iq2_xxs", quants.IQ2_XXS, 2), ("iq2_xs", quants.IQ2_XS, 2),
          ("iq2_s", quants.IQ2_S, 2), ("iq3_xxs", quants.IQ3_XXS, 3), ("iq3_s", quants.IQ3_S, 3)]

print("// SPDX-License-Identifier: MIT")
print("/* Made by tests/unit/data/gguf_grids.py, which says what an entry is. */")
print('#include "kernels/pack/grids.h"')
for name, kind, bits in TABLES:
    kind.init_grid()
    rows = kind.grid.reshape(kind.grid_shape)
    places = {float(v): i for i, v in enumerate(kind.grid_map)}
    entries = [sum(places[float(v)] << bits * j for j, v in enumerate(row)) for row in rows]
    print("\nconst uint16_t vgpu_grid_%s[%d] = {" % (name, len(entries)))
    for i in range(0, len(entries), 10):
        print("\t" + " ".join("0x%04x," % e for e in entries[i:i + 10]))
    print("};")
