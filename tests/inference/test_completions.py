"""Every form in which servers write an answer, a thought, and a reason to end."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cotexp.inference import completions
from cotexp.inference.completions import Written, written


def said(message: Any, reason: Any = "stop", **changes: Any) -> Written:
    answer = written({"choices": [{"index": 0, "message": message, "finish_reason": reason}], **changes})
    assert answer is not None
    return answer


THOUGHT = [{"type": "thinking", "thinking": "2 + 2"}]
FORMS: dict[str, tuple[dict[str, Any], str, str]] = {
    "a text": ({"content": " Four. "}, " Four. ", ""),
    "nothing": ({"content": None}, "", ""),
    "no content at all": ({"role": "assistant"}, "", ""),
    "parts of OpenAI": ({"content": [{"type": "text", "text": "2 + 2 "}, {"type": "text", "text": "= 4"}]}, "2 + 2 = 4", ""),
    "output_text": ({"content": [{"type": "output_text", "text": "Four.", "annotations": []}]}, "Four.", ""),
    "parts that are texts": ({"content": ["Fo", "ur."]}, "Four.", ""),
    "one part, not in a list": ({"content": {"type": "text", "text": "Four."}}, "Four.", ""),
    "a part without a type": ({"content": [{"text": "Four."}]}, "Four.", ""),
    "a text in a text": ({"content": [{"type": "text", "text": {"value": "Four.", "annotations": []}}]}, "Four.", ""),
    "no parts": ({"content": []}, "", ""),
    "an empty part": ({"content": [{"type": "text", "text": ""}]}, "", ""),
    "parts of Anthropic": ({"content": [*THOUGHT, {"type": "text", "text": "Four."}]}, "Four.", "2 + 2"),
    "hidden thought of Anthropic": ({"content": [{"type": "redacted_thinking", "data": "x"}, {"type": "text", "text": "Four."}]}, "Four.", ""),
    "parts of Mistral": (
        {
            "content": [
                {"type": "thinking", "thinking": [{"type": "text", "text": "2 "}, {"type": "text", "text": "+ 2"}]},
                {"type": "text", "text": "4"},
            ]
        },
        "4",
        "2 + 2",
    ),
    "reasoning with a summary": (
        {"content": [{"type": "reasoning", "summary": [{"type": "summary_text", "text": "2 + 2"}]}, {"type": "output_text", "text": "4"}]},
        "4",
        "2 + 2",
    ),
    "reasoning with a content": ({"content": [{"type": "reasoning", "content": [{"type": "reasoning_text", "text": "2 + 2"}]}, "4"]}, "4", "2 + 2"),
    "reasoning as a text": ({"content": [{"type": "reasoning", "text": "2 + 2"}, {"type": "text", "text": "4"}]}, "4", "2 + 2"),
    "a part marked as thought": ({"content": [{"text": "2 + 2", "thought": True}, {"text": "4"}]}, "4", "2 + 2"),
    "reasoning_content": ({"content": "Four.", "reasoning_content": " 2 + 2 "}, "Four.", "2 + 2"),
    "reasoning": ({"content": "Four.", "reasoning": "2 + 2"}, "Four.", "2 + 2"),
    "reasoning_details": (
        {
            "content": "Four.",
            "reasoning": "2 + 2",
            "reasoning_details": [{"type": "reasoning.text", "text": "2 + 2"}, {"type": "reasoning.encrypted"}],
        },
        "Four.",
        "2 + 2",
    ),
    "thinking_blocks": ({"content": "Four.", "thinking_blocks": THOUGHT}, "Four.", "2 + 2"),
    "thinking": ({"content": "Four.", "thinking": "2 + 2"}, "Four.", "2 + 2"),
    "two names for one thought": ({"content": "Four.", "reasoning": "2 +\n2", "reasoning_content": "2 + 2"}, "Four.", "2 + 2"),
    "two thoughts": ({"content": "Four.", "reasoning": "2 + 2", "thinking": "So 4."}, "Four.", "2 + 2\n\nSo 4."),
    "a thought and its beginning": ({"content": "Four.", "reasoning": "2", "reasoning_content": "2 + 2"}, "Four.", "2 + 2"),
    "inline alone": ({"content": "<think>\n2 + 2\n</think>\n\nFour."}, "<think>\n2 + 2\n</think>\n\nFour.", ""),
    "inline and field": ({"content": "<think>\n2 + 2\n</think>\n\nFour.", "reasoning_content": "2 + 2"}, "Four.", "2 + 2"),
    "inline without its opening and field": ({"content": "2 + 2</think>Four.", "reasoning": "2 + 2"}, "Four.", "2 + 2"),
    "inline with other marks and field": ({"content": "[THINK]2 + 2[/THINK]Four.", "reasoning": "2 + 2"}, "Four.", "2 + 2"),
    "channels and field": (
        {"content": "<|channel|>analysis<|message|>2 + 2<|end|><|start|>assistant<|channel|>final<|message|>Four.", "reasoning": "2 + 2"},
        "Four.",
        "2 + 2",
    ),
    "rare marks and field": ({"content": "◁think▷2 + 2◁/think▷Four.", "reasoning": "2 + 2"}, "Four.", "2 + 2"),
    "inline and part": ({"content": [*THOUGHT, {"type": "text", "text": "<thinking>2 + 2</thinking> Four."}]}, "Four.", "2 + 2"),
    "inline without marks and field": ({"content": "2 + 2\n\nFour.", "reasoning": "2 + 2"}, "Four.", "2 + 2"),
    "inline cut off and field": ({"content": "<think>2 +", "reasoning": "2 +"}, "", "2 +"),
    "another thought inline": ({"content": "<think>So 4.</think>Four.", "reasoning": "2 + 2"}, "Four.", "2 + 2\n\nSo 4."),
    "a field with marks": ({"content": "Four.", "reasoning_content": "<think>\n2 + 2\n</think>"}, "Four.", "2 + 2"),
    "the thought is all there is": ({"content": "2 + 2 = 4", "reasoning": "2 + 2 = 4"}, "2 + 2 = 4", ""),
    "an answer that begins as the thought": ({"content": "2 + 2 is 4", "reasoning": "2 + 2"}, "2 + 2 is 4", "2 + 2"),
    "an answer about marks": ({"content": "It ends by </think>.", "reasoning": "2 + 2"}, "It ends by </think>.", "2 + 2"),
    "thought alone": ({"content": None, "reasoning": "2 + 2"}, "", "2 + 2"),
    "a field that is empty": ({"content": "Four.", "reasoning_content": "", "reasoning_details": []}, "Four.", ""),
    "a call with text": ({"content": "Four.", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}]}, "Four.", ""),
}


@pytest.mark.parametrize("name", FORMS)
def test_text_and_thought_are_read_in_every_form_and_each_counts_once(name: str) -> None:
    message, text, thinking = FORMS[name]
    answer = said(message)
    assert (answer.text, answer.thinking, answer.refusal) == (text, thinking, "")
    assert "{" not in answer.joined(keep_thinking=True)


def test_a_refusal_is_read_as_a_field_and_as_a_part() -> None:
    for message in ({"content": None, "refusal": "I will not."}, {"content": [{"type": "refusal", "refusal": "I will not."}]}):
        assert said(message).refusal == "I will not."


def test_parts_that_hold_no_text_are_counted() -> None:
    picture, call = {"type": "image_url", "image_url": {"url": "x"}}, {"type": "tool_use", "id": "1", "name": "f", "input": {"text": "no"}}
    answer = said({"content": [{"type": "text", "text": "Four."}, picture, call, None, 7]})
    assert (answer.text, answer.num_dropped) == ("Four.", 4)


def test_what_is_thought_stands_before_the_answer_in_one_form() -> None:
    answer = said({"content": "Four.", "reasoning": "2 + 2"})
    assert answer.joined(keep_thinking=True) == "<think>\n2 + 2\n</think>\n\nFour."
    assert answer.joined(keep_thinking=False) == "Four."


@pytest.mark.parametrize("completion", [{}, {"choices": None}, {"choices": []}, {"choices": [None]}, {"choices": ["x"]}, {"choices": [{}]}])
def test_without_a_choice_there_is_no_answer(completion: dict[str, Any]) -> None:
    assert written(completion) is None
    assert not completions.has_choice(completion)


@pytest.mark.parametrize("content", [7, True, 1.5])
def test_a_content_of_another_kind_is_no_answer(content: Any) -> None:
    completion = {"choices": [{"message": {"content": content}}]}
    assert written(completion) is None
    assert completions.has_choice(completion)


def test_the_text_of_a_plain_completion_is_read() -> None:
    assert written({"choices": [{"text": "Four.", "finish_reason": "stop"}]}) == Written("Four.", "", "", "stop")


# --- endings -------------------------------------------------------------------------------------------------------------

REASONS = {
    "stop": [
        "stop",
        "STOP",
        "end_turn",
        "eos",
        "stop_sequence",
        "FinishReason.STOP",
        "FINISH_REASON_STOP",
        "completed",
        "tool_calls",
        "function_call",
    ],
    "length": ["length", "max_tokens", "MAX_TOKENS", "model_length", "max_output_tokens", "model_context_window_exceeded"],
    "filtered": ["content_filter", "SAFETY", "content-filter", "sensitive"],
    "refused": ["refusal"],
    "fault": ["error", "abort", "ERROR", "cancelled", "timeout", "insufficient_system_resource", "network_error"],
}


@pytest.mark.parametrize(("reason", "ending"), [(reason, ending) for ending, reasons in REASONS.items() for reason in reasons])
def test_reasons_to_end_are_read_in_the_words_of_every_server(reason: str, ending: str) -> None:
    assert said({"content": "Four."}, reason).ending == ending


@pytest.mark.parametrize(("reason", "ending"), [(None, ""), ("", ""), ("Tired", "tired")])
def test_a_reason_that_nobody_knows_is_left_to_who_knows_the_limit(reason: Any, ending: str) -> None:
    assert said({"content": "Four."}, reason).ending == ending


# --- usage ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        ({"prompt_tokens": 10, "completion_tokens": 4}, (10, 4, None)),
        ({"prompt_tokens": 10.0, "completion_tokens": 4.0}, (10, 4, None)),
        ({"input_tokens": 10, "output_tokens": 4, "output_tokens_details": {"reasoning_tokens": 3}}, (10, 4, 3)),
        ({"prompt_tokens": None, "completion_tokens": 4, "completion_tokens_details": None}, (None, 4, None)),
        ({"prompt_tokens": "10", "completion_tokens": True}, (None, None, None)),
        ({"prompt_tokens": -1, "completion_tokens": float("inf")}, (None, None, None)),
        ({}, (None, None, None)),
        (None, (None, None, None)),
        ([], (None, None, None)),
    ],
)
def test_counts_are_whole_numbers_or_unknown(usage: Any, counts: tuple[int | None, ...]) -> None:
    completion = {"usage": usage}
    assert (completions.num_read(completion), completions.num_written(completion), completions.num_thought(completion)) == counts
    assert completions.num_read({}) is None


@pytest.mark.parametrize(("message", "count"), [({"reasoning": "I count words"}, None), ({"reasoning": None}, 0), ({}, 0)])
def test_no_tokens_are_no_count_of_a_reasoning_that_is_there(message: dict[str, Any], count: int | None) -> None:
    usage = {"completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 0}}  # vLLM 0.32, whose template wrote <think>
    assert completions.num_thought({"choices": [{"message": {"content": "It is one.", **message}}], "usage": usage}) == count


# --- what arrives --------------------------------------------------------------------------------------------------------


def stream(*deltas: dict[str, Any], reason: str | None = "stop", ended: bool = True, usage: bool = True) -> str:
    events: list[dict[str, Any]] = [{"model": "m", "choices": [{"index": 0, "delta": each, "finish_reason": None}]} for each in deltas]
    events.append({"model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
    events += [{"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 4}}] if usage else []
    lines = [f"data: {json.dumps(each)}\n\n" for each in events]
    return ": comment\n\n" + "".join(lines) + ("data: [DONE]\n\n" if ended else "")


def test_a_stream_that_nobody_asked_for_is_one_answer() -> None:
    thought, more = ({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": text}]}]} for text in ("2 +", " 2"))
    for deltas in (
        ({"role": "assistant", "reasoning_content": "2 "}, {"reasoning_content": "+ 2"}, {"content": "Fo"}, {"content": "ur."}),
        (thought, more, {"content": [{"type": "text", "text": "Fo"}]}, {"content": [{"type": "text", "text": "ur."}]}),
        (thought, more, {"content": "Fo"}, {"content": "ur."}),
    ):
        completion = completions.parsed(stream(*deltas))
        assert completion is not None
        assert written(completion) == Written("Four.", "2 + 2", "", "stop")
        assert (completions.num_read(completion), completions.num_written(completion), completion["model"]) == (10, 4, "m")


def test_a_stream_that_breaks_off_is_no_answer_and_one_that_fails_is_its_error() -> None:
    assert completions.parsed(stream({"content": "Fo"}, reason=None, ended=False, usage=False)) is None
    assert completions.parsed(stream({"content": "Fo"})[:-80]) is None
    assert completions.parsed('data: {"error": {"message": "Overloaded", "code": 503}}\n\n') == {"error": {"message": "Overloaded", "code": 503}}


@pytest.mark.parametrize("arrived", ["", "<html>Log in</html>", "data: [DONE]", "data: x", "7", "[]", None, [], 7])
def test_what_is_no_completion_is_none(arrived: Any) -> None:
    assert completions.parsed(arrived) is None


def test_json_under_another_type_of_content_is_read() -> None:
    assert completions.parsed('{"choices": []}') == completions.parsed({"choices": []}) == {"choices": []}
