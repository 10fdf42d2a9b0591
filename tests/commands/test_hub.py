"""An export reaches the hub through huggingface_hub, in a process of its own; its token reaches nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import TOKEN, HubServer

from cotexp.commands import hub
from cotexp.commands.model_card import MARK
from cotexp.settings.base import ConfigError

ROOT = Path(__file__).resolve().parents[2]
PUSH = f"""
import sys
from pathlib import Path
from cotexp.commands import hub
from cotexp.settings.base import ConfigError
from cotexp.visible import format_error
kind, name, folder, private = sys.argv[1:]
try:
    hub.push(hub.find(name, kind, private=bool(private), mark={MARK!r}), Path(folder))
except ConfigError as error:
    sys.exit(format_error(error))
"""


@pytest.fixture
def server() -> Iterator[HubServer]:
    made = HubServer()
    yield made
    made.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An exported folder, in small."""
    made = tmp_path / "export"
    (made / "sub").mkdir(parents=True)
    (made / "README.md").write_text(f"A {MARK}.")
    (made / "model.safetensors").write_bytes(bytes(range(256)))
    (made / "sub" / "rows.jsonl").write_text("{}\n")
    return made


def push(server: HubServer, folder: Path, *, kind: str = "model", token: str | None = TOKEN, private: bool = False) -> tuple[int, str]:
    """(status, all that was printed) of a process that pushes the folder to me/NAME."""
    home = folder.parent / "home"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    environment |= server.environment(home) | ({"HF_TOKEN": token} if token else {}) | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", PUSH, kind, "me/new", str(folder), "1" if private else ""]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
def test_a_folder_is_pushed_whole_and_again_without_what_it_lost(server: HubServer, folder: Path) -> None:
    status, printed = push(server, folder, private=True)
    assert status == 0, printed
    assert f"Pushed {folder} to {server.address}/me/new" in printed
    files = server.repositories["model/me/new"]
    assert {name: content for name, content in files.items() if name != ".gitattributes"} == {
        str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }
    assert server.private == {"model/me/new": True}
    assert "lfsFile model.safetensors" in server.commits[0]
    (folder / "sub" / "rows.jsonl").unlink()
    (folder / "README.md").write_text(f"Another {MARK}.")
    status, printed = push(server, folder)
    assert status == 0, printed
    assert set(server.repositories["model/me/new"]) == {".gitattributes", "README.md", "model.safetensors"}
    assert server.repositories["model/me/new"]["README.md"] == f"Another {MARK}.".encode()
    assert TOKEN not in printed
    written = [path for path in folder.parent.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]
    assert written == []


@pytest.mark.slow
def test_a_data_set_is_pushed_as_one_and_what_others_put_there_is_left_alone(server: HubServer, folder: Path) -> None:
    server.repositories["dataset/me/new"] = {".gitattributes": b""}
    assert push(server, folder, kind="dataset")[0] == 0
    assert set(server.repositories) == {"dataset/me/new"}
    for others in ({"README.md": b"my notes"}, {"weights.bin": b"1"}):
        server.repositories["dataset/me/new"] = others
        status, printed = push(server, folder, kind="dataset")
        assert status == 1
        assert "holds something else than an earlier export; choose another NAME" in printed
        assert server.repositories["dataset/me/new"] == others


@pytest.mark.slow
def test_what_the_hub_refuses_is_told_in_one_line_without_the_token(folder: Path) -> None:
    closed = HubServer(may_write=False)
    wrong = TOKEN.replace("planted", "another")
    told = [push(closed, folder, token=wrong), push(closed, folder)]
    closed.close()
    told.append(push(closed, folder))
    expected = (
        "cotexp: --push: {}/me/new was not written: Invalid user token.",
        "cotexp: --push: {}/me/new was not written: You don't have the rights to create a model under the namespace; this token may not write there",
        "cotexp: --push: {}/me/new was not written: [Errno 111] Connection refused; run the same command again when the hub can be reached",
    )
    for (status, printed), words in zip(told, expected, strict=True):
        assert status == 1
        assert printed.startswith(words.format(closed.address)), printed
        assert printed.rstrip("\n").count("\n") == 0
        assert TOKEN not in printed
        assert wrong not in printed
    assert closed.repositories == {}


@pytest.mark.slow
def test_without_a_token_nothing_is_asked(server: HubServer, folder: Path) -> None:
    status, printed = push(server, folder, token=None)
    assert (status, printed) == (
        1,
        "cotexp: --push needs a token of the hub that may write: set HF_TOKEN, or log in with `hf auth login`\n",
    )
    assert server.seen == []


@pytest.mark.parametrize("name", ["new", "me/", "me/new/", "a/b/c", "me/two words", "me/..", "me/a--b", "me/a.git", "-a/b", "x" * 97 + "/b", ""])
def test_a_name_that_the_hub_does_not_allow_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"--push must be OWNER/NAME"):
        hub.find(name, "model", private=False, mark=MARK)
