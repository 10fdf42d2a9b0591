#!/usr/bin/env bash
# One would expect that torch.utils.flop_counter.FlopCounterMode counts all matrix products of a step. On a CPU it counts none of the attention of
# scaled_dot_product_attention, and nowhere those of grouped_mm, with which transformers multiplies the experts of a mixture: a Mixtral seems to
# need a third of its FLOPs, and the same model needs more or less by its attn_implementation. Nothing is said.
# Why it matters here: trainer.max_flops and the column of training FLOPs would depend on the kernel that a machine happens to choose. The product
# counts by the sizes of the model; tests compare with the counter where attention and experts are multiplied in the open (eager).
# Source: torch/utils/flop_counter.py, flop_registry, which has no entry for _scaled_dot_product_flash_attention_for_cpu and _grouped_mm.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "torch==2.13.0" "numpy==2.4.3"
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

print("torch", torch.__version__)


def counted(compute):
    with FlopCounterMode(display=False) as counter:
        compute()
    return counter.get_total_flops()


batch, heads, tokens, width, experts = 1, 4, 64, 16, 4
query = torch.randn(batch, heads, tokens, width, requires_grad=True)
expected = 6 * 2 * batch * heads * tokens**2 * width  # two products forward, four backward


def by_hand():
    shares = (query @ query.transpose(-1, -2) / width**0.5).softmax(dim=-1)
    (shares @ query).sum().backward()


found = {
    "attention, products in the open": counted(by_hand) / expected,
    "attention, scaled_dot_product_attention": counted(lambda: functional.scaled_dot_product_attention(query, query, query).sum().backward()) / expected,
}
states = torch.randn(tokens, width, dtype=torch.bfloat16)
weights = torch.randn(experts, width, width, dtype=torch.bfloat16)
ends = torch.arange(1, experts + 1, dtype=torch.int32) * (tokens // experts)
of_experts = 2 * tokens * width**2
found["experts, one product each"] = counted(lambda: [part @ weight for part, weight in zip(states.chunk(experts), weights)]) / of_experts
found["experts, grouped_mm"] = counted(lambda: functional.grouped_mm(states, weights, offs=ends)) / of_experts
for name, share in found.items():
    print(f"{name}: {share:.2f} of its FLOPs are counted")
if [round(share, 2) for share in found.values()] != [1, 0, 1, 0]:
    sys.exit("the behaviour has changed")
PYTHON
