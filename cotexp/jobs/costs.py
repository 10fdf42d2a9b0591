"""What the requests of a run to paid servers will come to, estimated before the first is sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from cotexp.methods.statistics import mean
from cotexp.records import Question
from cotexp.settings.server import ApiServer
from cotexp.stages.context import Context, by_task
from cotexp.store.specs import Spec
from cotexp.store.stored_files import Row

CHARACTERS_PER_TOKEN = 4
"""Usual for English text; the server's tokenizer is not known."""
VERBOSITY = 4
"""Tokens of a model's chain per token of a worked solution. So counted, GSM8K's solutions have 66 tokens and MATH's 138; published chains of
models have 213 to 315 and 503 (TokenSkip, tables 1 and 2).
"""


@dataclass(frozen=True, slots=True)
class ApiCost:
    """Calls that one stage still has to make, at most; tokens of one call on average; `dollars` for all of them."""

    stage: str
    server: ApiServer
    num_calls: int
    prompt_tokens: float
    written_tokens: float
    source: str

    @property
    def dollars(self) -> float:
        per_call = self.prompt_tokens * self.server.input_price + self.written_tokens * self.server.output_price
        return self.num_calls * per_call / 1e6

    def __str__(self) -> str:
        priced = bool(self.server.input_price or self.server.output_price)
        price = f"about {self.dollars:.2f} US dollars for all of them" if priced else "no price is set"
        return (
            f"{self.stage}: at most {self.num_calls:,} calls to {self.server.model} of {self.server.service}, about {self.prompt_tokens:.0f} prompt "
            f"and {self.written_tokens:.0f} written tokens each ({self.source}); {price}"
        )


def estimate(context: Context, missing: Iterable[tuple[str, Spec, int]]) -> Iterator[ApiCost]:
    """The cost of every (stage, spec, missing rows) that asks a server."""
    settings = context.settings
    for name, spec, count in missing:
        role = {"texts": settings.teacher, "rewrites": settings.compressor}.get(spec.stage)
        server: ApiServer | None = getattr(role, "server", None)
        if server is None or role is None or not count:
            continue
        questions = by_task(context.training_questions)[name.rpartition("/")[2]]
        prompt, written, source = _tokens(context, spec, questions, role.max_new_tokens)
        yield ApiCost(name, server, count, prompt, written, source)


def _tokens(context: Context, spec: Spec, questions: Sequence[Question], most: int) -> tuple[float, float, str]:
    """(prompt, written) tokens of a call, and where they are from: calls made before, worked solutions, or the settings' own limit."""
    usages = [row["usage"] for row in context.store.ledger(spec).read().values() if _is_counted(row)]
    if usages:
        return (
            mean([each["prompt_tokens"] for each in usages]),
            mean([each["completion_tokens"] for each in usages]),
            f"mean of {len(usages):,} made before",
        )
    solutions = [VERBOSITY * _num_tokens(each.references[0]) for each in questions if each.references]
    written = min(mean(solutions), most) if solutions else most
    prompt = mean([_num_tokens(context.prompt_for(each)) for each in questions])
    thinks = ""
    if spec.stage == "rewrites":
        thinks = "; of a model that thinks first each chain has two parts, with calls of their own: up to twice as many, and far longer"
        prompt = mean([_num_tokens(each.text) for each in questions]) + _num_tokens(context.settings.compression.prompt) + written
    of_what = f"{VERBOSITY} times the task's worked solutions" if solutions else "as long as max_new_tokens allows"
    return prompt, written, f"{of_what}, {CHARACTERS_PER_TOKEN} characters a token{thinks}"


def _is_counted(row: Row) -> bool:
    usage = row.get("usage") or {}
    return {"prompt_tokens", "completion_tokens"} <= usage.keys()


def _num_tokens(text: str) -> float:
    return len(text) / CHARACTERS_PER_TOKEN
