"""Writes splits.json: how datasets 5.2.0 divides folders of files into splits. python splits.py"""
import json, os, sys, tempfile
from datasets.data_files import DataFilesDict, get_data_patterns

FOLDERS = [
    ["train.jsonl", "test.jsonl"],
    ["train.jsonl"],
    ["a.jsonl", "b.jsonl"],
    ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet", "data/test-00000-of-00001.parquet", "other.jsonl"],
    ["data/train_sft-00000-of-00001-abc.parquet", "data/test_gen-00000-of-00001.parquet"],
    ["train/a.jsonl", "train/b.jsonl", "validation/c.jsonl", "d.jsonl"],
    ["my_train_file_1.jsonl", "my-dev.jsonl", "evaluation.jsonl"],
    ["training.csv", "valid.csv", "testing.csv", "eval.csv"],
    ["contest.jsonl", "retrained.jsonl"],
    ["contest.jsonl", "test.jsonl"],
    ["x/train/00.parquet", "x/test/00.parquet"],
    ["x/gsm8k.train.jsonl", "x/gsm8k.test.jsonl", "y/z.jsonl"],
    ["train2.jsonl", "val 3.jsonl"],
    ["my-training-data/a.jsonl", "b.jsonl"],
    ["train.jsonl", ".hidden/test.jsonl", "__pycache__/test.jsonl", ".test.jsonl"],
    ["train.jsonl.gz", "test.json"],
    ["Train.jsonl", "TEST.jsonl"],
    ["dev/train.jsonl"],
    ["train/test.jsonl"],
    ["dataset_info.json", "a.jsonl"],
]
out = []
for files in FOLDERS:
    with tempfile.TemporaryDirectory() as root:
        base = os.path.join(root, "d")
        for f in files:
            os.makedirs(os.path.dirname(os.path.join(base, f)), exist_ok=True)
            open(os.path.join(base, f), "w").write("{}")
        found = DataFilesDict.from_patterns(get_data_patterns(base), base_path=base)
        out.append({"files": files, "splits": {str(s): sorted(os.path.relpath(p, os.path.realpath(base)) for p in fs) for s, fs in found.items()}})
text = json.dumps(out, indent=1) + "\n"
if sys.argv[1:] == ["check"]:
    assert text == open(os.path.join(os.path.dirname(__file__), "splits.json")).read()
else:
    open("splits.json", "w").write(text)
