"""Small files of runs and of the store, written whole and read with suspicion: what is broken is named in one line with the next step."""

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
"""What stages.json will say once the run is finished: the parts of the store that it goes on from."""
SELECTION, COMPRESSED = "selection.jsonl", "compressed.jsonl"
OF_RUNS = (SETTINGS, STAGES, METRICS, QUESTIONS, STATUS, PLANNED, SELECTION, COMPRESSED)
"""Files of a run's folder that its command writes anew."""


class StoreError(RunFailed):
    """The store cannot be used; the message names the place and the next step."""


class Damaged(StoreError):
    """A stored file is not what was written: gone, cut off, of another form."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(f"{path} {what}; {_next_step(path)}")


def _next_step(path: Path) -> str:
    if path.name in OF_RUNS:
        return f"run that run's command again, which writes it anew, or remove {path.parent}"
    if path.name == "manifest.json":
        return f"put it back, or remove the folder {path.parent}: it is made again"
    if path.name.startswith("rows-"):
        return "make it readable, or move it away: its rows are made again"
    return "put it back, or remove it"


# --- writing -------------------------------------------------------------------------------------------------------------


def write_json(path: Path, content: Any, *, lasting: bool = True) -> None:
    """Write JSON so that readers see the old file or the new one, never a part; also after a power cut, unless it need not outlive one."""
    _write(path, orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY), lasting=lasting)


def write_lines(path: Path, lines: list[Row]) -> None:
    """The same for JSON Lines."""
    _write(path, b"".join(orjson.dumps(each) + b"\n" for each in lines))


def _write(path: Path, content: bytes, *, lasting: bool = True) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    with signals.at_safe_points():
        try:
            temporary.write_bytes(content)
            durable.put(temporary, path, lasting=lasting)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise


# --- reading -------------------------------------------------------------------------------------------------------------


def read_json(path: Path, *needed: str) -> dict[str, Any]:
    """The object in a JSON file. Raises: Damaged when there is none, or it lacks one of the names `needed`."""
    content = _parsed(path, _read(path), "holds no JSON")
    if not isinstance(content, dict):
        raise Damaged(path, f"holds {_kind(content)} in place of an object")
    if missing := [each for each in needed if each not in content]:
        raise Damaged(path, f"lacks {', '.join(missing)}")
    return content


def read_lines(path: Path) -> list[Row]:
    """The objects of a JSON Lines file. Raises: Damaged, naming the line, when one is none or an empty one."""
    content = _read(path)
    if content and not content.endswith(b"\n"):
        raise Damaged(path, f"is cut off in line {content.count(bytes([10])) + 1}")
    rows = []
    for number, line in enumerate(content.splitlines(), 1):
        row = _parsed(path, line, f"holds no JSON in line {number}")
        if not isinstance(row, dict) or not row:
            raise Damaged(path, f"holds no row in line {number}")
        rows.append(row)
    return rows


def _read(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise Damaged(path, "is no file")
        return path.read_bytes()
    except FileNotFoundError:
        raise Damaged(path, "is not there") from None
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
def understood(folder: Path) -> Iterator[None]:
    """Raises Damaged where what the files of the run in `folder` hold cannot be worked with, though each can be read."""
    try:
        yield
    except (LookupError, TypeError, AttributeError, ArithmeticError, ValueError, StopIteration) as error:
        if isinstance(error, ConfigError):
            raise
        raise StoreError(
            f"{folder}: its files, or rows of the store that it reads, do not hold what is needed ({type(error).__name__}: {error}); "
            "run its command again, or remove the folder"
        ) from (None if isinstance(error, StopIteration) else error)  # contextlib would take it for what a generator may not raise


# --- files of a run --------------------------------------------------------------------------------------------------------


def settings_of(folder: Path) -> dict[str, Any]:
    """The settings of the run in `folder`. Raises: Damaged."""
    path = folder / SETTINGS
    settings = read_json(path, "name")
    if not isinstance(settings["name"], str):
        raise Damaged(path, "holds no name")
    evaluation = settings.get("evaluation", {"modes": MODES})
    modes = (evaluation.get("modes") or MODES) if isinstance(evaluation, dict) else None
    if not isinstance(modes, list | tuple) or not any(each in MODES for each in modes):
        raise Damaged(path, "holds no known mode in evaluation.modes")
    return settings


def metrics_of(folder: Path) -> dict[str, float]:
    """The metrics of the finished run in `folder`. Raises: Damaged."""
    metrics = read_json(folder / METRICS)
    if not metrics:
        raise Damaged(folder / METRICS, "holds no metric")
    if wrong := [name for name, value in metrics.items() if value is not None and not isinstance(value, int | float)]:
        raise Damaged(folder / METRICS, f"holds no number for {wrong[0]}")
    return metrics


def stages_of(folder: Path, name: str = STAGES, *, whole: bool = False) -> dict[str, dict[str, Any]]:
    """Stage -> key and place in the store of what the run in `folder` used, or, in planned.json, goes on from.

    Raises: Damaged; with `whole` also where a key or place is missing, or a run that has come so far names no stage at all.
    """
    path = folder / name
    stages = read_json(path)
    if whole and not stages and any((folder / each).exists() for each in (METRICS, PLANNED)):
        raise Damaged(path, "names no stage")
    needed = ("key", "path") if whole else ()
    for stage, entry in stages.items():
        if not isinstance(entry, dict) or not all(isinstance(entry.get(each), str) for each in needed):
            raise Damaged(path, f"holds no key and path for {stage}")
    return stages


def questions_of(folder: Path) -> tuple[dict[str, list[str]], dict[str, dict[str, str]]]:
    """(task -> ids of the answers in one mode, id of a question -> its text and gold answer) of a run. Raises: Damaged."""
    content = read_json(folder / QUESTIONS, "test")
    answers, asked = content["test"], content.get("questions", {})
    if not isinstance(answers, dict) or not answers or not all(isinstance(each, list) for each in answers.values()):
        raise Damaged(folder / QUESTIONS, "names no answers")
    if not isinstance(asked, dict) or not all(isinstance(each, dict) for each in asked.values()):
        raise Damaged(folder / QUESTIONS, "holds questions of another form")
    return answers, asked


def selection_of(folder: Path) -> list[Row]:
    """A row for every question of the run in `folder` whose rationales were chosen among; none where nothing was. Raises: Damaged."""
    return _counted(folder, SELECTION, "selection/num_questions")


def compressed_of(folder: Path) -> list[Row]:
    """A row for every chain that the run in `folder` compressed. Raises: Damaged."""
    return _counted(folder, COMPRESSED, "compression/num_rationales")


def _counted(folder: Path, name: str, metric: str) -> list[Row]:
    """The rows of a file, which are as many as the run's metrics say, where they can be read and say it."""
    path, expected = folder / name, None
    with contextlib.suppress(Damaged):
        expected = metrics_of(folder).get(metric)
    rows = read_lines(path) if os.path.lexists(path) or expected else []
    if expected is not None and len(rows) != expected:
        raise Damaged(path, f"holds {len(rows)} of {expected:.0f} rows")
    return rows


def check_run(folder: Path) -> None:
    """Raises: Damaged when a file that the run in `folder` left is broken, or one of its results gone; of status.json status.py knows."""
    settings, metrics = settings_of(folder), metrics_of(folder)
    if "modes" not in settings.get("evaluation", {}):
        raise Damaged(folder / SETTINGS, "lacks evaluation.modes")
    needed = [f"eval/{mode}/{name}" for mode in settings["evaluation"]["modes"] for name in ("accuracy", "num_questions")]
    if missing := [each for each in needed if each not in metrics]:
        raise Damaged(folder / METRICS, f"lacks {', '.join(missing)}")
    stages_of(folder, whole=True)
    if os.path.lexists(folder / PLANNED):
        stages_of(folder, PLANNED, whole=True)
    questions_of(folder)
    selection_of(folder)
    compressed_of(folder)


def has_begun(folder: Path) -> bool:
    """Whether a run has left settings or results in its folder; before, it has only locked and planned."""
    return any(os.path.lexists(folder / name) for name in (SETTINGS, STAGES, METRICS))


class Folders:
    """Folders of runs below one folder, through links as well; `unknown` holds a line on each place that cannot be looked into."""

    def __init__(self, runs: Path) -> None:
        self.found: list[Path] = []
        self.unknown: list[str] = []
        self._seen: set[Path] = set()
        if runs.is_symlink() or runs.exists():
            self._look(runs)
        self.found.sort()

    def _look(self, folder: Path) -> None:
        try:
            real = folder.resolve(strict=True)
            names = {each.name: each for each in os.scandir(folder)}
        except OSError as error:
            self.unknown.append(f"{folder} cannot be looked into ({error.strerror}); make what it leads to readable, or remove it")
            return
        if real in self._seen:
            return
        self._seen.add(real)
        if names.keys() & {*OF_RUNS, ".lock"}:
            self.found.append(folder)
            return
        for name in sorted(names):
            if names[name].is_dir() or (names[name].is_symlink() and not names[name].is_file()):
                self._look(folder / name)
