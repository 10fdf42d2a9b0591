"""`cotexp forecast --candidates` on hand-made runs and compressed training sets in a real store."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from test_forecast_command import cells, forecast, write_run, write_runs

from cotexp import flow
from cotexp.commands import run_experiment
from cotexp.config.command_line import check_command_line
from cotexp.jobs import pipeline
from cotexp.jobs.stored_training_sets import Lookup
from cotexp.settings.root import Settings

WORDS = (
    *("experiment=none", "teacher=reference", "compressor=tiny", "compressor.max_new_tokens=96", "tracking=none"),
    *("task.num_train=6", "task.num_validation=2", "task.num_test=2"),
)


def settings_of(outputs: Path, *words: str) -> Settings:
    return check_command_line([*WORDS, "compression.max_rounds=2", f"paths.outputs={outputs}", *words], multirun=False)[0]


def compress(outputs: Path, capsys: pytest.CaptureFixture[str]) -> Settings:
    """Write two rounds into the store, for real."""
    settings = settings_of(outputs, "compress_only=true")
    run_experiment(settings)
    capsys.readouterr()
    return settings


def sections_of(settings: Settings, *more: str) -> dict[str, Any]:
    """The settings that must be equal for a forecast, and further sections, as a run stores them."""
    return {slot: own for slot, own in stored(settings).items() if slot in ("mixture", "trainer", "evaluation", "task", "tasks", *more)}


def stored(settings: Settings) -> dict[str, Any]:
    return dict(json.loads(json.dumps(asdict(settings))))


@pytest.mark.slow
def test_candidates_are_ranked_with_intervals_and_others_are_named_with_what_they_lack(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two rounds are in the store, written for real: one round is the longer text, which the runs say is the more accurate."""
    settings = compress(tmp_path, capsys)
    write_runs(tmp_path, 10, sections=sections_of(settings), test=Lookup().candidate(settings).answers["stories"])
    text = forecast(tmp_path, capsys, *WORDS, "compression.max_rounds=1,2,3", "seed=0,1", "trainer.max_epochs=3,1")
    assert "not comparable with the runs: trainer.max_epochs=1.0, not 3.0" in text
    ranked = cells(tmp_path, "Compressed, not yet fine-tuned")
    labels = [f"compression.max\\_rounds={each}, trainer.max\\_epochs=3.0" for each in (1, 2)]
    assert list(ranked) == labels, "each once, whatever its seed"
    assert [own[0] for own in ranked.values()] == ["1", "2"]
    assert all(" to " in cell for own in ranked.values() for cell in own[1:3])
    assert "rounds of its chains, at most, are not written yet" in text
    assert "compression.max_rounds=3, trainer.max_epochs=3.0, seed=1" in text
    assert "Fine-tune the first: cotexp run experiment=none teacher=reference" in text
    assert not (tmp_path / "store" / "checkpoint").exists()


@pytest.mark.slow
def test_a_candidate_that_is_fine_tuned_with_another_seed_or_on_the_same_chains_is_named_and_not_forecast(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fine-tuned: two rounds with seed 0 by a run, one with seed 0 in the store, two by another rule and with a quarter of full chains."""
    settings = compress(tmp_path, capsys)
    lookup = Lookup()
    known = {"test": lookup.candidate(settings).answers["stories"]}
    write_runs(tmp_path, 4, sections=sections_of(settings), **known)
    outcome = {"training_set": "x", "ratio": 0.5, "perplexity": 1.0, "accuracy": 0.5}
    write_run(tmp_path, "two", sections={slot: own for slot, own in stored(settings).items() if isinstance(own, dict)}, **outcome, **known)
    other_rule = settings_of(tmp_path, "compression=macc_min_tokens", "compression.min_tokens=1", "mixture.full_ratio=0.25")
    outcome["ratio"] = lookup.candidate(other_rule).metrics["compression/compression_ratio"]
    twin = write_run(tmp_path, "twin", full_ratio=0.25, sections=sections_of(other_rule, "model"), **outcome, **known)
    context = pipeline.make_context(other_rule, plan=True)
    with flow.looking(context):
        flow.write_training_set(flow.training_set(context, flow.Walk()), twin)
    one = pipeline.make_context(settings_of(tmp_path, "compression.max_rounds=1"), plan=True)
    one.store.artifact(flow.specs_of(one)["checkpoint"], lambda folder: None)
    text = forecast(tmp_path, capsys, *WORDS, "compression.max_rounds=1,2", "mixture.full_ratio=0.5,0.25,0.75", "seed=0,1")
    rounds = {each: f"compression.max_rounds={each}, mixture.full_ratio" for each in (1, 2)}
    assert f"candidates {rounds[1]}=0.5, seed=0: already fine-tuned -" in text
    assert f"candidates {rounds[2]}=0.5, seed=0, {rounds[2]}=0.5, seed=1, {rounds[1]}=0.5, seed=1: already fine-tuned with another seed" in text
    assert f"candidates {rounds[2]}=0.25, seed=0, {rounds[2]}=0.25, seed=1: already fine-tuned on the same compressed chains by exp/twin" in text
    ranked = [label.replace("\\", "") for label in cells(tmp_path, "Compressed, not yet fine-tuned")]
    assert sorted(ranked) == [f"{rounds[1]}=0.25", f"{rounds[1]}=0.75", f"{rounds[2]}=0.75"], "another share of full chains is another outcome"
