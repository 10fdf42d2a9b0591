"""Finish reasons in the words of other tools."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from cotexp.records import FinishReason

_WORDS: dict[FinishReason, str] = {
    "stop": "stop stopped eos eos_token end_turn stop_sequence stop_token stop_word word completed complete finish finished end done natural "
    "tool_calls tool_use function_call content_filter content_filtered safety refusal recitation blocklist prohibited_content guardrail_intervened "
    "abort pause_turn unspecified finish_reason_unspecified",
    "length": "length limit max_tokens max_new_tokens max_output_tokens max_length max_token token_limit model_length model_context_window_exceeded "
    "context_length_exceeded truncated incomplete error timeout cancelled canceled",
}
REASONS: Mapping[str, FinishReason] = {word: reason for reason, words in _WORDS.items() for word in words.split()}
"""Finish reason of servers, clients and libraries -> whether the text is complete or was cut off. A filtered text is graded unchanged."""


def finish_reason(reason_in_row: Any) -> FinishReason:
    """ "stop" or "length" for the finish reason of a row, in any case ("STOP", "FinishReason.MAX_TOKENS"); "stop" if there is none.

    Raises: ValueError with the rule for anything else ("must be ...").
    """
    if reason_in_row is None or reason_in_row == "":
        return "stop"
    word = re.sub(r"[\s-]+", "_", reason_in_row.strip().rpartition(".")[2]).lower() if isinstance(reason_in_row, str) else ""
    if word not in REASONS:
        known = ", ".join(("stop", "eos", "end_turn", "completed", "length", "max_tokens", "model_length"))
        raise ValueError(f"must be a finish reason such as {known}; got {reason_in_row!r}")
    return REASONS[word]
