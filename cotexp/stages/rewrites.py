"""What a server wrote as compressor. The texts serve every target model: nothing here is counted with its tokenizer."""

from __future__ import annotations

from collections.abc import Mapping

from cotexp.jobs import api_texts
from cotexp.settings.base import keyed
from cotexp.stages import rationales
from cotexp.stages.context import API, Context, hash_of, ledgers
from cotexp.stages.training_set import TrainingSet
from cotexp.store.specs import Spec
from cotexp.store.stored_files import Row

NAME = "rewrites"
VERSION = 2
READS = ("rationales",)
BOUNDED = True


def spec(context: Context, task: str) -> Spec | None:
    """What a server wrote as compressor; None for other compressors. Ids of the rows hold a hash of the prompt, so no count enters."""
    settings = context.settings
    if settings.compressor.server is None or not settings.compression.asks_compressor:
        return None
    source = rationales.spec(context, task).description
    own = {
        "rationales": {name: source[name] for name in ("teacher", "task", "model") if name in source},
        "compressor": {name: value for name, value in keyed(settings.compressor).items() if name != "name"},
        "prompt": settings.compression.prompt,
        "prompt_answer": settings.compression.prompt_answer,
        **API,
    }
    return Spec(NAME, {"version": VERSION, **own})


def metrics(context: Context, made: TrainingSet) -> dict[str, float]:
    """What the server was asked for and paid, if there is one, and its tokens in this run's rounds."""
    own = ledgers(context, spec)
    if not own:
        return {}
    ids = {_row_id(each.id, each.prompt_hash) for run in made.rounds.values() for each in run}
    return api_texts.metrics(context, "compressor", own) | api_texts.used(context, "compressor", own, ids)


def _row_id(round_id: str, prompt_hash: str) -> str:
    return f"{round_id}/{prompt_hash}"


def make(context: Context, task: str, prompts: Mapping[str, str], number: int) -> dict[str, Row]:
    """Id -> what the server wrote for its prompt, in round `number`."""
    own = spec(context, task)
    assert own is not None
    names = {each: _row_id(each, hash_of([prompt])) for each, prompt in prompts.items()}
    asked = {names[each]: prompt for each, prompt in prompts.items()}
    texts = api_texts.texts(context, "compressor", own, asked, of_role=ledgers(context, spec), what=f"rewrites, {number}")
    return {each: texts[name] for each, name in names.items()}
