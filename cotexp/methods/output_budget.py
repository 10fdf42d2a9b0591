"""Truncation of the output: one budget for all answers to a task, and the answers cut there.

Published truncation rows restrict "the maximum number of output tokens" and grade what is left (TokenSkip); how their budget follows from a
ratio is not said. Theirs must be one for all questions: at 0.9 they keep 70 % accuracy, but an answer cut at 0.9 of its own length lacks its
end, where the result stands. Ours is the largest budget at which the answers keep at most that share of their tokens.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence


def budget(lengths: Sequence[int], ratio: float) -> int:
    """The most tokens, at least one, at which answers of these `lengths` in tokens keep at most `ratio` of all their tokens."""
    return max(1, bisect_right(range(1, max(lengths) + 1), ratio * sum(lengths), key=lambda most: sum(min(each, most) for each in lengths)))
