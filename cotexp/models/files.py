"""Checks of the files in a model's folder without torch, so that broken ones are found before anything is computed."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from cotexp.settings.base import ConfigError

WEIGHTS = "model.safetensors"
INDEX = f"{WEIGHTS}.index.json"

_OBJECTS = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    INDEX,
)
_LARGE = ("tokenizer.json", "vocab.json")
_AGAIN = "restore it, or fetch the model again"
SHOWN = 4
"""Names of tensors in one line of an error."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor as the header of its file describes it."""

    dtype: str
    shape: tuple[int, ...]
    file: Path

    @property
    def is_mask(self) -> bool:
        """Whether it is a causal mask or its constant, and not a weight. Old checkpoints contain these; architectures compute them again."""
        return self.dtype in ("BOOL", "U8") or len(self.shape) == 0 or self.shape == (1,) or self.shape[:2] == (1, 1)


def check(folder: Path, setting: str, *, trust_remote_code: bool = False) -> None:
    """Check the files of a model. Raises: ConfigError, with `setting` as its path, if one is broken, missing or of another model."""
    read = {name: _object(folder / name, setting) for name in _OBJECTS if (folder / name).is_file()}
    config = read.get("config.json", {})
    if not isinstance(config.get("model_type"), str):
        raise ConfigError(f"{setting}: config.json in {folder} does not name a model_type; {_AGAIN}")
    if (folder / "adapter_config.json").is_file():
        raise ConfigError(f"{setting} must be a whole model; {folder} holds an adapter (adapter_config.json) without its base model: merge the two")
    _check_size(folder, config, len(stored(folder, setting)), setting)
    if trust_remote_code:
        _check_code(folder, setting)
    if "tokenizer.json" in read:
        _check_vocabulary(folder, read["tokenizer.json"], config, setting)


def stored(folder: Path, setting: str) -> dict[str, Stored]:
    """Every tensor that transformers would read from `folder`, by name. Raises: ConfigError as `check` does."""
    found: dict[str, Stored] = {}
    if (folder / WEIGHTS).is_file():
        found = dict(_header(folder / WEIGHTS, setting))
    elif (folder / INDEX).is_file():
        found = _sharded(folder, setting)
    else:
        files = sorted(folder.glob("*.safetensors"))
        names = ", ".join(f"{path.name}{'' if path.is_file() else ', which is not a file'}" for path in files) or "none"
        raise ConfigError(f"{setting}: weights must be in {WEIGHTS}, or in parts that {INDEX} lists; {folder} has {names}")
    if not found:
        raise ConfigError(f"{setting}: the weights in {folder} hold no tensors; {_AGAIN}")
    return found


def config(folder: Path) -> dict[str, Any]:
    """The content of config.json. (transformers' configuration adds defaults and changes values.)"""
    content: dict[str, Any] = json.loads((folder / "config.json").read_bytes())
    return content


def listed(names: list[str], *, most: int = SHOWN) -> str:
    """The first names and their number, for one line of an error."""
    return f"{', '.join(names[:most])}{f' and {len(names) - most} more' if len(names) > most else ''}"


def _sharded(folder: Path, setting: str) -> dict[str, Stored]:
    weight_map = _object(folder / INDEX, setting).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(each, str) for each in weight_map.values()):
        raise ConfigError(f"{setting}: {INDEX} in {folder} has no weight_map; {_AGAIN}")
    parts = sorted(set(weight_map.values()))
    if missing := [each for each in parts if not (folder / each).is_file()]:
        raise ConfigError(f"{setting}: {INDEX} in {folder} lists parts that are not there: {listed(missing)}; fetch the model again")
    found = {name: each for part in parts for name, each in _header(folder / part, setting)}
    if missing := sorted(weight_map.keys() - found.keys()):
        raise ConfigError(f"{setting}: {INDEX} in {folder} lists tensors that no part holds: {listed(missing)}; fetch the model again")
    return found


def _header(path: Path, setting: str) -> Iterator[tuple[str, Stored]]:
    """The tensors of a safetensors file. Raises: ConfigError if the file is empty, truncated or not in the safetensors format."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            for name in file.keys():  # noqa: SIM118 - the file is not a mapping
                piece = file.get_slice(name)
                yield name, Stored(piece.get_dtype(), tuple(piece.get_shape()), path)
    except (SafetensorError, OSError, ValueError) as error:
        raise ConfigError(
            f"{setting}: the weights in {path} cannot be read ({path.stat().st_size:,} bytes: {first_line(error)}); fetch the model again"
        ) from None


def _object(path: Path, setting: str) -> dict[str, Any]:
    try:
        content = (orjson if path.name in _LARGE else json).loads(path.read_bytes())  # configurations may hold Infinity
    except (ValueError, RecursionError, OSError) as error:
        raise ConfigError(f"{setting}: {path.name} in {path.parent} is not valid JSON ({first_line(error)}); {_AGAIN}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{setting}: {path.name} in {path.parent} must hold a JSON object; it holds {type(content).__name__}; {_AGAIN}")
    return content


def _check_size(folder: Path, config: dict[str, Any], num_tensors: int, setting: str) -> None:
    """Refuse more layers than there are tensors. transformers would take minutes to make thousands of them."""
    layers = [value for name in ("num_hidden_layers", "num_layers", "n_layer", "n_layers") if isinstance(value := config.get(name), int)]
    if layers and max(layers) > num_tensors:
        raise ConfigError(f"{setting}: config.json in {folder} asks for {max(layers)} layers, and its weights are {num_tensors} tensors; {_AGAIN}")


def _check_code(folder: Path, setting: str) -> None:
    """Refuse code outside the folder, because the model's hash covers only files in the folder."""
    if elsewhere := [each for each in code(folder) if "--" in each]:
        raise ConfigError(
            f"{setting}: {folder} takes its code from another place, {elsewhere[0]}, which no hash covers; put its *.py files into the folder, "
            f"and write {elsewhere[0].rpartition('--')[2]} in its auto_map"
        )
    if missing := missing_code(folder):
        raise ConfigError(f"{setting}: {folder} names code that is not there: {', '.join(missing)}; fetch the model again, or put it there")


def missing_code(folder: Path) -> list[str]:
    """Code files that the configuration or the tokenizer name and the folder lacks."""
    return [name for each in code(folder) if not (folder / (name := f"{each.rpartition('--')[2].split('.')[0]}.py")).is_file()]


def code(folder: Path) -> list[str]:
    """The classes in the folder's auto_map, as `module.Class` or `owner/repository--module.Class`; none if its files are broken."""
    found: list[str] = []
    for path in (folder / name for name in ("config.json", "tokenizer_config.json")):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            auto_map = json.loads(path.read_bytes()).get("auto_map")
            values = auto_map if isinstance(auto_map, list) else (auto_map or {}).values()
            found += [one for each in values for one in (each if isinstance(each, list) else [each]) if isinstance(one, str)]
    return list(dict.fromkeys(found))


def _check_vocabulary(folder: Path, tokenizer: dict[str, Any], config: dict[str, Any], setting: str) -> None:
    """Refuse a tokenizer with tokens that have no row in the embeddings."""
    model, rows = tokenizer.get("model"), _vocab_size(config)
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    if not isinstance(vocabulary, dict | list):
        raise ConfigError(f"{setting}: tokenizer.json in {folder} holds no model with a vocab; {_AGAIN}")
    ids = vocabulary.values() if isinstance(vocabulary, dict) else range(len(vocabulary))
    largest = max((each for each in ids if isinstance(each, int)), default=-1)
    if largest < 0:
        raise ConfigError(f"{setting}: tokenizer.json in {folder} holds an empty vocab; {_AGAIN}")
    if rows is not None and largest >= rows:
        raise ConfigError(too_large(setting, folder, largest, rows))


def too_large(setting: str, folder: Path, largest: int, rows: int) -> str:
    """The error for a tokenizer with ids beyond the embeddings."""
    return (
        f"{setting}: the tokenizer in {folder} has ids up to {largest}, and the embeddings of the model {rows} rows: it belongs to another model; "
        "give the folder the model's own tokenizer"
    )


def _vocab_size(config: dict[str, Any]) -> int | None:
    own, text = config.get("vocab_size"), config.get("text_config")
    size = text.get("vocab_size", own) if isinstance(text, dict) else own
    return size if isinstance(size, int) else None


def first_line(error: BaseException) -> str:
    """The first line of an error, with its class if the line alone is unclear."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    first = " ".join(lines[: 2 if lines and lines[0].endswith(":") else 1])
    return f"{type(error).__name__}: {first}" if isinstance(error, LookupError | AttributeError | TypeError) or not first else first
