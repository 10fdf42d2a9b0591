"""Values for comparisons of runs in W&B: flat settings to filter and group by, and paired differences to the declared baseline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cotexp.methods.token_differences import paired_metrics
from cotexp.report.arms import DERIVED
from cotexp.report.expected_runs import last_mode
from cotexp.report.finished_runs import Flat, differing, identity_of
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
        slot, *rest = path.split(".")
        value: Any = settings.get(slot)
        for part in rest:
            value = value.get(part) if isinstance(value, dict) else None
        if rest and slot not in ("tracking", "paths", "hydra") and value is not None:
            flat[f"ablation/{path.replace('.', '/')}"] = value
    return flat


# --- the baseline --------------------------------------------------------------------------------------------------------


def find_baseline(folder: Path, declared: str) -> Path | None:
    """The finished run with the same experiment and seed and the declared settings whose other settings differ least from the run in `folder`.

    None if no baseline is declared or finished, and for a run that is such a baseline itself. The baseline has the same tasks, model and teacher
    as the run, unless it is declared by one of them. The baseline `base` of a run is in the run's own folder.
    """
    if declared == BASE:
        return folder if BASE in settings_of(folder)["evaluation"]["modes"] else None
    required = dict(_parts(declared))
    run_settings = settings_of(folder)
    if not required or _has(run_settings, required):
        return None
    candidates = []
    for path in sorted(folder.parent.glob("*/stages.json")):
        try:
            settings = settings_of(path.parent)
        except Damaged as error:
            warn_once(f"baseline: {error}")
            continue
        if settings["seed"] == run_settings["seed"] and _has(settings, required):
            distance = _distance(run_settings, settings, required)
            if distance is not None and (path.parent / "metrics.json").is_file():
                candidates.append((distance, -path.stat().st_mtime, path.parent))
    return min(candidates)[2] if candidates else None


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
        flat[path] = str(value["name"] if isinstance(value, dict) and "name" in value else value)
    return all(flat[path].lower() == value.lower() for path, value in required.items())


def _distance(settings_of_run: dict[str, Any], settings_of_other: dict[str, Any], required: Mapping[str, str]) -> int | None:
    """Number of settings in which two runs differ besides the declared ones; None if they cannot be compared."""
    declared = tuple(f"{path.split('.')[0]}." for path in required)
    ours, theirs = (identity_of(settings, last_mode(settings)) for settings in (settings_of_run, settings_of_other))
    found = [path for path in differing(ours, theirs) if not path.startswith((*declared, *DERIVED))]
    return None if any(path.startswith(COMMON) for path in found) else len(found)
