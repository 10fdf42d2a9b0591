"""The store keeps everything that was computed, so that nothing is computed twice: ledgers of rows and artifacts of files, found by key.

An *artifact* is a folder that appears complete or not at all. Processes claim rows and artifacts before they compute them, so any number of
processes can share a store.
"""

from __future__ import annotations

import logging
import os
import socket
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cotexp import durable, ownership, signals
from cotexp.store.claims import Claims
from cotexp.store.ledgers import Ledger
from cotexp.store.specs import Spec
from cotexp.store.stored_files import Damaged, read_json, write_json

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Store:
    """The folder OUTPUTS/store."""

    root: Path
    writer: str = field(default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}")
    watch: Callable[[], None] = lambda: None
    """Called after each new row and between polls; raises if a process that works on the same rows has failed."""

    def ledger(self, spec: Spec) -> Ledger:
        """The ledger with this identity; its folder is made with the first missing row."""
        return Ledger(folder=self.root / spec.stage / spec.key, spec=spec, writer=self.writer, watch=self.watch)

    def artifact_path(self, spec: Spec) -> Path:
        """The folder of an artifact once it is complete."""
        return self.root / spec.stage / spec.key

    def unfinished_path(self, spec: Spec) -> Path:
        """The folder in which an artifact is built."""
        path = self.artifact_path(spec)
        return path.with_name(f"{path.name}.partial")

    def has_artifact(self, spec: Spec) -> bool:
        """Whether this artifact is complete. Raises: Damaged if its folder has no valid manifest."""
        path = self.artifact_path(spec)
        manifest = path / "manifest.json"
        if not os.path.lexists(path) or (path.is_dir() and not os.path.lexists(manifest) and not any(path.iterdir())):
            return False
        if read_json(manifest, "stage", "key")["key"] != spec.key:
            raise Damaged(manifest, f"belongs to another {spec.stage}")
        return True

    def artifact(self, spec: Spec, build: Callable[[Path], None]) -> Path:
        """The folder of this artifact. `build(folder)` makes it unless it exists.

        After a kill `build` gets the same unfinished folder again, so that it can resume. If this process was suspended for longer than a lease
        and another one has taken the folder over, this one leaves it to that one and waits.
        Raises: Damaged if a folder without a valid manifest is in its place; nothing is built then. Stopped on a signal.
        """
        path = self.artifact_path(spec)
        claims = Claims(path.with_name("claims"), self.writer)
        while not self.has_artifact(spec):
            signals.check()
            with claims.take([spec.key]) as taken:
                if not taken:
                    claims.wait(f"{spec.stage} {spec.key}")
                    continue
                if self.has_artifact(spec):
                    break
                try:
                    self._build(spec, build)
                except Exception as error:  # what a lost folder ends with depends on the write that meets it first
                    if not (new_owner := self._new_owner(spec)):
                        raise
                    log.warning(
                        "%s %s has been taken over by %s, because this process was suspended or had lost the disk; it is left to that one (%s)",
                        *(spec.stage, spec.key, new_owner, type(error).__name__),
                        exc_info=None if isinstance(error, ownership.TakenOver | OSError) else error,
                    )
        return path

    def _build(self, spec: Spec, build: Callable[[Path], None]) -> None:
        partial, path = self.unfinished_path(spec), self.artifact_path(spec)
        partial.mkdir(parents=True, exist_ok=True)
        owner = ownership.take(partial, self.writer)
        build(partial)
        with signals.at_safe_points():
            owner.check()
            write_json(partial / "manifest.json", {"stage": spec.stage, "key": spec.key, **spec.description, "libraries": libraries()})
            durable.put(partial, path)
            (path / ownership.OWNER).unlink()

    def _new_owner(self, spec: Spec) -> str:
        """Who builds this artifact, or has finished it, in place of this process; empty if nobody does."""
        name = ownership.owner(self.unfinished_path(spec)).name
        return name if name not in ("", self.writer) else "another process" if self.has_artifact(spec) else ""


def libraries() -> dict[str, str]:
    """Versions of Python and of the libraries that can change a result."""
    import platform
    from importlib.metadata import version

    names = ("torch", "transformers", "peft", "pytorch-lightning", "tokenizers", "numpy")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}
