"""Which baseline each arm of a table is compared with."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from cotexp.report.arm_rows import NO_BASELINE, OWN_BASE, ArmRow, ComparedArms, asked_of
from cotexp.report.arms import Arm, fitting, label_of, usual_baselines
from cotexp.report.declared import DeclaredTable
from cotexp.report.expected_runs import ExpectedArms, renamed
from cotexp.report.finished_runs import listed
from cotexp.settings.base import plain


class Comparisons(NamedTuple):
    """The finished arms of each baseline, the settings that tell several baselines apart (none if there is one), and the baselines that the runs
    declare if these differ.
    """

    groups: list[ComparedArms]
    apart: tuple[str, ...] = ()
    differing: tuple[str, ...] = ()


def requested(plans: Sequence[ExpectedArms], baselines: Sequence[str | None]) -> list[str | None]:
    """The requested baseline, in the words of each table, for the tables that have this arm; None (the table's own) for the others.

    Raises: ConfigError if no table has it, or if it fits several arms of one budget.
    """
    asked: list[str | None] = []
    for plan, baseline in zip(plans, baselines, strict=True):
        has_it = baseline and (baseline == OWN_BASE or fitting(_labels(plan), baseline))
        asked.append(_checked(plan, baseline, "--baseline") if baseline and has_it else None)
    if baselines[0] and not any(asked):
        label_of(list(dict.fromkeys(itertools.chain(*map(_labels, plans)))), baselines[0], "--baseline")
    return asked


def declared(report: str, tables: Sequence[DeclaredTable], plans: Sequence[ExpectedArms]) -> Iterator[str | None]:
    """The baseline that each table declares, in its words. Raises: ConfigError unless one arm of each budget fits, also while none has finished."""
    for number, (table, plan) in enumerate(zip(tables, plans, strict=True)):
        baseline = table.baseline and renamed(table.baseline, table.labels)
        yield _checked(plan, baseline, f"{report}: tables[{number}].baseline") if baseline else baseline


def _checked(plan: ExpectedArms, selector: str, place: str) -> str:
    """The label of the only arm that fits; the selector itself if one arm of each budget does. Raises: ConfigError for other selectors."""
    if selector == OWN_BASE:
        return selector
    matching = fitting(_labels(plan), selector)
    budgets = {arm.budget for arm in plan.arms if arm.label in matching}
    return selector if 1 < len(matching) == len(budgets) else label_of(_labels(plan), selector, place)


def _labels(plan: ExpectedArms) -> list[str]:
    return [arm.label for arm in plan.arms]


def comparisons(plan: ExpectedArms, chosen: str | None, names: Mapping[str, str]) -> Comparisons:
    """The finished arms, each with the baseline whose settings equal its own, as far as these settings tell the fitting baselines apart.

    The baseline is `chosen`, or what the runs declare, or the usual one. `names` are the short names of settings in the labels.
    """
    arms = [arm.arm for arm in plan.arms if arm.arm]
    differing = plan.baselines if len(plan.baselines) > 1 and not chosen else ()
    declared = plan.baselines[0] if len(plan.baselines) == 1 else ""
    selector = chosen or _varying_parts(declared, plan, arms, names)
    if selector == OWN_BASE or not arms:
        return Comparisons([ComparedArms(arms, None)])
    matching = fitting(_labels(plan), selector) or (usual_baselines(arms) if not selector or len(arms) == 1 else [selector])
    if len(matching) == 1:
        found = next((arm for arm in arms if arm.label in matching), None)
        return Comparisons([ComparedArms(arms, found or f"no finished run of the baseline, {matching[0]}")], differing=differing)
    apart = _telling_apart(matching, names)
    groups: dict[tuple[str | None, ...], list[Arm]] = {}
    for arm in arms:
        groups.setdefault(_values(arm, apart), []).append(arm)
    return Comparisons([ComparedArms(group, _baseline_among(group, matching)) for group in groups.values()], apart, differing)


def _varying_parts(declared: str, plan: ExpectedArms, arms: Sequence[Arm], names: Mapping[str, str]) -> str:
    """The declared baseline without the settings that all arms have, which no label names."""
    shown = {part.partition("=")[0] for label in _labels(plan) for part in label.split(", ")}

    def is_common(part: str) -> bool:
        word, _, value = part.partition("=")
        held = [_values(arm, [path])[0] for arm in arms for path in _paths_of(word, names)]
        return word not in shown and all(each is not None and plain(each) == plain(value) for each in held)

    return declared if declared == OWN_BASE else ", ".join(part for part in declared.split(", ") if not is_common(part))


def _paths_of(word: str, names: Mapping[str, str]) -> list[str]:
    """The paths of the settings that this word of a label stands for."""
    return [path for path, short in names.items() if short == word] or [word]


def _telling_apart(labels: Sequence[str], names: Mapping[str, str]) -> tuple[str, ...]:
    """The paths of the settings that some of these labels have and others have not."""
    parts = [label.split(", ") for label in labels]
    shown = dict.fromkeys(part.partition("=")[0] for of_label in parts for part in of_label if not all(part in other for other in parts))
    return tuple(path for word in shown for path in _paths_of(word, names))


def _values(arm: Arm, paths: Sequence[str]) -> tuple[str | None, ...]:
    run = arm.runs[0]
    known = {**run.names, **run.identity, "mode": run.mode}
    return tuple(known.get(path) for path in paths)


def _baseline_among(arms: Sequence[Arm], labels: Sequence[str]) -> Arm | str:
    matching = [arm for arm in arms if arm.label in labels]
    return matching[0] if len(matching) == 1 else NO_BASELINE


def notes(compared: Comparisons, rows: Sequence[ArmRow]) -> Iterator[str]:
    """What tells several baselines apart, which arms are compared with none of them, and what bold compares if arms have other questions."""
    if compared.differing:
        shown = listed([f"`{each}`" if each else "none" for each in compared.differing], "; ")
        yield f"The runs declare different baselines ({shown}), so none of them is taken; --baseline chooses one."
    if apart := compared.apart:
        without = [row.label for row in rows if row.arm and row.uncompared == NO_BASELINE]
        alone = f" Compared with none, as no finished baseline has theirs: {listed(without, '; ')}." if without else ""
        yield f"Several baselines: each arm is compared with the one that has the same {listed(apart)} as the arm.{alone}"
    of_rows = [asked_of(row.answers) for row in rows if row.answers]
    if len(set(of_rows)) > 1:
        grouped = "" if frozenset.intersection(*of_rows) else " No question was answered by all of them, so none is grouped by difficulty."
        yield f"Not all arms answered the same questions. Bold marks the best of each set of questions.{grouped}"
