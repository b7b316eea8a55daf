"""Our folders as transformers models."""
import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

import torch
from transformers import AutoModelForCausalLM

from protocol import differ, probe


def load(folder, dtype, attention="sdpa"):
    """The model, its vocabulary, and the largest difference of a log-prob from ours."""
    kind = torch.float32 if dtype == "f32" else torch.bfloat16
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=kind, attn_implementation=attention).eval()
    tokens, want = probe(folder)
    with torch.inference_mode():
        logp = model(torch.tensor([tokens])).logits[0, :-1].float().log_softmax(-1)
    got = logp.gather(1, torch.tensor(tokens)[1:, None])[:, 0].tolist()
    return model, model.config.vocab_size, differ(got, want, dtype)
