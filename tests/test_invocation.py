"""The command that is printed is the one that was used."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

import cotexp
from cotexp.invocation import run_command, run_words, while_read

FULL = Path("/dev/full")


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("run.py", ["python", "run.py"]),
        ("../my tree/run.py", ["python", "../my tree/run.py"]),
        ("/venv/bin/cotexp", ["cotexp", "run"]),
        ("/site-packages/cotexp/__main__.py", ["cotexp", "run"]),
        ("-c", ["cotexp", "run"]),
    ],
)
def test_the_words_before_the_settings_are_those_that_were_typed(program: str, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [program, "seed=1"])
    assert run_words() == words


def test_a_command_is_a_line_for_a_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["cotexp"])
    assert run_command(["-m", "notes=it's"]) == "cotexp run -m 'notes=it'\"'\"'s'"


@pytest.mark.parametrize("words", [["run", "--help"], ["run", "--cfg", "job"]])
def test_a_reader_that_has_read_enough_ends_a_command_without_a_word(words: list[str]) -> None:
    process = subprocess.Popen([sys.executable, "-m", "cotexp", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    errors = process.stderr.read()
    process.stderr.close()
    assert (process.wait(), errors) == (128 + signal.SIGPIPE, b"")


@pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("words", [["run", "--help"], ["run", "--cfg", "job"], ["run", "plan=true"], ["questions", "task=stories"]])
def test_output_to_a_full_disk_is_one_line(words: list[str]) -> None:
    with FULL.open("w") as full:
        done = subprocess.run([sys.executable, "-m", "cotexp", *words], stdout=full, stderr=subprocess.PIPE, check=False, text=True)
    expected = "cotexp: standard output cannot be written (No space left on device); make room on its disk, or send it elsewhere\n"
    assert (done.returncode, done.stderr) == (1, expected)


@pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full")
def test_a_full_disk_elsewhere_is_not_said_of_the_output(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with (tmp_path / "output").open("w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        with pytest.raises(OSError, match="No space left"), while_read():
            FULL.write_text("a row")


def test_a_command_whose_output_is_closed_ends_without_a_word() -> None:
    done = subprocess.run(["sh", "-c", 'exec "$0" -m cotexp run --cfg job >&-', sys.executable], stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("words", [["--version"], ["run", "--version"], ["run", "seed=1", "--version"]])
def test_the_version_is_that_of_this_project(words: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", "cotexp", *words], capture_output=True, check=True, text=True)
    assert done.stdout == f"cotexp {cotexp.__version__}\n"
