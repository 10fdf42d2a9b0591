"""What `cotexp run --help` prints."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from hydra import initialize_config_dir
from omegaconf import DictConfig, ListConfig, OmegaConf

from cotexp.config import launchers
from cotexp.config.overrides import bad_option, compose, options, parse, word_of
from cotexp.config.schema import register, section_of
from cotexp.config.search_path import CONF
from cotexp.config.slots import OVERLAYS, ROOT, SECTIONS
from cotexp.config.spelling import as_typed
from cotexp.invocation import run_command
from cotexp.settings.base import ConfigError
from cotexp.settings.root import Settings

HELP = """cotexp: how much of a chain of thought does a model need, and which should a small model learn from?

  {run}                              the quickstart: MACC on the embedded task and model
  {run} SLOT=OPTION SLOT.SETTING=VALUE ...
  {run} -m compression=macc,none seed=0,1    every combination
  {run} -m sweep=macc/rounds         a named grid
  {run} plan=true ...                print stages and what is cached, compute nothing
  {run} --cfg job ...                print the composed settings
  {run} --help SLOT=OPTION ...       this page for other options
  {run} --config-dir DIR ...         with your own settings files, such as DIR/task/NAME.yaml
"""


def help_text(overrides: list[str]) -> str:
    """Usage, the options of each slot, and each setting of the chosen options with its description and default.

    Raises: ConfigError for an unknown option.
    """
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        groups = {*SECTIONS, *OVERLAYS}
        chosen = [each for each in parse(as_typed(overrides)) if each.key_or_group in groups]
        problems = [problem for each in chosen if (problem := bad_option(each))]
        if problems:
            raise ConfigError(*problems)
        config = compose([word_of(each) for each in chosen])
    lines = [HELP.format(run=run_command())]
    for group in (*SECTIONS, *OVERLAYS):
        lines.append(f"{group}= {' | '.join(options(group))}")
    lines.append(f"{launchers.GROUP}= {' | '.join(launchers.names())}    (with -m; settings and comments in conf/{launchers.GROUP})")
    lines += [
        "",
        "[run]",
        *(f"  {each.name} = {config[each.name]!r}\n      {each.metadata['sentence']}" for each in dataclasses.fields(Settings) if each.name in ROOT),
    ]
    for slot in SECTIONS:
        section = section_of(config[slot], slot)
        lines += ["", f"[{slot}] {(section.__doc__ or '').strip().splitlines()[0]}", *_settings_help(config[slot], slot)]
    return "\n".join(lines)


def _settings_help(node: DictConfig, path: str) -> Iterator[str]:
    for each in dataclasses.fields(section_of(node, path)):
        missing = OmegaConf.is_missing(node, each.name)
        value = None if missing else node[each.name]
        if isinstance(value, DictConfig):
            yield from _settings_help(value, f"{path}.{each.name}")
        else:
            shown = "(must be given)" if missing else str(list(value)) if isinstance(value, ListConfig) else repr(value)
            yield f"  {path}.{each.name} = {shown if len(shown) < 60 else shown[:57] + '...'}\n      {each.metadata.get('sentence', '')}"
