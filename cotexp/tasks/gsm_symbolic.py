"""GSM-Symbolic questions through reasoning-gym (the optional extra `symbolic`).

Every question belongs to exactly one split by the hash of its text: two splits never share a question, whatever the seed.
Source: arXiv:2410.05229 (the benchmark).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cotexp.records import AnswerType, Question
from cotexp.settings.base import ConfigError, setting
from cotexp.tasks.closings import with_closing
from cotexp.tasks.splits import make_question
from cotexp.tasks.task import GeneratedTask, split_of

NAME = "gsm_symbolic"
CHUNK = 500
"""Questions per call of reasoning-gym. The number is fixed, so that the first questions do not depend on how many are requested."""
FRUITLESS_CHUNKS = 20
SUFFIX = " Give the result as your final answer. Do not include units."
"""The end of every question of reasoning-gym. It is removed, because our prompt says how to answer."""


@dataclass(slots=True, kw_only=True)
class GsmSymbolicTask(GeneratedTask):
    """GSM-Symbolic: grade-school problems from templates with new names and numbers (needs the extra `symbolic`)."""

    name: str = setting("gsm_symbolic", "Name of the task.", choices=("gsm_symbolic",))

    def graded_as(self) -> AnswerType:
        return "decimal"

    def generate(self, split: str, count: int) -> list[Question]:
        return generate(split, count=count, seed=self.seed)


def generate(split: str, *, count: int, seed: int) -> list[Question]:
    """`count` different questions of `split`; the first n are the same whatever `count` is.

    Raises: ConfigError if reasoning-gym is not installed or generates too few different questions.
    """
    questions: dict[str, Question] = {}
    fruitless = 0
    for entries in _chunks(split, seed):
        before = len(questions)
        for question in map(_question, entries):
            if split_of(question.text) == split and len(questions) < count:
                questions.setdefault(question.text, question)
        if len(questions) == count:
            break
        fruitless = 0 if len(questions) > before else fruitless + 1
        if fruitless == FRUITLESS_CHUNKS:
            raise ConfigError(f"task: gsm_symbolic has fewer than {count} different {split} questions; lower task.num_{split}")
    return list(questions.values())


def _chunks(split: str, seed: int) -> Iterator[list[dict[str, Any]]]:
    """An endless sequence of lists of reasoning-gym's entries; every list has another seed."""
    try:
        import reasoning_gym
    except ImportError as error:
        raise ConfigError(f"task=gsm_symbolic needs the package reasoning-gym ({error}); pip install 'cotexp[symbolic]'") from None
    number = 0
    while True:
        chosen = int.from_bytes(hashlib.sha256(f"{NAME}/{split}/{seed}/{number}".encode()).digest()[:6], "big")
        made = reasoning_gym.create_dataset(NAME, seed=chosen, size=CHUNK)
        yield [made[index] for index in range(CHUNK)]
        number += 1


def _question(entry: dict[str, Any]) -> Question:
    from cotexp.tasks.gold import read_gold  # as in Row.gold

    answer = read_gold(entry["answer"], "decimal")
    solution = entry["metadata"]["answer_cot"].rsplit("####", 1)[0].strip()
    text = entry["question"].removesuffix(SUFFIX).strip()
    return make_question(NAME, text=text, answer=answer, answer_type="decimal", references=[with_closing(solution, answer, "decimal")])
