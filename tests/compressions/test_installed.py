"""A package of somebody else's adds a compression by an entry point, without a change in this tree."""

from __future__ import annotations

from pathlib import Path

import pytest
from installed_packages import install, run

MODULE = """
from dataclasses import dataclass

from cotexp.compressions.base import Compression
from cotexp.records import Compressed
from cotexp.settings.base import setting


@dataclass(slots=True, kw_only=True)
class FirstWords(Compression):
    name: str = setting("first_words", "Name of the compression.", choices=("first_words",))
    words: int = setting(5, "Most words kept.", low=1)

    def compress(self, chains, tools):
        texts = {each.id: " ".join(each.cot.split()[: self.words]) for each in chains}
        count = tools.encoder().count
        return [
            Compressed(
                rationale_id=each.id, text=texts[each.id], kept_round=1, num_tokens=count(texts[each.id]),
                num_tokens_original=each.num_cot_tokens, stop_reason="none", num_rounds_run=0,
            )
            for each in chains
        ]
"""
SMALL = ["tracking=none", "task.num_train=8", "task.num_validation=2", "task.num_test=4", "evaluation.max_new_tokens=8", "teacher.max_new_tokens=150"]


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return install(tmp_path / "site", "cotexp.compressions", "first_words = first_words:FirstWords", MODULE)


@pytest.mark.slow
def test_its_settings_are_checked_and_its_chains_are_learnt_from(package: Path, tmp_path: Path) -> None:
    outputs = f"paths.outputs={tmp_path / 'outputs'}"
    refused = run(package, "compression=first_words", "compression.words=0", "plan=true", outputs)
    assert refused.returncode == 1
    assert refused.stderr.splitlines() == ["cotexp: compression.words must be at least 1; got 0"]
    made = run(package, "compression=first_words", "compression.words=6", "compress_only=true", *SMALL, outputs)
    assert made.returncode == 0, made.stderr
    planned = run(package, "compression=first_words", "compression.words=6", "plan=true", *SMALL, outputs)
    assert planned.returncode == 0, planned.stderr
    assert "perplexity/stories" in planned.stdout


def test_one_that_cannot_be_imported_is_a_line_that_names_its_package(package: Path, tmp_path: Path) -> None:
    (package / "first_words.py").write_text("raise ImportError('no numbers today')\n")
    refused = run(package, "plan=true", f"paths.outputs={tmp_path / 'outputs'}")
    assert refused.returncode == 1
    (line,) = refused.stderr.splitlines()
    assert "package first_words" in line
    assert "no numbers today" in line
