"""A published benchmark as a task: its files, and the questions drawn from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from cotexp.records import AnswerType
from cotexp.settings.base import setting
from cotexp.tasks.benchmarks import read_split
from cotexp.tasks.sources import known_benchmark, provide_files
from cotexp.tasks.splits import draw
from cotexp.tasks.task import QuestionSets, Task


@dataclass(slots=True, kw_only=True)
class BenchmarkTask(Task):
    """A published benchmark: from paths.data, else from the Hugging Face hub or `cotexp fetch`."""

    reads_data_folders: ClassVar[bool] = True

    revision: str | None = setting(None, "Revision of the hub's copy; the newest by default, and its hash is recorded.", keyed=False)

    def graded_as(self) -> AnswerType:
        return known_benchmark(self.name, "task.name").answer_type

    def questions(self, folders: Sequence[Path]) -> QuestionSets:
        benchmark = known_benchmark(self.name, "task.name")
        files = provide_files(self.name, benchmark, folders, self.revision)
        splits = {split: read_split(self.name, benchmark, path, is_test=split == "test") for split, path in files.items()}
        questions = {split: part.questions for split, part in splits.items()}
        sets = draw(self, train=questions.get("train", []), validation=questions.get("validation"), test=questions["test"])
        if num_unanswered := sum(part.num_unanswered for part in splits.values()):
            sets.dropped["unanswered"] = num_unanswered
        for split, part in splits.items():
            num_rows, official = len(part.questions) + part.num_unanswered, benchmark.splits[split].num_rows
            if num_rows != official:
                sets.incomplete[f"{self.name}/{split}"] = (num_rows, official)
        return sets
