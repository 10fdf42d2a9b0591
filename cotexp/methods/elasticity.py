"""Token elasticity: how long the answers of a model are under each budget of tokens that its prompt names, and where they turn longer again.

A model is elastic if under the smallest budget it writes more than under a larger one. Source: TALE (arXiv 2412.18547), section 4, which saw it
in single examples and curves; MACC (arXiv 2509.22144) stops its rounds by it. The tests are ours: sampling noise alone gives every curve a
smallest length somewhere, so a turn counts only beyond it.

Axes: Q questions, B budgets in ascending order, N answers to a question under one budget.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from cotexp.methods.statistics import mean
from cotexp.records import Prediction

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

SIGNIFICANT = 0.05
RESAMPLES = 10_000
TAIL = 0.025
DECIMALS = 9
"""Means of a token count that agree to so many are equal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionCurve:
    """One question: `tokens` has the lengths of its answers by budget, ascending; `cut` names the budgets under which the limit of generation
    ended an answer, whose length is then only a lower bound.
    """

    question_id: str
    task: str
    tokens: dict[int, list[int]]
    cut: frozenset[int]

    @property
    def is_whole(self) -> bool:
        """Whether every answer under every budget ended by itself."""
        return not self.cut

    @property
    def means(self) -> list[float]:
        """Mean length by budget; B numbers."""
        return [mean(lengths) for lengths in self.tokens.values()]

    @property
    def turn(self) -> int | None:
        """The budget of the smallest mean length among those without a cut answer, the smallest of equal ones; None if answers are cut under all."""
        whole = [(mean(lengths), budget) for budget, lengths in self.tokens.items() if budget not in self.cut]
        return min(whole)[1] if whole else None

    @property
    def rise(self) -> float:
        """Mean length under the smallest budget minus the smallest mean length, in tokens; at least 0."""
        return self.means[0] - min(self.means)

    def p_value(self) -> float | None:
        """The chance of a budget so much shorter than the smallest one if the budget made no difference to this question: Dunnett's one-sided test
        of every other budget against the smallest, which allows for their number.

        None without at least two answers under each budget: from one answer each, a rise cannot be told from noise.
        """
        import numpy as np
        from scipy.stats import dunnett

        smallest, *others = [np.asarray(lengths, dtype=float) for lengths in self.tokens.values()]
        if min(map(len, (smallest, *others))) < 2:
            return None
        if self.rise == 0:
            return 1.0
        if not any(np.ptp(each) for each in (smallest, *others)):
            return 0.0
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Precision loss", RuntimeWarning)  # of equal lengths, whose variance of 0 is exact
            return float(dunnett(*others, control=smallest, alternative="less", rng=np.random.default_rng(0)).pvalue.min())


class Turn(NamedTuple):
    """Where the mean length over `num_questions` questions is smallest.

    `budget` has the smallest mean, `tokens`; `rise` is how many tokens more the smallest budget has. `p_value` is that of such a rise if
    the budget made no difference. In at most 2.5 % of bootstrap resamples of the questions the smallest mean is at a budget below `low`, and in
    at most 2.5 % above `high`.
    """

    budget: int
    tokens: float
    rise: float
    p_value: float
    low: int
    high: int
    num_questions: int

    @property
    def is_real(self) -> bool:
        """Whether the smallest budget is longer than the smallest mean beyond noise."""
        return self.rise > 0 and self.p_value < SIGNIFICANT


class Elastic(NamedTuple):
    """Of `num_questions`, `num_rising` have their smallest length above the smallest budget; `by_chance` is the share to expect if the budget
    made no difference. `num_beyond_noise` rise beyond the noise of their own answers, None if there is one answer each; 5 % to expect by chance.
    """

    num_questions: int
    num_rising: int
    by_chance: float
    num_beyond_noise: int | None


def curves_of(answers: Mapping[int, Sequence[Prediction]]) -> list[QuestionCurve]:
    """The curve of every question that was answered under each of the budgets, which are the keys of `answers`."""
    by_budget = {budget: _by_question(answers[budget]) for budget in sorted(answers)}
    common = [name for name in next(iter(by_budget.values()), {}) if all(name in own for own in by_budget.values())]
    return [
        QuestionCurve(
            question_id=name,
            task=next(iter(by_budget.values()))[name][0].task,
            tokens={budget: [each.num_tokens for each in own[name]] for budget, own in by_budget.items()},
            cut=frozenset(budget for budget, own in by_budget.items() if any(each.finish_reason == "length" for each in own[name])),
        )
        for name in common
    ]


def _by_question(answers: Sequence[Prediction]) -> dict[str, list[Prediction]]:
    found: dict[str, list[Prediction]] = {}
    for each in answers:
        found.setdefault(each.question_id, []).append(each)
    return found


def turn_of(curves: Sequence[QuestionCurve], *, seed: int = 0) -> Turn | None:
    """Where the mean of these curves turns; None without curves. The cut answers of questions that are not whole count with the tokens they have."""
    import numpy as np

    if not curves:
        return None
    budgets = list(curves[0].tokens)
    lengths_QB = np.array([each.means for each in curves])
    means_B = lengths_QB.mean(axis=0).round(DECIMALS)
    shortest = int(means_B.argmin())
    generator = np.random.default_rng(seed)
    counts = np.zeros(len(budgets))
    for _ in range(RESAMPLES // 1000):
        weights = generator.multinomial(len(curves), np.full(len(curves), 1 / len(curves)), size=1000)
        resampled = (weights @ lengths_QB / len(curves)).round(DECIMALS)
        counts += np.bincount(resampled.argmin(axis=1), minlength=len(budgets))
    below = counts.cumsum() / counts.sum()
    return Turn(
        budget=budgets[shortest],
        tokens=float(means_B[shortest]),
        rise=float(means_B[0] - means_B[shortest]),
        p_value=_p_value(lengths_QB[:, :1] - lengths_QB[:, 1:], generator),
        low=budgets[int((below <= TAIL).sum())],
        high=budgets[int((below < 1 - TAIL).sum())],
        num_questions=len(curves),
    )


def _p_value(rises: Array, generator: np.random.Generator) -> float:
    """The chance that the largest of B - 1 mean rises is as large as observed if no budget made a difference: signs of whole questions are
    flipped. The largest is that of the smallest mean, so the chance belongs to its budget; taking the largest allows for the choice of it.
    """
    observed = rises.mean(axis=0).round(DECIMALS).max(initial=0.0)
    if observed <= 0:
        return 1.0
    as_large = 1
    for _ in range(RESAMPLES // 1000):
        signs = generator.choice((-1.0, 1.0), size=(1000, len(rises)))
        as_large += int(((signs @ rises / len(rises)).round(DECIMALS).max(axis=1) >= observed).sum())
    return as_large / (RESAMPLES + 1)


def elastic(curves: Sequence[QuestionCurve], p_values: Sequence[float | None]) -> Elastic:
    """How many of the questions, all of which must be whole, rise towards the smallest budget; `p_values` are theirs."""
    assert all(each.is_whole for each in curves)
    by_chance = [1 - each.means.count(min(each.means)) / len(each.means) for each in curves]
    beyond = None if None in p_values else sum(value < SIGNIFICANT for value in p_values if value is not None)
    return Elastic(len(curves), sum(each.rise > 0 for each in curves), mean(by_chance), beyond if curves else None)
