"""`cotexp forecast` on hand-made runs whose law is known."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from cotexp.commands.cli import main
from cotexp.commands.forecast import forecast_experiments
from cotexp.settings.base import ConfigError


def write_run(
    outputs: Path,
    key: str,
    *,
    training_set: str,
    ratio: float,
    perplexity: float,
    accuracy: float,
    full_ratio: float = 0.5,
    seed: int = 0,
    compressor: str = "small-compressor",
    target: str = "small-target",
    name: str = "exp",
    sections: Mapping[str, Any] = MappingProxyType({}),
    test: Sequence[str] = ("q1/0", "q2/0"),
    **metrics: float,
) -> Path:
    """A finished run. `training_set` is the text of each of its ten compressed chains; `test` are the ids of its answers."""
    folder = outputs / "runs" / name / key
    folder.mkdir(parents=True)
    settings: dict[str, Any] = {"name": name, "seed": seed, "compression": {"name": "macc"}}
    settings |= {"compressor": {"model": {"path": compressor}}, "model": {"path": target}, **sections}
    settings["mixture"] = {**sections.get("mixture", {}), "full_ratio": full_ratio}
    found = {
        "compression/compression_ratio": ratio,
        "compression/perplexity": perplexity,
        "compression/num_tokens_original_mean": 80.0,
        "compression/answer_kept_ratio": 1.0,
        "compression/num_kept_round_mean": 10 * (1 - ratio),
        "rationales/num_correct": 10,
        "rationales/num_written": 10,
        "eval/compress/accuracy": accuracy,
        "eval/compress/num_tokens": 100 * ratio,
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "metrics.json").write_text(json.dumps(found | metrics))
    (folder / "stages.json").write_text(json.dumps({"checkpoint": {}}))
    (folder / "questions.json").write_text(json.dumps({"test": {"small": list(test)}}))
    lines = [{"rationale_id": f"q{number}/0", "text": f"{training_set} {number}"} for number in range(10)]
    (folder / "compressed.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines))
    return folder


def write_runs(outputs: Path, num_sets: int, **settings: Any) -> None:
    """For each training set a run with either share of full chains: accuracy = 1.1 ratio - 0.05 log perplexity, with a little noise."""
    draw = random.Random(0)
    for number in range(num_sets):
        ratio, log_perplexity = draw.uniform(0.2, 0.9), draw.uniform(0, 4)
        for full_ratio in (0.25, 0.75):
            accuracy = 1.1 * ratio - 0.05 * log_perplexity + draw.gauss(0, 0.005)
            own = {"training_set": f"set {number}", "ratio": ratio, "perplexity": math.exp(log_perplexity), "accuracy": accuracy}
            write_run(outputs, f"{settings.get('target', 't')}{number}-{full_ratio}", full_ratio=full_ratio, **own, **settings)


def forecast(outputs: Path, capsys: pytest.CaptureFixture[str], *candidates: str, name: str = "exp") -> str:
    """What the command prints, on one line."""
    forecast_experiments([name], outputs=outputs, candidates=candidates)
    return " ".join(capsys.readouterr().out.split())


def cells(outputs: Path, heading: str) -> dict[str, list[str]]:
    """Label -> cells of the table under a heading of the written report."""
    text = (outputs / "reports" / "exp" / "forecast" / "report.md").read_text().split(f"## {heading}")[1].split("## ")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]
    return {label: own for label, *own in rows[1:]}


@pytest.mark.slow
def test_forecasts_of_unseen_training_sets_are_judged_against_trivial_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_runs(tmp_path, 10)
    text = forecast(tmp_path, capsys)
    assert "20 runs with 10 different compressed training sets; folds are grouped by compressed training set: 10 groups" in text
    assert "Test accuracy: Bayesian ridge errs by " in text
    assert "the better trivial baseline (compression ratio alone) by " in text
    assert "over 10 groups): better beyond noise." in text
    assert "Leave-one-target-out: not possible, all runs fine-tune small-target." in text
    errors = cells(tmp_path, "Test accuracy: errors")
    assert list(errors) == [f"{scheme}: {method}" for scheme in ("grouped", "80/20 (leaks)") for method in METHOD_NAMES]
    count, r2, mae, *_ = errors["grouped: Bayesian ridge"]
    assert (count, float(r2) > 0.95, mae.startswith("**")) == ("20", True, True)
    assert float(mae.strip("*")) < float(errors["grouped: compression ratio alone"][2]) < float(errors["grouped: mean"][2])
    features = cells(tmp_path, "Features")
    assert features["tokens of a full chain"] == ["80", "80", "constant", "constant"]
    assert features["share of full chains"][:2] == ["0.25", "0.75"]
    figures = tmp_path / "reports" / "exp" / "forecast" / "figures"
    assert {each.name for each in figures.iterdir()} == {"forecast_against_truth.png", "forecast_against_truth.svg"}


METHOD_NAMES = ("mean", "compression ratio alone", "Bayesian ridge", "random forest")


@pytest.mark.slow
def test_twice_the_same_runs_are_the_same_bytes_in_every_format(tmp_path: Path) -> None:
    write_runs(tmp_path, 4)
    for folder in ("one", "two"):
        main(["forecast", "exp", "--outputs", str(tmp_path), "--format", "all", "--output", str(tmp_path / folder)])
    first, second = ({str(each.relative_to(tmp_path / own)): each.read_bytes() for each in (tmp_path / own).rglob("*.*")} for own in ("one", "two"))
    assert {"report.md", "report.csv", "report.tex", "report.html"} <= first.keys()
    assert first == second


@pytest.mark.slow
def test_below_eight_groups_there_is_a_table_and_no_claim(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_runs(tmp_path, 7)
    text = forecast(tmp_path, capsys)
    assert "No claim: 7 groups are too few to distinguish a good forecast from a lucky one; 8 are needed." in text
    assert "noise" not in text
    assert float(cells(tmp_path, "Test accuracy: errors")["grouped: Bayesian ridge"][1]) > 0


@pytest.mark.slow
def test_with_five_compressors_they_are_the_groups(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw = random.Random(0)
    for number in range(10):
        own = {"ratio": draw.random(), "perplexity": 2.0, "accuracy": draw.random()}
        write_run(tmp_path, f"r{number}", training_set=f"set {number}", compressor=f"compressor-{number % 5}", **own)
    text = forecast(tmp_path, capsys)
    assert "10 runs with 10 different compressed training sets; folds are grouped by compressor: 5 groups, none of them split between folds." in text


@pytest.mark.slow
def test_each_target_is_forecast_from_the_runs_of_the_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_runs(tmp_path, 5, target="one-target")
    write_runs(tmp_path, 5, target="other-target")
    text = forecast(tmp_path, capsys)
    assert "Leave-one-target-out: one-target, other-target are each forecast from the runs of the others." in text
    assert float(cells(tmp_path, "Test accuracy: errors")["other targets: Bayesian ridge"][1]) > 0.95, "both follow one law"


@pytest.mark.slow
def test_runs_that_teach_nothing_are_named_with_the_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_runs(tmp_path, 2)
    old = write_run(tmp_path, "old", training_set="x", ratio=0.5, perplexity=1.0, accuracy=0.5)
    metrics = json.loads((old / "metrics.json").read_text())
    del metrics["compression/perplexity"]
    (old / "metrics.json").write_text(json.dumps(metrics))
    begun = tmp_path / "runs" / "exp" / "begun"
    begun.mkdir()
    (begun / "settings.json").write_text("{}")
    text = forecast(tmp_path, capsys)
    assert "Left out: exp/old: without the metric compression/perplexity; start its command again, which measures it and trains nothing" in text
    assert "Left out: exp/begun: not finished" in text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("others", "difference"),
    [
        ({"test": ["q1/0"]}, "test questions=1 ("),
        ({"test": ["q1/0", "q3/0"]}, "test questions=2 ("),
        ({"sections": {"evaluation": {"max_new_tokens": 64}}}, "evaluation.max_new_tokens=64, not 512"),
        ({"sections": {"trainer": {"max_epochs": 1.0}}}, "trainer.max_epochs=1.0, not 3.0"),
        ({"sections": {"trainer": {"lora": {"rank": 4}}}}, "trainer.lora.rank=4, not 8"),
        ({"sections": {"tasks": {"small": {"prompt": "{question} Briefly."}}}}, "tasks.small.prompt='{question} Briefly.', not"),
        ({"sections": {"tasks": {"small": {"num_train": 50}}}}, "tasks.small.num_train=50, not 600"),
        ({"sections": {"mixture": {"rewrite_ratio": 4.0}}}, "mixture.rewrite_ratio=4.0, not 0.0"),
        ({"sections": {"mixture": {"full_loss_ratio": 0.9}}}, "mixture.full_loss_ratio=0.9, not there"),
        ({"sections": {"mixture": {"originals": "correct"}}}, "mixture.originals=correct, not all"),
        ({"sections": {"evaluation": {"ratio": 0.7}}}, "evaluation.ratio=0.7, not 0.5"),
    ],
)
def test_only_runs_that_were_trained_and_measured_alike_form_one_forecast(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], others: dict[str, Any], difference: str
) -> None:
    usual: dict[str, dict[str, Any]] = {
        "evaluation": {"max_new_tokens": 512, "ratio": 0.5},
        "trainer": {"max_epochs": 3.0, "lora": {"rank": 8}},
        "tasks": {"small": {"prompt": "{question}", "num_train": 600}},
        "mixture": {"originals": "all", "full_loss_ratio": None, "rewrite_ratio": 0.0},
    }
    write_runs(tmp_path, 3, sections=usual)
    for number in range(2):
        changed = others.get("sections", {})
        own = {**others, "sections": {slot: {**own, **changed.get(slot, {})} for slot, own in usual.items()}}
        own["sections"]["tasks"] = {"small": {**usual["tasks"]["small"], **changed.get("tasks", {}).get("small", {})}}
        write_run(tmp_path, f"other{number}", training_set=f"other set {number}", ratio=0.5, perplexity=1.0, accuracy=0.1, seed=number, **own)
    text = forecast(tmp_path, capsys)
    assert "6 runs with 3 different compressed training sets" in text
    assert f"Left out: exp/other0, exp/other1: not comparable with the other runs: {difference}" in text


@pytest.mark.slow
def test_what_a_forecast_reads_may_differ_between_its_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_runs(
        tmp_path,
        2,
        sections={
            "evaluation": {"max_new_tokens": 64, "batch_size": 8, "latency": True},
            "compression": {"name": "macc", "prompt": "Shorten."},
        },
    )
    write_runs(tmp_path, 2, target="u", sections={"evaluation": {"max_new_tokens": 64, "batch_size": 64, "latency": False}})
    assert "8 runs with 2 different compressed training sets" in forecast(tmp_path, capsys)


def test_unknown_experiments_and_too_few_training_sets_are_one_line_each(tmp_path: Path) -> None:
    write_run(tmp_path, "only", training_set="x", ratio=0.5, perplexity=1.0, accuracy=0.5)
    with pytest.raises(SystemExit, match=r"^cotexp: forecast: no finished run of 'expp' under .*\(did you mean 'exp'\?\); .* finished runs: exp$"):
        main(["forecast", "expp", "--outputs", str(tmp_path)])
    with pytest.raises(ConfigError, match=r"1 usable runs of exp with 1 compressed training sets; at least two are needed"):
        forecast_experiments(["exp"], outputs=tmp_path)


def rewrite_chains(folder: Path, chains: Mapping[str, str]) -> None:
    """Let the compressed chains of a run be these, by the ids of their rationales."""
    lines = [{"rationale_id": rationale, "text": text} for rationale, text in chains.items()]
    (folder / "compressed.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines))


def test_nearly_equal_training_sets_are_too_few_as_equal_ones_are(tmp_path: Path) -> None:
    for number in range(3):
        folder = write_run(tmp_path, f"r{number}", training_set="x", ratio=0.5 + 0.01 * number, perplexity=1.0, accuracy=0.5)
        rewrite_chains(folder, {f"q{each}/0": f"x {each}" if each else f"after round {8 + number}" for each in range(10)})
    with pytest.raises(SystemExit) as ended:
        main(["forecast", "exp", "--outputs", str(tmp_path)])
    assert str(ended.value).startswith(
        "cotexp: forecast: 3 usable runs of exp with 3 compressed training sets that form one group, since sets that share nine tenths of the "
        "smaller one's chains count as one; at least two groups are needed: vary the compression, such as cotexp run -m sweep="
    )


def test_five_compressors_that_share_a_training_set_are_too_few(tmp_path: Path) -> None:
    for number in range(5):
        for training_set in ("shared", f"set {number}"):
            own = {"training_set": training_set, "compressor": f"compressor-{number}", "ratio": 0.5, "perplexity": 1.0, "accuracy": 0.5}
            write_run(tmp_path, f"{training_set}-{number}", **own)
    with pytest.raises(
        ConfigError, match=r"^forecast: 10 usable runs of exp with 6 .* one group, .*, and so do compressors that made one of them; at"
    ):
        forecast_experiments(["exp"], outputs=tmp_path)
