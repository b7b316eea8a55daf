"""Loads saved folders with transformers, in float64, and compares log-probs with those in JSON files: [{"ids": [...], "logp": [...]}].

Arguments: folder, file, folder, file, ... The bar is 3e-5, relative where a log-prob is below -1: a trained model is sure of
itself, and its logits are large.
"""
import json
import sys

import torch
from transformers import AutoModelForCausalLM


def difference(folder, path):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager", experts_implementation="eager").eval()
    worst = 0.0
    with torch.no_grad():
        for row in json.load(open(path)):
            ids = torch.tensor([row["ids"]])
            logp = model(ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]
            error = (logp - torch.tensor(row["logp"], dtype=torch.float64)).abs() / logp.abs().clamp(min=1)
            worst = max(worst, error.max().item())
    print(f"measured: {model.config.model_type}: transformers and gor1 differ in a log-prob by at most {worst:.2g} (relative below -1)")
    return worst


pairs = list(zip(sys.argv[1::2], sys.argv[2::2], strict=True))
sys.exit(max([difference(*pair) for pair in pairs]) > 3e-5)
