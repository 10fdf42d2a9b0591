"""The examples of a finished run: the rounds of a chain of thought, all rationales of a question, its answers in every mode."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from cotexp.methods.statistics import perplexity
from cotexp.records import Prediction, Rationale, Score
from cotexp.report import compression_examples
from cotexp.report.compression_examples import CompressedChain
from cotexp.report.compression_texts import mode_labels
from cotexp.report.stored import stage_rows
from cotexp.stages.grades import predictions_of_run
from cotexp.stages.scores import row_id
from cotexp.store.stored_files import Row, compressed_of, selection_of, settings_of, stages_of

ExampleKind = Literal["chains", "rationales", "answers"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleText:
    """One text of an example; `previous` is the text that it was rewritten from, `mode` the mode of an answer."""

    title: str
    text: str
    facts: list[str]
    previous: str | None = None
    mode: str = ""
    outcome: str = ""
    kept: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """Texts about one question to show side by side; `outcome` is that of the example as a whole."""

    id: str
    question_id: str
    task: str
    columns: list[ExampleText]
    outcome: str = ""


class ExampleSource(NamedTuple):
    """Examples of one kind: the group of each id, and a function that makes the examples of some ids in order."""

    groups: Mapping[str, Any]
    make: Callable[[Sequence[str]], Iterable[Example]]


def sources(folder: Path) -> dict[ExampleKind, ExampleSource]:
    """The examples of the run in `folder` by kind, without empty kinds.

    Examples whose texts were deleted from the store are counted and cannot be made.
    """
    by_kind: dict[ExampleKind, ExampleSource] = {"chains": _chains(folder), "rationales": _rationales(folder), "answers": _answers(folder)}
    return {kind: source for kind, source in by_kind.items() if source.groups}


def outcome_of(*, correct: bool, finish_reason: str, extracted: str | None, timed_out: bool = False) -> str:
    """The outcome of a graded text in at most four words."""
    if correct:
        return "right"
    if finish_reason not in ("stop", "budget"):
        return {"length": "truncated", "overflow": "prompt too long"}.get(finish_reason, finish_reason)
    if extracted is None:
        return "unparsable"
    return "not compared in time" if timed_out else "wrong"


def _tokens(number: int) -> str:
    return f"{number:,} token{'' if number == 1 else 's'}"


def _chains(folder: Path) -> ExampleSource:
    rows = {chain["rationale_id"]: chain for chain in compressed_of(folder)}
    groups = {name: (row["stop_reason"], row["kept_round"] == 0) for name, row in rows.items()}
    return ExampleSource(groups, lambda ids: map(_chain, compression_examples.read_chains(folder, [rows[name] for name in ids])))


def _chain(shown: CompressedChain) -> Example:
    return Example(
        id=shown.id,
        question_id=shown.question_id,
        task=shown.task,
        outcome=shown.ending,
        columns=[_round(shown, number) for number in range(len(shown.texts))],
    )


def _round(shown: CompressedChain, number: int) -> ExampleText:
    length, original = shown.num_tokens[number], shown.num_tokens[0]
    facts = [_tokens(length), *([f"{length / original:.0%} of the original"] if number and original else [])]
    if (of_text := shown.perplexities[number]) is not None:
        facts.append(f"perplexity {of_text:.3g}")
    if (of_answer := perplexity([shown.answers[number]])) is not None:
        facts.append(f"its answer's perplexity {of_answer:.3g}")
    if not number:
        facts.append(f"answer {shown.answer}" if shown.answer else "no answer could be read")
    return ExampleText(
        title=("shortened" if shown.is_cut else f"round {number}") if number else "original",
        text=shown.texts[number],
        previous=shown.texts[number - 1] if number else None,
        facts=[*facts, *filter(None, [shown.remarks[number]])],
        outcome="" if number else "right" if shown.correct else "wrong",
        kept=number == shown.kept_round,
    )


def _rationales(folder: Path) -> ExampleSource:
    """Questions whose rationales were not all kept."""
    rows = {row["question_id"]: row for row in selection_of(folder) if row["num_written"] > max(1, len(row["kept"]))}
    groups = {name: (bool(row["kept"]), row["num_usable"] == row["num_written"]) for name, row in rows.items()}

    def make(ids: Sequence[str]) -> Iterator[Example]:
        written = Written.read(folder)
        return (written.example(rows[name]) for name in ids if name in written.rationales)

    return ExampleSource(groups, make)


class Written(NamedTuple):
    """The rationales of a run by question, its scores by id, and the task of each question."""

    rationales: dict[str, list[Rationale]]
    scores: dict[str, Row]
    tasks: dict[str, str]

    @classmethod
    def read(cls, folder: Path) -> Written:
        stages = stages_of(folder)
        written = cls({}, {}, {})
        for task in (name.removeprefix("rationales/") for name in stages if name.startswith("rationales/")):
            grades = stage_rows(folder, f"grades/rationales/{task}")
            for name, row in stage_rows(folder, f"rationales/{task}").items():
                if name in grades:
                    grade = {"answer": grades[name]["extracted"], "correct": grades[name]["strict"]}
                    written.rationales.setdefault(row["question_id"], []).append(Rationale.from_row({**row, **grade}))
                    written.tasks[row["question_id"]] = task
            if f"scores/{task}" in stages:
                written.scores.update(stage_rows(folder, f"scores/{task}"))
            if f"ranks/{task}" in stages:
                ranks = stage_rows(folder, f"ranks/{task}")
                written.scores.update({name: {**row, **ranks[name]} for name, row in written.scores.items() if name in ranks})
        return written

    def of_question(self, row: Row) -> list[Rationale]:
        """The rationales that a row of `selection.jsonl` is about, in sample order. None if they are no longer in the store."""
        return sorted(
            (each for each in self.rationales.get(row["question_id"], []) if each.sample < row["num_written"]), key=lambda each: each.sample
        )

    def score_of(self, rationale: Rationale) -> Score | None:
        """What the student made of it; None if it has no scores."""
        score, of_question = self.scores.get(row_id(rationale)), self.scores.get(rationale.question_id)
        return Score.from_row({**score, **of_question, "id": rationale.id}) if score and of_question else None

    def example(self, row: Row) -> Example:
        """Kept rationales first, in their order, then the others."""
        name, kept = row["question_id"], row["kept"]
        written = self.of_question(row)
        written.sort(key=lambda rationale: kept.index(rationale.id) if rationale.id in kept else len(kept))
        outcome = f"{len(kept)} of {row['num_written']} rationales kept"
        return Example(
            id=name,
            question_id=name,
            task=self.tasks[name],
            outcome=outcome,
            columns=[self._column(rationale, rationale.id in kept) for rationale in written],
        )

    def _column(self, rationale: Rationale, kept: bool) -> ExampleText:
        facts = [_tokens(rationale.num_tokens), f"answer {rationale.answer}" if rationale.answer else "no answer could be read"]
        if scored := self.score_of(rationale):
            facts.append("RD " + ", ".join(f"{scored.rd(kind):.3g} {kind}" for kind in ("plain", "masked", "hidden")))
            facts += [f"RSR {scored.rank_surprisal:.3g}"] if scored.rank_sum is not None else []
        outcome = outcome_of(correct=rationale.correct, finish_reason=rationale.finish_reason, extracted=rationale.answer)
        source = f", {rationale.source}" if rationale.source else ""
        return ExampleText(title=f"rationale {rationale.sample}{source}", text=rationale.text, facts=facts, outcome=outcome, kept=kept)


def _answers(folder: Path) -> ExampleSource:
    by_question: dict[str, dict[str, list[Prediction]]] = {}
    for mode, answers in predictions_of_run(folder).items():
        for answer in answers:
            by_question.setdefault(answer.question_id, {}).setdefault(mode, []).append(answer)
    labels = mode_labels(settings_of(folder))
    groups = {name: tuple((mode, _outcome(answers[0])) for mode, answers in by_mode.items()) for name, by_mode in by_question.items()}

    def make(ids: Sequence[str]) -> Iterator[Example]:
        for name in ids:
            by_mode = by_question[name]
            task = next(iter(by_mode.values()))[0].task
            columns = [_answer(answers, labels[mode].replace("`", "")) for mode, answers in by_mode.items()]
            yield Example(id=name, question_id=name, task=task, columns=columns, outcome=_against_base(by_mode))

    return ExampleSource(groups, make)


def _outcome(prediction: Prediction) -> str:
    return outcome_of(
        correct=prediction.strict, finish_reason=prediction.finish_reason, extracted=prediction.extracted, timed_out=prediction.timed_out
    )


def _against_base(answers: Mapping[str, list[Prediction]]) -> str:
    """Whether the last mode won or lost the question against the base model."""
    base, last = (answers[mode][0].strict if mode in answers else None for mode in ("base", list(answers)[-1]))
    if base is None or len(answers) == 1 or base == last:
        return ""
    return "lost against base" if base else "won against base"


def _answer(answers: Sequence[Prediction], title: str) -> ExampleText:
    """The first of the sampled answers in one mode."""
    first = answers[0]
    facts = [f"{_tokens(first.num_tokens)}, {first.num_cot_tokens:,} of them chain of thought"]
    facts.append(f"answer {first.extracted}" if first.extracted is not None else "no answer could be read")
    labels = {"lenient": first.lenient, "math-verify": first.math_verify}
    facts += [f"{rule}: {'right' if label else 'wrong'}" for rule, label in labels.items() if label not in (None, first.strict)]
    if len(answers) > 1:
        facts.append(f"{sum(answer.strict for answer in answers)} of {len(answers)} samples right; this is the first")
    return ExampleText(title=title, text=first.text, facts=facts, mode=first.mode, outcome=_outcome(first))
