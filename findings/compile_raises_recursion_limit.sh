#!/usr/bin/env bash
# Expected: torch.compile changes the function that it is given, and nothing of the interpreter around it.
# Seen: a compilation raises the process's recursion limit from 1000 to 2000 and leaves it there, so that the standard library's json, which refuses
# lists nested 1001 deep under the usual limit, reads them afterwards. Where the compiled code is found in the cache on disk, as in a second process,
# the limit stays as it was.
# Matters here: a file of questions is refused or read depending on whether a model was compiled before in the same process, and a test of it fails
# in one order of the tests and with an empty cache alone.
# Source: `sys.setrecursionlimit(max(sys.getrecursionlimit(), 2000))` in torch/_inductor/compile_fx.py of torch 2.13.0.
# Needs a C++ compiler. Exits with 1 when the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy
cat > "$folder/limit.py" <<'PY'
import json
import sys

import torch

NESTED = "[" * 1001 + "]" * 1001


def outcome() -> str:
    try:
        json.loads(NESTED)
    except RecursionError:
        return "refused"
    return "read"


before = sys.getrecursionlimit(), outcome()
torch.compile(lambda numbers: (numbers * 2).sin())(torch.ones(4))
after = sys.getrecursionlimit(), outcome()
print(f"torch {torch.__version__}: limit and nested list before {before}, after {after}")
sys.exit(0 if (before, after) == ((1000, "refused"), (int(sys.argv[1]), sys.argv[2])) else 1)
PY
export TORCHINDUCTOR_CACHE_DIR="$folder/cache"
"$folder/venv/bin/python" "$folder/limit.py" 2000 read
"$folder/venv/bin/python" "$folder/limit.py" 1000 refused
