"""compare.py R1 FILE...: the table and the ratio that .ci/mathverify/run prints. Fails where the bars are missed."""
import json
import logging
import os
import resource
import subprocess
import sys
import time

from math_verify import parse, verify

logging.disable(logging.CRITICAL)
r1, files = sys.argv[1], sys.argv[2:]
BAR_RATIO = 20


def ours(pairs):
    lines = "".join(json.dumps({"gold": g, "answer": a}) + "\n" for g, a in pairs)
    out = subprocess.run([r1, "verify", "--input", "-"], input=lines, capture_output=True, text=True, check=True, env={**os.environ, "GOMAXPROCS": "1"}).stdout
    return [json.loads(line)["verdict"] == "equal" for line in out.splitlines()]


def theirs(pairs):
    verdicts = []
    for gold, answer in pairs:
        if "$" not in gold and "\\boxed" not in gold:  # it reads LaTeX between dollars only
            gold = f"${gold}$"
        try:
            verdicts.append(bool(verify(parse(gold), parse(answer))))
        except Exception:  # a crash of theirs is no verdict of equality
            verdicts.append(False)
    return verdicts


def rows(path):
    for line in open(path, encoding="utf-8"):
        d = json.loads(line)
        truth = d.get("equal", d.get("expected", d.get("true_equal")))
        answer = d["answer"] if "answer" in d else d["pred"]
        if truth in (True, False, "yes", "no") and isinstance(answer, str) and isinstance(d["gold"], str):
            yield d.get("source", os.path.basename(path)), (d["gold"], answer), truth in (True, "yes")


def table():
    failed = False
    print(f"table: {'pairs':24} {'equal':>6} {'not':>6} | r1: {'FN':>5} {'FP':>5} | math-verify: {'FN':>5} {'FP':>5} | {'agree':>6}")
    sources = {}
    for path in files:
        for source, pair, truth in rows(path):
            sources.setdefault(source, []).append((pair, truth))
    for source, cases in sources.items():
        pairs, truth = [p for p, _ in cases], [t for _, t in cases]
        verdicts = ours(pairs), theirs(pairs)
        positives, negatives = sum(truth), len(truth) - sum(truth)
        fn = [sum(t and not v for t, v in zip(truth, vs)) for vs in verdicts]
        fp = [sum(v and not t for t, v in zip(truth, vs)) for vs in verdicts]
        agree = sum(a == b for a, b in zip(*verdicts))
        print(f"table: {source[:24]:24} {positives:6} {negatives:6} |     {fn[0]:5} {fp[0]:5} |              {fn[1]:5} {fp[1]:5} | {agree:6}")
        if source.endswith(".jsonl"):  # the conventions of other graders are theirs: reported, not judged
            failed |= fn[0] > 0.05 * positives or fp[0] > 0.002 * negatives
    return failed


def cpu(who):
    u = resource.getrusage(who)
    return u.ru_utime + u.ru_stime


def throughput():
    answers = open("math_answers.txt", encoding="utf-8").read().splitlines()[::6]
    pairs = [(f"${g}$", f"So the final answer is $\\boxed{{{answers[i - i % 2]}}}$.") for i, g in enumerate(answers)]
    theirs(pairs[:20])  # warm: grammars are built on first use
    ratios = []
    for _ in range(3):
        start = time.process_time()
        theirs(pairs)
        them = time.process_time() - start
        start = cpu(resource.RUSAGE_CHILDREN)
        for _ in range(20):
            ours(pairs)
        us = (cpu(resource.RUSAGE_CHILDREN) - start) / 20
        ratios.append(them / us)
        print(f"measured: {len(pairs)} pairs of MATH answers: math-verify {len(pairs) / them:.0f}/s, r1 verify {len(pairs) / us:.0f}/s of CPU time, process start included")
    ratio = sorted(ratios)[1]
    print(f"measured: r1 verify is {ratio:.0f} times as fast (bar: {BAR_RATIO})")
    return ratio < BAR_RATIO


sys.exit(table() | throughput())
