"""Which rationales take part, by the filters of the settings: computed anew each time, so nothing is stored."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from cotexp.methods import reasoning, selection, statistics
from cotexp.records import Rationale, Selected
from cotexp.selections.filters import usable
from cotexp.settings.base import RunFailed, spelled
from cotexp.stages.context import Context, by_task, wanted_rationales
from cotexp.stages.scores import Scores, to_score
from cotexp.stages.training_set import TrainingSet

log = logging.getLogger(__name__)


def add(context: Context, made: TrainingSet) -> None:
    """The chosen rationales and their chains. Raises: RunFailed when nothing is left to train on, or to choose the checkpoint by."""
    made.chosen, made.outcomes = select(context, made.written, made.scores)
    if context.look is None:
        check_selection(context, made.written, made.chosen, made.outcomes)
        warn_of_idle_order(context, made.outcomes)
    made.chains = reasoning.chains(made.chosen)


def warn_of_idle_order(context: Context, outcomes: Sequence[Selected]) -> None:
    """Say that the order has decided nothing, so that the run teaches what any other order would."""
    rule = context.settings.selection
    is_idle = all(len(each.kept) == list(each.counts.values())[-2] for each in outcomes if each.kept)
    if rule.order != "sample" and rule.max_rationales is None and rule.max_tokens is None and is_idle:
        log.warning(
            "selection.order=%s decides nothing: no question has more rationales than are kept (selection.k=%s), so every other order keeps the "
            "same; lower selection.k or raise teacher.num_samples",
            rule.order,
            spelled(rule.k),
        )


def metrics(context: Context, made: TrainingSet) -> dict[str, float]:
    """What each filter kept, and how well difficulty tells correct from wrong."""
    rule = context.settings.selection
    promised = rule.k if rule.equal_questions else None
    found = statistics.selection_metrics(made.outcomes, made.chosen, k=promised) | statistics.difficulty_metrics(made.written, made.scores)
    return {f"selection/{name}": value for name, value in found.items()}


def select(context: Context, written: Sequence[Rationale], scores: Scores) -> tuple[list[Rationale], list[Selected]]:
    """The rationales that take part, of training and validation questions, and what became of each training question."""
    settings = context.settings
    if context.look is not None and _misses_scores(context, written, scores):
        for task, questions in by_task(context.training_questions).items():
            context.look.num_unwritten[task] = len(wanted_rationales(context, questions))
        return [], []
    groups: dict[str, list[Rationale]] = {each.id: [] for each in context.training_questions}
    for each in written:
        groups[each.question_id].append(each)
    rule = settings.selection
    if settings.mixture.originals == "correct":
        rule = replace(rule, accuracy=True, validation="correct")
    train, validation = ({each.id: groups[each.id] for each in context.questions[split]} for split in ("train", "validation"))
    kept, outcomes = selection.select(train, scores, rule, seed=settings.seed)
    return kept + selection.for_validation(validation, rule), outcomes


def _misses_scores(context: Context, written: Sequence[Rationale], scores: Scores) -> bool:
    """Whether selection reads scores that are not stored."""
    rule = context.settings.selection
    found = [scores.get(each.id) for each in to_score(context, written)] if rule.needs_scores else []
    return any(each is None or (rule.needs_ranks and each.rank_sum is None) for each in found)


def check_selection(context: Context, written: Sequence[Rationale], chosen: Sequence[Rationale], outcomes: Sequence[Selected]) -> None:
    """Raises: RunFailed when nothing is left to train on, or to choose the checkpoint by."""
    look = f"look at the rationales in {context.store.root / 'rationales'}"
    if outcomes and not any(each.kept for each in outcomes):
        left = ", ".join(f"{sum(each.counts[step] for each in outcomes)} {step}" for step in list(outcomes[0].counts)[:-1])
        raise RunFailed(
            f"no rationale of {len(outcomes)} training questions is left to train on ({left}; k, equal_questions and budgets come last): loosen "
            f"the filter that took them, raise teacher.max_new_tokens or take another teacher; {look}"
        )
    ids = {each.id for each in context.questions.validation}
    if ids and not any(each.question_id in ids for each in chosen):
        num_usable = len(usable([each for each in written if each.question_id in ids]))
        wrong_too = "mixture.originals=all" if context.settings.mixture.originals == "correct" else "selection.validation=all"
        raise RunFailed(
            f"no rationale is left to choose the checkpoint by: {num_usable} rationales of {len(ids)} validation questions are usable, none "
            f"of them correct; raise task.num_validation or teacher.num_samples, or set {wrong_too}; {look}"
        )
