"""Texts arrive as they are typed: on the command line, in files, in sweeps and searches; numbers and truth values stay what they are."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from cotexp.commands import declared_reports
from cotexp.commands.search_space import read_space
from cotexp.config import command_line, grids, search_path, spelling
from cotexp.config.slots import SECTIONS, text_settings
from cotexp.settings.base import ConfigError, quoted
from cotexp.settings.root import CONFIG_DIR, Settings, outputs_words

ROOT = Path(__file__).resolve().parent.parent.parent
TYPED = [
    *("2026_11_28", "2026-11-28", "1_0", "10", "1.10", "1.", ".5", "1e5", "1E-3", "1234e567", "0x10", "0o7", "007", "00", "-0", "+5", "-1"),
    *("true", "True", "FALSE", "yes", "No", "on", "off", "y", "inf", "-inf", "nan", "NaN", ".inf", "12:30", "1:2:3", "1_000.5", "9" * 5000),
]
"""Words that Hydra's grammar or YAML takes for something else than text, and some that look so."""


def check(*words: str) -> Settings:
    return command_line.check_command_line(["experiment=none", *words], multirun=False)[0]


# --- the command line --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", TYPED, ids=lambda each: each[:12])
def test_a_text_is_read_as_it_is_typed(text: str) -> None:
    word = f"tracking.notes={text}"
    (read,) = OverridesParser.create().parse_overrides(spelling.as_typed([word]))
    assert read.value() == text
    assert spelling.as_typed(spelling.as_typed([word])) == spelling.as_typed([word]), "reading twice changes nothing"


def test_texts_of_all_kinds_of_settings_arrive_as_typed() -> None:
    custom = ["task=custom", "task.file=1_0", "task.question_field=1_0", "task.answer_field=1e5", "task.solution_field=007", "task.name=1_0"]
    own = check(*custom, "name=2026_11_28/1.10", "model=hf", "model.path=1_0", "model.revision=1234e567", "model.stop_tokens=[1_0,true,0x10,'2']")
    assert (own.task.file, own.task.question_field, own.task.answer_field, own.task.solution_field) == ("1_0", "1_0", "1e5", "007")
    assert (own.name, own.task.name, own.model.path, own.model.revision) == ("2026_11_28/1.10", "1_0", "1_0", "1234e567")
    assert own.model.stop_tokens == ["1_0", "true", "0x10", "2"]


JSON = [
    '{"enable_thinking": false}',
    "{}",
    '{"a": 1, "b": [null, 1.10, 2e5], "c": {"d": "it\'s"}}',
    '{"a": "\\\\boxed{}", "b": "say \\"x\\", {NAME}"}',
    ' {"a": "1_0 = 2, ü"} ',
]


@pytest.mark.parametrize("text", JSON)
def test_a_json_object_needs_no_second_quotes(text: str) -> None:
    words = ["compressor=api", "compressor.server.service=s", "compressor.server.model=m", "compressor.server.base_url=http://a/v1"]
    own = check(*words, f"compressor.server.extra_body={text}", f"model.chat_template_kwargs={text}", f"model.system_prompt={text}")
    assert json.loads(own.compressor.server.extra_body) == json.loads(own.model.chat_template_kwargs) == json.loads(text)
    assert own.model.system_prompt == text
    assert spelling.as_typed(spelling.as_typed([f"model.system_prompt={text}"])) == spelling.as_typed([f"model.system_prompt={text}"])


def test_several_objects_and_what_is_none_are_read_as_before() -> None:
    for word in ("model.system_prompt={a", 'model.system_prompt={"a": 1},{"a": 2}', 'model.chat_template_kwargs={"a" 1}'):
        assert spelling.as_typed([word]) == [word]
    assert spelling.as_typed(['trainer.lora={"rank": 4}']) == ['trainer.lora={"rank": 4}'], "no text"


def test_quotes_null_and_nothing_mean_what_they_did() -> None:
    own = check("tracking.notes='1_0'", 'tracking.job_type="1.10"', "tracking.entity=null", "model.system_prompt=", "tracking.tags=[]")
    assert (own.tracking.notes, own.tracking.job_type, own.tracking.entity, own.model.system_prompt, own.tracking.tags) == (
        "1_0",
        "1.10",
        None,
        "",
        [],
    )
    assert check("model.system_prompt='null'").model.system_prompt == "null"
    assert check("tracking.notes= 1_0 ").tracking.notes == "1_0", "white space around a word is no part of it"


def test_numbers_and_truth_values_keep_their_types() -> None:
    own = check("trainer.batch_size=1_0", "trainer.learning_rate=1e-3", "plan=yes", "evaluation.latency=off", "trainer.max_epochs=2")
    assert (own.trainer.batch_size, own.trainer.learning_rate, own.plan, own.evaluation.latency) == (10, 0.001, True, False)
    with pytest.raises(ConfigError, match=r"trainer\.batch_size must be an integer; got 'ten'"):
        check("trainer.batch_size=ten")
    with pytest.raises(ConfigError, match="name must be a text; got None"):
        check("name=null")


@pytest.mark.parametrize(
    ("word", "names"),
    [
        ("name=1_0,1_1,10", ["1_0", "1_1", "10"]),
        ("name=choice(1_0,true)", ["1_0", "true"]),
        ("name=range(1,4)", ["1", "2", "3"]),
        ("name='1.10',\"1.1\"", ["1.10", "1.1"]),
        ("name= 1_0 , 007", ["1_0", "007"]),
    ],
)
def test_every_value_of_a_sweep_arrives_as_typed(word: str, names: list[str]) -> None:
    assert [each.name for each in command_line.check_command_line(["experiment=none", word], multirun=True)] == names


def test_options_are_named_as_typed() -> None:
    with pytest.raises(ConfigError, match=r"experiment must be one of .*; got '2026_11_28'"):
        command_line.check_command_line(["experiment=2026_11_28"], multirun=False)


def test_every_choice_of_a_search_is_a_word() -> None:
    (dimension,) = read_space(["task.question_field=1_0,10,'a,b',[x,y]"])
    assert dimension.choices == ("1_0", "10", "'a,b'", "[x,y]")


@pytest.mark.slow
def test_hydra_itself_gets_the_same_texts(tmp_path: Path) -> None:
    """Its own composition, which a run and every launcher reads, and the points that its sweeper makes."""
    words = ["experiment=none", "name=1_0,2026_11_28", "tracking=none", "plan=true", "task.num_train=8", f"paths.outputs={tmp_path}"]
    done = subprocess.run([sys.executable, "run.py", "-m", *words], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "\n1_0, run " in f"\n{done.stdout}"
    assert "\n2026_11_28, run " in done.stdout


@pytest.mark.parametrize("folder", ["o (1), new", "a=b", "#1", "~/x", "it's", "${b}", "[1]", "é", "2026/out", "a b/c", "${oc.env:HOME}", "plain/x-1"])
def test_a_folder_of_outputs_is_named_so_that_the_command_can_be_typed(folder: str) -> None:
    [word] = outputs_words(Path(folder))
    assert check(word).paths.outputs == folder
    assert outputs_words(Path("outputs")) == []
    assert outputs_words(Path("/data/plain")) == ["paths.outputs=/data/plain"]


# --- files -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", TYPED, ids=lambda each: each[:12])
def test_a_text_in_a_file_is_read_as_it_is_typed(text: str) -> None:
    content = f"notes: {text}\ntags: [{text}, '{text}']\nfinish_seconds: 1_0\nentity: ~\n"
    read = spelling.read_yaml(content, "tracking", spelling.is_text)
    assert read == {"notes": text, "tags": [text, text], "finish_seconds": 10, "entity": None}


def test_files_of_experiments_slots_and_sweeps_keep_the_spelling_of_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = {
        "experiment/mine": "# @package _global_\nname: 2026_11_28\n"
        "task: {few_shot_file: 1.10, num_train: 1_0, few_shot: 1}\ntrainer:\n  max_epochs: 2\n",
        "tracking/mine": "defaults:\n  - /schema/tracking@_here_: wandb\n  - _self_\n\nnotes: 12:30\ntags: [yes, 1e5]\nproject: 007\n",
        "sweep/mine": "# @package _global_\nhydra:\n  sweeper:\n    params:\n      baseline: base\n      tracking.entity: 1_0\n      seed: 0,1\n",
    }
    conf = tmp_path / "conf"
    for source in (ROOT / "conf").rglob("*.yaml"):
        target = conf / source.relative_to(ROOT / "conf")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(source.read_text())
    for name, content in contents.items():
        (conf / f"{name}.yaml").write_text(content)
    monkeypatch.setattr(search_path, "CONF", conf)
    monkeypatch.setattr(command_line, "CONF", conf)
    first, second = command_line.check_command_line(["sweep=mine", "experiment=mine", "tracking=mine"], multirun=True)
    assert (first.name, first.task.few_shot_file, first.task.num_train, first.task.few_shot) == ("2026_11_28", "1.10", 10, 1)
    assert (first.tracking.notes, first.tracking.tags, first.tracking.project) == ("12:30", ["yes", "1e5"], "007")
    assert (first.tracking.entity, first.seed, second.seed) == ("1_0", 0, 1)


def test_a_point_of_a_sweep_alone_has_the_same_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "mine.yaml").write_text("# @package _global_\nname: 1_0\ntracking:\n  tags: [1.10, 'a, b']\n  notes: \"it's = [x]\"\n")
    monkeypatch.setenv(CONFIG_DIR, str(tmp_path))
    own = check(*grids.expand_sweep(["sweep=mine"]))
    assert (own.name, own.tracking.tags, own.tracking.notes) == ("1_0", ["1.10", "a, b"], "it's = [x]")


SWEEPS = sorted(str(path.relative_to(ROOT / "conf" / "sweep").with_suffix("")) for path in (ROOT / "conf" / "sweep").rglob("*.yaml"))
NEEDED = {
    "macc/arithmetic": ["experiment=macc/arithmetic", "model.path=TARGET", "compressor.model.path=COMPRESSOR"],
    "morsd/difficulty": ["experiment=morsd/weak_teacher"],
    "morsd/filters": ["experiment=morsd/weak_teacher"],
}
"""Sweep -> what it is used with."""


def same_point(*words: str) -> None:
    """Checks that the words that a point of a grid is known by make the same settings."""
    point = command_line.points_of(list(words), multirun=True)[-1]
    known_by = list(grids.expand_sweep(point.overrides))
    assert not any(each.startswith(("sweep=", "+")) for each in known_by)
    assert dataclasses.asdict(command_line.only_point(known_by).settings) == dataclasses.asdict(point.settings)


@pytest.mark.parametrize("name", SWEEPS)
def test_the_words_of_a_point_make_the_point_whatever_else_sets_what_its_sweep_sets(name: str) -> None:
    same_point("task.num_train=40", *NEEDED.get(name, []), "debug=fast", f"sweep={name}")


@pytest.mark.parametrize("given", ["evaluation.latency=true", "++task.num_train=40", "name=mine", "debug=fast"])
def test_the_order_of_words_and_sweep_does_not_matter(given: str) -> None:
    same_point("sweep=macc/stop_rules", given)
    same_point(given, "sweep=macc/stop_rules")


def test_a_declared_report_keeps_the_spelling_of_its_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "mine.yaml").write_text(
        "title: 2026_11_28\ntables:\n  - runs: [1_0, yes]\n    seeds: [1_0]\n    labels: {seed: 1.10}\nfootnotes: [12:30]\n"
    )
    monkeypatch.setenv(CONFIG_DIR, str(tmp_path))
    report = declared_reports.report_named("mine")
    assert (report.title, report.footnotes) == ("2026_11_28", ["12:30"])
    assert (report.tables[0].runs, report.tables[0].seeds, report.tables[0].labels) == (["1_0", "yes"], [10], {"seed": "1.10"})


# --- what is a text ----------------------------------------------------------------------------------------------------


def test_a_path_is_a_text_in_every_option_of_its_slot_or_in_none() -> None:
    hints: dict[str, set[bool]] = {}
    for slot, schemas in SECTIONS.items():
        for section in schemas.values():
            for name in (each.name for each in dataclasses.fields(section)):
                hints.setdefault(f"{slot}.{name}", set()).add(f"{slot}.{name}" in {f"{slot}.{each}" for each in _texts(section)})
    assert {path for path, kinds in hints.items() if len(kinds) > 1} == set()
    assert {path for path, kinds in hints.items() if kinds == {True}} <= text_settings()


def _texts(section: type) -> set[str]:
    from typing import get_type_hints

    return {name for name, hint in get_type_hints(section).items() if "str" in str(hint)}


@pytest.mark.parametrize(
    "text",
    ["", "plain/words_and-more.x", "a b", "it's", 'say "x"', "a,b", "[x]", "{y}", "a=b", "back\\", "back\\'", "\\\\", "1_0", "null", "true", "ü"],
)
def test_a_quoted_text_is_read_back(text: str) -> None:
    assert check(f"tracking.notes={quoted(text)}").tracking.notes == text
