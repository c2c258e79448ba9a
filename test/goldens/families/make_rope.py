"""Cosines and sines of transformers' rotary embeddings for configurations whose keys stand in unusual places.

    pip install torch transformers
    python make_rope.py                   # writes rope.json beside this file
"""
import json
from pathlib import Path

import torch
from transformers import AutoConfig
from transformers.models.gpt_neox.modeling_gpt_neox import GPTNeoXRotaryEmbedding
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

LLAMA = dict(model_type="llama", vocab_size=37, hidden_size=24, intermediate_size=20, num_hidden_layers=2,
             num_attention_heads=4, head_dim=8, max_position_embeddings=32)
NEOX = dict(model_type="gpt_neox", vocab_size=37, hidden_size=32, intermediate_size=20, num_hidden_layers=2,
            num_attention_heads=4, max_position_embeddings=32)
llama3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, rope_theta=100.0)
yarn = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=8, rope_theta=100.0)
CASES = {
    "a part of each head, which llama does not read": LLAMA | dict(partial_rotary_factor=0.5),
    "rope_scaling before rope_parameters": LLAMA | dict(
        rope_theta=100.0, rope_scaling=dict(type="linear", factor=2.0),
        rope_parameters=dict(rope_type="linear", factor=3.0, rope_theta=50.0)),
    "an empty rope_scaling": LLAMA | dict(rope_theta=100.0, rope_scaling={}, rope_parameters=dict(rope_type="linear", factor=3.0)),
    "llama3, original length at the top": LLAMA | dict(
        rope_parameters=llama3 | dict(original_max_position_embeddings=8), original_max_position_embeddings=16),
    "llama3, original length nowhere": LLAMA | dict(rope_parameters=llama3),
    "yarn": LLAMA | dict(rope_parameters=yarn),
    "yarn, not truncated": LLAMA | dict(rope_parameters=yarn | dict(truncate=False)),
    "yarn, factor from the lengths": LLAMA | dict(rope_parameters=yarn | dict(factor=None)),
    "yarn, boundaries that cross": LLAMA | dict(
        rope_parameters=yarn | dict(rope_theta=2.5, original_max_position_embeddings=4096)),
    "yarn, mscale": LLAMA | dict(rope_parameters=yarn | dict(mscale=0.7, mscale_all_dim=0.5)),
    "proportional": LLAMA | dict(rope_parameters=dict(
        rope_type="proportional", rope_theta=100.0, partial_rotary_factor=0.5)),
    "proportional, stretched": LLAMA | dict(rope_parameters=dict(
        rope_type="proportional", rope_theta=100.0, partial_rotary_factor=0.6, factor=2.0)),
    "neox, keys at the top": NEOX | dict(rotary_emb_base=70, rotary_pct=0.5, rope_theta=50.0, partial_rotary_factor=1.0),
    "neox, rope_parameters before them": NEOX | dict(
        rotary_emb_base=70, rotary_pct=0.5, rope_parameters=dict(rope_type="default", rope_theta=90.0, partial_rotary_factor=0.75)),
    "neox, scaling beside keys at the top": NEOX | dict(
        rotary_emb_base=70, rotary_pct=0.5, rope_scaling=dict(type="linear", factor=2.0)),
}
out = {}
positions = torch.tensor([[1, 13]])
for name, raw in CASES.items():
    given = json.loads(json.dumps(raw))
    config = AutoConfig.for_model(**given)
    cls = LlamaRotaryEmbedding if raw["model_type"] == "llama" else GPTNeoXRotaryEmbedding
    cos, sin = cls(config)(torch.zeros(1), positions)
    half = cos.shape[-1] // 2
    out[name] = {"config": raw, "cos": cos[0, :, :half].tolist(), "sin": sin[0, :, :half].tolist()}
Path(__file__).with_name("rope.json").write_text(json.dumps({"positions": positions[0].tolist(), "cases": out}, indent=1) + "\n")
