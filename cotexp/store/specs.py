"""Identity of what the store holds: keys made of all that can change its content, and of nothing else."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any


def key_of(description: dict[str, Any]) -> str:
    """Sixteen hex digits that stand for `description`, made of plain JSON values.

    Raises: TypeError for any other kind of value, which would not have one lasting spelling.
    """
    text = json.dumps(description, sort_keys=True, ensure_ascii=True, allow_nan=False, default=_refuse)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _refuse(value: object) -> None:
    raise TypeError(f"a key can hold plain JSON values only; got {type(value).__name__}: {value!r}")


@dataclass(frozen=True, slots=True)
class Spec:
    """Identity of a ledger or artifact: what can change its content, nothing else."""

    stage: str
    description: dict[str, Any]

    @property
    def key(self) -> str:
        return key_of({"stage": self.stage, **self.description})
