"""Files that torch.save writes, and what is in them: run beside this file with PyTorch 2 (`python make.py`)."""

import io
import json
import os
import zipfile
from collections import OrderedDict
from pathlib import Path

import torch

here = Path(__file__).parent
torch.manual_seed(0)


def listed(tensor):
    return {
        "dtype": str(tensor.dtype).removeprefix("torch."),
        "shape": list(tensor.shape),
        "data": [float(x) for x in tensor.detach().double().flatten()],
    }


def tensors_of(value, path=""):
    if isinstance(value, torch.Tensor):
        return {path: listed(value)}
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    return {name: t for key, item in items for name, t in tensors_of(item, f"{path}.{key}" if path else str(key)).items()}


base = torch.arange(24, dtype=torch.float32).reshape(4, 6) / 4
types = {
    str(dtype).removeprefix("torch."): torch.tensor([0, 1, 2, 100], dtype=dtype)
    for dtype in [torch.float32, torch.float64, torch.float16, torch.bfloat16]
    + [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool]
}
views = {
    "transposed": base.T,
    "column": base[:, 2],
    "rows": base[1:3],
    "every_other": base[::2, 1::3],
    "permuted": torch.arange(24, dtype=torch.bfloat16).reshape(2, 3, 4).permute(2, 0, 1),
    "expanded": torch.tensor([[1.5], [2.5]]).expand(2, 3),
    "scalar": torch.tensor(3.25),
    "empty": torch.zeros(0, 5),
    "parameter": torch.nn.Parameter(torch.tensor([1.0, -1.0])),
}
nested = {
    "state_dict": OrderedDict(w=base, tied=base),
    "layers": [torch.ones(2), (torch.zeros(1), torch.full((2,), 7))],
    "step": 12,
    "loss": -0.5,
    "name": "größe",
    "big": 2**70,
    "flags": {"on": True, "off": False, "none": None, "dims": (1, 2), "dtype": torch.float32},
    "bytes": b"\x00\xff",
    "set": {3},
    "size": torch.Size([2, 3]),
    "device": torch.device("cpu"),
}
module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2)).state_dict()

expected = {}
for name, value in {"types": types, "views": views, "nested": nested, "module": module}.items():
    torch.save(value, here / f"{name}.pt")
    expected[name] = tensors_of(value)
for protocol in (4, 5):
    torch.save(module, here / f"protocol{protocol}.pt", pickle_protocol=protocol)
(here / "expected.json").write_text(json.dumps(expected) + "\n")

torch.save({"w": torch.ones(2, dtype=torch.uint16), "f": torch.ones(2)}, here / "unread-type.pt")
torch.save({"w": torch.ones(2)}, here / "legacy.pt", _use_new_zipfile_serialization=False)


class Runs:
    def __reduce__(self):
        return os.system, ("touch torch-pickle-ran",)


torch.save({"w": torch.ones(2), "extra": Runs()}, here / "runs.pt")
torch.save(torch.nn.Linear(2, 2), here / "whole-module.pt")


def repacked(name, change, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(here / "module.pt") as source, zipfile.ZipFile(here / name, "w", compression) as target:
        for member in source.namelist():
            info = zipfile.ZipInfo(member)
            info.compress_type = compression
            target.writestr(info, change(member, source.read(member)))


repacked("deflated.pt", lambda _, data: data, zipfile.ZIP_DEFLATED)
repacked("big-endian.pt", lambda name, data: b"big" if name.endswith("byteorder") else data)

# GPT-2's checkpoint of ../families/gpt2 as the hub had it before safetensors: names without their prefix, and the masks.
from safetensors.torch import load_file

weights = load_file(here / "../families/gpt2/model.safetensors")
state = OrderedDict((name.removeprefix("transformer."), tensor) for name, tensor in weights.items())
for layer in sorted({name.split(".")[1] for name in state if name.startswith("h.")}):
    state[f"h.{layer}.attn.bias"] = torch.ones(8, 8).tril().bool().reshape(1, 1, 8, 8)
(here / "gpt2").mkdir(exist_ok=True)
torch.save(state, here / "gpt2/pytorch_model.bin")

# Two SAEs in the layout of the release gpt2-small-hook-z-kk, 32 wide.
(here / "hook-z").mkdir(exist_ok=True)
d_in, d_sae = 32, 48
for layer, l1, dead in [(9, "1.20e+00", "1.00e-06"), (10, "1.30e+00", "1.00e-05")]:
    name = f"gpt2-small_L{layer}_Hcat_z_lr1.20e-03_l1{l1}_ds24576_bs4096_dc{dead}_rsanthropic_rie25000_nr4_v9"
    sae = OrderedDict(W_enc=torch.randn(d_in, d_sae) / d_in**0.5, W_dec=torch.randn(d_sae, d_in) / d_sae**0.5)
    sae.update(b_enc=0.05 * torch.randn(d_sae), b_dec=0.05 * torch.randn(d_in))
    torch.save(sae, here / f"hook-z/{name}.pt")
    cfg = {"seed": 49, "batch_size": 4096, "act_size": d_in, "dict_size": d_sae, "l1_coeff": float(l1)}
    cfg |= {"act_name": f"blocks.{layer}.attn.hook_z", "site": "z", "layer": layer, "device": "cuda"}
    (here / f"hook-z/{name}_cfg.json").write_text(json.dumps(cfg) + "\n")
