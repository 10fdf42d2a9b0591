"""Texts of a report about compressions, derived from the traits of their classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from cotexp.compressions import compression_of
from cotexp.compressions.base import INSTRUCTIONS
from cotexp.settings.evaluation import FINE_TUNED_MODES

StoredSettings = dict[str, Any]
"""The settings of a run as its settings.json has them."""

CUT_REASONS = {"none": "shortened to a share", "protected": "shortened, numbers kept"}
"""Stop reason of a chain whose tokens were cut -> its text."""


def compressor_of(settings: StoredSettings) -> str:
    """The compressor: the path or name of a model, the files of recorded rounds, or the compression if it cuts tokens."""
    section = settings.get("compressor") or {}
    if not compression_of(settings).asks_compressor:
        return str(settings["compression"]["name"])
    if server := section.get("server"):
        return str(server["model"])
    if files := section.get("files"):
        return ", ".join(map(str, files))
    return str((section.get("model") or settings["model"])["path"])


def mode_labels(settings: StoredSettings) -> dict[str, str]:
    """Mode -> the model that answers and how it is prompted, in the order of the table."""
    compression = settings.get("compression", {})
    kind, ratio = compression_of(settings), settings.get("evaluation", {}).get("truncate_ratio")
    model = "fine-tuned" if kind.trains else "base"
    marks = {"full": "without `<compress>`" if kind.has_short_form else "full chain of thought", "compress": "with `<compress>`"}
    if kind.asked_by == "ratio":
        marks = {"full": "without a ratio", "compress": f"asked for ratio {settings['evaluation']['ratio']:g}"}
    instructions = {mode: " ".join(words.split()) for mode in INSTRUCTIONS if (words := kind.words_for(mode, compression)) is not None}
    prompted = {mode: f"asked: “{instructions[mode]}”" if mode in instructions else marks[mode] for mode in INSTRUCTIONS}
    return {
        "base": "base, full chain of thought",
        "truncate": "base, output cut" + (f" to {ratio:.0%} of its tokens" if ratio else ""),
        **{mode: f"{model}, {how}" for mode, how in prompted.items()},
    }


def evaluates_fine_tuned(settings: StoredSettings) -> bool:
    """Whether the run fine-tuned a model and evaluated it."""
    modes = settings.get("evaluation", {}).get("modes", FINE_TUNED_MODES)
    return compression_of(settings).trains and not set(modes).isdisjoint(FINE_TUNED_MODES)


def choices_of_rounds(runs: Sequence[StoredSettings]) -> Iterator[str]:
    """Our choices in details that MACC does not give, for all runs with rounds, in one sentence."""
    chosen: dict[str, dict[str, None]] = {}
    for run in (run for run in runs if evaluates_fine_tuned(run) and compression_of(run).asks_compressor):
        compression, mixture = run["compression"], run["mixture"]
        values = {
            "round limit": compression.get("max_rounds", 1),
            "stop rule": compression.get("stop", compression_of(run).rounds_end),
            "compressor temperature": run.get("compressor", {}).get("temperature"),
            **({} if compression_of(run).answers_anew else {"answer in its prompt: the": f"{compression['prompt_answer']}'s"}),
            "share of full chains": mixture["full_ratio"],
            "originals": mixture["originals"],
        }
        for name, value in values.items():
            chosen.setdefault(name, {})[str(value)] = None
    if chosen:
        listed = ", ".join(f"{name} {' or '.join(values)}" for name, values in chosen.items())
        yield f"Our choice where the paper is silent: {listed}, lengths by the target's tokenizer."


def choices_of_run(settings: StoredSettings) -> Iterator[str]:
    """Our choices in details that the paper of the run's compression does not give."""
    compression = compression_of(settings)
    if evaluates_fine_tuned(settings) or not compression.trains:
        yield from compression.disclosures(settings)
