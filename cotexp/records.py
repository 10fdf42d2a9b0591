"""What flows between the stages: one small dataclass per kind of row.

Every record turns into one JSON object (`dataclasses.asdict`) and back (`from_row`), so a ledger is readable without this package.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any, Literal, Self

from cotexp.settings.base import RunFailed

FinishReason = Literal["stop", "length", "budget", "empty", "refused", "filtered", "overflow"]
"""How a text ended: by itself, at the token limit, with nothing in it; refused by the model, withheld by a server's content filter, or asked
for with a prompt that does not fit the model's context. All but "stop" are outcomes, not results: they count, as wrong or unusable. A text
that an evaluation cut at its "budget" on purpose is graded by what is left of it.
"""
WITHOUT_TEXT: tuple[FinishReason, ...] = ("empty", "refused", "filtered", "overflow")
"""Outcomes that leave no text; they count, and are never used."""
RoundOutcome = Literal["ok", "length", "empty", "refused", "filtered", "overflow"]
Form = Literal["full", "compress", "rewrite"]
AnswerType = Literal["integer", "decimal", "latex", "choice", "boolean"]
MOST_NATS = 700.0
"""Beyond this many nats per token a perplexity overflows."""

StopReason = Literal["rebound", "limit", "fixed_point", "failed", "patience", "min_tokens", "answer_lost", "fixed_k", "protected", "none"]


class Record:
    """Adds `from_row`: a record from a JSON object, ignoring keys of the ledger itself."""

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Self:
        names = {each.name for each in fields(cls)}  # type: ignore[arg-type]
        try:
            return cls(**{name: value for name, value in row.items() if name in names})
        except TypeError as error:
            problem = str(error).partition(") ")[2] or error
            raise RunFailed(f"the stored row {row.get('id')!r} is no whole {cls.__name__} ({problem}); remove its line: it is made again") from None


@dataclass(slots=True, kw_only=True)
class Question(Record):
    """A question with its gold answer, in the form that `answer_type` compares: a letter for a choice, "yes" or "no" for a boolean.

    `options` maps letters to texts, for a choice only. `references` holds worked solutions, most verbose first; it may be empty.
    """

    id: str
    text: str
    answer: str
    task: str
    answer_type: AnswerType = "decimal"
    options: dict[str, str] = field(default_factory=dict)
    references: list[str] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Rationale(Record):
    """One written solution: `cot` is the chain of thought with its trailing white space, `closing` the sentence with the answer.

    What a reasoning model thinks is part of its chain; `num_thinking_tokens` of the `num_cot_tokens` are of that part.
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
        """The white space between chain and closing sentence, a line break where there is none."""
        return self.cot[len(self.cot.rstrip()) :] or "\n"


@dataclass(slots=True, kw_only=True)
class Score(Record):
    """What the student, before distillation, makes of one rationale: negative log-likelihoods in nats.

    `answer_nll` is that of the gold answer (`num_answer_tokens`, the end of the sequence included) after the question alone;
    `answer_nll_plain`, `_masked` and `_hidden` after question and rationale: whole; without the sentence that states the answer; with the
    answer's value hidden in equations as well. `nll` is that of the rationale's own `num_tokens` given the question.
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

    def rd(self, kind: str) -> float:
        """Rationale Difficulty, "plain", "masked" or "hidden"."""
        with_rationale: float = getattr(self, f"answer_nll_{kind}")
        return math.exp(min((with_rationale - self.answer_nll) / self.num_answer_tokens, MOST_NATS))

    @property
    def perplexity(self) -> float:
        """Of the whole rationale given the question."""
        return math.exp(min(self.nll / self.num_tokens, MOST_NATS))


@dataclass(slots=True, kw_only=True)
class Selected(Record):
    """What became of one question's rationales: `counts` of those "written", "usable", and left after each filter, and the ids of those kept."""

    question_id: str
    counts: dict[str, int]
    kept: list[str]

    @property
    def line(self) -> dict[str, Any]:
        """As `selection.jsonl` holds it."""
        return {"question_id": self.question_id, **{f"num_{word}": count for word, count in self.counts.items()}, "kept": self.kept}


@dataclass(slots=True, kw_only=True)
class Round(Record):
    """One rewriting of a chain of thought. Round 0 is never stored: it is the rationale itself.

    `outcome` is "ok", or why the rewrite cannot be used: "empty", "length" (cut off), "refused", "filtered", "overflow".
    `previous_text_hash` names the text that went in, so that a reader can check the chain.
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
    """What a model before fine-tuning makes of a chain of thought given its question: tokens, and their negative log-likelihood in nats.

    `nll` is None for a chain that does not fit the model's context.
    """

    num_tokens: int
    nll: float | None


@dataclass(frozen=True, slots=True)
class Measured:
    """One chain's likelihoods: of the text that is kept, and of round 0 (the chain as it was written), 1, 2, ...; None for an unusable round."""

    kept: Likelihood
    rounds: list[Likelihood | None]


@dataclass(slots=True, kw_only=True)
class Compressed(Record):
    """What is kept of a rationale after the stop rule: `text` is round `kept_round` (0 = the original)."""

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
    """One training example. `compressed` puts the `<compress>` mark behind the prompt, `ratio` a ratio (DESIGN: encoding in one place)."""

    id: str
    question_id: str
    prompt: str
    completion: str
    form: Form
    compressed: bool = False
    ratio: float | None = None


@dataclass(slots=True, kw_only=True)
class Grade(Record):
    """The labels of one text under three rules; None where a rule does not apply.

    `extracted` is the answer under the strict rule, `extracted_by` what found it: "boxed", "statement", "parentheses", "text" or "none".
    `timed_out`: a comparison of this text ran out of processor time or memory, under whichever rule; it counts as wrong there.
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
    """One answer of an evaluated model, with what it is graded by, both token counts and the grade."""

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
