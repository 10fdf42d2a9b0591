"""A package of somebody else's adds a selection by an entry point, without a change in this tree."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from installed_packages import install, run

MODULE = """
from dataclasses import dataclass

from cotexp.selections.base import Filter, Label, Selection
from cotexp.settings.base import setting


@dataclass(slots=True, kw_only=True)
class Easy(Selection):
    name: str = setting("easy", "Name of the selection.", choices=("easy",))
    most: float = setting(1.0, "Most Rationale Difficulty.", above=0)

    @property
    def needs_scores(self):
        return True

    def filters(self, scores, *, seed):
        yield Filter("easy", lambda left: [each for each in left if scores[each.id].rd("plain") <= self.most])
        yield from Selection.filters(self, scores, seed=seed)

    @classmethod
    def labels(cls, settings):
        return {"easy": Label(f"easy: RD of at most {settings['selection']['most']}")} | super(Easy, cls).labels(settings)
"""
SMALL = [
    *("tracking=none", "teacher=reference", "compression=none", "task.num_train=16", "task.num_validation=2", "task.num_test=2"),
    *("trainer.max_epochs=0.5", "evaluation.modes=[full]", "evaluation.max_new_tokens=4", "evaluation.latency=false"),
]


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return install(tmp_path / "site", "cotexp.selections", "easy = easy_rationales:Easy", MODULE)


@pytest.mark.slow
def test_its_filter_reads_scores_and_is_counted_in_metrics_and_report(package: Path, tmp_path: Path) -> None:
    outputs = f"paths.outputs={tmp_path / 'outputs'}"
    refused = run(package, "selection=easy", "selection.most=0", "plan=true", outputs)
    assert refused.returncode == 1
    assert refused.stderr.splitlines() == ["cotexp: selection.most must be greater than 0; got 0.0"]
    made = run(package, "selection=easy", "selection.most=0.05", *SMALL, outputs)
    assert made.returncode == 0, made.stderr
    (path,) = (tmp_path / "outputs" / "runs").rglob("metrics.json")
    metrics = json.loads(path.read_text())
    rows = [json.loads(line) for line in (path.parent / "selection.jsonl").read_text().splitlines()]
    assert 0 < metrics["selection/num_easy"] < 16
    assert metrics["selection/num_dropped_easy"] == metrics["selection/num_usable"] - metrics["selection/num_easy"] > 0
    assert metrics["selection/num_kept"] == metrics["selection/num_easy"] == sum(each["num_easy"] for each in rows)
    assert "| easy: RD of at most 0.05 |" in (path.parent / "results.md").read_text()


def test_one_whose_name_would_enter_no_key_is_refused(package: Path, tmp_path: Path) -> None:
    """Its run would have the key of another selection with the same settings."""
    source = (package / "easy_rationales.py").read_text()
    (package / "easy_rationales.py").write_text("\n".join(line for line in source.splitlines() if "    name: str" not in line))
    refused = run(package, "plan=true", f"paths.outputs={tmp_path / 'outputs'}")
    assert refused.returncode == 1
    (line,) = refused.stderr.splitlines()
    assert "easy = easy_rationales:Easy" in line
    assert "it keeps its name out of the keys; declare name: str = setting(NAME, " in line
