"""One output budget for all answers, against counting by hand and by a slow search."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cotexp.methods.output_budget import budget


@pytest.mark.parametrize(
    ("lengths", "ratio", "expected"),
    [
        ([10, 10, 10, 10], 0.5, 5),
        ([10, 10, 10, 10], 1.0, 10),
        ([4, 16], 0.5, 6),  # 4 + 6 of 20 tokens
        ([4, 16], 0.9, 14),
        ([4, 16], 0.2, 2),
        ([3, 3, 100], 0.9, 89),  # 95.4 of 106 tokens: 3 + 3 + 89
        ([5], 0.01, 1),  # never nothing
        ([0, 0], 0.5, 1),
    ],
)
def test_the_budget_keeps_the_asked_share_of_all_tokens(lengths: list[int], ratio: float, expected: int) -> None:
    assert budget(lengths, ratio) == expected


@given(st.lists(st.integers(0, 60), min_size=1, max_size=20), st.floats(0.01, 1.0))
def test_the_budget_is_the_largest_that_keeps_no_more_than_the_share(lengths: list[int], ratio: float) -> None:
    kept = [sum(min(each, most) for each in lengths) for most in range(62)]
    fitting = [most for most in range(1, max(1, *lengths) + 1) if kept[most] <= ratio * sum(lengths)]
    assert budget(lengths, ratio) == max(fitting, default=1)
