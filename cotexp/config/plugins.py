"""Classes of this project in place of Hydra's own and of its plugins'. Names and settings stay the same."""

from __future__ import annotations

from hydra.core.plugins import Plugins


def replace(theirs: str, ours: type) -> None:
    """Let Hydra make an object of `ours` where settings name the class `theirs`, MODULE.CLASS."""
    Plugins.instance().class_name_to_class[theirs] = ours


def name_of(kind: type) -> str:
    """MODULE.CLASS."""
    return f"{kind.__module__}.{kind.__name__}"
