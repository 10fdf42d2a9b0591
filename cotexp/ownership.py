"""Which process builds in a folder: the one that wrote its name there last.

A process that was suspended, or lost the shared disk for a while, may go on after another one has taken over its work. It asks before each write.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cotexp import durable
from cotexp.settings.base import RunFailed

OWNER = "owner"
"""The file with the name, in a folder that is being built."""


class TakenOver(RunFailed):
    """Another process builds in this folder now."""


@dataclass(frozen=True, slots=True)
class Ownership:
    """The owner of a folder at some moment; empty where nobody has written a name."""

    folder: Path
    name: str

    def check(self) -> None:
        """Raises: TakenOver if another process has become the owner, or has finished, since."""
        if (now := owner(self.folder).name) != self.name:
            raise TakenOver(f"{self.folder} has been taken over by {now or 'another process, which has finished it'}")


def owner(folder: Path) -> Ownership:
    """The present owner of a folder."""
    try:
        return Ownership(folder, (folder / OWNER).read_text())
    except FileNotFoundError:
        return Ownership(folder, "")


def take(folder: Path, name: str) -> Ownership:
    """Become the owner of a folder."""
    unfinished = folder / f"{OWNER}.{name}.new"
    unfinished.write_text(name)
    durable.put(unfinished, folder / OWNER, fsync=False)
    return Ownership(folder, name)
