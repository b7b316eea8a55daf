"""Times torch (oneDNN, MKL): gemm, adamw, and train, a transformers model's forward, backward and AdamW.

Settings: threads; packed of gemm, the library (onednn, mkl) for which weights are packed once, as torch.compile's inference does; compile of train; autocast of train in bf16,
where the weights stay fp32 (without it they are bf16, as are AdamW's moments).
"""
import gc

import torch
import torch.nn.functional as F

from models import load
from protocol import ids, serve

STREAMED = 64 << 20  # bytes of weights a product goes through, as ours


def products(r):
    """The four products of a shape, in the names and order of r1 bench gemm."""
    dtype = torch.float32 if r["dtype"] == "f32" else torch.bfloat16
    for name, n, k in r["products"]:
        weights = [torch.rand(n, k).sub_(0.5).to(dtype) for _ in range(1 + STREAMED // (4 * n * k))]
        for m in r["rows"]:
            x = torch.rand(m, k).sub_(0.5).to(dtype)
            yield f"gemm {name} N{n} K{k} M{m}", "GFLOP/s", 2e-9 * m * n * k * len(weights), product(x, weights, r["set"])


def product(x, weights, setting):
    m = x.shape[0]
    packed = setting.get("packed", "no")
    if packed == "no":
        call = lambda w: F.linear(x, w)
    elif packed == "mkl":
        weights = [(torch.ops.mkl._mkl_reorder_linear_weight(w, m), w) for w in weights]
        call = lambda w: torch.ops.mkl._mkl_linear(x, w[0], w[1], None, m)
    else:
        weights = [torch.ops.mkldnn._reorder_linear_weight(w, m) for w in weights]
        call = lambda w: torch.ops.mkldnn._linear_pointwise(x, w, None, "none", [], "")

    def run():
        with torch.inference_mode():
            for w in weights:
                call(w)

    return run


def adamw(r):
    n = r["params"]
    p = torch.nn.Parameter(torch.zeros(n))
    p.grad = torch.zeros(n)
    step = optimiser([p], r["set"]).step
    return [(f"adamw P{n}", "GB/s", 28e-9 * n, step)]


def optimiser(params, setting):
    return torch.optim.AdamW(params, lr=1e-6, betas=(0.9, 0.95), weight_decay=0.0, fused=setting.get("fused", True))


def train(r):
    setting, half = r["set"], r["dtype"] == "bf16"
    autocast = half and setting.get("autocast", False)
    model, vocabulary, check = load(r["model"], "f32" if autocast else r["dtype"])
    model.train()
    adam = optimiser(model.parameters(), setting)
    forward = torch.compile(model) if setting.get("compile") else model
    n = r["prompt"] + r["new"]
    all_ids = torch.tensor([ids(i, n + 1, vocabulary) for i in range(r["batch"])])
    inputs, targets = all_ids[:, :-1].contiguous(), all_ids[:, 1:].reshape(-1)

    def run():
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            logits = forward(input_ids=inputs, use_cache=False).logits
            loss = F.cross_entropy(logits.view(-1, logits.shape[-1]).float(), targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
        adam.zero_grad(set_to_none=True)

    return [(f"train {r['shape']} B{r['batch']} T{n}", "tokens/s", r["batch"] * n, run)], check


def setup(r):
    gc.collect()
    torch._dynamo.reset()
    torch.set_num_threads(r["set"].get("threads", 2))
    torch.manual_seed(1)
    if r["bench"] == "gemm":
        return list(products(r)), None
    if r["bench"] == "adamw":
        return adamw(r), None
    return train(r)


if __name__ == "__main__":
    serve(f"torch {torch.__version__}", setup)
