"""Which formula a text states as its answer, and what states nothing."""

from __future__ import annotations

import pytest
from growth import is_linear, repeated

from cotexp.tasks.answers import extract
from cotexp.tasks.equality import formulas_equal
from cotexp.tasks.stated_formulas import in_one, joined, stated_formula

STATED = [
    ("5", "The answer is $5$ dollars.", True),
    ("5", "The answer is $5$ or more.", False),
    ("5", "The answer is at least $5$.", False),
    ("5", "The answer is $-5$.", False),
    ("5", "The answer is negative $5$.", False),
    ("\\frac{3}{4}", "The final answer is: $\\frac{3}{4}$.", True),
    ("(2,3)", "So the answer is the interval $(2,3)$.", True),
    ("5", "The answer is $5$, because $x>2$.", True),
    ("5", "**Answer:** the answer is **5**.", True),
    ("x=5", "The answer is $x = 5$.", True),
    ("3,5", "The answers are $3$ and $5$.", True),
    ("3,5", "The answer is 3 and 5.", True),
    ("3", "The answer is 3 and 5.", False),
    ("3,5", "The answer is x = 3 or x = 5.", True),
    ("3", "The answer is x = 3 or x = 5.", False),
    ("5", "#### Step 3: so $x=5$", False),
    ("5", "#### 5", True),
    ("5", "#### $5$", True),
    ("5", "### Final answer\n\nThe answer is\n$$5$$", True),
    ("5", "#### Final Answer\n$$5$$", True),
    ("5", "#### Answer: $5$", True),
    ("5", "The answer is $5$.\n\n#### Summary\nWe solved it in 3 steps.", True),
    ("3", "The answer is $5$.\n\n#### 3. Check", False),
    ("5", "The answer is $5$.\n#### 3. Check the result", True),
    ("5", "The answer is not $3$ but $5$.", True),
    ("3", "The answer is not $3$ but $5$.", False),
    ("5", "The answer is $5$, not $3$.", True),
    ("5", "The answer is clearly $5$.", True),
    ("5", "$\\boxed{3}$ is wrong. So $\\boxed{5}$.", True),
    ("3,5", "$\\boxed{3}$ and $\\boxed{5}$", True),
    ("3", "$\\boxed{3}$ and $\\boxed{5}$", False),
    ("5", "First $\\boxed{3}$, then $\\boxed{5}$", True),
    ("\\text{Evelyn}", "The answer is Evelyn.", True),
    ("\\text{Evelyn}", "The answer is Evelyn. This answer is reasonable.", True),
    ("\\text{(C)}", "The answer is (C).", True),
    ("\\text{(C)}", "The answer is C.", True),
    ("\\text{even}", "The answer is even.", True),
    ("\\text{Evelyn}", "The answer is not Evelyn.", False),
    ("2\\sqrt{3}", "The answer is 2\u221a3.", True),
    ("2\\sqrt{3}", "The answer is $\\sqrt{12}$, which is $2\\sqrt{3}$.", True),
    ("12", "The answer is $3 \\cdot 4 = 12$.", True),
    ("12", "The answer is 3*4 = 12.", True),
    ("7", "The answer is $3+5=7$.", False),
    ("8", "The answer is $3+5=8$.", True),
    ("\\frac{1}{2}", "The answer is $1/2$.", True),
    ("2", "The answer is $2$ times $3$, which equals $6$.", False),
    ("6", "The answer is $2$ times $3$, which equals $6$.", True),
    ("5", "The answer is between $5$ and $7$.", False),
    ("5", "The answer is about $5$.", False),
    ("5", "The answer is $5$ hours and $30$ minutes.", False),
    ("3", "The answer is $3$, $4$, or $5$.", False),
    ("3,4,5", "The answer is $3$, $4$, or $5$.", True),
    ("5", "The answer is:\n\n\\[ x = 5 \\]", True),
    ("5", "The answer is \\begin{align*} x &= 5 \\end{align*}", True),
    ("5", "The answer is independent of $5$.", False),
    ("7", "The answer is $5$. Wait, the answer is $7$.", True),
    ("5", "The answer is $5$. Wait, the answer is $7$.", False),
    ("2,7", "The answer is $2$ and $7$.", True),
    ("2,7", "The answer is $x=2$ or $x=7$.", True),
    ("7", "The answer is $2$ or $7$.", False),
    ("2,7", "$x=\\boxed{2}$ and $x=\\boxed{7}$", True),
    ("7", "$x=\\boxed{2}$ and $x=\\boxed{7}$", False),
    ("2", "$\\boxed{2}$, $\\boxed{7}$", False),
    ("\\frac{1}{2}", "The answer is\n\n\\begin{align}\n\\frac{1}{2}\n\\end{align}", True),
    ("4", "#### 4. Conclusion\nSo it holds.", False),
    ("4", "#### 1. Setup\n...\n\nThe answer is $4$.\n\n#### 2. Check\nok", True),
    ("4", "The answer is $4$. This answer makes sense, since $4<9$.", True),
    ("9", "The answer is $4$. The answer is plausible as $4<9$.", False),
    ("4", "The answer is $4$. I hope this answer is clear.", True),
    ("4", "Answer: the answer is 4, which is even.", True),
    ("5", "The answer is neither $5$ nor $6$.", False),
    ("5", "The answer isn't $5$.", False),
    ("6", "The answer is not $5$, but $6$.", True),
    ("6", "The answer is not $5$; it is $6$.", True),
    ("12", "The answer is $\\frac13$ of $36$, that is $12$.", True),
    ("12", "The answer is $\\frac13$ of $36$, i.e. $12$.", True),
    ("12", "The answer is $20\\%$ of $60$, which equals $12$.", True),
    ("20\\%", "The answer is $20\\%$ of $60$, which equals $12$.", False),
    ("3", "$\\boxed{3}$ and $\\boxed{3}$", True),
    ("5", "The answer is $5$ because $2+3=5$.", True),
    ("5", "The answer is **$5$**.", True),
    ("5", "The answer is $5$!", True),
    ("5", "If the answer is $5$, fine.", False),
    ("5", "I wonder whether the answer is $5$.", False),
    ("5", "The answer is $5$ when $n=1$ and $7$ when $n=2$.", False),
    ("5", "The answer is $5$ if $n>0$.", True),
    ("5", "The answer is $5$. Put it in \\boxed{\\text{answer}}.", True),
    ("5", "The answer is $5$ + $3$.", False),
    ("\\$36", "The answer is $\\$36$.", True),
    ("\\$1,\\!657", "#### $\\$1,\\!657$", True),
    ("5", "The answer is `5`.", True),
    ("12", "The answer is twelve.", True),
    ("\\frac12", "The answer is one half.", True),
    ("5", "The answer is > 5.", False),
    ("5", "The answer is\n> $5$", True),
    ("5", "The answer is $5$ in base $8$.", False),
    ("\\$12", "The answer is $12$ cents.", False),
    ("12\\text{ cm}^2", "The answer is $12$ square meters.", False),
    ("12\\text{ cm}^2", "The answer is $12$ square centimeters.", True),
    ("12", "The answer is $12$ in lowest terms.", True),
    ("12\\text{ cm}", "The answer is $12$ apples.", True),
]


@pytest.mark.parametrize(("value", "text", "is_stated"), STATED)
def test_the_statement_that_answers_is_read_whole(value: str, text: str, is_stated: bool) -> None:
    stated = stated_formula(text).text
    assert (stated is not None and formulas_equal(value, stated)) == is_stated


@pytest.mark.parametrize(
    "text",
    [
        "The answer is not 5.",
        "The answer is no longer $5$.",
        "#### 2. Solve",
        "#### Step 2: $x=5$ follows\nNow we go on.",
        "The answer is at least $5$.",
        "The answer is $5$ of $10$.",
        "The answer is independent of $x$.",
        "The answer is \\boxed{5",
        "\\boxed{}",
        "It is 5.",
        "",
    ],
)
def test_a_text_that_states_no_value_has_no_answer(text: str) -> None:
    assert stated_formula(text).text is None
    assert stated_formula(text).rule == "none"


def test_the_place_of_a_statement_is_that_of_its_mark() -> None:
    text = "So $x=\\boxed{3}$ or $x=\\boxed{5}$. Done."
    assert stated_formula(text) == ("3, 5", "boxed", text.index("\\boxed"))
    text = "First $\\boxed{3}$, then $\\boxed{5}$."
    assert stated_formula(text) == ("5", "boxed", text.rindex("\\boxed"))
    text = "It fits. The answer is $5$. This answer is reasonable."
    assert stated_formula(text) == ("5", "statement", text.index("answer"))


def test_parts_are_joined_so_that_each_stays_whole() -> None:
    assert joined(["1,200", "3"]) == "1{,}200, 3"
    assert joined(["1,200"]) == "1,200"
    assert in_one(["3", "5"]) == ["3", "5"]
    assert in_one(["28", "28_9"]) == ["28_9"]


@pytest.mark.parametrize(
    "unit", ["answer is ", "####", "$", "\\boxed{", "\\boxed{1} and ", "a ", "answer is $1$ and ", "answer is not ", " , ", "(", "answer is a "]
)
def test_no_repeated_piece_takes_long_to_be_searched(unit: str) -> None:
    assert is_linear(stated_formula, repeated(unit), 100_000)


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
        ("\\boxed{\\text{answer}} and the answer is $5$", "5"),
    ],
)
def test_a_statement_gives_its_whole_formula(text: str, formula: str | None) -> None:
    assert extract(text, "latex").text == formula
