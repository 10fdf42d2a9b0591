"""Models in memory: made from scratch or unpacked where need be, and one engine at a time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cotexp.jobs.specs import TOKENIZER_QUESTIONS, Context, spec_model
from cotexp.jobs.store import Store
from cotexp.model_settings import GgufModel, PretrainedModel
from cotexp.models import identity
from cotexp.models.identity import ModelFiles
from cotexp.sections import keyed
from cotexp.settings import Settings
from cotexp.tasks import Prompt, QuestionSets

if TYPE_CHECKING:
    from cotexp.inference.local import LocalEngine


def make_model(settings: Settings, store: Store, questions: QuestionSets, prompts: dict[str, Prompt]) -> Path:
    """The folder of a model that the run makes itself: from a GGUF file, or with random weights."""
    model = settings.model

    def build(folder: Path) -> None:
        if isinstance(model, GgufModel):
            from cotexp.models import gguf

            gguf.unpack(identity.find_gguf(model), folder)
        else:
            from cotexp.models import scratch

            scratch.make(model, _tokenizer_texts(settings, questions, prompts), folder)

    return store.artifact(spec_model(settings, questions, prompts), build)


def _tokenizer_texts(settings: Settings, questions: QuestionSets, prompts: dict[str, Prompt]) -> list[str]:
    """What the tokenizer of a model made from scratch learns from."""
    texts = [text for each in questions.train[:TOKENIZER_QUESTIONS] for text in (prompts[each.task](each), *each.references)]
    template = getattr(settings.compression, "prompt", "")
    return texts + ([template.format(question="", rationale="", answer="")] * 100 if template else [])


def load_engine(context: Context, files: ModelFiles, model: PretrainedModel, *, adapter: Path | None = None) -> LocalEngine:
    """The engine for a model (or its fine-tuned form in `adapter`); the previous one is freed when it differs."""
    from cotexp.inference.local import LocalEngine
    from cotexp.models import loading

    name = f"{files.folder} {adapter} {keyed(model)} {model.device}"
    if context.engine is None or context.engine_name != name:
        context.engine = None
        context.engine = LocalEngine(loading.load(adapter or files.folder, model, base_folder=files.folder))
        context.engine_name = name
    return context.engine


def load_encoder(context: Context) -> Any:
    """The target model's encoder, without its weights."""
    from cotexp.models.encoding import Encoder
    from cotexp.models.tokenizer import load_tokenizer

    model = context.settings.model
    tokenizer = load_tokenizer(context.base.folder, model)
    return Encoder.of(tokenizer, compress_token=model.compress_token, literal=model.literal_encoding)
