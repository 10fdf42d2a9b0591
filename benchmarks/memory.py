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
from peak import KINDS, SHAPES, Step, measured

from cotexp.models import adapters, head
from cotexp.settings.training import Lora

ROWS = {
    "LoRA, 7B, 8192 tokens at once": Step("qwen2_5_7b", "lora", 4, 2048, True),
    "LoRA, 7B, 8192 tokens at once, nothing computed twice": Step("qwen2_5_7b", "lora", 4, 2048, False),
    "LoRA, 7B, a chain of 16384 tokens": Step("qwen2_5_7b", "lora", 1, 16384, True),
    "LoRA, 0.5B, 2 chains of 1400 tokens": Step("qwen2_5_0_5b", "lora", 2, 1400, True),
    "LoRA, 0.5B, 2 chains of 1400 tokens, nothing computed twice": Step("qwen2_5_0_5b", "lora", 2, 1400, False),
    "every weight, SmolLM2-135M, 1024 tokens at once": Step("smollm2_135m", "full", 6, 170, False),
}
CHECKED = [Step("qwen2_5_0_5b", "lora", 2, 700, False, layers=6), Step("smollm2_135m", "full", 6, 170, False, layers=10)]
CHECKED += [Step("qwen2_5_0_5b", "lora", 2, 1400, True, layers=6)]


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
        print(f"{'GB':58} {'':7} {'peak':>6} " + " ".join(f"{kind:>11}" for kind in KINDS))
        for name, step in ROWS.items():
            ours = of_ours(step, fake=True)
            show(name, "cotexp", ours)
            if options.peer:
                theirs = of_peer(options.peer, step)
                show(name, "TRL", theirs)
                print(f"{'':58} ratio   {ours.total() / theirs.total():.2f}", flush=True)


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
    torch.ones(8, 8) @ torch.ones(8, 8)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    estimate = of_ours(step, fake=True).total() / 1e6
    of_ours(step, fake=False)
    return json.dumps([before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3, estimate])


def check(step: Step) -> None:
    """Run the step in a separate process and print both figures."""
    done = subprocess.run([sys.executable, __file__, "--step", json.dumps(dataclasses.asdict(step))], capture_output=True, text=True, check=True)
    before, peak, estimate = json.loads(done.stdout.splitlines()[-1])
    print(f"{step}: resident {peak:.0f} MB, estimate {before:.0f} + {estimate:.0f} MB, {(before + estimate) / peak - 1:+.1%}", flush=True)


def show(name: str, whose: str, peak: Counter[str]) -> None:
    kinds = " ".join(f"{peak[kind] / 1e9:11.2f}" for kind in KINDS)
    print(f"{name:58} {whose:7} {peak.total() / 1e9:6.2f} {kinds}", flush=True)


if __name__ == "__main__":
    main()
