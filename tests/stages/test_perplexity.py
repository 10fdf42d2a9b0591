"""Likelihoods of a compressed training set: against an independent formula, read once, shared, and never a reason to stop."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
from made_rounds import NUM_ROUNDS, Made, compressed, context_of, slow_nll

from cotexp import flow
from cotexp.methods import reasoning
from cotexp.stages import perplexity


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(context_of(tmp_path, "scoring.max_batch_tokens=300"))


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
    metrics = perplexity.compression_metrics(made.context, made.chains, made.kept, found, made.rounds, num_dropped=0)
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
    metrics = perplexity.compression_metrics(made.context, made.chains, made.kept, found, made.rounds, num_dropped=0)
    assert metrics["compression/num_beyond_context"] == 1
    lines = perplexity.lines(made.chains, made.rounds, made.kept, found, {})
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
    """By what the compressor wrote, also where the stored text has lost the sentence that states the answer."""
    first, second = made.kept[:2]
    made.kept[1] = dataclasses.replace(second, text="Nothing is left of it.")
    run = list(made.rounds[first.rationale_id])
    run[first.kept_round - 1] = dataclasses.replace(run[first.kept_round - 1], answer_kept=False)
    made.rounds[first.rationale_id] = run
    metrics = perplexity.compression_metrics(made.context, made.chains, made.kept, {}, made.rounds, num_dropped=0)
    assert metrics["compression/answer_kept_ratio"] == pytest.approx(7 / 8)
    assert "compression/perplexity" not in metrics


def test_a_chain_that_stays_as_it_was_written_keeps_its_answer_whatever_it_says(made: Made) -> None:
    """Its closing sentence states the answer and comes back before training; the chain itself need not."""
    own = dataclasses.replace(made.chains[0], cot="Think of whales.")
    kept = dataclasses.replace(made.kept[0], rationale_id=own.id, text=own.cot, kept_round=0)
    metrics = perplexity.compression_metrics(made.context, [own], [kept], {}, {}, num_dropped=0)
    assert metrics["compression/answer_kept_ratio"] == 1
