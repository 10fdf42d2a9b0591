"""A report as LaTeX: it compiles, whatever its texts hold."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from cotexp.commands.declared_reports import report_named, report_names
from cotexp.report import costs, latex, latex_tables
from cotexp.report.arm_table import USUAL, column_named
from cotexp.report.document import Cell, Column, Gap, Report, Row, Table
from cotexp.report.latex_text import escaped
from cotexp.report.papers import PAPERS

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
            cells=(Cell(text="80.0 (70.0 to 90.0)", value=80.0, low=70.0, high=90.0, bold=True), Cell(text="+1.0", within_noise=True)),
        )
        for number in range(num_rows)
    ]
    gap = Gap(row=HOSTILE, seed=1, state="failed", reason=HOSTILE, command="python run.py 'a=[b,c]' --x=~/y_z")
    rows.append(Row(label="none yet", kind="arm", cells=(Cell(text="failed", state="failed"),) * 2, gaps=(gap,)))
    rows.append(Row(label="theirs", kind="published", cells=(Cell(text="not available", state="not available"), Cell())))
    table = Table(name="1", title=HOSTILE, columns=columns, rows=tuple(rows), notes=(HOSTILE,))
    return Report(name="x", title=HOSTILE, tables=(table,), footnotes=(HOSTILE,))


LONG_NAMES = [
    f"compression={name}, compression.max_rounds={rounds}, compression.min_tokens=null, mixture.full_ratio=0.25, trainer.learning_rate=0.0003"
    for name in ("macc", "shortest_correct", "single_round")
    for rounds in (2, 10)
]
WIDE = {
    "accuracy": Cell(text="100.0 (100.0 to 100.0)", value=100.0, low=100.0, high=100.0, bold=True),
    "difference": Cell(text="-100.0 (-100.0 to +100.0)", value=-100.0, low=-100.0, high=100.0, within_noise=True),
    "p": Cell(text="< 0.0001", value=0.0),
    "p_holm": Cell(text="< 0.0001", value=0.0),
    "latency": Cell(text="12.345 (12.345 to 12.345)", value=12.345, low=12.345, high=12.345),
    "hours": Cell(text="0.00247 core-hours", value=0.00247),
}
needs_pdflatex = pytest.mark.skipif(
    shutil.which("pdflatex") is None, reason="pdflatex is not installed (Debian: texlive-latex-base, texlive-latex-recommended)"
)


def table_of(columns: list[str], labels: list[str], name: str = "1") -> Table:
    """A table with cells as wide as they get; the cells of a column without an interval differ."""
    rows = [
        Row(label=label, kind="arm", cells=tuple(WIDE.get(column, Cell(text=f"12,345,67{number}", value=1.0)) for column in columns))
        for number, label in enumerate(labels)
    ]
    return Table(name=name, title=f"Table {name}", columns=tuple(column_named(each).column for each in columns), rows=tuple(rows))


def compile_document(folder: Path, files: dict[str, bytes]) -> str:
    """What pdflatex says."""
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "report.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (folder / "report.pdf").read_bytes().startswith(b"%PDF")
    return done.stdout


def test_marks_of_latex_are_printed_not_obeyed() -> None:
    assert escaped("50 % of a_b & $1 {x} \\y #") == r"50 \% of a\_b \& \$1 \{x\} \textbackslash{}y \#"
    assert escaped("--x ?` <a>\n~^") == r"-{}-{}x ?{}{`} \textless{}a\textgreater{} \textasciitilde{}\textasciicircum{}"
    assert escaped("déjà ½ ﬁ 中") == "déjà 12 fi [U+4E2D]"


def test_a_float_has_rules_of_booktabs_bold_marks_caption_and_label() -> None:
    (text,) = latex_tables.floats(report(1).tables[0], PAPERS["acl"], "tab:x-1")
    lines = text.splitlines()
    assert [each for each in lines if each.endswith("rule")] == [r"\toprule", r"\midrule", r"\midrule", r"\bottomrule"]
    assert r"\textbf{80.0} {\scriptsize (70.0 to 90.0)} & +1.0 $\approx$ \\" in text
    assert r"\textit{not available}" in text
    assert lines[-2] == r"\label{tab:x-1}"
    assert lines[-3].startswith(r"\caption{")


def test_minus_signs_are_no_hyphens() -> None:
    (text,) = latex_tables.floats(table_of(["difference", "tokens"], ["a-b"]), PAPERS["acl"], "x")
    assert r"a-{}b & $-$100.0 {\scriptsize ($-$100.0 to +100.0)} $\approx$" in text


@pytest.mark.parametrize(
    ("columns", "labels", "paper", "environment", "num_tabulars"),
    [
        (["accuracy", "tokens"], ["full", "short"], "acl", "table", 1),
        (["accuracy", "tokens"], LONG_NAMES, "acl", "table*", 1),
        ([*USUAL], ["full", "short"], "acl", "table*", 2),
        ([*USUAL, *costs.ORDER], ["full", "short"], "acl", "table*", 4),
        (["accuracy", "tokens"], ["full", "short"], "neurips", "table", 1),
        ([*USUAL], ["full", "short"], "neurips", "table", 2),
    ],
)
def test_a_table_is_as_wide_as_a_column_or_as_the_text_or_has_parts(
    columns: list[str], labels: list[str], paper: str, environment: str, num_tabulars: int
) -> None:
    (text,) = latex_tables.floats(table_of(columns, labels), PAPERS[paper], "x")
    assert text.startswith(rf"\begin{{{environment}}}")
    assert text.count(r"\bottomrule") == num_tabulars
    assert "resizebox" not in text


def test_what_all_arms_share_stands_in_the_caption_and_settings_have_short_names() -> None:
    columns = tuple(column_named(each).column for each in ("seeds", "deviation", "steps", "accuracy", "tokens"))
    base = Row(label="base (not fine-tuned)", kind="base", cells=(Cell(), Cell(), Cell(), WIDE["accuracy"], Cell(text="92.0", value=92.0)))
    arms = [
        Row(
            label=f"compression.stop={stop}",
            kind="arm",
            cells=(Cell(text="0"), Cell(text="n = 1"), Cell(text="100", value=100.0), WIDE["accuracy"], Cell(text=tokens, value=1.0)),
        )
        for stop, tokens in (("rebound", "38.0"), ("limit", "40.0"))
    ]
    table = Table(name="1", title="Stop rules", columns=columns, rows=(base, *arms), caption="Against compression.stop=limit.")
    (text,) = latex_tables.floats(table, PAPERS["acl"], "x")
    assert r"\caption{Stop rules. Against stop=limit. All arms: seeds 0; sd over seeds n = 1; steps 100.}" in text
    assert "stop=rebound & " in text
    assert text.splitlines()[5].count("&") == 2, "accuracy, although it is the same, and tokens are results"


def test_settings_that_end_alike_keep_their_paths() -> None:
    (text,) = latex_tables.floats(table_of(["tokens"], ["teacher.name=a, model.name=b"]), PAPERS["acl"], "x")
    assert "teacher.name=a, model.name=b" in text.replace(r"\allowbreak{}", "")


def test_a_long_table_goes_on_in_another_float() -> None:
    table = table_of(["accuracy"], [f"arm {number}" for number in range(100)])
    parts = latex.table_files(Report(name="x/y", title="x", tables=(table,)), table)
    assert list(parts) == ["tables/1.tex", "tables/1-2.tex", "tables/1-3.tex"]
    assert sum(part.count("\narm ") for part in parts.values()) == 100 + 3, "with three headings"
    assert r"\label{tab:x-y-1-2}" in parts["tables/1-2.tex"]


@needs_pdflatex
def test_pdflatex_takes_the_document_as_it_is(tmp_path: Path) -> None:
    said = compile_document(tmp_path, latex.files(report(32)))
    assert "Overfull" not in said, "nothing sticks out of a column"


@needs_pdflatex
@pytest.mark.parametrize("paper", PAPERS)
def test_no_table_of_a_declared_report_and_none_with_long_names_sticks_out_of_its_column(paper: str, tmp_path: Path) -> None:
    """All columns of costs too."""
    declared = {tuple(table.columns or USUAL) for name in report_names() for table in report_named(name).tables}
    tables = []
    for columns in [*sorted(declared), costs.ORDER]:
        for labels in (["full", "rounds=2, stop=rebound"], LONG_NAMES):
            tables.append(table_of([*columns], labels, f"t{len(tables)}"))
    said = compile_document(tmp_path, latex.files(Report(name="x", title="x", tables=tuple(tables), paper=paper)))
    assert "Overfull" not in said
