"""Sizes of the papers in which tables and figures are printed."""

from __future__ import annotations

from typing import NamedTuple

POINTS = 72.27
"""TeX's points in an inch."""
CENTIMETRES = 2.54


class Paper(NamedTuple):
    """`column` and `text` are widths in inches, `points` is the size of text in a figure, one less than that of a caption, and `body` that
    of the paper's text.

    A style with one column has the width of two figures side by side in place of a column's.
    """

    column: float
    text: float
    points: float
    body: int
    num_columns: int = 2

    @property
    def gap(self) -> float:
        """Inches between the columns."""
        return self.text - 2 * self.column


PAPERS = {
    "acl": Paper(7.7 / CENTIMETRES, 16.0 / CENTIMETRES, 9.0, 11),
    "icml": Paper(3.25, 6.75, 8.0, 10),
    "neurips": Paper(2.65, 5.5, 9.0, 10, 1),
    "iclr": Paper(2.65, 5.5, 9.0, 10, 1),
}
"""ACL, EMNLP, NAACL and Findings: A4 with margins of 2.5 cm and 0.6 cm between the columns. Source: acl.sty, github.com/acl-org/acl-style-files.
ICML: text of 6.75 in, 0.25 in between the columns, captions of 9 pt. Source: icml2024.sty, media.icml.cc/Conferences/ICML2024/Styles.
NeurIPS: one column of 5.5 in. Source: neurips_2024.sty. ICLR: the same. Source: iclr2025_conference.sty, github.com/ICLR/Master-Template.
"""
USUAL = "acl"
"""Both papers that this package implements are in it."""
