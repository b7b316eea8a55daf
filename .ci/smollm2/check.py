"""A real model end to end: SmolLM2-135M-Instruct from its GGUF file.

python check.py R1 MODEL.gguf FOLDER: FOLDER is what r1 convert made of it. Token ids of some hundred strings and greedy continuations of
prompts, raw and in the chat template, must be those of transformers on FOLDER; where a token differs, transformers' two logits must be
closer than 1e-2.
"""
import json
import random
import subprocess
import sys

import torch
from gguf import GGUFReader, quants
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

r1, path, folder = sys.argv[1:]
tok = AutoTokenizer.from_pretrained(folder)

# Strings of many scripts; some have characters for which the vocabulary has no token.
random.seed(1)
strings = ["", " ", "Hello world", "  a  b\n\n c\t", "don't I'LL we've", "12345 6.78 ٣٤٥", "é ñ 日本語 😀👩\u200d👧 \u0300x", "<|im_start|>user\nhi<|im_end|>\n",
           "\x04\x06 a \U000f1234 \U00050000 b", "\U00100000x", "a" * 5000, "def f(x):\n    return x**2  # square\n"]
for _ in range(600):
    pick = lambda: chr(random.choice([random.randint(1, 127), random.randint(1, 0x2FF), random.randint(0x370, 0x6FF), random.randint(0x3000, 0x9FFF),
                                      random.randint(0x1F300, 0x1FAFF)]))
    strings.append("".join(pick() for _ in range(random.randint(1, 60))))
want = [tok.encode(s, add_special_tokens=True) for s in strings]
for source in path, folder:
    run = subprocess.run([r1, "tokenize", "--model", source, "--add-special-tokens"], input="\n".join(map(json.dumps, strings)), capture_output=True, text=True, check=True)
    got = [json.loads(line) for line in run.stdout.splitlines()]
    assert len(got) == len(want)
    for s, a, b in zip(strings, got, want):
        assert a == b, (source, s, a, b)
print(f"ok: ids of {len(strings)} strings, from the metadata and from the folder")

# The weights: what gguf-py makes of the blocks, but for the order of rows, which the greedy texts show.
state, compared = load_file(folder + "/model.safetensors"), 0
names = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "ffn_down": "mlp.down_proj", "ffn_up": "mlp.up_proj", "ffn_gate": "mlp.gate_proj",
         "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}
for t in GGUFReader(path).tensors:
    parts = t.name.split(".")
    name = names.get(parts[-2])
    if name is None:
        assert parts[-2] in ("attn_q", "attn_k"), t.name
        continue
    hf = (f"model.layers.{parts[1]}.{name}" if parts[0] == "blk" else name) + ".weight"
    values = torch.from_numpy(quants.dequantize(t.data, t.tensor_type).copy()).reshape(state[hf].shape)
    assert torch.equal(values.view(torch.int32), state[hf].view(torch.int32)), hf
    compared += values.numel()
print(f"ok: {compared} weights have the bits that gguf-py gives them")

model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
prompts = ["The capital of France is", "def fibonacci(n):", "Once upon a time, in a small village,", "Q: What is 12 + 30?\nA:", "Water boils at"]
chats = ["What is the largest planet?", "Write one sentence about the sea."]
prompts += [tok.apply_chat_template([{"role": "user", "content": c}], tokenize=False, add_generation_prompt=True) for c in chats]
for source in folder, path:
    for p in prompts if source == folder else prompts[:1]:
        run = subprocess.run([r1, "generate", "--raw", "--model", source, "-p", p, "--max-tokens", "24", "--json"], capture_output=True, text=True, check=True)
        got, ids = json.loads(run.stdout)["tokens"], tok.encode(p, return_tensors="pt")
        with torch.no_grad():
            want = model.generate(ids, do_sample=False, max_new_tokens=24)[0, ids.shape[1] :].tolist()
        same = next((i for i, (a, b) in enumerate(zip(got, want)) if a != b), min(len(got), len(want)))
        note = "equal"
        if got != want:
            assert same < len(got) and same < len(want), (got, want)
            with torch.no_grad():
                logits = model(torch.cat([ids, torch.tensor([want[:same]], dtype=torch.long)], 1)).logits[0, -1]
            gap = (logits[want[same]] - logits[got[same]]).item()
            note = f"token {same} differs, logit gap {gap:.2g}"
            assert gap < 1e-2, (p, note)
        print(f"{note}: {len(got)} tokens after {p[-40:]!r}: {tok.decode(got)[:60]!r}")
