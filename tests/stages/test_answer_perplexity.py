"""Likelihoods of a chain's own answer after its rounds: against an independent formula, read once, shared, and never a reason to stop."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
import torch
from made_rounds import NUM_ROUNDS, Made, compressed, context_of
from transformers import AutoModelForCausalLM, AutoTokenizer

from cotexp import flow
from cotexp.methods import reasoning
from cotexp.methods.statistics import answer_perplexity_metrics
from cotexp.records import Likelihood, Measured
from cotexp.stages import answer_perplexity, perplexity, scores
from cotexp.stages.context import Context


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(context_of(tmp_path, "scoring.max_batch_tokens=300"))


def slow_answer(context: Context, question_id: str, answer: str, *before: str) -> tuple[float, int]:
    """Nats and tokens of an answer and the end of the sequence after the prompt and the pieces `before`, by transformers alone."""
    tokenizer = AutoTokenizer.from_pretrained(context.base.folder)
    model = AutoModelForCausalLM.from_pretrained(context.base.folder, dtype=torch.float32).eval()
    question = next(each for each in context.training_questions if each.id == question_id)
    chat = [{"role": "user", "content": context.prompt_for(question)}]
    prompt = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    pieces = [tokenizer(each, add_special_tokens=False)["input_ids"] for each in (prompt, *before, f" \\boxed{{{answer}}}.")]
    ids = [*(token for piece in pieces for token in piece), tokenizer.eos_token_id]
    first = sum(map(len, pieces[:-1]))
    with torch.no_grad():
        logprobs = torch.log_softmax(model(torch.tensor([ids])).logits[0].double(), dim=-1)
    return -sum(float(logprobs[place - 1, ids[place]]) for place in range(first, len(ids))), len(ids) - first


def values(likelihood: Likelihood | None) -> tuple[float | None, int]:
    assert likelihood is not None
    return pytest.approx(likelihood.nll, rel=1e-4, abs=1e-4), likelihood.num_tokens  # type: ignore[return-value]


def test_answers_after_texts_written_by_hand_are_as_likely_as_an_independent_formula_says(made: Made) -> None:
    """The answer is the chain's own, though the gold one is another; an empty text is no chain."""
    own, other = made.chains[0], made.chains[1]
    own.answer = "1234"
    texts = ["Dora has 12 figs.\nSo 12 + 5 = 17.", "12 + 5 = 17"]
    for round_, text in zip(made.rounds[own.id], texts, strict=True):
        round_.text = text
    made.kept[0] = compressed(own, made.rounds[own.id])
    made.kept[1] = dataclasses.replace(made.kept[1], text="")
    found = made.measure_answers()
    after = [slow_answer(made.context, own.question_id, "1234", text, "\nThe answer is") for text in (own.cot.strip(), *texts)]
    assert [values(each) for each in found[own.id].rounds] == after
    assert values(found[own.id].kept) == after[-1]
    assert values(found[own.id].alone) == slow_answer(made.context, own.question_id, "1234", "The answer is")
    assert found[other.id].kept == found[other.id].alone
    assert other.answer == next(each.answer for each in made.context.questions.train if each.id == other.question_id)


def test_the_gold_answer_after_a_chain_as_written_is_that_of_the_self_evaluation(made: Made, tmp_path: Path) -> None:
    """One definition: MoRSD's masked likelihood, where the chain's answer is the gold one."""
    found = made.measure_answers()
    scored = scores.score(context_of(tmp_path, "selection=morsd", "scoring.max_batch_tokens=300"), [each for each in made.chains if each.id in found])
    assert scored
    for name, score in scored.items():
        assert values(found[name].rounds[0]) == (score.answer_nll_masked, score.num_answer_tokens)
        assert values(found[name].alone) == (score.answer_nll, score.num_answer_tokens)


def test_answers_are_read_once_and_a_look_finds_them(made: Made, tmp_path: Path) -> None:
    first = made.measure_answers()
    assert made.rows(answer_perplexity) == (NUM_ROUNDS + 2) * 6
    made.kept = [compressed(each, made.rounds[each.id][:1]) for each in made.chains]
    again = made.measure_answers()
    assert made.rows(answer_perplexity) == (NUM_ROUNDS + 2) * 6, "another stop rule reads the same rows"
    assert all(each.kept == each.rounds[1] for each in again.values())
    assert [each.alone for each in again.values()] == [each.alone for each in first.values()]
    with flow.looking(made.context) as look:
        assert made.measure_answers() == again
    assert look.num_missing("answer_perplexity") == 0
    few = made.measure_answers(context_of(tmp_path, "scoring.perplexity_chains=2"))
    assert len(few) == 2
    assert few.items() <= again.items()


@pytest.mark.parametrize("off", ["scoring.answer_perplexity=false", "scoring.perplexity_chains=0"])
def test_nothing_is_read_if_it_is_switched_off(made: Made, tmp_path: Path, off: str) -> None:
    context = context_of(tmp_path, off)
    assert made.measure_answers(context) == {}
    assert "answer_perplexity/stories" not in flow.specs_of(context)
    assert "answer_perplexity/stories" in flow.specs_of(made.context)
    assert not list((tmp_path / "store").glob("answer_perplexity/*"))


def test_what_cannot_be_read_is_left_out_and_counted(made: Made) -> None:
    """A chain without a readable answer, a rewrite without text, and one that is too long for the model's context."""
    unread, empty, endless = made.chains[:3]
    unread.answer = None
    made.rounds[empty.id][0] = dataclasses.replace(made.rounds[empty.id][0], text="", outcome="empty")
    made.kept[2] = dataclasses.replace(made.kept[2], text="She has 3. " * 2000)
    found = made.measure_answers()
    assert unread.id not in found
    assert found[empty.id].rounds[1] is None
    assert found[endless.id].kept.nll is None
    lines = perplexity.lines(made.chains, made.rounds, made.kept, {}, found)
    assert "answer_nll" not in lines[0]
    assert [each is None for each in lines[1]["round_answer_nll"]] == [False, True, False]
    assert lines[2]["answer_nll"] is None
    assert lines[2]["answer_nll_alone"] > 0


def test_an_answer_follows_the_end_of_thinking_and_the_answer_part_follows_its_thinking(made: Made) -> None:
    own = made.chains[0]
    thought = dataclasses.replace(own, cot=f"<think>\nAnn has 3.\n</think>\n\n{own.cot}", num_thinking_tokens=5)
    thinking, answer = reasoning.chains([thought])
    made.chains, made.rounds = [thinking, answer], {}
    made.kept = [
        dataclasses.replace(made.kept[0], rationale_id=each.id, text=each.cot.strip(), kept_round=0, num_rounds_run=0) for each in made.chains
    ]
    found, gold = made.measure_answers(), str(own.answer)
    after_thinking = slow_answer(made.context, own.question_id, gold, "Ann has 3.", "\n</think>\n\nThe answer is")
    after_answer = slow_answer(made.context, own.question_id, gold, "Ann has 3.\n</think>\n\n", own.cot.strip(), "\nThe answer is")
    assert (values(found[thinking.id].kept), values(found[answer.id].kept)) == (after_thinking, after_answer)


def test_metrics_are_perplexities_of_answers_together_and_the_share_that_follows() -> None:
    """exp((1 + 3) / (2 + 2)) = e after the kept texts, exp((6 + 2) / 4) = exp(2) without any chain; one of the two texts helps."""

    def of(nll: float | None) -> Likelihood:
        return Likelihood(num_tokens=2, nll=nll)

    measured = [Measured(of(1.0), [of(0.5), of(1.0)], of(6.0)), Measured(of(3.0), [of(1.5), None], of(2.0))]
    found = answer_perplexity_metrics(measured)
    assert found == {
        "answer_perplexity": pytest.approx(math.e),
        "original_answer_perplexity": pytest.approx(math.exp(0.5)),
        "answer_perplexity_round_1": pytest.approx(math.exp(0.5)),
        "answer_perplexity_without_chain": pytest.approx(math.exp(2)),
        "answer_likelier_ratio": 0.5,
        "num_answer_perplexity_chains": 2,
        "num_answers_beyond_context": 0,
    }
    assert answer_perplexity_metrics([]) == {}
    assert "answer_likelier_ratio" not in answer_perplexity_metrics([Measured(of(None), [of(None)], of(1.0))])
