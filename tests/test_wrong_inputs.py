"""Every setting and option of a command with every wrong value: one line each, before any work, with nothing written and nothing that hangs."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from cotexp.commands.cli import main
from cotexp.config import command_line
from cotexp.config.slots import ROOT, SECTIONS
from cotexp.jobs import checks, pipeline
from cotexp.settings.base import LARGEST, ConfigError, RunFailed, Section
from cotexp.settings.root import root_problems
from cotexp.settings.server import ApiServer

HUGE = 99_999_999_999_999_999_999


def parts(section: Any, path: str) -> Iterator[tuple[str, Any]]:
    """The settings class at `path` and those of its parts."""
    yield path, section
    for name, hint in get_type_hints(section).items():
        if dataclasses.is_dataclass(hint):
            yield from parts(hint, f"{path}.{name}")


CLASSES = dict(each for slot, schemas in SECTIONS.items() for option, section in schemas.items() for each in parts(section, f"{slot}[{option}]"))


def fields(*kinds: type) -> Iterator[tuple[str, type[Section], str, Any]]:
    """Every setting of these types: where it stands, its class, its name, its rules."""
    for path, section in CLASSES.items():
        hints = get_type_hints(section)
        for each in dataclasses.fields(section):
            held = {hints[each.name], *get_args(hints[each.name])}
            if held & set(kinds) and bool not in held:
                yield f"{path}.{each.name}", section, each.name, each.metadata


NUMBERS = list(fields(int, float))
PATHS = [each for each in fields(str, list[str]) if each[3].get("is_path")]


def refusal(section: type[Section], name: str, value: Any) -> str | None:
    """The line that refuses a value, None where it is taken."""
    is_list = "list" in str(get_type_hints(section)[name])
    try:
        section(**{name: [value] if is_list else value})
    except ConfigError as error:
        return next((each for each in error.problems if each.startswith(f"{name} ")), None)
    return None


def one_line(text: str) -> bool:
    return bool(text) and "\n" not in text and len(text) < 1000


# --- settings ----------------------------------------------------------------------------------------------------------


def test_the_matrix_holds_every_number_and_path() -> None:
    assert len(NUMBERS) > 100
    assert {path.rpartition("].")[2] for path, *_ in PATHS} >= {"file", "test_file", "validation_file", "few_shot_file", "files", "path", "outputs"}


@pytest.mark.parametrize(
    "value", [-1, HUGE, -HUGE, 10**400, math.inf, -math.inf, math.nan, 1e308], ids=lambda each: f"{each:.3g}" if each < 1e300 else ""
)
def test_no_number_is_negative_beyond_all_use_or_none(value: float) -> None:
    found = {path: refusal(section, name, value) for path, section, name, _ in NUMBERS}
    assert [path for path, line in found.items() if line is None or not one_line(line)] == []


def test_nothing_is_taken_as_a_number_that_must_be_above_nothing() -> None:
    for path, section, name, rules in NUMBERS:
        if rules["above"] == 0 or (rules["low"] or 0) > 0:
            assert refusal(section, name, 0) is not None, path


def test_the_largest_value_of_every_number_is_bounded() -> None:
    assert [path for path, _, _, rules in NUMBERS if min(rules["high"] or math.inf, rules["most"]) > max(LARGEST, 2**32)] == []


@pytest.mark.parametrize("value", ["", "  ", "a\0b", "x" * 300, "é" * 200, "x/" * 3000, "\udcff"], ids=range(7))
def test_no_path_is_one_that_no_disk_can_have(value: str) -> None:
    found = {path: refusal(section, name, value) for path, section, name, _ in PATHS}
    assert [path for path, line in found.items() if line is None or not one_line(line)] == []


def numeric_paths(slots: dict[str, str]) -> list[str]:
    chosen = [f"{slot}[{option}]" for slot, option in slots.items()]
    return [path.replace("[", "]").split("]")[0] + path.partition("]")[2] for path, *_ in NUMBERS if path.partition("]")[0] + "]" in chosen]


OPTIONS = {"task": "stories", "model": "hf", "teacher": "self", "compressor": "local", "compression": "macc", "trainer": "single"}
"""Of experiment=none, as far as they are asked here."""


@pytest.mark.parametrize("value", ["-1", str(HUGE), "1" * 5000, "1e400", "many", "null"], ids=lambda each: each[:8])
def test_a_command_line_names_every_wrong_number_in_a_line_of_its_own(value: str) -> None:
    paths = ["seed", *numeric_paths(OPTIONS)]
    assert len(paths) > 30
    with pytest.raises(ConfigError) as caught:
        command_line.check_command_line(["experiment=none", *(f"{path}={value}" for path in paths)], multirun=False)
    lines = caught.value.problems
    silent = [path for path in paths if not any(line.startswith((f"{path} ", f"{path}: the override")) for line in lines)]
    allowed = {"null": {path for path in paths if takes_none(path)}}.get(value, set())
    assert set(silent) <= allowed
    assert [line for line in lines if not one_line(line)] == []


def takes_none(path: str) -> bool:
    slot, _, rest = path.partition(".")
    return any(type(None) in get_args(get_type_hints(s).get(rest.rpartition(".")[2], int)) for p, s in CLASSES.items() if p.startswith(f"{slot}["))


NAMES = [
    "",
    " ",
    "../x",
    "/x",
    "a//b",
    "a/../b",
    ".",
    "..",
    "~",
    "x" * 300,
    "é" * 150,
    "/".join("abcdefghij" * 10 for _ in range(20)),
    "a\nb",
    "a b",
    "-/..",
]


def test_no_name_of_an_experiment_leads_elsewhere() -> None:
    for name in NAMES:
        (problem,) = root_problems(name, 0, "")
        assert problem.startswith("name must be words"), name
        assert one_line(problem)
    with pytest.raises(ConfigError, match=r"^name must be words joined by '/'"):
        command_line.check_command_line(["experiment=none", "name=../x"], multirun=False)
    assert list(root_problems("2026_11_28/a.b-c/é", 0, "")) == []


@pytest.mark.parametrize(
    "word",
    ["task.train=" + "[" * 2000, "tracking.notes=" + "x" * 200_000, "name=" + "(" * 3000],
    ids=lambda each: each[:20],
)
def test_words_that_no_reader_gets_through_are_refused(word: str) -> None:
    with pytest.raises(ConfigError) as caught:
        command_line.check_command_line([word], multirun=False)
    assert [each for each in caught.value.problems if "\n" in each] == []


@pytest.mark.parametrize("deep", ["[" * 100_000, '{"a":' * 100_000, '{"a":' * 5000 + "1" + "}" * 5000])
def test_fields_of_a_request_nested_without_end_are_refused(deep: str) -> None:
    with pytest.raises(ConfigError, match=r"^extra_body must not be nested deeper than 32 levels$"):
        ApiServer(service="s", model="m", base_url="https://a/v1", extra_body=deep)


def test_a_model_from_scratch_of_sizes_that_no_machine_holds_is_refused() -> None:
    scratch = ["experiment=tiny", "model.hidden_size=16384", "model.num_layers=1000", "model.num_heads=8"]
    for words in (scratch, ["experiment=tiny", "model.hidden_size=12", "model.num_heads=4"]):
        with pytest.raises(ConfigError, match=r"^model\.hidden_size"):
            command_line.check_command_line(words, multirun=False)


# --- files -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def places(tmp_path: Path) -> Path:
    """A pipe, a socket, a folder and a link to itself, under names that end as files of questions do; and one file that is right."""
    folder = tmp_path / "places"
    folder.mkdir()
    os.mkfifo(folder / "pipe.jsonl")
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(folder)  # the name of a socket may have 107 bytes
        try:
            listener.bind("socket.jsonl")
        finally:
            os.chdir(here)
    (folder / "folder.jsonl").mkdir()
    (folder / "loop.jsonl").symlink_to("loop.jsonl")
    (folder / "device.jsonl").symlink_to("/dev/zero")
    rows = [{"question": f"What is {n} plus 1?", "answer": n + 1, "solution": f"{n + 1}"} for n in range(20)]
    (folder / "good.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    return folder


FILE_SETTINGS = {
    "task.file": ["task=custom"],
    "task.validation_file": ["task=custom", "task.file=GOOD"],
    "task.test_file": ["task=custom", "task.file=GOOD"],
    "task.few_shot_file": ["task.few_shot=1"],
    "teacher.files": ["teacher=recorded"],
    "teacher.questions_file": ["teacher=recorded", "teacher.files=[GOOD]"],
    "model.path": ["model=gguf"],
}


@pytest.mark.slow
@pytest.mark.parametrize("setting", FILE_SETTINGS)
def test_what_is_no_file_is_refused_and_never_waited_for(setting: str, places: Path, tmp_path: Path) -> None:
    words = [*FILE_SETTINGS[setting], f"{setting}={'[GOOD]' if setting.endswith('files') else 'GOOD'}", f"paths.outputs={tmp_path}/outputs"]
    words = [each.replace("GOOD", f"{places}/good.jsonl") for each in words]
    settings = command_line.check_command_line(["experiment=none", "tracking=none", "task.num_validation=2", *words], multirun=False)[0]
    slot, name = setting.split(".")
    for place in ("nowhere", "pipe", "socket", "folder", "loop", "device"):
        path = f"{places}/{place}.jsonl"
        setattr(getattr(settings, slot), name, [path] if name == "files" else path)
        with pytest.raises((ConfigError, RunFailed)) as caught:
            pipeline.prepare(settings)
        assert str(caught.value).startswith(setting), place
        assert one_line(str(caught.value)), place
    assert not (tmp_path / "outputs" / "runs").exists()


def test_folders_that_cannot_be_used_are_refused(places: Path, tmp_path: Path) -> None:
    words = ["experiment=none", "task=svamp", "tracking=none", "paths.data=GOOD", f"paths.outputs={tmp_path}/outputs"]
    settings = command_line.check_command_line(words, multirun=False)[0]
    for place in ("nowhere", "pipe.jsonl", "good.jsonl", "loop.jsonl"):
        settings.paths.data = str(places / place)
        with pytest.raises(ConfigError, match=r"^paths\.data") as caught:
            pipeline.prepare(settings)
        assert one_line(str(caught.value)), place
    for place in ("pipe.jsonl", "socket.jsonl", "good.jsonl", "good.jsonl/below", "loop.jsonl", "/dev/null", "/proc/nowhere", "/dev/null/x"):
        settings.paths.outputs = str(places / place)
        with pytest.raises((ConfigError, RunFailed), match=r"^paths\.outputs") as caught:
            pipeline.prepare(settings)
        assert one_line(str(caught.value)), place


# --- room for an answer ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "word", ["model.context_length=16", "trainer.max_length=8", "compressor.model.context_length=30", "teacher.model.context_length=16"]
)
def test_a_context_that_no_prompt_leaves_room_in_is_refused_before_any_text(word: str, random_model: Path, tmp_path: Path) -> None:
    setting, _, value = word.partition("=")
    sizes = [
        "task.num_train=20",
        "task.num_validation=2",
        "task.num_test=2",
        f"paths.outputs={tmp_path}",
        "tracking=none",
        f"model.path={random_model}",
    ]
    teacher = ["teacher=local", f"teacher.model.path={random_model}"] if setting.startswith("teacher") else []
    compressor = ["compressor=local", f"compressor.model.path={random_model}"]
    words = ["experiment=none", *sizes, *teacher, *compressor]
    checks.check_room(pipeline.prepare(command_line.check_command_line(words, multirun=False)[0]))
    with pytest.raises(ConfigError) as caught:
        pipeline.run(pipeline.prepare(command_line.check_command_line([*words, word], multirun=False)[0]))
    assert all(each.startswith(f"{setting} must leave room for an answer: the shortest ") for each in caught.value.problems)
    assert all(one_line(each) and f"got {value};" in each for each in caught.value.problems)
    assert not (tmp_path / "runs").exists()


# --- commands ----------------------------------------------------------------------------------------------------------


def commands() -> Iterator[tuple[list[str], str]]:
    """Words of a command that must be refused, and a part of what is said."""
    for option in (["encode", "--questions"], ["questions", "task=stories", "--overlap"], ["search", "n", "--space", "seed=0,1", "--trials"]):
        for value in ("-3", "0", str(HUGE), "1.5", "many", "", "9" * 5000):
            yield [*option, value], f"argument {option[-1]}: must be "
    for option in (["questions", "task=stories", "--examples"], ["search", "n", "--space", "seed=0,1", "--seed"]):
        for value in ("-3", str(HUGE), "1.5", "many"):
            yield [*option, value], f"argument {option[-1]}: must be "
    for value in ("-1", "0", "inf", "nan"):
        yield ["grade", "--task", "gsm8k", "PLACES/good.jsonl", "--timeout", value], "--timeout must be"
    for place in ("", " ", "x" * 300):
        for words in (["runs"], ["report", "x"], ["forecast", "x"], ["clean"], ["grade", "x"], ["compare", "x", "y"], ["export", "x", "y"]):
            yield [*words, "--outputs", place], "argument --outputs: must "
        for words in (["report", "x", "--output"], ["forecast", "x", "--output"], ["grade", "x", "--output"], ["fetch", "multiarith", "--folder"]):
            yield [*words, place], f"argument {words[-1]}: must "
        yield ["export", "x", place], "argument folder: must "
    for place in ("pipe", "socket", "folder", "nowhere", "device"):
        yield ["grade", "--task", "gsm8k", f"PLACES/{place}.jsonl"], "must name a readable file"
    for name in ("../x", "a/../../x", "/x", "a//b", "", "."):
        yield ["report", name], "report: NAME must be"
        yield ["forecast", name], "report: NAME must be"
        yield ["search", name, "--space", "trainer.learning_rate=1e-3,1e-2", "--"], "name must be words"
    yield ["report", *("x" * 60 + str(n) for n in range(9))], "report: the names together must have names of at most"
    yield ["report", "x" * 300], "report: the names together must have names of at most"
    yield ["compare", "x" * 300, "y"], "cannot be used"
    yield ["nothing"], "invalid choice"
    yield [], "are required"
    yield ["encode", "--nothing"], "unrecognized arguments"


COMMANDS = list(commands())


@pytest.mark.slow
def test_no_command_takes_a_wrong_option(places: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    wrong = []
    for words, part in COMMANDS:
        with pytest.raises(SystemExit) as end:
            main([each.replace("PLACES", str(places)) for each in words])
        said = end.value.code if isinstance(end.value.code, str) else capsys.readouterr().err
        if end.value.code in (0, None) or not one_line(said.rstrip("\n")) or part not in said:
            wrong.append((words, said[:300]))
    assert wrong == []
    assert sorted(tmp_path.rglob("*")) == before, "nothing is written"


@pytest.mark.slow
def test_a_report_and_labels_that_cannot_be_written_end_in_a_line(places: Path, tmp_path: Path) -> None:
    from run_folders import write_run

    run = write_run(tmp_path / "outputs", "k0", "10")
    for target in (places / "good.jsonl", places / "good.jsonl" / "below", Path("/proc/nowhere"), places / "loop.jsonl" / "x"):
        for words in (["report", "exp", "--outputs", str(tmp_path / "outputs"), "--output"], ["grade", str(run), "--output"]):
            if words[0] == "grade" and target == places / "good.jsonl":
                continue
            with pytest.raises(SystemExit) as end:
                main([*words, str(target)])
            assert one_line(str(end.value.code)), (words, target)
            assert str(end.value.code).startswith("cotexp: ")


@pytest.mark.parametrize("target", ["good.jsonl/below", "/proc/nowhere/x", "/dev/null", "pipe.jsonl", "x" * 200 + "/" + "y" * 253])
def test_an_export_that_cannot_be_written_is_refused_before_the_model_is_loaded(target: str, places: Path, tmp_path: Path) -> None:
    run = tmp_path / "outputs" / "runs" / "exp" / "k0"
    run.mkdir(parents=True)
    (run / "stages.json").write_text(json.dumps({"checkpoint": {"path": "store/checkpoint/none"}}))
    (run / "settings.json").write_text("{}")
    with pytest.raises(SystemExit) as end:
        main(["export", str(run), str(places / target), "--outputs", str(tmp_path / "outputs")])
    assert one_line(str(end.value.code))
    assert "export: the fine-tuned model" not in str(end.value.code), "the target is looked at first"


def test_root_settings_are_checked_as_those_of_slots_are() -> None:
    assert set(ROOT) == {"name", "seed", "plan", "compress_only", "baseline"}
    for value in (-1, 2**32, HUGE):
        with pytest.raises(ConfigError, match=r"^seed must be at"):
            command_line.check_command_line([f"seed={value}"], multirun=False)
