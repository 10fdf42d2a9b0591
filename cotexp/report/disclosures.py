"""Footnotes about our choices in details that the papers do not give, and about how answers were generated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cotexp.report.compression_texts import StoredSettings, choices_of_rounds, choices_of_run, evaluates_fine_tuned
from cotexp.selections.filters import COMMON_DIVERSITY
from cotexp.settings.sampling import UNRESTRICTED
from cotexp.teachers import TEACHERS

WRITERS = {"local": "transformers on this project's local engine"}
"""Choice of `model.engine` -> how the report names it, if not by that name. Runs of versions without the choice had the first."""


def disclosures(runs: Sequence[StoredSettings]) -> list[str]:
    """One sentence per detail that MACC or MoRSD does not give, or that is known second-hand. If runs differ, it lists all of their values."""
    lines = [*choices_of_rounds(runs), *(line for settings in runs for line in _choices_of(settings))]
    return list(dict.fromkeys(lines))


def _choices_of(settings: StoredSettings) -> Iterator[str]:
    yield from choices_of_run(settings)
    if settings.get("evaluation", {}).get("truncate_ratio"):
        yield "Our choice where published truncation rows are silent: one budget per task, the largest that keeps at most this share of tokens."
    if evaluates_fine_tuned(settings) and {"lora", "tuning", "warmup_ratio"} <= settings.get("trainer", {}).keys():
        yield _training_choices(settings["trainer"])
    if evaluates_fine_tuned(settings) and {"selection", "teacher", "scoring"} <= settings.keys():
        yield from _selection_choices(settings)
    if model := settings.get("model", {}):
        engine, how = model.get("engine", "local"), sampling_of(settings.get("evaluation", {}))
        yield f"Answers and times: {WRITERS.get(engine, f'engine {engine}')}, {model['dtype']}, device {model['device']}, {how}."


def sampling_of(section: Mapping[str, Any]) -> str:
    """How a role with these stored settings samples its texts, as text."""
    if not section.get("temperature"):
        return "greedy"
    restrictions = [f", {name} {value}" for name, default in UNRESTRICTED.items() if (value := section.get(name, default)) != default]
    return f"sampled at temperature {section['temperature']}{''.join(restrictions)}"


def _training_choices(trainer: dict[str, Any]) -> str:
    """Details of fine-tuning that the papers do not give."""
    targets = trainer["lora"]["target_modules"]
    modules = {"all-linear": "on all linear layers"}.get(targets, f"on {targets}")
    how = f"; adapters {modules}" if trainer["tuning"] == "lora" else "; every weight is trained, where MACC trains adapters"
    return f"Our choice where the papers are silent: the learning rate rises in the first {trainer['warmup_ratio']:.0%} of the steps{how}."


def _selection_choices(settings: dict[str, Any]) -> Iterator[str]:
    """Details that MoRSD does not give or that are known second-hand, if this run uses a part of MoRSD."""
    selection, teacher = settings["selection"], settings["teacher"]
    if selection["equal_questions"]:
        yield (
            "A control of ours: only questions with k correct and diverse rationales (similarity below "
            f"{selection.get('common_diversity', COMMON_DIVERSITY)}) are trained on, the same ones for every selection."
        )
    by_difficulty = selection["order"].endswith("_rd")
    if not by_difficulty and selection["diversity"] is None:
        return
    ours = []
    if "temperature" in teacher and not TEACHERS.stored(teacher["name"]).is_student:
        ours.append(f"{teacher['num_samples']} rationales per question, {sampling_of(teacher)}")
    if selection["diversity"] is not None:
        ours.append(f"near duplicates = Jaccard similarity of word 3-grams of {selection['diversity']} or more to one kept before")
    if by_difficulty:
        which = {"plain": "whole", "masked": "without its answer sentence", "hidden": "without its answer sentence and the value in equations"}
        scoring = settings["scoring"]
        after = f", the {scoring['answer']} answer after {scoring['connector']!r}" if {"answer", "connector"} <= scoring.keys() else ""
        ours.append(f"RD given the rationale {which[selection['rd']]} ({selection['rd']}){after}")
    judged = "those with the gold answer" if selection["validation"] == "correct" else "all"
    ours.append(f"checkpoint by likelihood of the validation questions' rationales ({judged}), never by test questions")
    yield f"Our choice where MoRSD's paper is silent: {'; '.join(ours)}."
    formula = "RD = PPL(answer | question, rationale) / PPL(answer | question); " if by_difficulty else ""
    yield (
        f"Known of MoRSD second-hand only, not from the paper's own text: {formula}k = 6 (this run: {selection['k'] or 'no limit'}); "
        "a checkpoint chosen on the test set, which this project does not follow."
    )
