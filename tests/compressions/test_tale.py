"""The search of a budget for each question, by hand; and budgets in the prompt of any compression in rounds."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from kept import keep
from sample_records import rationale, rewrite

from cotexp.compressions.macc import Macc
from cotexp.compressions.rewriting import Rewriting, ToRewrite
from cotexp.compressions.tale import Tale
from cotexp.config.command_line import check_command_line
from cotexp.records import Question, Round
from cotexp.settings.base import ConfigError, RunFailed, keyed
from cotexp.stages.rounds import check_thinking

CHAIN = rationale(cot="as written", num_cot_tokens=92)


def to_rewrite(number: int, num_tokens: int = 92) -> ToRewrite:
    return ToRewrite("How many?", "How many? Think.", "She has 2.", "7", number, num_tokens, 92)


def rounds(*lengths: int, lost: tuple[int, ...] = (), failed: tuple[int, ...] = ()) -> list[Round]:
    outcomes = {number: {"outcome": "length"} for number in failed}
    return [rewrite(number, length, answer_kept=number not in lost, **outcomes.get(number, {})) for number, length in enumerate(lengths, 1)]


@pytest.mark.parametrize(("number", "budget"), [(1, 46), (2, 23), (3, 11), (4, 5), (5, 2), (6, 1)])
def test_each_round_asks_the_question_again_with_half_the_budget_whatever_was_written_before(number: int, budget: int) -> None:
    expected = f"How many? Think.\nLet's think step by step and use less than {budget} tokens:"
    assert Tale(max_rounds=10).rewrite_prompt(to_rewrite(number, num_tokens=80)) == expected


@pytest.mark.parametrize(
    ("lengths", "lost", "failed", "kept", "reason"),
    [
        ((40, 30, 35), (), (), 2, "rebound"),
        ((40, 30, 30), (), (), 2, "rebound"),
        ((40, 30, 20), (3,), (), 2, "answer_lost"),
        ((40,), (1,), (), 0, "answer_lost"),
        ((120,), (), (), 0, "rebound"),
        ((92,), (), (), 0, "rebound"),
        ((40, 9), (), (2,), 1, "failed"),
        ((40, 30, 20, 10, 9, 8), (), (), 6, "limit"),
    ],
)
def test_the_last_answer_that_is_right_and_shorter_than_the_one_before_is_kept(
    lengths: tuple[int, ...], lost: tuple[int, ...], failed: tuple[int, ...], kept: int, reason: str
) -> None:
    """After six halvings of 92 the budget is 1, and the next one would be 0."""
    result = keep(CHAIN, rounds(*lengths, lost=lost, failed=failed), Tale(max_rounds=10))
    assert result is not None
    assert (result.kept_round, result.stop_reason, result.num_rounds_run) == (kept, reason, len(lengths))


def test_the_search_goes_on_until_something_ends_it_and_not_past_its_limit() -> None:
    assert Tale(max_rounds=10).decide(CHAIN, rounds(40, 30), deterministic=True) is None
    assert Tale(max_rounds=2).decide(CHAIN, rounds(40, 30), deterministic=True) == (
        stop := Tale(max_rounds=2).decide(CHAIN, rounds(40, 30), deterministic=False)
    )
    assert stop is not None
    assert (stop.kept_round, stop.reason) == (2, "limit")


def test_nothing_is_searched_for_a_chain_whose_answer_is_wrong_or_that_has_one_token() -> None:
    wrong = keep(rationale(cot="as written", correct=False), [], Tale(max_rounds=10))
    short = keep(rationale(cot="12", num_cot_tokens=1), [], Tale(max_rounds=10))
    assert wrong is not None
    assert short is not None
    assert (wrong.text, wrong.num_rounds_run, wrong.stop_reason) == ("as written", 0, "answer_lost")
    assert (short.text, short.num_rounds_run, short.stop_reason) == ("12", 0, "limit")


@pytest.mark.parametrize(
    ("written", "chain"),
    [
        ("2 + 5 = 7\nThe answer is \\boxed{7}.", "2 + 5 = 7"),
        ("2 + 5 = 7", "2 + 5 = 7"),
        ("The answer is \\boxed{7}.", ""),
        ("So 7 remain.\n#### 7", "So 7 remain."),
        ("", ""),
    ],
)
def test_the_chain_of_an_answer_or_rewrite_is_what_comes_before_its_closing_sentence(written: str, chain: str) -> None:
    question = Question(id="q", text="How many?", answer="7", task="sums")
    assert Tale(max_rounds=1).chain_in(written, question) == chain
    assert Rewriting().chain_in(written, question) == chain


def test_thinking_is_not_replaced_by_the_answer_after_a_new_one() -> None:
    chains = [rationale(id="q/0/thinking"), rationale(id="q/0"), rationale(id="r/0")]
    context: Any = SimpleNamespace(settings=SimpleNamespace(compression=Tale()))
    check_thinking(context, chains[1:])
    with pytest.raises(RunFailed, match=r"^compression=tale answers questions anew, and cannot replace thinking: 1 of the 3 chains are the thinking"):
        check_thinking(context, chains)
    check_thinking(SimpleNamespace(settings=SimpleNamespace(compression=Macc())), chains)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["compression=tale", "compressor=tiny"], r"^compressor must be 'self' with compression=tale"),
        (["compression=tale", "model=scratch", "teacher=reference"], r"^compression must not be 'tale' with a model made from scratch"),
        (
            ["compression=tale", "model=scratch", "teacher=reference", "compressor=tiny"],
            r"^compression must not be 'tale' with a model made from scr",
        ),
        (["compression=tale", "compression.prompt_answer=gold"], r"^compression\.prompt_answer is not read with compression=tale"),
        (["compression=tale", "compression.prompt=Be brief."], r"compression\.prompt must contain \{budget\}"),
        (["compression=tale", "compression.budget_ratio=null"], r"compression\.budget_ratio must be a number, TALE's is 0\.5; got None"),
        (["compression=tale", "compression.budget_ratio=1"], r"compression\.budget_ratio "),
        (["compression=macc", "compression.budget_ratio=0.5"], r"compression\.prompt must contain \{budget\}"),
        (["compression=macc", "compression.prompt='{rationale} in {budget}'"], r"compression\.budget_ratio must be set"),
        (["compression=macc_budget", "compression.budget_ratio=null"], r"compression\.budget_ratio must be set"),
        (["compression=macc_budget", "compression.budget_ratio=0"], r"compression\.budget_ratio must be greater than 0"),
        (["compression=c3ot", "compression.budget_ratio=1.5"], r"compression\.budget_ratio "),
    ],
)
def test_a_budget_that_cannot_be_asked_for_is_refused_by_name(words: list[str], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        check_command_line(words, multirun=False)


@pytest.mark.parametrize(("num_tokens", "budget"), [(100, 80), (81, 64), (1, 1)])
def test_the_budget_of_a_round_is_a_share_of_the_round_before_and_at_least_one_token(num_tokens: int, budget: int) -> None:
    rule = Macc(prompt="{question} {rationale} {answer}: at most {budget}", budget_ratio=0.8)
    assert rule.rewrite_prompt(to_rewrite(2, num_tokens)) == f"How many? She has 2. 7: at most {budget}"


def test_rounds_without_a_budget_have_the_keys_that_they_had() -> None:
    assert Macc().decides_rounds == {"prompt": Macc().prompt, "prompt_answer": "model"}
    assert "budget_ratio" not in keyed(Macc())
    limited = Macc(prompt="{rationale} {budget}", budget_ratio=0.8)
    assert limited.decides_rounds == {"prompt": "{rationale} {budget}", "prompt_answer": "model", "budget_ratio": 0.8}
    assert keyed(limited)["budget_ratio"] == 0.8
