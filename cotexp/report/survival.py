"""What each round of compression keeps of a chain as it was written: calculations, numbers, the stated answer, and whether the answer follows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from cotexp.methods.calculations import calculations, numbers, share_kept
from cotexp.methods.statistics import FEWEST_TEXTS, mean, perplexity, perplexity_interval, share_interval
from cotexp.records import Likelihood
from cotexp.report.compression_examples import CompressedChain, read_chains
from cotexp.report.document import Cell, Column, Row, Table
from cotexp.report.rounds import CompressedSet, longest, part_of
from cotexp.report.stored import unless_broken
from cotexp.report.style import LINES, Drawing, legend_below, legend_under, panels, plain_log_ticks, whole_numbers
from cotexp.store.stored_files import compressed_of

COLUMNS = {"calculations": "calculations kept, %", "numbers": "numbers kept, %", "answer": "answer kept, %"}
AFTER = {"text": "perplexity of the answer after this text", "written": "after the chain as written", "alone": "without a chain"}
LEGEND = {"text": "after the round's text", "written": "same chains as written", "alone": "without a chain"}
KEPT = "kept text"
"""Begin of the label of the row of the texts that are trained on."""


class Answer(NamedTuple):
    """Likelihoods of one chain's answer: after the text of a round, after the chain as it was written, and without any chain."""

    text: Likelihood
    written: Likelihood
    alone: Likelihood

    @property
    def is_likelier(self) -> bool:
        """Whether the text makes the answer likelier than no chain does."""
        assert self.text.nll is not None
        assert self.alone.nll is not None
        return self.text.nll < self.alone.nll


class Survival(NamedTuple):
    """For the texts of one round: shares in [0, 1] by name of the column, one per chain; a chain without calculations has none.

    `answers` are those of the chains that were measured with this text.
    """

    label: str
    num_chains: int
    shares: dict[str, list[float]]
    answers: list[Answer]

    @property
    def is_kept(self) -> bool:
        """Whether these are the texts that are trained on, after several rounds."""
        return self.label.startswith(KEPT)


BySet = Mapping[str, Sequence[Survival]]
"""Label of a compressed set, empty for that of one run -> what its rounds keep."""


def read(folder: Path) -> list[Survival]:
    """Every round of the run in `folder`, and the texts that it keeps; empty without rounds."""
    rows = compressed_of(folder)
    return survivals(read_chains(folder, rows)) if any(row["num_rounds_run"] for row in rows) else []


def of_sets(sets: Sequence[CompressedSet]) -> dict[str, list[Survival]]:
    """Label -> the rounds of the set that has most of them, once for all sets that share them, then the texts that each of these sets keeps.

    A single one needs no label.
    """
    shown = longest(sets)
    return {each.label if len(sets) > 1 else "": _with_kept_texts(each, sets) for each in shown}


def _with_kept_texts(shown: CompressedSet, sets: Sequence[CompressedSet]) -> list[Survival]:
    sharing = list({each.content: each for each in [*sets, shown] if each.source == shown.source}.values())
    read_of: dict[Path, list[Survival]] = {each.folder: unless_broken(each.folder, read, list) for each in sharing}
    found = [each for each in read_of[shown.folder] if not each.is_kept]
    for of_set in sharing:
        ending = f": {of_set.label}" if len(sharing) > 1 else ""
        found += [each._replace(label=each.label + ending) for each in read_of[of_set.folder] if each.is_kept]
    return found


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
    return Survival(label, len(texts), shares, [answer for chain, number in texts if (answer := _answer(chain, number))])


def _answer(chain: CompressedChain, number: int) -> Answer | None:
    text, written, alone = chain.answers[number], chain.answers[0], chain.answer_alone
    return Answer(text, written, alone) if text and written and alone else None


def tables(found: BySet, prefix: str = "") -> list[Table]:
    """For each set, a row for each round; none without rounds. `prefix` begins the names of the tables."""
    return [table for number, (label, of_set) in enumerate(found.items(), 1) for table in _of_set(label, of_set, prefix, number)]


def _of_set(label: str, of_set: Sequence[Survival], prefix: str, number: int) -> Iterator[Table]:
    ending, of_label = "" if number == 1 else f"-{number}", f": {label}" if label else ""
    if of_set:
        yield _shares(of_set, f"{prefix}survival{ending}", f"What a round keeps{of_label}")
    if measured := [each for each in of_set if each.answers]:
        yield _answers(measured, f"{prefix}answers{ending}", f"Whether the answer still follows{of_label}")


def _shares(rounds: Sequence[Survival], name: str, title: str) -> Table:
    columns = (Column(name="chains", title="chains"), *(Column(name=name, title=title) for name, title in COLUMNS.items()))
    rows = tuple(Row(label=each.label, kind="entry", cells=(Cell(text=f"{each.num_chains:,}"), *map(_cell, each.shares.values()))) for each in rounds)
    notes = (
        "Against the chain as it was written, over the chains with a usable text in this round (training and validation): the share of its distinct "
        "calculations (numbers, signs and result, in any order of the numbers) and of its distinct numbers that the text still holds, and whether it "
        "still states its answer. Mean over chains with a 95 % bootstrap interval. Chains that ended earlier are not in later rounds. Kept texts are "
        "those of all chains; a chain without rounds stays as it was written.",
    )
    return Table(name=name, title=title, columns=columns, rows=rows, notes=notes, row_title="round")


def _answers(rounds: Sequence[Survival], name: str, title: str) -> Table:
    titles = {"chains": "chains"} | AFTER | {"likelier": "likelier than without a chain, %"}
    rows = []
    for each in rounds:
        values = [_perplexity_cell([getattr(answer, place) for answer in each.answers]) for place in AFTER]
        cells = (Cell(text=f"{len(each.answers):,}"), *values, _cell([float(answer.is_likelier) for answer in each.answers]))
        rows.append(Row(label=each.label, kind="entry", cells=cells))
    notes = (
        "Perplexity of the chain's own answer under the model before fine-tuning, given the question and the text (without the sentence that states "
        "the answer); 1 is certain. All columns of a row are over the same training chains: those of `scoring.perplexity_chains` that have a usable "
        "text in this round and a readable answer. 95 % bootstrap intervals over chains, "
        f"none of fewer than {FEWEST_TEXTS} chains.",
    )
    columns = tuple(Column(name=name, title=title) for name, title in titles.items())
    return Table(name=name, title=title, columns=columns, rows=tuple(rows), notes=notes, row_title="round")


def _cell(shares: Sequence[float]) -> Cell:
    if not shares:
        return Cell()
    value, low, high = (100 * share for share in (mean(shares), *share_interval(shares)))
    return Cell(text=f"{value:.1f} ({low:.1f} to {high:.1f})", value=value, low=low, high=high)


def _perplexity_cell(answers: Sequence[Likelihood]) -> Cell:
    value = perplexity(answers)
    if value is None:
        return Cell()
    if (interval := perplexity_interval(answers)) is None:
        return Cell(text=f"{value:#.4g}", value=value)
    low, high = interval
    return Cell(text=f"{value:#.4g} ({low:#.4g} to {high:#.4g})", value=value, low=low, high=high)


def drawings(found: BySet) -> Iterator[Drawing]:
    """What is kept, and how well the answer follows where that was measured, by round; no figure without rounds."""
    rounds = {label: [each for each in of_set if not each.is_kept] for label, of_set in found.items()}
    rounds = {label: of_set for label, of_set in rounds.items() if of_set}
    if not rounds:
        return
    num_all = len(rounds)
    rounds = dict(list(rounds.items())[: len(LINES)])
    measured = {label: of_set for label, of_set in rounds.items() if any(each.answers for each in of_set)}
    about = "Share of the calculations and numbers of a chain that each round's texts still hold, and of texts that still state the answer"
    if measured:
        about += "; perplexity of the chain's own answer after them, under the model before fine-tuning"
    about += "." + "".join(f" The rounds are those of {label}." for label in rounds if label and num_all == 1)
    about += part_of(len(rounds), num_all, "sets of rounds")
    yield Drawing("survival_per_round", "What a round keeps", about, partial(_draw, rounds=rounds, measured=measured), 7.5 if measured else 6.0)


def _draw(figure: Any, rounds: BySet, measured: BySet) -> None:
    """On the left what is kept, on the right how well the answer follows; lines are shares and texts of one set, or sets."""
    shown = panels(figure, [1, 1] if measured else [1], height=3.2)
    if len(rounds) == 1:
        (of_set,) = rounds.values()
        _draw_lines(shown[0], {title.partition(",")[0]: _shares_by_round(of_set, name) for name, title in COLUMNS.items()})
    else:
        _draw_lines(shown[0], {label: _shares_by_round(of_set, "calculations") for label, of_set in rounds.items()})
    kept = "% of the chain as written" if len(rounds) == 1 else "% of the calculations kept"
    shown[0].set(xlabel="round (0: as written)", ylabel=kept, ylim=(0, 103))
    if measured and len(rounds) == 1:
        _draw_lines(shown[1], {title: _answers_by_round(of_set, place) for place, title in LEGEND.items()})
    elif measured:
        _draw_lines(shown[1], {label: _answers_by_round(measured.get(label, []), "text") for label in rounds})
    if measured:
        values = [value for line in shown[1].lines for value in line.get_ydata()]
        if max(values) > 10 * min(values):
            shown[1].set_yscale("log")
            plain_log_ticks(shown[1].yaxis)
        shown[1].set(xlabel="round (0: as written)", ylabel="perplexity of the chain's answer")
    for axes in shown:
        whole_numbers(axes.xaxis)
        if len(rounds) == 1:
            legend_under(axes)
    if len(rounds) > 1:
        legend_below(figure)


def _draw_lines(axes: Any, points_of: Mapping[str, Sequence[tuple[int, float]]]) -> None:
    for line, (label, points) in zip(LINES, points_of.items(), strict=False):
        if points:
            axes.plot(*zip(*points, strict=True), marker=line.marker, linestyle=line.style, color=line.colour, label=label)


def _shares_by_round(of_set: Sequence[Survival], name: str) -> list[tuple[int, float]]:
    return [(0, 100.0), *((int(each.label), 100 * mean(each.shares[name])) for each in of_set if each.shares[name])]


def _answers_by_round(of_set: Sequence[Survival], place: str) -> list[tuple[int, float]]:
    """From the chains as written, over those of the first round."""
    measured = [each for each in of_set if each.answers]
    begin = [("0", each.answers, "written" if place == "text" else place) for each in measured[:1]]
    found = (
        (label, perplexity(getattr(one, own) for one in answers))
        for label, answers, own in [*begin, *((each.label, each.answers, place) for each in measured)]
    )
    return [(int(label), value) for label, value in found if value is not None]
