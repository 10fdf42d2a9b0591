"""A report as LaTeX with booktabs: a document for pdflatex, and one file per table for \\input in a paper."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence

from cotexp.report.document import Cell, Column, Gap, Report, Row, Table
from cotexp.report.markdown import figure_files
from cotexp.visible import visible_lines

MOST_ROWS = 30
"""Rows on one page; longer tables continue in another tabular."""

PREAMBLE = r"""\documentclass[10pt]{article}
\usepackage[a4paper,landscape,margin=15mm]{geometry}
\usepackage{booktabs}
\usepackage{graphicx}
\setlength{\parindent}{0pt}
\newsavebox{\reporttable}
% A table in its natural size, or as wide as the page if it is wider.
\newcommand{\reportinput}[1]{\sbox{\reporttable}{\small\input{#1}}%
  \begin{center}\ifdim\wd\reporttable>\linewidth\resizebox{\linewidth}{!}{\usebox{\reporttable}}\else\usebox{\reporttable}\fi\end{center}}
\begin{document}
"""

MARKUP = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "'": "{'}",
    "`": "{`}",
    "-": "-{}",
    "?": "?{}",
    "!": "!{}",
    "≈": r"$\approx$",
    "±": r"$\pm$",
    "−": "$-$",
    "×": r"$\times$",
    "→": r"$\rightarrow$",
    "“": "``",
    "”": "''",
    "–": "--",
    "…": r"\ldots{}",
}
"""Characters that LaTeX would not print as they are. The empty groups prevent ligatures of hyphens, ? and !."""


def files(report: Report) -> dict[str, bytes]:
    """File name -> content: report.tex, tables/ that it reads, and figures/."""
    tables = {name: text.encode() for table in report.tables for name, text in tabulars(table).items()}
    return {"report.tex": document(report).encode(), **tables, **figure_files(report)}


def document(report: Report) -> str:
    """A whole document: tables with their notes, gaps, figures, footnotes."""
    lines = [PREAMBLE, rf"\section*{{{escaped(report.title)}}}"]
    for table in report.tables:
        lines += [rf"\subsection*{{{escaped(table.title)}}}"] if len(report.tables) > 1 else []
        lines += [rf"\reportinput{{{name}}}" for name in tabulars(table)]
        lines += _items(table.notes)
    if report.gaps:
        lines += [r"\subsection*{Missing}", *_items(map(_gap, report.gaps), is_escaped=True)]
    for figure in report.figures:
        picture = rf"\includegraphics[width=0.7\linewidth,height=0.8\textheight,keepaspectratio]{{figures/{figure.name}.png}}"
        lines += [r"\begin{center}", picture, rf"\\ \small {escaped(f'{figure.title}. {figure.description}')}", r"\end{center}"]
    lines += _items([*report.footnotes, *(f"Left out: {line}" for line in report.left_out)])
    return "\n".join([*lines, r"\end{document}", ""])


def tabulars(table: Table) -> dict[str, str]:
    """File name -> a tabular; several if the table is too long for a page."""
    parts = [table.rows[first : first + MOST_ROWS] for first in range(0, len(table.rows), MOST_ROWS)] or [()]
    names = [f"tables/{table.name}.tex", *(f"tables/{table.name}-{number}.tex" for number in range(2, len(parts) + 1))]
    return {name: "\n".join(_tabular(table, part)) + "\n" for name, part in zip(names, parts, strict=True)}


def _tabular(table: Table, rows: Sequence[Row]) -> Iterator[str]:
    yield rf"\begin{{tabular}}{{l{''.join(column.align[0] for column in table.columns)}}}"
    yield r"\toprule"
    yield " & ".join((escaped(table.row_title), *map(_heading, table.columns))) + r" \\"
    yield r"\midrule"
    for before, row in zip([None, *rows], rows, strict=False):
        if before is not None and before.kind != row.kind:
            yield r"\midrule"
        yield " & ".join((escaped(row.label), *map(_cell, row.cells))) + r" \\"
    yield r"\bottomrule"
    yield r"\end{tabular}"


def _heading(column: Column) -> str:
    """The title, in two lines if it has a bracket."""
    name, bracket, rest = column.title.partition(" (")
    return rf"\shortstack[{column.align[0]}]{{{escaped(name)}\\({escaped(rest)}}}" if bracket else escaped(name)


def _cell(cell: Cell) -> str:
    text = escaped(cell.text)
    if cell.bold:
        text = rf"\textbf{{{text}}}"
    if cell.is_code:
        text = rf"\texttt{{{text}}}"
    if cell.is_missing:
        text = rf"\textit{{{text}}}"
    return text + (r" $\approx$" if cell.within_noise else "")


def _gap(gap: Gap) -> str:
    seed = "" if gap.seed is None else f", seed {gap.seed}"
    command = rf": \texttt{{{escaped(gap.command)}}}" if gap.command else ""
    return escaped(f"{gap.row}{seed}: {gap.description}") + command


def _items(texts: Iterable[str], *, is_escaped: bool = False) -> list[str]:
    items = [rf"\item {text if is_escaped else escaped(text)}" for text in texts]
    return [r"\begin{itemize}\footnotesize\raggedright\setlength{\itemsep}{0pt}", *items, r"\end{itemize}"] if items else []


def escaped(text: str) -> str:
    """`text` escaped for LaTeX. Characters that its usual fonts lack are replaced by their ASCII form or their code point."""
    return "".join(map(_sign, " ".join(visible_lines(text).split())))


def _sign(sign: str) -> str:
    if sign in MARKUP:
        return MARKUP[sign]
    if " " <= sign <= "~" or (sign.isalpha() and sign <= "ÿ"):
        return sign
    plain = unicodedata.normalize("NFKD", sign).encode("ascii", "ignore").decode()
    return "".join(MARKUP.get(letter, letter) for letter in plain) if plain.isprintable() and plain else f"[U+{ord(sign):04X}]"
