"""How important each token of a chain is, for compressions that drop tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cotexp.compressions.base import Compression
from cotexp.jobs.engines import load_encoder, share
from cotexp.jobs.likelihoods import score_rows, text_after
from cotexp.methods import pruning
from cotexp.methods.reasoning import before_answer_part
from cotexp.models import identity
from cotexp.models.identity import ModelFiles
from cotexp.records import Rationale
from cotexp.settings.models import PretrainedModel
from cotexp.stages import rationales
from cotexp.stages.context import Compute, Context, Emit, by_task, environment, scoring_model, student_model
from cotexp.stages.training_set import TrainingSet
from cotexp.store.specs import Spec

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
        compute = _by_classifier(context, of_task) if context.classifier else _by_surprisal(context, of_task)
        ids, chunk_size = [each.id for each in of_task], share(context.settings.model, CHUNK)
        rows = context.rows(f"importances/{task}", own, ids, compute, chunk_size=chunk_size, shown=f"importances, {task}")
        found |= {name: row["importances"] for name, row in rows.items()}
        if context.look is not None:
            num_unknown = context.look.num_unwritten[task]
            context.look.count(f"importances/{task}", num_unknown, num_unknown)
    return found


def _by_surprisal(context: Context, chains: Sequence[Rationale]) -> Compute:
    """-log p(token | question, chain so far) in nats under the model before fine-tuning."""
    chain_of = {each.id: each for each in chains}

    def compute(ids: list[str], emit: Emit) -> None:
        score_rows(
            context,
            {each: chain_of[each].question_id for each in ids},
            lambda name, encoder: [text_after(before_answer_part(chain_of[name], chain_of), chain_of[name].cot.strip(), encoder)],
            lambda name, scores: emit({"id": name, "importances": [float(f"{-score:.4g}") for score in scores[0]]}),
        )

    return compute


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
