"""Boxes that close, in order, and which of them are parts of one answer."""

from __future__ import annotations

import pytest

from cotexp.tasks.boxes import closed_boxes, cut_off, last_boxed, parts_of_answer


def test_boxes_are_found_in_order_with_what_they_hold() -> None:
    text = "\\boxed{a} \\fbox {\\frac{1}{2}} \\boxed{\\{1, 2\\}} \\boxed{open"
    assert [each.content for each in closed_boxes(text)] == ["a", "\\frac{1}{2}", "\\{1, 2\\}"]
    assert all(text[each.start : each.end].endswith(each.content + "}") for each in closed_boxes(text))
    assert last_boxed(text) == "\\{1, 2\\}"
    assert text[cut_off(text) :] == "\\boxed{open"
    assert cut_off("\\boxed{a}") == len("\\boxed{a}")
    assert last_boxed("none") is None


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("$\\boxed{3}$ and $\\boxed{5}$", ["3", "5"]),
        ("$x=\\boxed{3}$ or $x = \\boxed{5}$", ["3", "5"]),
        ("$\\boxed{3}, \\boxed{5},\\ \\boxed{7}$", ["3", "5", "7"]),
        ("$\\boxed{3}$, $\\boxed{5}$, and $\\boxed{7}$", ["3", "5", "7"]),
        ("$\\boxed{3} \\text{ or } \\boxed{5}$", ["3", "5"]),
        ("\\(\\boxed{3}\\) and \\(\\boxed{5}\\)", ["3", "5"]),
        ("$g(x)=\\boxed{3}$ or $g(x)=\\boxed{5}$", ["3", "5"]),
        ("$\\boxed{3}$, wait, $\\boxed{5}$", ["5"]),
        ("$\\boxed{3}$, so $2 + 3 = \\boxed{5}$", ["5"]),
        ("$\\boxed{3}$. $\\boxed{5}$", ["5"]),
        ("$\\boxed{3}$ is not it, and $\\boxed{5}$ is", ["5"]),
        ("\\boxed{5} within \\boxed{}", ["5"]),
        ("\\boxed{\\boxed{5}}", ["\\boxed{5}"]),
        ("\\boxed{3} or \\boxed{5}", ["3", "5"]),
        ("\\boxed{3}. Then \\boxed{5}", ["5"]),
        ("\\boxed{3}, no, \\boxed{5}", ["5"]),
        ("\\boxed{a \\boxed{3}}", ["a \\boxed{3}"]),
        ("\\boxed{}", []),
    ],
)
def test_only_boxes_with_nothing_but_a_joining_word_between_them_are_parts_of_one_answer(text: str, parts: list[str]) -> None:
    assert [each.content for each in parts_of_answer(text)] == parts
