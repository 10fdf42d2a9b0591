"""Generation by any server that speaks OpenAI's chat completions.

A request ends in one of three ways. It is *answered*: with a text, or with an outcome that asking again would not change (cut off, empty,
refused, filtered, too long for the model), which is stored like a text and paid once. Or it meets a *fault* that passes, and is sent again,
by one layer of retries. Or the server says what no repetition mends (a wrong key, no credit), and the run ends with that.

A server that has no room for all the tokens that a text may have is asked once more for as many as fit: `usage` of the text says so, in
`lowered_to` (0 where the server did not say how many fit, and was asked without a limit). Only a prompt that fills the context by itself
overflows. What answers say, in which forms, and how they end is told in `completions`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

from openai import APIConnectionError, APIStatusError, APITimeoutError, AsyncOpenAI, Timeout
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from cotexp import credentials, stopping
from cotexp.inference import completions
from cotexp.inference.engine import Output, Request
from cotexp.inference.limits import TooLong, too_long
from cotexp.inference.throttle import OutOfMoney, Stopped, Throttle
from cotexp.model_settings import ApiServer, Sampling
from cotexp.records import FinishReason
from cotexp.sections import RunFailed

log = logging.getLogger(__name__)

CONNECT_SECONDS = 10.0
LONGEST_WAIT_SECONDS = 300.0
"""A server that asks for a longer pause ends the run, which goes on when it is started again."""
MOST_REJECTED_IN_A_ROW = 8
MOST_SAID = 300
"""Characters of a server's own words in an error of ours."""
ABOUT_THE_REQUEST = (200, 400, 413, 422)
"""Statuses under which a server says that a request is too long for it."""
SHORTEST_KEY = 8
TEMPLATE_TOKENS = 100
"""Tokens that a chat template may add to a prompt, of which each byte is a token at most."""

NO_CREDIT = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active")
FILTERED = re.compile(r"content_filter|content_policy_violation|content management policy|Content Exists Risk|invalid_prompt")
"""What OpenAI, Azure, DeepSeek, vLLM, SGLang and llama.cpp say in a 400 that is about the text; known from their documentation and sources."""


class Fault(Exception):
    """A request that failed in a way that may pass. `retry_after`: least seconds until the next, where the server said so."""

    def __init__(self, kind: str, *, retry_after: float | None = None, means_too_many: bool = False) -> None:
        super().__init__(kind)
        self.kind, self.retry_after, self.means_too_many = kind, retry_after, means_too_many


class Rejected(Exception):
    """A request that the server finds wrong in itself, or an answer that cannot be read and would be the same again."""


class Refusal(NamedTuple):
    """What a server says in place of an answer, in its own words; `status` is that of HTTP, or the one that an answer of status 200 names."""

    status: int
    words: str
    codes: str
    headers: Mapping[str, str]

    @property
    def said(self) -> str:
        """Its words, as far as an error of ours repeats them."""
        return self.words[:MOST_SAID]


@dataclass(slots=True)
class ApiEngine:
    """Generates with the model behind `server`, for one role: teacher or compressor.

    `paid()` gives the dollars that the role's stored texts have cost so far. The key is read here, from the environment.
    """

    server: ApiServer
    role: str
    paid: Callable[[], float] = lambda: 0.0
    keep_thinking: bool = True
    _key: str = field(init=False, repr=False)
    _secrets: list[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._key = credentials.held(self.server.api_key_env) if self.server.api_key_env else ""
        held = (credentials.held(name) for name in self.server.variables)
        self._secrets = sorted((each for each in held if len(each) >= SHORTEST_KEY), key=len, reverse=True)
        logging.getLogger("httpx2").setLevel(logging.WARNING)  # it would note each request

    def generate(self, requests: Sequence[Request], sampling: Sampling, on_output: Callable[[Output], None]) -> None:
        """Generate all requests, many at once; `on_output` is called for each as soon as its answer arrives.

        Raises: RunFailed when the server can or may not answer some of them; everything answered was handed over then.
        """
        batch = _Batch(self, sampling, on_output)

        async def run() -> stopping.Stopped | None:
            try:
                await batch.run(requests)
            except stopping.Stopped as stop:  # left in its task, asyncio would log it as one that nobody retrieved
                return stop
            return None

        try:
            stop = asyncio.run(run())
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
        if stop is not None:
            raise stop

    def client(self) -> AsyncOpenAI:
        """A client that never repeats a request by itself. A server without keys is not sent the user's OpenAI key either."""
        timeout = Timeout(self.server.timeout, connect=min(CONNECT_SECONDS, self.server.timeout))
        address = credentials.filled_address(self.server.base_url)
        headers = {name: credentials.held(variable) for name, variable in json.loads(self.server.headers_env).items()}
        return AsyncOpenAI(api_key=self._key or "none", base_url=address, default_headers=headers, max_retries=0, timeout=timeout)

    def body(self, request: Request, sampling: Sampling, limit: int | None) -> dict[str, Any]:
        """The fields of one request for at most `limit` tokens; None leaves the limit to the server."""
        assert not request.compressed, "a server knows no marks of ours"
        assert request.ratio is None, "a server knows no marks of ours"
        fields: dict[str, Any] = {
            "model": self.server.model,
            "messages": [{"role": "user", "content": request.prompt}],
            "temperature": sampling.temperature,
        }
        if limit is not None:
            fields[self.server.token_limit_field] = limit
        if self.server.send_seed:
            fields["seed"] = int.from_bytes(hashlib.sha256(f"{sampling.seed}/{request.id}".encode()).digest()[:4], "big") >> 1
        return {**fields, **credentials.filled(self.server.extra_fields)}

    def most_cost(self, request: Request, sampling: Sampling) -> float:
        """Dollars that one answer can cost at most."""
        return self.cost(len(request.prompt.encode()) + TEMPLATE_TOKENS, sampling.max_new_tokens)

    def cost(self, num_prompt_tokens: int, num_written_tokens: int) -> float:
        """Dollars."""
        return (num_prompt_tokens * self.server.input_price + num_written_tokens * self.server.output_price) / 1e6

    def scrubbed(self, text: str) -> str:
        """`text` without keys, where those are long enough to be some: a server without keys is often given "x", which no text may lose."""
        for each in self._secrets:
            text = text.replace(each, "***")
        return text

    def scrubbed_words(self, text: str) -> str:
        """`text` without words that begin as a key does."""
        for each in self._secrets:
            text = re.sub(re.escape(each[:6]) + r"\S*", "***", text)
        return text

    def failure(self, what: str) -> RunFailed:
        return RunFailed(f"{self.role}.server ({self.server.service}, {self.server.model}): {what}")


class _Batch:
    """The requests of one call, all under one throttle."""

    def __init__(self, engine: ApiEngine, sampling: Sampling, on_output: Callable[[Output], None]) -> None:
        self.engine, self.server, self.sampling, self.on_output = engine, engine.server, sampling, on_output
        self.throttle = Throttle(sampling.batch_size, self.server.max_cost, engine.paid())
        self.faults: Counter[str] = Counter()
        self.oddities: Counter[str] = Counter()
        self.num_unanswered = self.rejected_in_a_row = 0
        self.last_rejection = ""

    async def run(self, requests: Sequence[Request]) -> None:
        throttle, paid_before, left = self.throttle, self.throttle.spent, iter(requests)

        async def work() -> None:
            for each in left:
                if throttle.reason is not None:
                    return
                await self.text(each)

        async with self.engine.client() as client, asyncio.TaskGroup() as tasks:
            self.client = client
            for _ in range(min(2 * self.sampling.batch_size, len(requests))):  # some wait to ask again while others are in flight
                tasks.create_task(work())
        log.info(
            "%s: %d of %d texts answered, %.4f dollars%s%s",
            *(self.engine.role, throttle.num_answers, len(requests), throttle.spent - paid_before),
            f"; faults: {_listed(self.faults)}" if self.faults else "",
            f"; {_listed(self.oddities)}" if self.oddities else "",
        )
        if throttle.reason is not None:
            raise throttle.reason
        if self.num_unanswered:
            raise self.engine.failure(
                f"{self.num_unanswered} of {len(requests)} texts were not answered ({_listed(self.faults)}){self.last_rejection}; "
                "the others are kept: run the same command again to ask for these"
            )

    async def text(self, request: Request) -> None:
        """Ask until there is an answer, the attempts are used up, or no more requests may be sent."""
        throttle, num_answers = self.throttle, self.throttle.num_answers
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(Fault),
            stop=stop_after_attempt(self.server.max_attempts),
            wait=_wait,
            sleep=throttle.sleep,
            reraise=True,
        )
        try:
            await retrying(self.ask, request)
        except Stopped:
            pass
        except OutOfMoney:
            throttle.stop(self.engine.failure(self.no_money(request)))
        except RunFailed as error:
            throttle.stop(error)
        except Fault as fault:
            self.num_unanswered += 1
            if throttle.num_answers == num_answers:
                throttle.stop(self.no_answer(f"{self.server.max_attempts} requests for one text failed, the last with: {fault}"))
        except Rejected as error:
            self.num_unanswered += 1
            self.rejected_in_a_row += 1
            self.last_rejection = f"; the last was found wrong: {error}"
            if self.rejected_in_a_row >= MOST_REJECTED_IN_A_ROW:
                throttle.stop(self.engine.failure(f"it finds the requests wrong: {error}; look at server.model and server.extra_body"))

    def no_answer(self, why: str) -> RunFailed:
        return self.engine.failure(f"no answer from {self.server.base_url}; {why}; run the same command again when it is back")

    async def ask(self, request: Request) -> None:
        """Send one request and hand over its answer. Raises: Fault, Rejected, RunFailed, Stopped, OutOfMoney."""
        most_cost = self.engine.most_cost(request, self.sampling)
        sent = await self.throttle.begin(most_cost)
        try:
            output = await self.answer(request, most_cost, sent)
            self.throttle.answered(sent)
            self.rejected_in_a_row = 0
            self.on_output(output)
        except (Fault, Rejected) as fault:
            self.faults[fault.kind if isinstance(fault, Fault) else "rejected"] += 1
            if isinstance(fault, Fault) and fault.means_too_many:
                self.throttle.refused(sent, fault.retry_after)
                if self.throttle.num_holds >= self.server.max_attempts and self.throttle.in_flight == 1:
                    self.throttle.stop(self.no_answer(f"everyone was held back {self.throttle.num_holds} times in a row, the last time for: {fault}"))
            raise
        finally:
            self.throttle.end(most_cost)

    async def answer(self, request: Request, most_cost: float, sent: float) -> Output:
        """The answer to one request; where not all the tokens fit that it may have, to a second one for fewer."""
        limit: int | None = self.sampling.max_new_tokens
        lowered: dict[str, Any] = {}
        said = await self.post(request, limit)
        if isinstance(said, Refusal) and (room := self.room(said, limit)):
            limit, lowered = room.room, {"lowered_to": room.room or 0}
            self.oddities["texts asked for with fewer tokens, since max_new_tokens does not fit the server's context"] += 1
            said = await self.post(request, limit)
        if isinstance(said, Refusal):
            stated = {"cost": 0.0, "model": self.server.model, **lowered}
            return Output(request.id, "", 0, self.judged(said, limit), time.monotonic() - sent, stated)
        usage = self.usage(said, most_cost) | lowered
        self.throttle.spent += usage["cost"]
        text, reason = self.written(said, limit)
        return Output(request.id, text, usage.get("completion_tokens", 0), reason, time.monotonic() - sent, usage)

    async def post(self, request: Request, limit: int | None) -> dict[str, Any] | Refusal:
        """What the server says to one request. Raises: Fault when nothing arrives that can be read."""
        num_answers, body = self.throttle.num_answers, self.engine.body(request, self.sampling, limit)
        try:
            async with asyncio.timeout(self.server.timeout):  # post() leaves out the checks of chat.completions.create(), a fifth of its work
                answer = completions.parsed(await self.client.post("/chat/completions", cast_to=object, body=body))
        except (APITimeoutError, TimeoutError):
            raise Fault("time-outs", means_too_many=self.throttle.num_answers == num_answers) from None
        except APIConnectionError:
            raise Fault("connection errors") from None
        except APIStatusError as error:
            body = error.body if isinstance(error.body, dict) else {"message": error.body}
            return self.refusal(body, error.response.headers, status=error.status_code, otherwise=error.response.reason_phrase)
        except (ValueError, RecursionError):
            raise Fault("unreadable answers") from None
        if answer is None:
            raise Fault("unreadable answers")
        if not answer.get("choices") and (answer.get("error") or answer.get("object") == "error"):
            error_body = answer.get("error") or answer
            return self.refusal(error_body if isinstance(error_body, dict) else {"message": error_body}, {}, status=None, otherwise="an error")
        return answer

    def refusal(self, body: Mapping[str, Any], headers: Mapping[str, str], *, status: int | None, otherwise: str) -> Refusal:
        """What `body` says, in one line, without the key and its beginning, which some services repeat; its own status where HTTP's is 200."""
        codes = f"{body.get('code')} {body.get('type')} {body.get('error_type')} {body.get('status')}"
        stated = re.search(r"\b[45]\d\d\b", codes)
        if status is None:
            status = int(stated.group()) if stated else 429 if re.search(r"rate_?limit|RESOURCE_EXHAUSTED", codes, re.I) else 200
        words = body.get("message") or body.get("detail") or body.get("error") or otherwise
        return Refusal(status, self.engine.scrubbed_words(" ".join(str(words).split())), codes, headers)

    def room(self, refusal: Refusal, limit: int | None) -> TooLong | None:
        """What fits, where a refusal for `limit` tokens means that fewer may; None where it means anything else."""
        if refusal.status not in ABOUT_THE_REQUEST or self.is_final(refusal):
            return None
        found = too_long(refusal.words, refusal.codes, limit)
        return None if found is None or found.room == 0 else found

    def is_final(self, refusal: Refusal) -> bool:
        return refusal.status == 402 or any(each in refusal.codes for each in NO_CREDIT)

    def written(self, completion: dict[str, Any], limit: int | None) -> tuple[str, FinishReason]:
        """The text and how it ended. Raises: Fault when there is none, or the server gave up half-way; Rejected when it is in no form we know."""
        answer = completions.written(completion)
        if answer is None and completions.has_choice(completion):
            raise Rejected("its answers hold a content that is neither a text nor a list of parts")
        if answer is None:
            raise Fault("answers without a choice")
        if answer.ending == "fault":
            raise Fault("answers that the server gave up", means_too_many=completions.means_too_many(completion))
        if answer.num_dropped:
            self.oddities["parts of answers left out, which hold no text"] += answer.num_dropped
        if answer.ending == "filtered":
            return "", "filtered"
        if answer.refusal or answer.ending == "refused":
            return "", "refused"
        ending = answer.ending
        if ending not in completions.ENDINGS:
            if ending:
                self.oddities[f"answers that ended by {self.engine.scrubbed(ending)[:30]!r}, which is no reason that we know"] += 1
            num_written = completions.num_written(completion)
            ending = "length" if limit is not None and num_written is not None and num_written >= limit else "stop"
        text = self.engine.scrubbed(answer.joined(keep_thinking=self.engine.keep_thinking))
        if ending == "length":
            return text, "length"
        return (text, "stop") if text.strip() else ("", "empty")

    def usage(self, completion: dict[str, Any], most_cost: float) -> dict[str, Any]:
        """What is stored beside a text; without a word from the server, the most that it can have cost."""
        num_prompt, num_written = completions.num_read(completion), completions.num_written(completion)
        known = num_prompt is not None and num_written is not None
        found: dict[str, Any] = {
            "prompt_tokens": num_prompt if known else None,
            "completion_tokens": num_written,
            "reasoning_tokens": completions.num_thought(completion),
            "cost": self.engine.cost(num_prompt, num_written) if num_prompt is not None and num_written is not None else most_cost,
        }
        names = (each for each in ("model", "system_fingerprint") if isinstance(completion.get(each), str))
        found |= {name: self.engine.scrubbed(completion[name]) for name in names}
        return {name: value for name, value in found.items() if value is not None}

    def judged(self, refusal: Refusal, limit: int | None) -> FinishReason:
        """The outcome that a refusal stands for. Raises: Fault, Rejected, RunFailed for all others."""
        status, said = refusal.status, refusal.said
        if self.is_final(refusal):
            raise self.engine.failure(
                f"the account has no credit left ({said}); everything answered is kept: run the same command again with new credit"
            )
        if status == 429 or status in (408, 409, 425) or status >= 500:
            wait = retry_after(refusal.headers, time.time())
            if wait is not None and wait > LONGEST_WAIT_SECONDS:
                raise self.engine.failure(f"it asks to wait {wait:.0f} s ({said}); everything answered is kept: run the same command again then")
            kind = "too many requests" if status == 429 else "time-outs" if status == 408 else "server errors"
            raise Fault(kind, retry_after=wait, means_too_many=status == 429)
        if status == 401:
            name = self.server.api_key_env or "no key, since server.api_key_env is null"
            raise self.engine.failure(f"{self.server.base_url} does not accept the key ({name}): {said}")
        if status in (403, 404):
            look = "look at server.base_url, which mostly ends in /v1, and server.model"
            raise self.engine.failure(f"{self.server.base_url} does not offer this model to this key (status {status}): {said}; {look}")
        if FILTERED.search(f"{refusal.codes} {refusal.words}"):
            return "filtered"
        was_lowered = limit != self.sampling.max_new_tokens
        found = too_long(refusal.words, refusal.codes, limit, again=was_lowered) if status in ABOUT_THE_REQUEST else None
        if found is not None and found.room == 0:
            return "overflow"
        if status == 200:
            raise Fault("errors in place of answers")
        also = f", also for the {limit} tokens that fit: lower {self.engine.role}.max_new_tokens" if was_lowered and limit else ""
        raise Rejected(f"{said} (status {status}){also}")

    def no_money(self, request: Request) -> str:
        limit, spent = self.server.max_cost, self.throttle.spent
        next_cost = self.engine.most_cost(request, self.sampling)
        return (
            f"max_cost is reached: {spent:.4f} of {limit} dollars are spent and the next text may cost {next_cost:.4f}; everything answered is "
            f"kept: raise {self.engine.role}.server.max_cost and run the same command again"
        )


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())) or "no faults"


_jitter = wait_random_exponential(multiplier=1, max=60)
_short_jitter = wait_random_exponential(multiplier=0.25, max=60)


def _wait(state: RetryCallState) -> float:
    """Seconds until the next attempt: a random part of a growing window, behind the pause that the server asked for.

    The window is short for a request that was one too many, since the throttle decides how many are sent.
    """
    fault = state.outcome.exception() if state.outcome else None
    wait: float | None = getattr(fault, "retry_after", None)
    if wait is not None:
        return wait + min(1.0, _jitter(state))
    return _short_jitter(state) if getattr(fault, "means_too_many", False) else _jitter(state)


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Least seconds until the next request, as the headers of an answer have it, in seconds or as a date; None when they are silent.

    A date is compared with the server's own, where it gives one, since clocks differ.
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
