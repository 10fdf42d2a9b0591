"""Short names of settings, for figures and papers: the last word of each path, such as stop=rebound."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_SETTING = re.compile(r"[a-z_]+(?:\.[a-z_0-9]+)*(?==)")
"""The path of a setting in a label."""


def short_names(labels: Iterable[str]) -> dict[str, str]:
    """Path of a setting in these labels -> its last word; empty if two of them end alike."""
    paths = dict.fromkeys(path for label in labels for path in _SETTING.findall(label))
    names = {path: path.rpartition(".")[2] for path in paths}
    return names if len(set(names.values())) == len(names) else {}


def shortened(text: str, names: Mapping[str, str]) -> str:
    """`text` with these names in place of paths."""
    return _SETTING.sub(lambda found: names.get(found[0], found[0]), text)
