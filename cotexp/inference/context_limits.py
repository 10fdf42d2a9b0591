"""Errors of servers for requests that are too long: either the prompt alone, or the prompt with the tokens to be written.

Source: code and issues of vLLM (its wordings since 0.4), SGLang, llama.cpp, TGI, LM Studio, OpenAI, DeepSeek, Mistral, Groq, Anthropic,
OpenRouter and Bedrock. Numbers are recognised by the words around them, because the sentences differ between versions.
"""

from __future__ import annotations

import re
from typing import NamedTuple

CODES = re.compile(r"context_length_exceeded|exceed_context_size|string_above_max_length", re.I)
TOO_LONG = re.compile(
    r"maximum context length|maximum model length|model's context length|context length|context size|context window|context limit|context_window"
    r"|max_model_len|(?:prompt|input|request)s? (?:is|are) too long|input length .*exceeds|input token count|must have less than \d+ tokens"
    r"|too many (?:input |prompt )?tokens|tokens in the prompt cannot exceed|context the overflows|`?inputs`? tokens \+",
    re.I,
)
OF_OUTPUT = re.compile(
    r"max_(?:new_|completion_|output_)?tokens|(?:in|for|or|of) (?:the |your )?(?:completion|output)|(?:output|completion) tokens|completion length",
    re.I,
)
"""Matches errors about the tokens to be written."""
CONTEXT = (
    r"(?:maximum )?(?:context|model) (?:length|limit|size|window)(?: \w+)?(?: is| of|:)?(?: only)? ?\(?`?(\d+)\b(?! ?\+)",
    r"context limit: \d+ \+ \d+ > (\d+)",
    r"inputs?`? tokens \+ `?max_new_tokens`? must be <= (\d+)",
    r"(\d+) (?:tokens )?(?:maximum context|context length)",
    r"max_model_len ?[=(]? ?(\d+)",
    r"maximum allowed (?:input )?length \((\d+)",
    r"maximum number of tokens allowed \((\d+)",
    r"tokens > (\d+) maximum",
    r"must have less than (\d+) tokens",
)
PROMPT = (
    r"(\d+) in (?:the|your) (?:messages|prompt)",
    r"(\d+) (?:tokens )?(?:from|of|in) (?:the )?(?:text )?(?:input|prompt)",
    r"(\d+) `?(?:input|inputs|prompt)`? tokens",
    r"context limit: (\d+) \+",
    r"(?:prompt|input|request) (?:contains|has|length|of|is)?:? ?\(?(\d+) tokens",
    r"resulted in (\d+) tokens",
    r"is too long: (\d+)",
    r"input token count \((\d+)",
    r"Given: (\d+)",
)
MOST = (
    r"(?:supports?|accepts?|allows?|is|be) at most (\d+)",
    r"\[\s*\d+\s*,\s*(\d+)\s*\]",
    r"(?:<=|less than or equal to|≤|not exceed|cannot exceed|up to) ?`?(\d+)",
    r"> ?(\d+), which is the maximum",
    r"(?:exceeds?|above|over|greater than)[^.\d]*(?:maximum|limit|max_model_len)[^.\d]*(\d+)",
    r"maximum (?:allowed |permitted )?(?:value|number)[^.\d]*(\d+)",
)
UNKNOWN_FIELD = re.compile(r"unrecogni[sz]ed|unsupported|unknown|unexpected|not (?:permitted|supported|allowed)|extra (?:inputs|fields)", re.I)
"""Matches errors about an unknown or wrong field."""
NOTHING_LEFT = re.compile(r"max_tokens must be at least 1, got (?:0|-\d+)")
"""vLLM's error for a prompt that fills the context: it counts what is left, whatever limit the request names."""
MAY_BE_THE_REST = re.compile(r"your request has \d+ input tokens")
"""In this error, vLLM 0.14 and 0.15 call the context minus the tokens to be written "maximum context length"."""


class TooLong(NamedTuple):
    """`room`: tokens that can be written. 0: the prompt alone fills the context. None: the server does not say how many."""

    room: int | None


def too_long(said: str, codes: str, limit: int | None, *, again: bool = False) -> TooLong | None:
    """The number of tokens that fit the context, by the text and codes of an error; None for an error of another kind.

    `limit`: tokens to be written by the request, None if it named no limit. `again`: the limit was lowered before, so that an ambiguous error
    is about the prompt.
    """
    said = re.sub(r"(?<=\d),(?=\d{3})", "", said)
    if UNKNOWN_FIELD.search(said):
        return None
    if NOTHING_LEFT.search(said):
        return TooLong(0)
    about_length, about_output = bool(CODES.search(codes) or TOO_LONG.search(said)), bool(OF_OUTPUT.search(said))
    if limit is None:
        return TooLong(0) if about_length or about_output else None
    context, prompt = _number(CONTEXT, said), _number(PROMPT, said)
    if about_length and context is not None and prompt is not None:
        return _room(said, context, prompt, limit, may_fit=not about_output and not again)
    most = _number(MOST, said)
    if about_output and most is not None and 0 < most < limit:
        return TooLong(most)
    if about_length:
        return TooLong(None if about_output else 0)
    return None


def _room(said: str, context: int, prompt: int, limit: int, *, may_fit: bool) -> TooLong:
    if prompt >= context:
        is_rest = may_fit and MAY_BE_THE_REST.search(said) and prompt < context + limit
        return TooLong(context + limit - prompt if is_rest else 0)
    counted_no_further = "at least" in said and prompt == context - limit + 1
    room = context - prompt
    return TooLong(None if counted_no_further or room >= limit else room)


def _number(patterns: tuple[str, ...], said: str) -> int | None:
    """The number in the first pattern that matches."""
    return next((int(found.group(1)) for each in patterns if (found := re.search(each, said, re.IGNORECASE))), None)
