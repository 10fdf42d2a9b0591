"""Folds for validating forecasts: runs that share a compressor, or nearly a training set, are never on both sides of a fold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

MIN_GROUPS = 8
"""Fewest groups for a claim."""
MIN_COMPRESSORS = 5
"""Fewest compressors for which the groups are compressors."""
NEARLY_EQUAL = 0.9
"""Compressed training sets that share this part of the smaller one's chains count as one."""
NUM_FOLDS = 5
NUM_SPLITS = 5
"""Number of random 80/20 splits; several, so that a lucky draw decides nothing."""


class Groups(NamedTuple):
    """`names` holds the group of each run; `kind` is what the runs of a group share."""

    kind: str
    names: list[str]

    @property
    def num(self) -> int:
        return len(set(self.names))


def groups_of(compressors: Sequence[str], training_sets: Sequence[frozenset[str]]) -> Groups:
    """Groups that no fold separates: runs that share a compressed training set; of at least MIN_COMPRESSORS compressors those that share a compressor
    or a set, directly or through others.
    """
    sets = shared_sets(training_sets)
    if len(set(compressors)) < MIN_COMPRESSORS:
        return Groups("compressed training set", sets)
    group = dict(zip(compressors, compressors, strict=True))
    first_of_set: dict[str, str] = {}
    for compressor, each in zip(compressors, sets, strict=True):
        merged, kept = group[compressor], group[first_of_set.setdefault(each, compressor)]
        group = {name: kept if now == merged else now for name, now in group.items()}
    return Groups("compressor", [group[each] for each in compressors])


def shared_sets(training_sets: Sequence[frozenset[str]]) -> list[str]:
    """The group of each set of chains: sets that are equal or nearly equal, directly or through others, form one group."""
    distinct = list(dict.fromkeys(training_sets))
    group = list(range(len(distinct)))
    for one in range(len(distinct)):
        for other in range(one):
            smaller = min(len(distinct[one]), len(distinct[other]))
            if len(distinct[one] & distinct[other]) >= NEARLY_EQUAL * smaller and group[one] != group[other]:
                merged, kept = group[one], group[other]
                group = [kept if each == merged else each for each in group]
    names = dict(zip(distinct, group, strict=True))
    return [f"set {names[each]}" for each in training_sets]


Fold = tuple[list[int], list[int]]
"""Indices of the runs to fit, and of those to forecast."""


def grouped_folds(groups: Sequence[str]) -> list[Fold]:
    """Five folds, or one per group if there are fewer, at least two, groups; no group is in both sides of a fold."""
    from sklearn.model_selection import GroupKFold

    num_groups = len(set(groups))
    assert num_groups > 1, f"folds need two groups, got {num_groups}"
    splitter = GroupKFold(n_splits=min(NUM_FOLDS, num_groups))
    return [(list(map(int, fit)), list(map(int, test))) for fit, test in splitter.split(groups, groups=groups)]


def random_folds(num_runs: int) -> list[Fold]:
    """80/20 splits that ignore groups: runs with the same training set are on both sides, so the errors are too small."""
    from sklearn.model_selection import ShuffleSplit

    splitter = ShuffleSplit(n_splits=NUM_SPLITS, test_size=0.2, random_state=0)
    return [(list(map(int, fit)), list(map(int, test))) for fit, test in splitter.split(range(num_runs))]


def folds_by_target(targets: Sequence[str]) -> list[Fold]:
    """One fold per target model: forecast from the runs of all others; none for a single target."""
    names = sorted(set(targets))
    folds = [([i for i, each in enumerate(targets) if each != name], [i for i, each in enumerate(targets) if each == name]) for name in names]
    return folds if len(names) > 1 else []
