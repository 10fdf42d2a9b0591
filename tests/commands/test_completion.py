"""What a shell offers for the word that is being typed."""

from __future__ import annotations

import os
import pty
import select
import signal
import sys
import time
from pathlib import Path

import pytest
from run_folders import write_run

from cotexp.commands import completion
from cotexp.commands.cli import main
from cotexp.settings.root import CONFIG_DIR

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("cotexp ru", ["run", "runs"]),
        ("cotexp run experiment=macc/q", ["experiment=macc/quickstart"]),
        ("cotexp run -m sweep=macc/ro", ["sweep=macc/rounds"]),
        ("python run.py sweep=macc/ro", ["sweep=macc/rounds"]),
        (".venv/bin/python ../tree/run.py -m compression=macc,non", ["compression=macc,none"]),
        ("cotexp run hydra/launcher=j", ["hydra/launcher=joblib"]),
        ("cotexp run hyd", ["hydra/launcher="]),
        ("cotexp run trainer.tuning=", ["trainer.tuning=full", "trainer.tuning=lora"]),
        ("cotexp run plan=", ["plan=false", "plan=true"]),
        ("cotexp run seed=", ["seed=0"]),
        ("cotexp run compression=truncate compression.r", ["compression.ratio="]),
        ("cotexp run compression=truncate,macc compression=nope ))) compression.max_r", ["compression.max_rounds="]),
        ("cotexp run trainer.lora.ra", ["trainer.lora.rank="]),
        ("cotexp run trainer.lo", ["trainer.lora."]),
        ("cotexp run no.such.setting=", []),
        ("cotexp run model=hf model.path=", []),
        ("cotexp questions task=gsm8", ["task=gsm8k"]),
        ("cotexp report macc/stop", ["macc/stop_rules"]),
        ("cotexp export ", []),
        ("cotexp run --help trai", ["trainer", "trainer.", "trainer="]),
        ("cotexp run --help swe", ["sweep", "sweep="]),
        ("cotexp run --config-dir ", []),
    ],
)
def test_options_settings_and_values_are_offered(line: str, expected: list[str]) -> None:
    assert completion.offered(line) == expected


def test_files_are_offered_for_a_value_that_begins_like_a_path(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    assert completion.offered(f"cotexp run model.path={tmp_path}/wei") == [f"model.path={tmp_path}/weights"]


@pytest.mark.parametrize("words", ["--config-dir {}", "--config-dir={}", "-cd {}", "hydra.searchpath=[{}]"])
def test_files_of_the_user_s_are_offered(words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CONFIG_DIR, "")
    for name in ("experiment/lab/mine", "report/ours"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / f"{name}.yaml").write_text("# @package _global_\nname: mine\n")
    named = words.format(tmp_path)
    assert completion.offered(f"cotexp run {named} experiment=la") == ["experiment=lab/mine"]
    assert completion.offered(f"cotexp report {named} ou") == ["ours"]


@pytest.mark.parametrize(("shell", "printed"), [("bash", "plan=false plan=true\n"), ("fish", "plan=false\nplan=true\n")])
def test_the_shell_gets_the_words_in_its_own_form(
    shell: str, printed: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COMP_LINE", "cotexp run plan=")
    main(["-sc", f"query={shell}"])
    assert capsys.readouterr().out == printed


def test_a_folder_that_is_none_offers_nothing_and_prints_no_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv(CONFIG_DIR, "")
    monkeypatch.setenv("COMP_LINE", "cotexp run --config-dir nowhere task=g")
    main(["-sc", "query=bash"])
    assert capsys.readouterr() == ("\n", "")


def test_experiments_with_runs_are_offered_to_commands_about_runs(tmp_path: Path) -> None:
    write_run(tmp_path, "aaaa00000000", "1", name="macc/mine")
    write_run(tmp_path, "bbbb00000000", "1", name="other")
    for command in ("watch", "runs"):
        assert completion.offered(f"cotexp {command} --outputs {tmp_path} ma") == ["macc/mine"]
        assert completion.offered(f"cotexp {command} --outputs {tmp_path / 'none'} ma") == []


@pytest.mark.slow
def test_a_real_bash_completes_options_in_folders_of_their_own(tmp_path: Path) -> None:
    """Tab is typed in a terminal; after the first completion a second word shows that the first one was only begun."""
    program = tmp_path / "cotexp"
    program.write_text(f"#!{sys.executable}\nimport sys\nfrom cotexp.commands.cli import main\nsys.argv[0] = 'cotexp'\nmain()\n")
    program.chmod(0o755)
    pid, terminal = pty.fork()
    if pid == 0:
        own = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "PS1": "", "TERM": "dumb"}
        os.execvpe("bash", ["bash", "--norc", "--noprofile"], {**os.environ, **own})

    def shown_after(typed: str, words: str) -> None:
        os.write(terminal, typed.encode())
        seen, end = "", time.monotonic() + 120
        while words not in seen and time.monotonic() < end:
            if select.select([terminal], [], [], 1.0)[0]:
                seen += os.read(terminal, 65536).decode(errors="replace").replace("\r", "")
        assert words in seen, seen

    try:
        shown_after('eval "$(cotexp -sc install=bash)"; echo installed $?\n', "\ninstalled 0")
        shown_after("cotexp run -m sweep=macc/rou\t", "sweep=macc/rounds")
        shown_after("\x15cotexp run seed=1 experiment=morsd/q\t", "experiment=morsd/quickstart")
        shown_after("\x15cotexp run -m compression=macc,trun\t", "compression=macc,truncate")
    finally:
        os.close(terminal)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
