"""How models are measured: what the base model and the fine-tuned one answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from cotexp.jobs.engines import load_encoder, load_engine, rows_at_once
from cotexp.methods import output_budget, reasoning
from cotexp.records import Question
from cotexp.settings.sampling import sampling_key
from cotexp.stages import budgets, checkpoint, grades
from cotexp.stages.context import Compute, Context, Emit, by_task, environment, hash_of, parent, student_model, wanted_rows
from cotexp.stages.evaluation import Answers, Evaluation
from cotexp.store.specs import Spec
from cotexp.store.stored_files import Row
from cotexp.tasks import answer_type_of
from cotexp.tasks.answers import split_solution

if TYPE_CHECKING:
    from cotexp.inference.engine import Engine, Output, Request

NAME = "predictions"
VERSION = 3
READS = ("dataset", "model", "checkpoint")
TIMED_AS = "evaluation"


def specs(context: Context, mode: str) -> dict[str, Spec]:
    """The answers to each task's test questions, and their grades."""
    found = {}
    for task, questions in by_task(context.questions.test).items():
        found[f"predictions/{mode}/{task}"] = own = spec(context, mode, task)
        found[f"grades/{mode}/{task}"] = grades.spec(own, questions[0].answer_type, whole_text=True)
    return found


def spec(context: Context, mode: str, task: str) -> Spec:
    """Answers to one task's test questions by the base model, or the fine-tuned one, in one mode; more samples extend the same ledger."""
    settings, evaluation = context.settings, context.settings.evaluation
    if mode == "truncate":
        return _truncated(context, task)
    model = {"checkpoint": checkpoint.spec(context).key} if settings.is_fine_tuned(mode) else {"sha256": context.base.sha256}
    instruction, asked = settings.compression.instruction_for(mode), settings.compression.ask(mode, "", evaluation.ratio)
    own = {
        **model,
        "compressed": asked.compressed,
        **({"ratio": asked.ratio} if asked.ratio else {}),
        **({"instruction": instruction} if instruction else {}),
        **({"budgets": budgets.spec(context, task).key} if budgets.specs(context, mode) else {}),
        "task": task,
        "answers": answer_type_of(settings.tasks[task]),
        "prompt": context.prompts[task].identity,
        "sampling": sampling_key(evaluation),
        **environment(settings.model),
    }
    return Spec(NAME, {"version": VERSION, **own})


def _truncated(context: Context, task: str) -> Spec:
    """The base model's answers, cut; their budget follows from the lengths of all of them, so other questions make another ledger."""
    own = {
        "answers": spec(context, "base", task).key,
        "truncate_ratio": context.settings.evaluation.truncate_ratio,
        "questions": hash_of(each.id for each in by_task(context.questions.test)[task]),
    }
    return Spec(NAME, {"version": VERSION, **own})


model = student_model


def add(context: Context, made: Evaluation) -> None:
    """The answers of every mode."""
    made.answers = make(context)


def make(context: Context) -> dict[tuple[str, str], Answers]:
    """(mode, task) -> the model's answers to the task's test questions; in a look those that are stored."""
    answers: dict[tuple[str, str], Answers] = {}
    for mode in context.settings.evaluation.modes:
        for task, questions in by_task(context.questions.test).items():
            compute = _cut(context, answers["base", task].rows, questions) if mode == "truncate" else _asked(context, mode, questions)
            answers[mode, task] = _answers(context, mode, task, questions, compute)
    return answers


def wanted(context: Context) -> dict[str, list[str]]:
    """Task -> ids of its answers in one mode."""
    samples = context.settings.evaluation.num_samples
    return {task: wanted_rows(own, samples) for task, own in by_task(context.questions.test).items()}


def _answers(context: Context, mode: str, task: str, questions: Sequence[Question], compute: Compute) -> Answers:
    evaluation, by_id = context.settings.evaluation, {each.id: each for each in questions}
    ids = wanted_rows(questions, evaluation.num_samples)
    chunk_size = rows_at_once(context, context.settings.model, evaluation, lambda each: request_for(context, mode, each, by_id[parent(each)]).prompt)
    in_order = sorted(ids, key=lambda each: (len(by_id[parent(each)].text), each))
    own, shown = spec(context, mode, task), f"answers, {mode}, {task}"
    rows = context.rows(f"predictions/{mode}/{task}", own, in_order, compute, chunk_size=chunk_size, shown=shown)
    return Answers(own, ids, [rows[each] for each in ids if each in rows])


def _asked(context: Context, mode: str, questions: Sequence[Question]) -> Compute:
    """Answers are generated."""
    evaluation, by_id = context.settings.evaluation, {each.id: each for each in questions}

    def compute(ids: list[str], emit: Emit) -> None:
        engine = answering_engine(context, mode)
        count = load_encoder(context).count
        known = budgets.of(context, mode, questions)
        requests = [request_for(context, mode, each, by_id[parent(each)], known) for each in ids]
        engine.generate(requests, evaluation, lambda output: emit(_row(output, by_id[parent(output.id)], count)))

    return compute


def request_for(context: Context, mode: str, name: str, question: Question, known: Mapping[str, int] = MappingProxyType({})) -> Request:
    """The question as it is asked in this mode; `name` is the answer's id, from which it is sampled. `known`: question id -> its budget."""
    from cotexp.inference.engine import Request

    if question.id in known:
        return Request(name, *context.settings.compression.ask_within(context.prompt_for(question), known[question.id]))
    return Request(name, *context.settings.compression.ask(mode, context.prompt_for(question), context.settings.evaluation.ratio))


def _cut(context: Context, answers: Sequence[Row], questions: Sequence[Question]) -> Compute:
    """Answers are the base model's own, cut at one budget: what it would write greedily if that were its limit."""
    by_name, by_id = {each["id"]: each for each in answers}, {each.id: each for each in questions}

    def compute(ids: list[str], emit: Emit) -> None:
        from cotexp.inference.engine import Output

        most = output_budget.budget([each["num_tokens"] for each in answers], context.settings.evaluation.truncate_ratio)
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
    fine_tuned = context.store.artifact_path(checkpoint.spec(context)) if context.settings.is_fine_tuned(mode) else None
    return load_engine(context, context.base, context.settings.model, adapter=fine_tuned)
