"""From a command line to checked settings: the only module besides run.py and sweeper.py that knows Hydra and OmegaConf.

All mistakes of a command line are found and reported together, before Hydra runs anything.
"""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from cotexp import compression_settings as c
from cotexp import model_settings as m
from cotexp import settings as s
from cotexp import sweeper
from cotexp import task_settings as t
from cotexp.sections import ConfigError, suggestion
from cotexp.settings import Settings

CONF = Path(__file__).resolve().parent.parent / "conf"

SECTIONS: dict[str, dict[str, type]] = {
    "task": {"stories": t.StoriesTask, "gsm_symbolic": t.GsmSymbolicTask, "benchmark": t.BenchmarkTask, "custom": t.CustomTask},
    "model": {"hf": m.PretrainedModel, "gguf": m.GgufModel, "scratch": m.ScratchModel},
    "teacher": {
        "self": m.SelfTeacher,
        "local": m.LocalTeacher,
        "api": m.ApiTeacher,
        "recorded": m.RecordedTeacher,
        "reference": m.ReferenceTeacher,
    },
    "scoring": {"default": s.Scoring},
    "selection": {"default": s.Selection},
    "compressor": {"self": m.SelfCompressor, "local": m.LocalCompressor, "api": m.ApiCompressor},
    "compression": {
        "none": c.NoCompression,
        "macc": c.Macc,
        "single_round": c.SingleRound,
        "truncate": c.Truncation,
        "c3ot": c.C3ot,
        "tokenskip": c.TokenSkip,
        "prompt_only": c.PromptOnly,
        "reference": c.ReferenceRounds,
    },
    "mixture": {"default": s.Mixture},
    "trainer": {"single": s.Trainer},
    "evaluation": {"default": s.Evaluation},
    "tracking": {"none": s.NoTracking, "wandb": s.WandbTracking},
    "paths": {"default": s.Paths},
}
"""Slot -> schema -> settings class. A file conf/SLOT/OPTION.yaml names the schema that it fills."""

ROOT = ("name", "seed", "plan", "baseline")
"""Settings outside the slots."""
FOUND = ("tasks",)
"""Fields of the root that are found by name after composition; nobody can set them."""
DRAWN = (t.BenchmarkTask, t.CustomTask)
SHARED_BY_TASKS = ("num_train", "num_validation", "num_test", "few_shot", "few_shot_file")
"""Settings of `task` that also hold for the other tasks that it names, unless they are the default; the seed too, between tasks from files."""

OVERLAYS = ("experiment", "sweep", "debug")


def register() -> None:
    """Make the dataclasses known to Hydra's ConfigStore under `schema/SLOT`."""
    store = ConfigStore.instance()
    root = OmegaConf.structured(Settings)
    with open_dict(root):
        for name in FOUND:
            del root[name]
    store.store(name="settings_schema", node=root)
    for slot, schemas in SECTIONS.items():
        for name, section in schemas.items():
            store.store(group=f"schema/{slot}", name=name, node=section)


# --- checked settings from a composed config ---------------------------------------------------------------------------


def load(config: DictConfig) -> Settings:
    """The checked settings of a composed config.

    Raises: ConfigError with every unknown key, missing value, broken bound and contradiction at once.
    """
    problems: list[str] = []
    root = {each.name for each in dataclasses.fields(Settings)} - set(FOUND)
    problems += [_unknown(str(key), str(key), sorted(root)) for key in config if key not in root]
    values: dict[str, Any] = {}
    for key in ROOT:
        try:
            values[key] = config[key]
        except OmegaConfBaseException as error:
            problems.append(f"{key} cannot be resolved: {_first_line(error)}")
    problems += s.root_problems(str(values.get("name", "x")), values.get("seed", 0), values.get("baseline", ""))
    sections: dict[str, Any] = {}
    for slot in SECTIONS:
        node = config.get(slot)
        if not isinstance(node, DictConfig):
            problems.append(f"{slot} must be one of {', '.join(options(slot))}; got {node!r}")
        else:
            sections[slot] = _build(node, slot, problems)
    if problems:
        raise ConfigError(*problems)
    settings = Settings(**values, **sections)
    named = dict.fromkeys(settings.evaluation.tasks, "evaluation.tasks") | dict.fromkeys(settings.task.train, "task.train")
    settings.tasks = {name: _task_named(name, setting, settings.task, problems) for name, setting in sorted(named.items())}
    if problems:
        raise ConfigError(*problems)
    return settings


def _task_named(name: str, setting: str, chosen: t.Task, problems: list[str]) -> Any:
    """The settings of a task that `setting` names: those of `task` itself, or its file's with what `task` shares."""
    if name == chosen.name:
        return chosen
    if name not in options("task"):
        problems.append(f"{setting} must name tasks: {', '.join(options('task'))}; got {name!r}{suggestion(name, options('task'))}")
        return None
    file = OmegaConf.load(CONF / "task" / f"{name}.yaml")
    assert isinstance(file, DictConfig)
    section = SECTIONS["task"][file.pop("defaults")[0]["/schema/task@_here_"]]
    node = OmegaConf.merge(OmegaConf.structured(section), file)
    if issubclass(section, t.CustomTask):
        problems.append(f"{setting}: task {name} needs a file, which only the main task can be given; choose it by task={name}")
        return None
    shared = (*SHARED_BY_TASKS, "seed") if isinstance(chosen, DRAWN) and issubclass(section, DRAWN) else SHARED_BY_TASKS
    defaults = {each.name: each.default for each in dataclasses.fields(chosen)}
    node = OmegaConf.merge(node, {each: value for each in shared if (value := getattr(chosen, each)) != defaults[each] and value is not None})
    return _build(node, setting, problems)


def _build(node: DictConfig, path: str, problems: list[str]) -> Any:
    section = OmegaConf.get_type(node)
    names = {each.name for each in dataclasses.fields(section)}
    values: dict[str, Any] = {}
    before = len(problems)
    for key in map(str, node):
        if key not in names:
            problems.append(_unknown(f"{path}.{key}", key, sorted(names)))
        elif OmegaConf.is_missing(node, key):
            problems.append(f"{path}.{key} must be given; add {path}.{key}=... to the command")
        else:
            try:
                value = node[key]
            except OmegaConfBaseException as error:
                problems.append(f"{path}.{key} cannot be resolved: {_first_line(error)}")
                continue
            if isinstance(value, DictConfig):
                values[key] = _build(value, f"{path}.{key}", problems)
            else:
                values[key] = OmegaConf.to_container(value, resolve=True) if isinstance(value, ListConfig) else value
    if len(problems) > before:
        return None
    try:
        return section(**values)
    except ConfigError as error:
        problems += [f"{path}.{problem}" for problem in error.problems]
        return None


# --- the command line --------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class Point:
    """One point of a command line: its words, of which `sweep=NAME` may be one, and its checked settings."""

    words: list[str]
    settings: Settings


def check_command_line(overrides: list[str], *, multirun: bool) -> list[Settings]:
    """The checked settings of every point that this command line asks for.

    Raises: ConfigError with every mistake in it.
    """
    return [each.settings for each in points_of(overrides, multirun=multirun)]


def points_of(overrides: list[str], *, multirun: bool) -> list[Point]:
    """Every point that this command line asks for.

    Raises: ConfigError with every mistake in it.
    """
    register()
    composed: dict[tuple[str, ...], DictConfig] = {}
    problems: dict[str, None] = {}
    points = []
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for point in _points(overrides, multirun):
            try:
                points.append(Point(point, _check_point(point, composed)))
            except ConfigError as error:
                problems.update(dict.fromkeys(error.problems))
    if problems:
        raise ConfigError(*problems)
    return points


def _points(overrides: list[str], multirun: bool) -> Iterator[list[str]]:
    parsed = _parse(overrides)
    sweeps = [each.input_line for each in parsed if each.is_sweep_override()]
    named = [each for each in parsed if each.key_or_group == "sweep"]
    if not multirun:
        if named:
            raise ConfigError(f"{named[0].input_line} names a grid of runs; add -m: python run.py -m {named[0].input_line}")
        if sweeps:
            raise ConfigError(f"{sweeps[0]} names several values; add -m to run them all, or quote the value to mean the text itself")
        yield overrides
        return
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    grid = overrides
    if named:
        if named[0].is_sweep_override():
            raise ConfigError(f"{named[0].input_line} names several grids; run one at a time: python run.py -m sweep=NAME")
        if problem := _bad_option(named[0]):
            raise ConfigError(problem)
        params = _compose([f"sweep={named[0].value()}"], full=True).hydra.sweeper.params or {}
        grid = [f"{key}={value}" for key, value in params.items()] + overrides
    for batch in BasicSweeper.split_arguments(_parse(grid), max_batch_size=None):
        yield from (list(point) for point in batch)


def _parse(overrides: list[str]) -> list[Override]:
    parsed, problems = [], []
    for text in overrides:
        try:
            parsed += OverridesParser.create().parse_overrides([text])
        except HydraException as error:
            problems.append(f"cannot read {text!r} as key=value ({_first_line(error)}); quote values that hold special characters: 'key=\"value\"'")
    if problems:
        raise ConfigError(*problems)
    return parsed


def _check_point(overrides: list[str], composed: dict[tuple[str, ...], DictConfig]) -> Settings:
    """The settings of one point; `composed` keeps what Hydra made of the options of those before."""
    groups = {*SECTIONS, *OVERLAYS}
    every = _parse(overrides)
    for_hydra = [each.input_line for each in every if (each.key_or_group or "").startswith("hydra")]
    if for_hydra:
        _compose(for_hydra, full=True)
    parsed = [each for each in every if each.input_line not in for_hydra]
    chosen = [each for each in parsed if each.key_or_group in groups and not each.key_or_group.startswith("+")]
    values = [each for each in parsed if each not in chosen]
    problems = [problem for each in chosen if (problem := _bad_option(each))]
    if problems:
        raise ConfigError(*problems)
    names = tuple(f"{each.key_or_group}={_option(each)}" for each in chosen)
    if names not in composed:
        composed[names] = _compose(list(names))
    config = copy.deepcopy(composed[names])
    for each in values:
        problems += _apply(config, each)
    try:
        settings = load(config)
    except ConfigError as error:
        raise ConfigError(*problems, *error.problems) from None
    if problems:
        raise ConfigError(*problems)
    return settings


def _compose(chosen: list[str], full: bool = False) -> DictConfig:
    try:
        return compose("config", overrides=chosen, return_hydra_config=full)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_misfit(chosen, error)) from None


def _misfit(chosen: list[str], error: Exception) -> str:
    """Why files do not go together: most often an experiment sets what only another option of a slot has."""
    found = re.search(r"In '([^'/]+)/([^']+)'.*Key '(\w+)' not in '\w+'.*?full_key: ([\w.]+)", re.sub(r"\s+", " ", str(error.__cause__ or error)))
    if found is None:
        return f"the settings files of {' '.join(chosen) or 'the default run'} do not fit together: {_plain(error)}"
    group, name, key, path = found.groups()
    slot = path.split(".")[0]
    option = next((each for each in chosen if each.startswith(f"{slot}=")), f"this {slot}")
    return (
        f"{group}={name} sets {path}, and {option} has no setting {key}: leave {option} out, "
        f"or take experiment=none and name the settings that you want of {group}={name}"
    )


def _option(override: Override) -> str:
    value = override.value()
    return "null" if value is None else str(value)


def _bad_option(override: Override) -> str | None:
    group, option = override.key_or_group, _option(override)
    if override.is_delete() or override.is_add():
        return f"{override.input_line}: choose an option by {group}=NAME; available: {', '.join(options(group))}"
    if override.package is not None:
        return f"{override.input_line}: a slot cannot be moved; write {group}={option}"
    if option == "null":
        return f"{group} must be one of {', '.join(options(group))}; got null"
    if option not in options(group):
        return f"{group} must be one of {', '.join(options(group))}; got {option!r}{suggestion(option, options(group))}"
    return None


def options(group: str) -> list[str]:
    """The names that GROUP=NAME accepts: the files under conf/GROUP."""
    folder = CONF / group
    return sorted(str(path.relative_to(folder).with_suffix("")) for path in folder.rglob("*.yaml"))


def _apply(config: DictConfig, override: Override) -> Iterator[str]:
    """Set one value in the composed config; yields what is wrong with it."""
    path = override.key_or_group
    if override.is_delete():
        yield f"{override.input_line}: settings cannot be deleted; set {path} to another value"
        return
    node: Any = config
    parts = path.split(".")
    for depth, part in enumerate(parts):
        known = sorted(map(str, node.keys())) if isinstance(node, DictConfig) else []
        if part not in known:
            yield _unknown(".".join(parts[: depth + 1]), part, known)
            return
        node = node._get_node(part) if depth == len(parts) - 1 else node[part]
    if isinstance(node, DictConfig):
        yield f"{path} is a group of settings; write {path}.NAME=VALUE for one of {', '.join(sorted(map(str, node)))}"
        return
    if override.is_add():
        yield f"{override.input_line}: {path} exists; write {path}={override.value()} without '+'"
        return
    try:
        OmegaConf.update(config, path, override.value())
    except OmegaConfBaseException:
        yield f"{path} must be {_kind(config, parts)}; got {override.value()!r}"


def _kind(config: DictConfig, parts: list[str]) -> str:
    """What a setting accepts, in words."""
    parent = OmegaConf.select(config, ".".join(parts[:-1])) if len(parts) > 1 else config
    hint = get_type_hints(OmegaConf.get_type(parent))[parts[-1]]
    kinds = {int: "an integer", float: "a number", bool: "true or false", str: "a text", type(None): "null"}
    alternatives = get_args(hint) if get_origin(hint) in (Union, type(int | None)) else (hint,)
    return " or ".join(kinds.get(each, "a list in brackets") for each in alternatives)


def _unknown(path: str, key: str, known: list[str]) -> str:
    listing = f"; settings here: {', '.join(known)}" if known else "; it has no settings of its own"
    return f"{path} is not a setting{suggestion(key, known)}{listing}"


def _plain(error: Exception) -> str:
    """An error of Hydra in one line, without its advice to use '+'."""
    text = re.sub(r"\s+", " ", str(error.__cause__ or error)).strip()
    text = re.sub(r"To append to your config use.*", "", text)
    return re.sub(r"full_key: (\S+).*", r"(setting \1)", text).strip()


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]


# --- Hydra's entry -----------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class Command:
    """A command line, split into Hydra's flags and overrides. `runs` is false for completion and Hydra's own listings."""

    overrides: list[str]
    multirun: bool
    help_wanted: bool
    runs: bool


def read_command(arguments: list[str]) -> Command:
    """What a command line asks for."""
    from hydra._internal.utils import get_args_parser

    flags = get_args_parser().parse_args(arguments)
    runs = not (flags.shell_completion or flags.hydra_help or flags.info)
    return Command(overrides=flags.overrides, multirun=flags.multirun, help_wanted=flags.help, runs=runs)


def hydra_main(task: Any) -> None:
    """Run `task(config)` for every point of the command line, through Hydra."""
    import hydra

    register()
    sweeper.register()
    hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(task)()


HELP = """cotexp: how much of a chain of thought does a model need, and which should a small model learn from?

  python run.py                              the quickstart: MACC on the embedded task and model
  python run.py SLOT=OPTION SLOT.SETTING=VALUE ...
  python run.py -m compression=macc,none seed=0,1    every combination
  python run.py -m sweep=macc/rounds     a named grid
  python run.py plan=true ...                print stages and what is cached, compute nothing
  python run.py --cfg job ...                print the composed settings
  python run.py --help SLOT=OPTION ...       this page for other options
"""


def help_text(overrides: list[str]) -> str:
    """Usage, the options of each slot, and each setting of the chosen options with its sentence and default."""
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        groups = {*SECTIONS, *OVERLAYS}
        chosen = [each for each in _parse(overrides) if each.key_or_group in groups]
        problems = [problem for each in chosen if (problem := _bad_option(each))]
        if problems:
            raise ConfigError(*problems)
        config = _compose([each.input_line for each in chosen])
    lines = [HELP]
    for group in (*SECTIONS, *OVERLAYS):
        lines.append(f"{group}= {' | '.join(options(group))}")
    lines += [
        "",
        "[run]",
        *(f"  {each.name} = {config[each.name]!r}\n      {each.metadata['sentence']}" for each in dataclasses.fields(Settings) if each.name in ROOT),
    ]
    for slot in SECTIONS:
        section = OmegaConf.get_type(config[slot])
        lines += ["", f"[{slot}] {(section.__doc__ or '').strip().splitlines()[0]}", *_settings_help(config[slot], slot)]
    return "\n".join(lines)


def _settings_help(node: DictConfig, path: str) -> Iterator[str]:
    for each in dataclasses.fields(OmegaConf.get_type(node)):
        missing = OmegaConf.is_missing(node, each.name)
        value = None if missing else node[each.name]
        if isinstance(value, DictConfig):
            yield from _settings_help(value, f"{path}.{each.name}")
        else:
            shown = "(must be given)" if missing else str(list(value)) if isinstance(value, ListConfig) else repr(value)
            yield f"  {path}.{each.name} = {shown if len(shown) < 60 else shown[:57] + '...'}\n      {each.metadata.get('sentence', '')}"
