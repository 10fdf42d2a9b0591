"""Checked settings of a composed config, and what Hydra must know to compose one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from hydra.core.plugins import Plugins
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cotexp.config import launchers, sources, spelling
from cotexp.config.overrides import file_of, first_line, narrowed, options, unknown
from cotexp.config.slots import FILLED_IN, REGISTRIES, ROOT, SECTIONS, SHARED_BY_TASKS, add_installed
from cotexp.settings.base import ConfigError, shortened, suggestion
from cotexp.settings.root import Settings, root_problems
from cotexp.tasks import CustomTask, Task


def register() -> None:
    """Let Hydra find the user's folder and the settings classes, and keep texts as they are typed.

    Raises: ConfigError when an installed package or the user's folder adds what cannot be used.
    """
    add_installed()
    for slot, registry in REGISTRIES.items():
        for name in registry.installed:
            sources.config_of(slot, name)
    for plugin in (sources.SearchPath, sources.SettingsClasses):
        Plugins.instance().register(plugin)
    launchers.register()
    spelling.register()


def load(config: DictConfig) -> Settings:
    """The checked settings of a composed config.

    Raises: ConfigError with every unknown key, missing value, broken bound and contradiction at once.
    """
    add_installed()
    config = narrowed(config)
    problems: list[str] = []
    root = {each.name for each in dataclasses.fields(Settings)} - set(FILLED_IN)
    problems += [unknown(str(key), str(key), sorted(root)) for key in config if key not in root]
    values: dict[str, Any] = {}
    for key in ROOT:
        try:
            values[key] = config[key]
        except OmegaConfBaseException as error:
            problems.append(f"{key} cannot be resolved: {first_line(error)}")
    problems += root_problems(str(values.get("name", "x")), values.get("seed", 0), values.get("baseline", ""))
    sections: dict[str, Any] = {}
    for slot in SECTIONS:
        node = config.get(slot)
        if not isinstance(node, DictConfig):
            problems.append(f"{slot} must be one of {', '.join(options(slot))}; got {node!r}")
        else:
            sections[slot] = _build(node, slot, problems)
    problems += _unknown_artifacts(getattr(sections.get("tracking"), "upload", []))
    if problems:
        raise ConfigError(*problems)
    settings = Settings(**values, **sections)
    named = dict.fromkeys(settings.evaluation.tasks, "evaluation.tasks") | dict.fromkeys(settings.task.train, "task.train")
    settings.tasks = {name: _task_named(name, setting, settings.task, problems) for name, setting in sorted(named.items())}
    if problems:
        raise ConfigError(*problems)
    return settings


def _unknown_artifacts(upload: list[str]) -> Iterator[str]:
    """Settings know no stages: only a command that uploads pays for their import."""
    if upload:
        from cotexp.flow import ARTIFACTS

        for each in (each for each in upload if each not in ARTIFACTS):
            yield f"tracking.upload must be one of {', '.join(ARTIFACTS)}{suggestion(each, list(ARTIFACTS))}; got {shortened(each)}"


def _task_named(name: str, setting: str, chosen: Task, problems: list[str]) -> Any:
    """The settings of the task `name`: those of `chosen`, or those of the task's file with the settings that `chosen` shares."""
    if name == chosen.name:
        return chosen
    if name not in options("task"):
        problems.append(f"{setting} must name tasks: {', '.join(options('task'))}; got {name!r}{suggestion(name, options('task'))}")
        return None
    try:
        section, file = _task_file(name)
        node = OmegaConf.merge(OmegaConf.structured(section), file)
    except (ConfigError, OmegaConfBaseException) as error:
        problems.append(f"{setting}: {first_line(error)}")
        return None
    if issubclass(section, CustomTask) and node.file is None and node.test_file is None:
        problems.append(f"{setting}: task {name} needs a file, which only the main task can be given; choose it by task={name}")
        return None
    shared = SHARED_BY_TASKS if chosen.is_generated or section.is_generated else (*SHARED_BY_TASKS, "seed")
    defaults = {each.name: each.default for each in dataclasses.fields(chosen)}
    node = OmegaConf.merge(node, {each: value for each in shared if (value := getattr(chosen, each)) != defaults[each] and value is not None})
    assert isinstance(node, DictConfig), "of a dataclass and mappings"
    task = _build(node, setting, problems)
    if task is not None and task.name != name:
        problems.append(f"{setting}: the settings file of task {name} must set name: {name}; got {task.name!r}")
    return task


def _task_file(name: str) -> tuple[type[Task], DictConfig]:
    """The settings class of task=NAME, and what its settings file sets.

    Raises: ConfigError when the file does not say of which kind the task is.
    """
    path = file_of("task", name)
    if path is None:
        return SECTIONS["task"][name], OmegaConf.create()
    file = spelling.read_file(path, "task")
    defaults = file.pop("defaults", None)
    kind = defaults[0].get(SCHEMA) if defaults and isinstance(defaults[0], DictConfig) else None
    if kind not in SECTIONS["task"]:
        raise ConfigError(f"{path} must begin with defaults: [{SCHEMA}: KIND, _self_], where KIND is one of {', '.join(SECTIONS['task'])}")
    return SECTIONS["task"][kind], file


SCHEMA = "/schema/task@_here_"
"""What the defaults of a task's settings file name."""


def _build(node: DictConfig, path: str, problems: list[str]) -> Any:
    try:
        section = section_of(node, path)
    except ConfigError as error:
        problems += error.problems
        return None
    names = {each.name for each in dataclasses.fields(section)}
    values: dict[str, Any] = {}
    before, of_parts = len(problems), list[str]()
    for key in map(str, node):
        if key not in names:
            problems.append(unknown(f"{path}.{key}", key, sorted(names)))
        elif OmegaConf.is_missing(node, key):
            problems.append(f"{path}.{key} must be given; add {path}.{key}=... to the command")
        else:
            try:
                value = node[key]
            except OmegaConfBaseException as error:
                problems.append(f"{path}.{key} cannot be resolved: {first_line(error)}")
                continue
            if isinstance(value, DictConfig):
                part = _build(value, f"{path}.{key}", of_parts)
                values |= {} if part is None else {key: part}
            else:
                values[key] = OmegaConf.to_container(value, resolve=True) if isinstance(value, ListConfig) else value
    problems += of_parts
    if len(problems) > before + len(of_parts):
        return None
    try:
        built = section(**values)
    except ConfigError as error:
        problems += [f"{path}.{problem}" for problem in error.problems]
        return None
    return None if of_parts else built


def section_of(node: DictConfig, path: str) -> Any:
    """The settings class of the part of a composed config at `path`. Raises: ConfigError when the settings file of a slot names none."""
    section = OmegaConf.get_type(node)
    if not dataclasses.is_dataclass(section):
        kinds = ", ".join(SECTIONS.get(path, ()))
        raise ConfigError(
            f"{path}: its settings file must begin with defaults: [/schema/{path}@_here_: KIND, _self_], where KIND is one of {kinds}, "
            "or with defaults: [OPTION, _self_] to change another option"
        )
    return section
