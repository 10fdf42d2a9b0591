"""Figures of compression by round, for one run or several: lengths, stops and their reasons, ratio and perplexity."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson

from cotexp.report.kept_rounds import kept_rounds
from cotexp.report.side_labels import name_rows, row_height
from cotexp.report.style import COLOURS, LINES, Drawing, inches, legend_below, panels, plain_log_ticks, whole_numbers
from cotexp.store.stored_files import METRICS, compressed_of, read_json, stages_of

REASON_COLOURS = {"rebound": "red", "limit": "blue", "fixed_point": "green", "failed": "grey"}
REASON_HATCHES = {"rebound": "", "limit": "//", "fixed_point": "..", "failed": "xx"}
MOST_SETS = 16
"""Compressed sets that the figure of stops shows."""
ROUND_PERPLEXITY = "compression/perplexity_round_{}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressedSet:
    """The compressed chains of the run in `folder`. For each chain, `lengths` has its tokens by round from 0, `stops` its (round, reason), and
    `kept` the round that is kept if rounds end after round 0, 1, ... at the latest. A chain that stays as it was written has round 0 alone.

    `perplexities` are those of the texts of round 0, 1, ... under the model before fine-tuning, None if not measured. Sets with equal `content`
    are the same set; sets with equal `source` apply different stop rules to the same rounds.
    """

    label: str
    folder: Path
    content: str
    source: tuple[str, ...]
    lengths: list[list[int]]
    stops: list[tuple[int, str]]
    kept: list[list[int]]
    perplexities: list[float | None]

    @property
    def num_rounds(self) -> int:
        """Rounds of the longest chain of rounds."""
        return max(map(len, self.lengths)) - 1

    def kept_lengths(self) -> list[list[int]]:
        """For each round, the tokens of the text of every chain that is kept if rounds end after it."""
        chains = list(zip(self.lengths, self.kept, strict=True))
        return [[lengths[kept[min(number, len(kept) - 1)]] for lengths, kept in chains] for number in range(self.num_rounds + 1)]

    @property
    def num_without_rounds(self) -> int:
        """Chains that stay as they were written."""
        return sum(len(lengths) == 1 for lengths in self.lengths)


def read(folder: Path, label: str = "") -> CompressedSet | None:
    """The compressed chains of the run in `folder`; None if the run has no rounds."""
    rows = compressed_of(folder)
    if not any(row["round_num_tokens"][1:] for row in rows):
        return None
    stages, metrics = stages_of(folder), read_json(folder / METRICS)
    lengths = [row["round_num_tokens"] for row in rows]
    rounds = range(1, max(map(len, lengths)))
    return CompressedSet(
        label=label,
        folder=folder,
        content=sha256(orjson.dumps(rows)).hexdigest(),
        source=tuple(stages[name]["key"] for name in sorted(stages) if name.startswith("rounds/")),
        lengths=lengths,
        stops=[(row["num_rounds_run"], row["stop_reason"]) for row in rows],
        kept=kept_rounds(folder, rows),
        perplexities=[metrics.get("compression/original_perplexity"), *(metrics.get(ROUND_PERPLEXITY.format(number)) for number in rounds)],
    )


def longest(sets: Sequence[CompressedSet]) -> list[CompressedSet]:
    """The set with the most rounds among those that share them, for each source of rounds."""
    found: dict[tuple[str, ...], CompressedSet] = {}
    for candidate in sorted(sets, key=lambda compressed: (-compressed.num_rounds, -sum(map(len, compressed.lengths)))):
        found.setdefault(candidate.source, candidate)
    return list(found.values())


def drawings(sets: Sequence[CompressedSet]) -> Iterator[Drawing]:
    """Figures of tokens, stops, ratio and perplexity. In the first and last, the set with the most rounds represents those that share them.

    A single set needs no label.
    """
    if not sets:
        return
    all_shown = longest(sets) if len(sets) > 1 else [replace(sets[0], label="")]
    shown, about = all_shown[: len(LINES)], f"{of_shared(sets)}{_unwritten(all_shown)}"
    yield Drawing(
        "tokens_per_round",
        "Tokens per round",
        f"Mean tokens of the text that is kept, over all chains, if rounds end after each round{'' if shown[1:] else ', and of its rewrites'}."
        f"{about}{part_of(len(shown), len(all_shown), 'sets of rounds')}",
        lambda figure: _tokens(figure, shown),
    )
    distinct = list({compressed.content: compressed for compressed in reversed(sets)}.values())[::-1]
    yield Drawing(
        "stop_rounds",
        "Where and why rounds stopped",
        "How many chains (training and validation) stopped in which round, and for which reason."
        + part_of(min(MOST_SETS, len(distinct)), len(distinct), "arms"),
        lambda figure: _stops(figure, distinct[0].stops) if len(distinct) == 1 else _stops_of_sets(figure, distinct[:MOST_SETS]),
        6.0 if len(distinct) == 1 else 7.5,
    )
    all_measured = [compressed for compressed in all_shown if any(value is not None for value in compressed.perplexities)]
    measured = all_measured[: len(LINES)]
    if measured:
        yield Drawing(
            "perplexity_per_round",
            "Compression ratio and perplexity per round",
            "Tokens of the texts that are kept, over all chains, if rounds end after each round, over those of the chains as written; perplexity of "
            f"each round's texts given the question under the model before fine-tuning.{about}"
            f"{part_of(len(measured), len(all_measured), 'sets of rounds')}",
            lambda figure: _ratio_and_perplexity(figure, measured),
            7.5,
        )


def of_shared(sets: Sequence[CompressedSet]) -> str:
    """A sentence about sets that share rounds, if some do, or about the arm of the only one."""
    if len(sets) == 1:
        return f" The only arm with rounds: {sets[0].label}." if sets[0].label else ""
    shown = longest(sets)
    if len(shown) == len({each.content for each in sets}):
        return ""
    arm = f" ({shown[0].label})" if len(shown) == 1 else ""
    return f" Of arms that read the same rounds, the one with the most rounds{arm} is shown."


def part_of(num_shown: int, num_all: int, what: str) -> str:
    """A sentence about what a figure has no place for, if there is any."""
    return f" {num_shown} of {num_all} {what} are shown." if num_shown < num_all else ""


def _unwritten(sets: Sequence[CompressedSet]) -> str:
    """A sentence about chains without rounds, if there are some."""
    counts = [f"{each.num_without_rounds:,} of {len(each.lengths):,}" for each in sets if each.num_without_rounds]
    if not counts:
        return ""
    return f" {counts[0] if len(sets) == 1 else 'Some'} chains have no rounds and count as they were written."


def _tokens(figure: Any, sets: Sequence[CompressedSet]) -> None:
    import numpy as np

    (axes,) = panels(figure, [1], height=3.0)
    for line, compressed in zip(LINES, sets, strict=False):
        numbers = np.arange(compressed.num_rounds + 1)
        kept = np.array(compressed.kept_lengths(), dtype=float)
        mean, spread = kept.mean(axis=1), kept.std(axis=1)
        name = compressed.label if len(sets) > 1 else "kept text, all chains" + (f": {compressed.label}" if compressed.label else "")
        if len(sets) == 1:
            axes.fill_between(numbers, mean - spread, mean + spread, color=line.colour, alpha=0.2, linewidth=0, label="± one standard deviation")
        axes.plot(numbers, mean, marker=line.marker, linestyle=line.style, color=line.colour, label=name)
        if len(sets) == 1:
            rewritten = [[lengths[number] for lengths in compressed.lengths if number < len(lengths)] for number in numbers]
            axes.plot(
                numbers, [np.mean(texts) for texts in rewritten], marker="s", linestyle="--", color=COLOURS["orange"], label="rewrites of this round"
            )
            axes.set_xticks(numbers, [f"{number}\n{len(texts)}" for number, texts in zip(numbers, rewritten, strict=True)])
    axes.set(
        xlabel="round (below: texts in it)" if len(sets) == 1 else "round",
        ylabel="tokens of the chain" if len(sets) == 1 else "tokens kept",
        ylim=(0, None),
    )
    if len(sets) > 1:
        whole_numbers(axes.xaxis)
    legend_below(figure)


def _stops(figure: Any, stops: Sequence[tuple[int, str]]) -> None:
    """Draw how many chains of one set stopped in each round, by reason."""
    (axes,) = panels(figure, [1], height=3.0)
    counts = Counter(stops)
    numbers = _stop_numbers(stops)
    bottom = [0] * len(numbers)
    for reason in _reasons(stops):
        heights = [counts[number, reason] for number in numbers]
        name = f"{reason.replace('_', ' ')} ({sum(heights)})"
        axes.bar(numbers, heights, bottom=bottom, color=_colour(reason), hatch=_hatch(reason), label=name, edgecolor="white")
        bottom = [low + height for low, height in zip(bottom, heights, strict=True)]
    axes.set_xticks(list(numbers))
    axes.set(xlabel=f"round in which the chain stopped{'' if numbers[0] else ' (0: no rounds)'}", ylabel="chains")
    legend_below(figure)


def _stops_of_sets(figure: Any, sets: Sequence[CompressedSet]) -> None:
    """Draw a row per set: on the left the share of chains that stopped in each round, on the right the share of each reason."""
    labels = [compressed.label for compressed in sets]
    figure.set_figheight(inches(0.8 + len(sets) * row_height(figure, labels, 0.3)))
    where, why = figure.subplots(1, 2, sharey=True, gridspec_kw={"width_ratios": (3, 2)})
    numbers = _stop_numbers([stop for compressed in sets for stop in compressed.stops])
    shares = [[sum(number == stopped for stopped, _ in compressed.stops) / len(compressed.stops) for number in numbers] for compressed in sets]
    where.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto", extent=(numbers[0] - 0.5, numbers[-1] + 0.5, len(sets) - 0.5, -0.5))
    for row, of_set in enumerate(shares):
        for number, share in zip(numbers, of_set, strict=True):
            if share:
                colour = "white" if share > 0.6 else "black"
                where.text(number, row, f"{100 * share:.0f}" if share >= 0.005 else "<1", ha="center", va="center", fontsize="x-small", color=colour)
    where.set_xticks(numbers)
    key = name_rows(where, labels)
    where.set(xlabel=f"round in which chains stopped ({'' if numbers[0] else '0: none; '}cells: % of them)")
    where.grid(visible=False)
    left = [0.0] * len(sets)
    for reason in _reasons([stop for compressed in sets for stop in compressed.stops]):
        widths = [100 * sum(other == reason for _, other in compressed.stops) / len(compressed.stops) for compressed in sets]
        name = reason.replace("_", " ")
        why.barh(range(len(sets)), widths, left=left, color=_colour(reason), hatch=_hatch(reason), label=name, edgecolor="white")
        left = [before + width for before, width in zip(left, widths, strict=True)]
    why.set(xlabel="% of the chains, by reason", xlim=(0, 100))
    why.grid(axis="y", visible=False)
    legend_below(figure, [*key, *why.get_legend_handles_labels()[0]])


def _ratio_and_perplexity(figure: Any, sets: Sequence[CompressedSet]) -> None:
    ratio, perplexity = panels(figure, [1, 1], height=3.2)
    for line, compressed in zip(LINES, sets, strict=False):
        totals = list(map(sum, compressed.kept_lengths()))
        look = {"marker": line.marker, "linestyle": line.style, "color": line.colour, "label": compressed.label}
        ratio.plot(range(len(totals)), [total / totals[0] for total in totals], **look)
        known = [(number, value) for number, value in enumerate(compressed.perplexities) if value is not None]
        perplexity.plot(*zip(*known, strict=True), **look)
    values = [value for compressed in sets for value in compressed.perplexities if value is not None]
    if max(values) > 10 * min(values):
        perplexity.set_yscale("log")
        plain_log_ticks(perplexity.yaxis)
    ratio.set(xlabel="round", ylabel="tokens kept / tokens as written", ylim=(0, 1.05))
    perplexity.set(xlabel="round (0: as written)", ylabel="perplexity given the question")
    for axes in (ratio, perplexity):
        whole_numbers(axes.xaxis)
    if any(compressed.label for compressed in sets):
        legend_below(figure)


def _stop_numbers(stops: Sequence[tuple[int, str]]) -> range:
    """From 1, or 0 if chains have no rounds, to the last round."""
    numbers = {number for number, _ in stops}
    return range(min(1, *numbers), max(numbers) + 1)


def _reasons(stops: Sequence[tuple[int, str]]) -> list[str]:
    return sorted({reason for _, reason in stops}, key=lambda reason: (reason not in REASON_COLOURS, reason))


def _colour(reason: str) -> str:
    return COLOURS[REASON_COLOURS.get(reason, "purple")]


def _hatch(reason: str) -> str:
    return REASON_HATCHES.get(reason, "\\\\")
