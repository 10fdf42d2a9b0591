"""Small files of runs and of the store. They are written atomically and checked when read: an error names the file and the next step."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from cotexp import durable, signals
from cotexp.settings.base import ConfigError, RunFailed
from cotexp.settings.evaluation import MODES

Row = dict[str, Any]

SETTINGS, STAGES, METRICS, QUESTIONS, STATUS = "settings.json", "stages.json", "metrics.json", "questions.json", "status.json"
PLANNED = "planned.json"
"""The content of stages.json once the run is finished: the parts of the store that it resumes from."""
SELECTION, COMPRESSED = "selection.jsonl", "compressed.jsonl"
RUN_FILES = (SETTINGS, STAGES, METRICS, QUESTIONS, STATUS, PLANNED, SELECTION, COMPRESSED)
"""Files of a run's folder that its command can write again."""


class StoreError(RunFailed):
    """The store cannot be used. The message names the file or folder and the next step."""


class Damaged(StoreError):
    """A stored file is missing, truncated or malformed."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path} {problem}; {_next_step(path)}")


def _next_step(path: Path) -> str:
    if path.name in RUN_FILES:
        return f"run that run's command again, which rewrites it, or remove {path.parent}"
    if path.name == "manifest.json":
        return f"restore it, or remove the folder {path.parent}, which is then computed again"
    if path.name.startswith("rows-"):
        return "make it readable, or move it away; its rows are then computed again"
    return "restore it, or remove it"


# --- writing -------------------------------------------------------------------------------------------------------------


def write_json(path: Path, content: Any, *, fsync: bool = True) -> None:
    """Write a JSON file atomically: readers see the old file or the new one. With `fsync` that also holds after a power cut."""
    _write(path, orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY), fsync=fsync)


def write_lines(path: Path, rows: list[Row]) -> None:
    """Write a JSON Lines file atomically and durably."""
    _write(path, b"".join(orjson.dumps(row) + b"\n" for row in rows))


def _write(path: Path, content: bytes, *, fsync: bool = True) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    with signals.at_safe_points():
        try:
            temporary.write_bytes(content)
            durable.put(temporary, path, fsync=fsync)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise


# --- reading -------------------------------------------------------------------------------------------------------------


def read_json(path: Path, *required: str) -> dict[str, Any]:
    """The object in a JSON file. Raises: Damaged if the file is missing or malformed, or lacks one of the `required` names."""
    content = _parsed(path, _read(path), "is not valid JSON")
    if not isinstance(content, dict):
        raise Damaged(path, f"contains {_kind(content)} instead of an object")
    if missing := [name for name in required if name not in content]:
        raise Damaged(path, f"lacks {', '.join(missing)}")
    return content


def read_lines(path: Path) -> list[Row]:
    """The objects of a JSON Lines file. Raises: Damaged, with the line number, if a line is not a JSON object or is empty."""
    content = _read(path)
    if content and not content.endswith(b"\n"):
        raise Damaged(path, f"is truncated in line {content.count(bytes([10])) + 1}")
    rows = []
    for number, line in enumerate(content.splitlines(), 1):
        row = _parsed(path, line, f"has invalid JSON in line {number}")
        if not isinstance(row, dict) or not row:
            raise Damaged(path, f"has no row in line {number}")
        rows.append(row)
    return rows


def _read(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise Damaged(path, "is not a file")
        return path.read_bytes()
    except FileNotFoundError:
        raise Damaged(path, "does not exist") from None
    except OSError as error:
        raise Damaged(path, f"cannot be read ({error.strerror})") from None


def _parsed(path: Path, content: bytes, problem: str) -> Any:
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        raise Damaged(path, problem if content.strip() else "is empty") from None


def _kind(value: object) -> str:
    return {list: "a list", str: "a text", bool: "true or false", type(None): "null"}.get(type(value), "a number")


@contextlib.contextmanager
def reading_run(folder: Path) -> Iterator[None]:
    """Raises: StoreError if the block fails because of the content of the files of the run in `folder`, although each can be read."""
    try:
        yield
    except (LookupError, TypeError, AttributeError, ArithmeticError, ValueError, StopIteration) as error:
        if isinstance(error, ConfigError):
            raise
        raise StoreError(
            f"{folder}: the files of this run, or rows of the store that it uses, lack something needed ({type(error).__name__}: {error}); "
            "run its command again, or remove the folder"
        ) from (None if isinstance(error, StopIteration) else error)  # a generator must not raise StopIteration, not even as a cause


# --- files of a run --------------------------------------------------------------------------------------------------------


def settings_of(folder: Path) -> dict[str, Any]:
    """The settings of the run in `folder`. Raises: Damaged."""
    path = folder / SETTINGS
    settings = read_json(path, "name")
    if not isinstance(settings["name"], str):
        raise Damaged(path, "has no name")
    evaluation = settings.get("evaluation", {"modes": MODES})
    modes = (evaluation.get("modes") or MODES) if isinstance(evaluation, dict) else None
    if not isinstance(modes, list | tuple) or not any(mode in MODES for mode in modes):
        raise Damaged(path, "has no known mode in evaluation.modes")
    return settings


def metrics_of(folder: Path) -> dict[str, float]:
    """The metrics of the finished run in `folder`; one that is null there, as NaN is written, is none. Raises: Damaged."""
    metrics = read_json(folder / METRICS)
    if not metrics:
        raise Damaged(folder / METRICS, "has no metrics")
    if invalid := [name for name, value in metrics.items() if value is not None and not isinstance(value, int | float)]:
        raise Damaged(folder / METRICS, f"has no number for {invalid[0]}")
    return {name: value for name, value in metrics.items() if value is not None}


def stages_of(folder: Path, name: str = STAGES, *, complete: bool = False) -> dict[str, dict[str, Any]]:
    """Stage -> key and path in the store of what the run in `folder` used or, with name=PLANNED, resumes from.

    Raises: Damaged; with `complete` also if a key or path is missing, or if a run that has planned or finished names no stages.
    """
    path = folder / name
    stages = read_json(path)
    if complete and not stages and any((folder / other).exists() for other in (METRICS, PLANNED)):
        raise Damaged(path, "names no stages")
    required = ("key", "path") if complete else ()
    for stage, entry in stages.items():
        if not isinstance(entry, dict) or not all(isinstance(entry.get(field), str) for field in required):
            raise Damaged(path, f"has no key and path for {stage}")
    return stages


def questions_of(folder: Path) -> tuple[dict[str, list[str]], dict[str, dict[str, Any]]]:
    """(task -> ids of the answers in one mode, question id -> its text, gold answer, and the steps of its solution if known) of a run.

    Raises: Damaged.
    """
    content = read_json(folder / QUESTIONS, "test")
    answers, questions = content["test"], content.get("questions", {})
    if not isinstance(answers, dict) or not answers or not all(isinstance(ids, list) for ids in answers.values()):
        raise Damaged(folder / QUESTIONS, "names no answers")
    if not isinstance(questions, dict) or not all(isinstance(question, dict) for question in questions.values()):
        raise Damaged(folder / QUESTIONS, "has malformed questions")
    return answers, questions


def selection_of(folder: Path) -> list[Row]:
    """One row per question whose rationales the run in `folder` selected from; none if the run had no selection. Raises: Damaged."""
    return _counted_rows(folder, SELECTION, "selection/num_questions")


def compressed_of(folder: Path) -> list[Row]:
    """One row per chain that the run in `folder` compressed. Raises: Damaged."""
    return _counted_rows(folder, COMPRESSED, "compression/num_rationales")


def _counted_rows(folder: Path, name: str, metric: str) -> list[Row]:
    """The rows of a file. Their number must equal `metric` if the run's metrics can be read and contain it."""
    path, expected = folder / name, None
    with contextlib.suppress(Damaged):
        expected = metrics_of(folder).get(metric)
    rows = read_lines(path) if os.path.lexists(path) or expected else []
    if expected is not None and len(rows) != expected:
        raise Damaged(path, f"has {len(rows)} of {expected:.0f} rows")
    return rows


def check_run(folder: Path) -> None:
    """Raises: Damaged if a file of the finished run in `folder` is malformed or a result is missing. status.py checks status.json."""
    settings, metrics = settings_of(folder), metrics_of(folder)
    if "modes" not in settings.get("evaluation", {}):
        raise Damaged(folder / SETTINGS, "lacks evaluation.modes")
    required = [f"eval/{mode}/{name}" for mode in settings["evaluation"]["modes"] for name in ("accuracy", "num_questions")]
    if missing := [name for name in required if name not in metrics]:
        raise Damaged(folder / METRICS, f"lacks {', '.join(missing)}")
    stages_of(folder, complete=True)
    if os.path.lexists(folder / PLANNED):
        stages_of(folder, PLANNED, complete=True)
    questions_of(folder)
    selection_of(folder)
    compressed_of(folder)


def has_outputs(folder: Path) -> bool:
    """Whether a run has written settings or results to its folder. Until then it has only locked the folder and planned."""
    return any(os.path.lexists(folder / name) for name in (SETTINGS, STAGES, METRICS))


class RunFolders:
    """The folders of runs below one folder, with links followed. `problems` has one line per folder that cannot be read."""

    def __init__(self, root: Path) -> None:
        self.folders: list[Path] = []
        self.problems: list[str] = []
        self._visited: set[Path] = set()
        if root.is_symlink() or root.exists():
            self._visit(root)
        self.folders.sort()

    def _visit(self, folder: Path) -> None:
        try:
            real = folder.resolve(strict=True)
            entries = {entry.name: entry for entry in os.scandir(folder)}
        except OSError as error:
            self.problems.append(f"{folder} cannot be read ({error.strerror}); make it or the target of its link readable, or remove it")
            return
        if real in self._visited:
            return
        self._visited.add(real)
        if entries.keys() & {*RUN_FILES, ".lock"}:
            self.folders.append(folder)
            return
        for name, entry in sorted(entries.items()):
            if entry.is_dir() or (entry.is_symlink() and not entry.is_file()):
                self._visit(folder / name)
