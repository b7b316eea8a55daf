"""Makes the files of this folder from gsm8k's train.jsonl and mbpp.jsonl. See README.md.

python make.py gsm8k_train.jsonl mbpp.jsonl
"""
import csv, datetime, decimal, gzip, json, sys
import pyarrow as pa, pyarrow.parquet as pq
from datasets import Dataset

gsm8k = [json.loads(line) for line in open(sys.argv[1])][:40]
with open("mbpp.jsonl", "w") as f:
    f.writelines(open(sys.argv[2]).readlines()[:20])


def lines(rows):
    return "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows)


open("gsm8k.jsonl", "w").write(lines(gsm8k))
json.dump(gsm8k, open("gsm8k.json", "w"), indent=2)
json.dump({"version": 1, "licences": ["MIT"], "rows": gsm8k}, open("gsm8k_object.json", "w"))
gzip.GzipFile("gsm8k.jsonl.gz", "wb", mtime=0).write(lines(gsm8k).encode())
with pa.CompressedOutputStream("gsm8k.jsonl.zst", "zstd") as f:
    f.write(lines(gsm8k).encode())
with open("gsm8k.csv", "w", newline="") as f:
    w = csv.DictWriter(f, ["question", "answer"])
    w.writeheader()
    w.writerows(gsm8k)

Dataset.from_list(gsm8k).to_parquet("gsm8k.parquet", batch_size=16)
table = pa.Table.from_pylist(gsm8k)
pq.write_table(table, "gsm8k_zstd.parquet", compression="zstd", use_dictionary=False, row_group_size=7, data_page_size=512, data_page_version="2.0")
pq.write_table(table, "gsm8k_gzip.parquet", compression="gzip", column_encoding={"question": "DELTA_LENGTH_BYTE_ARRAY", "answer": "DELTA_BYTE_ARRAY"}, use_dictionary=False)

call = {"id": "c1", "function": {"name": "weather", "arguments": "{\"city\": \"Zürich\"}"}}
messages = [
    {"messages": [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}], "source": "a", "tags": ["x", None, "y"]},
    {"messages": [{"role": "user", "content": "Weather?"}, {"role": "assistant", "content": None, "tool_calls": [call, call]}, {"role": "tool", "content": "rain"}], "source": "a", "tags": []},
    {"messages": [{"role": "system", "content": ""}, {"role": "user", "content": "ok"}], "source": None, "tags": None},
    {"messages": [], "source": "b", "tags": ["z"]},
] * 3
Dataset.from_list(messages).to_parquet("messages.parquet", batch_size=5)
open("messages.jsonl", "w").write(lines(pq.read_table("messages.parquet").to_pylist()))

utc = datetime.timezone.utc
kinds = pa.table({
    "i8": pa.array([1, None, -128], pa.int8()), "u8": pa.array([255, 0, None], pa.uint8()),
    "i64": pa.array([2**63 - 1, -(2**63), 0]), "u64": pa.array([2**64 - 1, 1, None], pa.uint64()), "u32": pa.array([2**32 - 1, 0, 7], pa.uint32()),
    "f16": pa.array([0.5, None, -2.0], pa.float16()), "f32": pa.array([0.1, None, 1e30], pa.float32()), "f64": pa.array([0.1, 1e300, -0.0]),
    "b": pa.array([True, None, False]), "s": pa.array(["", "ä𝄞", None]), "large": pa.array(["a", None, "b"], pa.large_string()),
    "word": pa.array(["u", "v", "u"]).dictionary_encode(), "nothing": pa.nulls(3),
    "bytes": pa.array([b"\x00\xff", b"", None]), "fixed": pa.array([b"ab", None, b"cd"], pa.binary(2)),
    "date": pa.array([datetime.date(2025, 1, 22), None, datetime.date(1969, 12, 31)]),
    "ms": pa.array([datetime.datetime(2025, 1, 22, 1, 2, 3, 4000, utc), None, datetime.datetime(1969, 12, 31, tzinfo=utc)], pa.timestamp("ms", "UTC")),
    "us": pa.array([datetime.datetime(2025, 1, 22, 1, 2, 3, 4), None, datetime.datetime(1900, 1, 1)], pa.timestamp("us")),
    "dec": pa.array([decimal.Decimal("1.50"), None, decimal.Decimal("-0.07")], pa.decimal128(9, 2)),
    "wide": pa.array([decimal.Decimal("123456789012345678901234567890.1"), None, decimal.Decimal("-0.1")], pa.decimal128(38, 1)),
    "lists": pa.array([[[1, 2], [], None, [3]], [], None], pa.list_(pa.list_(pa.int64()))),
    "fixed_list": pa.array([[1, 2], None, [3, None]], pa.list_(pa.int32(), 2)),
    "struct": pa.array([{"a": 1, "b": {"c": ["x"]}}, None, {"a": None, "b": {"c": None}}]),
    "structs": pa.array([[{"k": 1}, {"k": None}], None, []], pa.list_(pa.struct([("k", pa.int64())]))),
    "map": pa.array([[("x", 1), ("y", None)], None, []], pa.map_(pa.string(), pa.int64())),
})
pq.write_table(kinds, "kinds.parquet")


def plain(v):
    if isinstance(v, bytes):
        return {"bytes": v.hex()}
    if isinstance(v, (datetime.datetime, datetime.date)):
        v = v if isinstance(v, datetime.datetime) else datetime.datetime(v.year, v.month, v.day)
        return {"time": (v if v.tzinfo else v.replace(tzinfo=utc)).isoformat()}
    if isinstance(v, decimal.Decimal):
        return str(v)
    if isinstance(v, list) and v and isinstance(v[0], tuple):
        return dict(v)
    return v


rows = [{k: plain(v) for k, v in r.items()} for r in kinds.to_pylist()]
rows[2]["map"] = {}
open("kinds.jsonl", "w").write(lines(rows))

flat = pa.schema([pa.field("n", pa.int64(), nullable=False), pa.field("t", pa.string(), nullable=False)])
pq.write_table(pa.table({"n": list(range(1000)), "t": [f"text {i}" for i in range(1000)]}, schema=flat), "numbers.parquet", row_group_size=128, data_page_size=64)
