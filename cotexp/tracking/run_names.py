"""The name of a run at a tracker: what sets it apart, such as `lr=0.003 rounds=3 s0`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cotexp.jobs.current_sweep import CurrentSweep
from cotexp.settings.base import spelled
from cotexp.settings.root import Settings

SHORT = {"learning_rate": "lr", "max_rounds": "rounds"}
"""Last word of a setting -> the word that names have for it."""
NOT_SHOWN = ("seed", "name", "plan", "baseline", "compress_only", "sweep", "debug", "tracking", "paths", "hydra")
"""Settings and slots that names leave out, because they have a place of their own or change no result."""
LONGEST, LONGEST_VALUE = 128, 40
"""In characters. W&B refuses longer names."""


def run_name(
    settings: Settings, config: Mapping[str, Any], options: Mapping[str, str | None], words: Sequence[str], sweep: CurrentSweep | None
) -> str:
    """What varies in the sweep of a run and its seed. Without a sweep: its experiment, what the command line sets, and the seed."""
    paths = sweep.varied if sweep else (word.partition("=")[0].lstrip("+") for word in words)
    shown = [path for path in dict.fromkeys(paths) if path.partition(".")[0].partition("/")[0] not in NOT_SHOWN]
    if sweep is None:
        shown = [path for path in shown if path != "experiment"]  # the name of the experiment says it
    names = dict(zip(shown, _short(shown), strict=True))
    parts = [f"{names[path]}={_value(path, config, options)}" for path in shown]
    if sweep is None or not parts:
        parts = [settings.name, *parts]
    seed = f"s{settings.seed}"
    return f"{_cut(' '.join(parts), LONGEST - len(seed) - 1)} {seed}"


def _short(paths: Sequence[str]) -> Iterable[str]:
    """The last word of each path, or all of it if another ends with the same word."""
    last = [SHORT.get(word, word) for word in (path.rpartition(".")[2] for path in paths)]
    return [word if last.count(word) == 1 else path for path, word in zip(paths, last, strict=True)]


def _value(path: str, config: Mapping[str, Any], options: Mapping[str, str | None]) -> str:
    """The value of a setting at this run, as short as it can be typed; of a slot its option."""
    if "." not in path and options.get(path):
        return str(options[path])
    value: Any = config
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    if isinstance(value, Mapping):
        value = value.get("name")
    text = f"{value:g}" if isinstance(value, float) else spelled(value)
    return _cut(text, LONGEST_VALUE)


def _cut(text: str, most: int) -> str:
    """A text of at most so many characters; of a longer one its beginning and end, and digits that tell it from others with the same ones."""
    if len(text) <= most:
        return text
    digits = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:4]
    ends = most - len(digits) - 3
    return f"{text[: ends // 3]}…{text[len(text) - (ends - ends // 3) :]} #{digits}"
