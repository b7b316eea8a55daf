"""Times transformers: decode and prefill, without the overhead of generate(): the model is called with its cache, tokens are drawn with
torch.multinomial. Settings: threads; attention (sdpa, eager)."""
import gc

import torch
import transformers
from transformers import DynamicCache

from models import load
from protocol import ids, serve


def decode(r, model, vocabulary):
    """New steps of a batch over a cache that holds the prompts; the prompts are not timed, nor is what removes the new rows."""
    batch, prompt, new = r["batch"], r["prompt"], r["new"]
    cache = DynamicCache(config=model.config)
    with torch.inference_mode():
        model.model(torch.tensor([ids(i, prompt, vocabulary) for i in range(batch)]), past_key_values=cache, use_cache=True)

    def run():
        token = torch.zeros(batch, 1, dtype=torch.long)
        with torch.inference_mode():
            for _ in range(new):
                logits = model(token, past_key_values=cache, use_cache=True).logits[:, -1]
                token = torch.multinomial(logits.float().softmax(-1), 1)
        cache.crop(prompt)

    return [(f"decode {r['shape']} B{batch} prompt {prompt} new {new}", "tokens/s", batch * new, run)]


def prefill(r, model, vocabulary):
    batch, prompt = r["batch"], r["prompt"]
    prompts = torch.tensor([ids(i, prompt, vocabulary) for i in range(batch)])

    def run():
        with torch.inference_mode():
            model.model(prompts, past_key_values=DynamicCache(config=model.config), use_cache=True)

    return [(f"prefill {r['shape']} B{batch} prompt {prompt}", "tokens/s", batch * prompt, run)]


def setup(r):
    gc.collect()
    torch.set_num_threads(r["set"].get("threads", 2))
    model, vocabulary, check = load(r["model"], r["dtype"], r["set"].get("attention", "sdpa"))
    return (decode if r["bench"] == "decode" else prefill)(r, model, vocabulary), check


if __name__ == "__main__":
    serve(f"transformers {transformers.__version__}, torch {torch.__version__}", setup)
