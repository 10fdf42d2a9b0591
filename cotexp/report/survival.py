"""What each round of compression keeps of a chain as it was written: calculations, numbers, and the stated answer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cotexp.methods.calculations import calculations, numbers, share_kept
from cotexp.methods.statistics import mean, share_interval
from cotexp.report.compression_examples import CompressedChain, read_chains
from cotexp.report.document import Cell, Column, Row, Table
from cotexp.report.style import LINES, Drawing, whole_numbers
from cotexp.store.stored_files import compressed_of

COLUMNS = {"calculations": "calculations kept, %", "numbers": "numbers kept, %", "answer": "answer kept, %"}
KEPT = "kept text"
"""Label of the row of the texts that are trained on."""


class Survival(NamedTuple):
    """For the texts of one round: shares in [0, 1] by name of the column, one per chain; a chain without calculations has none."""

    label: str
    num_chains: int
    shares: dict[str, list[float]]


def read(folder: Path) -> list[Survival]:
    """Every round of the run in `folder`, and the texts that it keeps; empty without rounds."""
    rows = [row for row in compressed_of(folder) if row["num_rounds_run"]]
    return survivals(read_chains(folder, rows)) if rows else []


def survivals(chains: Sequence[CompressedChain]) -> list[Survival]:
    """Round 1, 2, ... over the chains that have a usable text in it, then the kept texts of all chains."""
    last = max((len(chain.texts) for chain in chains), default=1)
    found = [_survival(str(number), [(chain, number) for chain in chains if _is_usable(chain, number)]) for number in range(1, last)]
    return [each for each in [*found, _survival(KEPT, [(chain, chain.kept_round) for chain in chains])] if each.num_chains]


def _is_usable(chain: CompressedChain, number: int) -> bool:
    return number < len(chain.texts) and chain.remarks[number] in ("", "answer lost")


def _survival(label: str, texts: Sequence[tuple[CompressedChain, int]]) -> Survival:
    shares: dict[str, list[float]] = {name: [] for name in COLUMNS}
    for chain, number in texts:
        before, after = chain.texts[0], chain.texts[number]
        found = {
            "calculations": share_kept(calculations(before), calculations(after)),
            "numbers": share_kept(numbers(before), numbers(after)),
            "answer": float(chain.remarks[number] != "answer lost"),
        }
        for name, share in found.items():
            if share is not None:
                shares[name].append(share)
    return Survival(label, len(texts), shares)


def tables(found: Sequence[Survival]) -> list[Table]:
    """A row for each round; none without rounds."""
    if not found:
        return []
    columns = (Column(name="chains", title="chains"), *(Column(name=name, title=title) for name, title in COLUMNS.items()))
    rows = tuple(Row(label=each.label, kind="entry", cells=(Cell(text=f"{each.num_chains:,}"), *map(_cell, each.shares.values()))) for each in found)
    notes = (
        "Against the chain as it was written, over the chains with a usable text in this round (training and validation): the share of its distinct "
        "calculations (numbers, signs and result, in any order of the numbers) and of its distinct numbers that the text still holds, and whether it "
        "still states its answer. Mean over chains with a 95 % bootstrap interval. Chains that ended earlier are not in later rounds.",
    )
    return [Table(name="survival", title="What a round keeps", columns=columns, rows=rows, notes=notes, row_title="round")]


def _cell(shares: Sequence[float]) -> Cell:
    if not shares:
        return Cell()
    value, low, high = (100 * share for share in (mean(shares), *share_interval(shares)))
    return Cell(text=f"{value:.1f} ({low:.1f} to {high:.1f})", value=value, low=low, high=high)


def drawings(found: Sequence[Survival]) -> list[Drawing]:
    """Shares by round; no figure without rounds."""
    rounds = [each for each in found if each.label != KEPT]
    if not rounds:
        return []
    about = "Share of the calculations and numbers of a chain that each round's texts still hold, and of texts that still state the answer."
    return [Drawing("survival_per_round", "What a round keeps", about, lambda figure: _draw(figure.subplots(), rounds))]


def _draw(axes: Any, rounds: Sequence[Survival]) -> None:
    for line, (name, title) in zip(LINES, COLUMNS.items(), strict=False):
        points = [(int(each.label), 100 * mean(each.shares[name])) for each in rounds if each.shares[name]]
        look = {"marker": line.marker, "linestyle": line.style, "color": line.colour, "label": title.partition(",")[0]}
        axes.plot([0, *(number for number, _ in points)], [100, *(share for _, share in points)], **look)
    axes.set(xlabel="round (0: as written)", ylabel="% of the chain as written", title="What a round keeps", ylim=(0, 103))
    whole_numbers(axes.xaxis)
    axes.legend()
