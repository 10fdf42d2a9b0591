"""What servers say when a request is too long for them, in their own words as their sources and issues have them."""

from __future__ import annotations

import pytest

from cotexp.inference.context_limits import TooLong, too_long

OTHER = "of another kind"
REFUSALS: list[tuple[str, int, int | str | None]] = [
    (
        "'max_tokens' or 'max_completion_tokens' is too large: 2048. This model's maximum context length is 2048 tokens "
        "and your request has 30 input tokens (2048 > 2048 - 30).",
        2048,
        2018,
    ),
    (
        "This model's maximum context length is 4097 tokens. However, you requested 4203 tokens (3703 in the messages, "
        "500 in the completion). Please reduce the length of the messages or completion.",
        500,
        394,
    ),
    (
        "This model's maximum context length is 4097 tokens, however you requested 4322 tokens (4066 in your prompt; "
        "256 for the completion). Please reduce your prompt; or completion length.",
        256,
        31,
    ),
    (
        "This model's maximum context length is 2048 tokens. However, your request has 8 input tokens plus 2045 "
        "'max_tokens'. Please reduce one or the other. (parameter=input_tokens, max_tokens, value=(8, 2045))",
        2045,
        2040,
    ),
    # vLLM 0.32, and llama.cpp's server of August 2026, as they answered
    (
        "max_tokens=100000 cannot be greater than max_model_len=256. Please request fewer output tokens. (parameter=max_tokens, value=100000)",
        100_000,
        256,
    ),
    ("max_tokens must be at least 1, got 0. (parameter=max_tokens, value=0)", 32, 0),
    (
        "This model's maximum context length is 256 tokens. However, your prompt contains at least 257 input tokens, which exceeds this limit "
        "even without any output tokens. Please reduce the length of the input prompt. (parameter=input_tokens, value=257)",
        32,
        0,
    ),
    (
        "This model's maximum context length is 256 tokens. However, your prompt contains 100045 characters (more than 3328 characters, which is "
        "the upper bound for 256 input tokens). Please reduce the length of the input prompt. (parameter=input_text, value=100045)",
        8,
        0,
    ),
    ("request (907 tokens) exceeds the available context size (256 tokens), try increasing it", 32, 0),
    (
        "This model's maximum context length is 3 tokens. However, your request has 8 input tokens. Please reduce the "
        "length of the input messages. (parameter=input_tokens, value=8)",
        2045,
        2040,
    ),
    (
        "This model's maximum context length is 2048 tokens. However, your request has 3000 input tokens. Please reduce "
        "the length of the input messages.",
        50,
        0,
    ),
    (
        "This model's maximum context length is 128000 tokens. However, you requested 65535 output tokens and your "
        "prompt contains at least 62466 input tokens, for a total of at least 128001 tokens.",
        65535,
        None,
    ),
    (
        "This model's maximum context length is 131072 tokens. However, you requested 65536 output tokens and your "
        "prompt contains 100000 input tokens, for a total of 165536 tokens. Please reduce the length of the input "
        "prompt or the number of requested output tokens.",
        65536,
        31072,
    ),
    (
        "This model's maximum context length is 8192 tokens. However, you requested 64 output tokens and your prompt "
        "contains 10000 input tokens, for a total of 10064 tokens. Please",
        64,
        0,
    ),
    (
        "This model's maximum context length is 8192 tokens. However, you requested 64 output tokens and your prompt "
        "contains 100000 characters (more than 81280 characters, which is the upper bound for 8128 input tokens). "
        "Please reduce the length of the input prompt or the number of requested output tokens.",
        64,
        None,
    ),
    (
        "Requested token count exceeds the model's maximum context length of 202752 tokens. You requested a total of "
        "202941 tokens: 170941 tokens from the input messages and 32000 tokens for the completion. Please reduce the "
        "number of tokens in the input messages or the completion to fit within the limit.",
        32000,
        31811,
    ),
    ("The input (9 tokens) is longer than the model's context length (8 tokens).", 5, 0),
    ("Input length (160062 tokens) exceeds the maximum allowed length (59862 tokens).", 5, 0),
    (
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 2048. Given: 1887 `inputs` tokens and 1024 `max_new_tokens`",
        1024,
        161,
    ),
    (
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 2048. Given: 3474 `inputs` tokens and 60 `max_new_tokens`",
        60,
        0,
    ),
    ("Input validation error: `inputs` must have less than 1024 tokens. Given: 1168", 60, 0),
    ("Input validation error: `max_new_tokens` must be <= 192. Given: 512", 512, 192),
    ("request (9000 tokens) exceeds the available context size (8192 tokens), try increasing it", 512, 0),
    ("the request exceeds the available context size. try increasing the context size or enable context shift", 512, 0),
    ("max_tokens is too large: 30000. This model supports at most 16384 completion tokens, whereas you provided 30000.", 30000, 16384),
    ("Invalid max_tokens value, the valid range of max_tokens is [1, 8192]", 30000, 8192),
    ("Range of max_tokens should be [1, 8192]", 9000, 8192),
    (
        "`max_tokens` must be less than or equal to `8192`, the maximum value for `max_tokens` is less than the `context_window` for this model",
        9000,
        8192,
    ),
    ("max_tokens: 64000 > 32000, which is the maximum allowed number of output tokens for model-x", 64000, 32000),
    (
        "input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000, decrease input length or `max_tokens` and try again",
        21333,
        11760,
    ),
    ("prompt is too long: 210000 tokens > 200000 maximum", 21333, 0),
    ("Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length", 2000, 0),
    ("Prompt contains 30000 tokens, too large for model with 32768 maximum context length", 20000, 2768),
    ("The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).", 2000, 0),
    (
        "This endpoint's maximum context length is 131072 tokens. However, you requested about 200000 tokens (190000 of "
        "text input, 10000 in the output).",
        10000,
        0,
    ),
    (
        "This endpoint's maximum context length is 131072 tokens. However, you requested about 140000 tokens (130000 of "
        "text input, 10000 in the output).",
        10000,
        1072,
    ),
    ("The prompt is too long: 12000, model maximum context length: 8191", 100, 0),
    ("Input is too long for requested model.", 100, 0),
    ("'max_tokens' (990000) exceeds model maximum (32768)", 990000, 32768),
    ("max_tokens=4096 cannot be greater than max_model_len=2048", 4096, 2048),
    (
        "This model's maximum context length is 8192 tokens. However, your messages resulted in 8202 tokens. Please "
        "reduce the length of the messages.",
        100,
        0,
    ),
    (
        "This model's maximum context length is 16385 tokens. However, your messages resulted in 23273 tokens (22394 in "
        "the messages, 879 in the functions). Please reduce the length of the messages or functions.",
        100,
        0,
    ),
    ("max_tokens must be at least 1, got -186.", 100, 0),
    ("This model's maximum context length is 9 tokens.", 100, 0),
    ("max_tokens is too large: this model supports at most 8192 output tokens", 10000, 8192),
    ("max_total_tokens: the request has 3000 prompt tokens and asks for 2048 output tokens, context window is 4096", 2048, 1096),
    (
        "Trying to keep the first 5000 tokens when context the overflows. However, the model is loaded with context "
        "length of only 4096 tokens, which is not enough.",
        2048,
        0,
    ),
    (
        "too many tokens: total number of tokens in the prompt cannot exceed 4081 - received 5000. Try using a shorter prompt",
        100,
        0,
    ),
    (
        "This model's maximum context length is 128,000 tokens. However, you requested 130,500 tokens (120,500 in the "
        "messages, 10,000 in the completion).",
        10000,
        7500,
    ),
    ("Unrecognized request argument supplied: top_q", 100, OTHER),
    ("temperature must be at most 2", 100, OTHER),
    ("Invalid value for seed", 100, OTHER),
    ("max_tokens is not supported with this model. Use max_completion_tokens instead.", 100, OTHER),
    ("Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.", 100, OTHER),
]
"""(what is said, tokens that were asked for, tokens that fit: 0 where the prompt fills the context, None where it is not said how many)."""


@pytest.mark.parametrize(("said", "limit", "room"), REFUSALS)
def test_a_prompt_that_fills_the_context_is_told_from_too_many_tokens_to_write(said: str, limit: int, room: int | str | None) -> None:
    assert too_long(said, "", limit) == (None if room == OTHER else TooLong(room))


def test_a_code_says_it_where_the_words_do_not() -> None:
    assert too_long("Please shorten it.", "context_length_exceeded invalid_request_error", 50) == TooLong(0)
    assert too_long("Please shorten it.", "invalid_request_error", 50) is None


def test_without_a_limit_of_ours_only_the_prompt_can_be_too_long() -> None:
    for said, _, room in REFUSALS:
        assert too_long(said, "", None) == (None if room == OTHER else TooLong(0)), said


def test_a_context_that_is_called_by_what_is_left_of_it_is_believed_once() -> None:
    """vLLM 0.15 named 2048 - 2045 = 3 tokens as the whole; a server that means what it says repeats it."""
    said = (
        "This model's maximum context length is 3 tokens. However, your request has 8 input tokens. Please reduce the length of the input messages."
    )
    assert too_long(said, "", 2045) == TooLong(2040)
    assert too_long(said, "", 2040, again=True) == TooLong(0)
