"""Chains with rounds that were made by hand, and the likelihoods of texts by transformers alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from cotexp.config.command_line import check_command_line
from cotexp.jobs import pipeline
from cotexp.records import Compressed, Measured, Rationale, Round
from cotexp.stages import answer_perplexity, perplexity, rationales
from cotexp.stages.context import Context

SMALL = ("experiment=none", "teacher=reference", "task.num_train=6", "task.num_validation=2", "task.num_test=2", "tracking=none")
NUM_ROUNDS = 2


def context_of(outputs: Path, *overrides: str) -> Context:
    return pipeline.make_context(check_command_line([*SMALL, f"paths.outputs={outputs}", *overrides], multirun=False)[0])


def rewritten(chain: Rationale, number: int) -> Round:
    """Round `number` of a chain: without its first words."""
    text = " ".join(chain.cot.split()[3 * number :])
    empty = {"num_tokens": len(text.split()), "tokenizer": "", "prompt_hash": "", "previous_text_hash": "", "finish_reason": "stop"}
    return Round(id=f"{chain.id}/{number}", rationale_id=chain.id, round=number, text=text, outcome="ok", answer_kept=True, **empty)  # type: ignore[arg-type]


def compressed(chain: Rationale, rounds: list[Round]) -> Compressed:
    lengths = {"num_tokens": rounds[-1].num_tokens, "num_tokens_original": chain.num_cot_tokens}
    return Compressed(rationale_id=chain.id, text=rounds[-1].text, kept_round=len(rounds), stop_reason="limit", num_rounds_run=len(rounds), **lengths)


class Made:
    """The task's own solutions as chains, two rounds of each, the last one kept."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.chains = rationales.make(context)
        self.rounds = {each.id: [rewritten(each, number) for number in range(1, NUM_ROUNDS + 1)] for each in self.chains}
        self.kept = [compressed(each, self.rounds[each.id]) for each in self.chains]

    def measure(self, context: Context | None = None) -> dict[str, Measured]:
        return perplexity.make(context or self.context, self.chains, self.rounds, self.kept)

    def measure_answers(self, context: Context | None = None) -> dict[str, Measured]:
        return answer_perplexity.make(context or self.context, self.chains, self.rounds, self.kept)

    def rows(self, stage: Any = perplexity) -> int:
        spec = stage.spec(self.context, "stories")
        return sum(len(path.read_text().splitlines()) for path in self.context.store.ledger(spec).folder.glob("rows-*.jsonl"))


def slow_nll(context: Context, question_id: str, text: str, before: str = "") -> tuple[float, int]:
    """Nats and tokens of a text, by transformers alone: whole logits in float64, one text at a time."""
    tokenizer = AutoTokenizer.from_pretrained(context.base.folder)
    model: Any = AutoModelForCausalLM.from_pretrained(context.base.folder, dtype=torch.float32).eval()
    question = next(each for each in context.training_questions if each.id == question_id)
    chat = [{"role": "user", "content": context.prompt_for(question)}]
    prompt = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    pieces = [tokenizer(each, add_special_tokens=False)["input_ids"] for each in (prompt, before, text)]
    ids = [token for each in pieces for token in each]
    with torch.no_grad():
        logprobs = torch.log_softmax(model(torch.tensor([ids])).logits[0].double(), dim=-1)
    first = len(ids) - len(pieces[-1])
    return -sum(float(logprobs[place - 1, ids[place]]) for place in range(first, len(ids))), len(ids) - first
