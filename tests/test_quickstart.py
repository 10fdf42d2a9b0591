"""The default run, whole: what `make quickstart` promises."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from statistics import mean

import forked
import pytest

from cotexp.tasks import StoriesTask, load_questions

ROOT = Path(__file__).resolve().parent.parent

TOLERANCE = 0.10
"""Points of accuracy that one seed may lose; LOG.md has the means over three seeds, within 0.05."""

FEW_TIMES = "evaluation.latency_questions=4"
"""All of the default run but most of its times, which no promise is about and which take as long as its fine-tuning."""


def run(outputs: Path, *overrides: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    done = forked.run(["run.py", f"paths.outputs={outputs}", *overrides], cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    outputs = tmp_path_factory.mktemp("quickstart")
    return outputs, run(outputs, FEW_TIMES)


def metrics_of(outputs: Path) -> dict[str, float]:
    (path,) = outputs.glob("runs/macc/quickstart/*/metrics.json")
    result: dict[str, float] = json.loads(path.read_text())
    return result


@pytest.mark.slow
def test_the_quickstart_compresses_and_keeps_accuracy(quickstart: tuple[Path, str]) -> None:
    metrics = metrics_of(quickstart[0])
    base = metrics["eval/base/accuracy"]
    assert metrics["eval/base/num_questions"] >= 500
    assert base >= 0.95, "model=tiny solves its task with verbose chains of thought"
    assert metrics["eval/compress/accuracy"] >= base - TOLERANCE
    assert metrics["eval/compress/num_tokens"] <= 0.5 * metrics["eval/base/num_tokens"]
    assert metrics["eval/full/accuracy"] >= base - TOLERANCE
    assert metrics["eval/full/num_tokens"] >= 0.9 * metrics["eval/base/num_tokens"]


@pytest.mark.slow
def test_chains_of_the_quickstart_end_where_they_rebound_and_those_of_harder_questions_end_later(quickstart: tuple[Path, str]) -> None:
    (path,) = quickstart[0].glob("runs/macc/quickstart/*/compressed.jsonl")
    chains = [json.loads(line) for line in path.read_text().splitlines()]
    rebounds = Counter(each["num_rounds_run"] for each in chains if each["stop_reason"] == "rebound")
    assert sum(rebounds.values()) >= 0.6 * len(chains), rebounds
    assert sum(count >= 0.05 * len(chains) for count in rebounds.values()) >= 3, rebounds
    sets = load_questions(StoriesTask())
    steps = {question.id: question.references[-1].count(" = ") for question in (*sets.train, *sets.validation)}
    ends: dict[int, list[int]] = {}
    for each in chains:
        ends.setdefault(steps[each["rationale_id"].rpartition("/")[0]], []).append(each["num_rounds_run"])
    assert mean(ends[2]) + 0.5 < mean(ends[3]) < mean(ends[4]) - 0.5


@pytest.mark.slow
def test_the_quickstart_counts_every_stop_reason_and_names_every_metric(quickstart: tuple[Path, str]) -> None:
    metrics = metrics_of(quickstart[0])
    reasons = [metrics[f"compression/num_{each}"] for each in ("rebounds", "limits", "fixed_points", "failed", "other_stops")]
    assert sum(reasons) == metrics["compression/num_rationales"] + metrics["compression/num_dropped"]
    for mode in ("base", "full", "compress"):
        for name in ("accuracy", "accuracy_low", "accuracy_high", "num_questions", "num_tokens", "num_cot_tokens"):
            assert metrics[f"eval/{mode}/{name}"] == metrics[f"eval/{mode}/stories/{name}"], "one task alone is all that is pooled"
        assert metrics[f"eval/{mode}/num_timed_out"] == 0
        for name in ("latency_seconds_batch1", "latency_seconds_batchN"):
            assert metrics[f"eval/{mode}/{name}"] > 0
    for name in ("eval/latency_batch_size", "eval/compress/compression_ratio", "compression/compression_ratio", "compression/num_rounds_mean"):
        assert name in metrics
    assert {"seconds/rationales", "seconds/rounds", "seconds/training", "seconds/evaluation", "seconds/grading", "seconds/latency"} <= metrics.keys()
    assert all(isinstance(value, int | float) for value in metrics.values())


@pytest.mark.slow
def test_the_quickstart_leaves_table_figures_examples_and_an_offline_wandb_run(quickstart: tuple[Path, str]) -> None:
    outputs, text = quickstart
    assert "fine-tuned, with `<compress>`" in text
    (folder,) = outputs.glob("runs/macc/quickstart/*")
    assert "| base, full chain of thought |" in (folder / "results.md").read_text()
    figures = ("tokens_per_round", "stop_rounds", "perplexity_per_round", "survival_per_round", "accuracy_by_difficulty", "training_curve")
    assert {path.name for path in (folder / "figures").iterdir()} == {f"{each}.{form}" for each in figures for form in ("png", "svg")}
    assert "Round 1, " in (folder / "examples.md").read_text()
    assert list((outputs / "wandb").glob(f"offline-run-*/run-{folder.name}.wandb"))


@pytest.mark.slow
def test_the_same_command_again_shows_the_same_table_without_computing(quickstart: tuple[Path, str]) -> None:
    outputs, text = quickstart
    before = {path: path.stat().st_mtime_ns for path in (outputs / "store").rglob("*") if path.is_file()}
    again = run(outputs, FEW_TIMES)
    assert "already finished" in again
    assert [line for line in again.splitlines() if "│" in line] == [line for line in text.splitlines() if "│" in line]
    assert {path: path.stat().st_mtime_ns for path in (outputs / "store").rglob("*") if path.is_file()} == before


@pytest.mark.slow
def test_a_model_from_scratch_learns_both_skills_in_small(tmp_path: Path) -> None:
    """`make tiny` with a fraction of the questions and weights: the loss of both skills falls far below that of guessing."""
    weights = ["model.hidden_size=64", "model.intermediate_size=128", "model.num_layers=2"]
    run(tmp_path, "experiment=tiny", "task.num_train=1600", "task.num_validation=32", "task.num_test=8", *weights, "tracking=none")
    (path,) = tmp_path.glob("store/checkpoint/*/curve.jsonl")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    validations = [row for row in rows if "validation/loss" in row]
    assert validations[-1]["validation/loss_full"] < 1.5 < 3.0 < rows[0]["train/loss_full"]
    assert validations[-1]["validation/loss_rewrite"] < rows[0]["train/loss_rewrite"] / 2
