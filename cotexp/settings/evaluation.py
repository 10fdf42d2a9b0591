"""Settings of evaluation: modes, questions and sampling of answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cotexp.settings.base import setting
from cotexp.settings.sampling import Sampling

MODES = ("base", "truncate", "full", "compress")
"""Modes in the order of the tables. The last mode of a run is its main result."""

FINE_TUNED_MODES = ("full", "compress")

BASE = "base"
"""The mode before fine-tuning. As a baseline, it compares every run with its own model before fine-tuning."""


@dataclass(slots=True, kw_only=True)
class Evaluation(Sampling):
    """How models are evaluated."""

    modes: list[str] | None = setting(
        None,
        "base: before fine-tuning; truncate: answers of base, cut; full: fine-tuned, full chains; compress: fine-tuned, short chains. Default: all "
        "that apply.",
        choices=MODES,
    )
    tasks: list[str] | None = setting(
        None, "Names of the tasks whose questions are answered. Default: the training tasks, or `task` if it is not one of them."
    )
    split: str = setting(
        "test",
        "Questions to answer: those of the test set, or validation questions, by which a search may choose but which a paper must not report.",
        choices=("test", "validation"),
    )
    num_samples: int = setting(
        1, "Answers per question. Accuracy is avg@k, the mean over questions of the share of correct answers.", low=1, most=10_000
    )
    truncate_ratio: float | None = setting(
        None,
        "Enables mode truncate: one token budget per task, at which the base model's answers keep this share of their tokens on average.",
        above=0,
        high=1,
    )
    ratio: float | None = setting(
        None, "Ratio that mode compress requests with compression=tokenskip. Default: the smallest of its ratios.", above=0, high=1
    )
    latency: bool = setting(True, "Whether to measure seconds per question.")
    latency_questions: int = setting(32, "Number of questions that are timed, after a warm-up.", low=1)
    latency_passes: int = setting(3, "Number of passes over the timed set. Tables show the median and the quartiles.", low=1)
    latency_batch_size: int = setting(32, "Batch size of the batched latency. Latency at batch size 1 is always measured.", low=1)

    def contradictions(self) -> Iterator[str]:
        yield from Sampling.contradictions(self)
        if self.modes == []:
            yield f"modes must name at least one of {', '.join(MODES)}; got []"
        if self.modes and len(set(self.modes)) < len(self.modes):
            yield f"modes must not repeat; got {self.modes}"
        if self.tasks is not None and len(set(self.tasks)) < max(1, len(self.tasks)):
            yield f"tasks must name at least one task and must not repeat; got {self.tasks}"
        if self.num_samples > 1 and self.temperature == 0:
            yield f"num_samples must be 1 at temperature 0, at which all answers are equal; got {self.num_samples}"
        if self.truncate_ratio is not None and self.temperature > 0:
            yield f"truncate_ratio needs temperature 0, at which a smaller budget only cuts the answer; got temperature={self.temperature}"
