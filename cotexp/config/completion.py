"""What a shell offers for a word of a command: slots with their options, also those in folders of their own, launchers, settings and their values."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from hydra import initialize_config_dir
from hydra.plugins.completion_plugin import CompletionPlugin
from omegaconf import DictConfig, OmegaConf

from cotexp.config import launchers
from cotexp.config.overrides import bad_option, compose, options, parse, word_of
from cotexp.config.schema import register, section_of
from cotexp.config.search_path import CONF
from cotexp.config.slots import OVERLAYS, SECTIONS
from cotexp.settings.base import ConfigError, spelled


def completions(words: Sequence[str], word: str) -> list[str]:
    """What `word`, which is being typed after the overrides `words`, may become. Mistakes in `words` are left out."""
    register()
    key, equals, value = word.partition("=")
    if not equals:
        found = _names(words, word)
    elif value.startswith((".", "/", "~/")):
        found = (f"{key}={path}" for path in CompletionPlugin.complete_files(value))
    else:
        before, comma, _ = value.rpartition(",")
        found = (f"{key}={before}{comma}{each}" for each in _values(words, key))
    return sorted(each for each in set(found) if each.startswith(word))


def _names(words: Sequence[str], word: str) -> Iterator[str]:
    if "." not in word:
        yield from (f"{group}=" for group in (*SECTIONS, *OVERLAYS, launchers.GROUP))
    path = word.rpartition(".")[0]
    node = _part(words, path)
    for name in map(str, node) if isinstance(node, DictConfig) else ():
        inner = None if OmegaConf.is_missing(node, name) else node[name]
        yield f"{path}{'.' * bool(path)}{name}{'.' if isinstance(inner, DictConfig) else '='}"


def _values(words: Sequence[str], key: str) -> list[str]:
    if key in (*SECTIONS, *OVERLAYS):
        return options(key)
    if key == launchers.GROUP:
        return launchers.names()
    path, _, name = key.rpartition(".")
    node = _part(words, path)
    if not isinstance(node, DictConfig) or name not in node:
        return []
    (field,) = (each for each in dataclasses.fields(section_of(node, path)) if each.name == name)
    value: Any = None if OmegaConf.is_missing(node, name) else node[name]
    if isinstance(value, bool):
        return ["true", "false"]
    return list(map(str, field.metadata.get("choices") or ())) or ([spelled(value)] if isinstance(value, str | int | float) and value != "" else [])


def _part(words: Sequence[str], path: str) -> Any:
    """The part of the settings at `path`, under the options that the words choose."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(list(_chosen(words)))
    return OmegaConf.select(config, path) if path else config


def _chosen(words: Sequence[str]) -> Iterator[str]:
    for word in words:
        try:
            (each,) = parse([word])
        except ConfigError:
            continue
        if each.key_or_group in (*SECTIONS, *OVERLAYS) and not each.is_sweep_override() and not bad_option(each):
            yield word_of(each)
