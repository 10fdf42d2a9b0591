"""Nothing a model wrote is ever computed twice: ledgers of rows and artifacts of files, found by keys of their content.

An *artifact* is a folder that appears whole or not at all. Ledgers and artifacts are claimed before they are computed, so that any number of
processes may work on one store.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cotexp import durable, signals
from cotexp.store.claims import Claims
from cotexp.store.ledgers import Ledger
from cotexp.store.specs import Spec
from cotexp.store.stored_files import Damaged, read_json, write_json


@dataclass(slots=True)
class Store:
    """The folder OUTPUTS/store."""

    root: Path
    writer: str = field(default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}")
    watch: Callable[[], None] = lambda: None
    """Called after each new row and between two looks at what others do; raises when they cannot do it."""

    def ledger(self, spec: Spec) -> Ledger:
        return Ledger(folder=self.root / spec.stage / spec.key, spec=spec, writer=self.writer, watch=self.watch)

    def artifact_path(self, spec: Spec) -> Path:
        return self.root / spec.stage / spec.key

    def unfinished_path(self, spec: Spec) -> Path:
        """Where an artifact is built."""
        path = self.artifact_path(spec)
        return path.with_name(f"{path.name}.partial")

    def has_artifact(self, spec: Spec) -> bool:
        """Whether this artifact is there, whole. Raises: Damaged when there is a folder that does not say so."""
        path = self.artifact_path(spec)
        manifest = path / "manifest.json"
        if not os.path.lexists(path) or (path.is_dir() and not os.path.lexists(manifest) and not any(path.iterdir())):
            return False
        if read_json(manifest, "stage", "key")["key"] != spec.key:
            raise Damaged(manifest, f"belongs to another {spec.stage}")
        return True

    def artifact(self, spec: Spec, build: Callable[[Path], None]) -> Path:
        """The folder of this artifact, built by `build(folder)` unless it exists.

        `build` gets the same unfinished folder again after a kill, so that it can go on from what lies there.
        Raises: Damaged where its place is taken by a folder that does not say that it is whole; nothing is built then.
        """
        path = self.artifact_path(spec)
        partial = self.unfinished_path(spec)
        claims = Claims(path.with_name("claims"), self.writer)
        while not self.has_artifact(spec):
            signals.check()
            with claims.take([spec.key]) as taken:
                if not taken:
                    claims.wait(f"{spec.stage} {spec.key}")
                    continue
                if self.has_artifact(spec):
                    break
                partial.mkdir(parents=True, exist_ok=True)
                build(partial)
                with signals.at_safe_points():
                    write_json(partial / "manifest.json", {"stage": spec.stage, "key": spec.key, **spec.description, "libraries": libraries()})
                    durable.put(partial, path)
        return path


def libraries() -> dict[str, str]:
    """Versions of the libraries that shape a result."""
    import platform
    from importlib.metadata import version

    names = ("torch", "transformers", "peft", "pytorch-lightning", "tokenizers", "numpy")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}
