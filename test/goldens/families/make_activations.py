"""Values and derivatives of transformers' activation functions, in float64.

    pip install torch transformers
    python make_activations.py            # writes activations.json beside this file
"""
import json
from pathlib import Path

import torch
from transformers.activations import ACT2CLS, ACT2FN

PARAMETERS = {"prelu", "xielu"}  # learn parameters of their own
points = [-30.0, -9.5, -4.25, -2.5, -1.0, -0.3, -0.01, 0.01, 0.2, 0.75, 1.5, 2.9, 4.0, 7.5, 12.0, 30.0]
cases = {}
for name in ACT2CLS:
    if name in PARAMETERS:
        continue
    x = torch.tensor(points, dtype=torch.float64, requires_grad=True)
    y = ACT2FN[name](x)
    (dx,) = torch.autograd.grad(y.sum(), x)
    cases[name] = {"values": y.tolist(), "derivatives": dx.tolist()}
out = {"points": points, "refused": sorted(PARAMETERS), "cases": cases}
Path(__file__).with_name("activations.json").write_text(json.dumps(out) + "\n")
