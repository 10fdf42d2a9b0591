"""A report as one HTML page that works from disk: tables that sort, figures, and examples to browse.

The page loads nothing and never interprets texts of models as markup: texts are embedded as data, a script puts them into text nodes, and a
content security policy allows only this script and style sheet.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import orjson
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from cotexp.report import browser, latex
from cotexp.report.document import NOISE, Figure, Report, Row, UsedRun
from cotexp.report.long_csv import table_csv
from cotexp.report.papers import PAPERS, Paper
from cotexp.report.short_names import short_names, shortened
from cotexp.visible import visible_lines

LARGEST_SVG = 400_000
"""Bytes. Larger drawings are embedded as PNG."""


def files(report: Report) -> dict[str, bytes]:
    """File name -> content: one self-contained page."""
    return {"report.html": html(report).encode()}


def html(report: Report) -> str:
    """The page; the same report twice is the same text."""
    style, script = (resources.files("cotexp.report").joinpath("templates", f"page.{kind}").read_text("utf-8") for kind in ("css", "js"))
    browsed = browser.browse(_labelled(report.runs))
    environment = Environment(
        loader=PackageLoader("cotexp.report"), autoescape=True, finalize=_shown, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "source": _source,
        "narrow": lambda figure: _narrow(figure, PAPERS[report.paper]),
        "is_gap": _is_gap,
        "breakable": _breakable,
        "names": lambda table: short_names(row.label for row in table.rows),
        "short": shortened,
        "latex": lambda table: "\n".join(latex.table_files(report, table).values()),
        "csv": table_csv,
    }
    return environment.get_template("page.html").render(
        report=report,
        noise=NOISE.strip(),
        policy=f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; base-uri 'none'; form-action 'none'",
        style=Markup(style),
        script=Markup(script),
        data=Markup(embedded(browsed.embedded())),
        num_examples=len(browsed.examples),
        choice=browser.explanation(len(browsed.runs)),
    )


def _shown(value: Any) -> Any:
    """Spell out control characters in every text that the template inserts, except in our markup."""
    return visible_lines(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _labelled(runs: Sequence[UsedRun]) -> dict[Path, str]:
    """Folder -> label of a run: that of its first row, with the run's key if another run has the same label."""
    labels = {run.folder: f"{run.row}, seed {run.seed}" for run in reversed(runs)}
    counts = Counter(labels.values())
    return {run.folder: labels[run.folder] + (f" ({run.key})" if counts[labels[run.folder]] > 1 else "") for run in runs}


def embedded(content: object) -> str:
    """`content` as JSON for a script element; nothing in it can end the element or begin a comment."""
    text = orjson.dumps(content).decode()
    for mark in "<>&\u2028\u2029":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return text


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _source(figure: Figure) -> str:
    """The figure as a data URL."""
    kind, content = ("svg+xml", figure.svg) if len(figure.svg) <= LARGEST_SVG else ("png", figure.png)
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _narrow(figure: Figure, paper: Paper) -> str:
    """The figure as wide as a column of a paper, for a phone, as a data URL; empty if it has one size."""
    if figure.at_width is None:
        return ""
    content = figure.at_width(paper.column, paper.points, "svg")
    return f"data:image/svg+xml;base64,{base64.b64encode(content).decode()}" if len(content) <= LARGEST_SVG else ""


def _is_gap(row: Row) -> bool:
    """Whether no cell of a row has a value."""
    return bool(row.gaps) and all(cell.state not in ("ok", "partial") for cell in row.cells)


def _breakable(text: str) -> Markup:
    """`text` with possible line breaks within names of settings and metrics."""
    return Markup("<wbr>").join(escape(piece) for piece in re.split(r"(?<=[/._=])(?=[A-Za-z])", visible_lines(text)))
