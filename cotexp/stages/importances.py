"""How important each token of a chain is, for compressions that drop tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cotexp.compressions.base import Compression
from cotexp.jobs.engines import load_encoder, load_local, share
from cotexp.methods import pruning
from cotexp.methods.reasoning import before_answer_part
from cotexp.models import identity
from cotexp.models.encoding import Encoder
from cotexp.models.identity import ModelFiles
from cotexp.records import Question, Rationale
from cotexp.settings.models import PretrainedModel
from cotexp.stages import rationales
from cotexp.stages.context import Compute, Context, Emit, by_task, environment, scoring_model, student_model
from cotexp.stages.training_set import TrainingSet
from cotexp.store.specs import Spec

if TYPE_CHECKING:
    from cotexp.inference.scoring import Text

NAME = "importances"
VERSION = 2
READS = ("rationales", "model")
BOUNDED = True
TIMED_AS = "rounds"

CHUNK = 512
"""Rows claimed at once."""


def find_classifier(rule: Compression, *, plan: bool) -> ModelFiles | None:
    """The files of LLMLingua-2's model where the compression `rule` asks it, else None. Raises: ConfigError when it cannot be used."""
    if rule.classifier_path is None:
        return None
    from cotexp.inference import llmlingua

    files = identity.find(PretrainedModel(path=rule.classifier_path), path_setting="compression.classifier", download=not plan)
    if not plan:
        llmlingua.check(files.folder)
    return files


def spec(context: Context, task: str) -> Spec | None:
    """None when this compression ranks no tokens. Ratios do not enter: every ratio reads the same rows."""
    settings = context.settings
    if not settings.compression.ranks_tokens:
        return None
    own: dict[str, Any] = {"rationales": rationales.spec(context, task).key}
    if context.classifier:
        own |= {"classifier": context.classifier.sha256}
    else:
        own |= {"model": context.base.sha256, "prompt": context.prompts[task].identity, **environment(scoring_model(settings))}
    return Spec(NAME, {"version": VERSION, **own})


model = student_model


def add(context: Context, made: TrainingSet) -> None:
    """The importances of the chains' tokens."""
    made.importances = make(context, made.chains)


def make(context: Context, chains: Sequence[Rationale]) -> dict[str, list[float]]:
    """Chain id -> a number for each of its tokens, the larger the more important; none unless this compression ranks tokens."""
    questions = {each.id: each for each in context.training_questions}
    in_order = sorted(chains, key=lambda each: (each.question_id, each.num_cot_tokens))
    found: dict[str, list[float]] = {}
    for task in by_task(context.training_questions):
        own = spec(context, task)
        if own is None:
            continue
        of_task = [each for each in in_order if questions[each.question_id].task == task]
        compute = _by_classifier(context, of_task) if context.classifier else _by_surprisal(context, questions, of_task)
        ids, chunk_size = [each.id for each in of_task], share(context.settings.model, CHUNK)
        rows = context.rows(f"importances/{task}", own, ids, compute, chunk_size=chunk_size, shown=f"importances, {task}")
        found |= {name: row["importances"] for name, row in rows.items()}
        if context.look is not None:
            num_unknown = context.look.num_unwritten[task]
            context.look.count(f"importances/{task}", num_unknown, num_unknown)
    return found


def _by_surprisal(context: Context, questions: dict[str, Question], chains: Sequence[Rationale]) -> Compute:
    """-log p(token | question, chain so far) in nats under the model before fine-tuning."""
    chain_of = {each.id: each for each in chains}

    def compute(ids: list[str], emit: Emit) -> None:
        from cotexp.inference.scoring import Item, Scorer

        loaded = load_local(context, context.base, scoring_model(context.settings)).loaded
        asked: dict[str, list[str]] = {}
        for each in ids:
            asked.setdefault(chain_of[each].question_id, []).append(each)
        items = [
            Item(name, loaded.encoder.prompt(context.prompt_for(questions[name])), [_text(chain_of, each, loaded.encoder) for each in own])
            for name, own in asked.items()
        ]

        def on_item(name: str, scores: list[list[float]]) -> None:
            for each, own in zip(asked[name], scores, strict=True):
                emit({"id": each, "importances": [float(f"{-score:.4g}") for score in own]})

        Scorer(loaded, max_batch_tokens=context.settings.scoring.max_batch_tokens).score(items, on_item)

    return compute


def _text(chain_of: dict[str, Rationale], name: str, encoder: Encoder) -> Text:
    """A chain, behind what was thought before it where there is something."""
    from cotexp.inference.scoring import Text

    before = encoder.text_ids(before_answer_part(chain_of[name], chain_of))
    ids = [*before, *encoder.text_ids(chain_of[name].cot.strip(), goes_on=bool(before))]
    return Text(ids, list(range(len(before), len(ids))))


def _by_classifier(context: Context, chains: Sequence[Rationale]) -> Compute:
    """What LLMLingua-2 makes of the words, for the tokens of the model that is trained."""
    chain_of = {each.id: each for each in chains}

    def compute(ids: list[str], emit: Emit) -> None:
        from cotexp.inference.llmlingua import Classifier

        assert context.classifier is not None
        context.engine = None
        encoder, classifier = load_encoder(context), Classifier(context.classifier.folder, identity.device_type(context.settings.model.device))
        for each in ids:
            text = encoder.readable(chain_of[each].cot.strip())
            spans = encoder.spans(text, goes_on=bool(before_answer_part(chain_of[each], chain_of)))
            emit({"id": each, "importances": pruning.importances_of_words(text, classifier.words(text), spans)})

    return compute
