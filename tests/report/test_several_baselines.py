"""Which baseline each arm is compared with. Runs have 40 questions: one is 2.5 points, and p = 2 / 2^n if n are won and none lost."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from run_folders import MORSD, RANDOM, write_run

from cotexp.commands import declared_reports
from cotexp.report import build
from cotexp.report.build import ReportOptions
from cotexp.report.declared import DeclaredReport, DeclaredTable
from cotexp.report.document import Figure, Table
from cotexp.report.expected_runs import chosen
from cotexp.report.finished_runs import find_runs
from cotexp.settings.base import ConfigError
from cotexp.tracking.ablation import find_baseline

CORRECT = {**MORSD, "name": "correct", "diversity": None, "order": "random"}


@pytest.fixture(autouse=True)
def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "picture", lambda drawing: Figure(name=drawing.name, title="", description="", png=b"", svg=b""))


def table_of(outputs: Path, *names: str, **options: Any) -> Table:
    return declared_reports.make(names or ("exp",), outputs, ReportOptions(**options)).tables[0]


def column(table: Table, name: str) -> dict[str, float | str | None]:
    """Label of a row -> value in this column, or its text if it has none."""
    index = [each.name for each in table.columns].index(name)
    return {row.label: row.cells[index].text if row.cells[index].value is None else row.cells[index].value for row in table.rows}


def write(outputs: Path, key: str, num_right: int, **settings: Any) -> Path:
    return write_run(outputs, key, "1" * num_right + "0" * (40 - num_right), **settings)


def by_k(outputs: Path, *, ks: tuple[int, ...] = (1, 3, 6), **settings: Any) -> None:
    """Of each k, the baseline with 10 * k / 2 more right answers, and an arm with six fewer."""
    for k in ks:
        for order, right in (("lowest_rd", 15 + 3 * k), ("highest_rd", 9 + 3 * k)):
            write(outputs, f"{order}{k}", right, selection={**MORSD, "order": order, "k": k, "rd": "plain"}, **settings)


def test_each_arm_is_compared_with_the_declared_baseline_of_its_own_settings(tmp_path: Path) -> None:
    """Against the baseline of k=1, the arms of k=3 and 6 would have won questions; they have lost six."""
    by_k(tmp_path, baseline="selection.order=lowest_rd")
    table = table_of(tmp_path)
    differences = column(table, "difference")
    assert differences == {f"selection.order=lowest_rd, selection.k={k}": "baseline" for k in (1, 3, 6)} | {
        f"selection.order=highest_rd, selection.k={k}": pytest.approx(-15) for k in (1, 3, 6)
    }
    assert [each for each in column(table, "p").values() if each] == pytest.approx([2 / 2**6] * 3)
    assert "p_holm" not in [each.name for each in table.columns], "each baseline is a family of one comparison"
    assert "Several baselines: each arm is compared with the one that has the same selection.k as the arm." in table.notes


def test_of_several_random_arms_each_arm_is_compared_with_that_of_its_own_settings(tmp_path: Path) -> None:
    """No baseline is declared. Against random of k=1, MoRSD of k=3 would have won questions; it has lost six."""
    for k in (1, 3):
        write(tmp_path, f"random{k}", 15 + 5 * k, selection={**RANDOM, "k": k})
        write(tmp_path, f"morsd{k}", 9 + 5 * k, selection={**MORSD, "k": k})
    assert column(table_of(tmp_path), "difference") == {f"selection=random, selection.k={k}": "baseline" for k in (1, 3)} | {
        f"selection=morsd, selection.k={k}": pytest.approx(-15) for k in (1, 3)
    }


@pytest.mark.parametrize(
    ("declared", "settings", "others"),
    [
        ("trainer.learning_rate=2e-5", {"trainer": {"learning_rate": 2e-5}}, {"trainer": {"learning_rate": 1e-4}}),
        ("trainer.learning_rate=1e-4", {"trainer": {"learning_rate": 1e-4}}, {"trainer": {"learning_rate": 2e-5}}),
        ("selection.diversity=0.50", {"selection": {**MORSD, "diversity": 0.5}}, {"selection": {**MORSD, "diversity": 0.8}}),
        ("selection.diversity=None", {"selection": {**MORSD, "diversity": None}}, {"selection": {**MORSD, "diversity": 0.8}}),
        ("selection.diversity=null", {"selection": {**MORSD, "diversity": None}}, {"selection": {**MORSD, "diversity": 0.8}}),
        ("selection=Random", {"selection": RANDOM}, {"selection": MORSD}),
    ],
)
def test_a_declared_value_may_have_any_spelling_in_reports_and_trackers(
    declared: str, settings: dict[str, Any], others: dict[str, Any], tmp_path: Path
) -> None:
    baseline = write(tmp_path, "b", 10, baseline=declared, **settings)
    other = write(tmp_path, "o", 20, baseline=declared, **others)
    assert sorted(column(table_of(tmp_path), "difference").values(), key=str) == [pytest.approx(25.0), "baseline"]
    assert (find_baseline(other, declared), find_baseline(baseline, declared)) == (baseline, None)


def test_a_declared_baseline_that_no_run_is_compares_nothing_in_place_of_another_arm(tmp_path: Path) -> None:
    for key, rate in (("a", 1e-4), ("b", 2e-5)):
        write(tmp_path, key, 10, trainer={"learning_rate": rate}, baseline="trainer.learning_rate=3e-5")
    assert set(column(table_of(tmp_path), "difference").values()) == {"no finished run of the baseline, trainer.learning_rate=3e-5"}


def test_runs_that_declare_different_baselines_are_compared_as_without_one_and_a_note_says_so(tmp_path: Path) -> None:
    for key, rate, declared in (("a", 1e-4, ""), ("b", 2e-5, "trainer.learning_rate=2e-5")):
        write(tmp_path, key, 10, trainer={"learning_rate": rate}, baseline=declared)
    table = table_of(tmp_path)
    assert (
        "The runs declare different baselines (none; `trainer.learning_rate=2e-5`), so none of them is taken; --baseline chooses one." in table.notes
    )
    assert column(table, "difference")["trainer.learning_rate=0.0001"] == "baseline"
    assert not any("declare" in note for note in table_of(tmp_path, baseline="trainer.learning_rate=2e-5").notes)


def test_an_option_as_baseline_is_told_apart_by_its_other_settings(tmp_path: Path) -> None:
    """Only one arm of the other option varies no k, so its label does not name it."""
    for k, right in ((1, 10), (3, 20)):
        write(tmp_path, f"random{k}", right, selection={**RANDOM, "k": k}, baseline="selection=random")
    write(tmp_path, "morsd", 26, selection={**MORSD, "k": 3}, baseline="selection=random")
    assert column(table_of(tmp_path), "difference")["selection=morsd"] == pytest.approx(15)


def test_each_benchmark_has_its_own_baseline_and_its_base_model_is_compared_with_it(tmp_path: Path) -> None:
    for task, right in (("gsm8k", 10), ("aqua", 20)):
        for option, more in ((CORRECT, 0), (MORSD, 6)):
            marks = "1" * (right + more) + "0" * (40 - right - more)
            own = {"task": {"name": task}, "tasks": {task: {"name": task}}, "baseline": "selection=correct", "name": f"morsd/{task}"}
            folder = write_run(tmp_path, f"{task}-{more}", {task: marks}, selection=option, **own)
            if task == "aqua":
                with_base(folder, task, "1" * 14 + "0" * 26)
    table = table_of(tmp_path, "morsd/gsm8k", "morsd/aqua")
    assert column(table, "difference") == {
        "base (not fine-tuned)": pytest.approx(-15),
        "selection=correct, task=aqua": "baseline",
        "selection=correct, task=gsm8k": "baseline",
        "selection=morsd, task=aqua": pytest.approx(15),
        "selection=morsd, task=gsm8k": pytest.approx(15),
    }
    holm = column(table, "p_holm")
    assert [holm[f"selection=morsd, task={task}"] for task in ("gsm8k", "aqua")] == pytest.approx([2 / 2**6, 2 * 2 / 2**6])
    assert any(note.endswith("none is grouped by difficulty.") for note in table.notes)


def with_base(folder: Path, task: str, marks: str) -> None:
    """The run with answers of its base model."""
    stages = json.loads((folder / "stages.json").read_text())
    for kind in ("predictions", "grades"):
        own = folder.parents[3] / stages[f"{kind}/full/{task}"]["path"]
        rows = [json.loads(line) for line in (own / "rows-w.jsonl").read_text().splitlines()]
        if kind == "grades":
            rows = [{**row, "strict": mark == "1"} for row, mark in zip(rows, marks, strict=True)]
        place = own.with_name(f"base-{task}")
        place.mkdir(exist_ok=True)
        (place / "rows-w.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        stages[f"{kind}/base/{task}"] = {"key": "base", "path": str(place.relative_to(folder.parents[3]))}
    (folder / "stages.json").write_text(json.dumps(stages))


def test_an_arm_without_a_baseline_of_its_settings_is_compared_with_none_and_a_note_names_it(tmp_path: Path) -> None:
    by_k(tmp_path, ks=(1, 3), baseline="selection.order=lowest_rd")
    write(tmp_path, "alone", 40, selection={**MORSD, "order": "highest_rd", "k": 6, "rd": "plain"}, baseline="selection.order=lowest_rd")
    table = table_of(tmp_path)
    alone = "selection.order=highest_rd, selection.k=6"
    assert column(table, "difference")[alone] == "no baseline with its settings"
    assert any(note.endswith(f"Compared with none, as no finished baseline has theirs: {alone}.") for note in table.notes)


WORDS = ("experiment=morsd/weak_teacher", "selection.k=1,3", "selection.rd=plain", "seed=0")


def test_a_baseline_that_has_not_finished_leaves_its_arms_without_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two expected baselines that of k=1 has finished: the arm of k=3 is not compared with it. Labels have short names, and none of what all
    arms share, selection.rd=plain, although the declared baseline names it.
    """
    for number, point in enumerate(declared_reports.grid(("sweep=morsd/difficulty", *WORDS))):
        settings = dataclasses.asdict(point.settings)
        k, order = settings["selection"]["k"], settings["selection"]["order"]
        if (k, order) != (3, "lowest_rd"):
            folder = write(tmp_path, f"run{number}", (15 if order == "lowest_rd" else 9) + 3 * k, **settings)
            (folder / "settings.json").write_text(json.dumps(settings))
    table = DeclaredTable(sweep="morsd/difficulty", overrides=list(WORDS), labels={"selection.k": "k", "selection.order": "order"})
    monkeypatch.setattr(declared_reports, "report_named", lambda _: DeclaredReport(title="x", tables=[table]))
    found = table_of(tmp_path, "macc/quickstart_ablation")
    assert column(found, "difference") == {
        "order=lowest_rd, k=1": "baseline",
        "order=lowest_rd, k=3": "missing",
        "order=highest_rd, k=1": pytest.approx(-15),
        "order=highest_rd, k=3": "no baseline with its settings",
    }


def test_a_requested_or_declared_baseline_fits_one_arm_or_one_of_each_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    by_k(tmp_path)
    with pytest.raises(ConfigError, match=r"--baseline 'selection\.order=lowest_rd' fits 3 arms, name more of its settings"):
        table_of(tmp_path, baseline="selection.order=lowest_rd")
    differences = column(table_of(tmp_path, baseline="selection.order=lowest_rd, selection.k=1"), "difference")
    assert differences["selection.order=highest_rd, selection.k=6"] == pytest.approx(100 * (27 - 18) / 40)
    table = DeclaredTable(runs=["exp"], baseline="selection.order=lowest_rd")
    monkeypatch.setattr(declared_reports, "report_named", lambda _: DeclaredReport(title="x", tables=[table]))
    with pytest.raises(ConfigError, match=r"tables\[0\]\.baseline 'selection.order=lowest_rd' fits 3 arms, name more of its settings"):
        table_of(tmp_path, "macc/quickstart_ablation")


@pytest.mark.parametrize("is_declared", [True, False])
def test_a_requested_or_declared_baseline_may_have_an_arm_of_each_budget(is_declared: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for budget, right in ((100, 10), (200, 20)):
        for k, more in ((1, 0), (2, 6)):
            write(tmp_path, f"{k}-{budget}", right + more, selection={**MORSD, "k": k}, trainer={"name": "single", "max_tokens": budget})
    table = DeclaredTable(runs=["exp"], baseline="selection.k=1" if is_declared else None)
    monkeypatch.setattr(declared_reports, "report_named", lambda _: DeclaredReport(title="x", tables=[table]))
    found = table_of(tmp_path, "macc/quickstart_ablation", baseline=None if is_declared else "selection.k=1")
    assert list(column(found, "difference").values()) == ["baseline", "baseline", pytest.approx(15), pytest.approx(15)]


# --- bold ------------------------------------------------------------------------------------------------------------------


def test_bold_marks_the_best_of_each_set_of_questions_and_no_arm_that_was_never_compared(tmp_path: Path) -> None:
    for key, task, marks, option in (
        ("a", "svamp", "1" * 36 + "0" * 4, MORSD),
        ("b", "svamp", "1" * 12 + "0" * 28, CORRECT),
        ("c", "aqua", "1" * 8 + "0" * 32, RANDOM),
        ("d", "gsm8k", "1" * 20, MORSD),
        ("e", "gsm8k", "1" * 10 + "0" * 10, CORRECT),
    ):
        write_run(tmp_path, key, {task: marks}, selection=option, task={"name": task}, tasks={task: {"name": task}})
    table = table_of(tmp_path)
    index = [each.name for each in table.columns].index("accuracy")
    assert sorted(row.label for row in table.rows if row.cells[index].bold) == ["selection=morsd, task=gsm8k", "selection=morsd, task=svamp"]
    assert any("Bold marks the best of each set of questions." in note for note in table.notes)


@pytest.mark.parametrize("value", [2e-5, "2e-5", "0.00002"])
def test_a_table_chooses_runs_by_a_value_in_any_spelling(value: object, tmp_path: Path) -> None:
    for key, rate in (("a", 1e-4), ("b", 2e-5)):
        write(tmp_path, key, 10, trainer={"learning_rate": rate})
    runs = find_runs(["exp"], tmp_path, mode=None).runs
    assert [run.key for run in runs if chosen(run, {"trainer.learning_rate": value})] == ["b"]
