"""Loads adapters with peft, and merged folders with transformers, in float64, and compares logits with those in a JSON file."""
import json
import sys

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

load = dict(dtype=torch.float64, attn_implementation="eager", experts_implementation="eager")
worst = {"adapter": 0.0, "merged": 0.0}
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
sys.exit(max(worst.values()) > 1e-4)
