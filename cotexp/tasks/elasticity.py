"""Pairs from which a compressor learns elasticity: a little shorter while something is redundant, and written out again where nothing is.

A solution is an opening and one `Step` per calculation. What is redundant in it, its `Redundancy`s, can be left out in any order; a step
without them is as short as it can be and complete.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

MOST_PER_NOTCH = 2
"""Most redundancies that one rewrite leaves out."""


class Step(NamedTuple):
    """One calculation, told in full or briefly, and the sentence that repeats its result."""

    full: str
    brief: str
    result: str


class Redundancy(NamedTuple):
    """Something that may be left out: the "opening" (`step` -1), the "full" telling of a step, or the "result" after it."""

    kind: str
    step: int


Form = frozenset[Redundancy]
"""What is redundant in a solution; empty for the shortest complete one."""


def elastic_rewrites(opening: str, steps: list[Step], rng: random.Random) -> list[tuple[str, str]]:
    """(a solution, its rewrite): the notches of one way from the longest form to the shortest, then one or two that grow.

    A notch leaves out one or two redundancies, so solutions of more steps take more of them. The shortest form is told in full again, one
    sentence per step; a form of the way that lacks one of several steps gets it back, told in full.
    """
    way = _way_down(len(steps), rng)
    told = frozenset(Redundancy("full", number) for number in range(len(steps)))
    pairs = [(_text(opening, steps, before), _text(opening, steps, after)) for before, after in pairwise([*way, told])]
    if len(steps) > 1:
        gap, form = rng.randrange(len(steps)), rng.choice(way)
        mended = form - {Redundancy("result", gap)} | {Redundancy("full", gap)}
        pairs.append((_text(opening, steps, form, without=gap), _text(opening, steps, mended)))
    return pairs


def _way_down(num_steps: int, rng: random.Random) -> list[Form]:
    """Forms from the one with every redundancy to the one without, one notch apart."""
    left = [Redundancy("opening", -1), *(Redundancy(kind, number) for number in range(num_steps) for kind in ("full", "result"))]
    rng.shuffle(left)
    way = [frozenset(left)]
    while left:
        left = left[rng.randint(1, MOST_PER_NOTCH) :]
        way.append(frozenset(left))
    return way


def _text(opening: str, steps: Iterable[Step], form: Form, *, without: int | None = None) -> str:
    """The solution in `form`, without the step of that number."""
    sentences = [opening] if Redundancy("opening", -1) in form else []
    for number, step in enumerate(steps):
        if number == without:
            continue
        sentences.append(step.full if Redundancy("full", number) in form else step.brief)
        if Redundancy("result", number) in form:
            sentences.append(step.result)
    return " ".join(sentences)
