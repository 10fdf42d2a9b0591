"""How models are measured: answers and grades of the base model and the fine-tuned one, and the metrics made of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from cotexp.jobs import grades, progress
from cotexp.jobs.engines import load_encoder, load_engine, rows_at_once
from cotexp.jobs.specs import Context, by_task, parent, spec_checkpoint, spec_predictions, wanted_rows
from cotexp.jobs.store import Row
from cotexp.methods import comparison, output_budget, reasoning, statistics
from cotexp.methods.condition import ask
from cotexp.model_settings import Sampling
from cotexp.records import Prediction, Question
from cotexp.settings import Evaluation
from cotexp.tasks.answers import split_solution
from cotexp.tasks.judge import Judge
from cotexp.tasks.splits import normal_text

if TYPE_CHECKING:
    from cotexp.inference.engine import Engine, Output, Request

Metrics = dict[str, float]
Answers = dict[tuple[str, str], list[Row]]
Compute = Callable[[list[str], Callable[[Row], None]], None]


def write_answers(context: Context) -> Answers:
    """(mode, task) -> the model's answers to the task's test questions."""
    answers: Answers = {}
    for mode in context.settings.evaluation.modes:
        for task, questions in by_task(context.questions.test).items():
            compute = _cut(context, answers["base", task], questions) if mode == "truncate" else _asked(context, mode, questions)
            answers[mode, task] = _answers(context, mode, task, questions, compute)
    return answers


def _answers(context: Context, mode: str, task: str, questions: Sequence[Question], compute: Compute) -> list[Row]:
    evaluation, by_id = context.settings.evaluation, {each.id: each for each in questions}
    ids = wanted_rows(questions, evaluation.num_samples)
    chunk_size = rows_at_once(context, context.settings.model, evaluation, lambda each: request_for(context, mode, each, by_id[parent(each)]).prompt)
    with progress.bar(f"answers, {mode}, {task}", len(ids)) as advance:
        rows = context.store.ledger(spec_predictions(context, mode, task)).fill(
            sorted(ids, key=lambda each: (len(by_id[parent(each)].text), each)), compute, chunk_size=chunk_size, on_row=advance
        )
    return [rows[each] for each in ids]


def _asked(context: Context, mode: str, questions: Sequence[Question]) -> Compute:
    """Answers are generated."""
    evaluation, by_id = context.settings.evaluation, {each.id: each for each in questions}
    sampling = sampling_of(evaluation)

    def compute(ids: list[str], emit: Callable[[Row], None]) -> None:
        engine = answering_engine(context, mode)
        count = load_encoder(context).count
        requests = [request_for(context, mode, each, by_id[parent(each)]) for each in ids]
        engine.generate(requests, sampling, lambda output: emit(_row(output, by_id[parent(output.id)], count)))

    return compute


def sampling_of(evaluation: Evaluation) -> Sampling:
    """How answers are sampled."""
    return Sampling(max_new_tokens=evaluation.max_new_tokens, temperature=evaluation.temperature, seed=evaluation.seed)


def request_for(context: Context, mode: str, name: str, question: Question) -> Request:
    """The question as it is asked in this mode; `name` is the answer's id, from which it is sampled."""
    from cotexp.inference.engine import Request

    return Request(name, *ask(context.settings.compression, mode, context.prompt_for(question), context.settings.evaluation.ratio))


def _cut(context: Context, answers: Sequence[Row], questions: Sequence[Question]) -> Compute:
    """Answers are the base model's own, cut at one budget: what it would write greedily if that were its limit."""
    most = output_budget.budget([each["num_tokens"] for each in answers], context.settings.evaluation.truncate_ratio)
    by_name, by_id = {each["id"]: each for each in answers}, {each.id: each for each in questions}

    def compute(ids: list[str], emit: Callable[[Row], None]) -> None:
        from cotexp.inference.engine import Output

        encoder = load_encoder(context)
        for row in map(by_name.__getitem__, ids):
            text, length, reason = row["text"], row["num_tokens"], row["finish_reason"]
            if length > most:
                text, length, reason = encoder.cut(text.lstrip(), most), most, "budget"
            emit(_row(Output(row["id"], text, length, reason, 0.0), by_id[row["question_id"]], encoder.count))

    return compute


def _row(output: Output, question: Question, count: Callable[[str], int]) -> Row:
    """A stored answer; it holds what it is graded by, so that grading needs no task. All lengths are counted in its text, as every stage does:
    the ids that were generated may spell the same text otherwise.
    """
    chain, _ = split_solution(output.text, question.answer_type, question.options)
    num_cot_tokens, num_thinking_tokens = reasoning.lengths(chain, count)
    return {
        "id": output.id,
        "question_id": question.id,
        "task": question.task,
        "sample": int(output.id.rsplit("/", 1)[1]),
        "text": output.text,
        "gold": question.answer,
        "answer_type": question.answer_type,
        "options": question.options,
        "num_tokens": reasoning.length(output.text, count),
        "num_cot_tokens": num_cot_tokens,
        "num_thinking_tokens": num_thinking_tokens,
        "finish_reason": output.finish_reason,
        "seconds": output.seconds,
    }


def answering_engine(context: Context, mode: str) -> Engine:
    """What answers in this mode: the model before fine-tuning or the fine-tuned one."""
    fine_tuned = context.store.artifact_path(spec_checkpoint(context)) if context.settings.is_fine_tuned(mode) else None
    return load_engine(context, context.base, context.settings.model, adapter=fine_tuned)


def grade_answers(context: Context, answers: Answers) -> dict[str, list[Prediction]]:
    """Mode -> graded answers over all tasks."""
    graded: dict[str, list[Prediction]] = {}
    with Judge() as judge:
        for (mode, task), rows in answers.items():
            spec, texts = spec_predictions(context, mode, task), [grades.answered(each) for each in rows]
            own = grades.grade(context, spec, texts, judge, what=f"{mode}, {task}", whole_text=True)
            graded.setdefault(mode, []).extend(grades.joined(each, own[each["id"]], mode) for each in rows)
    return graded


def metrics_of(context: Context, predictions: dict[str, list[Prediction]]) -> Metrics:
    """`eval/MODE/TASK/...` for each task, and `eval/MODE/...` for all of them without questions that an earlier task asked already."""
    pooled_ids = _pooled(context.questions.test)
    pooled = {mode: [each for each in own if each.question_id in pooled_ids] for mode, own in predictions.items()}
    metrics: Metrics = {}
    for mode, own in pooled.items():
        metrics |= _of_mode(f"eval/{mode}", own, pooled.get("base") if mode != "base" else None)
    metrics |= comparison.mode_comparisons(pooled)
    for task in by_task(context.questions.test):
        of_task = {mode: [each for each in own if each.task == task] for mode, own in predictions.items()}
        for mode, own in of_task.items():
            metrics |= _of_mode(f"eval/{mode}/{task}", own, of_task.get("base") if mode != "base" else None)
            if cut := [each.num_tokens for each in own if each.finish_reason == "budget"]:
                metrics[f"eval/{mode}/{task}/budget_tokens"] = max(cut)
    return metrics


def _of_mode(prefix: str, own: Sequence[Prediction], base: Sequence[Prediction] | None) -> Metrics:
    values = {**statistics.accuracy_metrics(own), **(statistics.ratio_metrics(own, base) if base else {})}
    return {f"{prefix}/{name}": value for name, value in values.items()}


def _pooled(questions: Sequence[Question]) -> set[str]:
    """Ids of the questions whose text no earlier task holds."""
    kept: set[str] = set()
    seen: set[str] = set()
    for own in by_task(questions).values():
        kept.update(each.id for each in own if normal_text(each) not in seen)
        seen.update(normal_text(each) for each in own)
    return kept
