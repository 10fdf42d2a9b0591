"""The result table of one run, with the notes that belong to it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from cotexp.methods.comparison import holm
from cotexp.report import costs, funnel, incomplete, latency, terminal
from cotexp.report.compression_texts import mode_labels
from cotexp.report.disclosures import disclosures
from cotexp.report.document import Table, text_table

Metrics = dict[str, float]

COLUMNS = ("model and mode", "accuracy (95 % interval)", "tokens", "compression ratio", "seconds per question, batch 1", "batch N", "tokens timed")


def rows(metrics: Metrics, settings: dict[str, Any]) -> Iterator[list[str]]:
    """One row of texts per evaluated mode, in the order of COLUMNS; if there are several tasks, then one per task and mode."""
    for task in ("", *tasks(metrics)):
        for mode, label in mode_labels(settings).items():
            values = _of_mode(metrics, f"{mode}/{task}" if task else mode)
            if "accuracy" in values:
                times = [latency.seconds_text(values, "batch1", ".3f"), latency.seconds_text(values, "batchN", ".4f"), latency.tokens_text(values)]
                yield [
                    f"{task}: {label}" if task else label,
                    f"{values['accuracy']:.1%} ({values['accuracy_low']:.1%} to {values['accuracy_high']:.1%})",
                    f"{values['num_tokens']:.1f}",
                    "1" if mode == "base" else _number(values, "compression_ratio", ".2f"),
                    *(["", "", ""] if task else times),
                ]


def _of_mode(metrics: Metrics, mode: str) -> Metrics:
    """The metrics of a mode, or of "MODE/TASK", without that prefix in their names."""
    prefix = f"eval/{mode}/"
    return {name.removeprefix(prefix): value for name, value in metrics.items() if name.startswith(prefix)}


def tasks(metrics: Metrics) -> list[str]:
    """The evaluated tasks in order; empty if there is only one."""
    names = list(dict.fromkeys(name.split("/")[2] for name in metrics if name.startswith("eval/") and name.count("/") == 3))
    return names if len(names) > 1 else []


def _number(values: Metrics, name: str, form: str) -> str:
    return format(values[name], form) if name in values else "not measured"


def notes(metrics: Metrics, settings: dict[str, Any]) -> list[str]:
    """Information to interpret the table: sample size, stop reasons, everything dropped or cut."""
    labels = mode_labels(settings)
    mode = next(name for name in labels if f"eval/{name}/num_questions" in metrics)
    samples = metrics.get(f"eval/{mode}/num_samples", 1)
    split = settings.get("evaluation", {}).get("split", "test")
    lines = [f"{metrics[f'eval/{mode}/num_questions']:.0f} {split} questions; every one counts in the denominator."]
    lines += incomplete.lines(metrics)
    if samples > 1:
        lines.append(f"Accuracy is avg@{samples:.0f}: the mean over questions of the share of {samples:.0f} sampled answers that are right.")
    lines += [line for mode, label in labels.items() for line in _grading_notes(metrics, mode, label)]
    lines += [*_truncation_notes(metrics, labels["truncate"]), *_differences(metrics, labels)]
    if overlap := metrics.get("questions/num_dropped_overlap"):
        lines.append(f"{overlap:.0f} training and validation questions were left out because their text is also in the test questions.")
    if "eval/latency_batch_size" in metrics:
        lines.append(
            f"Batch N is {metrics['eval/latency_batch_size']:.0f}; seconds are the median of several passes (and quartiles). Compression "
            "ratio and stop rule count chain-of-thought tokens, the column of tokens the whole text."
        )
        if several := tasks(metrics):
            first = settings.get("evaluation", {}).get("latency_questions")
            lines.append(f"Seconds are those of the first {first} test questions in the order of the tasks ({', '.join(several)}), not of all tasks.")
        lines += [line for mode, label in labels.items() for line in latency.doubts(_of_mode(metrics, mode), label)]
    if "compression/num_protected" in metrics:
        lines.append(_pruning_note(metrics))
    elif "compression/num_rationales" in metrics:
        lines.append(_rounds_note(metrics))
    if metrics.get("rationales/num_dropped"):
        lines.append(f"{metrics['rationales/num_dropped']:.0f} of {metrics['rationales/num_written']:.0f} rationales were left out.")
    if "training/num_steps" not in metrics:
        return [*lines, "Nothing was trained."]
    return [*lines, _training_note(metrics)]


def _rounds_note(metrics: Metrics) -> str:
    """Why the rounds of the compressed chains ended, and apart from them those that are left out."""
    num_dropped, num_unrecorded = metrics.get("compression/num_dropped", 0), metrics.get("compression/num_unrecorded", 0)
    num_failed = metrics["compression/num_failed"] - (num_dropped - num_unrecorded)
    if not num_unrecorded:  # an earlier version counted them as failed
        num_unrecorded = metrics.get("rounds/num_chains_without", 0)
    left_out = {"after a failed round": num_dropped - num_unrecorded, "without recorded rounds": num_unrecorded}
    listed = " and ".join(f"{count:.0f} {why}" for why, count in left_out.items() if count)
    return (
        f"{metrics['compression/num_rationales']:.0f} chains (training and validation) compressed to "
        f"{metrics['compression/compression_ratio']:.0%} of their tokens in "
        f"{metrics['compression/num_rounds_mean']:.1f} rounds on average; ended by rebound {metrics['compression/num_rebounds']:.0f}, "
        f"round limit {metrics['compression/num_limits']:.0f}, fixed point {metrics['compression/num_fixed_points']:.0f}, "
        f"failed {num_failed:.0f}, other {metrics['compression/num_other_stops']:.0f}." + (f" Left out besides: {listed}." if listed else "")
    )


def _training_note(metrics: Metrics) -> str:
    """Steps, examples and, as far as the fine-tuning stored them, tokens, FLOPs and hours, counted as in `costs`."""
    found = [f"{metrics[costs.TOKENS]:,.0f} tokens with prompts"] if costs.TOKENS in metrics else []
    found += [f"{metrics[costs.FLOPS]:.3g} FLOPs"] if costs.FLOPS in metrics else []
    found += [f"{metrics[name]:.3g} {unit}" for name, unit in costs.HOURS.items() if name in metrics]
    return (
        "One seed: the intervals hold the variance of the questions, not what another training run would change. "
        f"Trained {metrics['training/num_steps']:.0f} steps on {metrics['training/num_examples']:.0f} examples "
        f"({metrics['training/num_supervised_tokens']:.0f} supervised tokens); step {metrics['training/best_step']:.0f} kept by validation loss."
        + (f" Left out since they are longer than trainer.max_length or the model's context: {left_out}." if (left_out := too_long(metrics)) else "")
        + (f" All steps: {', '.join(found)}." if found else "")
    )


def too_long(metrics: Metrics) -> str:
    """How many examples were left out for their length, by form where that is known; empty if none was."""
    forms = [f"{metrics[name]:,.0f} {form}" for form in ("full", "compress", "rewrite") if metrics.get(name := f"training/num_too_long_{form}")]
    of_forms = f" ({', '.join(forms)})" if forms else ""
    found = f"{metrics['training/num_too_long']:,.0f}{of_forms}" if metrics.get("training/num_too_long") else ""
    validation = metrics.get("training/num_validation_too_long")
    return " and ".join(filter(None, (found, f"{validation:,.0f} of validation" if validation else "")))


def _pruning_note(metrics: Metrics) -> str:
    """The requested ratios of the training chains and the resulting ones."""
    name = "compression/compression_ratio_at_"
    ratios = ", ".join(f"{value:.2f} at {metric.removeprefix(name)}" for metric, value in sorted(metrics.items()) if metric.startswith(name))
    return (
        f"{metrics['compression/num_rationales']:.0f} chains (training and validation) pruned to {metrics['compression/compression_ratio']:.0%} of "
        f"their tokens ({ratios}); in {metrics['compression/num_protected']:.0f} of them numbers and operators exceed the ratio."
    )


def _grading_notes(metrics: Metrics, mode: str, label: str) -> Iterator[str]:
    """Answers that could not be read, and those that other grading rules label differently."""
    values = {name: metrics.get(f"eval/{mode}/{name}", 0) for name in ("num_unparsable", "num_truncated", "num_timed_out")}
    if values["num_unparsable"] or values["num_truncated"]:
        yield (
            f"{label}: {values['num_unparsable']:.0f} answers could not be read, {values['num_truncated']:.0f} were cut off at the token "
            "limit; all count as wrong."
        )
    if values["num_timed_out"]:
        yield f"{label}: {values['num_timed_out']:.0f} answers took too long to compare under some rule, and count as wrong under that rule."
    flips = {rule: metrics.get(f"eval/{mode}/num_flips_{rule}", 0) for rule in ("lenient", "math_verify")}
    for rule in (rule for rule, count in flips.items() if count):
        accuracy = metrics.get(f"eval/{mode}/accuracy_{rule}")
        instead = "" if accuracy is None else f" (accuracy {accuracy:.1%})"
        yield f"{label}: the {rule} rule labels {flips[rule]:.0f} answers differently{instead}."


def _truncation_notes(metrics: Metrics, label: str) -> Iterator[str]:
    """The token limits at which answers were cut, and how they are graded."""
    if num_cut := metrics.get("eval/truncate/num_cut"):
        budgets = {name.split("/")[2]: value for name, value in metrics.items() if re.fullmatch("eval/truncate/[^/]+/budget_tokens", name)}
        at = ", ".join(f"{value:.0f} tokens ({task})" for task, value in budgets.items())
        yield f"{label}: {num_cut:.0f} answers were cut at {at}, and the rest is graded; nothing was generated again, so no time is measured."


def _differences(metrics: Metrics, labels: dict[str, str]) -> Iterator[str]:
    """The paired difference of each mode to the base model, and whether it is within noise; p-values are also corrected for their number."""
    names = {mode: f"eval/{mode}/delta_accuracy_vs_base" for mode in labels}
    names = {mode: name for mode, name in names.items() if name in metrics}
    corrected = holm([metrics[f"{name}_p_value"] for name in names.values()])
    for (mode, name), p_holm in zip(names.items(), corrected, strict=True):
        low, high, p_value = (metrics[f"{name}_{ending}"] for ending in ("low", "high", "p_value"))
        noise = "within noise" if low <= 0 <= high or p_holm >= 0.05 else "beyond noise"
        p = f"p = {p_value:.2g}" + (f", {p_holm:.2g} by Holm for {len(names)} comparisons" if len(names) > 1 else "")
        yield f"{labels[mode]}, against base: {metrics[name] * 100:+.1f} points ({low * 100:+.1f} to {high * 100:+.1f}, {p}): {noise}."


def table(metrics: Metrics, settings: dict[str, Any], title: str = "", *, more_notes: Iterable[str] = ()) -> Table:
    """A row per evaluated mode; the notes end with `more_notes` and the disclosures of our choices."""
    return text_table(title, COLUMNS, rows(metrics, settings), notes=(*notes(metrics, settings), *more_notes, *disclosures([settings])))


def show(metrics: Metrics, title: str, settings: dict[str, Any]) -> None:
    """Print the table with its notes, one of which tells what the selection kept."""
    terminal.show(table(metrics, settings, title, more_notes=funnel.line(metrics, settings)))
