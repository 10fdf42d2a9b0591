"""What is known of a compressed training set before fine-tuning: lengths, answers that survived, and how likely the model finds the texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from cotexp.jobs import round_texts
from cotexp.jobs.likelihoods import text_after
from cotexp.methods import reasoning, statistics
from cotexp.records import Compressed, Measured, Rationale, Round
from cotexp.stages.context import Context, environment, scoring_model, student_model
from cotexp.stages.training_set import TrainingSet
from cotexp.store.specs import Spec
from cotexp.tasks.grading import is_kept

NAME = "perplexity"
VERSION = 2
READS = ("rationales", "rounds", "importances", "model")
BOUNDED = True


def spec(context: Context, task: str) -> Spec | None:
    """None where nothing is compressed or measured. Ids of the rows stand for the texts, so every compression and compressor shares this ledger."""
    if not round_texts.is_measured(context, task):
        return None
    model = scoring_model(context.settings)
    own = {"model": context.base.sha256, "task": task, "prompt": context.prompts[task].identity, **environment(model)}
    return Spec(NAME, {"version": VERSION, **own})


model = student_model


def add(context: Context, made: TrainingSet) -> None:
    """The likelihoods of the chains."""
    made.likelihoods = make(context, made.chains, made.rounds, made.kept)


def metrics(context: Context, made: TrainingSet) -> dict[str, float]:
    """Nothing without a compressed chain."""
    compressed = made.compressed
    if not compressed:
        return {}
    kept = {each.rationale_id for each in compressed}
    dropped = [each for each in made.chosen if each.id not in kept]
    has_rounds = [all(made.rounds.get(chain.id) for chain in reasoning.chains([each])) for each in dropped if context.recorded_rounds]
    counts = {"num_dropped": len(dropped), "num_unrecorded": has_rounds.count(False)}
    return compression_metrics(context, made.chains, made.kept, made.likelihoods, made.rounds, **counts)


def make(context: Context, chains: Sequence[Rationale], rounds: Mapping[str, Sequence[Round]], kept: Sequence[Compressed]) -> dict[str, Measured]:
    """Chain id -> its likelihoods, for at most scoring.perplexity_chains training chains that are kept; none without a compression.

    Equal texts are read once, and every run that shares rounds shares the rows.
    """
    if context.look is not None and context.look.is_open:
        round_texts.count_most(context, context.look, NAME, spec, chains, more=1)
        return {}
    wanted = round_texts.texts_of(context, chains, rounds, kept)
    texts = [text for each in wanted.values() for text in (*each.rounds, each.kept) if text is not None]
    read = round_texts.likelihoods(context, NAME, spec, texts, lambda each, encoder: text_after(each.before, each.text, encoder))
    return {
        name: Measured(read[each.kept.row_id], [read.get(text.row_id) if text else None for text in each.rounds])
        for name, each in wanted.items()
        if each.kept.row_id in read
    }


def compression_metrics(
    context: Context,
    chains: Sequence[Rationale],
    kept: Sequence[Compressed],
    likelihoods: Mapping[str, Measured],
    rounds: Mapping[str, Sequence[Round]],
    *,
    num_dropped: int,
    num_unrecorded: int = 0,
) -> dict[str, float]:
    """Everything that `metrics.json` says of the compressed chains."""
    of_chain, questions = {each.id: each for each in chains}, {each.id: each for each in context.training_questions}
    survived = []
    for each in kept:
        own, run = of_chain[each.rationale_id], rounds.get(each.rationale_id, ())
        if each.text == own.cot.strip():
            survived.append(True)
        elif run and each.kept_round:  # a round knows what the compressor wrote, with a sentence that states the answer
            survived.append(run[each.kept_round - 1].answer_kept)
        else:
            survived.append(is_kept(own.answer, each.text, questions[own.question_id]))
    found = statistics.compression_metrics(kept, num_dropped, num_unrecorded) | {"answer_kept_ratio": statistics.mean(survived)}
    if likelihoods:
        found |= statistics.perplexity_metrics([each.kept for each in likelihoods.values()], [each.rounds for each in likelihoods.values()])
    return {f"compression/{name}": value for name, value in found.items()}


def lines(
    chains: Sequence[Rationale],
    rounds: Mapping[str, Sequence[Round]],
    kept: Sequence[Compressed],
    likelihoods: Mapping[str, Measured],
    answers: Mapping[str, Measured],
) -> list[dict[str, Any]]:
    """One line per compressed chain for the report: the lengths of its rounds and, where they were measured, likelihoods of texts and answers."""
    by_id = {each.id: each for each in chains}
    found = []
    for each in kept:
        run = rounds.get(each.rationale_id, [])[: each.num_rounds_run]
        line = asdict(each) | {"round_num_tokens": [by_id[each.rationale_id].num_cot_tokens, *(one.num_tokens for one in run)]}
        if own := likelihoods.get(each.rationale_id):
            line |= {"nll": own.kept.nll, "round_nll": [one and one.nll for one in own.rounds]}
        if (answer := answers.get(each.rationale_id)) and answer.alone:
            line |= {"num_answer_tokens": answer.alone.num_tokens, "answer_nll_alone": answer.alone.nll}
            line |= {"answer_nll": answer.kept.nll, "round_answer_nll": [one and one.nll for one in answer.rounds]}
        found.append(line)
    return found
