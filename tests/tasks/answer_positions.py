"""Places of a text at which a model states its final answer, whatever the kind of the answer."""

from __future__ import annotations

ANSWER_POSITIONS = [
    "The answer is {}",
    "So the ANSWER  is: {}",
    "the answer is {}\nI hope this is right.",
    "The answer is **{}**",
    "#### {}",
    "####{}\n",
    "\\boxed{{{}}}",
    "$\\boxed{{{}}}$.",
    "The answer is $\\boxed{{{}}}$.",
]
