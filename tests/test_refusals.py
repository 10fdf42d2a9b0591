"""Wrong inputs end the real command with clear lines, no traceback, and no run left behind."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from cotexp.config import command_line
from cotexp.settings.base import ConfigError

ROOT = Path(__file__).resolve().parent.parent
HYDRAS_ADVICE = ("To append to your config use", "To append to your default list use", "HYDRA_FULL_ERROR")


class Outcome(NamedTuple):
    code: int
    text: str
    errors: str


def command(*arguments: str, outputs: Path) -> Outcome:
    done = subprocess.run(
        [sys.executable, "run.py", *arguments, f"paths.outputs={outputs}", "tracking=none"],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def assert_clear(errors: str, fragments: tuple[str, ...] | list[str]) -> None:
    """Only lines of ours, which hold every fragment."""
    assert "Traceback" not in errors, errors
    assert errors.strip(), "refused without a word"
    assert [line for line in errors.splitlines() if not line.startswith("cotexp: ")] == []
    assert [advice for advice in HYDRAS_ADVICE if advice in errors] == []
    assert [fragment for fragment in fragments if fragment not in errors] == [], errors


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, random_model: Path) -> Path:
    """Files of questions and model folders, most of them broken in one way."""
    folder = tmp_path_factory.mktemp("inputs")
    good = [json.dumps({"question": f"What is {n} plus 1?", "answer": n + 1}) for n in range(20)]
    contents = {
        "good": good[:10],
        "test": good[10:],
        "overlap": good[5:15],
        "empty": [],
        "blank": ["", "   "],
        "not_json": [*good[:2], "{question: What?", *good[3:10]],
        "not_object": [*good[:3], "[1, 2]"],
        "no_answer": [good[0], json.dumps({"question": "What is 2 plus 2?", "anwser": 4})],
        "empty_question": [*good[:4], json.dumps({"question": "  ", "answer": 4})],
        "not_number": [good[0], good[1], json.dumps({"question": "Which animal?", "answer": "a cat"})],
        "options": [json.dumps({"question": "Which?", "answer": "B", "options": ["one", "two"]})] * 2 + [good[0]],
        "letters": [json.dumps({"question": "Which?", "answer": "C", "options": ["one", "two"]})],
        "two_numbers": [json.dumps({"question": "Which?", "answer": "3 or 4"})],
    }
    for name, lines in contents.items():
        (folder / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (folder / "cells.csv").write_text("question,answer\nWhat is 1 plus 1?,2\nWhat is 2 plus 2?,4,5\n", encoding="utf-8")
    (folder / "notes.txt").write_text("What?", encoding="utf-8")
    (folder / "broken.parquet").write_bytes(b"PAR1 but nothing else")
    (folder / "aime24").mkdir()
    (folder / "aime24" / "test.jsonl").write_text(json.dumps({"problem": "What is 1 plus 1?", "answer": "002"}), encoding="utf-8")
    (folder / "bytes.jsonl").write_bytes(b'{"question": "\xff\xfe", "answer": 1}\n')
    for name, left_out in {"no_weights": "*.safetensors", "no_tokenizer": "tokenizer.json", "no_config": "config.json"}.items():
        shutil.copytree(random_model, folder / name, ignore=shutil.ignore_patterns(left_out))
    shutil.copytree(random_model, folder / "whole")
    (folder / "no_files").mkdir()
    (folder / "no_files.jsonl").mkdir()
    return folder


def with_files(arguments: list[str], files: Path) -> list[str]:
    return [each.replace("FILES", str(files)) for each in arguments]


def questions(train: str, *more: str, test: str = "test") -> list[str]:
    named = [each if "." in each else f"{each}.jsonl" for each in (train, test)]
    return ["task=custom", f"task.file=FILES/{named[0]}", f"task.test_file=FILES/{named[1]}", "task.num_validation=2", *more]


CHOICE = ["task.answer_type=choice", "task.options_field=options", "task.prompt='{question} {options}'"]


COMMANDS: dict[str, tuple[list[str], list[str]]] = {
    # What is typed wrong.
    "a misspelt key": (["trainer.batch_sise=8"], ["trainer.batch_sise is not a setting (did you mean 'batch_size'?)"]),
    "a misspelt option": (["compression=mac"], ["compression must be one of ", "got 'mac' (did you mean 'macc'?)"]),
    "an unknown task": (["task=gsm9k"], ["task must be one of addsub, ", "got 'gsm9k' (did you mean 'gsm8k'?)"]),
    "a setting that does not exist, with +": (["+trainer.lr=1"], ["trainer.lr is not a setting"]),
    "a setting that exists, with +": (["+seed=1"], ["+seed=1", "seed exists; write seed=1 without '+'"]),
    "a deleted setting": (["~trainer.batch_size"], ["~trainer.batch_size", "cannot be deleted"]),
    "several mistakes": (
        ["seeed=1", "trainer.batch_size=x", "task.num_train=0"],
        ["seeed is", "trainer.batch_size must", "task.num_train must"],
    ),
    "no key=value": (["quickstart"], ["cannot read 'quickstart' as key=value"]),
    "several values without -m": (["seed=0,1"], ["seed=0,1 names several values; add -m"]),
    "a grid without -m": (["sweep=macc/rounds"], ["sweep=macc/rounds names a grid of runs; add -m"]),
    "an unknown grid": (["-m", "sweep=macc/round"], ["sweep must be one of ", "did you mean 'macc/rounds'?"]),
    "one wrong point of a grid": (["-m", "seed=0,-4"], ["seed must be at least 0; got -4"]),
    "a value that refers to nothing": (["seed=${nothing}"], ["seed"]),
    "a setting of Hydra that does not exist": (["hydra.nothing=1"], ["hydra.nothing"]),
    "an option for another place": (["task@elsewhere=stories"], ["task@elsewhere"]),
    # Values that cannot be.
    "a number below its bound": (["trainer.learning_rate=0"], ["trainer.learning_rate must be greater than 0; got 0.0"]),
    "a number without end": (["trainer.max_epochs=inf"], ["trainer.max_epochs"]),
    "a wrong type": (["trainer.batch_size=many"], ["trainer.batch_size must be an integer; got 'many'"]),
    "a prompt without its placeholder": (["task.prompt='Think.'"], ["task.prompt must contain {question}; got 'Think.'"]),
    "a name outside the folder of runs": (["name=../../elsewhere", "plan=true", "model.path=FILES/whole", "compressor=self"], ["name must"]),
    "an unknown task to train on": (["task.train=[stories,gsm9k]"], ["task.train must name tasks: ", "got 'gsm9k' (did you mean 'gsm8k'?)"]),
    "an unknown task to evaluate on": (["evaluation.tasks=[story]"], ["evaluation.tasks must name tasks: ", "got 'story' (did you mean 'stories'?)"]),
    "a task without training questions": (
        ["task=aime24", "task.train=[aime24]", "paths.data=FILES"],
        ["task.train must name tasks with training questions; aime24 has none: add task.train=[ANOTHER_TASK]"],
    ),
    "the settings of all tasks": (["tasks={}"], ["tasks is not a setting (did you mean 'task'?)"]),
    # What cannot stand together.
    "several equal answers": (
        ["evaluation.num_samples=4"],
        ["evaluation.num_samples must be 1 at temperature 0, at which all answers are equal; got 4"],
    ),
    "a form that is not trained": (["compression=none", "evaluation.modes=[compress]"], ["evaluation.modes must not contain 'compress'"]),
    "a stop rule without its number": (["compression.stop=fixed_k"], ["compression.fixed_k must be set when stop=fixed_k; got None"]),
    "several devices without ddp": (
        ["trainer.devices=2"],
        ["trainer.devices and num_nodes must be 1 unless trainer is ddp, fsdp or deepspeed; got devices=2, num_nodes=1"],
    ),
    "a batch that devices cannot share": (
        ["trainer=ddp", "trainer.batch_size=33"],
        ["trainer.batch_size must be a multiple of devices *"],
    ),
    "a model from scratch as teacher": (["model=scratch"], ["teacher must not be 'self' with a model made from scratch"]),
    # Files of questions.
    "a missing file": (questions("nowhere"), ["task.file", "must name a readable file", "nowhere.jsonl"]),
    "an empty file": (questions("good", test="empty"), ["task.test_file must hold at least one question", "empty.jsonl is empty"]),
    "a file that is no JSON": (questions("not_json"), ["task.file", "not_json.jsonl, line 3 is not valid JSON"]),
    "a question without an answer": (questions("no_answer"), ["no_answer.jsonl, line 2", "field 'answer' is missing", "did you mean 'anwser'?"]),
    "an answer that is no number": (questions("not_number"), ["not_number.jsonl, line 3", "field 'answer'", "got 'a cat' (answer type decimal)"]),
    "a benchmark that is nowhere": (["task=svamp", "paths.data=FILES"], ["task=svamp", "paths.data=FOLDER"]),
    "a benchmark without a download": (
        ["task=multiarith", "paths.data=FILES"],
        ["task=multiarith needs multiarith/train.jsonl in a data folder; looked in ", "paths.data=FOLDER", "`cotexp fetch multiarith`"],
    ),
    # Models.
    "no model named": (["model=hf"], ["model.path must be given"]),
    "a model folder that does not exist": (["model=hf", "model.path=FILES/nowhere"], ["model.path", "there is no folder", "nowhere"]),
    "a model folder without weights": (["model=hf", "model.path=FILES/no_weights"], ["model.path", "weights (*.safetensors)", "no_weights"]),
    "a model folder without a tokenizer": (["model=hf", "model.path=FILES/no_tokenizer"], ["model.path", "a tokenizer", "no_tokenizer"]),
    "a shipped model that is not there": (["model.path=shipped:tyni"], ["model.path must name a shipped model", "got 'tyni'"]),
}
"""What is wrong -> (arguments of run.py, parts of the message). FILES stands for the folder of inputs."""


@pytest.mark.slow
@pytest.mark.parametrize("what", COMMANDS)
def test_the_command_refuses(what: str, files: Path, tmp_path: Path) -> None:
    arguments, fragments = COMMANDS[what]
    outcome = command(*with_files(arguments, files), outputs=tmp_path / "outputs")
    assert outcome.code == 1, outcome
    assert_clear(outcome.errors, fragments)
    assert not (tmp_path / "outputs" / "runs").exists()


CHECKS: dict[str, tuple[list[str], list[str]]] = {
    "a misspelt key at the root": (["seeed=1"], ["seeed is not a setting (did you mean 'seed'?)"]),
    "an unknown experiment": (["experiment=macc/quick"], ["experiment must be one of ", "did you mean 'macc/quickstart'?"]),
    "a setting that does not exist, with ++": (["++selection.kk=3"], ["selection.kk is not a setting"]),
    "an option added with +": (["+compression=none"], ["+compression=none", "choose an option by compression=NAME"]),
    "a number above its bound": (["mixture.full_ratio=1.5"], ["mixture.full_ratio must lie in [0, 1]; got 1.5"]),
    "no file of questions named": (["task=custom"], ["task.file must name your questions"]),
    "choices without their field": (
        ["task=custom", "task.file=a", "task.answer_type=choice"],
        ["task.options_field must be given", "task.prompt must contain {options}"],
    ),
    "a custom task that is not the main one": (
        ["evaluation.tasks=[custom]"],
        ["evaluation.tasks: task custom needs a file", "choose it by task=custom"],
    ),
    "a misspelt setting of a part": (["trainer.lora.rang=4"], ["trainer.lora.rang is not a setting (did you mean 'rank'?)"]),
    "a setting of another option": (["compression=truncate", "compression.max_rounds=3"], ["compression.max_rounds is not a setting"]),
    "a setting below a setting": (["seed.more=1"], ["seed.more is not a setting; it has no settings of its own"]),
    "a slot without option": (["compression=null"], ["compression must be one of ", "got null"]),
    "a slot with two options": (["task=[stories,custom]"], ["task must be one of addsub, ", "got \"['stories', 'custom']\""]),
    "a value for a whole part": (["trainer.lora=3"], ["trainer.lora is a group of settings"]),
    "a text for true or false": (["evaluation.latency=perhaps"], ["evaluation.latency must be true or false; got 'perhaps'"]),
    "a fraction for an integer": (["seed=1.5"], ["seed must be an integer; got 1.5"]),
    "nothing for a number": (["trainer.batch_size=null"], ["trainer.batch_size must be an integer; got None"]),
    "a text for a list": (["evaluation.modes=full"], ["evaluation.modes must be a list in brackets or null; got 'full'"]),
    "a mode that does not exist": (
        ["evaluation.modes=[fulll]"],
        ["evaluation.modes must be one of base, truncate, full, compress (did you mean 'full'?)"],
    ),
    "two modes alike": (["evaluation.modes=[full,full]"], ["evaluation.modes must not repeat"]),
    "an open brace in a prompt": (["task.prompt='{question'"], ["task.prompt must double every brace"]),
    "an unknown placeholder": (["compression.prompt='{rationale} {text}'"], ["compression.prompt allows only answer, budget, question, rationale"]),
    "a deleted slot": (["~tracking"], ["~tracking: choose an option by tracking=NAME; available: mlflow, none, wandb"]),
    "a number that is none": (["trainer.learning_rate=nan"], ["trainer.learning_rate must be at most 1; got nan"]),
    "no words for a model that is only told": (["compression=prompt_only"], ["compression.instruction must be given; add compression.instruction="]),
    "a cut without a ratio": (
        ["evaluation.modes=[base,truncate]"],
        ["evaluation.truncate_ratio must be set if evaluation.modes contains 'truncate'"],
    ),
    "a compressor without a model": (["compressor=local"], ["compressor.model.path must be given"]),
    "a stop rule's number without the rule": (
        ["compression.stop=rebound", "compression.patience=2"],
        ["compression.patience is read only when stop=patience"],
    ),
}
"""As above, refused by the check of the command line, which the command prints line by line."""


@pytest.mark.slow
@pytest.mark.parametrize("what", CHECKS)
def test_the_check_of_a_command_line_refuses(what: str) -> None:
    arguments, fragments = CHECKS[what]
    with pytest.raises(ConfigError) as caught:
        command_line.check_command_line(arguments, multirun=False)
    assert_clear("\n".join(f"cotexp: {problem}" for problem in caught.value.problems), fragments)


def test_two_grids_at_once_are_refused_in_words() -> None:
    with pytest.raises(ConfigError) as caught:
        command_line.check_command_line(["sweep=macc/rounds,macc/baselines"], multirun=True)
    assert "ChoiceSweep" not in str(caught.value)
    assert "sweep" in str(caught.value)


FILE_CHECKS: dict[str, tuple[list[str], list[str]]] = {
    "only blank lines": (questions("blank"), ["task.file must hold at least one question", "blank.jsonl is empty"]),
    "a line that is no object": (questions("not_object"), ["not_object.jsonl, line 4 must be a JSON object; got list"]),
    "an empty question": (questions("empty_question"), ["empty_question.jsonl, line 5: field 'question' must not be empty", "task.question_field"]),
    "an answer with two numbers": (questions("two_numbers"), ["two_numbers.jsonl, line 1", "field 'answer'", "got '3 or 4' (answer type decimal)"]),
    "bytes that are no text": (questions("bytes"), ["bytes.jsonl, line 1 is not UTF-8 (byte 0xff)"]),
    "a row with too many cells": (questions("cells.csv"), ["cells.csv, line 3 must have 2 cells as the header; got 3"]),
    "a file of another kind": (questions("notes.txt"), ["task.file", "must end in .jsonl, .json, .csv, .parquet; got 'notes.txt'"]),
    "a Parquet file that is none": (questions("broken.parquet"), ["broken.parquet is not a readable Parquet file"]),
    "a question without options": (questions("options", *CHOICE), ["options.jsonl, line 3", "field 'options' is missing", "task.options_field"]),
    "an answer that is no option": (questions("letters", *CHOICE), ["letters.jsonl, line 1", "field 'answer'", "got 'C' (answer type choice)"]),
    "a yes or no that is none": (questions("good", "task.answer_type=boolean"), ["good.jsonl, line 1", "field 'answer'", "(answer type boolean)"]),
    "a field that no line has": (
        questions("good", "task.answer_field=gold"),
        ["line 1: field 'gold' is missing", "fields here: question, answer"],
    ),
    "a folder in place of a file": (
        questions("good", "task.file=FILES/no_files.jsonl"),
        ["task.file", "must name a readable file", "Is a directory"],
    ),
    "a validation file that is not there": (questions("good", "task.validation_file=FILES/no.jsonl"), ["task.validation_file", "readable file"]),
    "no question left to train on": (
        ["task=custom", "task.file=FILES/good.jsonl", "task.num_test=10"],
        ["task.num_test must leave test and training"],
    ),
    "fewer worked examples than asked for": (questions("good", "task.few_shot=1"), ["task.few_shot must be at most 0", "task.few_shot_file=FILE"]),
    "fewer questions than are held back": (questions("good", "task.num_validation=10"), ["task.num_validation must leave training questions"]),
}


@pytest.mark.parametrize("what", FILE_CHECKS)
def test_a_file_of_questions_is_refused(what: str, files: Path) -> None:
    from cotexp.tasks import load_questions

    arguments, fragments = FILE_CHECKS[what]
    settings = command_line.check_command_line(with_files(arguments, files), multirun=False)[0]
    with pytest.raises(ConfigError) as caught:
        load_questions(settings.task)
    assert_clear(f"cotexp: {caught.value}", fragments)


@pytest.mark.parametrize(("name", "missing"), [("no_config", "config.json"), ("no_files", "config.json")])
def test_a_folder_that_holds_no_model_is_refused(name: str, missing: str, files: Path) -> None:
    from cotexp.models import identity
    from cotexp.settings.models import PretrainedModel

    with pytest.raises(ConfigError) as caught:
        identity.find(PretrainedModel(path=str(files / name)))
    assert_clear(f"cotexp: {caught.value}", ["model.path", missing, name])


@pytest.mark.slow
def test_more_questions_than_there_are_stories_are_refused() -> None:
    from cotexp.tasks import load_questions

    narrow = ["task.min_operations=1", "task.max_operations=1", "task.max_value=10", "task.max_operand=2", "task.num_train=100000"]
    settings = command_line.check_command_line(narrow, multirun=False)[0]
    with pytest.raises(ConfigError) as caught:
        load_questions(settings.task)
    assert_clear(f"cotexp: {caught.value}", ["task."])


# --- folders and other processes ---------------------------------------------------------------------------------------


Mounted = Callable[[Path, str], contextlib.AbstractContextManager[None]]


def small_run(model: Path) -> list[str]:
    return [f"model.path={model}", "compressor=self", "task.num_train=8", "task.num_validation=2", "task.num_test=2"]


@pytest.mark.slow
@pytest.mark.parametrize("place", ["file", "file/below"])
def test_outputs_that_are_no_folder_are_refused(place: str, random_model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    outcome = command(*small_run(random_model), outputs=tmp_path / place)
    assert outcome.code == 1, outcome
    assert_clear(outcome.errors, ["paths.outputs: cannot write to", str(tmp_path / place), "choose another folder with paths.outputs=DIR"])
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.slow
def test_outputs_that_are_read_only_are_refused(random_model: Path, tmp_path: Path, mounted: Mounted) -> None:
    folder = tmp_path / "locked"
    folder.mkdir()
    with mounted(folder, "ro") if os.geteuid() == 0 else mode_of(folder, 0o500):
        outcome = command(*small_run(random_model), outputs=folder / "outputs")
        assert outcome.code == 1, outcome
        assert_clear(outcome.errors, ["paths.outputs: cannot write to", str(folder)])
        assert list(folder.iterdir()) == []


@pytest.mark.slow
def test_a_full_disk_is_refused_before_any_work_and_left_clean(random_model: Path, tmp_path: Path, mounted: Mounted) -> None:
    folder = tmp_path / "full"
    folder.mkdir()
    with mounted(folder, "size=16k"):
        outcome = command(*small_run(random_model), outputs=folder)
        assert outcome.code == 1, outcome
        assert_clear(outcome.errors, ["paths.outputs: cannot write to", "No space left on device", "free some space"])
        assert [path for path in folder.rglob("*") if path.is_file()] == []


@contextlib.contextmanager
def mode_of(folder: Path, mode: int) -> Iterator[None]:
    folder.chmod(mode)
    try:
        yield
    finally:
        folder.chmod(0o700)


def test_an_overlay_can_be_switched_off_or_is_refused_in_words(random_model: Path, tmp_path: Path) -> None:
    outcome = command("experiment=null", "plan=true", *small_run(random_model), outputs=tmp_path / "outputs")
    assert outcome.code == 0 or [line for line in outcome.errors.splitlines() if not line.startswith("cotexp: ")] == []


@pytest.mark.slow
def test_a_refused_run_leaves_no_file_behind(tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    assert command("model.path=shipped:tyni", outputs=outputs).code == 1
    assert [str(path) for path in outputs.rglob("*") if path.is_file()] == []
