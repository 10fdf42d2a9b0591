"""`cotexp search`: what it reads, what it refuses, and real searches that fail in part, are killed, and are shared."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import forked
import pytest

from cotexp.commands.cli import main
from cotexp.commands.search import seed_of
from cotexp.commands.search_space import Dimension, read_metric, read_space
from cotexp.config import command_line
from cotexp.jobs import pipeline
from cotexp.settings.base import ConfigError
from cotexp.stages import checkpoint

pytest.importorskip("optuna", reason="the extra `search` is not installed")
ROOT = Path(__file__).resolve().parent.parent.parent


def test_a_space_is_read_word_by_word() -> None:
    words = [
        "trainer.learning_rate=log:1e-4,1e-2",
        "compression.max_rounds=int:2,8",
        "mixture.full_ratio=float:0.1,0.9",
        "task.train=[svamp,aqua],[svamp]",
    ]
    rate, rounds, ratio, tasks = read_space(words)
    assert rate == Dimension("trainer.learning_rate", "log", low=1e-4, high=1e-2)
    assert (rounds.ends, ratio.ends) == (("2", "8"), ("0.1", "0.9"))
    assert tasks.choices == ("[svamp,aqua]", "[svamp]")


@pytest.mark.parametrize("word", ["seed", "seed=1", "seed=1,1", "seed=int:1", "seed=int:2,1", "seed=int:a,b", "x=log:0,1", "x=float:0,inf", "=1,2"])
def test_a_word_that_names_no_space_is_refused(word: str) -> None:
    with pytest.raises(ConfigError, match=r"--space .*: .*; write KEY=A,B,C"):
        read_space([word])


def test_short_names_of_metrics_follow_the_last_mode_and_small_is_good_for_lengths() -> None:
    settings = command_line.check_command_line([], multirun=False)[0]
    found = [read_metric(each, settings) for each in ("accuracy", "tokens", "loss", "eval/full/compression_ratio")]
    assert [(each.name, each.direction) for each in found] == [
        ("eval/compress/accuracy", "maximize"),
        ("eval/compress/num_tokens", "minimize"),
        ("training/best_validation_loss", "minimize"),
        ("eval/full/compression_ratio", "minimize"),
    ]
    assert read_metric("accuracy", settings, "minimize").minimized
    small = ("training/core_hours", "training/gpu_hours", "training/flops", "teacher/dollars", "seconds/training", "compression/num_failed")
    small += ("compression/compression_ratio", "eval/full/compression_ratio_median", "eval/full/num_timed_out", "compression/perplexity")
    large = ("compression/answer_kept_ratio", "pairs/calculations_kept_ratio", "compression/num_rationales", "compression/answer_likelier_ratio")
    assert [[read_metric(each, settings).minimized for each in group] for group in (small, large)] == [[True] * len(small), [False] * len(large)]
    assert [read_metric(f"{each}:{way}", settings).direction for each in ("accuracy", "tokens") for way in ("min", "max")] == [
        "minimize",
        "maximize",
    ] * 2
    for word, given in (("accuracy:up", None), ("accuracy:min", "maximize")):
        with pytest.raises(ConfigError, match="the direction of metric accuracy is accuracy:min or accuracy:max, or --minimize or --maximize; got"):
            read_metric(word, settings, given)
    with pytest.raises(ConfigError, match="a metric is accuracy, tokens, loss or a name of"):
        read_metric("acuracy", settings)


def test_a_front_has_a_direction_for_each_metric() -> None:
    with pytest.raises(SystemExit, match=r"--front has a direction for each metric, such as accuracy:max,.*; leave --minimize out"):
        main(["search", "x", "--front", "accuracy,tokens", "--minimize", "--space", "seed=0,1"])


def test_searches_with_other_seeds_share_no_random_trial() -> None:
    trials = {(seed, number): seed_of(seed, number) for seed in range(50) for number in range(50)}
    assert len(set(trials.values())) == len(trials)
    assert all(0 <= each < 2**32 for each in trials.values())
    assert trials[3, 4] == seed_of(3, 4)


@pytest.mark.slow
def test_validation_questions_stand_in_for_test_questions_and_old_runs_keep_their_keys(random_model: Path, tmp_path: Path) -> None:
    words = ["model=hf", f"model.path={random_model}", "compressor=self", "task.num_train=8", "task.num_validation=3", "task.num_test=4"]
    contexts = {}
    for split in ("test", "validation"):
        settings = command_line.check_command_line([*words, f"paths.outputs={tmp_path}", f"evaluation.split={split}"], multirun=False)[0]
        contexts[split] = pipeline.make_context(settings, plan=True)
    tested, chosen = contexts["test"], contexts["validation"]
    assert chosen.questions.test == chosen.questions.validation == tested.questions.validation
    assert pipeline.run_key(tested) != pipeline.run_key(chosen)
    assert checkpoint.spec(tested).key == checkpoint.spec(chosen).key, "the model that is chosen is tested without training it again"
    without = command_line.check_command_line([*words, f"paths.outputs={tmp_path}"], multirun=False)[0]
    assert pipeline.run_key(pipeline.make_context(without, plan=True)) == pipeline.run_key(tested)


SHARED = [
    *("experiment=none", "tracking=none", "compressor=self", "model=hf", "evaluation.modes=[base]", "evaluation.latency=false"),
    *("task.num_train=8", "task.num_validation=3", "task.num_test=4"),
]
SPACE = ["evaluation.max_new_tokens=int:4,64", "evaluation.seed=0,1"]


def searched(outputs: Path, *words: str, trials: int, space: list[str] | None = None, options: tuple[str, ...] = ()) -> list[str]:
    own = ["search", "probe", "--trials", str(trials), *options, "--space", *(space or SPACE)]
    return [*own, "--", *SHARED, f"paths.outputs={outputs}", *words]


def start(arguments: list[str]) -> forked.Process:
    return forked.start(["-m", "cotexp", *arguments], cwd=ROOT, env={**os.environ, "PYTHONUNBUFFERED": "1"}, together=True)


def trials(outputs: Path) -> list[Any]:
    """The trials that count, in the order in which their values were chosen."""
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    from cotexp.report.search_table import counts

    study = optuna.load_study(study_name="probe", storage=JournalStorage(JournalFileBackend(str(outputs / "searches" / "probe" / "journal.log"))))
    return [each for each in study.get_trials() if counts(each)]


def outcome(trial: Any) -> tuple[Any, ...]:
    return trial.state.name, trial.params, trial.values


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["evaluation.seed=3"], "evaluation.seed is both in --space and after --"),
        (["name=mine"], "name is the name of the search, probe"),
        (["plan=true"], "plan=true computes no metric to search by"),
        (["evaluation.max_new_token=3"], r"evaluation\.max_new_token is not a setting \(did you mean 'max_new_tokens'\?\)"),
    ],
)
def test_a_search_that_cannot_run_is_refused_before_it_begins(words: list[str], message: str, random_model: Path, tmp_path: Path) -> None:
    from cotexp.commands.cli import main

    with pytest.raises(SystemExit, match=message):
        main(searched(tmp_path / "outputs", f"model.path={random_model}", *words, trials=2))
    assert not (tmp_path / "outputs").exists()


@pytest.mark.slow
def test_a_trial_that_fails_is_told_and_the_search_goes_on_to_its_front(
    random_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from cotexp.commands.cli import main

    broken = tmp_path / "broken"
    shutil.copytree(random_model, broken)
    (broken / "model.safetensors").write_bytes((random_model / "model.safetensors").read_bytes()[:-64])
    space = ["evaluation.max_new_tokens=int:4,64", f"model.path={random_model},{broken}"]
    arguments = searched(tmp_path / "outputs", "evaluation.split=test", trials=5, space=space, options=("--front", "accuracy,tokens"))
    main(arguments)
    said = capsys.readouterr()
    states = [each.state.name for each in trials(tmp_path / "outputs")]
    assert len(states) == 5
    assert {"COMPLETE", "FAIL"} == set(states)
    assert "WARNING: this search chooses by test questions" in said.out
    assert said.err.count(" failed: ") == states.count("FAIL")
    table = (tmp_path / "outputs" / "searches" / "probe" / "trials.md").read_text()
    assert table.count("| failed: ") == states.count("FAIL")
    assert (tmp_path / "outputs" / "searches" / "probe" / "trials.png").stat().st_size > 1000
    with pytest.raises(SystemExit, match="search probe was begun with another metrics"):
        main(searched(tmp_path / "outputs", "evaluation.split=test", trials=5, space=space))


@pytest.mark.slow
def test_a_search_that_was_killed_goes_on_as_if_it_had_not_been(random_model: Path, tmp_path: Path) -> None:
    from cotexp.commands.cli import main

    words = (f"model.path={random_model}",)
    tokens = ("--metric", "tokens")
    killed = start(searched(tmp_path / "killed", *words, trials=6, options=tokens))
    while "\nTrial 2 (3 of 6)" not in killed.printed():
        assert killed.poll() is None, killed.printed()
        time.sleep(0.02)
    killed.kill()
    killed.wait()
    assert 2 <= len(trials(tmp_path / "killed")) < 6
    main(searched(tmp_path / "killed", *words, trials=6, options=tokens))
    main(searched(tmp_path / "whole", *words, trials=6, options=tokens))
    assert [outcome(each) for each in trials(tmp_path / "killed")] == [outcome(each) for each in trials(tmp_path / "whole")]
    answered = list((tmp_path / "killed" / "store" / "predictions").glob("*/rows-*.jsonl"))
    ids = [(path.parent.name, json.loads(line)["question_id"]) for path in answered for line in path.read_text().splitlines()]
    assert len(ids) == len(set(ids)), "a stored answer was written again"
    assert len({question for _, question in ids}) == 3, "the validation questions, and no test question"


@pytest.mark.slow
def test_processes_share_one_search(random_model: Path, tmp_path: Path) -> None:
    both = [start(searched(tmp_path, f"model.path={random_model}", trials=4)) for _ in range(2)]
    said = [each.communicate()[0] for each in both]
    assert [each.returncode for each in both] == [0, 0], said
    deadline = time.monotonic() + 5
    while any(each.state.name == "RUNNING" for each in trials(tmp_path)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert [each.state.name for each in trials(tmp_path)] == ["COMPLETE"] * 4
    assert len({str(each.params) for each in trials(tmp_path)}) > 1
