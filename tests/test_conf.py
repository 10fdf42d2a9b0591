"""Every YAML file is composed, checked and planned; files, schemas and settings classes are one to one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir

from cotexp import schema
from cotexp.jobs import pipeline
from cotexp.jobs.store import key_of
from cotexp.sections import keyed
from cotexp.settings import LocalCompressor, ScratchModel, Settings, StoriesTask

ROOT = Path(__file__).resolve().parent.parent
CONF = ROOT / "conf"
FILES = sorted(path for path in CONF.rglob("*") if path.is_file())
OPTION_FILES = [path for path in FILES if path.relative_to(CONF).parts[0] in schema.SECTIONS]

NEEDS: dict[str, list[str]] = {
    "model=hf": ["model.path=FILES/model"],
    "model=scratch": ["experiment=tiny"],
    "teacher=reference": ["experiment=tiny"],
    "compression=reference": ["experiment=tiny"],
    "compressor=local": ["compressor.model.path=FILES/model"],
    "task=file": ["task.train=FILES/train.jsonl", "task.test=FILES/test.jsonl", "task.num_validation=2"],
}
"""What must stand beside an option that does not go with the default run alone."""


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
    """Two files of questions for task=file."""
    folder = tmp_path_factory.mktemp("questions")
    for name, first in (("train", 0), ("test", 100)):
        lines = [f'{{"question": "What is {n} plus 1?", "answer": {n + 1}}}' for n in range(first, first + 8)]
        (folder / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder


def test_every_file_under_conf_is_checked_and_belongs_to_a_known_group() -> None:
    checked = {path for path in CONF.glob("**/*.yaml") if name_of(path) == "config" or path.relative_to(CONF).parts[0] in known_groups()}
    assert len(FILES) == len(checked) > 25
    assert {name_of(each) for each in FILES} == {name_of(each) for each in checked}


def known_groups() -> set[str]:
    return {*schema.SECTIONS, *schema.OVERLAYS}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_file_can_be_composed_checked_and_planned(path: Path, files: Path, random_model: Path, tmp_path: Path) -> None:
    points = schema.check_command_line(overrides_of(path, files), multirun=is_sweep(path))
    assert len(points) > 1 if is_sweep(path) else len(points) == 1
    assert len({key_of(keyed(each)) for each in points}) == len(points), "a grid that names one point twice"
    for point in points:
        stages = pipeline.plan(pipeline.make_context(made_small(point, random_model, tmp_path / "outputs"), plan=True))
        names = [each.name for each in stages]
        assert "checkpoint" in names
        assert [name for name in names if name.startswith("predictions/")] == [f"predictions/{mode}" for mode in point.evaluation.modes]
        assert all(each.num_missing == each.num_wanted for each in stages if each.num_missing is not None), "a fresh store holds nothing"
    assert list(tmp_path.iterdir()) == [], "a plan writes nothing"


def made_small(settings: Settings, random_model: Path, outputs: Path) -> Settings:
    """The same settings over a model that is here, with few questions."""
    settings.paths.outputs = str(outputs)
    if not isinstance(settings.model, ScratchModel):
        settings.model.path = str(random_model)
    if isinstance(settings.compressor, LocalCompressor):
        settings.compressor.model.path = str(random_model)
    if isinstance(settings.task, StoriesTask):
        settings.task.num_train, settings.task.num_validation, settings.task.num_test = 8, 2, 4
    return settings


@pytest.mark.parametrize("path", [each for each in FILES if not is_sweep(each)], ids=name_of)
def test_our_check_and_hydra_come_to_the_same_settings(path: Path, files: Path) -> None:
    overrides = overrides_of(path, files)
    schema.register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        by_hydra = schema.load(compose("config", overrides=overrides))
    assert [by_hydra] == schema.check_command_line(overrides, multirun=False)


def test_worked_solutions_can_teach_the_default_method() -> None:
    settings = schema.check_command_line(["teacher=reference"], multirun=False)[0]
    assert (settings.teacher.name, settings.compression.name) == ("reference", "macc")


def test_each_option_file_names_one_schema_of_its_own_slot_and_lets_itself_win() -> None:
    for path in OPTION_FILES:
        slot = path.relative_to(CONF).parts[0]
        named, last = defaults_of(path)
        assert last == "_self_", name_of(path)
        assert list(named) == [f"/schema/{slot}@_here_"], name_of(path)


def test_settings_classes_and_the_schemas_that_files_name_are_one_to_one() -> None:
    named = {(path.relative_to(CONF).parts[0], next(iter(defaults_of(path)[0].values()))) for path in OPTION_FILES}
    registered = {(slot, name) for slot, schemas in schema.SECTIONS.items() for name in schemas}
    assert named == registered
    classes = [section for schemas in schema.SECTIONS.values() for section in schemas.values()]
    assert len(classes) == len(set(classes)), "one class stands for one schema"


def defaults_of(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))["defaults"]


def test_each_slot_of_the_root_has_schemas_and_a_default_option() -> None:
    defaults = defaults_of(CONF / "config.yaml")
    chosen = {slot: option for each in defaults if isinstance(each, dict) for slot, option in each.items()}
    assert {slot for slot in chosen if slot not in schema.OVERLAYS} == set(schema.SECTIONS)
    assert defaults.index("_self_") < min(defaults.index(each) for each in defaults if isinstance(each, dict))
    assert [next(iter(each)) for each in defaults[-3:]] == ["experiment", "sweep", "debug"], "overlays come last, debug at the very end"


@pytest.mark.parametrize("group", schema.OVERLAYS)
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
