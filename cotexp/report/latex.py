"""A report as LaTeX with booktabs: one float per table and figures as PDF for a paper, and a document in the paper's layout that shows them all."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

from cotexp.report import latex_tables
from cotexp.report.document import Figure, Gap, Report, Table
from cotexp.report.latex_text import escaped, prose
from cotexp.report.markdown import figure_files
from cotexp.report.papers import PAPERS, Paper


def files(report: Report) -> dict[str, bytes]:
    """File name -> content: report.tex, the tables that it reads, and the figures: for a page, and as PDF as wide as a column and as the text."""
    paper = PAPERS[report.paper]
    tables = {name: text.encode() for table in report.tables for name, text in table_files(report, table).items()}
    return {"report.tex": document(report).encode(), **tables, **figure_files(report), **pdf_files(report.figures, paper)}


def table_files(report: Report, table: Table) -> dict[str, str]:
    """File name -> the floats of a table, with its notes as comments."""
    paper = PAPERS[report.paper]
    floats = latex_tables.floats(table, paper, f"tab:{_identifier(f'{report.name}-{table.name}')}")
    notes = [f"% {escaped(note)}" for note in table.notes]
    head = "% Needs \\usepackage{booktabs} and \\usepackage{array}."
    names = [f"tables/{table.name}.tex", *(f"tables/{table.name}-{number}.tex" for number in range(2, len(floats) + 1))]
    return {name: "\n".join((head, text, *notes, "")) for name, text in zip(names, floats, strict=True)}


def pdf_files(figures: Iterable[Figure], paper: Paper) -> dict[str, bytes]:
    """File name -> each figure as PDF, as wide as a column and as the text of the paper."""
    widths = {"column": paper.column, "text": paper.text}
    return {
        f"figures/{figure.name}_{name}.pdf": figure.at_width(width, paper.points, "pdf")
        for figure in figures
        if figure.at_width
        for name, width in widths.items()
    }


def document(report: Report) -> str:
    """A whole document: tables and figures as floats, gaps, notes."""
    paper = PAPERS[report.paper]
    lines = [*_preamble(paper), rf"\section*{{{prose(report.title)}}}"]
    for table in report.tables:
        lines += [rf"\input{{{name}}}" for name in table_files(report, table)]
    for figure in report.figures:
        lines += _figure(report, figure)
    if report.gaps:
        lines += [r"\subsection*{Missing}", *_items(map(_gap, report.gaps))]
    for table in report.tables:
        lines += [rf"\subsection*{{Notes: {prose(table.title)}}}", *_items(map(prose, table.notes))] if table.notes else []
    lines += _items(map(prose, [*report.footnotes, *(f"Left out: {line}" for line in report.left_out)]))
    return "\n".join([*lines, r"\end{document}", ""])


def _preamble(paper: Paper) -> Iterator[str]:
    two = ",twocolumn" if paper.num_columns == 2 else ""
    yield rf"\documentclass[{paper.body}pt,a4paper{two}]{{article}}"
    columns = f",columnsep={paper.gap:.4f}in" if two else ""
    yield rf"\usepackage[textwidth={paper.text:.4f}in,textheight=9.3in{columns}]{{geometry}}"
    yield r"\usepackage{booktabs,array,graphicx}"
    yield r"\renewcommand{\labelitemi}{$\bullet$}"
    yield r"\sloppy\setlength{\emergencystretch}{4em}\raggedbottom"
    yield r"\extrafloats{100}"
    yield r"\begin{document}"


def _figure(report: Report, figure: Figure) -> Iterator[str]:
    """The figure in its column width, with a comment about the wider one."""
    shown = f"{{figures/{figure.name}_column.pdf}}" if figure.at_width else rf"[width=0.9\columnwidth]{{figures/{figure.name}.png}}"
    yield r"\begin{figure}[tbp]"
    yield r"\centering"
    yield rf"\includegraphics{shown}"
    if figure.at_width:
        yield rf"% As wide as the text, in figure*: \includegraphics{{figures/{figure.name}_text.pdf}}"
    yield rf"\caption{{{prose(f'{figure.title}. {figure.description}')}}}"
    yield rf"\label{{fig:{_identifier(f'{report.name}-{figure.name}')}}}"
    yield r"\end{figure}"


def _gap(gap: Gap) -> str:
    seed = "" if gap.seed is None else f", seed {gap.seed}"
    command = rf": \texttt{{{prose(gap.command)}}}" if gap.command else ""
    return prose(f"{gap.row}{seed}: {gap.description}") + command


def _items(texts: Iterable[str]) -> list[str]:
    items = [rf"\item {text}" for text in texts]
    return [r"\begin{itemize}\footnotesize\raggedright\setlength{\itemsep}{0pt}", *items, r"\end{itemize}"] if items else []


def _identifier(text: str) -> str:
    """`text` as the name of a label: letters, digits and hyphens."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9]+", "-", plain).strip("-")
