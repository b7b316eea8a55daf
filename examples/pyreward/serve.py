"""Serves a reward function written for TRL: a JSON row a line in, a number or null a line out. Usage: serve.py FILE.py FUNCTION"""
import json, os, runpy, sys, traceback

out = os.fdopen(os.dup(1), "w")  # replies go here; what the function prints goes to standard error
os.dup2(2, 1)
reward = runpy.run_path(sys.argv[1])[sys.argv[2]]
for line in sys.stdin:
    row = json.loads(line)
    columns = {k: [v] for k, v in {"answer": row["answer"], **row["columns"]}.items()}
    try:
        score = reward(prompts=[row["prompt"]], completions=[row["completion"]], completion_ids=[row["ids"]], **columns)[0]
    except Exception:
        score = traceback.print_exc()  # None: not scored
    print(json.dumps(score), file=out, flush=True)
