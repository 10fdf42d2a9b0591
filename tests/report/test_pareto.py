"""The Pareto front of accuracy against tokens."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cotexp.report.pareto import pareto_front

POINTS = st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), min_size=1, max_size=20)


def test_the_front_holds_what_no_other_point_beats_by_tokens() -> None:
    points = [(40.0, 0.9), (20.0, 0.5), (30.0, 0.4), (90.0, 1.0), (40.0, 0.8), (95.0, 1.0)]
    assert pareto_front(points) == [1, 0, 3]
    assert pareto_front([(50.0, 0.9), (40.0, 0.9), (30.0, 0.8), (30.0, 0.7)]) == [2, 1]
    assert pareto_front([(10.0, 0.5), (10.0, 0.5)]) == [0], "equals count once"


@given(POINTS)
def test_every_point_is_on_the_front_or_beaten_by_one_on_it(points: list[tuple[int, int]]) -> None:
    best = [points[index] for index in pareto_front(points)]
    for tokens, accuracy in points:
        assert any(own[0] <= tokens and own[1] >= accuracy for own in best)
    for first in best:
        assert not any(other != first and other[0] <= first[0] and other[1] >= first[1] for other in points)
