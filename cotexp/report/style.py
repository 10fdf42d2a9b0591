"""One style for all figures. It is safe for the colour-blind and for print in grey: series differ in marker and line as well as in colour."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, NamedTuple

from cotexp.report.document import Figure, Table
from cotexp.visible import visible_lines

COLOURS = {"blue": "#0072B2", "orange": "#E69F00", "green": "#009E73", "red": "#D55E00", "purple": "#CC79A7", "sky": "#56B4E9", "grey": "#777777"}
"""Colours of Okabe and Ito without the yellow, which is hard to see on paper."""
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
    """Colour, marker and line style of one of several series."""

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
    """A figure before it is rendered: `name` is stable, `draw` fills a figure of matplotlib, `size` is (width, height) in inches."""

    name: str
    title: str
    description: str
    draw: Callable[[Any], None]
    size: tuple[float, float] | None = None

    def of_table(self, table: Table, num_tables: int) -> Drawing:
        """The same drawing, with the name of its table if there are several."""
        return self if num_tables == 1 else self._replace(name=f"{self.name}_{table.name}", title=f"{table.title}: {self.title}")


def picture(drawing: Drawing) -> Figure:
    """The drawing as PNG and SVG; the same drawing twice is the same bytes."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    with matplotlib.rc_context(STYLE):  # type: ignore[arg-type]  # its names are literals of one large type
        figure = Canvas(figsize=drawing.size, layout="constrained")  # not by pyplot, whose backend may be a notebook's
        FigureCanvasAgg(figure)
        drawing.draw(figure)
        _show_as_is(figure)
        png, svg = io.BytesIO(), io.BytesIO()
        figure.savefig(png, format="png", metadata={"Software": None})
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    return Figure(name=drawing.name, title=drawing.title, description=drawing.description, png=png.getvalue(), svg=svg.getvalue())


def _show_as_is(figure: Any) -> None:
    """Draw texts literally, with control characters spelled out. Only matplotlib's own powers of ten on an axis remain formulas."""
    from matplotlib.text import Text

    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        names = [label.get_text() for label in axis.get_ticklabels()]
        if names != (shown := list(map(visible_lines, names))):
            axis.set_ticklabels(shown)
    for text in figure.findobj(Text):
        if r"\mathdefault" not in text.get_text():
            text.set_parse_math(False)
            text.set_text(visible_lines(text.get_text()))


def plain_log_ticks(axis: Any) -> None:
    """Label a logarithmic axis with 0.5, 1, 2, 5, 10 if it spans at most two decades, else with powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    low, high = axis.get_view_interval()
    if high / low <= 100:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def whole_numbers(axis: Any) -> None:
    """Put the ticks of an axis at whole numbers."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(integer=True))
