"""Settings that are texts keep the characters that were typed, on the command line and in settings files.

Hydra would read name=2026_11_28 as a number, and YAML would read the version 1.10 as 1.1.
"""

from __future__ import annotations

import functools
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml
from antlr4 import CommonTokenStream, InputStream
from hydra.core.override_parser.overrides_visitor import HydraErrorListener
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.grammar.gen.OverrideLexer import OverrideLexer
from hydra.grammar.gen.OverrideParser import OverrideParser
from hydra.plugins.config_source import ConfigResult, ConfigSource
from omegaconf import DictConfig, OmegaConf
from omegaconf._utils import get_yaml_loader

from cotexp.config.slots import text_settings
from cotexp.settings.base import quoted

READ_AS_OTHER = (OverrideLexer.INT, OverrideLexer.FLOAT, OverrideLexer.BOOL)
"""Tokens that Hydra turns into numbers and truth values."""
OF_TEXTS = ("choice", "shuffle", "tag", "str")
"""Functions of Hydra's grammar whose arguments are values of the setting. Those of range(1,3) are numbers."""
SCALARS = tuple(f"tag:yaml.org,2002:{each}" for each in ("int", "float", "bool", "timestamp"))
"""YAML's tags of plain scalars that are no texts; null stays null."""
TEXT = "tag:yaml.org,2002:str"
POINTS = "hydra.sweeper.params."
"""First part of the paths of settings that a named grid varies."""
GROUP, GLOBAL = "_group_", "_global_"
"""Hydra's packages of a settings file: that of its folder, and the root."""
LONGEST_OVERRIDE = 100_000
"""Most characters of one override KEY=VALUE; a prompt of a few pages has a tenth of them."""
DEEPEST_OVERRIDE = 50
"""Most levels of nested brackets in one override."""


@functools.cache
def texts() -> frozenset[str]:
    """Paths of all settings that hold texts."""
    return text_settings()


# --- the command line --------------------------------------------------------------------------------------------------


def as_typed(overrides: Iterable[str]) -> list[str]:
    """The overrides, with quotes around values of text settings that Hydra would read as numbers, truth values or a mapping (JSON objects), and
    without the ++ that sets what is there or not: settings are always there.
    """
    return [_as_typed(each if each.startswith("++hydra") else each.removeprefix("++")) for each in overrides]


def _as_typed(override: str) -> str:
    key, equals, value = override.partition("=")
    if not equals or key.lstrip("+~").partition("@")[0] not in texts() or problem_of(override):
        return override
    if _is_json_object(value):
        return f"{key}={quoted(value)}"
    if not re.search(r"\d|true|false|inf|nan", value, re.I):
        return override
    try:
        spans = list(_numbers(_tree_of(override)))
    except HydraException:
        return override  # `overrides.parse` reports it
    for start, end in reversed(spans):
        override = f"{override[:start]}'{override[start:end].strip()}'{override[end:]}"
    return override


def _is_json_object(text: str) -> bool:
    try:
        return text.lstrip().startswith("{") and isinstance(json.loads(text), dict)
    except ValueError:
        return False


def problem_of(override: str) -> str | None:
    """Why an override must not be parsed, since that would take minutes or crash; None if it may."""
    if len(override) > LONGEST_OVERRIDE:
        return f"has {len(override):,} characters; one override may have {LONGEST_OVERRIDE:,}"
    depth = deepest = 0
    for sign in override:
        depth += (sign in "[{(") - (sign in "]})")
        deepest = max(deepest, depth)
    return f"nests brackets {deepest} deep; one override may nest {DEEPEST_OVERRIDE}" if deepest > DEEPEST_OVERRIDE else None


def _tree_of(override: str) -> Any:
    """Hydra's syntax tree of an override."""
    lexer = OverrideLexer(InputStream(override))
    parser = OverrideParser(CommonTokenStream(lexer))
    for each in (lexer, parser):
        each.removeErrorListeners()
        each.addErrorListener(HydraErrorListener())
    return parser.override()


def _numbers(node: Any) -> Iterator[tuple[int, int]]:
    """(start, end) of the values in an override that Hydra reads as numbers or truth values, with the white space around them."""
    if isinstance(node, OverrideParser.FunctionContext) and node.getChild(0).getText() not in OF_TEXTS:
        return
    if isinstance(node, OverrideParser.PrimitiveContext):
        tokens = [each.symbol for each in node.getChildren()]
        if [each.type in READ_AS_OTHER for each in tokens if each.type != OverrideLexer.WS] == [True]:
            yield tokens[0].start, tokens[-1].stop + 1
        return
    for each in getattr(node, "children", None) or ():
        yield from _numbers(each)


# --- files -------------------------------------------------------------------------------------------------------------


def read_file(path: Path, package: str) -> DictConfig:
    """A settings file as a config. `package` is the place of its content, such as task; empty for the root. Raises: yaml.YAMLError."""
    return OmegaConf.create(read_yaml(path.read_text(encoding="utf-8"), package, is_text) or {})


def is_text(path: str) -> bool:
    """Whether a path in a settings file holds texts: a setting of that type, or one that a sweep varies, whose values are overrides."""
    return path in texts() or path.startswith(POINTS)


def read_yaml(text: str, package: str, is_text: Callable[[str], bool]) -> Any:
    """The content of a YAML text, whose place is `package`. Scalars at paths that are texts by `is_text` stay as they were typed.

    Raises: yaml.YAMLError.
    """
    loader = get_yaml_loader()(text)
    try:
        node = loader.get_single_node()
        if node is not None:
            _keep_spelling(node, package, is_text)
        return None if node is None else loader.construct_document(node)
    finally:
        loader.dispose()


def _keep_spelling(node: yaml.Node, path: str, is_text: Callable[[str], bool]) -> None:
    if isinstance(node, yaml.ScalarNode) and node.style is None and node.tag in SCALARS and is_text(path):
        node.tag = TEXT
    elif isinstance(node, yaml.SequenceNode):
        for each in node.value:
            _keep_spelling(each, path, is_text)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = [path, *([] if key.value == "<<" else [str(key.value)])]
            _keep_spelling(value, ".".join(filter(None, inner)), is_text)


def register() -> None:
    """Let Hydra's reader of settings files keep texts as they are typed."""
    readers = [each for each in Plugins.instance().discover(ConfigSource) if issubclass(each, ConfigSource)]
    (reader,) = (each for each in readers if each.scheme() == "file")
    reader.load_config = _load_config  # type: ignore[method-assign]  # Hydra's registry keeps the first reader of a scheme


def _load_config(self: ConfigSource, config_path: str) -> ConfigResult:
    """A settings file as Hydra takes it."""
    text = Path(self.path, f"{config_path.removesuffix('.yaml')}.yaml").read_text(encoding="utf-8")
    named = package_of(text)
    package = named or GROUP
    group = config_path.split("/")[0] if package == GROUP and "/" in config_path else package.replace(GROUP, "")
    config = OmegaConf.create(read_yaml(text, group.replace(GLOBAL, ""), is_text) or {})
    return ConfigResult(provider=self.provider, path=self.full_path(), config=config, header={"package": named})


def package_of(text: str) -> str | None:
    """The place of a settings file's content, which a comment before all else may name: # @package _global_. Hydra wants it in the first comment."""
    comments = itertools.takewhile(lambda line: not line.strip() or line.lstrip().startswith("#"), text.splitlines())
    return next((found[1] for line in comments if (found := re.match(r"\s*#\s*@package\s+(\S+)", line))), None)
