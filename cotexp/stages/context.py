"""What every stage may read and write with: settings, questions, models, the store, and whether rows are computed or only looked up.

Nothing heavy is imported, so that a plan can be printed at once.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from cotexp import progress
from cotexp.compressors.base import RecordedRounds
from cotexp.inference.engine import Engine
from cotexp.inference.engines import ENGINES
from cotexp.models.identity import ModelFiles
from cotexp.records import Question
from cotexp.settings.models import PretrainedModel
from cotexp.settings.root import Settings
from cotexp.store.claims import ChunkSize
from cotexp.store.specs import Spec
from cotexp.store.store import Store
from cotexp.store.stored_files import Row
from cotexp.tasks import Prompt, QuestionSets
from cotexp.teachers.base import Recorded

Emit = Callable[[Row], None]
Compute = Callable[[list[str], Emit], None]
"""Makes the rows of the given ids and emits each as it becomes known."""


@dataclass(slots=True)
class Counted:
    """Rows of one ledger that a run reads, and how many of them are not stored. Both are upper bounds while earlier stages are incomplete."""

    num_wanted: int = 0
    num_missing: int = 0


@dataclass(slots=True)
class Look:
    """What a walk through the stages found that computes nothing. `num_unwritten`: task -> rationales whose text or score is not stored yet."""

    stages: dict[str, Counted] = field(default_factory=dict)
    num_unwritten: Counter[str] = field(default_factory=Counter)

    def count(self, name: str, num_wanted: int, num_missing: int) -> None:
        """Add rows to the stage `name`."""
        stage = self.stages.setdefault(name, Counted())
        stage.num_wanted += num_wanted
        stage.num_missing += num_missing

    @property
    def is_open(self) -> bool:
        """Whether it is not known yet which chains there will be, or what each becomes."""
        return bool(sum(self.num_unwritten.values()) + sum(map(self.num_missing, ("scores", "ranks", "rounds", "importances"))))

    def counted(self, kind: str) -> Counted:
        """The rows of all stages of one kind, over all tasks."""
        of_kind = [stage for name, stage in self.stages.items() if name.split("/")[0] == kind]
        return Counted(sum(stage.num_wanted for stage in of_kind), sum(stage.num_missing for stage in of_kind))

    def num_missing(self, kind: str) -> int:
        """Rows that the stages of one kind lack, over all tasks."""
        return self.counted(kind).num_missing


@dataclass(slots=True)
class Context:
    """What every stage may read, and the one engine that is held in memory at a time.

    `questions` are those of all tasks: train and validation of the tasks to train on, test of the tasks to evaluate on. `teacher` is the
    teacher's model if it has one of its own; `classifier` ranks tokens for pruning by LLMLingua-2; `recorded` holds for each task the rationales
    that the teacher reads from files, `recorded_rounds` the rounds that the compressor reads from files.
    With a `look`, stages count what is missing and compute nothing.
    """

    settings: Settings
    store: Store
    questions: QuestionSets
    prompts: dict[str, Prompt]
    base: ModelFiles
    compressor: ModelFiles | None = None
    teacher: ModelFiles | None = None
    classifier: ModelFiles | None = None
    recorded: dict[str, Recorded] = field(default_factory=dict)
    recorded_rounds: dict[str, RecordedRounds] = field(default_factory=dict)
    look: Look | None = None
    engine: Engine | None = None
    engine_name: str = ""
    on_compute: Callable[[], None] = lambda: None
    on_metrics: Callable[[dict[str, float]], None] = lambda metrics: None
    on_curve: Callable[[dict[str, float], int], None] = lambda row, num_steps: None

    @property
    def training_questions(self) -> list[Question]:
        """Questions that need rationales: those to train on and those that choose the checkpoint."""
        return [*self.questions.train, *self.questions.validation]

    def prompt_for(self, question: Question) -> str:
        """What a model is asked: the prompt of the question's task."""
        return self.prompts[question.task](question)

    def rows(self, name: str, spec: Spec, ids: Sequence[str], compute: Compute, *, chunk_size: ChunkSize, shown: str | None) -> dict[str, Row]:
        """The rows of `ids` in one stage's ledger; missing ones are computed, or in a look counted and left out. `shown` names a progress bar."""
        ledger = self.store.ledger(spec)
        if self.look is None:
            if shown is None:
                return ledger.fill(ids, compute, chunk_size=chunk_size)
            with progress.bar(shown, len(ids)) as advance:
                return ledger.fill(ids, compute, chunk_size=chunk_size, on_row=advance, on_missing=lambda number: advance(total=number))
        stored = ledger.read(frozenset(ids))
        found = {each: stored[each] for each in ids if each in stored}
        self.look.count(name, len(ids), len(ids) - len(found))
        return found


def by_task(questions: Iterable[Question]) -> dict[str, list[Question]]:
    """The questions of each task, in order."""
    groups: dict[str, list[Question]] = {}
    for each in questions:
        groups.setdefault(each.task, []).append(each)
    return groups


def ledgers(context: Context, spec: Callable[[Context, str], Spec | None]) -> list[Spec]:
    """What a stage before fine-tuning stores, of all tasks; `spec` is the function of that name in its file."""
    return [own for task in by_task(context.training_questions) if (own := spec(context, task)) is not None]


def wanted_rows(questions: Iterable[Question], num_samples: int) -> list[str]:
    """Ids of the texts for `questions`, sample by sample."""
    return [f"{each.id}/{sample}" for each in questions for sample in range(num_samples)]


def wanted_rationales(context: Context, questions: Iterable[Question]) -> list[str]:
    """Ids of the rationales that the teacher has, or is to write, for `questions`."""
    if context.recorded:
        return [f"{each.id}/{sample}" for each in questions for sample in range(len(context.recorded[each.task].rationales[each.id]))]
    return wanted_rows(questions, context.settings.teacher.num_samples)


def parent(row_id: str) -> str:
    """The id without its last part: of a question for a rationale or an answer, of a rationale for a round."""
    return row_id.rsplit("/", 1)[0]


OWN = ("system_prompt", "chat_template_kwargs", "stop_tokens", "context_length", "attn_implementation")
"""Settings that change what a model's own files say; where they say nothing they enter no key."""


def own_of(model: PretrainedModel) -> dict[str, Any]:
    return {name: value for name in OWN if (value := getattr(model, name)) not in (None, [], "{}")}


def environment(model: PretrainedModel) -> dict[str, Any]:
    """What else decides a generated text: number format, kind of device, and what of the prompt's form and end is not the model's own."""
    engine = ENGINES[model.engine]
    positions = {"positions": "float32"} if engine.by_transformers and model.dtype != "float32" else {}  # once rounded to 16 bits
    return {"engine": engine_of(model), "dtype": model.dtype, "device": engine.device_of(model), **positions, **own_of(model)}


def engine_of(model: PretrainedModel) -> str:
    """Name of what generates with a model; texts of another name are other texts."""
    return "local compiled" if model.compile else model.engine


API = {"engine": "api"}
"""Stands in the keys of texts from a server, which has neither weights nor a number format that we know."""


def hash_of(texts: Iterable[str]) -> str:
    """Sixteen hex digits that stand for a sequence of texts."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]


def scoring_model(settings: Settings) -> PretrainedModel:
    """The model that scores rationales: always with engine local, since vLLM's log-probabilities depend on the order of requests."""
    model: PretrainedModel = settings.model
    return replace(model, engine="local", compile=False, dtype=settings.scoring.dtype)


def student_model(settings: Settings) -> PretrainedModel:
    """The model that is fine-tuned."""
    model: PretrainedModel = settings.model
    return model


def teacher_model(settings: Settings) -> PretrainedModel | None:
    """The model on this machine that writes the rationales, if one does."""
    model: PretrainedModel | None = settings.teacher.local_model(settings.model)
    return model


def compressor_model(settings: Settings) -> PretrainedModel | None:
    """The model on this machine that rewrites them, if one does."""
    model: PretrainedModel | None = settings.compressor.local_model(settings.model)
    return model


def is_deterministic(settings: Settings) -> bool:
    """Whether the compressor would answer an unchanged text with the same text again."""
    return bool(settings.compressor.temperature == 0) and settings.compressor.server is None
