"""The budgets of tokens that the model before fine-tuning estimates for the test questions, where the compression asks for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cotexp.jobs.engines import load_encoder, load_engine, rows_at_once
from cotexp.methods import reasoning
from cotexp.methods.statistics import mean
from cotexp.records import Question
from cotexp.settings.sampling import sampling_key
from cotexp.stages.context import Compute, Context, Emit, by_task, environment, student_model
from cotexp.stages.evaluation import Evaluation
from cotexp.store.specs import Spec
from cotexp.store.stored_files import Row
from cotexp.tasks.prompts import shown_options

NAME = "budgets"
VERSION = 3
READS = ("dataset", "model")
TIMED_AS = "evaluation"
IS_ARTIFACT = False

MODE = "compress"
"""The mode in which questions are asked with their budgets."""


def specs(context: Context, mode: str) -> dict[str, Spec]:
    """The estimates for each task's test questions; none in another mode, or if the compression asks for none."""
    if mode != MODE or not context.settings.compression.estimates_budget:
        return {}
    return {f"budgets/{task}": spec(context, task) for task in by_task(context.questions.test)}


def spec(context: Context, task: str) -> Spec:
    """One estimate for each test question of a task."""
    settings = context.settings
    own = {"sha256": context.base.sha256, "task": task, "estimate": settings.compression.estimate, "sampling": sampling_key(settings.evaluation)}
    return Spec(NAME, {"version": VERSION, **own, **environment(settings.model)})


model = student_model


def add(context: Context, made: Evaluation) -> None:
    """The estimates, which the next stages find in the store."""
    made.estimates = make(context)


def metrics(context: Context, made: Evaluation) -> dict[str, float]:
    """Mean budget, tokens of an estimate, and how many could not be read."""
    rows = list(made.estimates.values())
    if not rows:
        return {}
    budgets = [row["budget"] for row in rows if row["budget"] is not None]
    found = {"num_unread_budgets": len(rows) - len(budgets), "num_estimate_tokens": mean([row["num_tokens"] for row in rows])}
    return {f"eval/{MODE}/{name}": value for name, value in (found | ({"budget_mean": mean(budgets)} if budgets else {})).items()}


def make(context: Context) -> dict[str, Row]:
    """Question id -> the row of its estimate; in a look those that are stored."""
    return {name: row for task, questions in by_task(context.questions.test).items() for name, row in _of_task(context, task, questions).items()}


def _of_task(context: Context, task: str, questions: Sequence[Question]) -> dict[str, Row]:
    by_id, settings = {each.id: each for each in questions}, context.settings
    in_order = sorted(by_id, key=lambda each: (len(by_id[each].text), each))
    chunk_size = rows_at_once(context, settings.model, settings.evaluation, lambda each: _prompt(context, by_id[each]))
    compute, shown = _estimated(context, by_id), f"budgets, {task}"
    return context.rows(f"budgets/{task}", spec(context, task), in_order, compute, chunk_size=chunk_size, shown=shown)


def of(context: Context, mode: str, questions: Sequence[Question]) -> dict[str, int]:
    """Question id -> its budget, for the questions that are asked with one."""
    found: dict[str, int] = {}
    for task, own in by_task(questions).items() if specs(context, mode) else ():
        rows = context.store.ledger(spec(context, task)).read(frozenset(each.id for each in own))
        found |= {name: row["budget"] for name, row in rows.items() if row["budget"] is not None}
    return found


def _prompt(context: Context, question: Question) -> str:
    words: str = context.settings.compression.estimate
    return words.format(question="\n".join(filter(None, [question.text, shown_options(question.options)])))


def _estimated(context: Context, by_id: Mapping[str, Question]) -> Compute:
    def compute(ids: list[str], emit: Emit) -> None:
        from cotexp.inference.engine import Output, Request

        engine, count = load_engine(context, context.base, context.settings.model), load_encoder(context).count

        def on_output(output: Output) -> None:
            budget = context.settings.compression.budget_in(reasoning.without_thinking(output.text))
            row = {"id": output.id, "text": output.text, "budget": budget, "num_tokens": reasoning.length(output.text, count)}
            emit({**row, "finish_reason": output.finish_reason, "seconds": output.seconds})

        engine.generate([Request(each, _prompt(context, by_id[each])) for each in ids], context.settings.evaluation, on_output)

    return compute
