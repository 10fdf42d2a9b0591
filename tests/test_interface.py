"""The Python interface does what the commands do, says what they say, and leaves the process as it was."""

from __future__ import annotations

import code
import inspect
import json
import logging
import os
import re
import signal
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import forked
import pytest
import run_folders
from hydra.core.global_hydra import GlobalHydra

import cotexp
from cotexp import extras
from cotexp.jobs import sweeps
from cotexp.jobs.pipeline import Result
from cotexp.jobs.status import read_status
from cotexp.settings.base import ConfigError, RunFailed
from cotexp.settings.root import CONFIG_DIR

ROOT = Path(__file__).resolve().parent.parent
FUNCTIONS = [getattr(cotexp, name) for name in cotexp.__all__ if name != "__version__"]
SMALL = ["debug=fast", "task.num_train=8", "task.num_validation=2", "task.num_test=4", "compression.max_rounds=2", "evaluation.latency=false"]
SMALL += ["tracking=none"]


def state() -> list[Any]:
    """What a call could leave changed in this process, beside what libraries do at their first import."""
    handlers = [(logging.getLogger(name).handlers[:], logging.getLogger(name).level) for name in ("", "cotexp")]
    signals = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)]
    variables = {name: value for name, value in os.environ.items() if name.startswith(("COTEXP", "WANDB"))}
    return [handlers, signals, variables, GlobalHydra.instance().is_initialized(), Path.cwd()]


def test_eight_functions_are_typed_and_documented() -> None:
    assert len(FUNCTIONS) == 8
    assert (ROOT / "cotexp/py.typed").is_file()
    for function in FUNCTIONS:
        assert function.__doc__
        assert all(each.annotation is not inspect.Parameter.empty for each in inspect.signature(function).parameters.values())
        assert f"`{function.__name__}`" in (cotexp.__doc__ or "")
        assert f"cotexp.{function.__name__}(" in (ROOT / "docs/python.md").read_text()


def test_settings_are_composed_as_the_command_line_composes_them() -> None:
    before = state()
    settings = cotexp.compose("experiment=macc/gsm8k", "seed=7", "trainer.batch_size=16")
    assert (settings.name, settings.seed, settings.trainer.batch_size) == ("macc/gsm8k", 7, 16)
    assert state() == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["seed=x", "trainer.epochs=3"], r"seed must be an integer; got 'x'\ntrainer\.epochs is not a setting"),
        (["--help"], r"^run takes settings as texts, such as 'seed=1'; got '--help'$"),
        (["-m", "seed=0,1"], r"^run takes settings as texts"),
        ([3], r"^run takes settings as texts, such as 'seed=1'; got 3$"),
        (["seed=0,1"], "names several values"),
        (["hydra/launcher=joblib"], r"^run runs in this process, without hydra/launcher, which the command takes: cotexp run -m hydra/launcher="),
        (["plan=true"], "^run computes; leave out plan=true, or call plan with these words$"),
    ],
)
def test_a_mistake_is_an_exception_with_the_commands_lines_and_leaves_nothing(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = state()
    with pytest.raises(ConfigError, match=message):
        cotexp.run(*words)
    assert state() == before
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_settings_files_is_read_in_one_call_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CONFIG_DIR, raising=False)
    (tmp_path / "task").mkdir()
    (tmp_path / "task/sums.yaml").write_text("defaults:\n  - /schema/task@_here_: custom\n  - _self_\nname: sums\nfile: sums.csv\n")
    assert cotexp.compose("task=sums", config_dir=tmp_path).task.name == "sums"
    assert CONFIG_DIR not in os.environ
    with pytest.raises(ConfigError, match="task must be one of"):
        cotexp.compose("task=sums")


def test_wrong_tables_formats_and_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^read: the table must be one of runs, metrics, .* \(did you mean 'rounds'\?\); got 'round'$"):
        cotexp.read("round", outputs=tmp_path)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"^runs: there are no runs under"):
        cotexp.read("runs", outputs=tmp_path)
    with pytest.raises(ConfigError, match=r"^write_report: name a declared report or an experiment, such as"):
        cotexp.write_report("seed=1", outputs=tmp_path)
    with pytest.raises(ConfigError, match="--format must be among"):
        cotexp.write_report("macc/main", formats="pdfs", outputs=tmp_path)
    with pytest.raises(ConfigError, match=r"^export: dtype must be one of float32, bfloat16; got 'int8'$"):
        cotexp.export("macc/main", tmp_path / "exported", dtype="int8", outputs=tmp_path)


def test_frames_need_pandas_and_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(extras.MODULES, "pandas", {"no_such_package": "pandas"})
    with pytest.raises(ConfigError, match=r"^cotexp\.read needs the package pandas, which is not installed; pip install 'cotexp\[pandas\]'$"):
        cotexp.read("runs", outputs=tmp_path)


def test_frames_have_the_settings_that_differ_and_a_row_per_answer(tmp_path: Path) -> None:
    run_folders.write_run(tmp_path, "a" * 12, "1101", base="1111", seed=0, compression={"name": "macc"})
    run_folders.write_run(tmp_path, "b" * 12, "0001", base="1111", seed=1, selection=run_folders.MORSD, compression={"name": "macc"})
    predictions = cotexp.read("predictions", outputs=tmp_path)
    num_right = predictions.groupby(["key", "mode"])["strict"].sum().to_dict()
    assert num_right == {("a" * 12, "base"): 4, ("a" * 12, "full"): 3, ("b" * 12, "base"): 4, ("b" * 12, "full"): 1}
    runs = cotexp.read("runs", "exp", outputs=tmp_path)
    assert dict(zip(runs["key"], runs["selection.name"], strict=True)) == {"a" * 12: "random", "b" * 12: "morsd"}
    assert dict(zip(runs["key"], runs["seed"], strict=True)) == {"a" * 12: 0, "b" * 12: 1}
    assert "trainer.name" not in runs, "a setting that does not differ"
    assert len(cotexp.read("runs", "aaaa", outputs=tmp_path)) == 1


def test_a_run_whose_files_are_broken_is_told_and_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run_folders.write_run(tmp_path, "a" * 12, "11", seed=0)
    (run_folders.write_run(tmp_path, "b" * 12, "11", seed=1) / "questions.json").write_text("{")
    with caplog.at_level(logging.WARNING):
        assert set(cotexp.read("predictions", outputs=tmp_path)["key"]) == {"a" * 12}
    assert f"exp/{'b' * 12}" in caplog.text


# --- one small experiment, from Python and by the command --------------------------------------------------------------------


class Done(NamedTuple):
    """A run from Python and the outputs that it is in, the folder that the command made, and the state of this process before and after."""

    result: Result
    outputs: Path
    commanded: Path
    before: list[Any]
    after: list[Any]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder = tmp_path_factory.mktemp("interface")
    before = state()
    result = cotexp.run(*SMALL, f"paths.outputs={folder / 'python'}")
    after = state()
    assert result is not None
    command = forked.run([str(ROOT / "run.py"), *SMALL], cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert command.returncode == 0, command.stderr
    [commanded] = (folder / "outputs/runs/debug").iterdir()
    return Done(result, folder / "python", commanded, before, after)


@pytest.mark.slow
def test_a_run_is_that_of_the_command(done: Done) -> None:
    assert done.result.computed
    assert done.result.folder == done.outputs / "runs/debug" / done.commanded.name
    assert done.result.key == done.commanded.name
    for name in ("stages.json", "planned.json", "questions.json", "compressed.jsonl"):
        assert (done.result.folder / name).read_text() == (done.commanded / name).read_text()
    theirs = json.loads((done.commanded / "metrics.json").read_text())
    assert _without_times(done.result.metrics) == _without_times(theirs)
    own, commanded = (read_status(folder) for folder in (done.result.folder, done.commanded))
    assert own is not None
    assert commanded is not None
    assert [each for each in own.overrides if not each.startswith("paths.")] == commanded.overrides == SMALL


def _without_times(metrics: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if not name.startswith("seconds/") and not name.endswith(("seconds", "core_hours"))}


@pytest.mark.slow
def test_a_run_leaves_the_process_as_it_was(done: Done) -> None:
    assert done.after == done.before


@pytest.mark.slow
def test_a_finished_run_is_read_and_a_sweep_computes_what_is_missing(done: Done, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*SMALL, f"paths.outputs={done.outputs}"]
    again = cotexp.run(*words)
    assert again == Result(done.result.folder, again.metrics if again else {}, computed=False)
    before = [*state(), *warnings.filters]
    results = cotexp.sweep(*words, "trainer.learning_rate=1e-3,2e-3")
    assert [*state(), *warnings.filters] == before
    assert [(each.computed, each.key == done.result.key) for each in results] == [(False, True), (True, False)]
    assert "already finished" in capsys.readouterr().out
    swept, problems = sweeps.sweeps_in(done.outputs)
    assert [[point.overrides[-1] for point in each.points] for each in swept] == [["trainer.learning_rate=0.001", "trainer.learning_rate=0.002"]]
    assert not problems
    metrics = cotexp.read("metrics", "debug", outputs=done.outputs)
    assert set(metrics["trainer.learning_rate"]) == {1e-3, 2e-3}
    own = metrics[metrics["key"] == done.result.key].iloc[0]
    assert own["eval/compress/accuracy"] == done.result.metrics["eval/compress/accuracy"]
    rounds = cotexp.read("rounds", done.result.key, outputs=done.outputs)
    assert rounds.groupby("rationale_id")["kept"].sum().eq(1).all()
    assert rounds[rounds["round"] == 0]["text"].str.len().gt(0).all()
    selections = cotexp.read("selections", done.result.key, outputs=done.outputs)
    assert len(selections) == done.result.metrics["selection/num_questions"] == selections["kept"].sum()
    report = cotexp.write_report("debug", outputs=done.outputs, formats="md,csv")
    assert [path.name for path in report.files] == ["report.md", "report.csv"]
    assert "accuracy_against_tokens" in report.figures
    assert report.figures["accuracy_against_tokens"]._repr_png_().startswith(b"\x89PNG")
    planned = cotexp.plan(*words)
    assert (planned.key, sum(each.num_missing for each in planned.stages)) == (done.result.key, 0)


@pytest.mark.slow
def test_points_that_fail_are_named_after_the_others_have_run(done: Done, capsys: pytest.CaptureFixture[str]) -> None:
    """The second point is given a file of rationales that is not there."""
    words = [*SMALL, f"paths.outputs={done.outputs}", "teacher=self,recorded", "+teacher.files=[none.jsonl]"]
    with pytest.raises((RunFailed, ConfigError)):
        cotexp.sweep(*words)


@pytest.mark.slow
def test_a_point_that_fails_is_named_after_the_others_have_run(done: Done, capsys: pytest.CaptureFixture[str]) -> None:
    """With one token per rationale nothing is left to train on."""
    words = [*SMALL, f"paths.outputs={done.outputs}", "teacher.max_new_tokens=1,512"]
    with pytest.raises(RunFailed, match=r"^1 of 2 points failed: teacher\.max_new_tokens=1 \(the same command again tries these alone\)$"):
        cotexp.sweep(*words)
    printed = capsys.readouterr()
    assert "cotexp: " in printed.err
    assert "already finished" in printed.out
    assert set(cotexp.read("runs", "debug", outputs=done.outputs)["state"]) == {"finished", "failed"}


def statements_of_the_page() -> list[tuple[str, str]]:
    """(what is typed, what is shown then) of docs/python.md."""
    [block] = re.findall(r"^```pycon\n(.*?)^```$", (ROOT / "docs/python.md").read_text(), flags=re.MULTILINE | re.DOTALL)
    typed = re.split(r"^>>> ", block, flags=re.MULTILINE)[1:]
    return [(each.partition("\n")[0], each.partition("\n")[2]) for each in typed]


@pytest.mark.slow
def test_the_page_shows_what_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Numbers and keys may be others; `[...]` and the dots of a traceback stand for anything."""
    monkeypatch.chdir(tmp_path)
    console = code.InteractiveConsole()
    for typed, shown in statements_of_the_page():
        assert not console.push(typed), typed
        printed = "".join(capsys.readouterr())
        pattern = re.escape(_without_numbers(shown)).replace(re.escape("[...]"), ".*").replace(re.escape("  ...\n"), ".*")
        assert re.fullmatch(pattern, _without_numbers(printed), flags=re.DOTALL), f"{typed}\n{printed}"


def _without_numbers(text: str) -> str:
    return re.sub(r"\d\.\d+", "NUMBER", re.sub(r"\b[0-9a-f]{12}\b", "KEY", text))
