#!/usr/bin/env bash
# One would expect that a model loaded in float32 and cast by model.to(torch.bfloat16) is the model that from_pretrained(dtype=torch.bfloat16)
# gives: the weights are the same to the bit. The cast also rounds the rotary frequencies, a buffer that no file stores. from_pretrained keeps
# them in float32. Rotary embedding multiplies them by the position, so their rounding error grows with it: at position 4095 some angles are wrong
# by more than a quarter of a turn, and the logits are far from those of float32, where those of from_pretrained are within rounding.
# Why it matters here: a chain of thought is long. The product casts parameters one by one and leaves buffers as they are; results that an
# earlier version computed in 16 bits have other keys.
# Source: torch.nn.Module.to casts floating-point parameters and buffers; transformers, models/llama/modeling_llama.py, LlamaRotaryEmbedding.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "torch==2.13.0" "transformers==5.23.0"
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import torch
import transformers
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

print("torch", torch.__version__, "transformers", transformers.__version__)
torch.manual_seed(0)
config = LlamaConfig(
    vocab_size=300, hidden_size=256, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=4,
    max_position_embeddings=8192, initializer_range=0.15, tie_word_embeddings=False,
)
LlamaForCausalLM(config).save_pretrained("model")
exact = AutoModelForCausalLM.from_pretrained("model", dtype=torch.float32).eval()
loaded = AutoModelForCausalLM.from_pretrained("model", dtype=torch.bfloat16).eval()
cast = AutoModelForCausalLM.from_pretrained("model", dtype=torch.float32).to(torch.bfloat16).eval()
same = all(torch.equal(one, other) for one, other in zip(loaded.parameters(), cast.parameters(), strict=True))
kept, rounded = loaded.model.rotary_emb.inv_freq, cast.model.rotary_emb.inv_freq
turns = float(((rounded.float() - kept).abs() * 4095).max() / (2 * torch.pi))
ids = torch.randint(0, 300, (1, 4096))
with torch.inference_mode():
    logits = [model(ids).logits[0, -256:].float() for model in (exact, loaded, cast)]
errors = [float((other - logits[0]).norm() / logits[0].norm()) for other in logits[1:]]
print(f"weights equal: {same}; frequencies: from_pretrained {kept.dtype}, after the cast {rounded.dtype}")
print(f"largest error of an angle at position 4095: {turns:.2f} turns")
print(f"distance to the float32 logits of positions 3840 to 4095: from_pretrained {errors[0]:.3f}, after the cast {errors[1]:.3f}")
as_stated = same and kept.dtype == torch.float32 and rounded.dtype == torch.bfloat16 and turns > 0.2 and errors[1] > 3 * errors[0]
sys.exit(0 if as_stated else "this version behaves otherwise")
PYTHON
