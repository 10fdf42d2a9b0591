"""Data for forecasts from finished runs: features known before fine-tuning, the measured outcome, and the training set.

One forecast uses only runs under the same conditions: the same test questions, the same prompts, the same number of training questions, the
same settings of the mixture, of training and of evaluation. The compressed training set and the share of full chains, from which the features are
computed, and the seed may differ.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from cotexp.invocation import run_command
from cotexp.methods import forecasting
from cotexp.methods.folds import groups_of
from cotexp.report.compression_texts import compressor_of
from cotexp.report.finished_runs import Flat, fits, identity_of, is_finished, listed, name_of, read_runs, run_folders
from cotexp.settings.base import ConfigError, RunFailed, suggestion
from cotexp.stages.context import hash_of
from cotexp.store.stored_files import compressed_of, metrics_of, questions_of, settings_of, stages_of

MODE = "compress"
"""The forecast mode: the fine-tuned model answers with short chains."""
OF_SECTIONS, OF_TASKS = ("mixture.", "trainer.", "evaluation."), (".prompt", ".few_shot", ".num_train")
"""Beginnings and ends of the settings that are conditions."""
SHARE_OF_FULL_CHAINS = "mixture.full_ratio"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One finished run. `identity` are the settings that can change its answers, except the seed; for `conditions` see `conditions_of`, for
    `training_set` `training_set_of`.
    """

    folder: Path
    identity: Flat
    conditions: Flat
    features: list[float]
    accuracy: float
    num_tokens: float
    compressor: str
    target: str
    training_set: frozenset[str]


class ComparableRuns(NamedTuple):
    """Runs to learn from, all under the same conditions, and lines about those that are left out (one per reason)."""

    runs: list[Observation]
    left_out: list[str]


def conditions_of(settings: Mapping[str, Any], answers: Mapping[str, Sequence[str]]) -> Flat:
    """Conditions that must be equal for results to be comparable: settings of mixture, training and evaluation, prompts and number of training
    questions of the tasks, and the test questions.

    `answers` maps tasks to the ids of the run's answers. The share of full chains is excluded, because it is a feature, and the prompt of a rewrite,
    because it belongs to the compression, whose effect is forecast. The ratio that tokenskip requests is a condition: one fine-tuned model answers
    at every ratio, which no feature of its training set shows.
    """
    identity = identity_of(dict(settings), MODE)
    conditions = {
        path: value
        for path, value in identity.items()
        if path.startswith(OF_SECTIONS) or (path.startswith(("task.", "tasks.")) and path.endswith(OF_TASKS))
    }
    conditions.pop(SHARE_OF_FULL_CHAINS, None)
    return {
        "test questions": f"{sum(map(len, answers.values()))} ({hash_of(question for ids in answers.values() for question in ids)})",
        **conditions,
    }


def unlike(conditions: Flat, others: Flat) -> str:
    """The difference of two sets of conditions, such as "trainer.max_epochs=1.0, not 3.0"; empty if they are equal."""
    differing = sorted(name for name in {*conditions, *others} if conditions.get(name) != others.get(name))
    return ", ".join(f"{name}={_value_text(name, conditions, 'not there')}, not {_value_text(name, others, 'there')}" for name in differing)


def trains_alike(identity: Flat, other: Flat) -> bool:
    """Whether two runs under the same conditions fine-tune the same model on the same share of full chains."""
    own, others = ({path: value for path, value in each.items() if path.startswith(("model.", SHARE_OF_FULL_CHAINS))} for each in (identity, other))
    return own == others


def _value_text(name: str, conditions: Flat, absent: str) -> str:
    """A value as a line shows it; prompts are quoted."""
    value = conditions.get(name)
    return absent if value is None else repr(value) if name.endswith(".prompt") else value


def find(names: Sequence[str], outputs: Path) -> ComparableRuns:
    """The finished runs of experiments, or of patterns such as 'macc/*', that a forecast can learn from.

    Raises: ConfigError for a name without a run, or if fewer than two groups of compressed training sets are left.
    """
    all_folders = run_folders(outputs)
    known = sorted({name_of(folder, outputs) for folder in all_folders if is_finished(folder)})
    if unknown := [name for name in names if not any(fits(folder, (name,), outputs) for folder in all_folders if is_finished(folder))]:
        there = f"experiments with finished runs: {', '.join(known) or 'none'}"
        raise ConfigError(*(f"forecast: no finished run of {name!r} under {outputs / 'runs'}{suggestion(name, known)}; {there}" for name in unknown))
    runs, left_out = read_runs([folder for folder in all_folders if fits(folder, names, outputs)], outputs, _read)
    runs, others = _comparable(runs)
    differing: dict[str, list[str]] = {}
    for other, difference in others:
        differing.setdefault(difference, []).append(str(other.folder.relative_to(outputs / "runs")))
    left_out += [f"{listed(folders)}: not comparable with the other runs: {difference}" for difference, folders in differing.items()]
    if problem := _too_few(runs):
        raise ConfigError(
            f"forecast: {len(runs)} usable runs of {', '.join(names)} with {problem}: vary the compression, such as "
            f"{run_command()} -m sweep=macc/quickstart_ablation",
            *(f"forecast: left out {line}" for line in left_out),
        )
    return ComparableRuns(runs, left_out)


def _too_few(runs: Sequence[Observation]) -> str:
    """What the folds of these runs lack; empty if there are at least two groups."""
    groups, num_sets = groups_of([run.compressor for run in runs], [run.training_set for run in runs]), len({run.training_set for run in runs})
    if groups.num > 1:
        return ""
    if num_sets < 2:
        return f"{num_sets} compressed training sets; at least two are needed"
    of_compressors = ", and so do compressors that made one of them" if groups.kind == "compressor" else ""
    return (
        f"{num_sets} compressed training sets that form one group, since sets that share nine tenths of the smaller one's chains count as "
        f"one{of_compressors}; at least two groups are needed"
    )


def _comparable(runs: Sequence[Observation]) -> tuple[list[Observation], list[tuple[Observation, str]]]:
    """(the largest set of runs under the same conditions, the newest of several; every other run with its difference to them)."""
    groups: dict[tuple[tuple[str, str], ...], list[Observation]] = {}
    for run in runs:
        groups.setdefault(tuple(sorted(run.conditions.items())), []).append(run)
    if not groups:
        return [], []
    kept = max(groups.values(), key=lambda group: (len(group), max((run.folder / "metrics.json").stat().st_mtime for run in group)))
    return kept, [(run, unlike(run.conditions, kept[0].conditions)) for group in groups.values() if group is not kept for run in group]


def _read(folder: Path) -> Observation:
    """The data of one run. Raises: RunFailed if a forecast cannot use it."""
    if not is_finished(folder):
        raise RunFailed("not finished")
    if "checkpoint" not in stages_of(folder):
        raise RunFailed("fine-tuned nothing")
    settings, metrics = settings_of(folder), metrics_of(folder)
    if f"eval/{MODE}/accuracy" not in metrics:
        raise RunFailed(f"no answers in mode {MODE}")
    if not (folder / "questions.json").is_file():
        raise RunFailed("made by an earlier version of this project; run it again")
    try:
        features = forecasting.features_of(metrics, settings["mixture"]["full_ratio"])
    except KeyError as error:
        raise RunFailed(f"without the metric {error.args[0]}; start its command again, which measures it and trains nothing") from None
    return Observation(
        folder=folder,
        identity=identity_of(settings, MODE),
        conditions=conditions_of(settings, questions_of(folder)[0]),
        features=list(features.values()),
        accuracy=metrics[f"eval/{MODE}/accuracy"],
        num_tokens=metrics[f"eval/{MODE}/num_tokens"],
        compressor=compressor_of(settings),
        target=settings["model"]["path"],
        training_set=training_set_of((chain["rationale_id"], chain["text"]) for chain in compressed_of(folder)),
    )


def training_set_of(chains: Iterable[tuple[str, str]]) -> frozenset[str]:
    """A hash of each compressed chain, given by the id of its rationale and its text."""
    return frozenset(hashlib.blake2b(f"{rationale}\n{text}".encode(), digest_size=8).hexdigest() for rationale, text in chains)
