"""The state from which a stopped fine-tuning goes on: one file that knows nothing of devices, micro-batches or strategies.

It holds what is trained and the optimiser's moments, whole and by name, so that any number of devices can read what another has written.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch

from cotexp.training.sharding import placed, trained, whole

COUNTER = "step"
"""The one entry of an optimiser's state that is no tensor of the parameter's shape."""


class Progress(NamedTuple):
    """Optimiser steps taken, and the best validation loss so far with its step."""

    step: int = 0
    best_loss: float = float("inf")
    best_step: int = 0


def progress(path: Path) -> Progress:
    """How far the state at `path` is; nothing done without one, or with one of another form."""
    saved = torch.load(path, weights_only=True, mmap=True, map_location="cpu") if path.is_file() else {}
    return Progress(**saved["progress"]) if "progress" in saved else Progress()


def save(path: Path, module: torch.nn.Module, optimizer: torch.optim.Optimizer, done: Progress, *, writes: bool) -> None:
    """Store the state at `path`, at once or not at all. Every device must call this; one of them `writes`."""
    weights, moments = {}, {}
    for name, each in trained(module):
        weight, own = whole(each).detach(), {key: whole(value) for key, value in optimizer.state[each].items()}
        if writes:
            weights[name], moments[name] = weight.cpu(), {key: value.cpu() for key, value in own.items()}
    if writes:
        unfinished = path.with_suffix(".new")
        torch.save({"progress": done._asdict(), "weights": weights, "moments": moments}, unfinished)
        unfinished.replace(path)


@torch.no_grad()
def restore(path: Path, module: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Put the state at `path` in place; each device takes its part."""
    saved = torch.load(path, weights_only=True, mmap=True, map_location="cpu")
    for name, each in trained(module):
        each.copy_(placed(saved["weights"][name], each))
        optimizer.state[each] = {
            key: value.clone() if key == COUNTER else placed(value, each).clone() for key, value in saved["moments"][name].items()
        }
