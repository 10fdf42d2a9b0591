"""Names of points, written right of a figure's axes so that none covers another, each with a line to its point."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from cotexp.report.style import COLOURS

LINE_INCHES = 0.17
WIDTH = 52
"""Characters in a line of a label."""


class Labels:
    """The wrapped names of points; `inches` is the height that they need."""

    def __init__(self, names: Sequence[str]) -> None:
        self._texts = [textwrap.fill(name, WIDTH) for name in names]
        self._each = 0.1 + LINE_INCHES * max((text.count("\n") + 1 for text in self._texts), default=1)
        self.inches = self._each * len(self._texts)

    def draw(self, axes: Any, points: Sequence[tuple[float, float]], height: float, colours: Sequence[str] = ()) -> None:
        """Write every name in the order of the points' heights, beside axes of `height` inches. `points` are in units of the axes."""
        low, high = axes.get_ylim()
        order = sorted(range(len(points)), key=lambda index: points[index][1])
        heights = apart([(points[index][1] - low) / (high - low) for index in order], self._each / height)
        for index, place in zip(order, heights, strict=True):
            axes.annotate(
                self._texts[index],
                xy=points[index],
                xytext=(1.03, place),
                textcoords="axes fraction",
                va="center",
                fontsize=9,
                color=colours[index] if colours else "black",
                arrowprops={"arrowstyle": "-", "color": COLOURS["grey"], "linewidth": 0.7, "alpha": 0.7, "shrinkB": 5, "relpos": (0, 0.5)},
            )


def apart(heights: Sequence[float], gap: float) -> list[float]:
    """Rising `heights`, moved as little as possible so that they are `gap` apart within [0, 1]; evenly spaced if there is not enough room.

    Method: isotonic regression of the heights less the gaps below them.
    """
    from scipy.optimize import isotonic_regression

    room = 1 - gap * (len(heights) - 1)
    if room < 0:
        return [index / (len(heights) - 1) for index in range(len(heights))]
    below = isotonic_regression([height - gap * index for index, height in enumerate(heights)]).x.clip(0.0, room)
    return [float(height) + gap * index for index, height in enumerate(below)]
