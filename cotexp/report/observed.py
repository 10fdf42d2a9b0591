"""Finished runs as a forecast reads them: what was known before fine-tuning, what came out, and whose training set it was."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from cotexp.jobs.stored_files import compressed_of, metrics_of, settings_of, stages_of, understood
from cotexp.methods import forecasting
from cotexp.report.arms import fits, is_finished, listed, name_of, run_folders
from cotexp.sections import ConfigError, RunFailed, suggestion

MODE = "compress"
"""The mode that is forecast: of the fine-tuned model, asked for short chains."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """One finished run. `training_set` holds a word for each compressed chain, the same for the same text."""

    features: list[float]
    accuracy: float
    num_tokens: float
    compressor: str
    target: str
    training_set: frozenset[str]


class Found(NamedTuple):
    """Runs to learn from, and lines on those that are left out, by reason."""

    runs: list[Observed]
    left_out: list[str]


def find(names: Sequence[str], outputs: Path) -> Found:
    """The finished runs of experiments, or of patterns such as 'macc/*', that a forecast can learn from.

    Raises: ConfigError for a name without a run, or where fewer than two compressed training sets are left.
    """
    everything = run_folders(outputs)
    known = sorted({name_of(each, outputs) for each in everything if is_finished(each)})
    if unknown := [name for name in names if not any(fits(each, (name,), outputs) for each in everything if is_finished(each))]:
        there = f"experiments with finished runs: {', '.join(known) or 'none'}"
        raise ConfigError(*(f"forecast: no finished run of {name!r} under {outputs / 'runs'}{suggestion(name, known)}; {there}" for name in unknown))
    runs: list[Observed] = []
    reasons: dict[str, list[str]] = {}
    for folder in (each for each in everything if fits(each, names, outputs)):
        try:
            with understood(folder):
                runs.append(_read(folder))
        except RunFailed as error:
            reasons.setdefault(str(error), []).append(str(folder.relative_to(outputs / "runs")))
    left_out = [f"{listed(folders)}: {reason}" for reason, folders in reasons.items()]
    if len({each.training_set for each in runs}) < 2:
        raise ConfigError(
            f"forecast: {len(runs)} usable runs of {', '.join(names)} with {len({each.training_set for each in runs})} compressed training sets; "
            "at least two are needed: vary the compression, such as python run.py -m sweep=macc/quickstart_ablation",
            *(f"forecast: left out {each}" for each in left_out),
        )
    return Found(runs, left_out)


def _read(folder: Path) -> Observed:
    """Raises: RunFailed when nothing can be learnt from this run."""
    if not is_finished(folder):
        raise RunFailed("not finished")
    if "checkpoint" not in stages_of(folder):
        raise RunFailed("fine-tuned nothing")
    settings, metrics = settings_of(folder), metrics_of(folder)
    if f"eval/{MODE}/accuracy" not in metrics:
        raise RunFailed(f"no answers in mode {MODE}")
    try:
        features = forecasting.features_of(metrics, settings["mixture"]["full_ratio"])
    except KeyError as error:
        raise RunFailed(f"without the metric {error.args[0]}; start its command again, which measures it and trains nothing") from None
    return Observed(
        features=list(features.values()),
        accuracy=metrics[f"eval/{MODE}/accuracy"],
        num_tokens=metrics[f"eval/{MODE}/num_tokens"],
        compressor=_compressor(settings),
        target=settings["model"]["path"],
        training_set=_training_set(folder),
    )


def _compressor(settings: dict[str, Any]) -> str:
    """What shortened the chains: a model by its path or name, or a compression that asks none."""
    section, compression = settings.get("compressor") or {}, settings["compression"]["name"]
    if compression in ("truncate", "tokenskip"):
        return str(compression)
    if server := section.get("server"):
        return str(server["model"])
    return str((section.get("model") or settings["model"])["path"])


def _training_set(folder: Path) -> frozenset[str]:
    lines = [f"{each['rationale_id']}\n{each['text']}" for each in compressed_of(folder)]
    return frozenset(hashlib.blake2b(line.encode(), digest_size=8).hexdigest() for line in lines)
