"""Every YAML file is composed, checked and planned; files, schemas and settings classes are one to one."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir

from cotexp.commands import declared_reports
from cotexp.compressors.generating import LocalCompressor
from cotexp.config import command_line, schema, slots
from cotexp.jobs import pipeline, planning
from cotexp.settings.base import ConfigError, keyed
from cotexp.settings.models import GgufModel, ScratchModel
from cotexp.settings.root import Settings
from cotexp.store.specs import key_of
from cotexp.tasks import GsmSymbolicTask, StoriesTask
from cotexp.tasks.benchmarks import BENCHMARKS
from cotexp.teachers.generating import LocalTeacher
from cotexp.teachers.reference import ReferenceTeacher

ROOT = Path(__file__).resolve().parent.parent
CONF = ROOT / "conf"
FILES = sorted(path for path in CONF.rglob("*") if path.is_file() and path.relative_to(CONF).parts[0] not in ("report", "hydra"))
"""All but declared reports, which no run reads (tests/commands/test_declared_reports.py), and launchers (tests/test_launchers.py)."""
OPTION_FILES = [path for path in FILES if path.relative_to(CONF).parts[0] in schema.SECTIONS]

NEEDS: dict[str, list[str]] = {
    "model=hf": ["model.path=FILES/model"],
    "model=gguf": ["model.path=FILES/model.gguf"],
    "teacher=local": ["teacher.model.path=FILES/model"],
    "teacher=api": ["teacher.server.service=local", "teacher.server.model=m", "teacher.server.base_url=http://localhost:8000/v1"],
    "compressor=api": ["compressor.server.service=local", "compressor.server.model=m", "compressor.server.base_url=http://localhost:8000/v1"],
    "teacher=recorded": ["teacher.files=[FILES/rationales.jsonl]", "experiment=none", "task=svamp"],
    "teacher=faithful_cot": ["experiment=none", "task=svamp"],
    "sweep=morsd/arms": ["experiment=morsd/arithmetic"],
    "sweep=morsd/full_size": ["experiment=morsd/arithmetic"],
    "sweep=morsd/filters": ["experiment=morsd/weak_teacher"],
    "sweep=morsd/difficulty": ["experiment=morsd/weak_teacher"],
    "sweep=morsd/students": ["experiment=morsd/gsm8k"],
    "sweep=morsd/selections": ["experiment=morsd/gsm8k"],
    "model=scratch": ["experiment=tiny"],
    "teacher=reference": ["experiment=tiny"],
    "compression=reference": ["experiment=tiny"],
    "compression=prompt_only": ["compression.instruction=Hurry."],
    "compression=pairs": ["teacher=recorded", "teacher.files=[FILES/rationales.jsonl]", "experiment=none", "task=svamp"],
    "experiment=macc/compressor": ["teacher.files=[FILES/rationales.jsonl]", "task=svamp"],
    "experiment=macc/arithmetic": ["compressor.model.path=FILES/model"],
    "sweep=macc/arithmetic": ["experiment=macc/arithmetic", "compressor.model.path=FILES/model"],
    "compressor=local": ["compressor.model.path=FILES/model"],
    "compressor=recorded": ["compressor.files=[FILES/rationales.jsonl]", "task=svamp"],
    "task=custom": ["task.file=FILES/train.jsonl", "task.test_file=FILES/test.jsonl"],
}
"""What must stand beside an option that does not go with the default run alone."""


LETTERED = [f"{letter}){number}" for number, letter in enumerate("ABCDE")]
CHOICES = [{"label": letter, "text": f"thing {letter}"} for letter in "ABCDE"]
ROWS: dict[str, Callable[[int], dict[str, Any]]] = {
    "gsm8k": lambda n: {"question": f"What is {n} plus 1?", "answer": f"{n} + 1 = <<{n}+1={n + 1}>>{n + 1}.\n#### {n + 1}"},
    "math500": lambda n: {"problem": f"Halve ${n}$.", "solution": f"It is $\\boxed{{\\frac{{{n}}}{{2}}}}$."},
    "aime24": lambda n: {"problem": f"Find ${n}$.", "answer": f"{n:03}"},
    "svamp": lambda n: {"Body": f"Ann has {n} apples", "Question": "How many apples has she?", "Answer": float(n)},
    "multiarith": lambda n: {"sQuestion": f" Ann has {n} apples. How many? ", "lSolutions": [float(n)]},
    "addsub": lambda n: {"sQuestion": f"Ben has {n} apples . How many ? ", "lSolutions": [str(n)]},
    "singleeq": lambda n: {"sQuestion": f"Cid has {n} apples. How many ?", "lSolutions": [float(n)]},
    "aqua": lambda n: {"question": f"Which of {n} is it?", "options": LETTERED, "rationale": "It is the second.", "correct": "B"},
    "commonsense_qa": lambda n: {"question": {"stem": f"Where do {n} birds sit?", "choices": CHOICES}, "answerKey": "C"},
    "strategyqa": lambda n: {"input": f"Is {n} a number?", "target_scores": {"Yes": 1, "No": 0}, "target": "Yes. It is a number."},
    "date_understanding": lambda n: {"input": f"It is day {n}. Which is the next?", "target_scores": {f"{n + 1}": 1, f"{n}": 0, f"{n + 2}": 0}},
    "tracking_shuffled_objects": lambda n: {"input": f"After {n} swaps Alice has the ", "target_scores": {"red ball.": 1, "blue ball.": 0}},
    "arc_challenge": lambda n: {"question": {"stem": f"Which of {n} is a rock?", "choices": CHOICES[:4]}, "answerKey": "D"},
}
"""Benchmark -> its row number n, in the form of its source."""


def name_of(path: Path) -> str:
    return str(path.relative_to(CONF).with_suffix(""))


def overrides_of(path: Path, files: Path) -> list[str]:
    """The command line that chooses this file."""
    relative = path.relative_to(CONF).with_suffix("")
    if relative == Path("config"):
        return []
    group, option = relative.parts[0], "/".join(relative.parts[1:])
    chosen = f"{group}={option}"
    return [chosen, *(each.replace("FILES", str(files)) for each in NEEDS.get(chosen, []))]


def is_sweep(path: Path) -> bool:
    return path.relative_to(CONF).parts[0] == "sweep"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two files of questions for task=custom, and a data folder with a few rows of every benchmark."""
    folder = tmp_path_factory.mktemp("questions")
    for name, row in ROWS.items():
        for number, split in enumerate(BENCHMARKS[name].splits.values()):
            path = folder / "data" / split.files[0]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(json.dumps(row(n)) + "\n" for n in range(100 * number, 100 * number + 8)), encoding="utf-8")
    for task in ("svamp", "multiarith"):
        own = folder / "data" / "teacher_rationales" / "faithful_cot" / f"{task}_train"
        own.mkdir(parents=True)
        texts = {"svamp": "Ann has {n} apples. How many apples has she?", "multiarith": "Ann has {n} apples. How many?"}
        rows = [(n, texts[task].format(n=n), f"She has {n}. The answer is {n}.") for n in range(8)]
        (own / "questions.jsonl").write_text("".join(json.dumps({"id": n, "question": question}) + "\n" for n, question, _ in rows))
        (own / "gpt4.jsonl").write_text("".join(json.dumps({"id": n, "completion": text}) + "\n" for n, _, text in rows))
        if task == "svamp":
            lines = [json.dumps({"question": question, "text": text}) for _, question, text in rows]
            (folder / "rationales.jsonl").write_text("\n".join(lines))
    (folder / "model.gguf").write_bytes(b"GGUF")
    for name, first in (("train", 0), ("test", 100)):
        lines = [f'{{"question": "What is {n} plus 1?", "answer": {n + 1}}}' for n in range(first, first + 8)]
        (folder / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder


def test_every_file_under_conf_is_checked_and_belongs_to_a_known_group() -> None:
    checked = {path for path in CONF.glob("**/*.yaml") if name_of(path) == "config" or path.relative_to(CONF).parts[0] in known_groups()}
    reports = {f"report/{each}" for each in declared_reports.report_names()} | {
        f"report/published/{each}" for each in declared_reports.published_names()
    }
    assert {name_of(path) for path in (CONF / "report").rglob("*") if path.is_file()} == reports
    assert len(FILES) == len(checked) > 38
    assert {name_of(each) for each in FILES} == {name_of(each) for each in checked}


def known_groups() -> set[str]:
    return {*schema.SECTIONS, *slots.OVERLAYS}


@pytest.mark.slow
@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_file_can_be_composed_checked_and_planned(path: Path, files: Path, random_model: Path, tmp_path: Path) -> None:
    points = command_line.check_command_line(overrides_of(path, files), multirun=is_sweep(path))
    assert len(points) > 1 if is_sweep(path) else len(points) == 1
    assert len({key_of({**keyed(each), "path": each.model.path}) for each in points}) == len(points), "a grid that names one point twice"
    for point in points:
        if isinstance(point.task, GsmSymbolicTask):
            pytest.importorskip("reasoning_gym", reason="its questions come from reasoning-gym, the extra `symbolic`, which is not installed")
        stages = planning.plan(pipeline.make_context(made_small(point, files, random_model, tmp_path / "outputs"), plan=True))
        names = [each.name for each in stages]
        assert ("checkpoint" in names) == point.trains
        answers = [f"{mode}/{task}" for mode in point.evaluation.modes for task in point.evaluation.tasks]
        assert [name for name in names if name.startswith("predictions/")] == [f"predictions/{each}" for each in answers]
        assert [name for name in names if name.startswith("rationales/")] == names_of_rationales(point)
        assert [name for name in names if name.startswith("grades/")] == [f"grades/{each}" for each in (*names_of_rationales(point), *answers)]
        assert all(each.num_missing == each.num_wanted for each in stages if each.num_missing is not None), "a fresh store holds nothing"
    assert list(tmp_path.iterdir()) == [], "a plan writes nothing"


def names_of_rationales(settings: Settings) -> list[str]:
    return [f"rationales/{task}" for task in settings.task.train] if settings.trains else []


def made_small(settings: Settings, files: Path, random_model: Path, outputs: Path) -> Settings:
    """The same settings over a model and questions that are here, with few questions."""
    settings.paths.outputs, settings.paths.data = str(outputs), str(files / "data")
    if isinstance(settings.model, GgufModel):
        settings.model.path = str(files / "model.gguf")
    elif not isinstance(settings.model, ScratchModel):
        settings.model.path = str(random_model)
    if isinstance(settings.teacher, LocalTeacher):
        settings.teacher.model.path = str(random_model)
    if isinstance(settings.compressor, LocalCompressor):
        settings.compressor.model.path = str(random_model)
    for task in settings.tasks.values():
        task.num_validation = 2
        if isinstance(task, StoriesTask | GsmSymbolicTask):
            task.num_train, task.num_test = 8, 4
    return settings


def test_every_benchmark_has_a_file_and_is_planned_over_rows_of_its_own() -> None:
    files = {path.stem for path in (CONF / "task").glob("*.yaml")}
    assert files - set(BENCHMARKS) == {"stories", "gsm_symbolic", "custom"}
    assert set(ROWS) == set(BENCHMARKS)


def test_without_its_extra_the_procedural_benchmark_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    settings = command_line.check_command_line(["task=gsm_symbolic"], multirun=False)[0]
    with pytest.raises(ConfigError, match=r"task=gsm_symbolic needs the package reasoning-gym .*pip install 'cotexp\[symbolic\]'"):
        pipeline.make_context(settings, plan=True)


@pytest.mark.slow
@pytest.mark.parametrize("path", [each for each in FILES if not is_sweep(each)], ids=name_of)
def test_our_check_and_hydra_come_to_the_same_settings(path: Path, files: Path) -> None:
    overrides = overrides_of(path, files)
    schema.register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        by_hydra = schema.load(compose("config", overrides=overrides))
    assert [by_hydra] == command_line.check_command_line(overrides, multirun=False)


def test_worked_solutions_can_teach_the_default_method() -> None:
    settings = command_line.check_command_line(["teacher=reference"], multirun=False)[0]
    assert (settings.teacher.name, settings.compression.name) == ("reference", "macc")


WITHOUT_SOLUTIONS = {"svamp", "multiarith", "commonsense_qa", "date_understanding", "tracking_shuffled_objects"}


@pytest.mark.slow
@pytest.mark.parametrize("path", [each for each in FILES if each.relative_to(CONF).parts[0] == "experiment"], ids=name_of)
def test_worked_solutions_take_the_place_of_every_experiments_teacher_or_one_line_says_why_not(
    path: Path, files: Path, random_model: Path, tmp_path: Path
) -> None:
    words = [each for each in overrides_of(path, files) if not each.startswith("teacher.")]
    if name_of(path) in ("experiment/macc/compressor", "experiment/macc/arithmetic_compressor"):
        with pytest.raises(
            ConfigError, match=r"^teacher must give several rationales per question with compression=pairs; got 'reference', which gives one$"
        ):
            command_line.check_command_line([*words, "teacher=reference"], multirun=False)
        return
    if name_of(path) == "experiment/morsd/weak_teacher":
        with pytest.raises(ConfigError, match=r"^selection\.k must be at most 1, the rationales that teacher=reference gives per question"):
            command_line.check_command_line([*words, "teacher=reference"], multirun=False)
        words.append("selection.k=1")
    [settings] = command_line.check_command_line([*words, "teacher=reference"], multirun=False)
    assert settings.teacher == ReferenceTeacher()
    made = made_small(settings, files, random_model, tmp_path / "outputs")
    if lacking := sorted(WITHOUT_SOLUTIONS & set(settings.task.train)):
        with pytest.raises(
            ConfigError, match=f"^teacher=reference needs a worked solution .*; {', '.join(lacking)} has questions without one; choose other"
        ):
            pipeline.make_context(made, plan=True)
        return
    assert planning.plan(pipeline.make_context(made, plan=True))


def test_each_option_file_names_one_schema_of_its_own_slot_and_lets_itself_win() -> None:
    for path in OPTION_FILES:
        slot = path.relative_to(CONF).parts[0]
        named, last, *others = defaults_of(path)
        assert last == "_self_", name_of(path)
        assert all(name.startswith("override /") for each in others for name in each), f"{name_of(path)}: at most another slot's choice follows"
        assert list(named) == [f"/schema/{slot}@_here_"], name_of(path)


def test_settings_classes_and_the_schemas_that_files_name_are_one_to_one() -> None:
    named = {(path.relative_to(CONF).parts[0], next(iter(defaults_of(path)[0].values()))) for path in OPTION_FILES}
    registered = {(slot, name) for slot, schemas in schema.SECTIONS.items() for name in schemas}
    assert named == registered, "a schema may stand behind several files, as that of the benchmarks does"
    classes = [section for schemas in schema.SECTIONS.values() for section in schemas.values()]
    assert len(classes) == len(set(classes)), "one class stands for one schema"


def defaults_of(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))["defaults"]


def test_each_slot_of_the_root_has_schemas_and_a_default_option() -> None:
    defaults = defaults_of(CONF / "config.yaml")
    chosen = {slot: option for each in defaults if isinstance(each, dict) for slot, option in each.items()}
    assert {slot for slot in chosen if slot not in slots.OVERLAYS} == set(schema.SECTIONS)
    assert defaults.index("_self_") < min(defaults.index(each) for each in defaults if isinstance(each, dict))
    assert [next(iter(each)) for each in defaults[-3:]] == ["experiment", "sweep", "debug"], "overlays come last, debug at the very end"


@pytest.mark.parametrize("group", slots.OVERLAYS)
def test_overlays_lie_over_the_whole_config(group: str) -> None:
    found = [path for path in FILES if path.relative_to(CONF).parts[0] == group]
    assert found
    assert [name_of(path) for path in found if not path.read_text(encoding="utf-8").startswith("# @package _global_\n")] == []


def test_no_file_names_python_objects_in_strings() -> None:
    assert [name_of(path) for path in FILES if "_target_" in path.read_text(encoding="utf-8")] == []


def test_an_experiment_is_named_like_its_file() -> None:
    for path in sorted((CONF / "experiment").rglob("*.yaml")):
        name = str(path.relative_to(CONF / "experiment").with_suffix(""))
        assert yaml.safe_load(path.read_text(encoding="utf-8"))["name"] == name
