"""Means over two random samples at once: seeds of fine-tuning and test questions, crossed (every seed answers every question).

S seeds, Q questions. A table (S, Q) holds the share of correct samples of each seed and question, or a difference of two such shares. An
estimate is the sum of the means of one or several tables on the same questions, whose seeds are independent of each other.

Another training run draws another seed, another benchmark other questions. Both are resampled, with replacement and independently of each
other. Source: A. B. Owen (2007), The pigeonhole bootstrap, Annals of Applied Statistics 1, 386-411. With two or three seeds its percentiles alone
miss the truth far too often, so the spread of the resamples is brought to that of the unbiased variance of a two-way random-effects model, and to
Student's t with Satterthwaite's degrees of freedom (Biometrics Bulletin 2, 1946, 110-114).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from cotexp.methods.statistics import Interval, shares_correct
from cotexp.records import Prediction

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Table = npt.NDArray[np.float64]

BySeed = Mapping[int | None, Sequence[Prediction]]
"""Answers by seed of fine-tuning; None stands for a model that was not fine-tuned."""
AT_ONCE = 1000
"""Resamples that are drawn at once."""


class Spread(NamedTuple):
    """Standard error of an estimate over seeds and questions, and its degrees of freedom."""

    error: float
    degrees: float


def spread(tables: Sequence[Table]) -> Spread | None:
    """The standard error of the sum of the means of `tables`; None if no table's seeds differ by more than their answers make them differ.

    With A for seeds, B for questions and E for their interaction: Var = Var(A) / S + (Var(B) + Var(E) / S) / Q, the last term from the means
    of the questions, the first from the mean squares of the seeds and of the interaction. A negative estimate counts as none. The one seed of a
    table beside others is taken to vary as theirs do.
    """
    import numpy as np

    num_questions = tables[0].shape[1]
    num_alone = sum(len(table) == 1 for table in tables)
    seeds = []
    for table in tables:
        if found := _seed_variance(table):
            times = 1 + len(table) * num_alone / (len(tables) - num_alone)
            seeds.append((times * found[0], times**2 * found[1]))
    if not seeds or num_questions < 2:
        return None
    of_questions = float(np.sum([table.mean(axis=0) for table in tables], axis=0).var(ddof=1)) / num_questions
    variance = of_questions + sum(own for own, _ in seeds)
    uncertainty = of_questions**2 / (num_questions - 1) + sum(uncertain for _, uncertain in seeds)
    return Spread(math.sqrt(variance), variance**2 / uncertainty)


def _seed_variance(table: Table) -> tuple[float, float] | None:
    """Variance of the mean of a table that its seeds bring, and half the variance of that estimate; None if the estimate is not positive."""
    num_seeds, num_questions = table.shape
    if num_seeds < 2 or num_questions < 2:
        return None
    of_seeds, of_questions, centre = table.mean(axis=1), table.mean(axis=0), table.mean()
    free = num_seeds - 1
    rows = float(((of_seeds - centre) ** 2).sum()) / free / num_seeds
    rest = ((table - of_seeds[:, None] - of_questions + centre) ** 2).sum() / (free * (num_questions - 1)) / (num_seeds * num_questions)
    if rows - rest <= 1e-15:
        return None
    return rows - float(rest), rows**2 / free + float(rest) ** 2 / (free * (num_questions - 1))


def interval(tables: Sequence[Table], over_questions: Interval, bounds: Interval, *, seed: int = 0, num_resamples: int = 10_000) -> Interval:
    """95 % interval of the sum of the means of `tables`, within `bounds`, and never narrower than the one over questions alone.

    It is `over_questions`, that interval over questions alone, if seeds differ no more than their answers make them differ.
    """
    import numpy as np
    from scipy.stats import norm, t

    found = spread(tables)
    if found is None:
        return over_questions
    estimates, centre = resampled(tables, seed=seed, num_resamples=num_resamples), _centre(tables)
    wider = float(t.ppf(0.975, found.degrees) / norm.ppf(0.975)) * found.error / float(estimates.std())
    low, high = (centre + wider * (float(end) - centre) for end in np.quantile(estimates, [0.025, 0.975]))
    return Interval(max(bounds.low, min(low, over_questions.low)), min(bounds.high, max(high, over_questions.high)))


def resampled(tables: Sequence[Table], *, seed: int, num_resamples: int) -> Table:
    """(num_resamples,) sums of means with seeds and questions drawn anew; the order of the questions does not matter."""
    import numpy as np

    generator = np.random.default_rng(seed)
    heights = [len(table) for table in tables]
    # Questions that all seeds answered alike are drawn together: the same distribution with far fewer numbers.
    patterns, counts = np.unique(np.round(np.concatenate(tables), 12), axis=1, return_counts=True)
    parts = []
    for first in range(0, num_resamples, AT_ONCE):
        size = min(AT_ONCE, num_resamples - first)
        of_rows = generator.multinomial(counts.sum(), counts / counts.sum(), size=size) @ patterns.T / counts.sum()
        drawn = [generator.multinomial(height, [1 / height] * height, size=size) / height for height in heights]
        parts.append((of_rows * np.concatenate(drawn, axis=1)).sum(axis=1))
    return np.concatenate(parts)


def p_value(tables: Sequence[Table]) -> float | None:
    """Two-sided p of a sum of means of zero by Student's t over seeds and questions; None if seeds differ no more than chance."""
    from scipy.stats import t

    found = spread(tables)
    return None if found is None else float(2 * t.sf(abs(_centre(tables)) / found.error, found.degrees))


def _centre(tables: Sequence[Table]) -> float:
    return math.fsum(float(table.mean()) for table in tables)


# --- answers -------------------------------------------------------------------------------------------------------------


def share_table(answers: Sequence[Sequence[Prediction]], questions: Sequence[str] = ()) -> Table | None:
    """(S, Q) share of correct samples of each seed on these questions, by default all; None unless every seed answered each of them."""
    shares = [shares_correct(of_seed) for of_seed in answers]
    wanted = questions or list(dict.fromkeys(question for of_seed in shares for question in of_seed))
    if any(question not in of_seed for of_seed in shares for question in wanted):
        return None
    return table_of(shares, wanted)


def table_of(values: Sequence[Mapping[str, float]], questions: Sequence[str]) -> Table:
    """(S, Q) values of each seed on these questions."""
    import numpy as np

    return np.array([[of_seed[question] for question in questions] for of_seed in values])


def accuracy_interval(answers: BySeed, over_questions: Interval) -> Interval:
    """95 % interval of the accuracy over seeds and questions; `over_questions` if there is one seed.

    Raises: ValueError if seeds answered different questions.
    """
    if len(answers) == 1:
        return over_questions
    table = share_table(list(answers.values()))
    if table is None:
        raise ValueError("an interval over seeds and questions needs the answers of every seed to each question")
    return interval([table], over_questions, Interval(0.0, 1.0))
