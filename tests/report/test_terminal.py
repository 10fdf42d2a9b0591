"""Tables on a terminal of any width."""

from __future__ import annotations

import io

import pytest

from cotexp.progress import Page
from cotexp.report.document import Cell, Column, Row, Table, text_table
from cotexp.report.markdown import escaped, table_lines
from cotexp.report.terminal import show

NUMBERS = ("84.5 (81.2 to 87.1)", "-90.0 (-100.0 to -70.0)", "0.0039")
ARMS = Table(
    name="1",
    title="Results",
    columns=tuple(Column(name=each, title=each) for each in ("accuracy, % (95 % interval)", "difference (95 % interval)", "p")),
    rows=(Row(label="compression=macc, mode=compress", kind="arm", cells=tuple(Cell(text=each) for each in NUMBERS)),),
)


def shown(table: Table, width: int) -> list[str]:
    console = Page(file=io.StringIO(), width=width)
    show(table, console)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize("width", [30, 45, 60, 80, 100, 120, 200])
def test_nothing_of_a_table_is_cut_off_however_narrow_the_terminal_is(width: int) -> None:
    lines = shown(ARMS, width)
    assert max(map(len, lines)) <= width
    cells = [[cell.strip() for cell in line.strip("│┃").split("│")] for line in lines if line.startswith("│")]
    assert ["".join(parts).replace(" ", "") for parts in zip(*cells, strict=True)] == [
        each.replace(" ", "") for each in (ARMS.rows[0].label, *NUMBERS)
    ]


def test_headings_are_wrapped_before_numbers_and_an_arm_has_a_line_for_each_setting() -> None:
    wide, narrow = shown(ARMS, 200), shown(ARMS, 84)
    assert "accuracy, % (95 % interval)" in wide[2]
    assert not any("accuracy, % (95 % interval)" in line for line in narrow)
    for lines in (wide, narrow):
        assert [line for line in lines if all(each in line for each in NUMBERS)]
        assert [line.split("│")[1].strip() for line in lines if line.startswith("│")] == ["compression=macc,", "mode=compress"]


def test_labels_of_other_rows_stay_as_they_are() -> None:
    lines = shown(text_table("", ("model and mode", "tokens"), [("base, full chain of thought", "20.0")]), 100)
    assert any("base, full chain of thought" in line for line in lines)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("with `<compress>`, a_b", "with `<compress>`, a\\_b"),
        ("`a` and `b*c`", "`a` and `b*c`"),
        ("one ` alone <b>", "one \\` alone \\<b>"),
        ("``a``", "\\`\\`a\\`\\`"),
        ("`a|b`", "\\`a\\|b\\`"),
        ("` ``` * `", "\\` \\`\\`\\` \\* \\`"),
        ("from $1 to $2", "from \\$1 to \\$2"),
    ],
)
def test_code_between_backticks_is_code_in_markdown_and_all_else_is_escaped(text: str, expected: str) -> None:
    assert escaped(text) == expected
    (line,) = list(table_lines(text_table("", ("", "x"), [(text, "1")])))[2:]
    assert line == f"| {expected} | 1 |"
