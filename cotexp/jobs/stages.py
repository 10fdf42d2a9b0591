"""The stages of the pipeline, one function each: which rows or files are wanted, and how the missing ones are made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cotexp.jobs import grades, progress
from cotexp.jobs.specs import (
    TOKENIZER_QUESTIONS,
    Context,
    by_task,
    compressor_model,
    hash_of,
    is_deterministic,
    parent,
    spec_checkpoint,
    spec_grades,
    spec_model,
    spec_rationales,
    spec_rounds,
    wanted_rows,
)
from cotexp.jobs.store import Row, Store
from cotexp.methods import compression, mixture
from cotexp.models.identity import ModelFiles
from cotexp.records import Compressed, Example, Grade, Question, Rationale, Round
from cotexp.sections import RunFailed, keyed
from cotexp.settings import PretrainedModel, ScratchModel, Settings
from cotexp.tasks import Prompt, QuestionSets
from cotexp.tasks.answers import split_solution
from cotexp.tasks.equivalence import Judge
from cotexp.tasks.grading import Answered, is_kept

if TYPE_CHECKING:
    from cotexp.inference.local import LocalEngine


# --- model ---------------------------------------------------------------------------------------------------------------


def make_model(settings: Settings, store: Store, questions: QuestionSets, prompts: dict[str, Prompt]) -> Path:
    """The folder of a model made from scratch."""
    from cotexp.models import scratch

    assert isinstance(settings.model, ScratchModel)

    def build(folder: Path) -> None:
        texts = [text for each in questions.train[:TOKENIZER_QUESTIONS] for text in (prompts[each.task](each), *each.references)]
        template = getattr(settings.compression, "prompt", "")
        texts += [template.format(question="", rationale="", answer="")] * 100 if template else []
        scratch.make(settings.model, texts, folder)

    return store.artifact(spec_model(settings, questions, prompts), build)


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


# --- rationales ----------------------------------------------------------------------------------------------------------


def write_rationales(context: Context) -> list[Rationale]:
    """One rationale per training and validation question and sample, from the teacher."""
    with Judge() as judge:
        return [each for task, questions in by_task(context.training_questions).items() for each in _rationales_of(context, task, questions, judge)]


def _rationales_of(context: Context, task: str, questions: Sequence[Question], judge: Judge) -> list[Rationale]:
    by_id = {each.id: each for each in questions}
    ids = wanted_rows(questions, getattr(context.settings.teacher, "num_samples", 1))
    spec = spec_rationales(context, task)
    make = _reference_rationales(context, by_id) if context.settings.teacher.name == "reference" else _own_rationales(context, by_id)
    with progress.bar(f"rationales, {task}", len(ids)) as advance:
        rows = context.store.ledger(spec).fill(
            sorted(ids, key=lambda each: (len(by_id[parent(each)].text), each)),
            make,
            chunk_size=getattr(context.settings.teacher, "batch_size", 4096),
            on_row=advance,
        )
    texts = [_to_grade(rows[each], by_id[parent(each)]) for each in ids]
    graded = grades.grade(context, spec, texts, judge, what=f"rationales, {task}", whole_text=False)
    return [_graded(rows[each], graded[each]) for each in ids]


def stored_rationales(context: Context, task: str) -> dict[str, Rationale]:
    """The rationales of one task that are stored and graded already, by id."""
    spec = spec_rationales(context, task)
    own = by_task(context.training_questions)[task]
    graded = context.store.ledger(spec_grades(spec, own[0].answer_type, whole_text=False)).read()
    rows = context.store.ledger(spec).read()
    return {each: _graded(row, Grade.from_row(graded[each])) for each, row in rows.items() if each in graded}


def _graded(row: Row, grade: Grade) -> Rationale:
    return Rationale.from_row({**row, "answer": grade.extracted, "correct": grade.strict})


def _to_grade(row: Row, question: Question) -> Answered:
    return Answered(
        id=row["id"],
        text=row["cot"] + row["closing"],
        gold=question.answer,
        answer_type=question.answer_type,
        options=question.options,
        finish_reason=row["finish_reason"],
    )


def _own_rationales(context: Context, questions: dict[str, Question]) -> Callable[[list[str], Callable[[Row], None]], None]:
    from_output = _rationale_reader(context, questions)

    def compute(ids: list[str], emit: Callable[[Row], None]) -> None:
        from cotexp.inference.local import Request

        engine = load_engine(context, context.base, context.settings.model)
        requests = [Request(each, engine.loaded.encoder.prompt(context.prompt_for(questions[parent(each)]))) for each in ids]
        engine.generate(requests, context.settings.teacher, lambda output: emit(from_output(output, engine.loaded.encoder.count)))

    return compute


def _rationale_reader(context: Context, questions: dict[str, Question]) -> Callable[[Any, Callable[[str], int]], Row]:
    def read(output: Any, count: Callable[[str], int]) -> Row:
        question = questions[parent(output.id)]
        chain, closing = split_solution(output.text, question.answer_type, question.options)
        return {
            "id": output.id,
            "question_id": question.id,
            "sample": int(output.id.rsplit("/", 1)[1]),
            "cot": chain,
            "closing": closing,
            "num_tokens": output.num_tokens,
            "num_cot_tokens": count(chain.strip()),
            "finish_reason": output.finish_reason,
            "seconds": output.seconds,
            "source": context.settings.teacher.name,
        }

    return read


def _reference_rationales(context: Context, questions: dict[str, Question]) -> Callable[[list[str], Callable[[Row], None]], None]:
    from_output = _rationale_reader(context, questions)

    def compute(ids: list[str], emit: Callable[[Row], None]) -> None:
        from cotexp.inference.local import Output

        count = load_encoder(context).count
        for each in ids:
            text = questions[parent(each)].references[0]
            emit(from_output(Output(each, text, count(text), "stop", 0.0), count))

    return compute


def load_encoder(context: Context) -> Any:
    """The target model's encoder, without its weights."""
    from transformers import AutoTokenizer

    from cotexp.models.encoding import Encoder

    model = context.settings.model
    tokenizer = AutoTokenizer.from_pretrained(context.base.folder, trust_remote_code=model.trust_remote_code)
    return Encoder.of(tokenizer, compress_token=model.compress_token, literal=model.literal_encoding)


# --- rounds --------------------------------------------------------------------------------------------------------------


def select(context: Context, rationales: Sequence[Rationale]) -> list[Rationale]:
    """The rationales that take part. One without a stated answer cannot be compressed or learnt from in any arm."""
    stated = [each for each in rationales if each.closing and each.cot.strip() and each.finish_reason == "stop"]
    return [each for each in stated if each.correct] if context.settings.mixture.originals == "correct" else stated


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
        with progress.bar(f"round {number}", len(ids)) as advance:
            rows = ledger.fill(ids, _one_round(context, active, rounds), chunk_size=context.settings.compressor.batch_size, on_row=advance)
        for each in active:
            rounds[each.id].append(Round.from_row(rows[f"{each.id}/{number}"]))
    return rounds


def _one_round(context: Context, active: Sequence[Rationale], rounds: dict[str, list[Round]]) -> Callable[[list[str], Callable[[Row], None]], None]:
    rule, settings = context.settings.compression, context.settings
    questions = {each.id: each for each in context.training_questions}
    rationales = {each.id: each for each in active}

    def compute(ids: list[str], emit: Callable[[Row], None]) -> None:
        from cotexp.inference.local import Request

        assert context.compressor is not None
        engine = load_engine(context, context.compressor, compressor_model(settings))
        count = load_encoder(context).count
        prompts, previous = {}, {}
        for each in ids:
            rationale = rationales[parent(each)]
            question = questions[rationale.question_id]
            previous[each] = rounds[rationale.id][-1].text if rounds[rationale.id] else rationale.cot.strip()
            answer = question.answer if rule.prompt_answer == "gold" else rationale.answer or ""
            prompts[each] = compression.rewrite_prompt(rule, question=question.text, text=previous[each], answer=answer)

        def read(output: Any) -> Row:
            rationale, text = rationales[parent(output.id)], output.text.strip()
            return asdict(
                Round(
                    id=output.id,
                    rationale_id=rationale.id,
                    round=int(output.id.rsplit("/", 1)[1]),
                    text=text,
                    num_tokens=count(text),
                    tokenizer=context.base.sha256[:12],
                    prompt_hash=hash_of([prompts[output.id]]),
                    previous_text_hash=hash_of([previous[output.id]]),
                    finish_reason=output.finish_reason,
                    outcome=compression.outcome_of(text, output.finish_reason),
                    answer_kept=is_kept(rationale.answer, text, questions[rationale.question_id]),
                    seconds=output.seconds,
                )
            )

        requests = [Request(each, engine.loaded.encoder.prompt(prompts[each])) for each in ids]
        engine.generate(requests, settings.compressor, lambda output: emit(read(output)))

    return compute


def compress(context: Context, rationales: Sequence[Rationale], rounds: dict[str, list[Round]]) -> list[Compressed]:
    """What each rationale becomes under this run's rule; a rationale may be dropped by failed_round=drop."""
    rule = context.settings.compression
    if rule.name == "truncate":
        cut = load_encoder(context).cut
        return [compression.truncate(each, rule, cut=cut) for each in rationales]
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
        full = mixture.full_examples(own, prompts)
        short = mixture.compressed_examples(own, [each for each in compressed if each.rationale_id in own_ids], prompts)
        if own and not short and settings.mixture.full_ratio != 1:
            raise RunFailed(
                f"no {split} chain is left in compressed form: the rounds of all {len(own)} failed; look at the rewrites in "
                f"{context.store.root / 'rounds'}, change compression.prompt or the compressor, or use compression=none"
            )
        examples = mixture.mix(full, short, settings.mixture, seed=settings.seed)
        if settings.mixture.rewrite_ratio:
            count = round(len(full) * settings.mixture.rewrite_ratio)
            examples += mixture.rewrite_examples(own, questions, settings.compression.prompt, count)
        if ids and not examples:
            raise RunFailed(
                f"no {split} example is left: of {len(ids)} {split} questions {len(own)} have a usable rationale; look at the rationales in "
                f"{context.store.root / 'rationales'}, raise teacher.max_new_tokens or take another teacher"
            )
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
        )
        with progress.bar("training", 0) as advance:

            def on_row(row: dict[str, float], num_steps: int) -> None:
                advance(row, total=num_steps, completed=int(row["step"]))
                context.on_curve(row, num_steps)

            workers.run_fit(job, on_row)

    return context.store.artifact(spec_checkpoint(context), build)
