"""Packages of somebody else's as pip leaves them: a module and its metadata with an entry point; and runs that find them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import forked

ROOT = Path(__file__).resolve().parent.parent


def install(site: Path, group: str, entry: str, code: str) -> Path:
    """Puts a package named after the entry point's option into the folder `site`. `entry` is an entry point, such as "easy = module:Class"."""
    name, module = entry.split(" = ")[0], entry.split(" = ")[1].split(":")[0]
    metadata = site / f"{name}-0.1.dist-info"
    metadata.mkdir(parents=True)
    (site / f"{module}.py").write_text(code)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1\n")
    (metadata / "entry_points.txt").write_text(f"[{group}]\n{entry}\n")
    return site


def run(site: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`run.py` with the packages of `site`."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(site)]), "COLUMNS": "150"}
    return forked.run(["run.py", *words], cwd=ROOT, env=environment)
