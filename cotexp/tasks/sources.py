"""Sources of a benchmark's files: a data folder, the Hugging Face hub, or pinned files of a public repository.

Downloads are checked (official row counts, sha256 of pinned files) before anything is written; a file appears complete or not at all, and
`source.json` next to it records its source.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cotexp import durable, extras
from cotexp.settings.base import ConfigError, suggestion
from cotexp.tasks.benchmarks import BENCHMARKS, Benchmark, HubCopy, Split
from cotexp.tasks.pinned_files import RECIPES, cut
from cotexp.tasks.rows import json_line


def known_benchmark(name: str, setting: str) -> Benchmark:
    """The benchmark of this name. Raises: ConfigError naming `setting` if there is none."""
    if name not in BENCHMARKS:
        raise ConfigError(f"{setting} must be one of {', '.join(BENCHMARKS)}{suggestion(name, list(BENCHMARKS))}; got {name!r}")
    return BENCHMARKS[name]


# --- local files ----------------------------------------------------------------------------------------------------------


def data_folders(data: str | None, outputs: str | Path) -> list[Path]:
    """The folders to search for files: paths.data or else COTEXP_DATA, then OUTPUTS/data, to which downloads go."""
    named = data or os.environ.get("COTEXP_DATA")
    return [*([Path(named)] if named else []), Path(outputs) / "data"]


def find_file(split: Split, folders: Iterable[Path]) -> Path | None:
    """The first place of a split that exists; earlier folders win."""
    return next((folder / file for folder in folders for file in split.files if (folder / file).is_file()), None)


def provide_files(name: str, benchmark: Benchmark, folders: Sequence[Path], revision: str | None) -> dict[str, Path]:
    """Split -> file. Files in none of the folders are downloaded from the hub into the last one.

    Raises: ConfigError, with the ways to get a file, if there is no hub copy or no folder, or the download fails.
    """
    if revision:
        _check_revision(name, benchmark, folders, revision)
    missing = [split for split, facts in benchmark.splits.items() if find_file(facts, folders) is None]
    if missing and (not folders or any(benchmark.splits[split].hub is None for split in missing)):
        raise ConfigError(_ways(name, benchmark.splits[missing[0]], folders))
    if missing:
        from_hub(name, benchmark, revision, folders[-1], splits=missing)
    files = {split: find_file(facts, folders) for split, facts in benchmark.splits.items()}
    return {split: path for split, path in files.items() if path is not None}


def _check_revision(name: str, benchmark: Benchmark, folders: Sequence[Path], revision: str) -> None:
    """Raises: ConfigError if there are already files that do not come from this revision of the hub's copy."""
    for path in (path_of_split for facts in benchmark.splits.values() if (path_of_split := find_file(facts, folders))):
        record = next((folder / name / "source.json" for folder in folders if path.is_relative_to(folder)), path)
        splits = json.loads(record.read_bytes())["splits"] if record.name == "source.json" and record.is_file() else []
        commit = next((split.get("commit") for split in splits if path.as_posix().endswith(split["file"])), None)
        if not (commit or "").startswith(revision):
            raise ConfigError(
                f"task.revision={revision} requests the hub's copy, but the existing {path} comes from {commit or 'elsewhere'}; "
                "remove that file, choose another paths.data or paths.outputs, or leave task.revision out"
            )


def _ways(name: str, split: Split, folders: Sequence[Path]) -> str:
    where = f"; looked in {', '.join(map(str, folders))}" if folders else ""
    return (
        f"task={name} needs {' or '.join(split.files)} in a data folder{where}; give paths.data=FOLDER (or set COTEXP_DATA), "
        f"or run `cotexp fetch {name}` once on a machine with a network"
    )


# --- the hub --------------------------------------------------------------------------------------------------------------


def from_hub(name: str, benchmark: Benchmark, revision: str | None, target: Path, *, splits: Iterable[str] | None = None) -> list[Path]:
    """Download splits (all by default) through `datasets` and write them as JSON Lines below `target`; returns the files.

    Raises: ConfigError if the hub cannot be reached, the split does not exist, or its row count is not the official one.
    """
    contents: dict[str, bytes] = {}
    entries: list[dict[str, Any]] = []
    for split in splits or benchmark.splits:
        facts = benchmark.splits[split]
        assert facts.hub is not None, f"{name} has no hub copy of {split}"
        commit, rows = _download(name, facts.hub, revision, target)
        if len(rows) != facts.num_rows:
            raise ConfigError(
                f"task={name}: the {split} split of {facts.hub.name} must have {facts.num_rows} rows, the official count; got {len(rows)}; "
                "give task.revision=HASH of a complete copy, or paths.data=FOLDER"
            )
        contents[facts.files[0]] = b"".join(map(json_line, rows))
        entries.append({"split": split, "hub": facts.hub.name, "config": facts.hub.config, "hub_split": facts.hub.split, "commit": commit})
    return _write(name, target, contents, entries)


def _download(name: str, copy: HubCopy, revision: str | None, target: Path) -> tuple[str | None, list[dict[str, Any]]]:
    """The commit (None for a local folder) and the rows of one hub split."""
    extras.check("hub", f"task={name}: a download of {copy.name} from the Hugging Face hub", "give paths.data=FOLDER (or COTEXP_DATA) with the files")
    import datasets
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError

    client_error: Any = HfHubHTTPError.__mro__[1]  # an error of the HTTP library that this version of the hub's client uses
    target.mkdir(parents=True, exist_ok=True)
    try:
        local = Path(copy.name).is_dir()
        commit = None if local else huggingface_hub.HfApi().dataset_info(copy.name, revision=revision).sha
        with tempfile.TemporaryDirectory(dir=target, prefix=".hub-") as cache:
            loaded = datasets.load_dataset(copy.name, copy.config, split=copy.split, revision=None if local else commit, cache_dir=cache)
            return commit, loaded.to_list()
    except (OSError, ValueError, datasets.exceptions.DatasetsError, client_error) as error:
        first = next(iter(str(error.__cause__ or error).splitlines()), "") or type(error).__name__
        raise ConfigError(
            f"task={name}: {copy.name} could not be loaded from the Hugging Face hub ({first}); check the network and task.revision, or give "
            "paths.data=FOLDER (or COTEXP_DATA) with the files"
        ) from None


# --- pinned files ---------------------------------------------------------------------------------------------------------


def fetch(name: str, target: Path, *, force: bool = False, base: str | None = None) -> list[Path]:
    """Download a task into `target`, from pinned files if there are any, else from the hub; returns the files written.

    Complete files are kept, unless `force`. `base` replaces the address of the repositories' host (COTEXP_FETCH_BASE).

    Raises: ConfigError if a download fails, or its content is not the pinned one.
    """
    benchmark = known_benchmark(name, "fetch")
    incomplete = [split for split, facts in benchmark.splits.items() if force or not is_complete(name, split, target / facts.files[0])]
    if not incomplete:
        return []
    if name not in RECIPES:
        return from_hub(name, benchmark, None, target, splits=incomplete)
    recipe = RECIPES[name]
    contents = {benchmark.splits[split].files[0]: content for split, content in cut(name, base).items() if split in incomplete}
    entries = [{"split": split, "repository": recipe.rows.repository, "commit": recipe.rows.commit, "path": recipe.rows.path} for split in incomplete]
    return _write(name, target, contents, entries)


def is_complete(name: str, split: str, path: Path) -> bool:
    """Whether a file is the complete split: by its sha256 if known, otherwise by its number of rows."""
    if not path.is_file():
        return False
    content = path.read_bytes()
    pinned = RECIPES[name].sha256.get(split) if name in RECIPES else None
    if pinned:
        return hashlib.sha256(content).hexdigest() == pinned
    return sum(1 for line in content.splitlines() if line.strip()) == BENCHMARKS[name].splits[split].num_rows


# --- writing --------------------------------------------------------------------------------------------------------------


def _write(name: str, target: Path, contents: Mapping[str, bytes], entries: list[dict[str, Any]]) -> list[Path]:
    """Write the files and TARGET/NAME/source.json, which keeps its entries for other splits."""
    for place, content in contents.items():
        _write_whole(target / place, content)
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    record = target / name / "source.json"
    before = {entry["split"]: entry for entry in json.loads(record.read_bytes())["splits"]} if record.is_file() else {}
    for entry, (place, content) in zip(entries, contents.items(), strict=True):
        checks = {"file": place, "num_rows": content.count(b"\n"), "sha256": hashlib.sha256(content).hexdigest(), "date": today}
        before[entry["split"]] = {**entry, **checks}
    _write_whole(record, json.dumps({"task": name, "splits": list(before.values())}, indent=2).encode() + b"\n")
    return [target / place for place in contents]


def _write_whole(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), 0o644)
        durable.put(Path(temporary), path)
    finally:
        Path(temporary).unlink(missing_ok=True)
