"""The memory of one training step by kind, ours and TRL's, on shapes of any size: tensors are fake and take no memory.

    python benchmarks/memory.py [--peer PYTHON] [--check] [--step JSON]

PYTHON is the interpreter of an environment with benchmarks/requirements.txt; without it there are no rows for TRL. --check compares the estimate
with the resident memory of a real step of a small shape on this CPU. Memory that kernels allocate internally is not counted.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import resource
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from measure import Row, keep
from peak import KINDS, SHAPES, Step, measured

from cotexp.models import adapters, head
from cotexp.settings.training import Lora

ROWS = {
    "memory_lora_7b": (Step("qwen2_5_7b", "lora", 4, 2048, True), 0.9, 22),
    "memory_lora_7b_4_bits": (Step("qwen2_5_7b", "lora", 4, 2048, True, four_bits=True), None, 12),
    "memory_lora_7b_chain_of_16384": (Step("qwen2_5_7b", "lora", 1, 16384, True), None, 40),
    "memory_lora_7b_once": (Step("qwen2_5_7b", "lora", 4, 2048, False), None, None),
    "memory_lora_0_5b": (Step("qwen2_5_0_5b", "lora", 2, 1400, True), 0.8, None),
    "memory_full_135m": (Step("smollm2_135m", "full", 6, 170, False), 0.5, None),
}
"""Name of a row -> its step, the largest share of the peer's memory that is the goal, and the most gigabytes."""
CHECKED = [Step("qwen2_5_0_5b", "lora", 2, 700, False, layers=6), Step("smollm2_135m", "full", 6, 170, False, layers=10)]
CHECKED += [Step("qwen2_5_0_5b", "lora", 2, 1400, True, layers=6), Step("qwen2_5_0_5b", "lora", 2, 1400, True, layers=6, four_bits=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", help="Python of an environment with TRL")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--step", help="one step as JSON, run with real tensors; prints its resident memory")
    options = parser.parse_args()
    if options.step:
        print(real(Step(**json.loads(options.step))))
    elif options.check:
        for step in CHECKED:
            check(step)
    else:
        print(f"{'GB':32} {'':7} {'peak':>6} " + " ".join(f"{kind:>11}" for kind in KINDS))
        for name, (step, share, most) in ROWS.items():
            count(name, step, share, most, options.peer)


def count(name: str, step: Step, share: float | None, most: float | None, peer: str | None) -> None:
    """Count one row, print it by kind and keep it."""
    kinds = {"ours": of_ours(step, fake=True), **({"peer": of_peer(peer, step)} if peer else {})}
    gigabytes = {whose: counts.total() / 1e9 for whose, counts in kinds.items()}
    for whose, counts in kinds.items():
        print(f"{name:32} {whose:7} {gigabytes[whose]:6.2f} " + " ".join(f"{counts[kind] / 1e9:11.2f}" for kind in KINDS), flush=True)
    sizes = {**dataclasses.asdict(step), "most": most, "within": None if most is None else gigabytes["ours"] < most}
    sizes |= {f"{whose} {kind}": counts[kind] / 1e9 for whose, counts in kinds.items() for kind in KINDS}
    theirs = gigabytes.get("peer")
    keep(Row(name, "GB", gigabytes["ours"], theirs, theirs and theirs / gigabytes["ours"], share and 1 / share, True, sizes))


def make_model(step: Step) -> Any:
    """The model as in `training.fit` with precision=bfloat16."""
    model = step.model(torch.bfloat16 if step.tuning == "lora" else torch.float32).train()
    if step.tuning == "lora":
        model = adapters.with_adapters(model, Lora(), 7)
        adapters.follow_autocast(model)
    if step.checkpointing:
        model.activation_checkpointing_enable()
    head._known[model] = True  # not probed: fake tensors have no numbers
    return model


def make_loss(step: Step, model: Any) -> Any:
    ids_BT = torch.ones(step.rows, step.tokens, dtype=torch.long)
    places = torch.arange(step.rows * (step.tokens - step.first))
    rows_N, columns_N = places // (step.tokens - step.first), places % (step.tokens - step.first) + step.first - 1

    def loss() -> torch.Tensor:
        states = head.hidden(model, {"input_ids": ids_BT, "use_cache": False}, rows_N, columns_N)
        return head.summed_loss(states, torch.ones_like(rows_N))[0]

    return loss


def of_ours(step: Step, *, fake: bool) -> Counter[str]:
    return measured(lambda: make_model(step), lambda model: make_loss(step, model), widths=[SHAPES[step.shape]["vocab_size"]], fake=fake)


def of_peer(python: str, step: Step, how: str = "fake") -> Counter[str]:
    script = Path(__file__).with_name("trl_step.py")
    done = subprocess.run([python, str(script), json.dumps(dataclasses.asdict(step)), how], capture_output=True, text=True, check=True)
    return Counter(json.loads(done.stdout.splitlines()[-1]))


def real(step: Step) -> str:
    """MB: resident memory before the model is built, at the peak of a real step, and the estimate of the difference."""
    estimate = of_ours(step, fake=True).total() / 1e6  # first: it imports what is no part of a step
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    of_ours(step, fake=False)
    return json.dumps([before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3, estimate])


def check(step: Step) -> None:
    """Run the step in a separate process and print both figures."""
    done = subprocess.run([sys.executable, __file__, "--step", json.dumps(dataclasses.asdict(step))], capture_output=True, text=True, check=True)
    before, peak, estimate = json.loads(done.stdout.splitlines()[-1])
    print(f"{step}: resident {peak:.0f} MB, estimate {before:.0f} + {estimate:.0f} MB, {(before + estimate) / peak - 1:+.1%}", flush=True)


if __name__ == "__main__":
    main()
