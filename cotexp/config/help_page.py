"""What `cotexp run --help` prints."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra import initialize_config_dir
from omegaconf import DictConfig, ListConfig, OmegaConf

from cotexp.config import launchers
from cotexp.config.overrides import bad_option, compose, file_of, options, parse, word_of
from cotexp.config.schema import register, section_of
from cotexp.config.search_path import CONF
from cotexp.config.slots import OVERLAYS, ROOT, SECTIONS
from cotexp.config.spelling import as_typed
from cotexp.invocation import run_command
from cotexp.settings.base import ConfigError, allowed, suggestion
from cotexp.settings.root import Settings

HELP = """cotexp: how much of a chain of thought does a model need, and which should a small model learn from?

  {run}                              the quickstart: MACC on the embedded task and model
  {run} SLOT=OPTION SLOT.SETTING=VALUE ...
  {run} -m compression=macc,none seed=0,1    every combination
  {run} -m sweep=macc/rounds         a named grid
  {run} plan=true ...                print stages and what is cached, compute nothing
  {run} --cfg job ...                print the composed settings
  {run} --help SLOT=OPTION ...       this page for other options
  {run} --help SLOT ...              one slot alone: its options, and its settings with choices and limits
  {run} --config-dir DIR ...         with your own settings files, such as DIR/task/NAME.yaml
"""


RUN = "run"
"""The name of the settings outside the slots."""
SLOTS = (RUN, *SECTIONS, *OVERLAYS, launchers.GROUP)
"""What the page can be confined to."""
PLAIN = 60
"""Most characters of a default that is shown in full."""


def help_text(words: list[str]) -> str:
    """Usage, the options of each slot, and each setting of the chosen options with its description, default, choices and limits.

    `words` are overrides, of which those of slots choose the options, and names of slots, to which the page is confined.
    Raises: ConfigError for an unknown option or slot.
    """
    register()
    slots = [each for each in words if "=" not in each]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        chosen = [each for each in parse(as_typed([each for each in words if "=" in each])) if each.key_or_group in {*SECTIONS, *OVERLAYS}]
        problems = [
            f"--help takes SLOT=OPTION, or a slot: {', '.join(SLOTS)}; got {each!r}{suggestion(each, list(SLOTS))}"
            for each in slots
            if each not in SLOTS
        ]
        problems += [problem for each in chosen if (problem := bad_option(each))]
        if problems:
            raise ConfigError(*problems)
        config = compose([word_of(each) for each in chosen])
    if slots:
        return "\n\n".join("\n".join(_slot_help(config, each)) for each in dict.fromkeys(slots))
    lines = [HELP.format(run=run_command())]
    for group in (*SECTIONS, *OVERLAYS):
        lines.append(f"{group}= {' | '.join(options(group))}")
    lines.append(f"{launchers.GROUP}= {' | '.join(launchers.names())}    (with -m; settings and comments in conf/{launchers.GROUP})")
    for section in (RUN, *SECTIONS):
        lines += ["", *_section_help(config, section)]
    return "\n".join(lines)


def _slot_help(config: DictConfig, slot: str) -> Iterator[str]:
    """The options of a slot, and its settings."""
    if slot in OVERLAYS:
        names = options(slot)
        width = max(map(len, names), default=0)
        yield f"{slot}="
        yield from (f"  {name:{width}}  {_comment_of(file_of(slot, name))}".rstrip() for name in names)
    elif slot != RUN:
        yield f"{slot}= {' | '.join(launchers.names() if slot == launchers.GROUP else options(slot))}"
    if slot == RUN or slot in SECTIONS:
        yield from _section_help(config, slot)


def _comment_of(file: Path | None) -> str:
    """The first sentence of the comment at the head of a settings file."""
    lines = file.read_text(encoding="utf-8").splitlines() if file else []
    comments = [line.lstrip("# ").strip() for line in itertools.takewhile(lambda line: line.startswith("#"), lines)]
    return re.split(r"(?<=[.:]) ", " ".join(each for each in comments if not each.startswith("@package")))[0]


def _section_help(config: DictConfig, slot: str) -> Iterator[str]:
    if slot == RUN:
        yield f"[{RUN}]"
        yield from (_setting_help(each, each.name, repr(config[each.name])) for each in dataclasses.fields(Settings) if each.name in ROOT)
        return
    yield f"[{slot}] {(section_of(config[slot], slot).__doc__ or '').strip().splitlines()[0]}"
    yield from _settings_help(config[slot], slot)


def _settings_help(node: DictConfig, path: str) -> Iterator[str]:
    for each in dataclasses.fields(section_of(node, path)):
        missing = OmegaConf.is_missing(node, each.name)
        value = None if missing else node[each.name]
        if isinstance(value, DictConfig):
            yield from _settings_help(value, f"{path}.{each.name}")
        else:
            shown = "(must be given)" if missing else str(list(value)) if isinstance(value, ListConfig) else repr(value)
            yield _setting_help(each, f"{path}.{each.name}", shown if len(shown) < PLAIN else shown[: PLAIN - 3] + "...")


def _setting_help(field: dataclasses.Field[Any], path: str, shown: str) -> str:
    """A setting with its default, choices or limits, and its sentence."""
    rule = allowed(field.metadata) if field.metadata else ""
    return f"  {path} = {shown}{f'    ({rule})' if rule else ''}\n      {field.metadata.get('sentence', '')}"
