"""Truncation of the output: one token budget for all answers to a task.

We do not know how published truncation rows derive the budget from their ratio. TokenSkip's rows keep 0.95 of the tokens at 0.9
(GSM8K) and 0.56 at 0.5 (MATH-500): a common limit for all questions explains that, a share of each answer's length does not. So we
also use a common budget: the largest at which the answers keep at most that share of their tokens. The rest is graded as an ordinary text.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence


def budget(lengths: Sequence[int], ratio: float) -> int:
    """The most tokens, at least one, at which answers of these `lengths` in tokens keep at most `ratio` of all their tokens."""
    return max(1, bisect_right(range(1, max(lengths) + 1), ratio * sum(lengths), key=lambda most: sum(min(each, most) for each in lengths)))
