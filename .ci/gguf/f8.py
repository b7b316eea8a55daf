"""Compares F8 checkpoints as r1 convert reads them with transformers' dequantisation to bfloat16.

python f8.py R1 OUT: (1) every F8_E4M3 value times scales of several kinds, in random and partial blocks, by the function that
transformers dequantises with; (2) a whole random model with a quantization_config, loaded by transformers with dequantize=True.
"""
import json
import os
import subprocess
import sys

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM, FineGrainedFP8Config, Qwen3Config
from transformers.integrations.finegrained_fp8 import Fp8Dequantize

r1, out = sys.argv[1:]
torch.manual_seed(20261124)
F8 = torch.float8_e4m3fn


def quantise(w, block=128):
    rows, cols = w.shape
    s = torch.empty(-(-rows // block), -(-cols // block))
    q = torch.empty(rows, cols, dtype=F8)
    for i in range(s.shape[0]):
        for j in range(s.shape[1]):
            part = w[i * block : (i + 1) * block, j * block : (j + 1) * block]
            s[i, j] = part.abs().max() / 448
            q[i * block : (i + 1) * block, j * block : (j + 1) * block] = (part / s[i, j]).to(F8)
    return q, s


def model(folder):
    c = Qwen3Config(vocab_size=300, hidden_size=256, intermediate_size=384, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=64,
                    max_position_embeddings=64, tie_word_embeddings=False)
    m = AutoModelForCausalLM.from_config(c, dtype=torch.bfloat16)
    state, n = {}, 0
    for k, v in m.state_dict().items():
        if v.dim() == 2 and "_proj" in k:
            state[k], state[k + "_scale_inv"] = quantise(v.float() * torch.rand_like(v.float()))
            n += 1
        else:
            state[k] = v.contiguous()
    # Every value of the type, and scales at the ends of what bfloat16 keeps.
    k = "model.layers.0.mlp.gate_proj.weight"
    finite = torch.tensor([b for b in range(256) if b & 127 != 127], dtype=torch.uint8)
    state[k] = finite[torch.randint(0, len(finite), tuple(state[k].shape))].view(F8)
    state[k + "_scale_inv"] = torch.tensor([[1e-3, 1e-38], [3e35, 1.0], [0.1, 7e-40]])
    m.save_pretrained(folder)
    save_file(state, folder + "/model.safetensors", metadata={"format": "pt"})
    config = json.load(open(folder + "/config.json"))
    config["quantization_config"] = {"activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8", "weight_block_size": [128, 128]}
    json.dump(config, open(folder + "/config.json", "w"))
    return state, n


folder = out + "/f8"
state, n = model(folder)
for dtype in "bf16", "f32":
    subprocess.run([r1, "convert", folder, f"{folder}-{dtype}", "--dtype", dtype], check=True)
got, wide = load_file(folder + "-bf16/model.safetensors"), load_file(folder + "-f32/model.safetensors")
assert "quantization_config" not in json.load(open(folder + "-bf16/config.json"))
op = Fp8Dequantize(None)
for k, v in state.items():
    if k.endswith("_scale_inv"):
        continue
    want = v
    if k + "_scale_inv" in state:
        want = op._dequantize_one(v, state[k + "_scale_inv"], torch.bfloat16)
    assert got[k].dtype == torch.bfloat16 and torch.equal(got[k].view(torch.int16), want.view(torch.int16)), k
    assert torch.equal(wide[k], want.float()), k
theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, quantization_config=FineGrainedFP8Config(dequantize=True)).state_dict()
assert theirs.keys() == got.keys(), theirs.keys() ^ got.keys()
for k, v in theirs.items():
    assert v.dtype == torch.bfloat16 and torch.equal(v.view(torch.int16), got[k].view(torch.int16)), k
print(f"ok F8: {n} matrices in blocks of 128 x 128, bit for bit as transformers loads them in bfloat16")

for name, config in {
    "awq": {"quant_method": "awq", "bits": 4}, "gptq": {"quant_method": "gptq", "bits": 4}, "bitsandbytes": {"load_in_4bit": True, "quant_method": "bitsandbytes"},
    "compressed-tensors": {"quant_method": "compressed-tensors"}, "mxfp4": {"quant_method": "mxfp4"},
}.items():
    j = json.load(open(folder + "/config.json"))
    j["quantization_config"] = config
    os.makedirs(f"{out}/{name}", exist_ok=True)
    json.dump(j, open(f"{out}/{name}/config.json", "w"))
    done = subprocess.run([r1, "info", f"{out}/{name}"], capture_output=True, text=True)
    assert done.returncode == 1 and f'"{name}"' in done.stderr and "GGUF" in done.stderr, (name, done)
print("ok: awq, gptq, bitsandbytes, compressed-tensors, mxfp4 are refused by name")
