"""Overrides, such as trainer.batch_size=8: parsed, checked, and applied to a composed config, with one error line for each mistake."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Union, get_args, get_origin, get_type_hints

import hydra
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cotexp import credentials
from cotexp.config import spelling
from cotexp.config.search_path import config_folders, names_in
from cotexp.config.slots import OVERLAYS, REGISTRIES, SECTIONS, WIDER
from cotexp.settings.base import MOST_SHOWN, ConfigError, suggestion


def parse(overrides: list[str]) -> list[Override]:
    """The parsed overrides. Raises: ConfigError with a line for each that cannot be parsed."""
    parsed, problems = [], []
    for text in overrides:
        key = text.partition("=")[0]
        if problem := spelling.problem_of(text):
            problems.append(f"{key[:60]}: the override {problem}")
            continue
        try:
            parsed += OverridesParser.create().parse_overrides([text])
        except (HydraException, ValueError) as error:  # ValueError: integers of thousands of digits
            if len(text) > MOST_SHOWN:
                problems.append(
                    f"{key[:60]}: the override of {len(text):,} characters cannot be read as key=value; quote values that hold special characters"
                )
                continue
            problems.append(f"cannot read {_shown(text, error)}; quote values that hold special characters: 'key=\"value\"'")
    if problems:
        raise ConfigError(*problems)
    return parsed


def word_of(override: Override) -> str:
    """The text of an override on the command line."""
    assert override.input_line is not None, "`parse` sets it"
    return override.input_line


def _shown(text: str, error: Exception) -> str:
    """The error for an override that Hydra cannot parse. Of one that may hold a key only the setting is shown."""
    if credentials.is_shown(text):
        return f"{text!r} as key=value ({first_line(error)})"
    key, sign, _ = text.partition("=")
    named = f"the value of {key!r}" if sign and not credentials.looks_secret(key) else "a word"
    return f"{named} as key=value (it is not repeated, since it may hold a key)"


def compose(chosen: list[str], full: bool = False) -> DictConfig:
    """The config of the chosen options; `full` includes Hydra's own settings. What an experiment sets for its own teacher is left out, and said, if
    another one is chosen that has no such setting.

    Raises: ConfigError when a settings file is broken, or two of them contradict each other.
    """
    try:
        while True:
            try:
                config = hydra.compose("config", overrides=chosen, return_hydra_config=full)
            except (HydraException, OmegaConfBaseException) as error:
                misfit = _Misfit.of(chosen, error)
                if misfit is None or not _widened(misfit):
                    raise ConfigError(_message(chosen, error, misfit)) from None
            else:
                if left_out := _left_out(config):
                    option, file = (next((each for each in chosen if each.startswith(f"{slot}=")), slot) for slot in ("teacher", "experiment"))
                    paths = ", ".join(left_out)
                    print(f"cotexp: {file} sets {paths} for its own teacher, and {option} has no such setting: left out", file=sys.stderr)
                return narrowed(config)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"a settings file of {credentials.shown(chosen) or 'the default run'} cannot be read: {_plain(error)}") from None


class _Misfit(NamedTuple):
    """A file GROUP=NAME that sets what the settings class `section` does not have, and the option that was chosen in the place of another."""

    file: str
    key: str
    section: str
    path: str
    option: str | None

    @classmethod
    def of(cls, chosen: list[str], error: Exception) -> _Misfit | None:
        """None for an error of another kind."""
        text = re.sub(r"\s+", " ", str(error.__cause__ or error))
        found = re.search(r"In '([^'/]+)/([^']+)'.*Key '(\w+)' not in '(\w+)'.*?full_key: ([\w.]+)", text)
        if found is None:
            return None
        group, name, key, section, path = found.groups()
        slot = path.split(".")[0]
        option = next((each for each in chosen if each.startswith(f"{slot}=") and each != f"{group}={name}"), None)
        return cls(f"{group}={name}", key, section, path, option)


def _message(chosen: list[str], error: Exception, misfit: _Misfit | None) -> str:
    """Why settings files contradict each other: most often an experiment sets what only another option of a slot has."""
    if misfit is None:
        return f"the settings files of {credentials.shown(chosen) or 'the default run'} do not fit together: {_plain(error)}"
    if misfit.option is None:
        group, _, name = misfit.file.partition("=")
        return f"{misfit.file} sets {misfit.path}, which is not a setting of this run; correct {file_of(group, name) or 'its file'}"
    return (
        f"{misfit.file} sets {misfit.path}, and {misfit.option} has no setting {misfit.key}: leave {misfit.option} out, "
        f"or take experiment=none and name the settings that you want of {misfit.file}"
    )


def _widened(misfit: _Misfit) -> bool:
    """Whether the chosen teacher now takes a setting that other teachers have; what they write is there already, or is written otherwise."""
    slot, _, key = misfit.path.partition(".")
    sections = SECTIONS[slot].values() if slot == "teacher" and misfit.option else ()
    if key != misfit.key or not any(key in _names(each) for each in sections):
        return False
    section = next(each for each in sections if each.__name__ == misfit.section)
    names = {*(_names(WIDER[section]) - _names(section) if section in WIDER else ()), key}
    WIDER[section] = dataclasses.make_dataclass(section.__name__, [(name, Any, None) for name in sorted(names)], bases=(section,), kw_only=True)
    return True


def _left_out(config: DictConfig) -> list[str]:
    """The settings that only the wider class of the teacher has, and that files set."""
    section = next((section for section, wider in WIDER.items() if OmegaConf.get_type(config, "teacher") is wider), None)
    if section is None:
        return []
    values: Any = OmegaConf.to_container(config.teacher, resolve=False)
    return [f"teacher.{name}" for name, value in sorted(values.items()) if name not in _names(section) and value is not None]


def narrowed(config: DictConfig) -> DictConfig:
    """The config without the settings that only its teacher's wider class has."""
    for section, wider in WIDER.items():
        teacher = config.get("teacher")
        if isinstance(teacher, DictConfig) and OmegaConf.get_type(teacher) is wider:
            values: Any = OmegaConf.to_container(teacher, resolve=False)
            config.teacher = OmegaConf.merge(
                OmegaConf.structured(section), {name: value for name, value in values.items() if name in _names(section)}
            )
    return config


def _names(section: type) -> set[str]:
    return {each.name for each in dataclasses.fields(section)}


def option_of(override: Override) -> str:
    """The option that an override of a slot chooses; "null" for null."""
    value = override.value()
    return "null" if value is None else str(value)


def bad_option(override: Override) -> str | None:
    """The error for an override of a slot; None if it chooses an existing option."""
    group, option = override.key_or_group, option_of(override)
    if override.is_delete() or override.is_add():
        return f"{credentials.shown([word_of(override)])}: choose an option by {group}=NAME; available: {', '.join(options(group))}"
    if override.package is not None:
        return f"{credentials.shown([word_of(override)])}: a slot cannot be moved; write {group}=NAME"
    if option == "null":
        return f"{group} must be one of {', '.join(options(group))}; got null"
    if option not in options(group):
        got = f"; got {option!r}{suggestion(option, options(group))}" if credentials.is_shown(word_of(override)) else ""
        return f"{group} must be one of {', '.join(options(group))}{got}"
    return _misplaced(group, option) if group in OVERLAYS else None


def _misplaced(group: str, option: str) -> str | None:
    """The error for a file of several slots that does not say so."""
    file = file_of(group, option)
    if file is None or spelling.package_of(file.read_text(encoding="utf-8", errors="replace")) == spelling.GLOBAL:
        return None
    return f"{group}={option}: {file} sets more than its own slot, and must begin with the comment # @package {spelling.GLOBAL}"


def options(group: str) -> list[str]:
    """The names that GROUP=NAME accepts: the files of GROUP in the folders of settings files, and what installed packages add."""
    return sorted(
        {*(name for folder in config_folders() for name in names_in(folder / group)), *(REGISTRIES[group].installed if group in REGISTRIES else ())}
    )


def file_of(group: str, option: str) -> Path | None:
    """The settings file of GROUP=OPTION; None for an option of an installed package that has no file."""
    return next((path for folder in config_folders() if (path := folder / group / f"{option}.yaml").is_file()), None)


def apply(config: DictConfig, override: Override) -> Iterator[str]:
    """Set one value in the composed config. Yields an error line if that is not possible."""
    path = override.key_or_group
    if override.is_delete():
        yield f"{credentials.shown([word_of(override)])}: settings cannot be deleted; set {path} to another value"
        return
    node: Any = config
    parts = path.split(".")
    for depth, part in enumerate(parts):
        known = sorted(map(str, node.keys())) if isinstance(node, DictConfig) else []
        if part not in known and _is_free(node) and depth == len(parts) - 1:
            yield from _added(override, suggestion(part, known))
            return
        if part not in known:
            yield unknown(".".join(parts[: depth + 1]), part, known)
            return
        is_value = OmegaConf.is_missing(node, part) or OmegaConf.is_interpolation(node, part)
        node = None if is_value else node[part]
    if _is_free(node):
        value = override.value()
        if not isinstance(value, dict):
            yield f"{path} must be names and values, such as {{NAME: VALUE}}"
        elif set(value) - set(node):
            yield from _added(override)
        return
    if isinstance(node, DictConfig):
        yield f"{path} is a group of settings; write {path}.NAME=VALUE for one of {', '.join(sorted(map(str, node)))}"
        return
    if override.is_add():
        word = word_of(override) if credentials.is_shown(word_of(override)) else f"+{path}=..."
        yield f"{word}: {path} exists; write {word.removeprefix('+')} without '+'"
        return
    try:
        OmegaConf.update(config, path, override.value())
    except OmegaConfBaseException:
        got = f"; got {override.value()!r}" if credentials.is_shown(word_of(override)) else ""
        yield f"{path} must be {_kind(config, parts)}{got}"


def _added(override: Override, hint: str = "") -> Iterator[str]:
    """The error for a new name that is set without +, as Hydra wants it."""
    if not override.is_add():
        word = word_of(override) if credentials.is_shown(word_of(override)) else f"{override.key_or_group}=..."
        yield f"{word} sets a new name{hint}; write +{word}"


def _is_free(node: Any) -> bool:
    """Whether any names may be set in `node`, such as further options of sbatch."""
    return isinstance(node, DictConfig) and OmegaConf.get_type(node) is dict and node._metadata.element_type is Any


def _kind(config: DictConfig, parts: list[str]) -> str:
    """The type of a setting as errors name it."""
    parent = OmegaConf.select(config, ".".join(parts[:-1])) if len(parts) > 1 else config
    hint = get_type_hints(OmegaConf.get_type(parent))[parts[-1]]
    kinds = {int: "an integer", float: "a number", bool: "true or false", str: "a text", type(None): "null"}
    alternatives = get_args(hint) if get_origin(hint) in (Union, type(int | None)) else (hint,)
    return " or ".join(kinds.get(each, "a list in brackets") for each in alternatives)


def unknown(path: str, key: str, known: list[str]) -> str:
    """The error for a setting that does not exist, with the most similar of the `known` ones."""
    listing = f"; settings here: {', '.join(known)}" if known else "; it has no settings of its own"
    return f"{path} is not a setting{suggestion(key, known)}{listing}"


def _plain(error: Exception) -> str:
    """Hydra's error in one line, without its advice to use '+' and its list of folders."""
    text = re.sub(r"\s+", " ", str(error.__cause__ or error)).strip()
    text = re.sub(r"(To append to your config use|Config search path:).*", "", text)
    return re.sub(r"full_key: (\S+).*", r"(setting \1)", text).strip()


def first_line(error: Exception) -> str:
    """The first line of an error."""
    return str(error).strip().splitlines()[0]
