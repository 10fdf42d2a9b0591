"""Procedural word problems with reference solutions at nine levels of verbosity.

A story gives somebody a number of things and changes it by a few operations. The hash of its *arithmetic* (start and operations,
without names and things) assigns every problem to one split, so two splits never share a calculation, whatever the seed.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from cotexp.records import AnswerType, Question
from cotexp.settings.base import IF_SET, ConfigError, setting
from cotexp.tasks import elasticity
from cotexp.tasks.task import GeneratedTask, split_of

SPLITS = ("train", "validation", "test")
NUM_WORDINGS = 5
"""Wordings of one step: 0 is the most verbose, 4 a bare equation."""
NUM_LEVELS = 2 * NUM_WORDINGS - 1
"""Reference solutions per question. At level 2w every step has wording w; at level 2w + 1 the first half already has wording w + 1."""

NAMES = ("Ann", "Ben", "Cara", "Dan", "Eva", "Finn", "Gina", "Hugo", "Ida", "Jon", "Kim", "Leo", "Mia", "Noah", "Olga", "Paul")
THINGS = ("apples", "books", "coins", "cards", "pens", "shells", "stamps", "stones", "toys", "eggs", "nuts", "balls")
VERBS = {
    "+": ("buys {n} more {things}", "finds {n} more {things}", "gets {n} more {things}", "wins {n} more {things}"),
    "-": ("loses {n} {things}", "sells {n} {things}", "gives away {n} {things}", "drops {n} {things}"),
    "*": ("gets {n} times as many {things}",),
}
WORDS = {"+": "add", "-": "take away", "*": "multiply by"}


REWRITES = {
    "levels": "a solution becomes the next shorter reference solution",
    "elastic": "a solution loses one or two redundancies; the shortest one, and one that lacks a step, is written out again",
}
"""What a compressor is taught, by name."""


@dataclass(frozen=True, slots=True)
class Step:
    """One operation of a story: `before` `operator` `operand` = `after`; `verb` selects its wording."""

    operator: str
    operand: int
    before: int
    after: int
    verb: int

    @property
    def equation(self) -> str:
        return f"{self.before} {self.operator} {self.operand} = {self.after}"


@dataclass(frozen=True, slots=True)
class Difficulty:
    """Bounds of the generated arithmetic. Every running total is in [1, max_value]."""

    min_operations: int
    max_operations: int
    max_value: int
    max_operand: int


@dataclass(slots=True, kw_only=True)
class StoriesTask(GeneratedTask):
    """Procedural word problems with reference solutions (no download)."""

    has_solutions_of_several_lengths: ClassVar[bool] = True

    name: str = setting("stories", "Name of the task.", choices=("stories",))
    min_operations: int = setting(2, "Fewest operations in a story.", low=1, high=8)
    max_operations: int = setting(4, "Most operations in a story.", low=1, high=8)
    max_value: int = setting(60, "Largest running total in a story.", low=10, high=99)
    max_operand: int = setting(9, "Largest number added or taken away.", low=2, high=50)
    rewrites: str = setting(
        "levels",
        f"What mixture.rewrite_ratio teaches a compressor. {'. '.join(f'{name}: {what}' for name, what in REWRITES.items())}.",
        choices=tuple(REWRITES),
        keyed=IF_SET,
    )

    def contradictions(self) -> Iterator[str]:
        yield from GeneratedTask.contradictions(self)
        if self.min_operations > self.max_operations:
            yield f"min_operations must not exceed max_operations ({self.max_operations}); got {self.min_operations}"

    def graded_as(self) -> AnswerType:
        return "integer"

    def generate(self, split: str, count: int) -> list[Question]:
        difficulty = Difficulty(self.min_operations, self.max_operations, self.max_value, self.max_operand)
        return generate(split, count=count, seed=self.seed, difficulty=difficulty, elastic=self.rewrites == "elastic")


def generate(split: str, *, count: int, seed: int, difficulty: Difficulty, elastic: bool = False) -> list[Question]:
    """`count` different questions of `split`; the first n are the same whatever `count` is.

    Raises: ConfigError if the difficulty leaves fewer than `count` different problems.
    """
    rng = random.Random(f"stories/{split}/{seed}/{difficulty}")
    questions: list[Question] = []
    seen: set[str] = set()
    fruitless = 0
    while len(questions) < count:
        start, steps = _arithmetic(rng, difficulty)
        name, things = rng.choice(NAMES), rng.choice(THINGS)
        text = question_text(name, things, start, steps)
        if split_of(arithmetic_of(start, steps)) != split or text in seen:
            fruitless += 1
            if fruitless > 20_000:
                raise ConfigError(
                    f"task: these difficulty settings give only {len(questions)} different {split} questions, but {count} are requested; "
                    "raise task.max_operations or task.max_value, or ask for fewer"
                )
            continue
        fruitless = 0
        seen.add(text)
        questions.append(
            Question(
                id=f"stories-{hashlib.sha256(text.encode()).hexdigest()[:16]}",
                text=text,
                answer=str(steps[-1].after),
                task="stories",
                answer_type="integer",
                references=[f"{solve(name, things, start, steps, level)}\n{closing(steps[-1].after)}" for level in range(NUM_LEVELS)],
                rewrites=_elastic_rewrites(name, things, start, steps, text) if elastic else [],
            )
        )
    return questions


def arithmetic_of(start: int, steps: list[Step]) -> str:
    """The identity of a story: its start and operations, without names and things."""
    return f"{start}" + "".join(f"{step.operator}{step.operand}" for step in steps)


def question_text(name: str, things: str, start: int, steps: list[Step]) -> str:
    events = " ".join(f"{name} {_event(step, things)}." for step in steps)
    return f"{name} has {start} {things}. {events} How many {things} does {name} have now?"


def closing(answer: int) -> str:
    """The sentence that states the answer; the same at every level."""
    return f"The answer is \\boxed{{{answer}}}."


def solve(name: str, things: str, start: int, steps: list[Step], level: int) -> str:
    """The chain of thought at `level` (0 = most verbose ... NUM_LEVELS - 1 = only equations), without the closing sentence."""
    wording, half_way = divmod(level, 2)
    ahead = (len(steps) + 1) // 2 if half_way else 0
    sentences = [_sentence(name, things, step, wording + (number < ahead)) for number, step in enumerate(steps)]
    return " ".join([*_opening(name, things, start, wording + half_way), *sentences])


def _elastic_rewrites(name: str, things: str, start: int, steps: list[Step], text: str) -> list[tuple[str, str]]:
    """The pairs of `elasticity`, from the most verbose solution down to calculations with their operation."""
    told = []
    for step in steps:
        full, result = re.split(r"(?<=\d\.) ", _sentence(name, things, step, 0))
        told.append(elasticity.Step(full=full, brief=_sentence(name, things, step, 3), result=result))
    return elasticity.elastic_rewrites(" ".join(_opening(name, things, start, 0)), told, random.Random(f"rewrites/{text}"))


def _opening(name: str, things: str, start: int, wording: int) -> Iterator[str]:
    if wording == 0:
        yield f"At first, {name} has {start} {things}."
    elif wording == 1:
        yield f"{name} has {start} {things}."
    elif wording == 2:
        yield f"Start with {start}."


def _sentence(name: str, things: str, step: Step, wording: int) -> str:
    n, word = step.operand, WORDS[step.operator]
    if wording == 0:
        return f"Then {name} {_event(step, things)}, so we {word} {n}: {step.equation}. Now there are {step.after} {things}."
    if wording == 1:
        return f"{name} {_event(step, things)}, so {word} {n}: {step.equation}."
    if wording == 2:
        return f"Then {word} {n}: {step.equation}."
    if wording == 3:
        return f"{word} {n}: {step.equation}.".capitalize()
    return f"{step.equation}."


def _event(step: Step, things: str) -> str:
    choices = VERBS[step.operator]
    return choices[step.verb % len(choices)].format(n=step.operand, things=things)


def _arithmetic(rng: random.Random, difficulty: Difficulty) -> tuple[int, list[Step]]:
    total = start = rng.randint(2, difficulty.max_value // 2)
    steps = []
    for _ in range(rng.randint(difficulty.min_operations, difficulty.max_operations)):
        operator, operand = rng.choice(_allowed(total, difficulty))
        after = {"+": total + operand, "-": total - operand, "*": total * operand}[operator]
        steps.append(Step(operator, operand, total, after, rng.randrange(12)))
        total = after
    return start, steps


def _allowed(total: int, difficulty: Difficulty) -> list[tuple[str, int]]:
    """The operations that keep the running total within bounds; all kinds that fit are equally likely."""
    operands = range(2, difficulty.max_operand + 1)
    by_kind = {
        "+": [n for n in operands if total + n <= difficulty.max_value],
        "-": [n for n in operands if total - n >= 1],
        "*": [n for n in (2, 3) if total * n <= difficulty.max_value],
    }
    longest = max(len(numbers) for numbers in by_kind.values())
    return [(kind, ns[i % len(ns)]) for kind, ns in by_kind.items() if ns for i in range(longest)]
