"""When rounds end and which one is kept, on rounds written by hand."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kept import keep
from sample_records import rationale, rewrite

from cotexp.compressions.macc import Macc
from cotexp.compressions.none import NoCompression
from cotexp.compressions.reference import ReferenceRounds
from cotexp.compressions.rewriting import ToRewrite
from cotexp.compressions.single_round import SingleRound
from cotexp.compressions.truncate import Truncation
from cotexp.methods.rounds import Stop, outcome_of
from cotexp.records import Round


def rounds_of(*lengths: int) -> list[Round]:
    return [rewrite(number, length) for number, length in enumerate(lengths, 1)]


def verdict(original: int, rounds: Sequence[Round], rule: Macc | SingleRound, *, deterministic: bool = False) -> tuple[int, str] | None:
    stop = rule.decide(rationale(num_cot_tokens=original), rounds, deterministic=deterministic)
    return None if stop is None else (stop.kept_round, stop.reason)


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        ([90, 80, 81], (2, "rebound")),
        ([101], (0, "rebound")),
        ([100, 100, 99], None),
        ([100, 100, 101], (2, "rebound")),
        ([90, 80, 70, 60, 50], (5, "limit")),
        ([90, 80, 70, 60], None),
        ([90, 80, 70, 60, 61], (4, "rebound")),
        ([90, 80, 81, 20, 10], (2, "rebound")),
        ([90, 80, 70, 60, 50, 40, 99], (5, "limit")),
        ([], None),
    ],
)
def test_a_strictly_longer_round_ends_the_rounds_and_is_not_kept(lengths: list[int], expected: tuple[int, str] | None) -> None:
    assert verdict(100, rounds_of(*lengths), Macc(max_rounds=5)) == expected


@pytest.mark.parametrize("outcome", ["empty", "length", "refused"])
@pytest.mark.parametrize("stop", ["rebound", "answer_kept", "fixed_k", "min_tokens"])
def test_a_failed_round_ends_the_rounds_and_the_one_before_is_kept(outcome: str, stop: str) -> None:
    rule = Macc(stop=stop, fixed_k=4 if stop == "fixed_k" else None, min_tokens=1 if stop == "min_tokens" else None)
    assert verdict(100, [*rounds_of(90, 80), rewrite(3, 0, text="", outcome=outcome, answer_kept=False)], rule) == (2, "failed")
    assert verdict(100, [rewrite(1, 500, outcome=outcome)], rule) == (0, "failed")


def test_a_failed_round_under_patience_keeps_the_shortest_so_far() -> None:
    rule = Macc(stop="patience", patience=3)
    assert verdict(100, [*rounds_of(50, 60), rewrite(3, 1, outcome="length")], rule) == (1, "failed")


def unchanged_third() -> list[Round]:
    return [rewrite(1, 90, text="a"), rewrite(2, 80, text="b"), rewrite(3, 80, text="b")]


@pytest.mark.parametrize(
    ("setting", "deterministic", "expected"),
    [
        ("auto", True, (2, "fixed_point")),
        ("auto", False, None),
        ("stop", True, (2, "fixed_point")),
        ("stop", False, (2, "fixed_point")),
        ("continue", True, None),
        ("continue", False, None),
    ],
)
def test_an_unchanged_text_ends_the_rounds_only_where_it_would_come_again(
    setting: str, deterministic: bool, expected: tuple[int, str] | None
) -> None:
    assert verdict(100, unchanged_third(), Macc(fixed_point=setting), deterministic=deterministic) == expected


def test_a_first_round_that_equals_the_original_is_a_fixed_point() -> None:
    same = rewrite(1, 100, text="the original chain")
    assert verdict(100, [same], Macc(), deterministic=True) == (0, "fixed_point")
    assert verdict(100, [rewrite(1, 100, text="another of equal length")], Macc(), deterministic=True) is None


def test_a_single_round_is_kept_whatever_its_length() -> None:
    assert verdict(100, rounds_of(150, 10), SingleRound()) == (1, "fixed_k")
    assert verdict(100, rounds_of(100), SingleRound(), deterministic=True) == (1, "fixed_k")
    assert verdict(100, [], SingleRound()) is None
    assert verdict(100, [rewrite(1, 50, outcome="length")], SingleRound()) == (0, "failed")


def test_a_fixed_number_of_rounds_ignores_rebounds() -> None:
    rule = Macc(stop="fixed_k", fixed_k=3)
    assert verdict(100, rounds_of(150, 40, 60, 20), rule) == (3, "fixed_k")
    assert verdict(100, rounds_of(150, 40), rule) is None


def test_patience_waits_for_a_new_shortest_text_and_keeps_the_shortest() -> None:
    two = Macc(stop="patience", patience=2)
    assert verdict(100, rounds_of(90, 95), two) is None
    assert verdict(100, rounds_of(90, 95, 90), two) == (1, "patience")
    assert verdict(100, rounds_of(90, 95, 80, 85), two) is None
    assert verdict(100, rounds_of(90, 95, 80, 85, 81), two) == (3, "patience")
    assert verdict(100, rounds_of(110, 120), two) == (0, "patience")
    assert verdict(100, rounds_of(110), Macc(stop="patience", patience=1)) == (0, "patience")
    assert verdict(100, rounds_of(90, 95, 80, 85), Macc(stop="patience", patience=9, max_rounds=4)) == (3, "limit")


def test_a_text_below_min_tokens_is_not_kept() -> None:
    rule = Macc(stop="min_tokens", min_tokens=50)
    assert verdict(100, rounds_of(80, 50), rule) is None
    assert verdict(100, rounds_of(80, 50, 49), rule) == (2, "min_tokens")
    assert verdict(100, rounds_of(80, 81), rule) == (1, "rebound")


def test_a_round_that_loses_the_answer_is_not_kept_under_answer_kept() -> None:
    rounds = [rewrite(1, 90), rewrite(2, 80, answer_kept=False), rewrite(3, 70)]
    assert verdict(100, rounds, Macc(stop="answer_kept")) == (1, "answer_lost")
    assert verdict(100, rounds, Macc(max_rounds=3)) == (3, "limit"), "the paper's rule has no such gate"
    assert verdict(100, [rewrite(1, 101, answer_kept=True)], Macc(stop="answer_kept")) == (0, "rebound")


def test_what_is_kept_carries_text_lengths_and_the_rounds_that_were_needed() -> None:
    result = keep(rationale(num_cot_tokens=100), rounds_of(90, 80, 81, 5), Macc(), deterministic=False)
    assert result is not None
    assert (result.rationale_id, result.text, result.kept_round, result.num_tokens) == ("q/0", "round 2", 2, 80)
    assert (result.num_tokens_original, result.stop_reason, result.num_rounds_run) == (100, "rebound", 3)


def test_the_original_is_kept_without_its_trailing_space() -> None:
    result = keep(rationale(num_cot_tokens=100), rounds_of(101), Macc(), deterministic=False)
    assert result is not None
    assert (result.text, result.num_tokens, result.kept_round) == ("the original chain", 100, 0)


@pytest.mark.parametrize("rule", [Macc(failed_round="drop"), SingleRound(failed_round="drop")], ids=["macc", "single_round"])
def test_a_failed_round_drops_the_sample_where_the_setting_says_so(rule: Macc | SingleRound) -> None:
    failed = rewrite(1, 0, text="", outcome="empty")
    assert keep(rationale(num_cot_tokens=100), [failed], rule, deterministic=False) is None
    kept = keep(rationale(num_cot_tokens=100), [failed], type(rule)(), deterministic=False)
    assert kept is not None
    assert (kept.kept_round, kept.stop_reason, kept.num_rounds_run) == (0, "failed", 1)


def slow_rebound(original: int, lengths: Sequence[int], failed: Sequence[bool], max_rounds: int) -> Stop | None:
    """The paper's rule told as a walk: carry the current text, look at the next one, stop or take it over."""
    carried, carried_length = 0, original
    for number in range(1, max_rounds + 1):
        if number > len(lengths):
            return None
        if failed[number - 1]:
            return Stop(carried, "failed")
        if lengths[number - 1] > carried_length:
            return Stop(carried, "rebound")
        carried, carried_length = number, lengths[number - 1]
    return Stop(carried, "limit")


ROUNDS = st.lists(st.tuples(st.integers(1, 12), st.sampled_from([False] * 9 + [True])), max_size=8)


@given(st.integers(1, 12), ROUNDS, st.integers(1, 8))
def test_the_rebound_rule_agrees_with_a_slow_walk(original: int, drawn: list[tuple[int, bool]], max_rounds: int) -> None:
    rounds = [rewrite(n, length, outcome="empty" if failed else "ok") for n, (length, failed) in enumerate(drawn, 1)]
    expected = slow_rebound(original, [length for length, _ in drawn], [failed for _, failed in drawn], max_rounds)
    assert Macc(max_rounds=max_rounds).decide(rationale(num_cot_tokens=original), rounds, deterministic=False) == expected


RULES = st.sampled_from(
    [
        Macc(max_rounds=4),
        Macc(stop="fixed_k", fixed_k=2),
        Macc(stop="patience", patience=2, max_rounds=5),
        Macc(stop="min_tokens", min_tokens=6),
        Macc(stop="answer_kept"),
        SingleRound(),
    ]
)


@given(st.integers(1, 12), st.lists(st.tuples(st.integers(1, 12), st.booleans()), min_size=1, max_size=8), RULES, st.booleans())
def test_a_decision_never_changes_when_later_rounds_appear(
    original: int, drawn: list[tuple[int, bool]], rule: Macc | SingleRound, deterministic: bool
) -> None:
    rounds = [rewrite(n, length, text=f"{length}", answer_kept=kept) for n, (length, kept) in enumerate(drawn, 1)]
    decisions = [rule.decide(rationale(num_cot_tokens=original), rounds[:n], deterministic=deterministic) for n in range(len(rounds) + 1)]
    assert decisions[0] is None
    first = next((each for each in decisions if each is not None), None)
    assert all(each in (None, first) for each in decisions)
    assert decisions[-1] == first
    if first is not None:
        needed = next(n for n, each in enumerate(decisions) if each is not None)
        assert first.kept_round <= needed
        result = keep(rationale(num_cot_tokens=original), rounds, rule, deterministic=deterministic)
        assert result is not None
        assert result.num_rounds_run == needed


def test_the_prompt_of_a_round_holds_question_text_and_answer() -> None:
    text = Macc(prompt="Q {question} R {rationale} A {answer}").rewrite_prompt(ToRewrite("{how}", "", "3 {+} 4", "7", 1, 3, 3))
    assert text == "Q {how} R 3 {+} 4 A 7"


class Words:
    """A tokenizer of words, as far as truncation asks it."""

    def cut(self, text: str, num_tokens: int) -> str:
        return " ".join(text.split()[:num_tokens])


def test_truncation_keeps_a_share_of_the_tokens() -> None:
    result = keep(rationale(num_cot_tokens=10, cot="a b c d e f g h i j \n"), [], Truncation(ratio=0.3), encoder=Words)
    assert result is not None
    assert (result.text, result.num_tokens, result.num_tokens_original, result.num_rounds_run) == ("a b c", 3, 10, 0)


def test_only_rewriting_asks_a_compressor() -> None:
    assert [each.asks_compressor for each in (Macc(), SingleRound())] == [True, True]
    assert [each.asks_compressor for each in (Truncation(), NoCompression(), ReferenceRounds())] == [False] * 3


@pytest.mark.parametrize(
    ("text", "finish_reason", "outcome"),
    [
        ("2 + 3 = 5.", "stop", "ok"),
        ("2 + 3", "length", "length"),
        ("", "stop", "empty"),
        ("I'm sorry, but I cannot do that.", "stop", "refused"),
        ("I can't help with this request.", "stop", "refused"),
        ("I can't tell how many she had, so call it x.", "stop", "ok"),
    ],
)
def test_cut_off_empty_and_refused_rewrites_are_failed_rounds(text: str, finish_reason: str, outcome: str) -> None:
    assert outcome_of(text, finish_reason) == outcome
