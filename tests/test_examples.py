"""The scripts of examples/ are what a shell accepts, and what they start has settings that pass the checks."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from test_readme import Command, check, parsed

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = sorted((ROOT / "examples").glob("*.sh"))

NOTES = f"""#!{sys.executable}
import json, os, sys
with open(os.environ["NOTED"], "a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
"""
"""Stands for `cotexp`, and notes what the script asks of it."""
SERVES = f"""#!{sys.executable}
import http.server, sys
assert sys.argv[1:3] == ["serve", "Qwen/Qwen2.5-7B-Instruct"], sys.argv
class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Health).serve_forever()
"""
"""Stands for `vllm`: a server that is well."""


def started_by(script: Path, folder: Path, **variables: str) -> list[list[str]]:
    """The words of each `cotexp` that a script starts."""
    for name, text in {"cotexp": NOTES, "vllm": SERVES}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "NOTED": str(folder / "noted"), **variables}
    subprocess.run(["bash", str(script)], cwd=folder, env=environment, check=True)
    return [json.loads(line) for line in (folder / "noted").read_text().splitlines()]


def test_there_is_a_script_for_slurm_ray_and_vllm() -> None:
    assert [path.stem for path in SCRIPTS] == ["ray", "slurm", "vllm_server"]
    for script in SCRIPTS:
        assert os.access(script, os.X_OK)
        assert script.read_text().startswith("#!/usr/bin/env bash\n")


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_what_a_script_starts_is_accepted(script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    started = started_by(script, tmp_path, PORT=str(port))
    assert [words[0] for words in started] in (["run", "report"], ["run"])
    for words in started:
        if words[0] == "run":
            check(Command(script.name, words[1:]))
        else:
            assert parsed(words, monkeypatch)
