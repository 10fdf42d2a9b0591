"""What a server means that finds a request too long: the prompt alone, or the prompt with the tokens that it may write.

Known from the sources and issues of vLLM (its wordings since 0.4), SGLang, llama.cpp, TGI, LM Studio, OpenAI, DeepSeek, Mistral, Groq,
Anthropic, OpenRouter and Bedrock. Numbers are read by what stands beside them, since the sentences change from version to version.
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
"""Finds that a refusal speaks of the tokens to be written."""
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
"""Finds that a refusal is about a field as such, whatever the field is called."""
NEGATIVE = re.compile(r"max_tokens must be at least 1, got -\d+")
"""vLLM's, where a prompt leaves no room for the tokens that it would allow by itself."""
MAY_BE_THE_REST = re.compile(r"your request has \d+ input tokens")
"""vLLM 0.14 and 0.15 call "maximum context length" what the tokens to be written leave of it."""


class TooLong(NamedTuple):
    """`room`: tokens that can be written; 0 where the prompt alone fills the context, None where the server does not say how many."""

    room: int | None


def too_long(said: str, codes: str, limit: int | None, *, again: bool = False) -> TooLong | None:
    """What a refusal means that came for `limit` tokens to be written (None: the request named no limit); None where it is of another kind.

    `again`: fewer tokens were asked for than at first, so that a server that can be understood in two ways speaks of the prompt.
    """
    said = re.sub(r"(?<=\d),(?=\d{3})", "", said)
    if UNKNOWN_FIELD.search(said):
        return None
    if NEGATIVE.search(said):
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
    """The number that the first pattern that occurs finds."""
    return next((int(found.group(1)) for each in patterns if (found := re.search(each, said, re.IGNORECASE))), None)
