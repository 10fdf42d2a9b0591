"""Truncation of the output: one budget for all answers to a task, and the answers cut there.

How the budget of published truncation rows follows from their ratio is not known to us. TokenSkip's rows keep 0.95 of the tokens at 0.9
(GSM8K) and 0.56 at 0.5 (MATH-500): a limit that all questions share can do that, a share of each answer's own length cannot. So ours is one
for all too: the largest at which the answers keep at most that share of their tokens. What is left is graded as an ordinary text.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence


def budget(lengths: Sequence[int], ratio: float) -> int:
    """The most tokens, at least one, at which answers of these `lengths` in tokens keep at most `ratio` of all their tokens."""
    return max(1, bisect_right(range(1, max(lengths) + 1), ratio * sum(lengths), key=lambda most: sum(min(each, most) for each in lengths)))
