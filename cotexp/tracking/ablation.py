"""Values for comparisons of runs in W&B: flat settings to filter and group by, and paired differences to the declared baseline."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cotexp.methods.token_differences import paired_metrics
from cotexp.report.arms import DERIVED
from cotexp.report.expected_runs import last_mode
from cotexp.report.finished_runs import Flat, differing, identity_of
from cotexp.settings.base import plain, spelled
from cotexp.settings.evaluation import BASE, MODES
from cotexp.stages.grades import predictions_of_run
from cotexp.store.ledger_files import warn_once
from cotexp.store.stored_files import Damaged, settings_of

SLOTS = ("task", "model", "teacher", "selection", "compressor", "compression")
"""Slots whose options ablations compare."""
COMMON = ("task.", "tasks.", "model.", "teacher.", "evaluation.")
"""Prefixes of settings that a run and its baseline share, unless the baseline is declared by one of them."""


def flat_settings(settings: Mapping[str, Any], options: Mapping[str, str | None], overrides: Sequence[str]) -> dict[str, Any]:
    """`ablation/experiment`: its name. `ablation/SLOT`: the option of every slot, and `ablation/SLOT/SETTING`: every setting of a slot that the
    command line names.

    A slot that `options` lacks has its section's name as option. Names contain no dots, since W&B would read them as levels.
    """
    flat = {"ablation/experiment": settings["name"]} | {f"ablation/{slot}": options.get(slot) or settings[slot]["name"] for slot in SLOTS}
    for path in (word.partition("=")[0] for word in overrides):
        slot, *rest = path.lstrip("+").split(".")
        value: Any = settings.get(slot)
        for part in rest:
            value = value.get(part) if isinstance(value, dict) else None
        if rest and slot not in ("tracking", "paths", "hydra") and value is not None:
            flat["/".join(["ablation", slot, *rest])] = value
    return flat


# --- the baseline --------------------------------------------------------------------------------------------------------


def find_baseline(folder: Path, declared: str) -> Path | None:
    """The finished run with the same experiment and seed and the declared settings; of several, the one that equals the run in `folder` in all other
    settings that tell them apart, as in a report.

    None if no baseline is declared or finished, if none of several has the run's settings, and for a run that is such a baseline itself. The baseline
    has the same tasks, model and teacher as the run, unless it is declared by one of them. The baseline `base` of a run is in the run's own folder.
    """
    if declared == BASE:
        return folder if BASE in settings_of(folder)["evaluation"]["modes"] else None
    required = dict(_parts(declared))
    run_settings = settings_of(folder)
    if not required or _has(run_settings, required):
        return None
    ours = identity_of(run_settings, last_mode(run_settings))
    candidates: list[tuple[float, Path, Flat]] = []
    for path in sorted(folder.parent.glob("*/stages.json")):
        try:
            settings = settings_of(path.parent)
        except Damaged as error:
            warn_once(f"baseline: {error}")
            continue
        if settings["seed"] == run_settings["seed"] and _has(settings, required) and (path.parent / "metrics.json").is_file():
            theirs = identity_of(settings, last_mode(settings))
            if not _is_of_other_questions_or_model(ours, theirs, required):
                candidates.append((path.stat().st_mtime, path.parent, theirs))
    apart = _telling_apart([theirs for *_, theirs in candidates]) - required.keys()
    equal = [(modified, found) for modified, found, theirs in candidates if all(ours.get(path) == theirs.get(path) for path in apart)]
    return max(equal)[1] if equal else None


def _telling_apart(identities: Sequence[Flat]) -> set[str]:
    """The settings in which some of these runs differ."""
    return {path for first, second in itertools.combinations(identities, 2) for path in differing(first, second)}


def deltas(folder: Path, baseline: Path) -> dict[str, Any]:
    """`delta/METRIC` of a run's last mode against its baseline's, with `_low`, `_high` and `_p_value`, on the questions that both answered."""
    ours = predictions_of_run(folder)
    others = {BASE: ours[BASE]} if baseline == folder else predictions_of_run(baseline)
    theirs, last = (next(answers[mode] for mode in reversed(MODES) if mode in answers) for answers in (others, ours))
    return {f"delta/{name}": value for name, value in paired_metrics(theirs, last).items()}


def _parts(declared: str) -> Iterator[tuple[str, str]]:
    for part in filter(None, map(str.strip, declared.split(","))):
        path, _, value = part.partition("=")
        yield path, value


def _has(settings: Mapping[str, Any], required: Mapping[str, str]) -> bool:
    """Whether stored settings match a declared baseline. A path that is only a slot means the name of its section."""
    flat: Flat = {}
    for path in required:
        value: Any = settings
        for part in path.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        flat[path] = spelled(value["name"] if isinstance(value, dict) and "name" in value else value)
    return all(plain(flat[path]) == plain(value) for path, value in required.items())


def _is_of_other_questions_or_model(ours: Flat, theirs: Flat, required: Mapping[str, str]) -> bool:
    """Whether two runs differ in what a run and its baseline share, besides what the baseline is declared by."""
    declared = tuple(f"{path.split('.')[0]}." for path in required)
    found = [path for path in differing(ours, theirs) if not path.startswith((*declared, *DERIVED))]
    return any(path.startswith(COMMON) for path in found)
