"""How other tools say that a text ended."""

from __future__ import annotations

from typing import Any

import pytest

from cotexp.tasks.finish_reasons import finish_reason


@pytest.mark.parametrize(
    "said", [None, "", "stop", "STOP", "Stop", "eos", "eos_token", "end_turn", "completed", "FinishReason.STOP", "stop-sequence", "COMPLETE"]
)
def test_a_text_that_ended_by_itself_is_whole(said: str | None) -> None:
    assert finish_reason(said) == "stop"


@pytest.mark.parametrize(
    "said", ["length", "LENGTH", "MAX_TOKENS", "max_tokens", "FinishReason.MAX_TOKENS", "model_length", "max_output_tokens", "incomplete", "error"]
)
def test_a_text_that_ended_at_a_limit_is_cut_off(said: str) -> None:
    assert finish_reason(said) == "length"


@pytest.mark.parametrize("said", ["lenght", 3, ["stop"], True, "because"])
def test_anything_else_is_refused_with_its_value(said: Any) -> None:
    with pytest.raises(ValueError, match="must be a finish reason"):
        finish_reason(said)
