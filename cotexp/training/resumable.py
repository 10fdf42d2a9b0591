"""Checkpoints from which a stopped fine-tuning resumes: one file that does not depend on devices, micro-batches or strategies.

It holds the unsharded trained parameters and the optimiser's moments by name, so that any number of devices can read it.
"""

from __future__ import annotations

import logging
import pickle
import zipfile
from pathlib import Path
from typing import NamedTuple

import torch

from cotexp import durable, ownership
from cotexp.training import zero
from cotexp.training.sharding import distributed, gathered, moments_of, trained_parameters

log = logging.getLogger(__name__)

COUNTER = "step"
"""The entry of an optimiser's state without the parameter's shape."""


class Progress(NamedTuple):
    """Optimiser steps taken, the best validation loss so far with its step, and the seconds that these steps took, also times the devices that took
    them, of which there may have been another number before a restart (None if a part is unknown).
    """

    step: int = 0
    best_loss: float = float("inf")
    best_step: int = 0
    seconds: float | None = 0.0
    device_seconds: float | None = 0.0


def progress(path: Path) -> Progress:
    """Progress of the checkpoint at `path`, which `repair` has checked; no steps without a checkpoint."""
    if not path.is_file():
        return Progress()
    earlier = {"seconds": None, "device_seconds": None}  # checkpoints of earlier versions do not say
    return Progress(**earlier | torch.load(path, weights_only=True, mmap=True, map_location="cpu")["progress"])


def repair(path: Path) -> None:
    """Keep the newest complete checkpoint at `path`, if any, and remove broken ones.

    Every byte is compared with the file's checksums, because a power cut or a failing disk may have damaged it.
    """
    problems = []
    for each in (path, previous(path)):
        if problem := _problem(each):
            problems.append(f"{each} {problem} and is removed")
            each.unlink()
    if not path.is_file() and previous(path).is_file():
        durable.put(previous(path), path)
    if problems:
        log.warning("%s; training resumes from the last complete checkpoint, after step %d", "; ".join(problems), progress(path).step)


def remove(path: Path) -> None:
    """Remove the checkpoint at `path` and the one before it."""
    for each in (path, previous(path)):
        each.unlink(missing_ok=True)


def previous(path: Path) -> Path:
    """Path of the checkpoint saved before the one at `path`."""
    return path.with_suffix(".before")


def _problem(path: Path) -> str:
    """The reason why training cannot resume from the checkpoint at `path`; empty if it can, or if there is none."""
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
    """Save a checkpoint at `path` atomically. Every device must call this; one of them `writes`.

    The earlier checkpoint is kept until the next save, so two of them need disk space.
    """
    weights, moments = {}, {}
    for name, each in trained_parameters(module):
        weight, own = gathered(each).detach(), moments_of(optimizer, each)
        if writes:
            weights[name], moments[name] = weight.cpu(), {key: value.cpu() for key, value in own.items()}
    if writes:
        unfinished, owner = path.with_suffix(".new"), ownership.owner(path.parent)
        previous(path).unlink(missing_ok=True)
        torch.save({"progress": done._asdict(), "weights": weights, "moments": moments}, unfinished)
        owner.check()
        if path.is_file():
            path.rename(previous(path))
        durable.put(unfinished, path)


@torch.no_grad()
def restore(path: Path, module: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Load the checkpoint at `path`; each device takes its shard."""
    saved = torch.load(path, weights_only=True, mmap=True, map_location="cpu")
    trained = dict(trained_parameters(module))
    if any(zero.is_divided(each) for each in trained.values()):
        zero.restore(optimizer, [(each, saved["weights"][name], saved["moments"][name]) for name, each in trained.items()])
        return
    for name, each in trained.items():
        each.copy_(distributed(saved["weights"][name], each))
        optimizer.state[each] = {
            key: value.clone() if key == COUNTER else distributed(value, each).clone() for key, value in saved["moments"][name].items()
        }
