"""The result table of one run, for a terminal and as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from rich.table import Table

from cotexp.jobs.progress import page
from cotexp.methods.condition import INSTRUCTIONS
from cotexp.report import funnel
from cotexp.settings import FINE_TUNED_MODES

Metrics = dict[str, float]

COLUMNS = ("model and mode", "accuracy (95 % interval)", "tokens", "compression ratio", "seconds per question, batch 1", "batch N")


def labels(settings: dict[str, Any]) -> dict[str, str]:
    """Mode -> which model answers and how it is asked, in the order of the table."""
    compression = settings.get("compression", {})
    name, ratio = compression.get("name"), settings.get("evaluation", {}).get("truncate_ratio")
    model = "base" if name == "prompt_only" else "fine-tuned"
    marks = {"full": "full chain of thought" if name in ("none", "reference") else "without `<compress>`", "compress": "with `<compress>`"}
    if name == "tokenskip":
        marks = {"full": "without a ratio", "compress": f"asked for ratio {settings['evaluation']['ratio']:g}"}
    asked = {mode: _quoted(compression[key]) if key in compression else marks[mode] for mode, key in INSTRUCTIONS.items()}
    return {
        "base": "base, full chain of thought",
        "truncate": "base, output cut" + (f" to {ratio:.0%} of its tokens" if ratio else ""),
        **{mode: f"{model}, {how}" for mode, how in asked.items()},
    }


def _quoted(instruction: str) -> str:
    return f"asked: “{' '.join(instruction.split())}”"


def rows(metrics: Metrics, settings: dict[str, Any]) -> Iterator[list[str]]:
    """One row of texts per evaluated mode, as COLUMNS says; with several tasks, then one per task and mode."""
    for task in ("", *tasks(metrics)):
        for mode, label in labels(settings).items():
            prefix = f"eval/{mode}/{task}/" if task else f"eval/{mode}/"
            own = {name.removeprefix(prefix): value for name, value in metrics.items() if name.startswith(prefix)}
            if "accuracy" in own:
                yield [
                    f"{task}: {label}" if task else label,
                    f"{own['accuracy']:.1%} ({own['accuracy_low']:.1%} to {own['accuracy_high']:.1%})",
                    f"{own['num_tokens']:.1f}",
                    "1" if mode == "base" else _number(own, "compression_ratio", ".2f"),
                    *(
                        [_number(own, f"latency_seconds_{size}", form) for size, form in (("batch1", ".3f"), ("batchN", ".4f"))]
                        if not task
                        else ["", ""]
                    ),
                ]


def tasks(metrics: Metrics) -> list[str]:
    """The evaluated tasks in order where there are several."""
    names = list(dict.fromkeys(name.split("/")[2] for name in metrics if name.startswith("eval/") and name.count("/") == 3))
    return names if len(names) > 1 else []


def _number(values: Metrics, name: str, form: str) -> str:
    return format(values[name], form) if name in values else "not measured"


def markdown(metrics: Metrics, settings: dict[str, Any]) -> str:
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    return "\n".join([*lines, *("| " + " | ".join(cell.replace("|", "\\|") for cell in each) + " |" for each in rows(metrics, settings))])


def notes(metrics: Metrics, settings: dict[str, Any]) -> list[str]:
    """What a reader must know beside the table: sample size, stop reasons, everything dropped or cut."""
    named = labels(settings)
    mode = next(each for each in named if f"eval/{each}/num_questions" in metrics)
    samples = metrics.get(f"eval/{mode}/num_samples", 1)
    lines = [f"{metrics[f'eval/{mode}/num_questions']:.0f} test questions; all of them are in the denominator."]
    if samples > 1:
        lines.append(f"Accuracy is avg@{samples:.0f}: the mean over questions of the share of {samples:.0f} sampled answers that are right.")
    lines += [line for each, label in named.items() for line in _grading_notes(metrics, each, label)]
    lines += _truncation_notes(metrics, named["truncate"])
    lines += [line for each, label in named.items() for line in _differences(metrics, each, label)]
    if overlap := metrics.get("questions/num_dropped_overlap"):
        lines.append(f"{overlap:.0f} training and validation questions were left out, since their text is in the test questions too.")
    if "eval/latency_batch_size" in metrics:
        lines.append(
            f"Batch N is {metrics['eval/latency_batch_size']:.0f}. Compression ratio and stop rule count chain-of-thought tokens, "
            "the tokens column the whole text."
        )
    if "compression/num_protected" in metrics:
        lines.append(_pruning_note(metrics))
    elif "compression/num_rationales" in metrics:
        lines.append(
            f"{metrics['compression/num_rationales']:.0f} chains (training and validation) compressed to "
            f"{metrics['compression/compression_ratio']:.0%} of their tokens in "
            f"{metrics['compression/num_rounds_mean']:.1f} rounds on average; ended by rebound {metrics['compression/num_rebounds']:.0f}, "
            f"round limit {metrics['compression/num_limits']:.0f}, fixed point {metrics['compression/num_fixed_points']:.0f}, "
            f"failed {metrics['compression/num_failed']:.0f}, other {metrics['compression/num_other_stops']:.0f}."
        )
    if metrics.get("rationales/num_dropped"):
        lines.append(f"{metrics['rationales/num_dropped']:.0f} of {metrics['rationales/num_written']:.0f} rationales were left out.")
    if "training/num_steps" not in metrics:
        return [f"- {each}" for each in (*lines, "Nothing was trained.")]
    lines.append(
        f"Trained {metrics['training/num_steps']:.0f} steps on {metrics['training/num_examples']:.0f} examples "
        f"({metrics['training/num_supervised_tokens']:.0f} supervised tokens); step {metrics['training/best_step']:.0f} kept by validation loss."
    )
    return [f"- {each}" for each in lines]


def _pruning_note(metrics: Metrics) -> str:
    """Which ratios the training chains were pruned to, and which came out."""
    name = "compression/compression_ratio_at_"
    ratios = ", ".join(f"{value:.2f} at {each.removeprefix(name)}" for each, value in sorted(metrics.items()) if each.startswith(name))
    return (
        f"{metrics['compression/num_rationales']:.0f} chains (training and validation) pruned to {metrics['compression/compression_ratio']:.0%} of "
        f"their tokens ({ratios}); in {metrics['compression/num_protected']:.0f} of them numbers and operators alone are more than the ratio allows."
    )


def _grading_notes(metrics: Metrics, mode: str, label: str) -> Iterator[str]:
    """What could not be read, and what other grading rules would say where they differ."""
    values = {name: metrics.get(f"eval/{mode}/{name}", 0) for name in ("num_unparsable", "num_truncated", "num_timed_out")}
    if any(values.values()):
        yield (
            f"{label}: {values['num_unparsable']:.0f} answers could not be read, {values['num_truncated']:.0f} were cut off at the token "
            f"limit, {values['num_timed_out']:.0f} took too long to compare; all count as wrong."
        )
    flips = {rule: metrics.get(f"eval/{mode}/num_flips_{rule}", 0) for rule in ("lenient", "math_verify")}
    for rule in (rule for rule, count in flips.items() if count):
        accuracy = metrics.get(f"eval/{mode}/accuracy_{rule}")
        instead = "" if accuracy is None else f" (accuracy {accuracy:.1%})"
        yield f"{label}: the {rule} rule labels {flips[rule]:.0f} answers otherwise{instead}."


def _truncation_notes(metrics: Metrics, label: str) -> Iterator[str]:
    """Where the output was cut, and how that is judged."""
    if num_cut := metrics.get("eval/truncate/num_cut"):
        budgets = {name.split("/")[2]: value for name, value in metrics.items() if re.fullmatch("eval/truncate/[^/]+/budget_tokens", name)}
        at = ", ".join(f"{value:.0f} tokens ({task})" for task, value in budgets.items())
        yield f"{label}: {num_cut:.0f} answers were cut at {at} and are graded by what is left; nothing was generated anew, so no time is measured."


def _differences(metrics: Metrics, mode: str, label: str) -> Iterator[str]:
    """The paired difference to the base model, and whether it is noise."""
    name = f"eval/{mode}/delta_accuracy_vs_base"
    if name in metrics:
        low, high, p_value = (metrics[f"{name}_{each}"] for each in ("low", "high", "p_value"))
        noise = "within noise" if low <= 0 <= high or p_value >= 0.05 else "beyond noise"
        yield f"{label}, against base: {metrics[name] * 100:+.1f} points ({low * 100:+.1f} to {high * 100:+.1f}, p = {p_value:.2g}): {noise}."


def choices(settings: dict[str, Any]) -> list[str]:
    """Footnotes: what MACC and MoRSD leave open, as this run chose it, and how answers were generated."""
    compression, compressor, model = settings.get("compression", {}), settings.get("compressor", {}), settings.get("model", {})
    lines = []
    modes = settings.get("evaluation", {}).get("modes", FINE_TUNED_MODES)
    is_trained = compression.get("name") != "prompt_only" and not set(modes).isdisjoint(FINE_TUNED_MODES)
    if is_trained and compression.get("name") in ("macc", "single_round", "c3ot"):
        mixture = settings["mixture"]
        lines.append(
            f"Our choice where the paper is silent: round limit {compression.get('max_rounds', 1)}, "
            f"stop rule {compression.get('stop', 'one round')}, compressor temperature {compressor.get('temperature')}, "
            f"answer in its prompt: the {compression['prompt_answer']}'s, share of full chains {mixture['full_ratio']}, "
            f"originals {mixture['originals']}, lengths by the target's tokenizer."
        )
    if compression.get("name") in ("c3ot", "prompt_only"):
        words = " and its words (C3oT's own are not known to us)" if compression["name"] == "c3ot" else ""
        lines.append(f"Our choice: an instruction stands on a line of its own behind the task's prompt{words}.")
    if is_trained and compression.get("name") == "tokenskip":
        lines += _pruning_choices(compression, settings["mixture"])
    if settings.get("evaluation", {}).get("truncate_ratio"):
        lines.append(
            "Our choice where published truncation rows are silent: one budget per task, the largest that keeps at most this share of tokens."
        )
    if is_trained and settings.get("selection"):
        lines += _selection_choices(settings)
    if model:
        temperature = settings.get("evaluation", {}).get("temperature", 0)
        how = f"answers sampled at temperature {temperature}, times greedy" if temperature else "greedy"
        lines.append(f"Answers and times: transformers on this project's local engine, {model['dtype']}, device {model['device']}, {how}.")
    return [f"- {each}" for each in lines]


def _pruning_choices(compression: dict[str, Any], mixture: dict[str, Any]) -> Iterator[str]:
    """Where this run goes beside TokenSkip."""
    ranked = "LLMLingua-2's classifier" if compression["importance"] == "llmlingua2" else "their surprisal under the model before fine-tuning"
    protected = "numbers and operators are never dropped" if compression["protect"] else "nothing is protected"
    yield (
        f"Our choice beside TokenSkip: tokens of the target model, ranked by {ranked}, dropped word by word; {protected}; one ratio of "
        f"{', '.join(f'{each:g}' for each in compression['ratios'])} drawn for each chain, share of full chains {mixture['full_ratio']:.2g}."
    )


def _selection_choices(settings: dict[str, Any]) -> Iterator[str]:
    """What MoRSD leaves open, and what is known of it second-hand alone, where this run uses a part of it."""
    selection, teacher = settings["selection"], settings["teacher"]
    if selection["equal_questions"]:
        yield (
            "A control of ours: only questions with k correct and diverse rationales (similarity below 0.5) are trained on, "
            "the same ones for every selection."
        )
    by_difficulty = selection["order"].endswith("_rd")
    if not by_difficulty and selection["diversity"] is None:
        return
    ours = []
    if teacher["name"] in ("local", "api"):
        ours.append(f"{teacher['num_samples']} rationales per question at temperature {teacher['temperature']}")
    if selection["diversity"] is not None:
        ours.append(f"near duplicates = Jaccard similarity of word 3-grams of {selection['diversity']} or more to one kept before")
    if by_difficulty:
        which = {"plain": "whole", "masked": "without its answer sentence", "hidden": "without its answer sentence and the value in equations"}
        ours.append(
            f"RD given the rationale {which[selection['rd']]} ({selection['rd']}), "
            f"the {settings['scoring']['answer']} answer behind {settings['scoring']['connector']!r}"
        )
    judged = "those with the gold answer" if selection["validation"] == "correct" else "all"
    ours.append(f"checkpoint by likelihood of the validation questions' rationales ({judged}), never by test questions")
    yield f"Our choice where MoRSD's paper is silent: {'; '.join(ours)}."
    formula = "RD = PPL(answer | question, rationale) / PPL(answer | question); " if by_difficulty else ""
    yield (
        f"Known of MoRSD second-hand only, not from the paper's own text: {formula}k = 6 (this run: {selection['k'] or 'no limit'}); "
        "a checkpoint chosen on the test set, which this project does not follow."
    )


def show(metrics: Metrics, title: str, settings: dict[str, Any]) -> None:
    """Print the table, its notes and its footnotes."""
    table = Table(title=title, title_justify="left")
    for index, column in enumerate(COLUMNS):
        table.add_column(column, justify="right" if index else "left", overflow="fold")
    for each in rows(metrics, settings):
        table.add_row(*each)
    console = page()
    console.print(table)
    for note in [*notes(metrics, settings), *funnel.line(metrics, settings), *choices(settings)]:
        console.print(note, markup=False, highlight=False)
