"""Writes golden checkpoints as GGUF files and checks what r1 convert makes of them.

python families.py R1 GOLDEN OUT: names come from gguf-py's table, row order and norms as llama.cpp's converter has them; the converted
folder must hold the golden tensors' bits (Gemma's norms: those of (w + 1) - 1), the golden config.json's numbers, and the bits that
transformers' own GGUF loader reads.
"""
import json
import math
import os
import re
import subprocess
import sys

import gguf
import numpy as np
import torch
from safetensors.numpy import load_file
from transformers import AutoConfig, AutoModelForCausalLM

r1, golden, out = sys.argv[1:]
arch_of = {"llama": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "qwen3_moe": "qwen3moe", "gemma3_text": "gemma3"}


def write(name, path):
    c = json.load(open(f"{golden}/{name}/config.json"))
    tensors = load_file(f"{golden}/{name}/model.safetensors")
    arch = arch_of[c["model_type"]]
    table = gguf.get_tensor_name_map(getattr(gguf.MODEL_ARCH, {"qwen3moe": "QWEN3MOE"}.get(arch, arch.upper())), c["num_hidden_layers"])
    w = gguf.GGUFWriter(path, arch)
    w.add_context_length(c["max_position_embeddings"])
    w.add_embedding_length(c["hidden_size"])
    w.add_block_count(c["num_hidden_layers"])
    w.add_feed_forward_length(c["intermediate_size"])
    w.add_head_count(c["num_attention_heads"])
    w.add_head_count_kv(c["num_key_value_heads"])
    head = c.get("head_dim", c["hidden_size"] // c["num_attention_heads"])
    w.add_key_length(head)
    w.add_value_length(head)
    w.add_layer_norm_rms_eps(c["rms_norm_eps"])
    w.add_vocab_size(c["vocab_size"])
    rope = c["rope_parameters"].get("full_attention", c["rope_parameters"])
    w.add_rope_freq_base(rope["rope_theta"])
    w.add_bos_token_id(c["bos_token_id"])
    w.add_eos_token_id(c["eos_token_id"])
    w.add_pad_token_id(c["pad_token_id"])
    if arch == "gemma3":
        w.add_sliding_window(c["sliding_window"])
    if arch == "qwen3moe":
        w.add_expert_count(c["num_local_experts"])
        w.add_expert_used_count(c["num_experts_per_tok"])
        w.add_expert_feed_forward_length(c["moe_intermediate_size"])
    if rope["rope_type"] in ("linear", "yarn"):
        w.add_rope_scaling_type(getattr(gguf.RopeScalingType, rope["rope_type"].upper()))
        w.add_rope_scaling_factor(rope["factor"])
        if rope["rope_type"] == "yarn":
            w.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    if rope["rope_type"] == "llama3":
        freqs = 1.0 / (rope["rope_theta"] ** (torch.arange(0, head, 2, dtype=torch.float32) / head))
        old, low, high = rope["original_max_position_embeddings"], rope["low_freq_factor"], rope["high_freq_factor"]
        factors = []
        for f in freqs:
            length = 2 * math.pi / f
            if length < old / high:
                factors.append(1.0)
            elif length > old / low:
                factors.append(rope["factor"])
            else:
                smooth = (old / length - low) / (high - low)
                factors.append(1 / ((1 - smooth) / rope["factor"] + smooth))
        w.add_tensor("rope_freqs.weight", np.array(factors, dtype=np.float32))
    experts = {}
    for hf, t in tensors.items():
        stem, kind = hf.rsplit(".", 1)
        if m := re.match(r"(model\.layers\.\d+\.mlp\.experts\.)(\d+)(\..*)", stem):
            experts.setdefault(m[1] + m[3][1:], {})[int(m[2])] = t
            continue
        if arch == "llama" and re.search(r"self_attn\.[qk]_proj$", stem):
            n = c["num_attention_heads"] if "q_proj" in stem else c["num_key_value_heads"]
            t = t.reshape(n, 2, t.shape[0] // n // 2, *t.shape[1:]).swapaxes(1, 2).reshape(t.shape)
        if arch == "gemma3" and stem.endswith("norm"):
            t = t + np.float32(1)
        w.add_tensor(table.get_name(stem) + "." + kind, np.ascontiguousarray(t))
    for stem, parts in experts.items():
        w.add_tensor(table.get_name(stem) + ".weight", np.stack([parts[i] for i in range(len(parts))]))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    return c, tensors


fields = """model_type vocab_size hidden_size intermediate_size num_hidden_layers num_attention_heads num_key_value_heads head_dim max_position_embeddings
rms_norm_eps tie_word_embeddings bos_token_id eos_token_id pad_token_id rope_parameters sliding_window num_experts_per_tok moe_intermediate_size""".split()
for name in "llama3 smollm2 qwen2 qwen3 qwen3_moe gemma3".split():
    path, folder = f"{out}/{name}.gguf", f"{out}/{name}"
    _, want = write(name, path)
    subprocess.run([r1, "convert", path, folder], check=True)
    got = load_file(f"{folder}/model.safetensors")
    assert got.keys() == want.keys(), got.keys() ^ want.keys()
    for k, t in want.items():
        if name == "gemma3" and k.endswith("norm.weight"):
            t = t + np.float32(1) - np.float32(1)
        assert got[k].tobytes() == t.tobytes(), (name, k)
    a, b = AutoConfig.from_pretrained(f"{golden}/{name}"), AutoConfig.from_pretrained(folder)
    for f in fields:
        if f == "sliding_window" and name != "gemma3" or f == "head_dim" and name == "qwen2":
            continue
        assert getattr(a, f, None) == getattr(b, f, None), (name, f, getattr(a, f, None), getattr(b, f, None))
    ours = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).state_dict()
    theirs = AutoModelForCausalLM.from_pretrained(out, gguf_file=f"{name}.gguf", dtype=torch.float32).state_dict()
    assert ours.keys() == theirs.keys(), ours.keys() ^ theirs.keys()
    for k in ours:
        assert torch.equal(ours[k], theirs[k]), (name, k, "transformers")
    print(f"ok {name}: {len(want)} tensors, {len(fields)} fields of config.json, {len(ours)} tensors as transformers reads the GGUF file")
