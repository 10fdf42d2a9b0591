"""The search space and the metrics of `cotexp search`, parsed from its arguments."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cotexp.settings.base import ConfigError
from cotexp.settings.evaluation import MODES
from cotexp.settings.root import Settings

_SEPARATORS = re.compile(r""",(?=(?:[^'"\[\]]|'[^']*'|"[^"]*"|\[[^\]]*\])*$)""")
"""Commas outside quotes and lists."""
KINDS = "KEY=A,B,C (choices), KEY=int:LOW,HIGH, KEY=float:LOW,HIGH or KEY=log:LOW,HIGH"


@dataclass(frozen=True, slots=True)
class Dimension:
    """One setting to vary: among `choices`, or between `low` and `high`."""

    path: str
    kind: str
    choices: tuple[str, ...] = ()
    low: float = 0
    high: float = 0

    @property
    def ends(self) -> tuple[str, ...]:
        """Values that the settings must accept: every choice, or both bounds."""
        return self.choices or (self.spelled(self.low), self.spelled(self.high))

    def spelled(self, value: Any) -> str:
        """A value as an override spells it."""
        return str(round(value)) if self.kind == "int" else f"{value:.6g}" if isinstance(value, float) else str(value)

    def suggest(self, trial: Any) -> str:
        """The value that Optuna tries next."""
        if self.choices:
            return str(trial.suggest_categorical(self.path, self.choices))
        if self.kind == "int":
            return self.spelled(trial.suggest_int(self.path, round(self.low), round(self.high)))
        return self.spelled(trial.suggest_float(self.path, self.low, self.high, log=self.kind == "log"))


def read_space(arguments: Sequence[str]) -> list[Dimension]:
    """The dimensions in `arguments`, in order. Raises: ConfigError with every argument that is no dimension, and every setting given twice."""
    problems, dimensions = [], []
    for argument in arguments:
        path, equals, value = argument.partition("=")
        try:
            if not (path and equals):
                raise ValueError("is not KEY=VALUES")
            dimensions.append(_dimension(path, value))
        except ValueError as error:
            problems.append(f"--space {argument}: {error}; write {KINDS}")
    paths = [dimension.path for dimension in dimensions]
    problems += [f"--space gives {path} twice; give all of its values at once" for path in sorted(set(paths)) if paths.count(path) > 1]
    if problems:
        raise ConfigError(*problems)
    return dimensions


def _dimension(path: str, value: str) -> Dimension:
    kind, colon, ends = value.partition(":")
    if not colon or kind not in ("int", "float", "log"):
        choices = tuple(part.strip() for part in _SEPARATORS.split(value))
        if len(set(choices)) < 2 or "" in choices:
            raise ValueError("needs two choices or more, all different")
        return Dimension(path, "choice", choices)
    try:
        low, high = map(int if kind == "int" else float, ends.split(","))
    except ValueError:
        raise ValueError(f"needs two {'integers' if kind == 'int' else 'numbers'} after {kind}:") from None
    if not low < high or not all(map(math.isfinite, (low, high))) or (kind == "log" and low <= 0):
        raise ValueError(f"needs LOW below HIGH{', both above 0' if kind == 'log' else ''}")
    return Dimension(path, kind, low=low, high=high)


@dataclass(frozen=True, slots=True)
class Metric:
    """A number of metrics.json to maximise or minimise."""

    name: str
    minimized: bool

    @property
    def direction(self) -> str:
        return "minimize" if self.minimized else "maximize"


SHORT = {"accuracy": "eval/{mode}/accuracy", "tokens": "eval/{mode}/num_tokens", "loss": "training/best_validation_loss"}
"""Short name -> name of the metric. The mode is the last evaluated one."""
SMALL_IS_GOOD = re.compile(
    r"seconds/.*|.*compression_ratio.*|.*timed_out|(.*[_/])?"
    r"(loss|tokens|seconds|hours|perplexity|cost|dollars|flops|unparsable|truncated|failed|dropped|empty|unread|flips)([_/].*)?"
)
"""Metrics of which small values are good, by the words of their names."""
DIRECTIONS = {"min": "minimize", "max": "maximize"}


def read_metric(word: str, settings: Settings, direction: str | None = None) -> Metric:
    """The metric of this name, or of NAME:min or NAME:max. `direction` is minimize or maximize; by default losses, lengths, times and costs are
    minimised.

    Raises: ConfigError for an unknown metric, or one that these settings do not measure.
    """
    word, _, own = word.partition(":")
    if own and (own not in DIRECTIONS or direction):
        raise ConfigError(f"the direction of metric {word} is {word}:min or {word}:max, or --minimize or --maximize; got {own}")
    direction = DIRECTIONS.get(own, direction)
    mode = next(mode for mode in reversed(MODES) if mode in settings.evaluation.modes)
    name = SHORT.get(word, word).format(mode=mode)
    if "/" not in name:
        raise ConfigError(f"a metric is {', '.join(SHORT)} or a name of metrics.json such as {SHORT['accuracy'].format(mode=mode)}; got {word!r}")
    if name.startswith("training/") and not settings.trains:
        raise ConfigError(
            f"metric {name} is measured by fine-tuning, which these settings do not include; choose accuracy, or another evaluation.modes"
        )
    small = bool(SMALL_IS_GOOD.fullmatch(name)) if direction is None else direction == "minimize"
    return Metric(name, small)
