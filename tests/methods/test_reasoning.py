"""Thinking and answer part of a reasoning model's chain are cut, compressed and counted apart, and joined again."""

from __future__ import annotations

import pytest
import sample_records
from hypothesis import given
from hypothesis import strategies as st
from kept import keep
from sample_records import compressed, rewrite

from cotexp.compressions.macc import Macc
from cotexp.methods import mixture, reasoning
from cotexp.records import Rationale, Round

pieces = st.lists(
    st.sampled_from(["<think>", "</think>", "[THINK]", "</thought>", "assistantfinal", "a b", "\n", " ", "12", "Wait."]), max_size=12
).map("".join)


def count(text: str) -> int:
    return len(text.split())


def rationale(cot: str, closing: str = "The answer is 4.") -> Rationale:
    total, thinking = reasoning.lengths(cot, count)
    return sample_records.rationale(cot=cot, closing=closing, answer="4", num_cot_tokens=total, num_thinking_tokens=thinking)


def rounds_of(part: Rationale, *texts: str) -> list[Round]:
    return [rewrite(number, count(text), of=part.id, text=text, outcome="ok" if text else "empty") for number, text in enumerate(texts, 1)]


@given(pieces)
def test_the_parts_join_to_the_text(cot: str) -> None:
    parts = reasoning.Parts.of(cot)
    assert "".join(parts) == cot
    assert parts.thinking == parts.thinking.strip()
    assert parts.chain == parts.chain.strip()


@pytest.mark.parametrize(
    ("cot", "thinking", "chain"),
    [
        ("Add two and two.\n", "", "Add two and two."),
        ("Two and two. Wait, yes.\n</think>\n\nAdd them.\n", "Two and two. Wait, yes.", "Add them."),
        ("<think>\nTwo and two.\n</think>\n\nAdd them.\n", "Two and two.", "Add them."),
        ("<think>\nTwo.\n</think>\n\n", "Two.", ""),
        ("<think>\n\n</think>\n\nAdd them. ", "", "Add them."),
        ("one </think> two </think> three", "one </think> two", "three"),
    ],
)
def test_what_was_thought_ends_at_the_last_mark(cot: str, thinking: str, chain: str) -> None:
    parts = reasoning.Parts.of(cot)
    assert (parts.thinking, parts.chain) == (thinking, chain)
    assert reasoning.lengths(cot, count) == (count(thinking) + count(chain), count(thinking))


def test_a_plain_rationale_is_its_own_only_chain() -> None:
    plain = rationale("Add two and two.\n")
    assert reasoning.chains([plain]) == [plain]
    kept = compressed(text="2+2", num_tokens=1, num_tokens_original=4)
    assert reasoning.joined([plain], [kept]) == [kept]
    assert reasoning.joined([plain], []) == []


def test_both_parts_are_compressed_by_their_own_rounds_and_joined() -> None:
    original = rationale("<think>\nTwo and two is four. Wait, yes four.\n</think>\n\nWe add two and two.\n")
    thinking, chain = reasoning.chains([original])
    assert (thinking.id, chain.id) == ("q/0/thinking", "q/0")
    assert thinking.num_cot_tokens + chain.num_cot_tokens == original.num_cot_tokens == 13
    thoughts = rounds_of(thinking, "Two and two is four.", "2+2 is 4.", "2+2 is 4, yes, 4.")
    words = rounds_of(chain, "We add two and two now.")
    rule = Macc(max_rounds=4)
    kept = [keep(each, rounds, rule, deterministic=False) for each, rounds in ((thinking, thoughts), (chain, words))]
    assert [(each.kept_round, each.stop_reason) for each in kept if each] == [(2, "rebound"), (0, "rebound")]
    [joined] = reasoning.joined([original], [each for each in kept if each])
    assert joined.text == "<think>\n2+2 is 4.\n</think>\n\nWe add two and two."
    assert (joined.num_tokens, joined.num_tokens_original) == (3 + 5, 13)
    [example] = mixture.compressed_examples([original], [joined], {"q": "How many?"}, Macc())
    assert example.completion == "<think>\n2+2 is 4.\n</think>\n\nWe add two and two.\nThe answer is 4."


def test_a_rationale_without_one_of_its_parts_is_dropped_whole() -> None:
    original = rationale("Think.\n</think>\n\nAdd.\n")
    thinking, chain = reasoning.chains([original])
    kept = keep(chain, rounds_of(chain, "Add two"), Macc(max_rounds=1), deterministic=False)
    assert kept is not None
    assert keep(thinking, rounds_of(thinking, ""), Macc(max_rounds=1, failed_round="drop"), deterministic=False) is None
    assert reasoning.joined([original], [kept]) == []


def test_thinking_without_anything_behind_it_keeps_its_closing_sentence_in_place() -> None:
    original = rationale("Two and two is four.\n</think>\n\n", closing="\\boxed{4}")
    [thinking] = reasoning.chains([original])
    kept = keep(thinking, rounds_of(thinking, "2+2=4"), Macc(max_rounds=1), deterministic=False)
    assert kept is not None
    [joined] = reasoning.joined([original], [kept])
    [example] = mixture.compressed_examples([original], [joined], {"q": "How many?"}, Macc())
    assert example.completion == "2+2=4\n</think>\n\n\\boxed{4}"


def test_thinking_that_is_empty_is_no_part_of_what_is_compressed_and_stays_in_place() -> None:
    original = rationale("<think>\n\n</think>\n\nWe add two and two.\n")
    [chain] = reasoning.chains([original])
    assert (chain.id, chain.cot, chain.num_cot_tokens) == ("q/0", "We add two and two.", 5)
    kept = keep(chain, rounds_of(chain, "2+2"), Macc(max_rounds=1), deterministic=False)
    assert kept is not None
    [joined] = reasoning.joined([original], [kept])
    assert (joined.text, joined.num_tokens, joined.num_tokens_original) == ("<think>\n\n</think>\n\n2+2", 1, 5)


@pytest.mark.parametrize(("text", "rewrite"), [(" 2+2=4 ", "2+2=4"), ("<think>\nShorter?\n</think>\n\n2+2=4\n", "2+2=4"), ("Shorter.</think>", "")])
def test_what_a_compressor_thinks_is_no_part_of_its_rewrite(text: str, rewrite: str) -> None:
    assert reasoning.without_thinking(text) == rewrite


@pytest.mark.parametrize(
    ("cot", "thinking", "chain"),
    [
        ("<thinking>\nTwo.\n</thinking>\n\nAdd them.\n", "Two.", "Add them."),
        ("[THINK]Two.[/THINK]Add them.", "Two.", "Add them."),
        ("Sure!\n<think>Two.</think>Add them.", "Two.", "Add them."),
        ("<|channel|>analysis<|message|>Two.<|end|><|start|>assistant<|channel|>final<|message|>Add them.", "Two.", "Add them."),
        ("analysisTwo.assistantfinalAdd them.", "Two.", "Add them."),
        ("<think>One.</think> Two. <think>Three.</think> Add them.", "One.</think> Two. <think>Three.", "Add them."),
        ("<think>Two. Never ends", "", "<think>Two. Never ends"),
        ("No `<think>` here", "", "No `<think>` here"),
    ],
)
def test_the_marks_of_every_family_part_thinking_and_answer(cot: str, thinking: str, chain: str) -> None:
    parts = reasoning.Parts.of(cot)
    assert "".join(parts) == cot
    assert (parts.thinking, parts.chain) == (thinking, chain)
    assert [each.cot for each in reasoning.chains([rationale(cot)])] == [each for each in (thinking, chain) if each] if thinking else [cot]


def test_a_rewrite_is_what_a_compressor_says_behind_its_thinking() -> None:
    for text in ("2+2=4", " 2+2=4\n", "<think>Short.</think>\n2+2=4", "[THINK]Short.[/THINK]2+2=4", "a</think>b</think>2+2=4"):
        assert reasoning.without_thinking(text) == "2+2=4"
    assert (
        reasoning.without_thinking("<|channel|>analysis<|message|>Hm<|end|><|start|>assistant<|channel|>final<|message|>2+2=4<|return|>") == "2+2=4"
    )
    assert reasoning.without_thinking("<think>Short. Never ends") == ""
