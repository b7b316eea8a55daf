"""What the drivers share: requests, answers, the models' token ids, and proof that a peer runs the model that it is compared on.

A request is a JSON object: bench, shape, dtype, the load (batch, prompt, new, prompts, group; rows of gemm), model (a folder that
`compare` wrote), min_time in seconds, and set, the peer's own setting. The answer is one JSON object a line, as of `r1 bench --json`, with
peak_rss (VmHWM, bytes) and, of the first answer to a request, check, the largest difference of a log-prob from ours; an empty line ends
it. A request equal to the one before is timed again without a new set-up.
"""
import json
import os
import sys
import time
import traceback


def peak_rss():
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith("VmHWM"))


def ids(sequence, n, vocabulary):
    return [(7919 * sequence + 104729 * i + i * i) % vocabulary for i in range(n)]


def probe(folder):
    with open(os.path.join(folder, "probe.json")) as f:
        p = json.load(f)
    return p["ids"], p["logp"]


def differ(got, want, dtype):
    """The largest difference of log-probs; an error where it is too large for the same model in another order of sums."""
    worst = max(abs(a - b) for a, b in zip(got, want, strict=True))
    bound = 3e-3 if dtype == "f32" else 0.1  # fp32 leaves room for llama.cpp's cache of f16
    if not worst <= bound:
        raise ValueError(f"not the same model: a log-prob differs by {worst} (bound {bound})")
    return worst


def prepare(case, check):
    """A function that times each (name, unit, work, run) of the case, as often as fills min_time, after one run to warm up."""

    def measure(request, warm):
        rows = []
        for i, (name, unit, work, run) in enumerate(case):
            if len(warm) <= i:
                start = time.perf_counter()
                run()
                warm.append(1 + int(request.get("min_time", 0.2) / max(time.perf_counter() - start, 1e-6)))
            start = time.perf_counter()
            for _ in range(warm[i]):
                run()
            rows.append({"name": name, "value": work * warm[i] / (time.perf_counter() - start), "unit": unit})
        return rows

    return measure, check


def requests():
    """Requests from the command line, else one a line from standard input."""
    yield from (json.loads(line) for line in (sys.argv[1:] or sys.stdin))


def answer(rows, **more):
    for row in rows:
        out.write(json.dumps(row | {"peak_rss": peak_rss()} | more) + "\n")
    out.write("\n")
    out.flush()


def serve(device, setup):
    """setup(request) gives the cases and the difference from our log-probs (None: there is no model)."""
    last = measure = None
    for request in requests():
        try:
            if request != last:
                last = measure = None  # frees the model before
                measure, check = prepare(*setup(request))
                warm, last = [], request
            answer(measure(request, warm), dtype=request["dtype"], device=device, check=check)
        except Exception as e:  # told, and the next request may work
            traceback.print_exc()
            answer([{"name": request.get("bench", ""), "error": f"{type(e).__name__}: {e}"[:400]}])


out = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what libraries print is no answer
