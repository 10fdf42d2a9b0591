"""What the report says about each compression. No other module of the report looks at the name of one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from cotexp.methods.condition import INSTRUCTIONS
from cotexp.settings import FINE_TUNED_MODES

Settings = dict[str, Any]

BY_ROUNDS = ("macc", "single_round", "c3ot")
BY_INSTRUCTION = ("c3ot", "prompt_only")
WITHOUT_COMPRESSOR = ("none", "reference", "truncate")
CUTS_TOKENS = ("truncate", "tokenskip")
CUT_REASONS = {"none": "shortened to a share", "protected": "shortened, numbers kept"}
"""Stop reason of a chain whose tokens were cut -> its text."""


def name_of(settings: Settings) -> str | None:
    """Name of the run's compression; None for a run older than compressions."""
    name: str | None = settings.get("compression", {}).get("name")
    return name


def trains(settings: Settings) -> bool:
    """Whether a run with this compression fine-tunes a model."""
    return name_of(settings) != "prompt_only"


def reads_compressor(settings: Settings) -> bool:
    """Whether the settings of the compressor can change a result."""
    return name_of(settings) not in WITHOUT_COMPRESSOR


def compressor_of(settings: Settings) -> str:
    """The compressor: the path or name of a model, or the compression if it cuts tokens."""
    section, compression = settings.get("compressor") or {}, settings["compression"]["name"]
    if compression in CUTS_TOKENS:
        return str(compression)
    if server := section.get("server"):
        return str(server["model"])
    return str((section.get("model") or settings["model"])["path"])


def mode_labels(settings: Settings) -> dict[str, str]:
    """Mode -> the model that answers and how it is prompted, in the order of the table."""
    compression = settings.get("compression", {})
    name, ratio = name_of(settings), settings.get("evaluation", {}).get("truncate_ratio")
    model = "fine-tuned" if trains(settings) else "base"
    marks = {"full": "full chain of thought" if name in ("none", "reference") else "without `<compress>`", "compress": "with `<compress>`"}
    if name == "tokenskip":
        marks = {"full": "without a ratio", "compress": f"asked for ratio {settings['evaluation']['ratio']:g}"}
    prompted = {mode: _quoted(compression[key]) if key in compression else marks[mode] for mode, key in INSTRUCTIONS.items()}
    return {
        "base": "base, full chain of thought",
        "truncate": "base, output cut" + (f" to {ratio:.0%} of its tokens" if ratio else ""),
        **{mode: f"{model}, {how}" for mode, how in prompted.items()},
    }


def _quoted(instruction: str) -> str:
    return f"asked: “{' '.join(instruction.split())}”"


def evaluates_fine_tuned(settings: Settings) -> bool:
    """Whether the run fine-tuned a model and evaluated it."""
    modes = settings.get("evaluation", {}).get("modes", FINE_TUNED_MODES)
    return trains(settings) and not set(modes).isdisjoint(FINE_TUNED_MODES)


def choices_of_rounds(runs: Sequence[Settings]) -> Iterator[str]:
    """Our choices where MACC is silent, of all runs with rounds in one sentence."""
    chosen: dict[str, dict[str, None]] = {}
    for each in (each for each in runs if evaluates_fine_tuned(each) and name_of(each) in BY_ROUNDS):
        compression, mixture = each["compression"], each["mixture"]
        values = {
            "round limit": compression.get("max_rounds", 1),
            "stop rule": compression.get("stop", "one round"),
            "compressor temperature": each.get("compressor", {}).get("temperature"),
            "answer in its prompt: the": f"{compression['prompt_answer']}'s",
            "share of full chains": mixture["full_ratio"],
            "originals": mixture["originals"],
        }
        for name, value in values.items():
            chosen.setdefault(name, {})[str(value)] = None
    if chosen:
        listed = ", ".join(f"{name} {' or '.join(values)}" for name, values in chosen.items())
        yield f"Our choice where the paper is silent: {listed}, lengths by the target's tokenizer."


def choices_of_run(settings: Settings) -> Iterator[str]:
    """Our choices where the papers on instructions and on pruning are silent."""
    name = name_of(settings)
    if name in BY_INSTRUCTION:
        words = " and its words (C3oT's own are not known to us)" if name == "c3ot" else ""
        yield f"Our choice: an instruction stands on a line of its own behind the task's prompt{words}."
    if evaluates_fine_tuned(settings) and name == "tokenskip":
        yield _choices_of_pruning(settings["compression"], settings["mixture"])


def _choices_of_pruning(compression: Settings, mixture: Settings) -> str:
    """How this run differs from TokenSkip."""
    ranked = "LLMLingua-2's classifier" if compression["importance"] == "llmlingua2" else "their surprisal under the model before fine-tuning"
    protected = "numbers and operators are never dropped" if compression["protect"] else "nothing is protected"
    return (
        f"Our choice beside TokenSkip: tokens of the target model, ranked by {ranked}, dropped word by word; {protected}; one ratio of "
        f"{', '.join(f'{each:g}' for each in compression['ratios'])} drawn for each chain, share of full chains {mixture['full_ratio']:.2g}."
    )
