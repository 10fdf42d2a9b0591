"""A package of somebody else's adds a teacher by an entry point, without a change in this tree."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
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


def test_its_rationales_are_written_and_compressed(tmp_path: Path) -> None:
    metadata = tmp_path / "site" / "answers-0.1.dist-info"
    metadata.mkdir(parents=True)
    (tmp_path / "site" / "answer_teacher.py").write_text(MODULE)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: answers\nVersion: 0.1\n")
    (metadata / "entry_points.txt").write_text("[cotexp.teachers]\nanswers = answer_teacher:AnswerTeacher\n")
    words = ["teacher=answers", "compression=truncate", "compress_only=true", "scoring.perplexity_chains=0", "tracking=none"]
    sizes = ["task.num_train=6", "task.num_validation=2", "task.num_test=2", f"paths.outputs={tmp_path / 'outputs'}"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path / "site")]), "COLUMNS": "150"}
    command = [sys.executable, "run.py", *words, *sizes]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    (ledger,) = (tmp_path / "outputs" / "store" / "rationales").iterdir()
    rows = "".join(path.read_text() for path in ledger.glob("rows-*"))
    assert rows.count('"source":"gold"') == 8
