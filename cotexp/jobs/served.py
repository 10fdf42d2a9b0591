"""Texts that a server writes, as teacher or compressor: each is on disk when it arrives, and paid once."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from cotexp import credentials
from cotexp.jobs import progress
from cotexp.jobs.specs import Context, by_task, spec_rewrites, spec_texts
from cotexp.jobs.store import Row, Spec, complete_lines
from cotexp.methods import compression
from cotexp.model_settings import ApiCompressor, ApiTeacher
from cotexp.sections import ConfigError
from cotexp.settings import Settings

EVERYTHING = sys.maxsize
"""As a chunk: a server is asked for all texts at once, so that it never waits for the slowest of a few."""


def texts(context: Context, role: str, spec: Spec, prompts: Mapping[str, str], *, what: str) -> dict[str, Row]:
    """The stored texts for `prompts` by id; those that are missing are asked for, as many at once as the server takes.

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

        engine = ApiEngine(settings.server, role, paid=lambda: paid(context, role), keep_thinking=role == "teacher")
        engine.generate([Request(each, prompts[each]) for each in ids], settings, lambda output: emit(asdict(output)))

    with progress.bar(what, len(missing)) as advance:
        written = ledger.fill(missing, ask, chunk_size=len(missing), on_row=advance)
    return {each: written[each] if each in written else stored[each] for each in prompts}


def check_keys(settings: Settings) -> None:
    """Raises ConfigError when what a server that this run will ask needs from the environment is not there."""
    problems = []
    for role, section in _served(settings):
        for name, place in section.server.variables.items():
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


def paid(context: Context, role: str) -> float:
    """US dollars that the stored texts of one role have cost, in this run and in those that share its ledgers."""
    return sum(each["usage"].get("cost", 0.0) for each in _rows(context, role))


def metrics(context: Context) -> dict[str, float]:
    """What servers were asked for and paid, by role."""
    found: dict[str, float] = {}
    for role, _ in _served(context.settings):
        usages = [each["usage"] for each in _rows(context, role)]
        found |= {
            f"{role}/num_texts": len(usages),
            f"{role}/num_prompt_tokens": sum(each.get("prompt_tokens", 0) for each in usages),
            f"{role}/num_completion_tokens": sum(each.get("completion_tokens", 0) for each in usages),
            f"{role}/num_lowered_limits": sum("lowered_to" in each for each in usages),
            f"{role}/cost_dollars": sum(each.get("cost", 0.0) for each in usages),
        }
    return found


def _served(settings: Settings) -> Iterator[tuple[str, ApiTeacher | ApiCompressor]]:
    if isinstance(settings.teacher, ApiTeacher):
        yield "teacher", settings.teacher
    if isinstance(settings.compressor, ApiCompressor) and compression.needs_rounds(settings.compression):
        yield "compressor", settings.compressor


def _rows(context: Context, role: str) -> Iterator[Row]:
    """Every stored text of a role, those that two processes paid for included."""
    for task in by_task(context.training_questions):
        spec = spec_texts(context, task) if role == "teacher" else spec_rewrites(context, task)
        if spec is not None:
            for path in sorted(context.store.ledger(spec).folder.glob("rows-*.jsonl")):
                yield from complete_lines(path)[0]
