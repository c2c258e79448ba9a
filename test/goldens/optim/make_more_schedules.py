"""Schedules that the shared goldens lack: PyTorch's and transformers' values. `python make_more_schedules.py`"""
import json
import warnings
from pathlib import Path

import torch
import transformers

L = torch.optim.lr_scheduler
STEPS = 30
warnings.simplefilter("ignore")


def make(node, optimizer):
    name, args = node["class_path"], dict(node["init_args"])
    if "schedulers" in args:
        args["schedulers"] = [make(child, optimizer) for child in args["schedulers"]]
    if name == "ChainedScheduler":
        return L.ChainedScheduler(args["schedulers"], optimizer)
    return (getattr(L, name, None) or getattr(transformers, name))(optimizer, **args)


def node(name, **args):
    return {"class_path": name, "init_args": args}


warm = node("LinearLR", start_factor=0.1, total_iters=4)
CASES = [
    node("ConstantLR", factor=0.25, total_iters=6),
    node("PolynomialLR", total_iters=12, power=1.5),
    node("CosineAnnealingWarmRestarts", T_0=3, T_mult=3, eta_min=1e-4),
    node("OneCycleLR", max_lr=0.2, total_steps=31, three_phase=True, anneal_strategy="linear", div_factor=10.0, cycle_momentum=False),
    node("OneCycleLR", max_lr=0.2, epochs=4, steps_per_epoch=9, pct_start=0.4, final_div_factor=100.0, cycle_momentum=False),
    node("ReduceLROnPlateau", mode="max", factor=0.5, patience=1, threshold=0.05, threshold_mode="abs", min_lr=[0.02, 0.0]),
    node("MultiStepLR", milestones=[3, 3, 8], gamma=0.5),
    node("SequentialLR", schedulers=[warm, node("CosineAnnealingLR", T_max=10, eta_min=1e-3), node("StepLR", step_size=3, gamma=0.5)], milestones=[4, 16]),
    node("SequentialLR", schedulers=[warm, node("get_cosine_schedule_with_warmup", num_warmup_steps=3, num_training_steps=20)], milestones=[5]),
    node("ChainedScheduler", schedulers=[warm, node("ExponentialLR", gamma=0.9)]),
    node("ChainedScheduler", schedulers=[node("ConstantLR", factor=0.5, total_iters=7), node("CosineAnnealingLR", T_max=12, eta_min=1e-3), node("MultiStepLR", milestones=[5, 9], gamma=0.5)]),
    node("ChainedScheduler", schedulers=[node("SequentialLR", schedulers=[warm, node("ExponentialLR", gamma=0.95)], milestones=[4]), node("StepLR", step_size=6, gamma=0.5)]),
    node("LinearLR", start_factor=0.5, total_iters=0),
    node("PolynomialLR", total_iters=0),
    node("SequentialLR", schedulers=[node("CosineAnnealingLR", T_max=10), node("LinearLR", start_factor=0.1, end_factor=0.0, total_iters=9)], milestones=[0]),
    node("SequentialLR", schedulers=[node("ExponentialLR", gamma=0.5), node("ConstantLR", factor=0.5, total_iters=3), node("StepLR", step_size=4)], milestones=[0, 6]),
    node("get_constant_schedule"),
    node("get_cosine_with_hard_restarts_schedule_with_warmup", num_warmup_steps=3, num_training_steps=24, num_cycles=3),
]
BASES = [0.1, 0.03]

torch.manual_seed(0)
metric = torch.rand(STEPS).tolist()
rows = []
for case in CASES:
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr} for lr in BASES]
    optimizer = torch.optim.SGD(groups, lr=1.0)
    schedule = make(case, optimizer)
    rates = [[group["lr"] for group in optimizer.param_groups]]
    for i in range(STEPS):
        optimizer.step()
        schedule.step(metric[i]) if case["class_path"] == "ReduceLROnPlateau" else schedule.step()
        rates.append([group["lr"] for group in optimizer.param_groups])
    case["init_args"].pop("cycle_momentum", None)
    rows.append({**case, "rates": rates})
versions = {"torch": torch.__version__, "transformers": transformers.__version__}
Path(__file__).with_name("more_schedules.json").write_text(json.dumps({"versions": versions, "bases": BASES, "metric": metric, "schedules": rows}) + "\n")
