"""The formula that a statement gives: all of it, and no remark, denial or heading."""

from __future__ import annotations

import pytest

from cotexp.tasks.answers import extract
from cotexp.tasks.formulas import together


@pytest.mark.parametrize(
    ("text", "formula"),
    [
        ("The answer is $3$, $5$, and $7$.", "3, 5, 7"),
        ("The answer is $x=3$ and $y=5$.", "x=3, y=5"),
        ("The answer is $5$ since $x>2$.", "5"),
        ("The answer is $5$ for $x>2$.", "5"),
        ("The answer is not $5$ but $6$.", "6"),
        ("#### 2. Solve\n$x=5$", None),
        ("#### Step 2\n$x=5$", None),
        ("The answer is\n\\begin{align*}\n5\n\\end{align*}", "5"),
        ("$\\boxed{3}$ and $\\boxed{3}$", "3"),
        ("$\\boxed{3}$. No wait, $\\boxed{5}$", "5"),
        ("First $\\boxed{3}$.\n\nThen $\\boxed{5}$", "5"),
        ("$\\boxed{18}$.\n(I put the final answer within \\boxed{}.)", "18"),
        ("The answer is simply $5$.", "5"),
        ("The answer is the ordered pair $(1,2)$.", "(1,2)"),
        ("The answer is $$\\frac12$$", "\\frac12"),
        ("The answer is $a+b=7$.", "a+b=7"),
        ("The answer is $2\\cdot 3 = 6$.", "2\\cdot 3 = 6"),
        ("The answer is $5$.\n\nQuestion: x\nThe answer is $6$", "5"),
        ("#### $\\frac12$", "\\frac12"),
        ("#### Final Answer\n$5$", "5"),
        ("The answer is Evelyn.", "Evelyn"),
        ("The answer is even.", "even"),
        ("The answer is $5$ because $2+3=5$.", "5"),
        ("The answer is $5$ units.", "5"),
        ("The answer is $5\\text{ cm}$.", "5\\text{ cm}"),
        ("The answer is **$5$**.", "5"),
        ("The answer is clear: $5$.", None),
        ("The answer is $3$ to $5$.", None),
        ("The answer is $3$ plus $5$, which is $8$.", "8"),
        ("The answer is $3 < x < 5$.", "3 < x < 5"),
        ("If the answer is $5$, fine.", None),
        ("The answer is 3 or 5.", "3 or 5"),
        ("The answer is $5$ when $n=1$ and $7$ when $n=2$.", None),
        ("\\boxed{\\}}", "\\}"),
        ("\\boxed{\\text{answer}} and the answer is $5$", "5"),
    ],
)
def test_a_statement_gives_its_whole_formula(text: str, formula: str | None) -> None:
    assert extract(text, "latex").text == formula


def test_parts_of_one_answer_are_joined_without_the_variable_that_all_assign() -> None:
    assert together(["x = 3", "x=5"]) == "3, 5"
    assert together(["x = 3", "y=5"]) == "x = 3, y=5"
    assert together(["3", "3"]) == "3"
    assert together([" "]) is None
