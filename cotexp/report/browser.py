"""The examples of several runs that a page embeds for its reader to browse.

A sweep has far more texts than a page can hold: `choose` selects them, and a text that several runs share is embedded once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

from cotexp.report.differences import differences
from cotexp.report.run_examples import Example, ExampleKind, ExampleSource, ExampleText, sources
from cotexp.report.stored import unless_broken
from cotexp.store.stored_files import questions_of
from cotexp.visible import visible, visible_lines

MOST_OF_RUN = 60
"""Most examples of one kind from one run."""
MOST_OF_KIND = 600
"""Most examples of one kind from all runs of a page; `FEWEST_OF_RUN` has precedence."""
FEWEST_OF_RUN = 10
"""Examples of one kind that every run may show, however many runs there are."""
MOST_CHARACTERS = 3_000_000
"""Characters of all embedded texts together. Every run has an equal share; what it does not use goes to the runs after it."""
LONGEST_TEXT = 12_000
"""Characters of one text; the page states how many more there are."""


@dataclass(slots=True)
class Browser:
    """What a page embeds, ready for JSON: examples refer to runs, questions and texts by number.

    An example's `link` is the same in every page that shows it. A text is a string, or the pieces [change, text] of its difference to the text
    before it. `counts` says for every run and kind how many examples are shown, of how many there are. `keys` are the runs' keys.
    """

    runs: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    questions: list[dict[str, str | None]] = field(default_factory=list)
    texts: list[Any] = field(default_factory=list)
    examples: list[dict[str, Any]] = field(default_factory=list)
    counts: list[dict[ExampleKind, tuple[int, int]]] = field(default_factory=list)
    num_characters: int = 0
    places: dict[Any, int] = field(default_factory=dict)

    def embedded(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("runs", "questions", "texts", "examples", "counts")}

    def add(self, run: int, kind: ExampleKind, example: Example, questions: Mapping[str, Mapping[str, str]]) -> None:
        """Add an example of a run; `questions` maps the ids of its questions to their texts and gold answers."""
        known = questions.get(example.question_id, {})
        question = {
            "id": visible(example.question_id),
            "task": visible(example.task),
            "text": _shown(known.get("text")),
            "gold": _shown(known.get("answer")),
        }
        self.examples.append(
            {
                "id": visible(example.id),
                "link": link_of(self.keys[run], kind, example.id),
                "kind": kind,
                "run": run,
                "question": self._place(self.questions, tuple(question.values()), question),
                "outcome": example.outcome,
                "columns": [self._column(column) for column in example.columns],
            }
        )

    def _column(self, column: ExampleText) -> dict[str, Any]:
        text, previous = clipped(column.text), None if column.previous is None else clipped(column.previous)
        pieces = None if (text, previous) in self.places or previous is None else [list(difference) for difference in differences(previous, text)]
        place = self._place(self.texts, (text, previous), pieces or text)
        facts = [visible(fact) for fact in column.facts]
        fields = {"title": visible(column.title), "text": place, "facts": facts, "mode": column.mode, "outcome": column.outcome, "kept": column.kept}
        return {name: value for name, value in fields.items() if value not in ("", None)}

    def _place(self, among: list[Any], key: Any, entry: Any) -> int:
        """Index of `entry` in `among`; a new one is appended."""
        if key not in self.places:
            self.places[key] = len(among)
            among.append(entry)
            self.num_characters += sum(len(text) for text in key if text)
        return self.places[key]


def browse(runs: Mapping[Path, str]) -> Browser:
    """Examples of finished runs; `runs` maps their folders to their names."""
    browser = Browser()
    for number, (folder, label) in enumerate(runs.items()):
        browser.runs.append(visible(label))
        browser.keys.append(folder.name)
        browser.counts.append(_add(browser, number, folder, most_of_run(len(runs)), MOST_CHARACTERS * (number + 1) // len(runs)))
    return browser


def link_of(run_key: str, kind: ExampleKind, example_id: str) -> str:
    """The part of an address that names an example of a run."""
    return hashlib.sha256(f"{run_key} {kind} {example_id}".encode()).hexdigest()[:10]


def most_of_run(num_runs: int) -> int:
    """Examples of one kind that a page shows of each of its runs, unless their texts are too long."""
    return min(MOST_OF_RUN, max(FEWEST_OF_RUN, MOST_OF_KIND // num_runs))


def _add(browser: Browser, run: int, folder: Path, most: int, most_characters: int) -> dict[ExampleKind, tuple[int, int]]:
    """Add a run's examples, one of each kind in turn until there is no more room; at least one of each kind."""
    questions: dict[str, dict[str, str]] = unless_broken(folder, lambda folder: questions_of(folder)[1], dict)
    available: dict[ExampleKind, ExampleSource] = unless_broken(folder, sources, dict)
    waiting: dict[ExampleKind, Iterator[Example]] = {kind: iter(source.make(choose(source.groups, most))) for kind, source in available.items()}
    num_shown: dict[ExampleKind, int] = dict.fromkeys(waiting, 0)
    while waiting:
        for kind in list(waiting):
            has_room = not num_shown[kind] or browser.num_characters < most_characters
            example = next(waiting[kind], None) if has_room else None
            if example is None:
                del waiting[kind]
            else:
                browser.add(run, kind, example, questions)
                num_shown[kind] += 1
    return {kind: (num_shown[kind], len(source.groups)) for kind, source in available.items()}


def choose(groups: Mapping[str, Any], most: int) -> list[str]:
    """Up to `most` ids of `groups`, which maps each id to the group that it belongs to.

    Every second id follows an order that depends only on the ids, so that runs show the same questions. Between them, one id of each group is
    taken in turn, rare groups first, so that rare outcomes are shown as well.
    """
    order = sorted(groups, key=lambda name: hashlib.sha256(name.encode()).digest())
    members: dict[Any, list[str]] = {}
    for example_id in order:
        members.setdefault(groups[example_id], []).append(example_id)
    of_each_group = [example_id for rank in zip_longest(*sorted(members.values(), key=len)) for example_id in rank if example_id is not None]
    return list(dict.fromkeys(chain.from_iterable(zip(order, of_each_group, strict=True))))[:most]


def _shown(text: str | None) -> str | None:
    return None if text is None else visible_lines(text)


def clipped(text: str) -> str:
    """A text as the page shows it: at most LONGEST_TEXT characters, without characters that change or hide the text around it."""
    text = visible_lines(text)
    more = len(text) - LONGEST_TEXT
    return f"{text[:LONGEST_TEXT]} […] ({more:,} more characters)" if more > 0 else text


def explanation(num_runs: int) -> str:
    """A sentence for readers of the page: how many examples there are, and how they were chosen."""
    return (
        f"At most {most_of_run(max(num_runs, 1))} of each kind and run, {MOST_CHARACTERS:,} characters in all: every second one in an order that "
        "depends only on the question, so that runs show the same questions; between them one of each outcome in turn, rare ones first."
    )
