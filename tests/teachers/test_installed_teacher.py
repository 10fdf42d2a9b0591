"""A package of somebody else's adds a teacher by an entry point, without a change in this tree."""

from __future__ import annotations

from pathlib import Path

import pytest
from installed_packages import install, run

MODULE = """
from dataclasses import dataclass

from cotexp.settings.base import setting
from cotexp.teachers.base import Teacher, Written


@dataclass(slots=True, kw_only=True)
class AnswerTeacher(Teacher):
    name: str = setting("answers", "Name of the teacher.", choices=("answers",))

    def known(self, question):
        return [Written(f"Let me see.\\nThe answer is {question.answer}.", "gold")]
"""


@pytest.mark.slow
def test_its_rationales_are_written_and_compressed(tmp_path: Path) -> None:
    site = install(tmp_path / "site", "cotexp.teachers", "answers = answer_teacher:AnswerTeacher", MODULE)
    words = ["teacher=answers", "compression=truncate", "compress_only=true", "scoring.perplexity_chains=0", "tracking=none"]
    sizes = ["task.num_train=6", "task.num_validation=2", "task.num_test=2", f"paths.outputs={tmp_path / 'outputs'}"]
    done = run(site, *words, *sizes)
    assert done.returncode == 0, done.stderr
    (ledger,) = (tmp_path / "outputs" / "store" / "rationales").iterdir()
    rows = "".join(path.read_text() for path in ledger.glob("rows-*"))
    assert rows.count('"source":"gold"') == 8
