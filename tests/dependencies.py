"""What pip would install for this project: the packages that its requirements ask for, and those that these ask for, as far as they are here."""

from __future__ import annotations

import importlib.metadata
import tomllib
from collections.abc import Iterable
from importlib.metadata import Distribution
from pathlib import Path, PurePosixPath

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def requirements(*extras: str) -> list[Requirement]:
    """Those of `pip install cotexp[EXTRAS]`."""
    optional = PROJECT["optional-dependencies"]
    return [Requirement(each) for each in (*PROJECT["dependencies"], *(each for extra in extras for each in optional[extra]))]


def packages(asked: Iterable[Requirement]) -> dict[str, Distribution]:
    """Name -> installed package, for these requirements and everything that they lead to. Raises: PackageNotFoundError."""
    found: dict[tuple[str, frozenset[str]], Distribution] = {}
    to_do = list(asked)
    while to_do:
        each = to_do.pop()
        name, extras = canonicalize_name(each.name), frozenset(each.extras)
        if (name, extras) in found:
            continue
        found[name, extras] = distribution = importlib.metadata.distribution(name)
        inner = map(Requirement, distribution.requires or ())
        to_do += [one for one in inner if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in ("", *extras))]
    return {name: distribution for (name, _), distribution in found.items()}


def places(distribution: Distribution) -> set[str]:
    """The names directly inside site-packages that a package has written."""
    tops = (PurePosixPath(str(file)).parts[0] for file in distribution.files or ())
    return {top for top in tops if top not in ("..", "__pycache__")}


def num_bytes(distribution: Distribution) -> int:
    """The size of a package on disk."""
    paths = (Path(str(distribution.locate_file(file))) for file in distribution.files or ())
    return sum(path.stat().st_size for path in paths if path.is_file())
