"""One style for all figures. It is safe for the colour-blind and for print in grey: series differ in marker and line as well as in colour.

A figure is drawn at the width at which it is shown: wide for a page, or as wide as a column or the text of a paper. All lengths that a drawing
gives are those at a text of 10 points; `inches` converts them.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from typing import Any, NamedTuple

from cotexp.report.document import Figure, Table
from cotexp.visible import visible_lines

COLOURS = {"blue": "#0072B2", "orange": "#E69F00", "green": "#009E73", "red": "#D55E00", "purple": "#CC79A7", "sky": "#56B4E9", "grey": "#777777"}
"""Colours of Okabe and Ito without the yellow, which is hard to see on paper."""
POINTS = 10.0
"""Size of text on a page."""
STYLE = {
    "figure.dpi": 150,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "xtick.labelsize": "small",
    "ytick.labelsize": "small",
    "legend.fontsize": "small",
    "legend.title_fontsize": "small",
    "pdf.fonttype": 42,
    "svg.hashsalt": "cotexp",
}
"""Type 42 embeds fonts as TrueType; conferences refuse matplotlib's Type 3."""
LENGTHS = {
    "lines.linewidth": 1.5,
    "lines.markersize": 6.5,
    "lines.markeredgewidth": 1.2,
    "patch.linewidth": 1.0,
    "hatch.linewidth": 0.8,
    "axes.linewidth": 0.8,
    "grid.linewidth": 0.8,
    "xtick.major.width": 0.8,
    "ytick.major.width": 0.8,
    "axes.labelpad": 4.0,
    "xtick.major.size": 3.5,
    "ytick.major.size": 3.5,
    "xtick.minor.size": 2.0,
    "ytick.minor.size": 2.0,
}
"""Points at a text of 10 points."""
SMALL = 0.833
"""Size of the text of ticks, legends and names, over that of the axes' labels; matplotlib's "small"."""
LINE = 0.17
"""Inches between two lines of small text at 10 points."""
NARROW = 5.2
"""Inches at a text of 10 points. In a narrower figure numbers stand for names, and a key below it has the names."""


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
    """A figure before it is rendered: `name` is stable; `draw` fills a figure of matplotlib of any width and sets its height.

    `width` is that on a page, in inches.
    """

    name: str
    title: str
    description: str
    draw: Callable[[Any], None]
    width: float = 6.0

    def of_table(self, table: Table, num_tables: int) -> Drawing:
        """The same drawing, with the name of its table if there are several."""
        return self if num_tables == 1 else self._replace(name=f"{self.name}_{table.name}", title=f"{table.title}: {self.title}")


def picture(drawing: Drawing) -> Figure:
    """The drawing as PNG and SVG, and what renders it for a paper; the same drawing twice is the same bytes."""
    png, svg = _rendered(drawing, drawing.width, POINTS, ("png", "svg"))
    return Figure(name=drawing.name, title=drawing.title, description=drawing.description, png=png, svg=svg, at_width=partial(_at_width, drawing))


def _at_width(drawing: Drawing, width: float, points: float, form: str) -> bytes:
    return _rendered(drawing, width, points, (form,))[0]


def _rendered(drawing: Drawing, width: float, points: float, forms: Sequence[str]) -> list[bytes]:
    """The drawing in each form, `width` inches wide with a text of `points`."""
    with drawn(drawing, width, points) as figure:
        return [_saved(figure, form) for form in forms]


@contextmanager
def drawn(drawing: Drawing, width: float, points: float) -> Iterator[Any]:
    """The drawing as a figure of matplotlib, within its style."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    lengths = {name: length * points / POINTS for name, length in LENGTHS.items()}
    settings: Any = {**STYLE, **lengths, "font.size": points}  # its names are literals of one large type
    with matplotlib.rc_context(settings):
        figure = Canvas(figsize=(width, inches(3.8)), layout="constrained")  # not by pyplot, whose backend may be a notebook's
        FigureCanvasAgg(figure)
        drawing.draw(figure)
        _show_as_is(figure)
        _wrap_labels(figure)
        yield figure


NO_DATES: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


def _saved(figure: Any, form: str) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format=form, metadata=NO_DATES[form])
    return content.getvalue()


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


def _wrap_labels(figure: Any) -> None:
    """Break the labels of axes that are longer than the share of the figure that their axes have."""
    for axes in (axes for axes in figure.axes if axes.get_subplotspec()):
        place = axes.get_subplotspec()
        grid = place.get_gridspec()
        for axis, length, number, ratios in (
            (axes.xaxis, figure.get_figwidth(), place.colspan.start, grid.get_width_ratios()),
            (axes.yaxis, figure.get_figheight(), place.rowspan.start, grid.get_height_ratios()),
        ):
            axis.label.set_text(wrapped(axis.label.get_text(), 0.8 * length * ratios[number] / sum(ratios), small=False))


# --- lengths of texts ------------------------------------------------------------------------------------------------------


def inches(length: float) -> float:
    """A length at a text of 10 points, at the present size of text."""
    import matplotlib as mpl

    return float(length * mpl.rcParams["font.size"] / POINTS)


def is_narrow(figure: Any) -> bool:
    """Whether the figure has no room for names beside its axes."""
    return bool(figure.get_figwidth() < inches(NARROW))


def text_width(text: str, *, small: bool = True) -> float:
    """Inches of a line of text, as wide as it can be; `small` texts are those of legends, ticks and names."""
    return inches(sum(map(_sign_width, text)) * (SMALL if small else 1.0))


@cache
def _sign_width(sign: str) -> float:
    """Inches of a character at 10 points."""
    from matplotlib.textpath import TextPath

    if not " " < sign <= "~":
        return (0.36 if sign == " " else 1.0) * POINTS / 72
    # Between two letters, so that the space at its sides counts too.
    around, alone = (TextPath((0, 0), text, size=POINTS).get_extents().width for text in (f"H{sign}H".replace("$", "S"), "HH"))
    return float(around - alone) / 72


def wrapped(text: str, width: float, *, small: bool = True) -> str:
    """`text` in lines of at most `width` inches, broken at spaces, and within words that are longer than a line."""
    lines = [""]
    for word in visible_lines(text).split():
        longer = f"{lines[-1]} {word}".strip()
        if text_width(longer, small=small) <= width:
            lines[-1] = longer
            continue
        lines.append("")
        for sign in word:
            if lines[-1] and text_width(lines[-1] + sign, small=small) > width:
                lines.append("")
            lines[-1] += sign
    return "\n".join(line for line in lines if line)


def legend_below(figure: Any, handles: Sequence[Any] = (), *, title: str | None = None) -> None:
    """One legend below all axes, in as many columns as fit, without a name twice, and room for it. By default of the handles of all axes."""
    if not handles:
        found = [pair for axes in figure.axes for pair in zip(*axes.get_legend_handles_labels(), strict=True)]
        labelled = list({label: (handle, label) for handle, label in reversed(found)}.values())[::-1]
    else:
        labelled = [(handle, handle.get_label()) for handle in handles]
    if not labelled:
        return
    beside, whole = inches(0.55), figure.get_figwidth() - inches(0.2)
    names = [wrapped(name, whole - beside) for _, name in labelled]
    widest = max(text_width(line) for name in names for line in name.split("\n"))
    num_columns = max(1, min(len(names), int(whole / (widest + beside))))
    title = title and wrapped(title, whole)
    num_lines = sum(name.count("\n") + 1 for name in names) / num_columns + 1 + (title.count("\n") + 1 if title else 0)
    figure.set_figheight(figure.get_figheight() + inches(LINE * num_lines))
    figure.legend(
        [handle for handle, _ in labelled],
        names,
        loc="outside lower center",
        ncols=num_columns,
        title=title,
        handlelength=2.2,
        columnspacing=1.2,
    )


def legend_under(axes: Any) -> None:
    """The legend of one of several axes whose series are not the same, below its label, with room for it."""
    from matplotlib.transforms import ScaledTranslation

    figure = axes.figure
    handles, names = axes.get_legend_handles_labels()
    width = figure.get_figwidth() / axes.get_subplotspec().get_gridspec().ncols - inches(1.0)
    names = [wrapped(name, width) for name in names]
    below = axes.transAxes + ScaledTranslation(0, -inches(0.5), figure.dpi_scale_trans)
    axes.legend(handles, names, loc="upper left", bbox_to_anchor=(0, 0), bbox_transform=below, borderaxespad=0)
    is_last_column = axes.get_subplotspec().is_last_col()
    num_lines = sum(name.count("\n") + 1 for name in names) if is_last_column else 0
    figure.set_figheight(figure.get_figheight() + inches(LINE * num_lines))


# --- axes --------------------------------------------------------------------------------------------------------------------


def panels(figure: Any, ratios: Sequence[float], *, height: float, **sharing: bool) -> list[Any]:
    """Axes side by side, `height` inches high at a text of 10 points; below each other in a narrow figure."""
    is_column = is_narrow(figure) and len(ratios) > 1
    figure.set_figheight(inches(height * (0.75 * len(ratios) if is_column else 1)))
    if is_column:
        return list(figure.subplots(len(ratios), 1, squeeze=False, **sharing)[:, 0])
    return list(figure.subplots(1, len(ratios), squeeze=False, gridspec_kw={"width_ratios": ratios}, **sharing)[0])


def plain_log_ticks(axis: Any) -> None:
    """Label a logarithmic axis with 0.5, 1, 2, 5, 10 if it spans at most two decades, else with powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    low, high = axis.get_view_interval()
    if high / low <= 100:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def whole_numbers(axis: Any, most: int | None = None) -> None:
    """Put the ticks of an axis at whole numbers, at most `most` of them."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(most or "auto", integer=True))
