"""The stages of the pipeline, one function each: which rows or files are wanted, and how the missing ones are made."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from cotexp import signals
from cotexp.jobs import progress, pruning, scores, served
from cotexp.jobs.disk import sealed
from cotexp.jobs.engines import load_encoder, load_engine, rows_at_once
from cotexp.jobs.scores import Scores
from cotexp.jobs.specs import Context, compressor_model, hash_of, is_deterministic, parent, spec_checkpoint, spec_rewrites, spec_rounds
from cotexp.jobs.store import POLL_SECONDS, ChunkSize, Row
from cotexp.methods import compression, mixture, reasoning, selection
from cotexp.model_settings import ApiCompressor
from cotexp.records import Compressed, Example, Question, Rationale, Round, Selected
from cotexp.sections import RunFailed
from cotexp.tasks.grading import is_kept

# --- selection -----------------------------------------------------------------------------------------------------------


def score(context: Context, written: Sequence[Rationale]) -> Scores:
    """What the student makes of the usable rationales of training questions; nothing where no filter reads it."""
    return scores.score(context, scores.to_score(context, written)) if context.settings.selection.needs_scores else {}


def select(context: Context, written: Sequence[Rationale], scores: Scores) -> tuple[list[Rationale], list[Selected]]:
    """The rationales that take part, of training and validation questions, and what became of each training question."""
    settings = context.settings
    groups: dict[str, list[Rationale]] = {each.id: [] for each in context.training_questions}
    for each in written:
        groups[each.question_id].append(each)
    rule = settings.selection
    if settings.mixture.originals == "correct":
        rule = replace(rule, accuracy=True, validation="correct")
    train, validation = ({each.id: groups[each.id] for each in context.questions[split]} for split in ("train", "validation"))
    kept, outcomes = selection.select(train, scores, rule, seed=settings.seed)
    return kept + selection.for_validation(validation, rule), outcomes


def check_selection(context: Context, written: Sequence[Rationale], chosen: Sequence[Rationale], outcomes: Sequence[Selected]) -> None:
    """Raises: RunFailed when nothing is left to train on, or to choose the checkpoint by."""
    look = f"look at the rationales in {context.store.root / 'rationales'}"
    if outcomes and not any(each.kept for each in outcomes):
        left = ", ".join(f"{sum(getattr(each, f'num_{step}') for each in outcomes)} {step}" for step in ("written", "usable", "accurate", "diverse"))
        raise RunFailed(
            f"no rationale of {len(outcomes)} training questions is left to train on ({left}; k, equal_questions and budgets come last): loosen "
            f"the filter that took them, raise teacher.max_new_tokens or take another teacher; {look}"
        )
    ids = {each.id for each in context.questions.validation}
    if ids and not any(each.question_id in ids for each in chosen):
        num_usable = len(selection.usable([each for each in written if each.question_id in ids]))
        raise RunFailed(
            f"no rationale is left to choose the checkpoint by: {num_usable} rationales of {len(ids)} validation questions are usable, none "
            f"of them correct; raise task.num_validation or teacher.num_samples, or set selection.validation=all; {look}"
        )


# --- rounds --------------------------------------------------------------------------------------------------------------


def write_rounds(context: Context, rationales: Sequence[Rationale]) -> dict[str, list[Round]]:
    """Rounds 1, 2, ... of every rationale, as many as the stop rule reads; none when this compression asks no compressor."""
    task_of = {each.id: each.task for each in context.training_questions}
    own: dict[str, list[Rationale]] = {}
    for each in rationales:
        own.setdefault(task_of[each.question_id], []).append(each)
    return {name: rounds for task in own for name, rounds in _rounds_of(context, task, own[task]).items()}


def _rounds_of(context: Context, task: str, rationales: Sequence[Rationale]) -> dict[str, list[Round]]:
    """Round by round: finished chains make no more rows."""
    spec = spec_rounds(context, task)
    if spec is None:
        return {}
    rule, deterministic = context.settings.compression, is_deterministic(context.settings)
    ledger = context.store.ledger(spec)
    rounds: dict[str, list[Round]] = {each.id: [] for each in rationales}
    active = list(rationales)
    while active := [each for each in active if compression.decide(each, rounds[each.id], rule, deterministic=deterministic) is None]:
        number = len(rounds[active[0].id]) + 1
        lengths = {each.id: rounds[each.id][-1].num_tokens if number > 1 else each.num_cot_tokens for each in active}
        ids = [f"{each.id}/{number}" for each in sorted(active, key=lambda each: (lengths[each.id], each.id))]
        chunk_size = _chunk_size(context, {each.id: each for each in active}, rounds, lengths)
        with progress.bar(f"round {number}", len(ids)) as advance:
            rows = ledger.fill(ids, _one_round(context, task, active, rounds), chunk_size=chunk_size, on_row=advance)
        for each in active:
            rounds[each.id].append(Round.from_row(rows[f"{each.id}/{number}"]))
    return rounds


def _chunk_size(context: Context, rationales: dict[str, Rationale], rounds: dict[str, list[Round]], lengths: dict[str, int]) -> ChunkSize:
    """How many chains are claimed and rewritten at once; a rewrite is expected to be as long as what goes in."""
    if isinstance(context.settings.compressor, ApiCompressor):
        return served.EVERYTHING
    questions = {each.id: each for each in context.training_questions}

    def prompt(name: str) -> str:
        rationale = rationales[parent(name)]
        return _rewriting(context, questions[rationale.question_id], rationale, rounds)[1]

    model, compressor = compressor_model(context.settings), context.settings.compressor
    return rows_at_once(context, model, compressor, prompt, lambda name: lengths[parent(name)])


def _rewriting(context: Context, question: Question, rationale: Rationale, rounds: dict[str, list[Round]]) -> tuple[str, str]:
    """(the chain that is rewritten next, what the compressor is asked)."""
    rule = context.settings.compression
    previous = rounds[rationale.id][-1].text if rounds[rationale.id] else rationale.cot.strip()
    answer = question.answer if rule.prompt_answer == "gold" else rationale.answer or ""
    return previous, compression.rewrite_prompt(rule, question=question.text, text=previous, answer=answer)


def _one_round(
    context: Context, task: str, active: Sequence[Rationale], rounds: dict[str, list[Round]]
) -> Callable[[list[str], Callable[[Row], None]], None]:
    settings, rewrites = context.settings, spec_rewrites(context, task)
    questions = {each.id: each for each in context.training_questions}
    rationales = {each.id: each for each in active}

    def compute(ids: list[str], emit: Callable[[Row], None]) -> None:
        count = load_encoder(context).count
        prompts, previous = {}, {}
        for each in ids:
            rationale = rationales[parent(each)]
            previous[each], prompts[each] = _rewriting(context, questions[rationale.question_id], rationale, rounds)

        def read(name: str, output: Row) -> Row:
            rationale, text = rationales[parent(name)], reasoning.without_thinking(output["text"])
            one = Round(
                id=name,
                rationale_id=rationale.id,
                round=int(name.rsplit("/", 1)[1]),
                text=text,
                num_tokens=count(text),
                tokenizer=context.base.sha256[:12],
                prompt_hash=hash_of([prompts[name]]),
                previous_text_hash=hash_of([previous[name]]),
                finish_reason=output["finish_reason"],
                outcome=compression.outcome_of(text, output["finish_reason"]),
                answer_kept=is_kept(rationale.answer, text, questions[rationale.question_id]),
                seconds=output["seconds"],
            )
            return asdict(one) | ({"usage": output["usage"]} if output["usage"] else {})

        if rewrites is not None:
            names = {each: f"{each}/{hash_of([prompts[each]])}" for each in ids}
            asked = {names[each]: prompts[each] for each in ids}
            texts = served.texts(context, "compressor", rewrites, asked, what=f"rewrites, {len(rounds[parent(ids[0])]) + 1}")
            for each in ids:
                emit(read(each, texts[names[each]]))
            return
        from cotexp.inference.engine import Request

        assert context.compressor is not None
        engine = load_engine(context, context.compressor, compressor_model(settings))
        requests = [Request(each, prompts[each]) for each in ids]
        engine.generate(requests, settings.compressor, lambda output: emit(read(output.id, asdict(output))))

    return compute


def compress(context: Context, rationales: Sequence[Rationale], rounds: dict[str, list[Round]]) -> list[Compressed]:
    """What each rationale becomes under this run's rule; a rationale may be dropped by failed_round=drop."""
    rule = context.settings.compression
    if rule.name == "truncate":
        cut = load_encoder(context).cut
        return [compression.truncate(each, rule, cut=cut) for each in rationales]
    if rule.name == "tokenskip":
        return pruning.prune(context, rationales)
    if not compression.needs_rounds(rule):
        return []
    deterministic = is_deterministic(context.settings)
    kept = [compression.keep(each, rounds[each.id], rule, deterministic=deterministic) for each in rationales]
    return [each for each in kept if each is not None]


# --- training ------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Examples:
    train: list[Example]
    validation: list[Example]


def make_examples(context: Context, rationales: Sequence[Rationale], compressed: Sequence[Compressed]) -> Examples:
    """Training and validation examples in the forms that the mixture asks for."""
    settings = context.settings
    questions = {each.id: each for each in context.training_questions}
    prompts = {each.id: context.prompt_for(each) for each in questions.values()}
    result = {}
    for split in ("train", "validation"):
        ids = {each.id for each in context.questions[split]}
        own = [each for each in rationales if each.question_id in ids]
        own_ids = {each.id for each in own}
        full = mixture.full_examples(own, prompts, settings.compression)
        short = mixture.compressed_examples(own, [each for each in compressed if each.rationale_id in own_ids], prompts, settings.compression)
        if own and not short and settings.mixture.full_ratio != 1:
            raise RunFailed(
                f"no {split} chain is left in compressed form: the rounds of all {len(own)} failed; look at the rewrites in "
                f"{context.store.root / 'rounds'}, change compression.prompt or the compressor, or use compression=none"
            )
        examples = mixture.mix(full, short, settings.mixture, seed=settings.seed)
        if settings.mixture.rewrite_ratio:
            count = round(len(full) * settings.mixture.rewrite_ratio)
            examples += mixture.rewrite_examples(own, questions, settings.compression.prompt, count)
        result[split] = examples
    return Examples(**result)


def train(context: Context, examples: Examples) -> Path:
    """The folder of the fine-tuned model: chosen by validation loss, with its training curve."""

    def build(folder: Path) -> None:
        from cotexp.jobs import workers
        from cotexp.training.fit import FitJob

        context.engine = None
        job = FitJob(
            folder=folder,
            base_folder=context.base.folder,
            model=context.settings.model,
            trainer=context.settings.trainer,
            seed=context.settings.seed,
            train=examples.train,
            validation=examples.validation,
            tasks={each.id: each.task for each in context.training_questions},
        )
        with progress.bar("training", 0) as advance:

            def on_row(row: dict[str, float], num_steps: int) -> None:
                advance(row, total=num_steps, completed=int(row["step"]))
                context.on_curve(row, num_steps)

            workers.run_fit(job, on_row)

    return context.store.artifact(spec_checkpoint(context), sealed(build))


def join_training(context: Context) -> None:
    """Be one of the machines on which another one fine-tunes, until the model is there."""
    from cotexp.jobs import workers

    context.engine = None
    spec = spec_checkpoint(context)
    unfinished = context.store.unfinished_path(spec)
    while not context.store.has_artifact(spec):
        signals.check()
        if (unfinished / workers.JOB).is_file():
            workers.join(unfinished, context.settings.trainer)
        time.sleep(POLL_SECONDS)
