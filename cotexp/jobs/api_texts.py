"""Texts that a server writes, as teacher or compressor: each is on disk when it arrives, and paid once."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from cotexp import credentials, progress
from cotexp.records import WITHOUT_TEXT
from cotexp.settings.base import ConfigError
from cotexp.settings.root import Settings
from cotexp.settings.server import ApiServer
from cotexp.stages.context import Context
from cotexp.store.ledger_files import complete_lines
from cotexp.store.specs import Spec
from cotexp.store.stored_files import Row

EVERYTHING = sys.maxsize
"""As a chunk: a server is asked for all texts at once, so that it never waits for the slowest of a few."""


def texts(context: Context, role: str, spec: Spec, prompts: Mapping[str, str], *, of_role: Sequence[Spec], what: str) -> dict[str, Row]:
    """The stored texts for `prompts` by id; those that are missing are asked for, as many at once as the server takes.

    `of_role` are all ledgers of the role, whose costs count against its budget.

    Raises: RunFailed when the server can or may not write some of them; the others are stored then.
    """
    settings = getattr(context.settings, role)
    ledger = context.store.ledger(spec)
    stored = ledger.read()
    missing = [each for each in prompts if each not in stored]
    if not missing:
        return {each: stored[each] for each in prompts}

    def ask(ids: list[str], emit: Any) -> None:
        from cotexp.inference.api import ApiEngine
        from cotexp.inference.engine import Request

        engine = ApiEngine(settings.server, role, paid=lambda: paid(context, of_role), keep_thinking=role == "teacher")
        engine.generate([Request(each, prompts[each]) for each in ids], settings, lambda output: emit(asdict(output)))

    with progress.bar(what, len(missing)) as advance:
        written = ledger.fill(missing, ask, chunk_size=len(missing), on_row=advance)
    return {each: written[each] if each in written else stored[each] for each in prompts}


def check_keys(settings: Settings) -> None:
    """Raises ConfigError when what a server that this run will ask needs from the environment is not there."""
    problems = []
    for role, server in servers(settings):
        for name, place in server.variables.items():
            if credentials.environment_value(name):
                continue
            if place == "api_key_env":
                problems.append(
                    f"{role}.server.api_key_env must name an environment variable that holds the key; {name} is not set: export it, or set "
                    f"{role}.server.api_key_env=null for a server without keys"
                )
            else:
                problems.append(f"{role}.server.{place} must name environment variables that are set; {name} is not: export it")
    if problems:
        raise ConfigError(*problems)


def paid(context: Context, specs: Sequence[Spec]) -> float:
    """US dollars that the stored texts of one role have cost, in this run and in those that share its ledgers."""
    return float(sum(row["usage"].get("cost", 0.0) for row in _rows(context, specs)))


def metrics(context: Context, role: str, specs: Sequence[Spec]) -> dict[str, float]:
    """What a server was asked for and paid in one role; `specs` are all ledgers of the role."""
    usages = [row["usage"] for row in _rows(context, specs)]
    return {
        f"{role}/num_texts": len(usages),
        f"{role}/num_prompt_tokens": sum(usage.get("prompt_tokens", 0) for usage in usages),
        f"{role}/num_completion_tokens": sum(usage.get("completion_tokens", 0) for usage in usages),
        f"{role}/num_lowered_limits": sum("lowered_to" in usage for usage in usages),
        f"{role}/cost_dollars": sum(usage.get("cost", 0.0) for usage in usages),
    }


def used(context: Context, role: str, specs: Sequence[Spec], ids: Collection[str]) -> dict[str, float]:
    """Tokens and dollars of the texts that this run reads, by the server's account; those of other runs in the same ledgers do not count.

    What the server does not report, and dollars without a price, are left out.
    """
    found = [row for spec in specs for name, row in context.store.ledger(spec).read(frozenset(ids)).items() if name in ids]
    usages = [row["usage"] for row in found if row["finish_reason"] not in WITHOUT_TEXT or "prompt_tokens" in row["usage"]]
    names = {"num_tokens_in": "prompt_tokens", "num_tokens_out": "completion_tokens"}
    tokens = {f"{role}/{name}": sum(each[key] for each in usages) for name, key in names.items() if all(key in each for each in usages)}
    dollars = sum(row["usage"].get("cost", 0.0) for row in found)
    return tokens | ({f"{role}/dollars": dollars} if dollars else {})


def servers(settings: Settings) -> Iterator[tuple[str, ApiServer]]:
    """The roles that a server has in a run, with its settings."""
    if settings.teacher.server is not None:
        yield "teacher", settings.teacher.server
    if settings.compressor.server is not None and settings.compression.asks_compressor:
        yield "compressor", settings.compressor.server


def _rows(context: Context, specs: Sequence[Spec]) -> Iterator[Row]:
    """Every stored text, those that two processes paid for included."""
    for spec in specs:
        for path in sorted(context.store.ledger(spec).folder.glob("rows-*.jsonl")):
            yield from complete_lines(path)
