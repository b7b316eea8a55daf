"""Loads a saved folder with transformers and compares log-probs with those in a JSON file: [{"ids": [...], "logp": [...]}]."""
import json
import sys

import torch
from transformers import AutoModelForCausalLM

folder, path = sys.argv[1:]
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
worst = 0.0
with torch.no_grad():
    for row in json.load(open(path)):
        ids = torch.tensor([row["ids"]])
        logp = model(ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]
        worst = max(worst, (logp - torch.tensor(row["logp"])).abs().max().item())
print(f"measured: transformers and gor1 differ in a log-prob by at most {worst:.2g}")
sys.exit(worst > 3e-5)
