"""Likelihoods of a compressed training set: against an independent formula, read once, shared, and never a reason to stop."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from cotexp import flow
from cotexp.config.command_line import check_command_line
from cotexp.jobs import pipeline
from cotexp.methods import reasoning
from cotexp.records import Compressed, Measured, Rationale, Round
from cotexp.stages import perplexity, rationales
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

    def rows(self) -> int:
        spec = perplexity.spec(self.context, "stories")
        assert spec is not None
        return sum(len(path.read_text().splitlines()) for path in self.context.store.ledger(spec).folder.glob("rows-*.jsonl"))


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(context_of(tmp_path, "scoring.max_batch_tokens=300"))


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


@pytest.mark.slow
def test_perplexities_of_the_embedded_model_equal_an_independent_formula(made: Made) -> None:
    found = made.measure()
    training = {each.id for each in made.context.questions.train}
    assert found.keys() == {each.id for each in made.chains if each.question_id in training}, "validation chains are not trained on"
    slow = {0: [0.0, 0], 1: [0.0, 0], 2: [0.0, 0]}
    for each in (chain for chain in made.chains if chain.id in found):
        for number, text in enumerate([each.cot.strip(), *(one.text for one in made.rounds[each.id])]):
            nll, count = slow_nll(made.context, each.question_id, text)
            slow[number][0] += nll
            slow[number][1] += count
            own = found[each.id].rounds[number]
            assert own is not None
            assert (own.nll, own.num_tokens) == (pytest.approx(nll, rel=1e-4, abs=1e-4), count)
        assert found[each.id].kept == found[each.id].rounds[NUM_ROUNDS]
    expected = {number: math.exp(nll / count) for number, (nll, count) in slow.items()}
    metrics = perplexity.compression_metrics(made.context, made.chains, made.kept, found, num_dropped=0)
    assert metrics["compression/original_perplexity"] == pytest.approx(expected[0], rel=1e-4)
    assert metrics["compression/perplexity_round_1"] == pytest.approx(expected[1], rel=1e-4)
    assert metrics["compression/perplexity_round_2"] == metrics["compression/perplexity"] == pytest.approx(expected[2], rel=1e-4)
    assert expected[1] > 1.5 * expected[0], "a text without its beginning surprises the model"


def test_texts_are_read_once_whatever_keeps_them(made: Made) -> None:
    made.measure()
    assert made.rows() == (NUM_ROUNDS + 1) * 6
    made.kept = [compressed(each, made.rounds[each.id][:1]) for each in made.chains]
    again = made.measure()
    assert made.rows() == (NUM_ROUNDS + 1) * 6, "another stop rule reads the same rows"
    assert all(each.kept == each.rounds[1] for each in again.values())
    with flow.looking(made.context) as look:
        assert made.measure() == again
    assert look.num_missing("perplexity") == 0


@pytest.mark.slow
def test_fewer_chains_are_a_part_of_more_and_none_can_be_asked_for(made: Made, tmp_path: Path) -> None:
    everything = made.measure()
    few = made.measure(context_of(tmp_path, "scoring.perplexity_chains=2"))
    assert len(few) == 2
    assert few.items() <= everything.items()
    off = context_of(tmp_path, "scoring.perplexity_chains=0")
    assert made.measure(off) == {}
    assert "perplexity/stories" not in flow.specs_of(off)
    assert "perplexity/stories" in flow.specs_of(made.context)


def test_what_cannot_be_read_is_left_out_and_counted(made: Made) -> None:
    """A rewrite without text, and a chain that is too long for the model's context."""
    empty, endless = made.chains[0], made.chains[1]
    made.rounds[empty.id][0] = dataclasses.replace(made.rounds[empty.id][0], text="", outcome="empty")
    made.kept[1] = dataclasses.replace(made.kept[1], text="She has 3. " * 2000)
    found = made.measure()
    assert found[empty.id].rounds[1] is None
    assert found[endless.id].kept.nll is None
    metrics = perplexity.compression_metrics(made.context, made.chains, made.kept, found, num_dropped=0)
    assert metrics["compression/num_beyond_context"] == 1
    lines = perplexity.lines(made.chains, made.rounds, made.kept, found)
    assert [line["round_nll"][1] is None for line in lines[:2]] == [True, False]
    assert len(lines[0]["round_num_tokens"]) == len(lines[0]["round_nll"]) == NUM_ROUNDS + 1


def test_the_answer_part_of_a_thinking_model_is_read_behind_its_thinking(made: Made) -> None:
    own = made.chains[0]
    thought = dataclasses.replace(own, cot=f"<think>\nAnn has 3.\n</think>\n\n{own.cot}", num_thinking_tokens=5)
    thinking, answer = reasoning.chains([thought])
    made.chains, made.rounds = [thinking, answer], {}
    made.kept = [
        dataclasses.replace(made.kept[0], rationale_id=each.id, text=each.cot.strip(), kept_round=0, num_rounds_run=0) for each in made.chains
    ]
    found = made.measure()
    nll, _ = slow_nll(made.context, own.question_id, own.cot.strip(), before="Ann has 3.\n</think>\n\n")
    assert found[answer.id].kept.nll == pytest.approx(nll, rel=1e-4, abs=1e-3)
    assert found[thinking.id].kept.nll == pytest.approx(slow_nll(made.context, own.question_id, "Ann has 3.")[0], rel=1e-4)


def test_the_share_of_answers_that_survive_is_over_all_kept_chains(made: Made) -> None:
    made.kept[0] = dataclasses.replace(made.kept[0], text="Nothing is left of it.")
    metrics = perplexity.compression_metrics(made.context, made.chains, made.kept, {}, num_dropped=0)
    assert metrics["compression/answer_kept_ratio"] == pytest.approx(7 / 8)
    assert "compression/perplexity" not in metrics
