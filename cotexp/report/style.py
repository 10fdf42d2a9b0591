"""One style for all figures, safe for the colour-blind and for print in grey: series differ in marker and line as well as in colour."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, NamedTuple

from cotexp.report.document import Figure, Table
from cotexp.visible import visible_lines

COLOURS = {"blue": "#0072B2", "orange": "#E69F00", "green": "#009E73", "red": "#D55E00", "purple": "#CC79A7", "sky": "#56B4E9", "grey": "#777777"}
"""Okabe and Ito's, without the yellow that paper swallows."""
STYLE = {
    "figure.figsize": (6.0, 3.8),
    "figure.dpi": 150,
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "svg.hashsalt": "cotexp",
}


class Line(NamedTuple):
    """How one series among several is drawn."""

    colour: str
    marker: str
    style: str


LINES = tuple(
    Line(COLOURS[colour], marker, style)
    for colour, marker, style in (
        ("blue", "o", "-"),
        ("orange", "s", "--"),
        ("green", "^", "-."),
        ("red", "D", ":"),
        ("purple", "v", "-"),
        ("sky", "P", "--"),
        ("grey", "X", "-."),
    )
)


class Drawing(NamedTuple):
    """A figure to be: its lasting name, its title, what it shows in words, how to draw it, and its width and height in inches, if not the usual."""

    name: str
    title: str
    description: str
    draw: Callable[[Any], None]
    size: tuple[float, float] | None = None

    def of_table(self, table: Table, num_tables: int) -> Drawing:
        """The same, named after its table where there are several."""
        return self if num_tables == 1 else self._replace(name=f"{self.name}_{table.name}", title=f"{table.title}: {self.title}")


def picture(drawing: Drawing) -> Figure:
    """The drawing as PNG and SVG; the same drawing twice is the same bytes."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    with plt.rc_context(STYLE):
        figure = plt.figure(figsize=drawing.size, layout="constrained")
        drawing.draw(figure)
        _show_as_is(figure)
        png, svg = io.BytesIO(), io.BytesIO()
        figure.savefig(png, format="png", metadata={"Software": None})
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
        plt.close(figure)
    return Figure(name=drawing.name, title=drawing.title, description=drawing.description, png=png.getvalue(), svg=svg.getvalue())


def _show_as_is(figure: Any) -> None:
    """Names of others are no formulas and hold no control characters; only powers of ten on an axis are formulas, of matplotlib's own."""
    from matplotlib.text import Text

    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        names = [each.get_text() for each in axis.get_ticklabels()]
        if names != (shown := list(map(visible_lines, names))):
            axis.set_ticklabels(shown)
    for each in figure.findobj(Text):
        if r"\mathdefault" not in each.get_text():
            each.set_parse_math(False)
            each.set_text(visible_lines(each.get_text()))


def plain_log_ticks(axis: Any) -> None:
    """Label a logarithmic axis 0.5, 1, 2, 5, 10 where it spans two decades or less, else by the powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    low, high = axis.get_view_interval()
    if high / low <= 100:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def whole_numbers(axis: Any) -> None:
    """Ticks of an axis that counts."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(integer=True))
