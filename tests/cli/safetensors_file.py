# SPDX-License-Identifier: MIT
# A safetensors file that a test makes up, tensor by tensor.
import json, struct

class File:
    def __init__(self):
        self.head, self.data = {}, b""

    def add(self, name, dtype, shape, data):
        self.head[name] = {"dtype": dtype, "shape": shape,
                           "data_offsets": [len(self.data), len(self.data) + len(data)]}
        self.data += data

    def write(self, path):
        head = json.dumps(self.head).encode()
        open(path, "wb").write(struct.pack("<Q", len(head)) + head + self.data)
