#!/usr/bin/env bash
# One would expect that a 4-bit linear layer of bitsandbytes which was evaluated goes on training. On a processor with AVX512-BF16 its first pass
# in evaluation mode without gradients rewrites the weights into an order for another kernel, for good. Back in training mode the layer still uses
# that kernel, which has no derivative: its output is right and its input gets no gradient at all. In a network with residual connections the
# loss goes on falling, since gradients still flow around the layer, and torch only warns. A layer with fewer inputs than a block of 64, which trains,
# cannot be evaluated.
# Why it matters here: fine-tuning validates between steps, so QLoRA on such a CPU would train on wrong gradients from the first validation on. The
# product sets support_avx512bf16_for_cpu of every such layer to False before the first pass; with that the gradients stay.
# Source: bitsandbytes/nn/modules.py, Linear4bit.forward; bitsandbytes/autograd/_functions.py, matmul_4bit.
set -euo pipefail
grep -q avx512_bf16 /proc/cpuinfo || { echo "needs a processor with AVX512-BF16: nothing to see here"; exit 0; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "torch==2.13.0" "bitsandbytes==0.50.2"
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import sys
import warnings

import bitsandbytes
import torch
from bitsandbytes.nn import Linear4bit, Params4bit

warnings.filterwarnings("ignore", message=".*autograd kernel was not registered.*")
print("torch", torch.__version__, "bitsandbytes", bitsandbytes.__version__)
weight, x = torch.randn(64, 128, generator=torch.Generator().manual_seed(0)) / 10, torch.ones(3, 128)


def layer():
    made = Linear4bit(128, 64, bias=False, compute_dtype=torch.bfloat16, quant_type="nf4")
    made.weight = Params4bit(weight.clone(), requires_grad=False, quant_type="nf4", compress_statistics=True)
    return made.to("cpu")


def gradient(own):
    inputs = x.clone().requires_grad_()
    (own.train()(inputs).float().sum() + 0 * inputs.sum()).backward()
    return float(inputs.grad.norm())


def around_an_evaluation(own):
    before = gradient(own)
    with torch.no_grad():
        own.eval()(x)
    return before, gradient(own)


plain, guarded = layer(), layer()
guarded.support_avx512bf16_for_cpu = False
(before, after), (kept_before, kept_after) = around_an_evaluation(plain), around_an_evaluation(guarded)
print(f"norm of the input's gradient: {before:.3f} before an evaluation, {after:.3f} after it")
print(f"with support_avx512bf16_for_cpu=False: {kept_before:.3f} and {kept_after:.3f}")
sys.exit(0 if before > 0 and after == 0 and kept_before == kept_after else "this version behaves otherwise")
PYTHON
