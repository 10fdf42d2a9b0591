"""Identity of ledgers and artifacts: a key is a hash of everything that can change their content, and of nothing else."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any


def key_of(description: dict[str, Any]) -> str:
    """The first 16 hex digits of the SHA-256 of `description` as canonical JSON.

    Raises: TypeError if it contains anything but plain JSON values, which have no stable representation.
    """
    text = json.dumps(description, sort_keys=True, ensure_ascii=True, allow_nan=False, default=_refuse)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _refuse(value: object) -> None:
    raise TypeError(f"a key may contain plain JSON values only; got {type(value).__name__}: {value!r}")


@dataclass(frozen=True, slots=True)
class Spec:
    """Identity of a ledger or an artifact: its stage, and everything that can change its content."""

    stage: str
    description: dict[str, Any]

    @property
    def key(self) -> str:
        """The name of its folder in the store."""
        return key_of({"stage": self.stage, **self.description})
