"""Arms: runs whose settings differ only in the seed. The label of an arm states the settings that set it apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cotexp.methods.statistics import Spread, mean_and_deviation
from cotexp.records import Prediction
from cotexp.report.finished_runs import Flat, Run, RunIdentity
from cotexp.settings.base import ConfigError, plain, suggestion

DERIVED = ("tasks.", "mixture.full_ratio", "mixture.full_loss_ratio", "evaluation.ratio")
"""Settings whose defaults follow from others. A label contains them only if it is ambiguous without them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """Runs that differ only in the seed, sorted by seed."""

    label: str
    runs: list[Run]

    @property
    def seeds(self) -> list[int]:
        return [run.seed for run in self.runs]

    @property
    def is_trained(self) -> bool:
        """Whether every run fine-tuned a model; the answers of the others do not depend on the seed."""
        return all("training/num_steps" in run.metrics for run in self.runs)

    @property
    def answers(self) -> dict[int | None, list[Prediction]]:
        """Answers by seed; those of a model that was not fine-tuned have none, so they are compared with every seed of another arm."""
        return {run.seed: run.answers for run in self.runs} if self.is_trained else {None: self.runs[-1].answers}

    def metric(self, name: str) -> Spread | None:
        """Mean and deviation over the seeds; None if a run lacks this metric."""
        values = [run.metrics[name] for run in self.runs if name in run.metrics]
        return mean_and_deviation(values) if values and len(values) == len(self.runs) else None


def arms_of(runs: Sequence[Run]) -> tuple[list[Arm], list[str]]:
    """The arms of `runs` sorted by label, and a line for each run that a newer one with the same settings and seed replaces."""
    groups: dict[tuple[Any, ...], dict[int, Run]] = {}
    replaced: dict[str, str] = {}
    for run in sorted(runs, key=lambda run: run.finished):
        by_seed = groups.setdefault((run.mode, *sorted(run.identity.items())), {})
        older = by_seed.get(run.seed)
        if older is not None and older.key != run.key:
            replaced[f"{older.name}/{older.key}"] = f"{older.name}/{older.key}: {run.name}/{run.key} has the same settings and seed, and is newer"
        by_seed[run.seed] = run
    members = [[by_seed[seed] for seed in sorted(by_seed)] for by_seed in groups.values()]
    labelled = zip(labels([by_seed[0] for by_seed in members]), members, strict=True)
    arms = [Arm(label=label, runs=members_of_arm) for label, members_of_arm in labelled]
    return sorted(arms, key=lambda arm: _by_number(arm.label)), list(replaced.values())


def labels(runs: Sequence[RunIdentity]) -> list[str]:
    """One label per arm, from one run of each: the settings that differ between the arms.

    The name of a section represents all of its settings; a setting is listed if it differs between arms with the same name. The label of a
    single arm is the name of its experiment.
    """
    if len(runs) == 1:
        return [runs[0].name]
    needed = [{path: value for path, value in run.identity.items() if not path.startswith(DERIVED)} for run in runs]
    short = _labels(runs, needed)
    return short if len(set(short)) == len(short) else _labels(runs, [run.identity for run in runs])


def _labels(runs: Sequence[RunIdentity], flats: Sequence[Flat]) -> list[str]:
    parts: list[list[str]] = [[] for _ in runs]
    slots = [_by_slot(flat) for flat in flats]
    for slot in dict.fromkeys(slot for of_run in slots for slot in of_run):
        in_slot = [of_run.get(slot, {}) for of_run in slots]
        present = [section for section in in_slot if section]
        if all(section == present[0] for section in present):
            continue
        names = [run.names.get(slot, "") for run in runs]
        varying = {name: _varying([flat for flat, other in zip(in_slot, names, strict=True) if flat and other == name]) for name in set(names)}
        for index, name in enumerate(names):
            if in_slot[index] and len(varying) > 1:
                parts[index].append(f"{slot}={name}")
            parts[index] += [f"{path}={value}" for path, value in in_slot[index].items() if path != f"{slot}.name" and path in varying[name]]
    if len({run.mode for run in runs}) > 1:
        parts = [[*settings, f"mode={run.mode}"] for settings, run in zip(parts, runs, strict=True)]
    return [", ".join(settings) or run.name for settings, run in zip(parts, runs, strict=True)]


def _by_slot(flat: Flat) -> dict[str, Flat]:
    slots: dict[str, Flat] = {}
    for path, value in flat.items():
        slots.setdefault(path.partition(".")[0], {})[path] = value
    return slots


def _varying(flats: Sequence[Flat]) -> set[str]:
    """Settings that have several values in `flats`, or are missing in some of them."""
    return {path for path in {path for flat in flats for path in flat} if len({flat.get(path) for flat in flats}) > 1}


def _by_number(label: str) -> list[tuple[bool, float, str]]:
    """Sort key of a label that orders its numbers by value."""
    words = label.replace("=", " ").replace(",", " ").split()
    return [(False, float(word), "") if word.replace(".", "", 1).isdigit() else (True, 0.0, word) for word in words]


def usual_baselines(arms: Sequence[Arm]) -> list[str]:
    """The labels of the arms that select at random among all rationales; of the first arm if there are none, or no others."""
    at_random = [arm.label for arm in arms if _is_random(arm.runs[0].settings.get("selection") or {})]
    return at_random if 0 < len(at_random) < len(arms) else [arms[0].label]


def label_of(known: Sequence[str], selector: str, place: str) -> str:
    """The label that has all parts of `selector`, such as "selection=random", given in `place`. Raises: ConfigError unless exactly one fits."""
    matching = fitting(known, selector)
    if len(matching) != 1:
        which = f"fits {len(matching)} arms, name more of its settings" if matching else f"is not an arm{suggestion(selector, list(known))}"
        raise ConfigError(f"report: {place} {selector!r} {which}; arms: {'; '.join(known)}")
    return matching[0]


def fitting(known: Sequence[str], selector: str) -> list[str]:
    """The labels that have all parts of `selector`; none if the selector is empty."""
    parts = set(_parts(selector))
    return [label for label in known if label == selector] or [label for label in known if parts and parts <= set(_parts(label))]


def _parts(label: str) -> list[tuple[str, str]]:
    """The settings in a label, with their values; commas within brackets belong to a list."""
    parts = [part.strip().partition("=") for part in label.split(", ") if part.strip()]
    return [(path, plain(value)) for path, _, value in parts]


def _is_random(selection: dict[str, Any]) -> bool:
    return selection.get("order") == "random" and not selection["accuracy"] and selection["diversity"] is None
