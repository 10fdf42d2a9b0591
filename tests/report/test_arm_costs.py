"""What tables say of the costs of arms, and whether arms train equally."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from run_folders import MORSD, write_run

from cotexp.commands import declared_reports
from cotexp.report import costs
from cotexp.report.build import ReportOptions
from cotexp.report.document import Report, Table
from cotexp.report.finished_runs import differing

COSTS = {
    "training/num_steps": 10,
    "training/num_tokens_seen": 20_000,
    "training/num_supervised_tokens_seen": 9_000,
    "training/flops": 3.2e11,
    "training/core_hours": 0.5,
    "compressor/num_tokens_in": 700,
    "compressor/num_tokens_out": 300,
}
TIMES = {f"eval/full/latency_{name}": value for name, value in {"tokens_batch1": 21.5, "seconds_batch1": 0.2}.items()}
TIMES |= {f"eval/full/latency_seconds_batch1_{end}": value for end, value in {"low": 0.19, "high": 0.215}.items()}
TIMES |= {"eval/full/latency_busy_ratio_batch1": 0.0, "eval/latency_batch_size": 16}


def write_arm(outputs: Path, key: str, metrics: dict[str, float], *, device: str = "2 x core of A", **more: Any) -> None:
    """A finished run with these further metrics and a checkpoint that names its device."""
    folder = write_run(outputs, key, "1" * 20 + "0" * 20, **more)
    for name, added in (("metrics", metrics), ("stages", {"checkpoint": {"key": key, "path": f"store/checkpoint/{key}"}})):
        path = folder / f"{name}.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **added}))
    place = outputs / "store" / "checkpoint" / key
    place.mkdir(parents=True)
    (place / "training.json").write_text(json.dumps({"device": device}))


def write_timed(outputs: Path, key: str, machine: str, seconds: float, *, mode: str = "full", **more: Any) -> None:
    """A finished run with times of this machine, whose name is in the description of their ledger; without a name it is not known."""
    start = f"eval/{mode}/latency_"
    times = {name.replace("eval/full/latency_", start): value for name, value in TIMES.items()}
    times |= {f"{start}seconds_batch1{end}": seconds for end in ("", "_low", "_high")}
    write_arm(outputs, key, COSTS | times, **more)
    path = outputs / "runs" / "exp" / key / "stages.json"
    ledger = {f"latency/{mode}": {"key": key, "path": f"store/latency/{key}"}}
    path.write_text(json.dumps({**json.loads(path.read_text()), **ledger}))
    place = outputs / "store" / "latency" / key
    place.mkdir(parents=True)
    (place / "spec.json").write_text(json.dumps({"stage": "latency", "key": key} | ({"machine": machine} if machine else {})))


def made(outputs: Path) -> Report:
    return declared_reports.make(["exp"], outputs, ReportOptions())


def table_of(report: Report) -> Table:
    [table] = [table for table in report.tables if table.name == "1-costs"]
    return table


def cells(table: Table, label: str) -> dict[str, str]:
    [row] = [row for row in table.rows if row.label == label]
    return {column.name: cell.text for column, cell in zip(table.columns, row.cells, strict=True)}


def test_each_cost_is_a_column_of_a_table_of_its_own_with_how_it_is_counted(tmp_path: Path) -> None:
    write_arm(tmp_path, "a", COSTS | TIMES | {"compressor/dollars": 0.0125})
    write_arm(tmp_path, "b", COSTS, selection=MORSD)
    table = table_of(made(tmp_path))
    assert cells(table, "selection=random") == {
        "steps": "10",
        "train_tokens": "20,000",
        "supervised_tokens": "9,000",
        "flops": "3.2e11",
        "hours": "0.5 core-hours",
        "compressor_tokens_in": "700",
        "compressor_tokens_out": "300",
        "compressor_dollars": "0.0125",
        "latency": "0.200 (0.190 to 0.215)",
        "timed_tokens": "21.5",
    }
    assert cells(table, "selection=morsd")["latency"] == ""
    text = " ".join(table.notes)
    for part in ("prompts included", "6 for each trained weight", "a core for each thread", "its own account", "quartiles", "N is 16."):
        assert part in text
    assert "Fine-tuned on 2 x core of A." in table.notes


def test_what_an_earlier_version_did_not_store_is_empty_and_the_reason_is_named(tmp_path: Path) -> None:
    write_arm(tmp_path, "a", COSTS)
    write_arm(tmp_path, "b", {"training/num_steps": 12}, selection=MORSD)
    table = table_of(made(tmp_path))
    found = cells(table, "selection=morsd")
    assert (found.pop("steps"), set(found.values())) == ("12", {""})
    assert "No training tokens, FLOPs and time: selection=morsd. Fine-tuned by an earlier version, which did not store them." in table.notes


def test_a_seed_without_a_number_leaves_the_whole_cell_empty(tmp_path: Path) -> None:
    """A mean over some of the seeds would be that of another arm."""
    write_arm(tmp_path, "a", COSTS)
    write_arm(tmp_path, "a1", {name: value for name, value in COSTS.items() if name != "training/flops"}, seed=1)
    table = table_of(made(tmp_path))
    assert "flops" not in [column.name for column in table.columns]
    assert any(note.startswith("No FLOPs: ") for note in table.notes)


def test_runs_that_stored_no_cost_have_no_table_of_costs(tmp_path: Path) -> None:
    write_arm(tmp_path, "a", {"training/num_steps": 12})
    assert [table.name for table in made(tmp_path).tables] == ["1"]


def test_several_devices_are_named_with_their_arms(tmp_path: Path) -> None:
    write_arm(tmp_path, "a", COSTS)
    gpu = {**COSTS, "training/gpu_hours": 1.5}
    del gpu["training/core_hours"]
    write_arm(tmp_path, "b", gpu, selection=MORSD, device="1 x NVIDIA H200")
    table = table_of(made(tmp_path))
    assert cells(table, "selection=morsd")["hours"] == "1.5 GPU-hours"
    [note] = [note for note in table.notes if note.startswith("Fine-tuned on")]
    assert "2 x core of A (selection=random)" in note
    assert "1 x NVIDIA H200 (selection=morsd)" in note


def machine_notes(table: Table) -> list[str]:
    return [note for note in table.notes if "everal machines" in note]


def test_arms_that_were_timed_on_several_machines_are_named_with_them(tmp_path: Path) -> None:
    write_timed(tmp_path, "a", "node1 NVIDIA H200", 0.05)
    write_timed(tmp_path, "b", "desk cpu x86_64 8", 2.0, selection=MORSD)
    table = table_of(made(tmp_path))
    assert cells(table, "selection=morsd")["latency"] == "2.000 (2.000 to 2.000)"
    told = "desk cpu x86_64 8 (selection=morsd); NVIDIA H200 (selection=random)."
    assert machine_notes(table) == [f"Timed on several machines, whose seconds do not compare arms: {told}"]


def test_nodes_with_the_same_accelerator_count_as_one_machine(tmp_path: Path) -> None:
    write_timed(tmp_path, "a", "node1 NVIDIA H200", 1.0)
    write_timed(tmp_path, "a1", "node2 NVIDIA H200", 3.0, seed=1)
    write_timed(tmp_path, "b", "node3 NVIDIA H200", 2.0, selection=MORSD)
    table = table_of(made(tmp_path))
    assert cells(table, "selection=random")["latency"] == "2.000 (1.000 to 3.000)"
    assert machine_notes(table) == []


@pytest.mark.parametrize("other", ["desk cpu x86_64 8", ""])
def test_one_machine_and_one_that_is_not_known_need_no_word(other: str, tmp_path: Path) -> None:
    write_timed(tmp_path, "a", "desk cpu x86_64 8", 1.0)
    write_timed(tmp_path, "a1", other, 3.0, seed=1)
    write_timed(tmp_path, "b", other, 2.0, selection=MORSD)
    table = table_of(made(tmp_path))
    assert cells(table, "selection=random")["latency"] == "2.000 (1.000 to 3.000)"
    assert machine_notes(table) == []


def test_seeds_that_were_timed_on_several_machines_have_no_mean(tmp_path: Path) -> None:
    write_timed(tmp_path, "a", "node1 NVIDIA H200", 0.05)
    write_timed(tmp_path, "a1", "desk cpu x86_64 8", 2.0, seed=1)
    write_timed(tmp_path, "b", "desk cpu x86_64 8", 2.0, selection=MORSD)
    table = table_of(made(tmp_path))
    found = cells(table, "selection=random")
    assert (found["latency"], found["timed_tokens"]) == ("", "21.5")
    assert cells(table, "selection=morsd")["latency"] == "2.000 (2.000 to 2.000)"
    reason = "Its seeds were timed on several machines, which have no mean: NVIDIA H200; desk cpu x86_64 8."
    assert machine_notes(table) == [f"No seconds per question: selection=random. {reason}"]


def test_an_arm_without_seconds_for_its_machines_is_named_where_no_other_has_any(tmp_path: Path) -> None:
    write_timed(tmp_path, "a", "node1 NVIDIA H200", 0.05)
    write_timed(tmp_path, "a1", "node2 NVIDIA A100", 0.06, seed=1)
    table = table_of(made(tmp_path))
    assert "latency" not in [column.name for column in table.columns]
    assert len(machine_notes(table)) == 1


def test_a_base_model_was_timed_on_the_machine_of_the_run_that_evaluated_it(tmp_path: Path) -> None:
    write_timed(tmp_path, "a", "node1 NVIDIA H200", 0.05, mode="base", base="1" * 40)
    write_timed(tmp_path, "b", "desk cpu x86_64 8", 2.0, selection=MORSD)
    [note] = machine_notes(table_of(made(tmp_path)))
    assert "NVIDIA H200 (base (not fine-tuned)); desk cpu x86_64 8 (selection=morsd)." in note


@pytest.mark.parametrize(
    ("factor", "told"),
    [
        (1.0, "At equal training: tokens and FLOPs are within 5% of the baseline's."),
        (1.04, "At equal training: tokens and FLOPs are within 5% of the baseline's."),
        (1.8, "Not at equal training, against the baseline: selection=morsd (tokens × 1.80, FLOPs × 1.80)."),
        (0.5, "Not at equal training, against the baseline: selection=morsd (tokens × 0.50, FLOPs × 0.50)."),
    ],
)
def test_the_table_says_whether_arms_are_compared_at_equal_tokens_and_flops(tmp_path: Path, factor: float, told: str) -> None:
    write_arm(tmp_path, "a", COSTS)
    more = {name: factor * COSTS[name] for name in (costs.TOKENS, costs.FLOPS)}
    write_arm(tmp_path, "b", COSTS | more, selection=MORSD)
    assert [note for note in made(tmp_path).tables[0].notes if note.startswith(told)]


def test_without_a_baseline_among_the_arms_their_range_is_told(tmp_path: Path) -> None:
    write_arm(tmp_path, "a", COSTS, base="1" * 40, baseline="base")
    write_arm(tmp_path, "b", COSTS | {costs.TOKENS: 60_000}, base="1" * 40, baseline="base", selection=MORSD)
    [note] = [note for note in made(tmp_path).tables[0].notes if "equal training" in note]
    assert note.startswith("Not at equal training: tokens from 2e+04 to 6e+04 over the arms.")


@pytest.mark.parametrize("base", ["", "1" * 40])
def test_what_is_not_known_of_an_arm_is_not_said_to_be_equal(tmp_path: Path, base: str) -> None:
    """Neither FLOPs that nobody counted, nor anything about an arm of an earlier version."""
    own = {"base": base, "baseline": "base"} if base else {}  # so there is no arm to compare with
    without_flops = {name: value for name, value in COSTS.items() if name != costs.FLOPS}
    write_arm(tmp_path, "a", COSTS, **own)
    write_arm(tmp_path, "b", without_flops, selection=MORSD, **own)
    write_arm(tmp_path, "c", {"training/num_steps": 12}, selection={**MORSD, "name": "other", "k": 3}, **own)
    [note] = [note for note in made(tmp_path).tables[0].notes if "equal training" in note]
    assert note.startswith("At equal training: tokens (not all have their FLOPs counted) ")
    assert note.endswith(". Not known of selection=other."), note


def test_arms_whose_teacher_and_compressor_nobody_counted_are_named_and_worked_solutions_are_not(tmp_path: Path) -> None:
    counted = {"teacher/num_tokens_out": 90, "rounds/num_written": 5}
    write_arm(tmp_path, "a", COSTS | counted, teacher={"name": "self"})
    earlier = {"training/num_steps": 12, "rounds/num_written": 5}
    write_arm(tmp_path, "b", earlier, selection=MORSD, teacher={"name": "self"})
    write_arm(tmp_path, "c", {"training/num_steps": 12}, selection={**MORSD, "k": 3}, teacher={"name": "reference"})
    notes = [note for note in table_of(made(tmp_path)).notes if note.startswith("No tokens of the ")]
    earlier_arm = "selection=morsd, selection.k=1, teacher=self"
    assert [note.split(". Finished")[0] for note in notes] == [f"No tokens of the {role}: {earlier_arm}" for role in ("teacher", "compressor")]


def test_with_several_budgets_each_arm_is_compared_with_the_baseline_of_its_own_budget(tmp_path: Path) -> None:
    trainer = {"name": "single", "learning_rate": 1e-4}
    for number, budget in enumerate((100, 200)):
        own = {"trainer": {**trainer, "max_tokens": budget}, "baseline": "selection=random", "base": "1" * 40}
        tokens = {costs.TOKENS: budget}
        write_arm(tmp_path, f"a{number}", COSTS | tokens, **own)
        write_arm(tmp_path, f"b{number}", COSTS | tokens, selection=MORSD, **own)
    table = made(tmp_path).tables[0]
    assert [row.label for row in table.rows if row.is_baseline] == [
        "selection=random, trainer.max_tokens=100",
        "selection=random, trainer.max_tokens=200",
    ]
    assert [row.kind for row in table.rows] == ["base", *["arm"] * 4]
    assert "differences are to the baseline that shares each arm's other settings" in table.notes[0]
    assert any(note.startswith("At equal training") for note in table.notes)
    alone = declared_reports.make(["exp"], tmp_path, ReportOptions(baseline="selection=random, trainer.max_tokens=100")).tables[0]
    assert [row.label for row in alone.rows if row.is_baseline] == ["selection=random, trainer.max_tokens=100"]
    [unequal] = [note for note in alone.notes if "equal training" in note]
    assert "selection=morsd, trainer.max_tokens=200 (tokens × 2.00)" in unequal


def test_runs_differ_in_a_budget_that_one_of_them_has_and_not_in_a_setting_that_one_of_them_is_too_old_for() -> None:
    budget, rate = {"trainer.max_tokens": "500"}, {"trainer.learning_rate": "0.1"}
    assert differing(rate, rate | budget) == differing(rate | budget, rate) == ["trainer.max_tokens"]
    assert differing(budget, budget | rate) == []
    assert differing(rate, {"trainer.learning_rate": "0.2"}) == ["trainer.learning_rate"]
    sampling = {"evaluation.top_k": "5", "teacher.model.attn_implementation": "eager", "tasks.x.num_train": "5"}
    assert differing({}, sampling) == ["evaluation.top_k", "teacher.model.attn_implementation"]


def test_a_run_from_before_a_budget_existed_is_an_arm_with_those_that_leave_it_at_its_default(tmp_path: Path) -> None:
    trainer = {"name": "single", "learning_rate": 1e-4}
    write_arm(tmp_path, "a", COSTS, trainer=trainer)
    write_arm(tmp_path, "b", COSTS, trainer={**trainer, "max_tokens": None, "max_steps": None, "max_petaflops": None}, seed=1)
    write_arm(tmp_path, "c", COSTS, trainer={**trainer, "max_tokens": 500, "max_steps": None, "max_petaflops": None}, seed=1)
    rows = made(tmp_path).tables[0].rows
    assert sorted(row.seeds for row in rows) == [(0, 1), (1,)]
    assert any("trainer.max_tokens=500" in row.label for row in rows)
