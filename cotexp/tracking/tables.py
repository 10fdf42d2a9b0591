"""Rows of W&B's tables and of the curve by round, from a finished run's folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cotexp.methods.statistics import mean, perplexity
from cotexp.records import Likelihood
from cotexp.report import compression_examples
from cotexp.stages.grades import predictions_of_run
from cotexp.store.stored_files import compressed_of, questions_of
from cotexp.visible import visible_lines

MAX_ROWS = 200
"""Most rows of a table; its artifact has all of them."""
MAX_CHAINS = 25

ROUNDS = ("question", "round", "num_tokens", "text", "kept", "stop_reason")
PREDICTIONS = (
    *("question_id", "task", "question", "gold", "mode", "text", "extracted", "correct", "correct_lenient", "correct_math_verify"),
    *("num_tokens", "num_cot_tokens", "finish_reason"),
)


def rounds(folder: Path) -> list[list[Any]]:
    """A row for each round of some compressed chains, in the columns of `ROUNDS`."""
    rows = [
        [chain.question_id, number, chain.num_tokens[number], text, number == chain.kept_round, chain.stop_reason]
        for chain in compression_examples.pick(folder, count=MAX_CHAINS)
        for number, text in enumerate(chain.texts)
    ]
    return _shown(rows)


def predictions(folder: Path) -> list[list[Any]]:
    """The answers of every mode to the first questions, side by side, in the columns of `PREDICTIONS`."""
    questions = questions_of(folder)[1]
    answers = predictions_of_run(folder)
    by_id = {mode: {prediction.id: prediction for prediction in of_mode} for mode, of_mode in answers.items()}
    rows = []
    for name in next(iter(by_id.values())):
        for prediction in (of_mode[name] for of_mode in by_id.values() if name in of_mode):
            grades = [prediction.extracted, prediction.strict, prediction.lenient, prediction.math_verify]
            lengths = [prediction.num_tokens, prediction.num_cot_tokens, prediction.finish_reason]
            rows.append(
                [
                    prediction.question_id,
                    prediction.task,
                    questions.get(prediction.question_id, {}).get("text", ""),
                    prediction.gold,
                    prediction.mode,
                    prediction.text,
                    *grades,
                    *lengths,
                ]
            )
    return _shown(rows)


def _shown(rows: list[list[Any]]) -> list[list[Any]]:
    """The first rows, with control characters escaped. The run's files hold the original texts."""
    return [[visible_lines(cell) if isinstance(cell, str) else cell for cell in row] for row in rows[:MAX_ROWS]]


def round_curve(folder: Path) -> Iterator[dict[str, float]]:
    """For every round: the number of chains that reach it, their mean length, and that of all chains kept by then. Lengths are in tokens.

    Where they were measured, the perplexity of the chains' answers after its texts too.
    """
    chains = compressed_of(folder)
    runs = [(chain["round_num_tokens"], chain["kept_round"]) for chain in chains]
    for number in range(max((len(lengths) for lengths, _ in runs), default=0)):
        written = [lengths[number] for lengths, _ in runs if number < len(lengths)]
        kept = [lengths[min(number, last)] for lengths, last in runs]
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
