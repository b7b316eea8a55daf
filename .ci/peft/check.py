"""Loads adapters with peft, merged folders and reward models with transformers, in float64, and compares with numbers in JSON files.

Arguments: adapters.json, scorers.json.
"""
import json
import sys

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

load = dict(dtype=torch.float64, attn_implementation="eager", experts_implementation="eager")
worst = {"adapter": 0.0, "merged": 0.0, "scorer": 0.0}
rows = json.load(open(sys.argv[1]))
for row in rows:
    ids, want = torch.tensor([row["IDs"]]), torch.tensor(row["Logits"], dtype=torch.float64)
    base = AutoModelForCausalLM.from_pretrained(row["Base"], **load)
    with torch.no_grad():
        without = base(ids).logits[0]
        adapted = PeftModel.from_pretrained(base, row["Adapter"], autocast_adapter_dtype=False).eval().double()
        got = {"adapter": adapted(ids).logits[0], "merged": AutoModelForCausalLM.from_pretrained(row["Merged"], **load)(ids).logits[0]}
    moved = (want - without).abs().max().item()
    assert moved > 1e-2, f"{row['Adapter']}: the adapter changes nothing ({moved:.2g})"
    if row["MergedOnly"]:
        del got["adapter"]
    for kind, logits in got.items():
        error = ((logits - want).abs() / want.abs().clamp(min=1)).max().item()
        worst[kind] = max(worst[kind], error)
        print(f"{row['Adapter'].rsplit('/', 1)[-1]}: {kind} differs by {error:.2g}; the adapter moves logits by {moved:.2g}")
loaded = sum(not row["MergedOnly"] for row in rows)
print(f"measured: {loaded} adapters, {len(rows)} merged folders: peft's logits and gor1's differ by at most {worst['adapter']:.2g}, the merged folders' by {worst['merged']:.2g}")

rows = json.load(open(sys.argv[2]))
for row in rows:
    model, info = AutoModelForSequenceClassification.from_pretrained(row["Folder"], output_loading_info=True, **load)
    assert not info["missing_keys"] and not info["unexpected_keys"], info
    assert model.config.num_labels == 1
    model.config.pad_token_id = 0  # the ids have none
    with torch.no_grad():
        score = model.eval()(torch.tensor([row["IDs"]])).logits[0, 0].item()
    error = abs(score - row["Score"]) / max(1, abs(score))
    worst["scorer"] = max(worst["scorer"], error)
    print(f"{type(model).__name__}: {score:.4f}, differs by {error:.2g}")
print(f"measured: {len(rows)} reward models: transformers' scores and gor1's differ by at most {worst['scorer']:.2g}")
sys.exit(max(worst.values()) > 1e-4)
