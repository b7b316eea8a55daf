"""Reads the JSON line of examples/r1zero and holds it to the promises of the README."""
import json
import sys

r = json.loads(sys.stdin.read())
bars = [
    ("accuracy_before <= 0.35", r["accuracy_before"] <= 0.35),
    ("accuracy_after >= 0.87", r["accuracy_after"] >= 0.87),
    ("greedy_after >= 0.93", r["greedy_after"] >= 0.93),
    ("length x 1.7", r["length_after"] >= 1.7 * r["length_before"]),
]
limit = 240 if r["peak_gflops"] >= 400 else 360
print(f"measured: {r['seconds']:.0f} s (aim: {limit} at {r['peak_gflops']:.0f} GFLOP/s), accuracy {r['accuracy_before']:.3f} -> {r['accuracy_after']:.3f}, "
      f"greedy {r['greedy_before']:.3f} -> {r['greedy_after']:.3f}, length {r['length_before']:.1f} -> {r['length_after']:.1f}")
broken = [name for name, ok in bars if not ok]
sys.exit(f"not met: {', '.join(broken)}" if broken else 0)
