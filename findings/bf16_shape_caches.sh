#!/usr/bin/env bash
# Expected: memory of a process that multiplies bfloat16 matrices of varying length on a CPU stays flat, or small caches cost time.
# Seen: it grows with every new length, since torch's bridge to oneDNN and oneDNN itself keep 1,024 compiled shapes each. Two environment
# variables bound both, may still be set by the process itself after `import torch`, and 64 shapes cost no time that can be measured.
# Matters here: texts generated, scored and trained on have all lengths; a run in bfloat16 would grow by megabytes a batch.
# Source: https://uxlfoundation.github.io/oneDNN/dev_guide_primitive_cache.html; LRU_CACHE_CAPACITY is read in ideep's lru_cache.hpp.
# Exits with 1 when the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy
cat > "$folder/grow.py" <<'PY'
import os
import sys
import time

import torch

if sys.argv[1] != "default":
    os.environ.update(ONEDNN_PRIMITIVE_CACHE_CAPACITY=sys.argv[1], LRU_CACHE_CAPACITY=sys.argv[1])
torch.set_num_threads(1)


def resident() -> float:
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


layers = [torch.nn.Linear(*shape).bfloat16() for shape in ((576, 1536), (1536, 576), (576, 576))]
with torch.inference_mode():
    for length in range(20, 400):
        if length == 60:
            before, started = resident(), time.process_time()
        for layer in layers:
            layer(torch.zeros(length, layer.in_features, dtype=torch.bfloat16))
print(f"{resident() - before:.0f} {time.process_time() - started:.1f}")
PY
read -r grown seconds < <("$folder/venv/bin/python" "$folder/grow.py" default)
read -r bounded bounded_seconds < <("$folder/venv/bin/python" "$folder/grow.py" 64)
"$folder/venv/bin/python" -c 'import torch; print("torch", torch.__version__)'
echo "340 lengths after the first 40: +$grown MB in $seconds s of processor time; with 64 shapes: +$bounded MB in $bounded_seconds s"
python3 -c "import sys; sys.exit(0 if $grown > 20 and $bounded < $grown / 3 else 1)"
