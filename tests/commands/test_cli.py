from __future__ import annotations

import json
from pathlib import Path

import pytest

from cotexp.commands import cli

QUICK = ["debug=fast", "tracking=none", "evaluation.latency=false"]


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(["--help"])
    assert end.value.code == 0
    listed = {line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("    ") and line.strip()}
    assert {"encode", "export", "fetch", "questions", "grade", "compare"} <= listed


@pytest.mark.slow
def test_encode_prints_both_forms_with_the_mark_and_supervises_the_completion_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["encode", *QUICK, f"paths.outputs={tmp_path}"])
    text = capsys.readouterr().out
    assert "/full: full, " in text
    assert "/compress: compress, " in text
    full, short = text.split("/compress: ")
    assert "<compress><|end|>" in short.replace("\n", "")
    assert "<compress>" not in full
    assert "supervised" in text


def test_encode_names_every_wrong_setting(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"cotexp: compression\.kk is not a setting"):
        cli.main(["encode", "compression.kk=3", f"paths.outputs={tmp_path}"])


def test_encode_refuses_what_trains_nothing(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"cotexp: encode: compression=prompt_only with evaluation\.modes=\['base', 'compress'\] trains nothing"):
        cli.main(["encode", "compression=be_concise", f"paths.outputs={tmp_path}"])


def test_export_refuses_an_unknown_run_and_a_folder_that_is_no_export(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"got 'nothing' \(there is none\)"):
        cli.main(["export", "nothing", str(tmp_path / "new"), "--outputs", str(tmp_path)])
    run = tmp_path / "runs" / "some" / "key"
    run.mkdir(parents=True)
    (run / "stages.json").write_text(json.dumps({}))
    (tmp_path / "taken").mkdir()
    with pytest.raises(SystemExit, match="exists and is not an earlier export"):
        cli.main(["export", str(run), str(tmp_path / "taken")])
