"""The selections by schema. One of another package registers as entry point `cotexp.selections`; most others are files in `conf/selection/`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cotexp.extensions import Registry
from cotexp.selections.base import Selection

SELECTIONS = Registry("cotexp.selections", Selection, {"default": "cotexp.selections.base:Selection"})


def selection_of(settings: Mapping[str, Any]) -> type[Selection]:
    """The selection of a stored run."""
    return SELECTIONS.stored(settings["selection"]["name"])
