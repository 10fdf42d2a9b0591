"""How a text ended, in whatever words another tool says so."""

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
"""What servers, clients and libraries say -> whether the text is whole or was cut off. What a filter left of a text is graded as it is."""


def finish_reason(said: Any) -> FinishReason:
    """ "stop" or "length" for what a row says, in capitals or not ("STOP", "FinishReason.MAX_TOKENS"); nothing said is "stop".

    Raises: ValueError with the rule for anything else ("must be ...").
    """
    if said is None or said == "":
        return "stop"
    word = re.sub(r"[\s-]+", "_", said.strip().rpartition(".")[2]).lower() if isinstance(said, str) else ""
    if word not in REASONS:
        known = ", ".join(("stop", "eos", "end_turn", "completed", "length", "max_tokens", "model_length"))
        raise ValueError(f"must say how the text ended, such as {known}; got {said!r}")
    return REASONS[word]
