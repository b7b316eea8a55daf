"""Writes random blocks of every type to OUT.gguf and what gguf-py makes of them to OUT.safetensors.

python blocks.py OUT SEED ROWS [dirty]: each tensor has ROWS rows of 512 elements. Scales are finite halves, subnormal ones included;
"dirty" takes any bits.
"""
import sys

import gguf
import numpy as np
from safetensors.numpy import save_file

out, seed, rows = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
dirty = sys.argv[4:] == ["dirty"]
np.seterr(all="ignore")
rng = np.random.default_rng(seed)
types = "F32 F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q4_K Q5_K Q6_K".split()
# Where the half-precision scales stand in a block.
halves = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "F16": [0]}
w = gguf.GGUFWriter(out + ".gguf", "llama")
w.add_uint32("test.u32", 7)
w.add_array("test.words", ["a", "", "é"])
w.add_array("test.fractions", [0.5, -1.25])
want = {}
for name in types:
    t = gguf.GGMLQuantizationType[name]
    elems, size = gguf.GGML_QUANT_SIZES[t]
    raw = rng.integers(0, 256, (rows * 512 // elems, size), dtype=np.uint8)
    for at in [] if dirty else halves.get(name, []):
        h = raw[:, at : at + 2].copy().view(np.uint16)
        h = np.where(h & 0x7C00 == 0x7C00, h & 0xBFFF, h)  # no infinity
        raw[:, at : at + 2] = h.view(np.uint8)
    if name in ("F32", "BF16") and not dirty:
        raw[:, -1] &= 0xBF  # magnitudes below 2
    raw = raw.reshape(rows, -1)
    want[name] = gguf.quants.dequantize(raw, t).reshape(rows, 512).astype(np.float32)
    if name == "F32":
        w.add_tensor(name, raw.view(np.float32))
    elif name == "F16":
        w.add_tensor(name, raw.view(np.float16))
    else:
        w.add_tensor(name, raw, raw_dtype=t)
w.write_header_to_file()
w.write_kv_data_to_file()
w.write_tensors_to_file()
w.close()
save_file({k: np.ascontiguousarray(v) for k, v in want.items()}, out + ".safetensors")
