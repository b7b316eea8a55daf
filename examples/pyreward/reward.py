"""A reward as one would write it for TRL."""
import re


def short_and_right(completions, answer, **kwargs):
    print("judging", len(completions))  # harmless: serve.py keeps it off the replies
    scores = []
    for completion, reference in zip(completions, answer):
        found = re.search(r"<answer>(.*?)</answer>", completion, re.S)
        right = found is not None and found.group(1).strip() == reference
        scores.append(1.0 / (1 + len(completion) / 1000) if right else 0.0)
    return scores
