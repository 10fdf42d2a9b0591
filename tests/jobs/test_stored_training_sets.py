"""What the store tells of configurations before fine-tuning: what is missing, and the metrics that a run would write."""

from __future__ import annotations

from pathlib import Path

import pytest

from cotexp import flow
from cotexp.commands import run_experiment
from cotexp.config.command_line import check_command_line
from cotexp.flow import Walk
from cotexp.jobs import pipeline, planning
from cotexp.jobs.status import Clock
from cotexp.jobs.stored_training_sets import Lookup
from cotexp.settings.base import RunFailed
from cotexp.settings.root import Settings
from cotexp.store.specs import Spec

SMALL = (
    *("experiment=none", "teacher=reference", "compressor=tiny", "compressor.max_new_tokens=192", "evaluation.latency=false", "tracking=none"),
    *("task.num_train=6", "task.num_validation=2", "task.num_test=2"),
)


def settings_of(outputs: Path, *overrides: str) -> Settings:
    return check_command_line([*SMALL, f"paths.outputs={outputs}", *overrides], multirun=False)[0]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with two rounds of every chain and their perplexities."""
    folder = tmp_path_factory.mktemp("outputs")
    assert run_experiment(settings_of(folder, "compression.max_rounds=2", "compress_only=true")) is None
    return folder


@pytest.mark.slow
def test_compressing_alone_trains_nothing_makes_no_run_and_says_what_came_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_experiment(settings_of(tmp_path, "compression.max_rounds=1", "compress_only=true"))
    stored = {each.name for each in (tmp_path / "store").iterdir()} - {".outputs", ".users"}
    assert stored == {"answer_perplexity", "grades", "perplexity", "rationales", "rounds"}
    assert not (tmp_path / "runs").exists()
    text = " ".join(capsys.readouterr().out.split())
    assert "none: 8 chains compressed to " in text
    assert "perplexity " in text
    with pytest.raises(RunFailed, match=r"^compress_only: compression=none with modes \['base', 'full'\] compresses nothing$"):
        run_experiment(settings_of(tmp_path, "compression=none", "compress_only=true"))


def test_the_plan_of_compressing_alone_has_no_stage_that_it_will_not_run(tmp_path: Path) -> None:
    context = pipeline.make_context(settings_of(tmp_path, "compression=macc", "compress_only=true"), plan=True)
    planned = [each.name for each in planning.plan(context)]
    assert planned == [f"{stage}/stories" for stage in ("rationales", "grades/rationales", "rounds", "perplexity", "answer_perplexity")]
    for words in (["compression=none"], ["compression=answer_only"], ["compression=macc", "evaluation.modes=[base]"]):
        context = pipeline.make_context(settings_of(tmp_path, "compress_only=true", *words), plan=True)
        with pytest.raises(RunFailed, match=r"^compress_only: compression=\w+ with modes .* compresses nothing$"):
            planning.plan(context)


@pytest.mark.parametrize(
    ("words", "stages"),
    [
        (["compression=answer_only"], ["rationales"]),
        (["compression=macc"], ["rationales", "rounds", "perplexity", "answer_perplexity"]),
        (["compression=macc", "scoring.answer_perplexity=false"], ["rationales", "rounds", "perplexity"]),
        (["compression=none", "selection=lowest_rank_surprisal"], ["rationales", "scores", "ranks"]),
    ],
)
def test_a_stage_that_stores_nothing_in_a_run_is_not_said_to_be_at_work(tmp_path: Path, words: list[str], stages: list[str]) -> None:
    """Otherwise a selection that leaves nothing would be told as a failure in ranks that nobody asked for."""
    entered: list[str] = []
    context = pipeline.make_context(settings_of(tmp_path, *words), plan=True)
    walk = Walk(Clock(entered.append))
    with flow.looking(context):
        flow.training_set(context, walk)
    assert entered == stages
    assert list(walk.clock.seconds) == [f"seconds/{each}" for each in stages]


def test_compressing_alone_ends_as_the_run_would_if_no_chain_is_left(tmp_path: Path) -> None:
    words = ("compression=c3ot", "compression.failed_round=drop", "compressor.max_new_tokens=1", "compress_only=true")
    with pytest.raises(RunFailed, match=r"^no train chain is left in compressed form: the rounds of all 6 failed; "):
        run_experiment(settings_of(tmp_path, *words))


@pytest.mark.slow
def test_every_stop_rule_within_the_stored_rounds_is_a_candidate_with_the_metrics_of_its_run(outputs: Path) -> None:
    lookup = Lookup()
    limit = lookup.candidate(settings_of(outputs, "compression.max_rounds=2"))
    assert limit.metrics["rationales/num_correct"] == limit.metrics["rationales/num_written"] == 8
    assert limit.metrics["compression/num_kept_round_mean"] == 2
    again = pipeline.compress(pipeline.make_context(settings_of(outputs, "compression.max_rounds=2")))
    assert limit.metrics.items() <= again.items(), "what a run writes before it fine-tunes"
    one = lookup.candidate(settings_of(outputs, "compression.max_rounds=1"))
    few = lookup.candidate(settings_of(outputs, "compression=macc_min_tokens", "compression.min_tokens=1", "compression.max_rounds=2"))
    assert one.metrics["compression/compression_ratio"] > limit.metrics["compression/compression_ratio"]
    assert few.metrics == limit.metrics
    assert [each.is_trained for each in (limit, one, few)] == [False, False, False]


@pytest.mark.slow
def test_what_is_not_compressed_yet_says_what_is_missing_and_computes_nothing(outputs: Path) -> None:
    before = sorted(outputs.rglob("*"))
    lookup = Lookup()
    for overrides, reason in {
        ("compression.max_rounds=3",): r"rounds of its chains, at most, are not written yet",
        ("task.num_train=7",): r"1 of 9 rationales are not written yet",
        ("compression=truncate",): r"compression=truncate makes no rounds to forecast from",
        ("evaluation.modes=[base]",): r"compression=macc makes no rounds|nothing",
        ("compression.max_rounds=2", "scoring.perplexity_chains=0"): r"the perplexity of its chains is not measured yet",
        ("compression.max_rounds=2", "scoring.dtype=bfloat16"): r"the perplexity of its chains is not measured yet",
    }.items():
        with pytest.raises(RunFailed, match=reason):
            lookup.candidate(settings_of(outputs, *overrides))
    assert sorted(outputs.rglob("*")) == before


def test_a_fine_tuned_configuration_is_told_apart(outputs: Path) -> None:
    settings = settings_of(outputs, "compression.max_rounds=2", "seed=7")
    context = pipeline.make_context(settings, plan=True)
    spec: Spec = flow.specs_of(context)["checkpoint"]
    context.store.artifact(spec, lambda folder: None)
    lookup = Lookup()
    assert lookup.candidate(settings).is_trained
    assert not lookup.candidate(settings_of(outputs, "compression.max_rounds=2", "seed=8")).is_trained
