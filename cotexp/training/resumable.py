"""The state from which a stopped fine-tuning goes on: one file that knows nothing of devices, micro-batches or strategies.

It holds what is trained and the optimiser's moments, whole and by name, so that any number of devices can read what another has written.
"""

from __future__ import annotations

import logging
import pickle
import zipfile
from pathlib import Path
from typing import NamedTuple

import torch

from cotexp import durable
from cotexp.training.sharding import distributed, gathered, trained_parameters

log = logging.getLogger(__name__)

COUNTER = "step"
"""The one entry of an optimiser's state that is no tensor of the parameter's shape."""


class Progress(NamedTuple):
    """Optimiser steps taken, and the best validation loss so far with its step."""

    step: int = 0
    best_loss: float = float("inf")
    best_step: int = 0


def progress(path: Path) -> Progress:
    """How far the state at `path` is, which `repair` has found whole; nothing done without one."""
    return Progress(**torch.load(path, weights_only=True, mmap=True, map_location="cpu")["progress"]) if path.is_file() else Progress()


def repair(path: Path) -> None:
    """Leave a state at `path` from which training can go on: the last that is whole, or none.

    Every byte is read and compared with the checksums beside it, as a power cut or a failing disk may have left anything.
    """
    problems = []
    for each in (path, previous(path)):
        if problem := _problem(each):
            problems.append(f"{each} {problem} and is removed")
            each.unlink()
    if not path.is_file() and previous(path).is_file():
        durable.put(previous(path), path)
    if problems:
        log.warning("%s; training goes on from the last good state, after step %d", "; ".join(problems), progress(path).step)


def remove(path: Path) -> None:
    """Remove the state at `path` and the one before it."""
    for each in (path, previous(path)):
        each.unlink(missing_ok=True)


def previous(path: Path) -> Path:
    """Where the state lies that was saved before the one at `path`."""
    return path.with_suffix(".before")


def _problem(path: Path) -> str:
    """What keeps training from going on from the state at `path`; nothing where it can, or where there is none."""
    if not path.is_file():
        return ""
    try:
        with zipfile.ZipFile(path) as parts:
            if broken := parts.testzip():
                return f"is broken in {broken}"
        saved = torch.load(path, weights_only=True, mmap=True, map_location="cpu")
        Progress(**saved["progress"])
        return "" if {"weights", "moments"} <= saved.keys() else "is of another form"
    except (zipfile.BadZipFile, pickle.UnpicklingError, EOFError, OSError, RuntimeError, LookupError, TypeError, ValueError, AttributeError) as error:
        return f"cannot be read ({type(error).__name__})"


def save(path: Path, module: torch.nn.Module, optimizer: torch.optim.Optimizer, done: Progress, *, writes: bool) -> None:
    """Store the state at `path`, at once or not at all. Every device must call this; one of them `writes`.

    The state that was there stays beside it until the next one is written: no more room is needed than for writing one beside another.
    """
    weights, moments = {}, {}
    for name, each in trained_parameters(module):
        weight, own = gathered(each).detach(), {key: gathered(value) for key, value in optimizer.state[each].items()}
        if writes:
            weights[name], moments[name] = weight.cpu(), {key: value.cpu() for key, value in own.items()}
    if writes:
        unfinished = path.with_suffix(".new")
        previous(path).unlink(missing_ok=True)
        torch.save({"progress": done._asdict(), "weights": weights, "moments": moments}, unfinished)
        if path.is_file():
            path.rename(previous(path))
        durable.put(unfinished, path)


@torch.no_grad()
def restore(path: Path, module: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Put the state at `path` in place; each device takes its part."""
    saved = torch.load(path, weights_only=True, mmap=True, map_location="cpu")
    for name, each in trained_parameters(module):
        each.copy_(distributed(saved["weights"][name], each))
        optimizer.state[each] = {
            key: value.clone() if key == COUNTER else distributed(value, each).clone() for key, value in saved["moments"][name].items()
        }
