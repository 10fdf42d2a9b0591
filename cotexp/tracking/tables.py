"""Rows of W&B's tables and of the curve by round, from a finished run's folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cotexp.methods.statistics import mean, perplexity
from cotexp.records import Likelihood
from cotexp.report import compression_examples
from cotexp.report.kept_rounds import kept_rounds
from cotexp.stages.grades import predictions_of_run
from cotexp.store.stored_files import compressed_of, questions_of
from cotexp.visible import visible_lines

MAX_ROWS = 200
"""Most rows of a table; its artifact has all of them."""
MAX_CHAINS = 25

ROUNDS = ("question", "round", "num_tokens", "text", "kept", "stop_reason")
ASKED = ("question_id", "sample", "task", "question", "gold")
"""Columns of a question."""
ANSWERED = {
    "correct": "strict",
    "num_tokens": "num_tokens",
    "text": "text",
    "extracted": "extracted",
    "num_cot_tokens": "num_cot_tokens",
    "finish_reason": "finish_reason",
    "correct_lenient": "lenient",
    "correct_math_verify": "math_verify",
}
"""Column of an answer, once for each mode -> field of a `Prediction`."""


def rounds(folder: Path) -> list[list[Any]]:
    """A row for each round of some compressed chains, in the columns of `ROUNDS`."""
    rows = [
        [chain.question_id, number, chain.num_tokens[number], text, number == chain.kept_round, chain.stop_reason]
        for chain in compression_examples.pick(folder, count=MAX_CHAINS)
        for number, text in enumerate(chain.texts)
    ]
    return _shown(rows)


def predictions(folder: Path) -> tuple[list[str], list[list[Any]]]:
    """(columns, rows) of the answers to the first questions: a row for each question and sample, with the modes side by side as MODE/FIELD."""
    questions = questions_of(folder)[1]
    by_id = {mode: {prediction.id: prediction for prediction in of_mode} for mode, of_mode in predictions_of_run(folder).items()}
    rows = []
    for name, first in next(iter(by_id.values())).items():
        asked = [first.question_id, first.sample, first.task, questions.get(first.question_id, {}).get("text", ""), first.gold]
        answers = [getattr(of_mode.get(name), field, None) for field in ANSWERED.values() for of_mode in by_id.values()]
        rows.append([*asked, *answers])
    return [*ASKED, *(f"{mode}/{column}" for column in ANSWERED for mode in by_id)], _shown(rows)


def _shown(rows: list[list[Any]]) -> list[list[Any]]:
    """The first rows, with control characters escaped. The run's files hold the original texts."""
    return [[visible_lines(cell) if isinstance(cell, str) else cell for cell in row] for row in rows[:MAX_ROWS]]


def round_curve(folder: Path) -> Iterator[dict[str, float]]:
    """For every round: the number of chains that reach it, their mean length, and that of the texts that are kept
    of all chains if rounds end there. Lengths are in tokens.

    Where they were measured, the perplexity of the chains' answers after its texts too.
    """
    chains = compressed_of(folder)
    runs = [(chain["round_num_tokens"], kept) for chain, kept in zip(chains, kept_rounds(folder, chains), strict=True)]
    for number in range(max((len(lengths) for lengths, _ in runs), default=0)):
        written = [lengths[number] for lengths, _ in runs if number < len(lengths)]
        kept = [lengths[of_chain[min(number, len(of_chain) - 1)]] for lengths, of_chain in runs]
        of_answers = perplexity(
            Likelihood(num_tokens=chain["num_answer_tokens"], nll=chain["round_answer_nll"][number])
            for chain in chains
            if number < len(chain.get("round_answer_nll", []))
        )
        yield {
            "rounds/round": number,
            "rounds/num_chains": len(written),
            "rounds/num_tokens": mean(written),
            "rounds/num_tokens_kept": mean(kept),
            **({} if of_answers is None else {"rounds/answer_perplexity": of_answers}),
        }
