"""Accuracy by difficulty of the question: steps of its worked solution, length of the base model's chain, and whether the base model is right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cotexp.methods.crossed import BySeed, accuracy_interval
from cotexp.methods.statistics import Interval, accuracy_metrics, counted_once, mean, shares_correct
from cotexp.records import Prediction
from cotexp.report.arm_rows import ArmRow, asked_of
from cotexp.report.document import Cell, Column, Row, Table
from cotexp.report.finished_runs import NAMES_CONTENT, Run, differing
from cotexp.report.stored import unless_broken
from cotexp.report.style import LINES, Drawing, inches, legend_below, panels
from cotexp.stages.grades import predictions_of_run
from cotexp.store import stored_files

MOST_VALUES = 5
"""Different values that have a group each; more are divided into quarters."""
MOST_ARMS = len(LINES)


class Group(NamedTuple):
    """Questions of one difficulty; `kind` says by what, such as "steps"."""

    kind: str
    label: str
    questions: frozenset[str]


class Measured(NamedTuple):
    """A row of answers: an arm, or a mode of a run."""

    label: str
    answers: BySeed


KINDS = {"steps": "steps of the worked solution", "tokens": "tokens of the base model's chain", "base": "the base model's answer"}


def groups_of(num_steps: Mapping[str, int], base: Sequence[Prediction]) -> list[Group]:
    """The groups by each kind of difficulty that is known and that distinguishes the questions."""
    lengths: dict[str, list[int]] = {}
    for answer in base:
        lengths.setdefault(answer.question_id, []).append(answer.num_cot_tokens)
    kinds = {
        "steps": _binned(num_steps),
        "tokens": _binned({question: round(mean(of_question)) for question, of_question in lengths.items()}),
        "base": _by_correctness(shares_correct(base)),
    }
    return [Group(kind, label, frozenset(ids)) for kind, groups in kinds.items() if len(groups) > 1 for label, ids in groups.items()]


def groups_of_run(folder: Path, answers: Sequence[Prediction], base: Sequence[Prediction]) -> list[Group]:
    """The groups of the questions that these answers of the run in `folder` are to, with these answers of the base model."""
    questions = stored_files.questions_of(folder)[1]
    asked = dict.fromkeys(answer.question_id for answer in answers)
    steps = {each: int(questions[each]["num_steps"]) for each in asked if "num_steps" in questions.get(each, {})}
    return groups_of(steps, base)


def of_run(folder: Path, labels: Mapping[str, str]) -> list[Table]:
    """The tables of one run: a row for each evaluated mode, with these labels. A question that several tasks ask counts once."""
    by_mode = {mode: counted_once(answers) for mode, answers in predictions_of_run(folder).items()}
    rows = [Measured(label, {None: by_mode[mode]}) for mode, label in labels.items() if mode in by_mode]
    return tables(rows, groups_of_run(folder, next(iter(by_mode.values()), []), by_mode.get("base", [])), row_title="model and mode")


def of_arms(rows: Sequence[ArmRow], name: str) -> list[Table]:
    """The tables of arms, over the questions that all rows answered. The base model's answers make groups if they are those of the model of every
    arm: for several models a question has no one difficulty.
    """
    measured = [row for row in rows if row.answers]
    runs = [run for row in measured if row.arm for run in row.arm.runs]
    if not runs:
        return []
    common = frozenset.intersection(*(asked_of(row.answers) for row in measured))
    first = next((run for run in runs if run.base_answers), runs[0])
    several = len({run.base_keys for run in runs if run.base_answers}) > 1 or not all(run.base_answers or _same_model(run, first) for run in runs)
    asked, base = ([each for each in counted_once(answers) if each.question_id in common] for answers in (first.answers, first.base_answers))
    groups: list[Group] = unless_broken(first.folder, lambda folder: groups_of_run(folder, asked, [] if several else base), list)
    return tables([Measured(row.label, row.answers) for row in measured], groups, f"{name}-", notes=_left_out(measured, len(common)))


def _same_model(run: Run, other: Run) -> bool:
    """Whether two runs began with one model: with equal settings that can change its answers, and equal weights or, if not known, equal names."""
    weights = [each.weights.get("model") for each in (run, other)]
    unread = {f"model.{name}" for name in NAMES_CONTENT} if all(weights) else set()
    settings = [{path: value for path, value in each.identity.items() if path.startswith("model.") and path not in unread} for each in (run, other)]
    return not differing(*settings) and (not all(weights) or weights[0] == weights[1])


def _left_out(rows: Sequence[ArmRow], num_common: int) -> list[str]:
    """A note if some rows answered more questions than these, which all of them answered."""
    others = {row.label: row.num_questions - num_common for row in rows if row.num_questions > num_common}
    if not others:
        return []
    counts = "; ".join(f"{label}: {count:,}" for label, count in others.items())
    return [f"Only the {num_common:,} questions that all rows answered are grouped. Left out: {counts}."]


def _unknown(kind: str, asked: frozenset[str], groups: Sequence[Group]) -> Iterator[str]:
    """A note if this is not known of some questions, such as the steps of a solution that the benchmark does not give."""
    if num_unknown := len(asked.difference(*(group.questions for group in groups))):
        yield f"Not known of {num_unknown:,} of {len(asked):,} questions: {KINDS[kind]}."


def _by_correctness(shares: Mapping[str, float]) -> dict[str, list[str]]:
    """Right or wrong in most of the samples, or in half of them."""
    found = {
        "right": [each for each, share in shares.items() if share > 0.5],
        "half right": [each for each, share in shares.items() if share == 0.5],
        "wrong": [each for each, share in shares.items() if share < 0.5],
    }
    return {label: ids for label, ids in found.items() if ids}


def _binned(values: Mapping[str, float]) -> dict[str, list[str]]:
    """Label -> questions with one value, or with one of a range of values if there are more than MOST_VALUES of them."""
    distinct = sorted(set(values.values()))
    if len(distinct) <= MOST_VALUES:
        edges = [(value, value) for value in distinct]
    else:
        ordered = sorted(values.values())
        ends = sorted({ordered[len(ordered) * quarter // 4 - 1] for quarter in (1, 2, 3)} | {ordered[-1]})
        starts = [distinct[0], *(next(value for value in distinct if value > end) for end in ends[:-1])]
        edges = list(zip(starts, ends, strict=True))
    labels = [f"{low:.0f}" if low == high else f"{low:.0f} to {high:.0f}" for low, high in edges]
    return {label: [each for each, value in values.items() if low <= value <= high] for label, (low, high) in zip(labels, edges, strict=True)}


def _cell(measured: Measured, group: Group) -> Cell:
    by_seed = {seed: [each for each in answers if each.question_id in group.questions] for seed, answers in measured.answers.items()}
    answers = [each for of_seed in by_seed.values() for each in of_seed]
    if not answers:
        return Cell()
    found = accuracy_metrics(answers)
    interval = accuracy_interval(by_seed, Interval(found["accuracy_low"], found["accuracy_high"]))
    value, low, high = (100 * share for share in (found["accuracy"], *interval))
    return Cell(text=f"{value:.1f} ({low:.1f} to {high:.1f})", value=value, low=low, high=high)


def tables(rows: Sequence[Measured], groups: Sequence[Group], name: str = "", row_title: str = "arm", notes: Sequence[str] = ()) -> list[Table]:
    """Accuracy of each row in each group of questions, a table for each kind of difficulty."""
    found = []
    asked = frozenset.intersection(*(asked_of(row.answers) for row in rows)) if rows else frozenset()
    for kind, title in KINDS.items():
        own = [group for group in groups if group.kind == kind]
        if own:
            columns = tuple(Column(name=f"{kind}:{group.label}", title=f"{group.label} (n = {len(group.questions):,})") for group in own)
            lines = tuple(Row(label=row.label, kind="entry", cells=tuple(_cell(row, group) for group in own)) for row in rows)
            heading = f"Accuracy in %, by {title}"
            found.append(
                Table(
                    name=f"{name}{kind}",
                    title=heading,
                    columns=columns,
                    rows=lines,
                    notes=(NOTE, *notes, *_unknown(kind, asked, own)),
                    row_title=row_title,
                )
            )
    return found


NOTE = "With 95 % intervals; n counts questions. The groups describe where an arm is right; differences between groups are not tested."


def drawings(found: Sequence[Table]) -> list[Drawing]:
    """One figure with a panel for each kind of difficulty; it shows the first MOST_ARMS rows."""
    if not found:
        return []
    about = "Accuracy with its 95 % interval in groups of questions: by steps of the solution, tokens of the base model's chain, and its answer."
    num_rows = max(len(table.rows) for table in found)
    if num_rows > MOST_ARMS:
        about += f" The first {MOST_ARMS} of {num_rows} rows of the table are drawn."
    return [Drawing("accuracy_by_difficulty", "Accuracy by difficulty", about, lambda figure: _draw(figure, found), 3.6 * max(2, len(found)))]


def _draw(figure: Any, found: Sequence[Table]) -> None:
    shown = panels(figure, [1] * len(found), height=3.0, sharey=True)
    for axes, table in zip(shown, found, strict=True):
        rows = table.rows[:MOST_ARMS]
        for number, (line, row) in enumerate(zip(LINES, rows, strict=False)):
            shift = 0.5 * (number - (len(rows) - 1) / 2) / len(rows)
            points = [(place + shift, cell) for place, cell in enumerate(row.cells) if cell.value is not None]
            axes.vlines(
                [x for x, _ in points], [cell.low for _, cell in points], [cell.high for _, cell in points], color=line.colour, linewidth=inches(1.0)
            )
            look = {
                "marker": line.marker,
                "color": line.colour,
                "linestyle": line.style,
                "linewidth": inches(1.0),
                "label": row.label.replace("`", ""),
            }
            axes.plot([x for x, _ in points], [cell.value for _, cell in points], **look)
        axes.set_xticks(range(len(table.columns)), [column.title.replace(" (", "\n(") for column in table.columns])
        axes.set(xlabel=table.title.removeprefix("Accuracy in %, by "), ylim=(-3, 103))
    shown[0].set_ylabel("accuracy, %")
    legend_below(figure)
