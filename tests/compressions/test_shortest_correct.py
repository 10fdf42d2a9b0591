"""The shortest of all rounds that keeps its answer is learnt from."""

from __future__ import annotations

import dataclasses

import pytest
from kept import keep
from sample_records import rationale, rewrite

from cotexp.compressions.shortest_correct import ShortestCorrect
from cotexp.records import Round

CHAIN = rationale(cot="as written", num_cot_tokens=100)


def rounds(*lengths: int, lost: tuple[int, ...] = ()) -> list[Round]:
    return [rewrite(number, length, answer_kept=number not in lost) for number, length in enumerate(lengths, 1)]


@pytest.mark.parametrize(
    ("lengths", "lost", "kept"),
    [
        ((90, 80, 85), (), 2),
        ((90, 80, 85), (2,), 3),
        ((90, 80, 80), (1,), 2),
        ((120, 95, 130), (), 2),
        ((120, 130, 140), (), 0),
        ((90, 80, 70), (1, 2, 3), 0),
    ],
)
def test_the_shortest_round_that_keeps_its_answer_is_kept_whatever_comes_after_it(lengths: tuple[int, ...], lost: tuple[int, ...], kept: int) -> None:
    result = keep(CHAIN, rounds(*lengths, lost=lost), ShortestCorrect(max_rounds=3))
    assert result is not None
    assert (result.kept_round, result.stop_reason, result.num_rounds_run) == (kept, "limit", 3)
    assert result.text == (f"round {kept}" if kept else "as written")


def test_rounds_go_on_to_the_limit_though_a_text_grows() -> None:
    rule = ShortestCorrect(max_rounds=3)
    assert [rule.decide(CHAIN, rounds(90, 95, 80)[:number], deterministic=False) is None for number in range(4)] == [True, True, True, False]


def test_a_failed_rewrite_and_a_fixed_point_end_the_rounds_early() -> None:
    failed = dataclasses.replace(rounds(0)[0], text="", outcome="empty")
    stopped = keep(CHAIN, [failed], ShortestCorrect(max_rounds=3))
    assert stopped is not None
    assert (stopped.kept_round, stopped.stop_reason) == (0, "failed")
    assert keep(CHAIN, [failed], ShortestCorrect(max_rounds=3, failed_round="drop")) is None
    same = [rounds(90)[0], dataclasses.replace(rounds(90)[0], id="q/0/2", round=2)]
    ended = keep(CHAIN, same, ShortestCorrect(max_rounds=3), deterministic=True)
    assert ended is not None
    assert (ended.kept_round, ended.stop_reason) == (1, "fixed_point")
