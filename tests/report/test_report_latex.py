"""A report as LaTeX: it compiles, whatever its texts hold."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from cotexp.report import latex
from cotexp.report.document import Cell, Column, Gap, Report, Row, Table

HOSTILE = (
    r"""a_b & 50 % of $x^2$ {#1} ~ \input{/etc/passwd} "quoted" 'it' `x` --format <compress> | [!?`?] -- ±1 → ≈ × “déjà” 中 😀 ½ ﬁ"""
    + "\n\\end{tabular}"
)


def report(num_rows: int = 3) -> Report:
    columns = (Column(name="accuracy", title="accuracy, % (95 % interval)"), Column(name="difference", title="difference_of"))
    rows = [
        Row(
            label=f"{HOSTILE} {number}",
            kind="arm",
            cells=(Cell(text="80.0 (70.0 to 90.0)", value=80.0, bold=True), Cell(text="+1.0", within_noise=True)),
        )
        for number in range(num_rows)
    ]
    gap = Gap(row=HOSTILE, seed=1, state="failed", reason=HOSTILE, command="python run.py 'a=[b,c]' --x=~/y_z")
    rows.append(Row(label="none yet", kind="arm", cells=(Cell(text="failed", state="failed"),) * 2, gaps=(gap,)))
    rows.append(Row(label="theirs", kind="published", cells=(Cell(text="not available", state="not available"), Cell())))
    table = Table(name="1", title=HOSTILE, columns=columns, rows=tuple(rows), notes=(HOSTILE,))
    return Report(name="x", title=HOSTILE, tables=(table,), footnotes=(HOSTILE,))


def test_marks_of_latex_are_printed_not_obeyed() -> None:
    assert latex.escaped("50 % of a_b & $1 {x} \\y #") == r"50 \% of a\_b \& \$1 \{x\} \textbackslash{}y \#"
    assert latex.escaped("--x ?` <a>\n~^") == r"-{}-{}x ?{}{`} \textless{}a\textgreater{} \textasciitilde{}\textasciicircum{}"
    assert latex.escaped("déjà ½ ﬁ 中") == "déjà 12 fi [U+4E2D]"


def test_a_table_has_rules_of_booktabs_bold_and_marks() -> None:
    lines = latex.tabulars(report(1).tables[0])["tables/1.tex"].splitlines()
    assert [each for each in lines if each.endswith("rule")] == [r"\toprule", r"\midrule", r"\midrule", r"\bottomrule"]
    assert lines[0] == r"\begin{tabular}{lrr}"
    assert r"\textbf{80.0 (70.0 to 90.0)} & +1.0 $\approx$ \\" in lines[4]
    assert r"\textit{not available}" in lines[-3]


def test_a_long_table_goes_on_in_another_file() -> None:
    parts = latex.tabulars(report(60).tables[0])
    assert list(parts) == ["tables/1.tex", "tables/1-2.tex", "tables/1-3.tex"]
    assert sum(part.count("none yet") + part.count("\n" + latex.escaped(HOSTILE)) for part in parts.values()) == 61


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed (Debian: texlive-latex-base, texlive-latex-recommended)")
def test_pdflatex_takes_the_document_as_it_is(tmp_path: Path) -> None:
    for name, content in latex.files(report(32)).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "report.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=120, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout, "nothing sticks out of the page"
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
