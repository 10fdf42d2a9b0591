"""Names of points and bars beside their axes, so that none covers another; in a narrow figure numbers, and a key to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cotexp.report.style import COLOURS, LINE, inches, is_narrow, wrapped


class Labels:
    """The names of points in a figure. They stand on the right, each with a line to its point.

    `inches` is the height of the axes that they need. `key` has a handle for the figure's legend for each number that stands for a name.
    """

    def __init__(self, figure: Any, names: Sequence[str], *, share: float = 0.42) -> None:
        """`share` is that of the figure's width that names may take."""
        self.key = key(figure, names)
        self._texts = [str(number) for number in range(1, len(names) + 1)] if self.key else _in_share(figure, names, share)
        self._each = inches(0.07 + LINE * max((text.count("\n") + 1 for text in self._texts), default=1))
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
                xytext=(1.05, place),
                textcoords="axes fraction",
                va="center",
                fontsize="small",
                color=colours[index] if colours else "black",
                arrowprops={"arrowstyle": "-", "color": COLOURS["grey"], "linewidth": 0.6, "alpha": 0.7, "shrinkB": 4, "relpos": (0, 0.5)},
            )


def key(figure: Any, names: Sequence[str]) -> list[Any]:
    """A handle of the legend for each name, with its number from 1 in place of a marker; empty if the figure has room for the names themselves."""
    from matplotlib.lines import Line2D

    if not is_narrow(figure):
        return []
    numbers = [(f"${number}$", name) for number, name in enumerate(names, 1)]
    look: dict[str, Any] = {"linestyle": "none", "color": "black", "markeredgewidth": 0.3}
    return [Line2D([], [], marker=number, markersize=inches(6.0 + 2.5 * (len(number) - 3)), label=name, **look) for number, name in numbers]


def name_rows(axes: Any, names: Sequence[str], *, share: float = 0.3) -> list[Any]:
    """Name the rows 0, 1, ... of a vertical axis, in `share` of the figure's width; returns the `key` to their numbers, if these stand for names."""
    handles = key(axes.figure, names)
    texts = [str(number) for number in range(1, len(names) + 1)] if handles else _in_share(axes.figure, names, share)
    axes.set_yticks(range(len(names)), texts)
    return handles


def row_height(figure: Any, names: Sequence[str], least: float, *, share: float = 0.3) -> float:
    """Inches at a text of 10 points that each row needs for its name."""
    num_lines = 1 if is_narrow(figure) else max(text.count("\n") + 1 for text in _in_share(figure, names, share))
    return max(least, 0.12 + LINE * num_lines)


def _in_share(figure: Any, names: Sequence[str], share: float) -> list[str]:
    return [wrapped(name, share * figure.get_figwidth()) for name in names]


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
