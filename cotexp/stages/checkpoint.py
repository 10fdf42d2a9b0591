"""The fine-tuned model, from training examples in the forms that the mixture asks for."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cotexp import progress, signals
from cotexp.methods import difficulty, mixture, reasoning
from cotexp.models import identity
from cotexp.records import Compressed, Example, Question, Rationale
from cotexp.settings.base import RunFailed, keyed
from cotexp.settings.root import Settings
from cotexp.settings.training import Lora, Trainer
from cotexp.stages import grades, importances, ranks, rationales, rounds, scores
from cotexp.stages.context import OWN, Context, hash_of, own_of
from cotexp.store.claims import POLL_SECONDS
from cotexp.store.disk import sealed
from cotexp.store.specs import Spec

NAME = "checkpoint"
VERSION = 3
READS = ("selection", "model")
PART_VERSIONS = {"pairs": 3, "shares": 2, "flops": 2, "ranked": 2}
"""Raised when a part would pair, share or end otherwise; models that do not use the part do not depend on it."""
FOLDER = True
TIMED_AS = "training"


def spec(context: Context) -> Spec:
    """The fine-tuned model: every setting, text and question that training sees."""
    settings, selection, tasks = context.settings, context.settings.selection, context.settings.task.train
    reads_grades = settings.mixture.originals == "correct" or selection.reads_grades or settings.compression.pairs_rationales
    written, important, ranked = ([stage.spec(context, each) for each in tasks] for stage in (rounds, importances, ranks))
    own = {
        "model": {
            **{name: value for name, value in keyed(settings.model).items() if name not in OWN},
            **own_of(settings.model),
            "sha256": context.base.sha256,
        },
        "rationales": [rationales.spec(context, each).key for each in tasks],
        "num_samples": None if context.recorded else settings.teacher.num_samples,
        "rounds": [each.key for each in written if each],
        **({"importances": [each.key for each in important if each]} if any(important) else {}),
        **({"label": [settings.scoring.connector, settings.scoring.answer]} if settings.compression.learns_labels else {}),
        **({"ranks": [each.key for each in ranked if each]} if any(ranked) else {}),
        "selection": keyed(selection),
        "scores": [own.key for each in tasks if (own := scores.spec(context, each)) is not None],
        "compression": keyed(settings.compression),
        "mixture": keyed(settings.mixture),
        "grades": grades.VERSION if reads_grades else None,
        "trainer": {**keyed(_as_read(settings.trainer)), **frozen_of(settings.trainer), "device": identity.device_type(settings.trainer.accelerator)},
        "prompts": [context.prompts[each].identity for each in tasks],
        "train": hash_of(each.id for each in context.questions.train),
        "validation": hash_of(each.id for each in context.questions.validation),
        "seed": settings.seed,
        **_part_versions(settings),
        **_rewrites(context),
    }
    return Spec(NAME, {"version": VERSION, **own})


def _as_read(trainer: Trainer) -> Trainer:
    """The settings without those that are not read: of adapters with tuning=full, and max_epochs beside another budget."""
    lora = trainer.lora if trainer.tuning == "lora" else Lora()
    return replace(trainer, lora=lora) if trainer.budget is None else replace(trainer, lora=lora, max_epochs=Trainer().max_epochs)


def _part_versions(settings: Settings) -> dict[str, int]:
    uses = {
        "pairs": settings.compression.pairs_rationales,
        "shares": settings.mixture.full_loss_ratio is not None,
        "flops": settings.trainer.max_petaflops is not None,
        "ranked": settings.selection.order != "sample",
    }
    return {name: PART_VERSIONS[name] for name, is_used in uses.items() if is_used}


def _rewrites(context: Context) -> dict[str, str]:
    """What stands for the questions' own pairs that teach a compressor, if they are trained on; ids of questions do not say which these are."""
    pairs = [each.rewrites for each in context.training_questions if each.rewrites] if context.settings.mixture.rewrite_ratio else []
    return {"rewrites": hash_of("\n".join(pair) for of_question in pairs for pair in of_question)} if pairs else {}


def frozen_of(trainer: Trainer) -> dict[str, str]:
    """The number format of frozen weights, unless it is float32 as it always was before there was a choice."""
    return {} if trainer.dtype_of_frozen == "float32" else {"frozen_dtype": trainer.dtype_of_frozen}


@dataclass(slots=True)
class Examples:
    train: list[Example]
    validation: list[Example]


def make_examples(context: Context, rationales: Sequence[Rationale], compressed: Sequence[Compressed]) -> Examples:
    """Training and validation examples in the forms that the mixture asks for, in an order that does not depend on how they were ranked: selections
    that keep the same rationales train the same model.
    """
    settings = context.settings
    questions = {each.id: each for each in context.training_questions}
    positions = {name: number for number, name in enumerate(questions)}
    prompts = {each.id: context.prompt_for(each) for each in questions.values()}
    result = {}
    for split in ("train", "validation"):
        ids = {each.id for each in context.questions[split]}
        own = sorted((each for each in rationales if each.question_id in ids), key=lambda each: (positions[each.question_id], each.sample))
        full = mixture.full_examples(own, prompts, settings.compression)
        if settings.compression.pairs_rationales:
            other = _rewriting_examples(context, own, questions, split)
        else:
            other = _short_examples(context, own, compressed, questions, prompts, split)
        examples = mixture.mix(full, other, settings.mixture, seed=settings.seed)
        if settings.mixture.rewrite_ratio:
            count = round(len(full) * settings.mixture.rewrite_ratio)
            examples += mixture.rewrite_examples(own, questions, settings.compression.prompt, count)
        result[split] = examples
    return Examples(**result)


def _short_examples(
    context: Context,
    own: Sequence[Rationale],
    compressed: Sequence[Compressed],
    questions: Mapping[str, Question],
    prompts: Mapping[str, str],
    split: str,
) -> list[Example]:
    """The short form of a split's rationales: their gold answers, or what is left of their chains. Raises: RunFailed if none is left."""
    settings = context.settings
    if settings.compression.learns_labels:
        labels = {each.id: difficulty.label(each, settings.scoring) for each in questions.values()}
        return mixture.label_examples(own, labels, prompts, settings.compression)
    ids = {each.id for each in own}
    kept = [each for each in compressed if each.rationale_id in ids]
    if own and not kept and settings.mixture.full_ratio != 1:
        raise RunFailed(
            f"no {split} chain is left in compressed form: the rounds of all {len(own)} failed; look at the rewrites in "
            f"{context.store.root / 'rounds'}, change compression.prompt or the compressor, or use compression=none"
        )
    return mixture.compressed_examples(own, kept, prompts, settings.compression)


def _rewriting_examples(context: Context, own: Sequence[Rationale], questions: Mapping[str, Question], split: str) -> list[Example]:
    """The pairs of a split's rationales. Raises: RunFailed if there are none."""
    rule = context.settings.compression
    pairs = rule.pairs(reasoning.chains(own))
    if own and not pairs:
        num_correct = sum(each.correct for each in own)
        raise RunFailed(
            f"no {split} question has two correct rationales of different lengths ({len(own)} rationales of "
            f"{len({each.question_id for each in own})} questions, {num_correct} of them correct): record more rationales per question, raise "
            f"{'task.num_validation, ' if split == 'validation' else ''}teacher.num_samples or selection.k; look at the rationales in "
            f"{context.store.root / 'rationales'}"
        )
    return mixture.pair_examples(pairs, questions, rule.prompt)


def make(context: Context, examples: Examples) -> Path:
    """The folder of the fine-tuned model: chosen by validation loss, with its training curve."""

    def build(folder: Path) -> None:
        from cotexp.devices import training_workers
        from cotexp.training.fit import FitJob

        context.engine = None
        job = FitJob(
            folder=folder,
            base_folder=context.base.folder,
            model=context.settings.model,
            trainer=context.settings.trainer,
            seed=context.settings.seed,
            full_loss_ratio=context.settings.mixture.full_loss_ratio,
            train=examples.train,
            validation=examples.validation,
            tasks={each.id: each.task for each in context.training_questions},
        )
        with progress.bar("training", 0) as advance:

            def on_row(row: dict[str, float], num_steps: int) -> None:
                advance(row, total=num_steps, completed=int(row["step"]))
                context.on_curve(row, num_steps)

            training_workers.run_fit(job, on_row)

    return context.store.artifact(spec(context), sealed(build))


def join_training(context: Context) -> None:
    """Be one of the machines on which another one fine-tunes, until the model is there."""
    from cotexp.devices import training_workers

    context.engine = None
    own = spec(context)
    unfinished = context.store.unfinished_path(own)
    while not context.store.has_artifact(own):
        signals.check()
        if (unfinished / training_workers.JOB).is_file():
            training_workers.join_fit(unfinished, context.settings.trainer)
        time.sleep(POLL_SECONDS)
