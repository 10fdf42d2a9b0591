"""A model that the run makes itself: unpacked from a GGUF file, or with random weights and a tokenizer of its own."""

from __future__ import annotations

from pathlib import Path

from cotexp.models import identity
from cotexp.settings.base import keyed
from cotexp.settings.models import GgufModel, PretrainedModel, ScratchModel
from cotexp.settings.root import Settings
from cotexp.stages.context import hash_of
from cotexp.store.disk import sealed
from cotexp.store.specs import Spec
from cotexp.store.store import Store
from cotexp.tasks import Prompt, QuestionSets

NAME = "model"
VERSION = 2
READS = ()
FOLDER = True

TOKENIZER_QUESTIONS = 4000
"""Training questions, with their worked solutions, from which the tokenizer of a model made from scratch learns."""


def is_made(model: PretrainedModel) -> bool:
    """Whether the run makes this model's folder itself."""
    return isinstance(model, ScratchModel | GgufModel)


def spec(settings: Settings, questions: QuestionSets, prompts: dict[str, Prompt]) -> Spec:
    """A model that the run makes: from a GGUF file, or from scratch, whose tokenizer learns from training questions and rewriting prompt."""
    if isinstance(settings.model, GgufModel):
        return Spec(NAME, {"version": VERSION, "gguf": identity.file_sha256(identity.find_gguf(settings.model))})
    description = {
        "model": keyed(settings.model),
        "questions": hash_of(each.id for each in questions.train[:TOKENIZER_QUESTIONS]),
        "prompts": [prompts[each].identity for each in settings.task.train],
        "rewriting": getattr(settings.compression, "prompt", ""),
    }
    return Spec(NAME, {"version": VERSION, **description})


def make(settings: Settings, store: Store, questions: QuestionSets, prompts: dict[str, Prompt]) -> Path:
    """The folder of the model."""
    model = settings.model

    def build(folder: Path) -> None:
        if isinstance(model, GgufModel):
            from cotexp.models import gguf

            gguf.unpack(identity.find_gguf(model), folder)
        else:
            from cotexp.models import scratch

            scratch.make(model, _tokenizer_texts(settings, questions, prompts), folder)

    return store.artifact(spec(settings, questions, prompts), sealed(build))


def _tokenizer_texts(settings: Settings, questions: QuestionSets, prompts: dict[str, Prompt]) -> list[str]:
    """What the tokenizer of a model made from scratch learns from."""
    texts = [text for each in questions.train[:TOKENIZER_QUESTIONS] for text in (prompts[each.task](each), *each.references)]
    template = getattr(settings.compression, "prompt", "")
    return texts + ([template.format(question="", rationale="", answer="")] * 100 if template else [])
