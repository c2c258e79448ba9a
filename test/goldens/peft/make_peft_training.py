"""Which modules PEFT adapts for a configuration, and its adapters after three steps of AdamW.

    pip install torch transformers peft safetensors
    python make_peft_training.py FAMILIES      # the goldens' families folder; reads and writes beside this file
"""
import json
import sys
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

families, here = Path(sys.argv[1]), Path(__file__).parent
MODULES = {"gpt2": ("c_attn", "c_fc"), "llama-gqa": ("q_proj", "gate_proj"),
           "gpt-neox-parallel": ("query_key_value", "dense_h_to_4h")}


def base(name):
    return AutoModelForCausalLM.from_pretrained(families / name, dtype=torch.float32, attn_implementation="eager")


def ranks(model):
    end = ".lora_A.default.weight"
    return {key.removeprefix("base_model.model.").removesuffix(end): parameter.shape[0]
            for key, parameter in model.named_parameters() if key.endswith(end)}


targets = []
for name, (attn, mlp) in MODULES.items():
    for config in [
        {},
        {"target_modules": "all-linear"},
        {"target_modules": [attn], "rank_pattern": {attn: 3}},
        {"target_modules": [attn, mlp], "rank_pattern": {mlp: 5}, "layers_to_transform": [1]},
        {"target_modules": rf".*\.1\..*({attn}|{mlp})"},
        {"target_modules": [attn, mlp], "exclude_modules": [mlp]},
        {"target_modules": "all-linear", "exclude_modules": [attn]},
    ]:
        model = get_peft_model(base(name), LoraConfig(task_type="CAUSAL_LM", **config))
        targets.append({"model": name, "config": config, "ranks": ranks(model)})
(here / "targets.json").write_text(json.dumps(targets, indent=1) + "\n")

model = PeftModel.from_pretrained(base("gpt2"), here / "gpt2", is_trainable=True).eval()  # no dropout
ids = torch.tensor([[5, 6, 7, 8, 9, 10], [11, 12, 13, 14, 15, 16]])
trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
optimizer = torch.optim.AdamW(trained, lr=0.01, weight_decay=0.1)
losses = []
for _ in range(3):
    optimizer.zero_grad()
    loss = model(input_ids=ids, labels=ids).loss
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
tensors = {key.replace(".default.", "."): parameter.detach().contiguous()
           for key, parameter in model.named_parameters() if "lora_" in key}
save_file({**tensors, "losses": torch.tensor(losses)}, here / "gpt2" / "trained.safetensors")
print(len(targets), losses, len(tensors))
