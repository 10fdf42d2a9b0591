"""Recorded rounds: chains that were compressed before, by whomever, as rows of the user's files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cotexp.compressors.base import Compressor, RecordedRounds, Rewritten
from cotexp.records import WITHOUT_TEXT, FinishReason, Question
from cotexp.settings.base import ConfigError, setting, shortened
from cotexp.tasks import fields
from cotexp.tasks.joined import OF_TEXT, Joined, JoinedFiles
from cotexp.tasks.rows import Row


@dataclass(slots=True, kw_only=True)
class RecordedCompressor(Compressor):
    """Chains that were compressed before are read from files, in one round or several; stop rules choose among them as among any rounds."""

    name: str = setting("recorded", "Name of the compressor.", choices=("recorded",))
    temperature: float = setting(
        0.7, "Sampling temperature of whoever wrote the rounds; at 0 an unchanged text ends them (compression.fixed_point).", low=0, high=5
    )
    files: list[str] = setting(
        [],
        "Files with a compressed chain per row, or with a list of its rounds (JSON, JSON Lines, CSV or Parquet); * matches any name, {task} is "
        "replaced by the task's; relative to the current folder or to a data folder; or data sets of the hub, hub:OWNER/NAME/CONFIG/SPLIT.",
        keyed=False,
        is_path=True,
    )
    text_field: str = setting("text", "Field with the compressed chain, or with a list of its rounds 1, 2, ...", keyed=False)
    round_field: str = setting("round", "Field with the number of the round, from 1 on; round 1 where a row lacks it.", keyed=False)
    sample_field: str = setting(
        "sample", "Field with the number of the question's rationale, from 0 on, that was compressed; 0 where a row lacks it.", keyed=False
    )
    finish_reason_field: str = setting(
        "finish_reason", "Field with the finish reason, or a list of them; complete texts where a row lacks it.", keyed=False
    )
    question_field: str = setting("question", "Field with the text of the question.", keyed=False)
    id_field: str = setting(
        "question_id", "Field with the id of the question or of the rationale: this project's, or that in questions_file.", keyed=False
    )
    questions_file: str | None = setting(
        None,
        "File with id_field and question_field for files whose rows know only the id; {task} is replaced by the task's name.",
        keyed=False,
        is_path=True,
    )

    def contradictions(self) -> Iterator[str]:
        yield from Compressor.contradictions(self)
        if not self.files:
            yield "files must name at least one file; got []"

    def read(self, task: str, questions: Sequence[Question], folders: Sequence[Path]) -> RecordedRounds:
        """Raises: ConfigError when a file is missing or malformed, no row belongs to a question, or rounds repeat or lack one before them."""
        files = JoinedFiles.of("compressor", self, task, questions, folders)
        found = _Found()
        for each in files.rows():
            _add(found, self, each)
        if not found.rounds:
            raise files.none_found(task, found.num_unmatched)
        if problem := _broken(found):
            raise ConfigError(f"compressor.files: {problem}")
        return RecordedRounds(
            {chain: [of_chain[number] for number in sorted(of_chain)] for chain, of_chain in found.rounds.items()},
            note=_note(found, task, [each.id for each in questions]),
        )


@dataclass(slots=True)
class _Found:
    """Chain id -> round -> its text. `repeated` are places of rows that give another text of a round that is there."""

    rounds: dict[str, dict[int, Rewritten]] = field(default_factory=dict)
    repeated: list[str] = field(default_factory=list)
    num_unmatched: int = 0


def _add(found: _Found, compressor: RecordedCompressor, joined: Joined) -> None:
    row = joined.row
    written, first = _written(compressor, row), _number(row, compressor.round_field, 1)
    found.num_unmatched += not joined.questions
    for question in joined.questions:
        chain = _chain(compressor, row, question)
        for number, each in enumerate(written, first):
            before = found.rounds.setdefault(chain, {}).setdefault(number, each)
            if before != each:
                found.repeated.append(f"{row.place}: round {number} of {chain}")


def _written(compressor: RecordedCompressor, row: Row) -> list[Rewritten]:
    """The rounds of a row. A text that is empty or null is a failed round, as that of a compressor that wrote nothing."""
    name = compressor.text_field
    try:
        fields.find(row.fields, name)
        value = row.unpacked(name)
    except fields.NoField:
        raise ConfigError(*(f"{problem}; see compressor.text_field" for problem in _refused(row, name))) from None
    texts = value if isinstance(value, list) else [value]
    if wrong := [each for each in texts if each is not None and not isinstance(each, str)]:
        raise row.refusal(name, f"must be a text or a list of texts; got {shortened(wrong[0])}; see compressor.text_field")
    if not texts:
        raise row.refusal(name, "must not be an empty list; see compressor.text_field")
    return [Rewritten((text or "").strip(), reason) for text, reason in zip(texts, _reasons(compressor, row, len(texts)), strict=True)]


def _refused(row: Row, name: str) -> list[str]:
    try:
        row.value(name)
    except ConfigError as error:
        return error.problems
    raise AssertionError(f"{row.place} has {name}")


def _reasons(compressor: RecordedCompressor, row: Row, number: int) -> list[FinishReason]:
    """Those of other tools, or this project's own words for rounds without a text."""
    name = compressor.finish_reason_field
    own = row.get(name)
    return [own] if number == 1 and own in WITHOUT_TEXT else row.finish_reasons(name, number)


def _chain(compressor: RecordedCompressor, row: Row, question: str) -> str:
    """The id of the rationale that was compressed."""
    named = OF_TEXT.search(str(row.get(compressor.id_field) or "").removeprefix(question))
    return f"{question}{named[0] if named and named.start() == 0 else f'/{_number(row, compressor.sample_field, 0)}'}"


def _number(row: Row, name: str, least: int) -> int:
    """The number in a field, `least` if there is none. Raises: ConfigError for anything else, or a smaller one."""
    value: Any = row.get(name)
    if value is None or value == "":
        return least
    text = str(value).removesuffix(".0")
    if isinstance(value, bool) or not text.isdecimal() or int(text) < least:
        raise row.refusal(
            name, f"must be a whole number from {least} on; got {shortened(value)}; see compressor.{'round' if least else 'sample'}_field"
        )
    return int(text)


def _broken(found: _Found) -> str:
    """Rounds that contradict each other or lack one before them, with their number; empty if there are none."""
    repeated, gaps = found.repeated, [chain for chain, rounds in found.rounds.items() if max(rounds) > len(rounds)]
    problems = []
    if repeated:
        problems.append(f"{len(repeated)} rows repeat a round with another text (the first: {repeated[0]})")
    if gaps:
        problems.append(f"{len(gaps)} chains lack a round before a later one (the first: {gaps[0]} has rounds {_list(found.rounds[gaps[0]])})")
    if uncounted := _lacks_first(found.rounds):
        problems.append(f"no row is of the first rationale of its question, number 0, but {uncounted} is a chain: rationales must be counted from 0")
    advice = "name the number of the round by compressor.round_field and that of the rationale by compressor.sample_field, or remove these rows"
    return f"{'; '.join(problems)}; {advice}" if problems else ""


def _lacks_first(chains: Iterable[str]) -> str:
    """The chain of a second rationale if no question has a chain of its first one; else empty."""
    second = ""
    for chain in chains:
        number = chain.removesuffix("/thinking").rpartition("/")[2]
        if number == "0":
            return ""
        second = second or chain * (number == "1")
    return second


def _list(numbers: Sequence[int] | dict[int, Rewritten]) -> str:
    return ", ".join(map(str, sorted(numbers)))


def _note(found: _Found, task: str, questions: Sequence[str]) -> str:
    """What the files have and lack, in one line."""
    of_questions = {OF_TEXT.sub("", chain) for chain in found.rounds}
    num_without = sum(each not in of_questions for each in questions)
    num_empty = sum(not each.text for rounds in found.rounds.values() for each in rounds.values())
    lengths = [len(rounds) for rounds in found.rounds.values()]
    parts = [
        f"compressor.files: {sum(lengths)} rounds of {len(lengths)} chains, at most {max(lengths)} of each",
        f"{num_without} of {len(questions)} training and validation questions of {task} have none and get no short form" * bool(num_without),
        f"{num_empty} texts are empty and count as failed rounds" * bool(num_empty),
        f"{found.num_unmatched} rows belong to no question and are not read" * bool(found.num_unmatched),
    ]
    return "; ".join(filter(None, parts))
