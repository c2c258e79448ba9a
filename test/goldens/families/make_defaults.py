"""What transformers' configuration classes assume where config.json is silent.

    pip install torch transformers
    python make_defaults.py               # writes defaults.json beside this file
"""
import json
from pathlib import Path

from transformers import AutoConfig

DECODER = dict(vocab_size=64, hidden_size=256, intermediate_size=96, num_hidden_layers=6, num_attention_heads=64,
               num_key_value_heads=16, head_dim=8, hidden_act="relu", max_position_embeddings=48, rms_norm_eps=1e-4)
NEOX = dict(vocab_size=64, hidden_size=512, num_hidden_layers=3, num_attention_heads=32, intermediate_size=96,
            hidden_act="relu", max_position_embeddings=48, layer_norm_eps=1e-4, use_parallel_residual=False,
            tie_word_embeddings=True)
# Configurations in which nothing has its default.
GIVEN = {
    "gpt2": dict(vocab_size=64, n_positions=48, n_embd=24, n_layer=3, n_head=3, n_inner=40, activation_function="relu",
                 layer_norm_epsilon=1e-4, scale_attn_weights=False, scale_attn_by_inverse_layer_idx=True,
                 tie_word_embeddings=False),
    "llama": DECODER | dict(tie_word_embeddings=True, attention_bias=True, mlp_bias=True),
    "mistral": DECODER | dict(tie_word_embeddings=True, sliding_window=24),
    "qwen2": DECODER | dict(tie_word_embeddings=True, use_sliding_window=True, sliding_window=24, max_window_layers=2),
    "gemma2": {k: v for k, v in DECODER.items() if k != "hidden_act"} | dict(
        num_key_value_heads=2, tie_word_embeddings=False, hidden_activation="relu", attention_bias=True, query_pre_attn_scalar=100,
        sliding_window=24, final_logit_softcapping=20.0, attn_logit_softcapping=40.0),
    "gpt_neox": NEOX | dict(attention_bias=False),
}


def said(model_type, given):
    config = AutoConfig.for_model(model_type, **json.loads(json.dumps(given))).to_dict()
    return {key: config.get(key) for key in GIVEN[model_type]}


out = {}
for model_type, given in GIVEN.items():
    omitted = {}
    for key in given:
        rest = {k: v for k, v in given.items() if k != key}
        omitted[key] = {k: v for k, v in said(model_type, rest).items() if v != given[k]}
    out[model_type] = {"given": given, "omitted": omitted, "nothing": said(model_type, {})}
Path(__file__).with_name("defaults.json").write_text(json.dumps(out) + "\n")
