"""Texts that share prefixes, packed into one row of tokens: the tree of prefixes in depth-first order. Axis: T tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch


class Read(NamedTuple):
    """The token that follows the one in `column` of a row, and the (text, place) pairs that ask for its log-probability."""

    column: int
    token: int
    places: list[tuple[int, int]]


class Row(NamedTuple):
    """A tree of prefixes: its tokens in depth-first order, their positions, and the index after each token's last descendant.

    `side` is that of the texts' lengths by `RopeLimit`.
    """

    ids_T: torch.Tensor
    positions_T: torch.Tensor
    ends_T: torch.Tensor
    reads: list[Read]
    side: int


def row_of(paths: list[tuple[list[int], int]], num_root: int, texts: Sequence[tuple[list[int], list[int]]], side: int) -> Row:
    """The tree of (prefix, number of its text) pairs in lexicographic order: a prefix shares most with its predecessor.

    Every prefix begins with the same `num_root` tokens. `texts` are (ids, indices into them whose log-probability is requested).
    """
    ids: list[int] = []
    positions: list[int] = []
    ends: list[int] = []
    reads: dict[tuple[int, int], Read] = {}
    before: list[int] = []
    nodes: list[int] = []
    for path, number in paths:
        shared = next((i for i, (one, other) in enumerate(zip(before, path, strict=False)) if one != other), min(len(before), len(path)))
        nodes = nodes[:shared] + list(range(len(ids), len(ids) + len(path) - shared))
        ids += path[shared:]
        positions += range(shared, len(path))
        ends += [0] * (len(path) - shared)
        for node in nodes:
            ends[node] = len(ids)
        text_ids, read = texts[number]
        for place, index in enumerate(read):
            key = nodes[num_root + index - 1], text_ids[index]
            reads.setdefault(key, Read(*key, [])).places.append((number, place))
        before = path
    return Row(torch.tensor(ids), torch.tensor(positions), torch.tensor(ends), list(reads.values()), side)
