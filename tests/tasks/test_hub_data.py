"""`hub:OWNER/NAME` in place of a file, read from a hub in a second process, and later from the hub's cache alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cotexp.settings.base import ConfigError
from cotexp.tasks.hub import files

ROOT = Path(__file__).resolve().parent.parent.parent
ROWS = [{"question": f"What is {n} plus 1?", "answer": f"{n} + 1 = {n + 1}\n#### {n + 1}", "id": f"00{n}"} for n in range(14)]
PROGRAM = """
import contextlib, io, json, sys
from cotexp.commands import cli
said = []
for command in json.loads(sys.stdin.read()):
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out):
            cli.main(command)
    except SystemExit as stop:
        out.write(str(stop.code))
    said.append(out.getvalue())
print(json.dumps(said))
"""
SMALL = ["task=custom", "task.num_validation=2", "task.answer_type=integer"]


@contextmanager
def hub(folder: Path) -> Iterator[str]:
    command = [sys.executable, str(Path(__file__).with_name("data_hub_server.py")), str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.kill()


def said(commands: list[list[str]], cache: Path, address: str, *, offline: bool = False) -> list[str]:
    """What each command prints, in one process whose hub is at `address`."""
    environment = {**os.environ, "HF_HUB_OFFLINE": str(int(offline)), "HF_ENDPOINT": address, "HF_HOME": str(cache), "COLUMNS": "300"}
    environment.pop("HF_TOKEN", None)
    done = subprocess.run([sys.executable, "-c", PROGRAM], input=json.dumps(commands), capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    answers: list[str] = json.loads(done.stdout.splitlines()[-1])
    return answers


def questions(*settings: str) -> list[str]:
    return ["questions", *SMALL, *settings, "--examples", "1"]


def table(printed: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("│")[1:4]] for line in printed.splitlines() if line.startswith(("│ t", "│ v"))]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three data sets: JSON Lines with two configurations, Parquet in two shards without a card, and a gated one."""
    import pyarrow
    from pyarrow import parquet

    root = tmp_path_factory.mktemp("served")
    lines = root / "some/Lines"
    for config, extra in (("main", ""), ("socratic", " Please.")):
        for split, rows in (("train", ROWS[:10]), ("test", ROWS[10:])):
            path = lines / config / f"{split}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(json.dumps({**row, "question": row["question"] + extra}) + "\n" for row in rows))
    configs: list[dict[str, Any]] = [
        {"config_name": config, "data_files": [{"split": split, "path": f"{config}/{split}.jsonl"} for split in ("train", "test")]}
        for config in ("main", "socratic")
    ]
    (lines / "README.md").write_text(f"---\nconfigs: {json.dumps(configs)}\n---\n")
    for number in range(2):
        path = root / f"some/Shards/data/train-0000{number}-of-00002.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(pyarrow.Table.from_pylist(ROWS[7 * number : 7 * number + 7]), path)
    for name, file in (("Gated", "train.jsonl"), ("Packed", "train.jsonl.gz")):
        (root / "some" / name).mkdir()
        (root / "some" / name / file).write_text(json.dumps(ROWS[0]) + "\n")
    (root / "some/Gated/.gated").touch()
    return root


@pytest.mark.slow
def test_data_sets_of_the_hub_are_read_as_files_online_and_then_offline(served: Path, tmp_path: Path) -> None:
    read = [
        questions("task.file=hub:some/Lines/main", "task.test_file=hub:some/Lines/main"),
        questions("task.file=hub:some/Lines/socratic/train+test", "task.num_test=4"),
        questions("task.file=hub:some/Shards", "task.num_test=4"),
        ["questions", "--detect", "hub:some/Lines/main/train"],
    ]
    wrong = [
        questions("task.file=hub:some/Lines"),
        questions("task.file=hub:some/Lines/mian"),
        questions("task.file=hub:some/Lines/main/trian"),
        questions("task.file=hub:some/Shards/validation"),
        questions("task.file=hub:some/Lines@v2/main"),
        questions("task.file=hub:some/Nothing"),
        questions("task.file=hub:some/Gated"),
        questions("task.file=hub:some/Packed"),
        ["questions", "--detect", "hub:some"],
    ]
    with hub(served) as address:
        online = said([*read, *wrong], tmp_path, address)
    assert [table(each) for each in online[:3]] == [
        [["train", "8", "8"], ["validation", "2", "2"], ["test", "4", "4"]],
        [["train", "8", "8"], ["validation", "2", "2"], ["test", "4", "4"]],
        [["train", "8", "8"], ["validation", "2", "2"], ["test", "4", "4"]],
    ]
    assert "Please." in online[1]
    assert online[3].startswith("questions: task=custom task.file=hub:some/Lines/main/train task.question_field=question task.answer_field=answer")
    assert "hub:some/Lines/main/train (train.jsonl), line 1\nquestion: What is 0 plus 1?" in online[3]
    expected = [
        "task.file: hub:some/Lines has several configurations; write one of these behind its name: main, socratic",
        "hub:some/Lines/mian has no configuration 'mian' (did you mean 'main'?); write one of these behind its name: main, socratic",
        "has no split 'trian' (did you mean 'train'?); write one of these behind the configuration main: train, test",
        "hub:some/Shards/validation has no split 'validation'; write one of these behind the configuration default: train",
        f"has no revision 'v2'; {address}/datasets/some/Lines lists them",
        "hub:some/Nothing is no data set of the hub, or a private one; check OWNER/NAME, or set HF_TOKEN to a token that may read it",
        f"hub:some/Gated is gated; accept its conditions on {address}/datasets/some/Gated, then log in with `hf auth login` or set HF_TOKEN",
        "must hold files that end in .jsonl, .json, .csv, .parquet; got train.jsonl.gz; save it as one of these and name the file",
        "--detect must be a file or hub:OWNER/NAME, hub:OWNER/NAME/CONFIG",
    ]
    for message, line in zip(online[4:], expected, strict=True):
        assert line in message
        assert len(message.splitlines()) == 1

    asleep = said([*read, questions("task.file=hub:some/Packed"), questions("task.file=hub:some/Other")], tmp_path, address, offline=True)
    assert asleep[:4] == online[:4], "the hub's cache is enough"
    for message in asleep[4:]:
        assert "is not wholly in the hub's cache, and HF_HUB_OFFLINE is set; run `hf download --repo-type dataset some/" in message
    [gone] = said([read[0]], tmp_path, address)
    assert f"hub:some/Lines/main cannot be had from {address} (" in gone
    assert "set HF_HUB_OFFLINE=1 to read the hub's cache" in gone
    next(tmp_path.glob("hub/datasets--some--Shards/snapshots/*/data/train-00001*")).unlink()
    [partial] = said([read[2]], tmp_path, address, offline=True)
    assert "hub:some/Shards is not wholly in the hub's cache" in partial, "a shard less would silently be other questions"


@pytest.mark.slow
def test_the_log_of_a_run_names_the_revision_that_it_read(served: Path, tmp_path: Path) -> None:
    data = [f"task.{name}=hub:some/Lines/main" for name in ("file", "test_file")]
    sizes = ["task.num_test=2", "evaluation.max_new_tokens=4", "evaluation.latency=false", "tracking=none", f"paths.outputs={tmp_path / 'outputs'}"]
    words = ["experiment=none", "model=tiny", *SMALL, *data, "compression=prompt_only", "compression.instruction=Hurry.", *sizes]
    with hub(served) as address:
        environment = {**os.environ, "HF_HUB_OFFLINE": "0", "HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
        done = subprocess.run([sys.executable, "run.py", *words], cwd=ROOT, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (snapshot,) = (tmp_path / "home/hub/datasets--some--Lines/snapshots").iterdir()
    (log,) = (tmp_path / "outputs/runs").rglob("log.txt")
    assert f"hub:some/Lines/main is configuration main, split train, revision {snapshot.name}" in log.read_text()
    assert f"split test, revision {snapshot.name}" in log.read_text()


@pytest.mark.slow
def test_rationales_of_the_hub_keep_their_author_and_a_changed_data_set_changes_their_identity(served: Path, tmp_path: Path) -> None:
    program = """
from pathlib import Path
from cotexp.tasks.splits import make_question
from cotexp.teachers.recorded import RecordedTeacher
asked = [make_question("t", text=f"What is {n} plus 1?", answer=str(n + 1), answer_type="integer") for n in range(12)]
found = RecordedTeacher(files=["hub:some/Lines/main/train"], text_field="answer").read("t", asked, [])
print(found.sha256, found.num_unmatched, sum(map(len, found.rationales.values())), {each.source for all in found.rationales.values() for each in all})
"""

    def read(address: str) -> list[str]:
        environment = {**os.environ, "HF_HUB_OFFLINE": "0", "HF_ENDPOINT": address, "HF_HOME": str(tmp_path)}
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.split(maxsplit=1)

    with hub(served) as address:
        before, rest = read(address)
        assert rest == "0 10 {'some/Lines'}\n"
        path = served / "some/Lines/main/train.jsonl"
        path.write_text(path.read_text().replace("3 + 1 = 4", "It is 3 + 1 = 4"))
        after, rest = read(address)
    assert rest == "0 10 {'some/Lines'}\n"
    assert after != before


@pytest.mark.parametrize("source", ["hub:", "hub:name", "hub:a/b/c/d/e", "hub:a/b c", "hub:../x", "hub:a/b@"])
def test_what_is_no_address_is_one_line(source: str) -> None:
    with pytest.raises(ConfigError, match=r"task.file must be a file or hub:OWNER/NAME, hub:OWNER/NAME/CONFIG"):
        files(source, "task.file")
