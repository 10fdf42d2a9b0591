"""Report on token elasticity: the length and the accuracy of answers against the budget of tokens that the prompt names."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cotexp.compressions import compression_of
from cotexp.invocation import run_command
from cotexp.methods import elasticity
from cotexp.methods.elasticity import Elastic, QuestionCurve, Turn
from cotexp.methods.statistics import Interval, accuracy_metrics, bootstrap_interval, counted_once, mean, wilson
from cotexp.records import Prediction
from cotexp.report import elasticity_figure
from cotexp.report.arms import labels
from cotexp.report.build import joined_name
from cotexp.report.document import Cell, Column, Report, Row, Table, UsedRun
from cotexp.report.finished_runs import Run, find_runs, listed
from cotexp.report.long_csv import harmless
from cotexp.report.style import picture
from cotexp.settings.base import ConfigError

MODE = "compress"
"""The mode in which a prompt names a budget."""
BUDGET = "compression.budget"
FEWEST = 5
"""Fewest questions by which a test of signs can show anything at the level of 5 %: 2^-5 is 3 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Elasticity:
    """Runs that differ in nothing but the budget, ascending, with the answers to the questions that all of them asked.

    `without` are the answers without a budget, if there are any; `whole` are the curves of the questions of which no answer was cut, and `p_values`
    those of their rises.
    """

    label: str
    runs: dict[int, Run]
    answers: dict[int, list[Prediction]]
    without: list[Prediction]
    curves: list[QuestionCurve]
    p_values: dict[str, float | None]
    num_left_out: int

    @property
    def whole(self) -> list[QuestionCurve]:
        return [each for each in self.curves if each.is_whole]

    @property
    def limit(self) -> int:
        """The most tokens that an answer could have."""
        return int(next(iter(self.runs.values())).settings["evaluation"]["max_new_tokens"])


def make(names: Sequence[str], outputs: Path) -> tuple[Report, dict[str, bytes]]:
    """The report on the runs that these names or patterns fit, and its file of questions.

    Raises: ConfigError if there is no finished run, or no two runs differ in the budget alone.
    """
    found = find_runs(names, outputs, mode=MODE, only=names)
    unread = [*found.left_out, *(f"{folder.relative_to(outputs / 'runs')}: not finished" for folder in found.unfinished)]
    groups, left_out = _groups(found.runs, unread)
    tables = [_table(f"{number}", each) for number, each in enumerate(groups, 1)]
    report = Report(
        name=f"{joined_name(names)}/elasticity",
        title=f"{' and '.join(names)}: length of the answers against the budget in the prompt",
        tables=tuple(tables),
        figures=tuple(
            picture(elasticity_figure.drawing(each.answers, each.without, each.curves).of_table(table, len(tables)))
            for each, table in zip(groups, tables, strict=True)
        ),
        footnotes=tuple(dict.fromkeys(_footnotes(groups))),
        left_out=tuple(left_out),
        runs=tuple(
            UsedRun(table=table.name, row=f"{budget}", name=run.name, key=run.key, seed=run.seed, folder=run.folder)
            for each, table in zip(groups, tables, strict=True)
            for budget, run in each.runs.items()
        ),
    )
    return report, {"questions.csv": _questions(groups).encode()}


# --- runs ------------------------------------------------------------------------------------------------------------


def _groups(runs: Sequence[Run], unread: Sequence[str]) -> tuple[list[Elasticity], list[str]]:
    """Runs of the same weights with equal settings but for the budget, and lines about the others after those about runs that were not read.

    Raises: ConfigError if no two budgets can be compared.
    """
    by_rest: dict[tuple[Any, ...], dict[int, Run]] = {}
    earlier: list[str] = []
    others = [f"{run.name}/{run.key}" for run in runs if BUDGET not in run.identity]
    for run in sorted((run for run in runs if BUDGET in run.identity), key=lambda run: run.finished):
        rest = {path: value for path, value in run.identity.items() if path != BUDGET}
        group = by_rest.setdefault((tuple(sorted(run.weights.items())), *sorted(rest.items())), {})
        budget = int(run.settings["compression"]["budget"])
        if budget in group:
            earlier.append(f"{group[budget].name}/{group[budget].key}")
        group[budget] = run
    several = [dict(sorted(group.items())) for group in by_rest.values() if len(group) > 1]
    alone = [f"{run.name}/{run.key}" for group in by_rest.values() if len(group) == 1 for run in group.values()]
    unused = ((others, "no budget in its prompt"), (alone, "no other budget to compare"), (earlier, "a later run has the same settings"))
    left_out = [*unread, *(f"{listed(names)}: {why}" for names, why in unused if names)]
    if not several:
        raise ConfigError(
            "elasticity: needs finished runs of compression=budget under two budgets or more with otherwise equal settings, such as those of "
            f"{run_command()} -m sweep=macc/budgets",
            *(f"left out: {line}" for line in left_out),
        )
    firsts = [next(iter(group.values())) for group in several]
    names = labels([replace(run, identity={path: value for path, value in run.identity.items() if path != BUDGET}) for run in firsts])
    told_apart = [name if names.count(name) == 1 else f"{name}, weights of {run.name}/{run.key}" for name, run in zip(names, firsts, strict=True)]
    return [_elasticity(name, group) for name, group in zip(told_apart, several, strict=True)], left_out


def _elasticity(label: str, runs: dict[int, Run]) -> Elasticity:
    answers = {budget: counted_once(run.answers) for budget, run in runs.items()}
    curves = elasticity.curves_of(answers)
    kept = {each.question_id for each in curves}
    if not kept:
        raise ConfigError(f"elasticity: the runs of {label} answered no common question; run them again with the same version of the questions")
    without = next((run.base_answers for run in runs.values() if run.base_answers), [])
    asked = {each.question_id for own in answers.values() for each in own}
    return Elasticity(
        label=label,
        runs=runs,
        answers={budget: [each for each in own if each.question_id in kept] for budget, own in answers.items()},
        without=[each for each in without if each.question_id in kept],
        curves=curves,
        p_values={each.question_id: each.p_value() for each in curves if each.is_whole},
        num_left_out=len(asked - kept),
    )


# --- table -----------------------------------------------------------------------------------------------------------

COLUMNS = (
    Column(name="accuracy", title="accuracy, % (95 % interval)"),
    Column(name="tokens_whole", title="tokens, whole questions (95 % interval)"),
    Column(name="tokens", title="tokens, all answers"),
    Column(name="within", title="within budget"),
    Column(name="shortest", title="questions shortest here"),
    Column(name="cut", title="cut at the limit"),
    Column(name="unparsable", title="unparsable"),
)


def _table(name: str, own: Elasticity) -> Table:
    shortest = Counter(each.turn for each in own.whole)
    turn = elasticity.turn_of(own.whole)
    rows = [_row("none", own.without, own, None, None)] if own.without else []
    for budget, answers in own.answers.items():
        row = _row(f"{budget}", answers, own, budget, shortest[budget])
        rows.append(
            row if turn is None or budget != turn.budget else replace(row, cells=(row.cells[0], replace(row.cells[1], bold=True), *row.cells[2:]))
        )
    return Table(name=name, title=own.label, columns=COLUMNS, rows=tuple(rows), notes=tuple(_notes(own, turn)), row_title="budget")


def _row(label: str, answers: Sequence[Prediction], own: Elasticity, budget: int | None, num_shortest: int | None) -> Row:
    measured, whole = accuracy_metrics(answers), {each.question_id for each in own.whole}
    num_cut = int(measured["num_truncated"])
    lengths = [each.num_tokens for each in answers]
    num_within = sum(each.num_tokens <= budget and each.finish_reason != "length" for each in answers) if budget else 0
    shown = [each for each in answers if each.question_id in whole]
    cut_of_whole = any(each.finish_reason == "length" for each in shown)
    return Row(
        label=label,
        kind="entry",
        num_questions=int(measured["num_questions"]),
        cells=(
            _interval(100 * measured["accuracy"], Interval(100 * measured["accuracy_low"], 100 * measured["accuracy_high"])),
            _mean_length(shown, at_least=cut_of_whole),
            Cell(text=f"{'≥ ' if num_cut else ''}{mean(lengths):.1f}", value=mean(lengths)),
            _count(num_within, len(answers)) if budget else Cell(),
            Cell() if num_shortest is None else Cell(text=f"{num_shortest}", value=num_shortest),
            _count(num_cut, len(answers)),
            _count(int(measured["num_unparsable"]), len(answers)),
        ),
    )


def _mean_length(answers: Sequence[Prediction], *, at_least: bool) -> Cell:
    """Mean tokens with every question counted once."""
    of_question: dict[str, list[int]] = {}
    for each in answers:
        of_question.setdefault(each.question_id, []).append(each.num_tokens)
    means = list(map(mean, of_question.values()))
    return _interval(mean(means), bootstrap_interval(means), before="≥ " if at_least else "") if means else Cell()


def _interval(value: float, interval: Interval, before: str = "") -> Cell:
    return Cell(text=f"{before}{value:.1f} ({interval.low:.1f} to {interval.high:.1f})", value=value, low=interval.low, high=interval.high)


def _count(number: int, total: int) -> Cell:
    return Cell(text=f"{number} of {total}", value=number)


def _notes(own: Elasticity, turn: Turn | None) -> Iterator[str]:
    """What the lengths show, beginning with how many questions they are of."""
    num_all, num_whole = len(own.curves), len(own.whole)
    if own.num_left_out:
        yield f"Left out: {own.num_left_out} questions that were not asked under every budget."
    if num_whole < num_all:
        yield (
            f"Whole questions: {num_whole} of {num_all}, those of which no answer was cut at evaluation.max_new_tokens={own.limit} under any budget. "
            "A cut answer has no length of its own: in the other column it counts with the tokens it has (≥). Raise the limit for more questions."
        )
    if turn is not None:
        yield sentence(turn, min(own.answers))
    if num_whole < num_all and (over_all := elasticity.turn_of(own.curves)) is not None:
        yield f"Over all {num_all} questions, cut answers counted with the tokens that they have: {sentence(over_all, min(own.answers))}"
    if own.whole:
        yield from _notes_on_questions(elasticity.elastic(own.whole, list(own.p_values.values())))


def sentence(turn: Turn, smallest: int) -> str:
    """Whether the mean length turns, and where."""
    questions = f"{turn.num_questions} question{'s' if turn.num_questions > 1 else ''}"
    likely = f"budget {turn.low}" if turn.low == turn.high else f"budgets {turn.low} to {turn.high}"
    place = f"the mean is smallest at budget {turn.budget}, {turn.tokens:.1f} tokens ({likely} in 95 % of resamples of {questions})"
    if turn.rise == 0:
        return f"No turn: {place}."
    rise = f"{turn.rise:.1f} tokens more at budget {smallest}"
    p_value = "p < 0.001" if turn.p_value < 0.001 else f"p = {turn.p_value:.3f}"
    if turn.is_real:
        return f"Token elasticity: {place}, with {rise} ({p_value})."
    few = f"; fewer than {FEWEST} questions can show none" if turn.num_questions < FEWEST else ""
    return f"No turn beyond noise: {place}, with {rise} ({p_value}{few})."


def _notes_on_questions(own: Elastic) -> Iterator[str]:
    """How many questions turn for themselves."""
    low, high = wilson(own.num_rising, own.num_questions)
    yield (
        f"Each question for itself: {own.num_rising} of {own.num_questions} are shortest above the smallest budget "
        f"({own.num_rising / own.num_questions:.0%}, {low:.0%} to {high:.0%}); {own.by_chance:.0%} would be if the budget made no difference."
    )
    if own.num_beyond_noise is None:
        yield "One answer per question and budget: whether a question turns beyond noise needs evaluation.num_samples=2 or more."
    else:
        low, high = wilson(own.num_beyond_noise, own.num_questions)
        yield (
            f"Beyond the noise of their own answers: {own.num_beyond_noise} of {own.num_questions} ({own.num_beyond_noise / own.num_questions:.0%}, "
            f"{low:.0%} to {high:.0%}); 5% would be by chance."
        )


def _footnotes(groups: Sequence[Elasticity]) -> Iterator[str]:
    yield (
        "Lengths are tokens of the whole answer, which is what the budget speaks of, by the model's own tokenizer. A mean turns where the smallest "
        "budget is longer than the smallest mean with p < 0.05: signs of whole questions are flipped, and the largest rise over all budgets is "
        "compared, which allows for the choice of the budget. Intervals of means: bootstrap over questions."
    )
    for own in groups:
        settings = next(iter(own.runs.values())).settings
        yield f"Asked for on a line of its own after the task's prompt: “{' '.join(settings['compression']['instruction'].split())}”."
        yield from compression_of(settings).disclosures(settings)


# --- questions -------------------------------------------------------------------------------------------------------


def _questions(groups: Sequence[Elasticity]) -> str:
    """A line per question: the budget of its smallest length, its rise towards the smallest budget, and its mean length under each budget."""
    budgets = sorted({budget for own in groups for budget in own.answers})
    own_columns = ("table", "task", "question_id", "is_whole", "turn_budget", "smallest_tokens", "rise_tokens", "p_value")
    columns = [*own_columns, *(f"tokens_{each}" for each in budgets)]
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    for number, own in enumerate(groups, 1):
        for each in own.curves:
            means: Mapping[int, float] = dict(zip(each.tokens, each.means, strict=True))
            p_value = own.p_values.get(each.question_id)
            line = {
                "table": number,
                "task": each.task,
                "question_id": harmless(each.question_id),
                "is_whole": int(each.is_whole),
                "turn_budget": each.turn,
                "smallest_tokens": None if each.turn is None else f"{means[each.turn]:.10g}",
                "rise_tokens": f"{each.rise:.10g}" if each.is_whole else None,
                "p_value": None if p_value is None else f"{p_value:.4g}",
            }
            writer.writerow(line | {f"tokens_{budget}": f"{value:.10g}" for budget, value in means.items()})
    return out.getvalue()
