#!/usr/bin/env python3
"""SAELens beside this package's SAE training.

    python saeTraining.py train --d-sae 6144,24576 --archs standard,topk   one optimiser step of SAETrainer, as JSON lines
    python saeTraining.py load FOLDER                                      load saved SAEs, compare with activations.safetensors

`load` reads every folder below FOLDER that has a cfg.json, loads it as SAELens does and applies it to the tensors that the
test wrote beside it (`input`, `latents`, `output`); it prints the largest relative differences.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path


def training_sae(arch: str, d_in: int, d_sae: int, k: int):
    import sae_lens as s

    base = dict(d_in=d_in, d_sae=d_sae, dtype="float32", device="cpu")
    classes = {
        "standard": (s.StandardTrainingSAE, s.StandardTrainingSAEConfig, {}),
        "jumprelu": (s.JumpReLUTrainingSAE, s.JumpReLUTrainingSAEConfig, {}),
        "gated": (s.GatedTrainingSAE, s.GatedTrainingSAEConfig, {}),
        "topk": (s.TopKTrainingSAE, s.TopKTrainingSAEConfig, {"k": k}),
        "batchtopk": (s.BatchTopKTrainingSAE, s.BatchTopKTrainingSAEConfig, {"k": k}),
    }
    sae, cfg, own = classes[arch]
    return sae(cfg(**base, **own))


def train(a) -> None:
    import torch

    torch.set_num_threads(a.threads)
    from sae_lens.config import LoggingConfig, SAETrainerConfig
    from sae_lens.training.sae_trainer import SAETrainer

    x = torch.randn(a.batch, a.d_in, generator=torch.Generator().manual_seed(2))
    for d_sae in map(int, a.d_sae.split(",")):
        for arch in a.archs.split(","):
            torch.manual_seed(0)
            sae = training_sae(arch, a.d_in, d_sae, a.k)
            cfg = SAETrainerConfig(total_training_samples=a.batch * 1000, train_batch_size_samples=a.batch, device="cpu",
                                   lr=3e-4, lr_end=3e-5, logger=LoggingConfig(log_to_wandb=False))
            trainer = SAETrainer(cfg, sae, data_provider=iter(()))
            times = []
            for _ in range(a.repeat + 1):
                start = time.perf_counter()
                trainer._train_step(sae, x)
                times.append(time.perf_counter() - start)
            seconds = statistics.median(times[1:])
            print(json.dumps({"arch": arch, "d_sae": d_sae, "seconds": seconds, "tokens_per_s": a.batch / seconds,
                              "steps": [round(t, 3) for t in times]}), flush=True)
            del sae, trainer


def load(a) -> None:
    import torch
    from safetensors.torch import load_file
    from sae_lens import SAE

    worst = 0.0
    for cfg in sorted(Path(a.folder).rglob("cfg.json")):
        golden = load_file(cfg.parent / "activations.safetensors")
        sae = SAE.load_from_disk(str(cfg.parent), device="cpu")
        with torch.no_grad():
            latents = sae.encode(golden["input"])
            latents = latents.to_dense() if latents.is_sparse else latents
            output = sae(golden["input"])
        differences = {}
        for name, ours, theirs in [("latents", golden["latents"], latents), ("output", golden["output"], output)]:
            differences[name] = float((ours - theirs).abs().max() / theirs.abs().max())
            worst = max(worst, differences[name])
        print(json.dumps({"sae": cfg.parent.name, "architecture": sae.cfg.architecture(), **differences}), flush=True)
    print(json.dumps({"largest_relative_difference": worst, "holds": worst <= 1e-5}))
    sys.exit(0 if worst <= 1e-5 else 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    t = commands.add_parser("train")
    t.add_argument("--d-in", type=int, default=768)
    t.add_argument("--d-sae", default="6144,24576")
    t.add_argument("--batch", type=int, default=4096)
    t.add_argument("--k", type=int, default=64)
    t.add_argument("--archs", default="standard,jumprelu,topk,batchtopk")
    t.add_argument("--repeat", type=int, default=2)
    t.add_argument("--threads", type=int, default=os.cpu_count())
    t.set_defaults(run=train)
    c = commands.add_parser("load")
    c.add_argument("folder")
    c.set_defaults(run=load)
    a = parser.parse_args()
    a.run(a)


if __name__ == "__main__":
    main()
