"""No compression: the model is trained on full chains alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cotexp.compressions.base import Compression
from cotexp.settings.base import setting


@dataclass(slots=True, kw_only=True)
class NoCompression(Compression):
    """Train on the full chains of thought alone."""

    has_short_form: ClassVar[bool] = False

    name: str = setting("none", "Name of the compression.", choices=("none",))
