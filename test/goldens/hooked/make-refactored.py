"""Makes gpt2/refactored.weights.safetensors: what TransformerLens' refactor_factored_attn_matrices makes of the attention
weights in gpt2/processed.weights.safetensors.

    python make-refactored.py FOLDER_WITH_gpt2
"""

import sys
from types import SimpleNamespace

from safetensors.torch import load_file, save_file
from transformer_lens.weight_processing import ProcessWeights

folder = sys.argv[1] + "/gpt2/"
weights = load_file(folder + "processed.weights.safetensors")
cfg = SimpleNamespace(n_layers=3, n_heads=4, d_head=8, d_model=32, positional_embedding_type="standard", n_key_value_heads=None)
made = ProcessWeights.refactor_factored_attn_matrices(dict(weights), cfg)
save_file(
    {name: made[name].contiguous() for name in made if ".attn." in name},
    folder + "refactored.weights.safetensors",
)
