"""Pinned files of public repositories: downloaded at one commit, split, and checked before anything is written."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from cotexp.settings.base import ConfigError
from cotexp.tasks.benchmarks import BENCHMARKS
from cotexp.tasks.rows import json_line

FETCH_BASE = "https://raw.githubusercontent.com"
TIMEOUT_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Pinned:
    """One file of a public repository at one commit."""

    repository: str
    commit: str
    path: str


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to make a task's splits from pinned files.

    `rows` holds all rows: a JSON list, or an object with them under `field`. `membership` is a JSON object of split and row numbers, or
    for SVAMP one JSON Lines file per split whose `id` names a row's `ID`. `sha256` is the hash of the written file, if known.
    """

    rows: Pinned
    membership: Pinned | Mapping[str, Pinned]
    sha256: Mapping[str, str]
    field: str | None = None


def cut(name: str, base: str | None = None) -> dict[str, bytes]:
    """Split -> its checked content as JSON Lines. `base` replaces the address of the repositories' host (COTEXP_FETCH_BASE).

    Raises: ConfigError if a download fails, or its content is not the pinned one.
    """
    recipe = RECIPES[name]
    rows = _json(recipe.rows, base)
    rows = rows.get(recipe.field) if recipe.field and isinstance(rows, dict) else rows
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ConfigError(f"fetch {name}: {recipe.rows.path} must hold a list of rows; the source has changed, use paths.data=FOLDER instead")
    result = {}
    for split, numbers in _members(name, recipe, rows, base).items():
        if outside := [number for number in numbers if not 0 <= number < len(rows)]:
            raise ConfigError(f"fetch {name}: the split names row {outside[0]}, but {recipe.rows.path} has {len(rows)} rows; nothing was written")
        content = b"".join(json_line(rows[number]) for number in numbers)
        _check(name, split, content, num_rows=len(numbers), sha256=recipe.sha256.get(split))
        result[split] = content
    return result


def _members(name: str, recipe: Recipe, rows: list[dict[str, Any]], base: str | None) -> dict[str, list[int]]:
    """Split -> row numbers, in the split's order."""
    if isinstance(recipe.membership, Pinned):
        members = _json(recipe.membership, base)
    else:
        by_id = {row.get("ID"): number for number, row in enumerate(rows)}
        members = {
            split: [by_id.get(orjson.loads(line).get("id"), -1) for line in _get(pinned, base).splitlines() if line.strip()]
            for split, pinned in recipe.membership.items()
        }
    splits = list(BENCHMARKS[name].splits)
    if not isinstance(members, dict) or not all(isinstance(number, int) for split in splits for number in members.get(split, [None])):
        raise ConfigError(f"fetch {name}: the split file must hold the row numbers of {' and '.join(splits)}; the source has changed")
    return {split: members[split] for split in splits}


def _check(name: str, split: str, content: bytes, *, num_rows: int, sha256: str | None) -> None:
    official, actual = BENCHMARKS[name].splits[split].num_rows, hashlib.sha256(content).hexdigest()
    if num_rows != official:
        raise ConfigError(f"fetch {name}: the {split} split must have {official} rows; got {num_rows}; nothing was written")
    if sha256 is not None and actual != sha256:
        raise ConfigError(f"fetch {name}: sha256 of the {split} split must be {sha256}; got {actual}; nothing was written; try again")


def _json(pinned: Pinned, base: str | None) -> Any:
    try:
        return orjson.loads(_get(pinned, base))
    except orjson.JSONDecodeError as error:
        raise ConfigError(f"fetch: {pinned.repository}: {pinned.path} is not valid JSON ({error}); the download is damaged, try again") from None


def _get(pinned: Pinned, base: str | None) -> bytes:
    import http.client  # imported only for downloads
    import urllib.error
    import urllib.request

    start = (base or os.environ.get("COTEXP_FETCH_BASE") or FETCH_BASE).rstrip("/")
    address = f"{start}/{pinned.repository}/{pinned.commit}/{urllib.parse.quote(pinned.path)}"
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT_SECONDS) as answer:
            content: bytes = answer.read()
            return content
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = f"status {error.code}" if isinstance(error, urllib.error.HTTPError) else str(getattr(error, "reason", error)) or type(error).__name__
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        raise ConfigError(
            f"fetch: {address} could not be downloaded ({reason}); check the network and COTEXP_FETCH_BASE, or give paths.data=FOLDER"
        ) from None


_ZERO_SHOT = ("kojima-takeshi188/zero_shot_cot", "5ef330fcdeec0cd26aee27943504f91f8ec1c33c")
_TEACHER = ("itsnamgyu/reasoning-teacher", "a2ca4d28d3bbabbd77106b76d06885d1a5eac0d9")
_FALLACY = ("Gabriel-Kevorkian/LLM-Fallacy-Pressure", "65fe56c7b4c38f1bd261356737e134cfc2f99a03")


def _recipe(rows: str, split: str, train: str, test: str, field: str | None = None) -> Recipe:
    return Recipe(
        Pinned(*_ZERO_SHOT, f"dataset/{rows}"), Pinned(*_TEACHER, f"data/split/{split}__default.json"), {"train": train, "test": test}, field
    )


RECIPES: dict[str, Recipe] = {
    "svamp": Recipe(
        Pinned("arkilpatel/SVAMP", "689d7ccac74b9983a2ac7cc3b264f441b99e7c53", "SVAMP.json"),
        {split: Pinned(*_FALLACY, f"data/svamp/{split}.jsonl") for split in ("train", "test")},
        {"train": "01e5b21f811e06c6aab77a313ec9cb783e602d0c359b9275eada636c3f2b7611"},
    ),
    "multiarith": _recipe(
        "MultiArith/MultiArith.json",
        "multiarith",
        "0ac939af9eadad9606874c266e5f359e46663cd564975e34fbed090c8d064c8e",
        "be6e85633e8fc480a862a79abe4d6afce667199836966673243e21d88eb105fc",
    ),
    "addsub": _recipe(
        "AddSub/AddSub.json",
        "addsub",
        "d434f6513e25c347c37386ef2151a113f6d07529e44eecc86f159134bdbf4d4d",
        "48372be6d9c7dae74abd078c0dae6b4feb4da32fa9f789fa182e1ed3d4c284d0",
    ),
    "singleeq": _recipe(
        "SingleEq/questions.json",
        "single_eq",
        "3a8570f66d5c81f1c8981893373b327b511c2b68aa41eb816415751db4c604b4",
        "a98c0adbbff070d9057aba723315ba7c1ed75bc1cf3f5670d19ef0644e4f86b4",
    ),
    "strategyqa": _recipe(
        "StrategyQA/task.json",
        "strategy_qa",
        "8f6192fa4e1e79e74d3b80a8b64473ca804f6ac970889964a9796175dea59af8",
        "a0e860e94ec50e16259deb8aafe2e3fbd3b1bfa07cb726bbc85b6c2f76070019",
        "examples",
    ),
    "date_understanding": _recipe(
        "Bigbench_Date/task.json",
        "date_understanding",
        "c608c7533f9edde4e9ec192f666fdcc331d019a110e9072d2ba763c201307b2d",
        "90e2a0e2babdba40c4bd43ac1468edc2d17065be56ae1e7c30cb802ab631c061",
        "examples",
    ),
    "tracking_shuffled_objects": _recipe(
        "Bigbench_object_tracking/task.json",
        "tracking_shuffled_objects",
        "2e124ad3a9ff14aeb8b755d90967502c053ed518130f09b241c1c4f9cd36872d",
        "ff727e242b29c91cc3960e6aa03cf83cf9ff7b31725775d7a782c7f2e5f8c2f1",
        "examples",
    ),
}
