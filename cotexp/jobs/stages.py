"""The stages of the pipeline, one function each: which rows or files are wanted, and how the missing ones are made."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from cotexp.jobs import progress
from cotexp.jobs.specs import (
    Context,
    compressor_model,
    hash_of,
    is_deterministic,
    spec_checkpoint,
    spec_latency,
    spec_model,
    spec_predictions,
    spec_rationales,
    spec_rounds,
    timed_questions,
)
from cotexp.jobs.store import Row, Store
from cotexp.methods import compression, mixture
from cotexp.models.identity import ModelFiles
from cotexp.records import Compressed, Example, Prediction, Question, Rationale, Round
from cotexp.sections import RunFailed, keyed
from cotexp.settings import PretrainedModel, Sampling, ScratchModel, Settings
from cotexp.tasks import QuestionSets, prompt_for
from cotexp.tasks.answers import extract, last_number, number_of, split_solution
from cotexp.tasks.grading import numbers_equal

if TYPE_CHECKING:
    from cotexp.inference.local import LocalEngine


# --- model ---------------------------------------------------------------------------------------------------------------


def make_model(settings: Settings, store: Store, questions: QuestionSets) -> Path:
    """The folder of a model made from scratch."""
    from cotexp.models import scratch

    assert isinstance(settings.model, ScratchModel)

    def build(folder: Path) -> None:
        texts = [text for each in questions.train[:4000] for text in (prompt_for(settings.task, each), *each.references)]
        template = getattr(settings.compression, "prompt", "")
        texts += [template.format(question="", rationale="", answer="")] * 100 if template else []
        scratch.make(settings.model, texts, folder)

    return store.artifact(spec_model(settings), build)


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
    settings = context.settings
    questions = {each.id: each for each in context.training_questions}
    ids = [f"{each}/{sample}" for each in questions for sample in range(getattr(settings.teacher, "num_samples", 1))]
    ledger = context.store.ledger(spec_rationales(context))
    make = _reference_rationales(context, questions) if settings.teacher.name == "reference" else _own_rationales(context, questions)
    with progress.bar("rationales", len(ids)) as advance:
        rows = ledger.fill(
            sorted(ids, key=lambda each: (len(questions[_parent(each)].text), each)),
            make,
            chunk_size=getattr(settings.teacher, "batch_size", 4096),
            on_row=advance,
        )
    return [Rationale.from_row(rows[each]) for each in ids]


def _parent(row_id: str) -> str:
    """The id without its last part: of a question for a rationale, of a rationale for a round."""
    return row_id.rsplit("/", 1)[0]


def _own_rationales(context: Context, questions: dict[str, Question]) -> Callable[[list[str], Callable[[Row], None]], None]:
    from_output = _rationale_reader(context, questions)

    def compute(ids: list[str], emit: Callable[[Row], None]) -> None:
        from cotexp.inference.local import Request

        engine = load_engine(context, context.base, context.settings.model)
        requests = [Request(each, engine.loaded.encoder.prompt(prompt_for(context.settings.task, questions[_parent(each)]))) for each in ids]
        engine.generate(requests, context.settings.teacher, lambda output: emit(from_output(output, engine.loaded.encoder.count)))

    return compute


def _rationale_reader(context: Context, questions: dict[str, Question]) -> Callable[[Any, Callable[[str], int]], Row]:
    def read(output: Any, count: Callable[[str], int]) -> Row:
        question = questions[_parent(output.id)]
        chain, closing = split_solution(output.text)
        answer = extract(output.text).text
        return asdict(
            Rationale(
                id=output.id,
                question_id=question.id,
                sample=int(output.id.rsplit("/", 1)[1]),
                cot=chain,
                closing=closing,
                answer=answer,
                correct=numbers_equal(answer, question.answer),
                num_tokens=output.num_tokens,
                num_cot_tokens=count(chain.strip()),
                finish_reason=output.finish_reason,
                seconds=output.seconds,
                source=context.settings.teacher.name,
            )
        )

    return read


def _reference_rationales(context: Context, questions: dict[str, Question]) -> Callable[[list[str], Callable[[Row], None]], None]:
    from_output = _rationale_reader(context, questions)

    def compute(ids: list[str], emit: Callable[[Row], None]) -> None:
        from cotexp.inference.local import Output

        count = load_encoder(context).count
        for each in ids:
            text = questions[_parent(each)].references[0]
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
    """Rounds 1, 2, ... of every rationale, as many as the stop rule reads. Round by round: finished chains make no more rows."""
    spec = spec_rounds(context)
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
            rationale = rationales[_parent(each)]
            question = questions[rationale.question_id]
            previous[each] = rounds[rationale.id][-1].text if rounds[rationale.id] else rationale.cot.strip()
            answer = question.answer if rule.prompt_answer == "gold" else rationale.answer or ""
            prompts[each] = compression.rewrite_prompt(rule, question=question.text, text=previous[each], answer=answer)

        def read(output: Any) -> Row:
            rationale, text = rationales[_parent(output.id)], output.text.strip()
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
                    answer_kept=rationale.answer is not None and last_number(text) == number_of(rationale.answer),
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
    prompts = {each.id: prompt_for(settings.task, each) for each in questions.values()}
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
                f"{context.store.artifact_path(spec_rationales(context))}, raise teacher.max_new_tokens or take another teacher"
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


# --- evaluation ----------------------------------------------------------------------------------------------------------


def predict(context: Context, mode: str) -> list[Prediction]:
    """One greedy answer per test question by the base model, or the fine-tuned one without or with the mark."""
    questions = {each.id: each for each in context.questions.test}
    sampling = Sampling(max_new_tokens=context.settings.evaluation.max_new_tokens)

    def compute(ids: list[str], emit: Callable[[Row], None]) -> None:
        from cotexp.inference.local import Request

        engine = _evaluated_engine(context, mode)
        encoder = engine.loaded.encoder
        requests = [
            Request(each, encoder.prompt(prompt_for(context.settings.task, questions[_parent(each)]), compressed=mode == "compress")) for each in ids
        ]
        engine.generate(requests, sampling, lambda output: emit(_prediction(output, questions[_parent(output.id)], mode, encoder.count)))

    ids = sorted((f"{each}/0" for each in questions), key=lambda each: (len(questions[_parent(each)].text), each))
    with progress.bar(f"answers, {mode}", len(ids)) as advance:
        rows = context.store.ledger(spec_predictions(context, mode)).fill(
            ids, compute, chunk_size=context.settings.evaluation.batch_size, on_row=advance
        )
    return [Prediction.from_row({**rows[f"{each}/0"], "mode": mode}) for each in questions]


def _prediction(output: Any, question: Question, mode: str, count: Callable[[str], int]) -> Row:
    extracted = extract(output.text)
    return asdict(
        Prediction(
            id=output.id,
            question_id=question.id,
            task=question.task,
            mode=mode,
            sample=0,
            text=output.text,
            extracted=extracted.text,
            extracted_by=extracted.rule,
            correct=numbers_equal(extracted.text, question.answer),
            num_tokens=output.num_tokens,
            num_cot_tokens=count(split_solution(output.text)[0].strip()),
            finish_reason=output.finish_reason,
            seconds=output.seconds,
        )
    )


def _evaluated_engine(context: Context, mode: str) -> LocalEngine:
    fine_tuned = None if mode == "base" else context.store.artifact_path(spec_checkpoint(context))
    return load_engine(context, context.base, context.settings.model, adapter=fine_tuned)


def measure_latency(context: Context, mode: str) -> dict[str, float]:
    """Wall seconds per question at batch 1 and batch N, on fixed questions after a warm-up, one measurement per machine at a time."""
    evaluation = context.settings.evaluation
    sizes = {"batch1": 1, "batchN": evaluation.latency_batch_size}
    questions = timed_questions(context)

    def compute(ids: list[str], emit: Callable[[Row], None]) -> None:
        from cotexp.inference.local import Request

        engine = _evaluated_engine(context, mode)
        sampling = Sampling(max_new_tokens=evaluation.max_new_tokens)
        encoder = engine.loaded.encoder
        requests = [Request(each.id, encoder.prompt(prompt_for(context.settings.task, each), compressed=mode == "compress")) for each in questions]
        with FileLock(Path(tempfile.gettempdir()) / "cotexp-latency.lock", mode=0o666):
            for each in ids:
                size = min(sizes[each], len(requests))
                engine.generate(requests[:size], sampling, lambda output: None)
                started = time.perf_counter()
                for first in range(0, len(requests), size):
                    engine.generate(requests[first : first + size], sampling, lambda output: None)
                emit({"id": each, "seconds": (time.perf_counter() - started) / len(requests), "num_questions": len(requests)})

    rows = context.store.ledger(spec_latency(context, mode)).fill(list(sizes), compute, chunk_size=len(sizes))
    return {f"latency_seconds_{each}": rows[each]["seconds"] for each in sizes}
