"""Renders chat templates with transformers: the reference.

Reads lines {"template": TEXT, "vars": {...}} and writes for each {"text": ..., "spans": [[start, end], ...]} with spans in UTF-8
bytes, or {"error": MESSAGE, "type": EXCEPTION}. The clock of strftime_now stands still.

    python reference.py < cases.jsonl > expected.jsonl
"""
import datetime
import json
import sys

from transformers.utils import chat_template_utils

NOW = datetime.datetime(2025, 3, 4, 9, 5, 7)


class Clock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return NOW


chat_template_utils.datetime = Clock  # the module's own name for the class


def render(template, variables):
    given = dict(variables)
    try:
        texts, spans = chat_template_utils.render_jinja_template(
            conversations=[given.pop("messages", [])],
            tools=given.pop("tools", None),
            documents=given.pop("documents", None),
            add_generation_prompt=given.pop("add_generation_prompt", False),
            chat_template=template,
            return_assistant_tokens_mask=True,
            **given,
        )
    except Exception as e:  # whatever a template raises
        return {"error": str(e), "type": type(e).__name__}
    text = texts[0]
    return {"text": text, "spans": [[len(text[:a].encode()), len(text[:b].encode())] for a, b in spans[0]]}


if __name__ == "__main__":
    for line in sys.stdin:
        case = json.loads(line)
        print(json.dumps(render(case["template"], case["vars"]), ensure_ascii=False))
