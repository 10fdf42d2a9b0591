"""Errors that a server returns instead of an answer: what they mean for the request, and how long to wait before the next one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

from tenacity import RetryCallState, wait_exponential, wait_random_exponential

from cotexp.inference.context_limits import TooLong, too_long

MOST_SAID = 300
"""Characters of a server's words that an error message repeats."""
ABOUT_THE_REQUEST = (200, 400, 413, 422)
"""HTTP statuses under which servers say that a request is too long or has a wrong field."""

NO_CREDIT = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active")
FILTERED = re.compile(r"content_filter|content_policy_violation|content management policy|Content Exists Risk|invalid_prompt")
"""Texts of OpenAI, Azure, DeepSeek, vLLM, SGLang and llama.cpp for a filtered text, in errors with status 400.

Source: their documentation and source code.
"""


class Fault(Exception):
    """A failure that may pass. `retry_after`: least seconds until the next request, if the server says so."""

    def __init__(self, kind: str, *, retry_after: float | None = None, means_too_many: bool = False) -> None:
        super().__init__(kind)
        self.kind, self.retry_after, self.means_too_many = kind, retry_after, means_too_many


class Rejected(Exception):
    """A request that the server rejects as invalid, or an answer in an unknown form. A retry would end the same way."""


class Refusal(NamedTuple):
    """An error instead of an answer, in the server's words. `status` is that of HTTP, or the one in the body of a response with status 200."""

    status: int
    words: str
    codes: str
    headers: Mapping[str, str]

    @property
    def said(self) -> str:
        """Its words, shortened for an error message."""
        return self.words[:MOST_SAID]

    @property
    def is_final(self) -> bool:
        """Whether the account cannot pay for any request."""
        return self.status == 402 or any(each in self.codes for each in NO_CREDIT)

    @property
    def is_filtered(self) -> bool:
        """Whether a content filter refused the text."""
        return bool(FILTERED.search(f"{self.codes} {self.words}"))

    def is_about(self, field: str) -> bool:
        """Whether it rejects a field of the request by name."""
        return self.status in ABOUT_THE_REQUEST and bool(re.search(rf"\b{field}\b", self.words))

    def too_long(self, limit: int | None, *, again: bool = False) -> TooLong | None:
        """The tokens that fit, if the server refused `limit` new tokens as too many; otherwise None. `again`: the limit was lowered before."""
        return too_long(self.words, self.codes, limit, again=again) if self.status in ABOUT_THE_REQUEST and not self.is_final else None


def refusal_of(body: Mapping[str, Any], headers: Mapping[str, str], *, status: int | None, otherwise: str) -> Refusal:
    """The refusal in the `body` of an error; its words are one line.

    `status` is that of HTTP. None means that HTTP's was 200; codes in the body may name another. `otherwise` replaces a missing message.
    """
    codes = f"{body.get('code')} {body.get('type')} {body.get('error_type')} {body.get('status')}"
    stated = re.search(r"\b[45]\d\d\b", codes)
    if status is None:
        status = int(stated.group()) if stated else 429 if re.search(r"rate_?limit|RESOURCE_EXHAUSTED", codes, re.I) else 200
    words = body.get("message") or body.get("detail") or body.get("error") or otherwise
    return Refusal(status, " ".join(str(words).split()), codes, headers)


# --- waiting ---------------------------------------------------------------------------------------------------------


_jitter = wait_random_exponential(multiplier=1, max=60)
_short_jitter = wait_random_exponential(multiplier=0.25, max=60)
_patience = wait_exponential(multiplier=0.5, max=30) + wait_random_exponential(multiplier=0.5, max=30)
"""At least half of each window. By chance alone the unluckiest of a hundred texts would wait 17 seconds, where they wait a minute on average."""


def wait_seconds(state: RetryCallState) -> float:
    """Seconds until the next attempt: the pause that the server asked for, then a random part of a growing window.

    The window is short after "too many requests", since the throttle limits how many are sent. After other faults the part is half of it or more,
    since the first text that has used up its attempts ends the run if nothing is answered meanwhile.
    """
    fault = state.outcome.exception() if state.outcome else None
    wait: float | None = getattr(fault, "retry_after", None)
    if wait is not None:
        return wait + min(1.0, _jitter(state))
    return _short_jitter(state) if getattr(fault, "means_too_many", False) else _patience(state)


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Least seconds until the next request by the headers of a response, which give seconds or a date; None if they give neither.

    `now` is this machine's time in seconds since 1970. A date is compared with the server's `date` header if there is one, since clocks differ.
    """
    for name, factor in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        try:
            return max(0.0, float(headers.get(name, "")) * factor)
        except ValueError:
            continue
    until = _time_of(headers.get("retry-after"))
    return None if until is None else max(0.0, until - (_time_of(headers.get("date")) or now))


def _time_of(date: str | None) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp() if date else None
    except ValueError:
        return None
