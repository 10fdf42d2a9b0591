"""A program that begins in a fork is, to those who start it and to itself, one that began by itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import forked
import pytest

PROGRAMS = {
    "words, folder and path": "import os, sys; print(sys.argv, os.getcwd(), sys.path[:3], os.environ['OWN'])",
    "a status": "import sys; print('so far'); sys.exit(7)",
    "words as a status": "import sys; sys.exit('this is why')",
    "an exit function and a thread": "import atexit, threading; atexit.register(print, 'last'); threading.Thread(target=print, args=[1]).start()",
    "a process below": "import subprocess, sys; print(subprocess.run([sys.executable, '-c', 'print(3)'], capture_output=True, text=True).stdout)",
    "what it imported itself": "import sys; print([name for name in sys.modules if name.startswith('cotexp')])",
}


@pytest.mark.slow
@pytest.mark.parametrize("what", PROGRAMS)
def test_a_program_prints_and_ends_as_it_would_by_itself(what: str, tmp_path: Path) -> None:
    words, environment = ["-c", PROGRAMS[what], "a", "b c"], {**os.environ, "OWN": "set", "PYTHONPATH": str(tmp_path)}
    alone = subprocess.run([sys.executable, *words], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    fork = forked.run(words, cwd=tmp_path, env=environment)
    assert (fork.returncode, fork.stdout, fork.stderr) == (alone.returncode, alone.stdout, alone.stderr)


@pytest.mark.slow
def test_an_error_is_told_with_its_traceback(tmp_path: Path) -> None:
    done = forked.run(["-c", "1 / 0"], cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "ZeroDivisionError: division by zero"


@pytest.mark.slow
def test_a_program_can_be_watched_and_killed(tmp_path: Path) -> None:
    process = forked.start(["-c", "import time; print('begun', flush=True); time.sleep(600)"], cwd=tmp_path)
    while "begun\n" not in process.printed():
        assert process.poll() is None
    process.kill()
    assert process.communicate() == ("begun\n", "")
    assert process.returncode == -signal.SIGKILL
