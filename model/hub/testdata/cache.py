"""Reads or fills the cache of huggingface_hub. TestPython calls it with HF_HOME, HF_ENDPOINT and HF_HUB_OFFLINE set.

python cache.py read   prints {file: its text's SHA-256} of the snapshot of org/name, without a network
python cache.py fetch  downloads org/name and prints the same
python cache.py lock PATH  takes the lock, prints "locked", and lets go when a line comes
"""
import hashlib, json, os, sys
from huggingface_hub import hf_hub_download, snapshot_download, try_to_load_from_cache, scan_cache_dir

if sys.argv[1] == "lock":
    from huggingface_hub.utils import WeakFileLock

    with WeakFileLock(sys.argv[2]):
        print("locked", flush=True)
        sys.stdin.readline()
    sys.exit()

offline = sys.argv[1] == "read"
ignore = ["*.bin", "sub/*"]
folder = snapshot_download("org/name", local_files_only=offline, ignore_patterns=ignore)
out = {}
for root, _, names in os.walk(folder):
    for name in names:
        path = os.path.join(root, name)
        out[os.path.relpath(path, folder)] = hashlib.sha256(open(path, "rb").read()).hexdigest()
assert os.path.samefile(hf_hub_download("org/name", "config.json", local_files_only=offline), os.path.join(folder, "config.json"))
info = scan_cache_dir()
assert not info.warnings, info.warnings
[repo] = info.repos
assert (repo.repo_id, repo.repo_type) == ("org/name", "model")
[revision] = repo.revisions
assert revision.refs == {"main"}, revision.refs
print(json.dumps(out))
