"""Examples of compression, round by round, or before and after where tokens were cut."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import orjson

from cotexp.jobs.store import read_json
from cotexp.methods import reasoning
from cotexp.records import Rationale, Round
from cotexp.report.stored import rows_of


@dataclass(frozen=True, slots=True)
class Shown:
    """One compressed chain of thought with all of its rounds; round 0 is the original. What was cut has one, which no rule ended."""

    question_id: str
    texts: list[str]
    num_tokens: list[int]
    kept_round: int
    stop_reason: str
    answer: str

    @property
    def is_cut(self) -> bool:
        return self.stop_reason in ("none", "protected")


def pick(folder: Path, count: int = 10) -> list[Shown]:
    """Up to `count` chains of a run: those with a rebound first, then those with the most rounds."""
    stages = read_json(folder / "stages.json")
    tasks = [name.removeprefix("rationales/") for name in stages if name.startswith("rationales/")]
    if not tasks:
        return []
    compressed = [orjson.loads(line) for line in (folder / "compressed.jsonl").read_bytes().splitlines()]
    compressed.sort(key=lambda each: (each["stop_reason"] != "rebound", -each["num_rounds_run"], each["rationale_id"]))
    rationales, rounds, grades = (
        {name: row for task in tasks if f"{stage}/{task}" in stages for name, row in rows_of(folder, f"{stage}/{task}").items()}
        for stage in ("rationales", "rounds", "grades/rationales")
    )
    shown = []
    for each in compressed[:count]:
        whole = each["rationale_id"].removesuffix(f"/{reasoning.THINKING}")
        grade = grades[whole]
        rationale = Rationale.from_row({**rationales[whole], "answer": grade["extracted"], "correct": grade["strict"]})
        original = next(chain for chain in reasoning.chains([rationale]) if chain.id == each["rationale_id"])
        run = [Round.from_row(rounds[f"{original.id}/{number}"]) for number in range(1, each["num_rounds_run"] + 1)]
        shown.append(
            Shown(
                question_id=original.question_id,
                texts=[original.cot.strip(), *([one.text for one in run] or [each["text"]])],
                num_tokens=each["round_num_tokens"] if run else [each["num_tokens_original"], each["num_tokens"]],
                kept_round=each["kept_round"],
                stop_reason=each["stop_reason"],
                answer=original.answer or "",
            )
        )
    return shown


def markdown(shown: list[Shown]) -> str:
    """The chains as Markdown; model text stands in code blocks and is never interpreted."""
    if not shown:
        return "This run has no compressed chains.\n"
    lines = ["# Compression" if shown[0].is_cut else "# Compression, round by round", ""]
    for each in shown:
        if each.is_cut:
            lines += [f"## {each.question_id}: {each.num_tokens[1]} of {each.num_tokens[0]} tokens", ""]
            lines += [line for text in each.texts for line in (*(f"    {line}" for line in text.splitlines() or [""]), "")]
            continue
        lines += [f"## {each.question_id}: ended by {each.stop_reason.replace('_', ' ')}, round {each.kept_round} kept", ""]
        for number, (text, tokens) in enumerate(zip(each.texts, each.num_tokens, strict=True)):
            mark = " (kept)" if number == each.kept_round else " (rejected)" if number > each.kept_round else ""
            lines += [f"Round {number}, {tokens} tokens{mark}:", "", *(f"    {line}" for line in text.splitlines() or [""]), ""]
    return "\n".join(lines)
