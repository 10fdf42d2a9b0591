"""Prompts: the task's template, with or without worked examples before the question."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cotexp.records import Question
from cotexp.settings.base import ConfigError
from cotexp.tasks.hub import read_source
from cotexp.tasks.options_field import options_of
from cotexp.tasks.task import Task


@dataclass(frozen=True, slots=True)
class Prompt:
    """A template and the worked examples that come before each question, joined by blank lines. Call it with a question."""

    template: str
    shots: str = ""

    def __call__(self, question: Question) -> str:
        asked = _asked(self.template, question.text, question.options)
        return f"{self.shots}\n\n{asked}" if self.shots else asked

    @property
    def identity(self) -> dict[str, str]:
        """The identity of the prompt for keys: the template and a hash of the worked examples (empty without examples)."""
        return {"template": self.template, "shots": hashlib.sha256(self.shots.encode()).hexdigest()[:16] if self.shots else ""}


def prompt_of(task: Task, shots: Sequence[Question] = ()) -> Prompt:
    """The prompt of a task. `shots` are the questions that the draw set aside; a few_shot_file replaces them.

    Raises: ConfigError if there are fewer worked examples than task.few_shot, or a line of the file cannot be read.
    """
    if not task.few_shot:
        return Prompt(task.prompt)
    if task.few_shot_file:
        examples = _file_examples(task)
    else:
        examples = [(_asked(task.prompt, shot.text, shot.options), shot.references[0]) for shot in shots if shot.references]
    if len(examples) < task.few_shot:
        where = f"task.few_shot_file: {task.few_shot_file} has" if task.few_shot_file else f"the training questions of {task.name} give"
        raise ConfigError(
            f"{where} {len(examples)} worked examples, but task.few_shot asks for {task.few_shot}; "
            f"{'add lines to the file or lower task.few_shot' if task.few_shot_file else 'give task.few_shot_file=FILE with worked examples'}"
        )
    return Prompt(task.prompt, _joined(examples[: task.few_shot]))


def shown_options(options: Mapping[str, str]) -> str:
    """One line "(A) text" per option."""
    return "\n".join(f"({letter}) {text}" for letter, text in options.items())


def _asked(template: str, text: str, options: Mapping[str, str]) -> str:
    return template.format(question=text, options=shown_options(options))


def _joined(examples: Iterable[tuple[str, str]]) -> str:
    return "\n\n".join(f"{asked}\n{solution}" for asked, solution in examples)


def _file_examples(task: Task) -> list[tuple[str, str]]:
    """Rows with `question` and `solution`, and `options` if the prompt shows them."""
    rows = read_source(str(task.few_shot_file), "task.few_shot_file")
    has_options = "{options}" in task.prompt
    return [(_asked(task.prompt, row.text("question"), options_of(row, "options") if has_options else {}), row.text("solution")) for row in rows]
