"""Downloads with Python's huggingface_hub: python hub.py CACHE STEP... with HF_ENDPOINT set; prints where files lie.

A step is JSON: {"repo", "type"?, "revision"?, "file"?} is hf_hub_download, without "file" snapshot_download.
"""

import json
import sys

from huggingface_hub import hf_hub_download, snapshot_download
from huggingface_hub.errors import RemoteEntryNotFoundError

cache = sys.argv[1]
for text in sys.argv[2:]:
    step = json.loads(text)
    args = {"repo_type": step.get("type"), "revision": step.get("revision"), "cache_dir": cache, "token": False}
    try:
        if "file" in step:
            print(hf_hub_download(step["repo"], step["file"], **args))
        else:
            print(snapshot_download(step["repo"], **args))
    except RemoteEntryNotFoundError:
        print("none")
