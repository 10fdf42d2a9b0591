"""Pinned files, from a loopback server: what is cut from them, what is refused, and the pinned checksums."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import refusals

from cotexp.store.stored_files import read_lines
from cotexp.tasks import pinned_files
from cotexp.tasks.benchmarks import BENCHMARKS
from cotexp.tasks.pinned_files import RECIPES
from cotexp.tasks.sources import fetch


def refusal(target: Path, base: str, name: str = "multiarith", *, force: bool = False) -> str:
    return refusals.refusal(fetch, name, target, base=base, force=force)


class Server:
    """A loopback server of files; `requests` holds the paths that were asked for."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.requests: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests.append(self.path)
                content = outer.files.get(self.path)
                self.send_response(200 if content is not None else 404)
                self.send_header("Content-Length", str(len(content or b"")))
                self.end_headers()
                self.wfile.write(content or b"")

            def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 (the base class names it so)
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base = f"http://127.0.0.1:{self.server.server_port}"

    def put(self, file: pinned_files.Pinned, content: object) -> None:
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.files[f"/{file.repository}/{file.commit}/{file.path}"] = raw


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.server.shutdown()
    thread.join()
    server.server.server_close()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, server: Server) -> pinned_files.Recipe:
    """A task of five rows, pinned and served."""
    rows = [{"sQuestion": f"Q{n} é", "lSolutions": [n]} for n in range(5)]
    parts = {"train": [0, 3, 4], "test": [2, 1]}
    content = {split: b"".join(json.dumps(rows[n], ensure_ascii=False).encode() + b"\n" for n in numbers) for split, numbers in parts.items()}
    recipe = dataclasses.replace(RECIPES["multiarith"], sha256={split: hashlib.sha256(each).hexdigest() for split, each in content.items()})
    monkeypatch.setitem(RECIPES, "multiarith", recipe)
    splits = {split: dataclasses.replace(facts, num_rows=len(parts[split])) for split, facts in BENCHMARKS["multiarith"].splits.items()}
    monkeypatch.setitem(BENCHMARKS, "multiarith", dataclasses.replace(BENCHMARKS["multiarith"], splits=splits))
    server.put(recipe.rows, rows)
    assert isinstance(recipe.membership, pinned_files.Pinned)
    server.put(recipe.membership, parts)
    return recipe


def test_pinned_rows_are_split_in_the_order_of_the_split_file(small: pinned_files.Recipe, server: Server, tmp_path: Path) -> None:
    written = fetch("multiarith", tmp_path, base=server.base)
    assert written == [tmp_path / "multiarith/train.jsonl", tmp_path / "multiarith/test.jsonl"]
    assert [[row["lSolutions"] for row in read_lines(path)] for path in written] == [[[0], [3], [4]], [[2], [1]]]
    assert "é".encode() in written[0].read_bytes()
    record = json.loads((tmp_path / "multiarith/source.json").read_bytes())
    assert {each["commit"] for each in record["splits"]} == {small.rows.commit}
    assert len(small.rows.commit) == 40


def test_the_environment_names_another_host(small: pinned_files.Recipe, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COTEXP_FETCH_BASE", f"{server.base}/")
    assert len(fetch("multiarith", tmp_path)) == 2


def test_complete_files_stay_and_damaged_or_forced_ones_are_fetched_again(small: pinned_files.Recipe, server: Server, tmp_path: Path) -> None:
    fetch("multiarith", tmp_path, base=server.base)
    num_requests = len(server.requests)
    assert fetch("multiarith", tmp_path, base=server.base) == []
    assert len(server.requests) == num_requests, "nothing is asked for what is there"
    test = tmp_path / "multiarith/test.jsonl"
    test.write_bytes(test.read_bytes().splitlines(keepends=True)[0])
    assert fetch("multiarith", tmp_path, base=server.base) == [test]
    assert len(fetch("multiarith", tmp_path, base=server.base, force=True)) == 2
    record = json.loads((tmp_path / "multiarith/source.json").read_bytes())
    assert [each["split"] for each in record["splits"]] == ["train", "test"]


@pytest.mark.parametrize(
    ("rows", "parts", "expected"),
    [
        (b"[{", None, "is not valid JSON"),
        ({"rows": []}, None, "must hold a list of rows"),
        ([1, 2], None, "must hold a list of rows"),
        (None, {"train": [0, 3, 4]}, "the split file must hold the row numbers of train and test"),
        (None, {"train": [0, 3, 4], "test": ["2", "1"]}, "the split file must hold the row numbers of train and test"),
        (None, [1], "the split file must hold the row numbers"),
        (None, {"train": [0, 3, 5], "test": [2, 1]}, "the split names row 5, but dataset/MultiArith/MultiArith.json has 5 rows"),
        (None, {"train": [0, 3], "test": [2, 1]}, "the train split must have 3 rows; got 2"),
        (None, {"train": [0, 4, 3], "test": [2, 1]}, "sha256 of the train split must be"),
    ],
)
def test_whatever_is_not_what_was_pinned_is_refused_and_nothing_is_written(
    small: pinned_files.Recipe, server: Server, tmp_path: Path, rows: object, parts: object, expected: str
) -> None:
    if rows is not None:
        server.put(small.rows, rows)
    if parts is not None:
        assert isinstance(small.membership, pinned_files.Pinned)
        server.put(small.membership, parts)
    assert expected in refusal(tmp_path, server.base)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_and_a_silent_host_are_one_line_with_a_next_step(small: pinned_files.Recipe, server: Server, tmp_path: Path) -> None:
    server.files.clear()
    message = refusal(tmp_path, server.base)
    assert "MultiArith.json could not be downloaded (status 404)" in message
    assert "paths.data=FOLDER" in message
    message = refusal(tmp_path, "http://127.0.0.1:9")
    assert "could not be downloaded" in message
    assert "COTEXP_FETCH_BASE" in message
    assert "could not be downloaded" in refusal(tmp_path, "no address")


# --- the pinned checksums, with the real rows put back into the form of their source ------------------------------------------


FIRST_INDEX = {"multiarith": 0, "singleeq": 0, "addsub": 1}
"""Sources that number their rows, and the first number."""


def rebuilt(folder: Path, name: str) -> tuple[list[dict[str, Any]], dict[str, list[int]]]:
    """The source's list of rows and its split, from the split files: row numbers are made up, but keep the order of each split."""
    parts = {split: read_lines(folder / name / f"{split}.jsonl") for split in ("train", "test")}
    tagged = [(row.get("iIndex", 0), split, row) for split, rows in parts.items() for row in rows]
    order = sorted(range(len(tagged)), key=lambda number: tagged[number][0])
    numbers: dict[str, list[int]] = {"train": [], "test": []}
    for place, number in enumerate(order):
        numbers[tagged[number][1]].append(place)
    return [tagged[number][2] for number in order], numbers


@pytest.mark.parametrize("name", [name for name in RECIPES if name != "svamp"])
def test_real_rows_come_out_with_the_pinned_checksums(benchmark_data: Path, server: Server, tmp_path: Path, name: str) -> None:
    recipe = RECIPES[name]
    rows, numbers = rebuilt(benchmark_data, name)
    server.put(recipe.rows, {"name": name, recipe.field: rows} if recipe.field else rows)
    assert isinstance(recipe.membership, pinned_files.Pinned)
    server.put(recipe.membership, numbers)
    written = fetch(name, tmp_path, base=server.base)
    assert [path.read_bytes() for path in written] == [(benchmark_data / name / path.name).read_bytes() for path in written]
    assert len(written) == 2
    if name in FIRST_INDEX:
        start = FIRST_INDEX[name]
        assert [row["iIndex"] for row in rows] == list(range(start, start + len(rows))), "no row of the source is missing"


def test_svamp_is_split_by_the_ids_of_two_files(benchmark_data: Path, server: Server, tmp_path: Path) -> None:
    recipe = RECIPES["svamp"]
    parts = {split: read_lines(benchmark_data / "svamp" / f"{split}.jsonl") for split in ("train", "test")}
    made_up = [{**parts["train"][0], "ID": f"made up {n}"} for n in range(300 - len(parts["test"]))]
    parts["test"] += made_up
    server.put(recipe.rows, sorted([*parts["train"], *parts["test"]], key=lambda row: row["ID"]))
    assert not isinstance(recipe.membership, pinned_files.Pinned)
    for split, file in recipe.membership.items():
        server.put(file, b"".join(json.dumps({"question": "x", "id": row["ID"]}).encode() + b"\n" for row in parts[split]))
    train, test = fetch("svamp", tmp_path, base=server.base)
    assert train.read_bytes() == (benchmark_data / "svamp/train.jsonl").read_bytes()
    assert read_lines(test) == parts["test"]
    server.put(recipe.rows, parts["train"])
    assert "the split names row -1" in refusal(tmp_path, server.base, "svamp", force=True)
