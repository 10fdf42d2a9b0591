"""Which text of a chain the rule of its run would have kept, had the rounds ended earlier."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path

from cotexp.compressions import compression_of
from cotexp.compressions.rewriting import Rewriting
from cotexp.records import Rationale, Round
from cotexp.report.stored import stage_rows
from cotexp.settings.base import ConfigError
from cotexp.store.stored_files import Row, settings_of, stages_of

_CHAIN = Rationale(id="", question_id="", sample=0, cot="", closing="", answer="", correct=True, num_tokens=0, num_cot_tokens=0, finish_reason="stop")
_ROUND = Round(
    id="",
    rationale_id="",
    round=0,
    text="",
    num_tokens=0,
    tokenizer="",
    prompt_hash="",
    previous_text_hash="",
    finish_reason="stop",
    outcome="ok",
    answer_kept=True,
)
"""Without what no rule reads where the rounds of a chain are all there are: it compares lengths, and asks for answers that are kept."""


def kept_rounds(folder: Path, rows: Sequence[Row]) -> list[list[int]]:
    """For each row of `compressed.jsonl`, the round that is kept if rounds end after round 0, 1, ... at the latest, up to the last of the row.

    The rule of the run in `folder` decides. Under a compression that is not installed, a chain keeps every round before the kept one. A rewrite
    that is no longer in the store counts as one that keeps its answer.
    """
    rule = _rule(folder) if any(row["round_num_tokens"][1:] for row in rows) else None
    if rule is None:
        return [[min(number, row["kept_round"]) for number in range(len(row["round_num_tokens"]))] for row in rows]
    found = [_of_chain(rule, row, lambda _: True) for row in rows]
    if found == [_of_chain(rule, row, lambda _: False) for row in rows]:
        return found  # the rule does not ask for answers, which only the store has
    stages = [name for name in stages_of(folder) if name.startswith("rounds/")]
    answers = {name: row["answer_kept"] for stage in stages for name, row in stage_rows(folder, stage).items()}
    return [_of_chain(rule, row, lambda name: answers.get(name, True)) for row in rows]


def _rule(folder: Path) -> Rewriting | None:
    """The compression of the run as it was set; None if it is no longer installed or no longer has these settings."""
    settings = settings_of(folder)
    kind = compression_of(settings)
    if not issubclass(kind, Rewriting):
        return None
    names = {each.name for each in fields(kind)}
    try:
        return kind(**{name: value for name, value in settings["compression"].items() if name in names})
    except ConfigError:
        return None


def _of_chain(rule: Rewriting, row: Row, answer_kept: Callable[[str], bool]) -> list[int]:
    """All rounds before the last of a row could be kept: the rule asked for another one after them."""
    name, (length, *lengths) = row.get("rationale_id", ""), row["round_num_tokens"]
    chain = replace(_CHAIN, id=name, num_tokens=length, num_cot_tokens=length)
    rounds = [replace(_ROUND, round=n, num_tokens=tokens, answer_kept=answer_kept(f"{name}/{n}")) for n, tokens in enumerate(lengths[:-1], 1)]
    kept = [rule.last(chain, rounds[:number]).kept_round for number in range(len(lengths))]
    return [*kept, min(row["kept_round"], len(lengths))]
