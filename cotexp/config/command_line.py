"""A command line: its points, checked before Hydra runs anything. All its mistakes are reported together."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Sequence
from typing import NoReturn

from hydra import initialize_config_dir
from hydra.types import TaskFunction
from omegaconf import DictConfig, open_dict

from cotexp import credentials
from cotexp.config import launchers, search_path, sweeper
from cotexp.config.overrides import (
    apply,
    bad_option,
    compose,
    option_of,
    parse,
    word_of,
)
from cotexp.config.schema import load, register
from cotexp.config.search_path import CONF
from cotexp.config.slots import OVERLAYS, SECTIONS
from cotexp.config.spelling import as_typed
from cotexp.invocation import run_command
from cotexp.settings.base import ConfigError
from cotexp.settings.root import Settings


@dataclasses.dataclass(frozen=True, slots=True)
class Point:
    """One point of a command line: its overrides, of which `sweep=NAME` may be one, its checked settings, and the option of each slot, by slot."""

    overrides: list[str]
    settings: Settings
    options: dict[str, str | None]


@dataclasses.dataclass(frozen=True, slots=True)
class Composed(Point):
    """A point with the config that Hydra composed for it; `hydra` has Hydra's own settings."""

    config: DictConfig
    hydra: DictConfig


def check_command_line(overrides: list[str], *, multirun: bool) -> list[Settings]:
    """The checked settings of every point of this command line.

    Raises: ConfigError with every mistake in it.
    """
    return [each.settings for each in points_of(overrides, multirun=multirun)]


def points_of(overrides: list[str], *, multirun: bool) -> list[Point]:
    """Every point of this command line.

    Raises: ConfigError with every mistake in it.
    """
    return [Point(each.overrides, each.settings, each.options) for each in _composed(overrides, multirun)]


def only_point(overrides: list[str]) -> Composed:
    """The point of a command of one run, with its config.

    Raises: ConfigError with every mistake in it.
    """
    (point,) = _composed(overrides, multirun=False)
    return point


def _composed(overrides: list[str], multirun: bool) -> Iterator[Composed]:
    """Every point; mistakes are raised after the last one."""
    register()
    composed: dict[tuple[str, ...], tuple[DictConfig, DictConfig]] = {}
    problems: dict[str, None] = {}
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for point in _points(launchers.without_hydras_own(as_typed(overrides), multirun=multirun), multirun):
            try:
                yield _check_point(point, composed)
            except ConfigError as error:
                problems.update(dict.fromkeys(error.problems))
    if problems:
        raise ConfigError(*problems)


def _points(overrides: list[str], multirun: bool) -> Iterator[list[str]]:
    parsed = parse(overrides)
    sweeps = [word_of(each) for each in parsed if each.is_sweep_override()]
    named = [each for each in parsed if each.key_or_group == "sweep"]
    if not multirun:
        if named:
            raise ConfigError(f"{word_of(named[0])} names a grid of runs; add -m: {run_command()} -m {word_of(named[0])}")
        if sweeps:
            shown = sweeps[0] if credentials.is_shown(sweeps[0]) else sweeps[0].partition("=")[0]
            raise ConfigError(f"{shown} names several values; add -m to run them all, or quote the value to mean the text itself")
        yield overrides
        return
    grid = overrides
    if named:
        if named[0].is_sweep_override():
            raise ConfigError(f"{word_of(named[0])} names several grids; run one at a time: {run_command()} -m sweep=NAME")
        if problem := bad_option(named[0]):
            raise ConfigError(problem)
        params = compose([f"sweep={named[0].value()}"], full=True).hydra.sweeper.params or {}
        grid = as_typed(f"{key}={value}" for key, value in params.items()) + overrides
    yield from sweeper.combinations(parse(grid))


def _check_point(overrides: list[str], composed: dict[tuple[str, ...], tuple[DictConfig, DictConfig]]) -> Composed:
    """One point. `composed` caches the configs that Hydra composed for options."""
    groups = {*SECTIONS, *OVERLAYS}
    parsed = parse(overrides)
    chosen = [each for each in parsed if each.key_or_group in groups and not each.key_or_group.startswith("+")]
    values = [each for each in parsed if each not in chosen]
    problems = [problem for each in chosen if (problem := bad_option(each))]
    if problems:
        raise ConfigError(*problems)
    names = tuple(f"{each.key_or_group}={option_of(each)}" for each in chosen)
    if names not in composed:
        composed[names] = _apart(compose(list(names), full=True))
    composed_config, hydra = composed[names]
    config = copy.deepcopy(composed_config)
    for each in values:
        problems += apply(config, each)
    try:
        settings = load(config)
    except ConfigError as error:
        raise ConfigError(*problems, *error.problems) from None
    if problems:
        raise ConfigError(*problems)
    return Composed(overrides, settings, dict(hydra.runtime.choices), config, hydra)


def _apart(config: DictConfig) -> tuple[DictConfig, DictConfig]:
    """The settings of this project, and Hydra's own."""
    hydra = config.hydra
    with open_dict(config):
        del config["hydra"]
    return config, hydra


@dataclasses.dataclass(frozen=True, slots=True)
class Command:
    """A command line, split into Hydra's flags and overrides; `words` is all of it, flags first, without folders of settings files.

    `completes` is the shell that asks what the last word may become. `runs` is false for completion and Hydra's listings. `is_one_run` is true for
    one run, or `--cfg job` for it (`shows_settings`), without settings or other flags of Hydra: composing the settings is all that Hydra has to do
    then.
    """

    words: list[str]
    overrides: list[str]
    multirun: bool
    help_wanted: bool
    completes: str
    runs: bool
    is_one_run: bool
    shows_settings: bool

    @property
    def words_of_sweep(self) -> list[str]:
        """The words that make the same sweep again. Of Hydra's own settings, some of which may hold keys, only the launcher's name is among them."""
        return ["-m", *(each for each in self.overrides if each.startswith(f"{launchers.GROUP}=") or not _is_hydras(each))]

    @property
    def has_grid(self) -> bool:
        """Whether its points are known before it begins: those of a sweeper that searches are not."""
        return self.multirun and not any(each.lstrip("+").startswith("hydra/sweeper=") for each in self.overrides)

    @property
    def grid(self) -> str:
        """The name of its named grid; empty for an ad hoc one."""
        return next((each.removeprefix("sweep=") for each in self.overrides if each.startswith("sweep=")), "")

    @property
    def words_for_hydra(self) -> list[str]:
        """The words as Hydra is to read them: texts quoted."""
        quoted = dict(zip(self.overrides, as_typed(self.overrides), strict=True))
        return [quoted.get(each, each) for each in self.words]


def read_command(arguments: Sequence[str]) -> Command:
    """The parsed command line, whose folders of settings files are used from now on.

    Raises: ConfigError for an unknown option, without its value, which may be a key; and for a folder that is none.
    """
    from hydra._internal.utils import get_args_parser

    words, folders = search_path.split(arguments)
    words.sort(key=_place)
    parser = get_args_parser()
    parser.error = _refuse  # type: ignore[method-assign]  # several lines, and the end of the process
    flags, unread = parser.parse_known_args(words)
    if unknown := [each for each in unread if each.startswith("-")]:
        raise ConfigError(f"{run_command()} has no option {unknown[0].partition('=')[0]}; settings are given as KEY=VALUE, and --help lists them")
    if others := [name for name in ("config_name", "config_path", "experimental_rerun") if getattr(flags, name)]:
        raise ConfigError(f"--{others[0].replace('_', '-')} does not go with the settings files of cotexp; add your own by --config-dir DIR")
    modes = {"-m": flags.multirun, "--run": flags.run, "--cfg": flags.cfg, "--info": flags.info, "--shell-completion": flags.shell_completion}
    if len(given := [mode for mode, value in modes.items() if value]) > 1:
        raise ConfigError(f"{run_command()} takes only one of {' and '.join(given)}")
    if flags.resolve and not flags.cfg:
        raise ConfigError("--resolve belongs to --cfg, whose settings it resolves; add --cfg job")
    flags.overrides += unread
    search_path.use(flags.config_dir, folders)
    flags_given = {name for name, value in vars(flags).items() if value} - {"overrides", "config_dir"}
    hydras_own = any(map(_is_hydras, flags.overrides))
    return Command(
        words=words,
        overrides=flags.overrides,
        multirun=flags.multirun,
        help_wanted=flags.help,
        completes=next((each.removeprefix("query=") for each in flags.overrides if each.startswith("query=")), "") if flags.shell_completion else "",
        runs=not (flags.shell_completion or flags.hydra_help or flags.info),
        is_one_run=flags_given <= {"run", "cfg"} and flags.cfg in (None, "job") and not hydras_own,
        shows_settings=flags.cfg is not None,
    )


def _is_hydras(override: str) -> bool:
    return override.lstrip("+~").startswith("hydra")


def _refuse(message: str) -> NoReturn:
    raise ConfigError(f"{run_command()}: {message}; --help lists what can be set")


def _place(word: str) -> int:
    """Hydra wants all flags before the settings, which a user may type in any order."""
    return 0 if word in ("-m", "--multirun") else 2 if "=" in word and not word.startswith("-") else 1


def hydra_main(task: TaskFunction) -> None:
    """Run `task(config)` for every point of the command line, through Hydra."""
    import hydra

    sweeper.register()
    hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(task)()
