"""Adapters as PEFT saves them, and the logits of the models with them.

    pip install torch transformers peft safetensors
    python make_peft.py FAMILIES          # the goldens' families folder; writes beside this file
"""
import sys
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

CASES = {
    "gpt2": dict(target_modules=["c_attn", "attn.c_proj", "c_fc"], r=3, lora_alpha=5, fan_in_fan_out=True),
    "llama-gqa": dict(target_modules=["q_proj", "v_proj", "o_proj", "gate_proj", "down_proj"], r=4, lora_alpha=6,
                      rank_pattern={"v_proj": 2}, alpha_pattern={"o_proj": 9}),
    "gpt-neox-parallel": dict(target_modules=["query_key_value", "dense_h_to_4h"], r=2, lora_alpha=4),
}
families, here = Path(sys.argv[1]), Path(__file__).parent
torch.manual_seed(0)
for name, settings in CASES.items():
    base = AutoModelForCausalLM.from_pretrained(families / name, dtype=torch.float32, attn_implementation="eager")
    model = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", lora_dropout=0.0, **settings)).eval()
    for key, parameter in model.named_parameters():
        if "lora_" in key:
            torch.nn.init.normal_(parameter, std=0.3)
    model.peft_config["default"].base_model_name_or_path = name
    out = here / name
    model.save_pretrained(out)
    (out / "README.md").unlink(missing_ok=True)
    given = load_file(families / name / "golden.safetensors")
    ids, mask, positions = (given[k].long() for k in ("input_ids", "attention_mask", "position_ids"))
    with torch.no_grad():
        logits = model(input_ids=ids, attention_mask=mask, position_ids=positions).logits
    save_file({"input_ids": ids.int(), "attention_mask": mask.int(), "logits": logits.contiguous()}, out / "golden.safetensors")
    print(name, logits.shape, [f.name for f in out.iterdir()])
