"""Examples of compression: all rounds of a chain of thought, or its text before and after pruning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from cotexp.methods import reasoning
from cotexp.methods.statistics import perplexity
from cotexp.records import Likelihood, Rationale, Round
from cotexp.report.compression_texts import CUT_REASONS
from cotexp.report.markdown import block, escaped
from cotexp.report.stored import stage_rows
from cotexp.store.stored_files import Row, compressed_of, stages_of

ENDINGS = {"limit": "ended by round limit", "min_tokens": "ended by token minimum", "failed": "a round failed", **CUT_REASONS}
"""Stop reason -> its text, if that is not "ended by" and the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressedChain:
    """One compressed chain of thought with all of its rounds; round 0 is the original. A chain whose tokens were cut has one round, and
    one that stays as it was written has none.

    `answer` and `correct` are those of the original. `remarks` has a problem or an empty text for each round. `perplexities` of the texts and
    `answers`, the likelihoods of the answer after each text and without any (`answer_alone`), are measured under the model before fine-tuning,
    None if not measured.
    """

    id: str
    question_id: str
    task: str
    texts: list[str]
    num_tokens: list[int]
    perplexities: list[float | None]
    answers: list[Likelihood | None]
    answer_alone: Likelihood | None
    remarks: list[str]
    kept_round: int
    stop_reason: str
    answer: str
    correct: bool

    @property
    def is_cut(self) -> bool:
        return self.stop_reason in CUT_REASONS

    @property
    def ending(self) -> str:
        """How its compression ended, in a few words."""
        if len(self.texts) == 1:
            return "kept as written"
        return ENDINGS.get(self.stop_reason) or f"ended by {self.stop_reason.replace('_', ' ')}"


def pick(folder: Path, count: int = 10) -> list[CompressedChain]:
    """Up to `count` chains of a run: those with a rebound first, then those with the most rounds."""
    rows = compressed_of(folder)
    rows.sort(key=lambda row: (row["stop_reason"] != "rebound", -row["num_rounds_run"], row["rationale_id"]))
    return read_chains(folder, rows[:count])


def read_chains(folder: Path, rows: Sequence[Row]) -> list[CompressedChain]:
    """The chains of `rows` of `compressed.jsonl`, with their texts. Chains that are no longer in the store are left out."""
    stages = stages_of(folder)
    tasks = [name.removeprefix("rationales/") for name in stages if name.startswith("rationales/")] if rows else []
    rationales, rounds, grades = (
        {name: {**row, "task": task} for task in tasks if f"{stage}/{task}" in stages for name, row in stage_rows(folder, f"{stage}/{task}").items()}
        for stage in ("rationales", "rounds", "grades/rationales")
    )
    return [
        _chain(row, rationales, rounds, grades) for row in rows if _whole(row) in grades and all(round_id in rounds for round_id in _rounds_of(row))
    ]


def _whole(row: Row) -> str:
    """Id of the rationale that contains this chain."""
    return str(row["rationale_id"].removesuffix(f"/{reasoning.THINKING}"))


def _rounds_of(row: Row) -> list[str]:
    return [f"{row['rationale_id']}/{number}" for number in range(1, row["num_rounds_run"] + 1)]


def _chain(row: Row, rationales: dict[str, Row], rounds: dict[str, Row], grades: dict[str, Row]) -> CompressedChain:
    whole = _whole(row)
    grade = grades[whole]
    rationale = Rationale.from_row({**rationales[whole], "answer": grade["extracted"], "correct": grade["strict"]})
    original = next(chain for chain in reasoning.chains([rationale]) if chain.id == row["rationale_id"])
    rewrites = [Round.from_row(rounds[round_id]) for round_id in _rounds_of(row)]
    is_cut = row["stop_reason"] in CUT_REASONS
    num_tokens = [row["num_tokens_original"], row["num_tokens"]] if is_cut else row["round_num_tokens"]
    nll, answer_nll = (
        [*row.get(f"round_{name}", [None])[:1], row.get(name)] if is_cut else row.get(f"round_{name}", []) for name in ("nll", "answer_nll")
    )
    return CompressedChain(
        id=original.id,
        question_id=original.question_id,
        task=rationales[whole]["task"],
        texts=[original.cot.strip(), *([row["text"]] if is_cut else [rewrite.text for rewrite in rewrites])],
        num_tokens=num_tokens,
        perplexities=[perplexity([Likelihood(nll=nats, num_tokens=count)]) for nats, count in zip_longest(nll, num_tokens)],
        answers=[_answer(row, nats) for nats, _ in zip_longest(answer_nll, num_tokens)],
        answer_alone=_answer(row, row.get("answer_nll_alone")),
        remarks=["", *([""] if is_cut else [_remark(rewrite) for rewrite in rewrites])],
        kept_round=row["kept_round"],
        stop_reason=row["stop_reason"],
        answer=original.answer or "",
        correct=original.correct,
    )


def _answer(row: Row, nll: float | None) -> Likelihood | None:
    return None if nll is None else Likelihood(num_tokens=row["num_answer_tokens"], nll=nll)


def _remark(rewrite: Round) -> str:
    if rewrite.outcome != "ok":
        return {"length": "cut off", "overflow": "prompt too long"}.get(rewrite.outcome, rewrite.outcome)
    return "" if rewrite.answer_kept else "answer lost"


def markdown(chains: list[CompressedChain]) -> str:
    """The chains as Markdown. Texts of models are in code blocks and are never interpreted."""
    if not chains:
        return "This run has no compressed chains.\n"
    lines = ["# Compression" if chains[0].is_cut else "# Compression, round by round", ""]
    for chain in chains:
        if chain.is_cut:
            lines += [f"## {escaped(chain.question_id)}: {chain.num_tokens[1]} of {chain.num_tokens[0]} tokens", ""]
            lines += [line for text in chain.texts for line in (*block(text), "")]
            continue
        kept = f", round {chain.kept_round} kept" if len(chain.texts) > 1 else ""
        lines += [f"## {escaped(chain.question_id)}: {chain.ending}{kept}", ""]
        for number, (text, tokens) in enumerate(zip(chain.texts, chain.num_tokens, strict=True)):
            mark = " (kept)" if number == chain.kept_round else " (rejected)" if number > chain.kept_round else ""
            lines += [f"Round {number}, {tokens} tokens{mark}:", "", *block(text), ""]
    return "\n".join(lines)
