"""The Pareto front of accuracy against tokens."""

from __future__ import annotations

import itertools

import matplotlib.pyplot as plt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.text import Text

from cotexp.report.arm_rows import ArmRow
from cotexp.report.pareto import MOST_NAMED, drawings, pareto_front

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


def arms(number: int) -> list[ArmRow]:
    """Two in one place, the others beside it; only the first of them is on the front."""
    places = [(40.0, 0.9), (40.0, 0.9), *((41.0 + index, 0.89) for index in range(number - 2))]
    return [
        ArmRow(label=f"rounds={index}", mode="compress", answers={0: {}}, accuracy=accuracy, num_tokens=tokens)
        for index, (tokens, accuracy) in enumerate(places)
    ]


@pytest.mark.parametrize(("number", "num_named"), [(2, 2), (7, 7), (MOST_NAMED, MOST_NAMED), (MOST_NAMED + 1, 1)])
def test_the_figure_names_every_arm_of_a_few_and_of_many_those_on_the_front_and_no_name_covers_another(number: int, num_named: int) -> None:
    (drawing,) = drawings(arms(number))
    figure = plt.figure(figsize=(drawing.width, 4), layout="constrained")
    drawing.draw(figure)
    figure.canvas.draw()
    names = [text for text in figure.axes[0].texts if text.get_text().startswith("rounds=")]
    assert len({text.get_text() for text in names}) == len(names) == num_named
    boxes = [Text.get_window_extent(text) for text in names]  # without the lines to their points
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    assert all(box.y0 >= 0 and box.x1 <= figure.bbox.x1 for box in boxes)
    plt.close(figure)
