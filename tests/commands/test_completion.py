"""What a shell offers for the word that is being typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from cotexp.commands import completion
from cotexp.commands.cli import main
from cotexp.settings.root import CONFIG_DIR


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
