"""Makes gpt-neox-parallel/norm-gradients.safetensors: TransformerLens' gradients at the points of both norms of its blocks.
A block calls ln1 for queries, keys and values one by one; the gradients of the three calls are added.

    python make-norm-gradients.py FOLDER_WITH_hooked_views.py FAMILIES    # both of the reference data
"""
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

sys.path.insert(0, sys.argv[1])
from hooked_views import RAW, load_hooked  # noqa: E402

torch.set_num_threads(1)
model, _, _ = load_hooked(Path(sys.argv[2]) / "gpt-neox-parallel", RAW)
ids = torch.randint(0, model.cfg.d_vocab, (2, 5), generator=torch.Generator().manual_seed(3))
right, wrong = torch.tensor([5, 6]), torch.tensor([7, 8])
seen: dict[str, list[torch.Tensor]] = {}


def keep(value, hook):
    value.retain_grad()
    seen.setdefault(hook.name, []).append(value)


with model.hooks(fwd_hooks=[(lambda name: ".ln1." in name or ".ln2." in name, keep)]):
    last = model(ids)[:, -1]
    rows = torch.arange(2)
    (last[rows, right] - last[rows, wrong]).sum().backward()
out = {f"grad.{name}": sum(x.grad for x in calls).contiguous() for name, calls in seen.items()}
out |= {"input_ids": ids.int(), "right_ids": right.int(), "wrong_ids": wrong.int()}
save_file(out, Path(__file__).parent / "gpt-neox-parallel" / "norm-gradients.safetensors")
