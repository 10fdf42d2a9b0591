"""Records that the stages pass on: one small dataclass per kind of row.

A record becomes one JSON object (`dataclasses.asdict`) and is made from one again (`from_row`), so a ledger is readable without this package.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any, Literal, Self

from cotexp.settings.base import RunFailed

FinishReason = Literal["stop", "length", "budget", "empty", "refused", "filtered", "overflow"]
"""How generation of a text ended.

"stop": by itself; "length": at the token limit; "budget": cut by an evaluation on purpose; "empty": without text; "refused": by the model;
"filtered": by a server's content filter; "overflow": the prompt did not fit the model's context. A text with any value but "stop" and "budget"
counts as wrong or unusable. A text with "budget" is graded by its remaining part.
"""
WITHOUT_TEXT: tuple[FinishReason, ...] = ("empty", "refused", "filtered", "overflow")
"""Outcomes that leave no text; they count, and are never used."""
RoundOutcome = Literal["ok", "length", "empty", "refused", "filtered", "overflow"]
Form = Literal["full", "compress", "rewrite"]
AnswerType = Literal["integer", "decimal", "latex", "choice", "boolean"]
MOST_NATS = 700.0
"""Above this many nats per token the perplexity overflows a float."""
LEAST_NATS = 1e-12
"""Bound of a surprisal that divides."""

StopReason = Literal["rebound", "limit", "fixed_point", "failed", "patience", "min_tokens", "answer_lost", "fixed_k", "protected", "none"]


class Record:
    """Base of all records."""

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Self:
        """A record made from a stored row, without the fields of the ledger. Raises: RunFailed if a field is missing."""
        names = {field.name for field in fields(cls)}  # type: ignore[arg-type]
        try:
            return cls(**{name: value for name, value in row.items() if name in names})
        except TypeError as error:
            problem = str(error).partition(") ")[2] or error
            raise RunFailed(
                f"the stored row {row.get('id')!r} is not a complete {cls.__name__} ({problem}); remove its line, and it is computed again"
            ) from None


@dataclass(slots=True, kw_only=True)
class Question(Record):
    """A question with its gold answer in the form of its `answer_type`: a letter for a choice, "yes" or "no" for a boolean.

    `options` maps letters to texts if the answer is a choice. `references` are worked solutions, the most verbose first; there may be none.
    `rewrites` are pairs (solution, its rewrite) that teach a compressor; if there are none, each reference and the next one are.
    """

    id: str
    text: str
    answer: str
    task: str
    answer_type: AnswerType = "decimal"
    options: dict[str, str] = field(default_factory=dict)
    references: list[str] = field(default_factory=list)
    rewrites: list[tuple[str, str]] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Rationale(Record):
    """One written solution: `cot` is the chain of thought with its trailing white space; `closing` is the sentence with the answer.

    The thinking of a reasoning model is part of its chain; `num_thinking_tokens` of the `num_cot_tokens` are thinking.
    """

    id: str
    question_id: str
    sample: int
    cot: str
    closing: str
    answer: str | None
    correct: bool
    num_tokens: int
    num_cot_tokens: int
    finish_reason: FinishReason
    num_thinking_tokens: int = 0
    seconds: float = 0.0
    source: str = ""

    @property
    def text(self) -> str:
        return self.cot + self.closing

    @property
    def separator(self) -> str:
        """The white space between the chain and the closing sentence, or a line break if there is none."""
        return self.cot[len(self.cot.rstrip()) :] or "\n"


@dataclass(slots=True, kw_only=True)
class Score(Record):
    """Negative log-likelihoods (NLL) in nats that the student, before distillation, assigns to one rationale and to the gold answer.

    `answer_nll` is the NLL of the gold answer (`num_answer_tokens`, including the end of the sequence) given only the question.
    `answer_nll_plain`, `_masked` and `_hidden` are given the question and the rationale: complete; without the sentences that state the answer;
    with the answer's value also hidden in equations. `nll` is the NLL of the rationale's own `num_tokens` given the question; `rank_sum` is the
    sum of their ranks among all tokens, each at most scoring.rank_limit, None if nobody asked for it.
    Source: MoRSD for the ratio RD = PPL(answer | question, rationale) / PPL(answer | question); lower is better. The masks are ours.
    """

    id: str
    question_id: str
    num_answer_tokens: int
    answer_nll: float
    answer_nll_plain: float
    answer_nll_masked: float
    answer_nll_hidden: float
    num_tokens: int
    nll: float
    rank_sum: int | None = None

    def rd(self, kind: str) -> float:
        """Rationale Difficulty (RD), a ratio of perplexities; `kind` is "plain", "masked" or "hidden"."""
        with_rationale: float = getattr(self, f"answer_nll_{kind}")
        return math.exp(min((with_rationale - self.answer_nll) / self.num_answer_tokens, MOST_NATS))

    @property
    def perplexity(self) -> float:
        """The perplexity of the rationale per token, given the question."""
        return math.exp(min(self.nll / self.num_tokens, MOST_NATS))

    @property
    def rank_surprisal(self) -> float:
        """Rank-Surprisal Ratio (RSR): the sum of the rationale's ranks over that of its surprisals in nats; lower is better.

        Source: arXiv 2601.14249, and rsr_cal.py of github.com/UmeanNever/RankSurprisalRatio at 2675c01, which also has the bound below.
        """
        assert self.rank_sum is not None, "a selection that reads ranks says so"
        return self.rank_sum / max(self.nll, LEAST_NATS)


@dataclass(slots=True, kw_only=True)
class Selected(Record):
    """The selection from one question's rationales: `counts` of those "written", "usable" and left after each filter, and the ids of those kept."""

    question_id: str
    counts: dict[str, int]
    kept: list[str]

    @property
    def line(self) -> dict[str, Any]:
        """As `selection.jsonl` holds it."""
        return {"question_id": self.question_id, **{f"num_{word}": count for word, count in self.counts.items()}, "kept": self.kept}


@dataclass(slots=True, kw_only=True)
class Round(Record):
    """One rewrite of a chain of thought. Round 0 is the rationale itself and is not stored.

    `outcome` is "ok", or the reason why the rewrite is unusable: "empty", "length" (cut off), "refused", "filtered" or "overflow".
    `previous_text_hash` is the hash of the input text, so that a reader can verify the sequence of rounds.
    """

    id: str
    rationale_id: str
    round: int
    text: str
    num_tokens: int
    tokenizer: str
    prompt_hash: str
    previous_text_hash: str
    finish_reason: FinishReason
    outcome: RoundOutcome
    answer_kept: bool
    seconds: float = 0.0


@dataclass(slots=True, kw_only=True)
class Likelihood(Record):
    """The number of tokens of a text, such as a chain of thought, and their NLL in nats under the model before fine-tuning, given the question.

    `nll` is None if the text does not fit the model's context.
    """

    num_tokens: int
    nll: float | None


@dataclass(frozen=True, slots=True)
class Measured:
    """One chain's likelihoods: of the text that is kept, and of round 0 (the chain as it was written), 1, 2, ...; None for an unusable round.

    They are those of the texts themselves, or of the chain's answer after each text; `alone` is then that of the answer without any chain.
    """

    kept: Likelihood
    rounds: list[Likelihood | None]
    alone: Likelihood | None = None


@dataclass(slots=True, kw_only=True)
class Compressed(Record):
    """The compressed chain of a rationale: `text` is round `kept_round`, which the stop rule chose (0 is the original)."""

    rationale_id: str
    text: str
    kept_round: int
    num_tokens: int
    num_tokens_original: int
    stop_reason: StopReason
    num_rounds_run: int
    ratio: float | None = None


@dataclass(slots=True, kw_only=True)
class Example(Record):
    """One training example. After the prompt, `compressed` appends the `<compress>` mark, and `ratio` appends a compression ratio."""

    id: str
    question_id: str
    prompt: str
    completion: str
    form: Form
    compressed: bool = False
    ratio: float | None = None


@dataclass(slots=True, kw_only=True)
class Grade(Record):
    """The labels of one text under three rules; None if a rule does not apply.

    `extracted` is the answer under the strict rule. `extracted_by` names the pattern that matched: "boxed", "statement", "parentheses", "text" or
    "none". `timed_out` means that a comparison under some rule exceeded its processor time or memory; under that rule the text counts as wrong.
    """

    id: str
    extracted: str | None
    extracted_by: str
    strict: bool
    lenient: bool
    math_verify: bool | None = None
    timed_out: bool = False


@dataclass(slots=True, kw_only=True)
class Prediction(Record):
    """One answer of an evaluated model with its gold answer, its token counts and its grade.

    `same_as` is the id of the question of an earlier task of the run that has the same text; empty if there is none.
    """

    id: str
    question_id: str
    task: str
    mode: str
    sample: int
    text: str
    gold: str
    answer_type: AnswerType
    options: dict[str, str]
    extracted: str | None
    extracted_by: str
    strict: bool
    lenient: bool
    math_verify: bool | None
    timed_out: bool
    num_tokens: int
    num_cot_tokens: int
    finish_reason: FinishReason
    num_thinking_tokens: int = 0
    seconds: float = 0.0
    same_as: str = ""
