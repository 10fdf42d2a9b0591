"""The requests of one call to an API server: sent under a throttle, retried after faults, and their answers parsed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from openai import APIConnectionError, APIStatusError, APITimeoutError
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt

from cotexp.inference import completions, time_limit
from cotexp.inference.api_refusals import Fault, Refusal, Rejected, refusal_of, retry_after, wait_seconds
from cotexp.inference.api_service import ApiService
from cotexp.inference.engine import Output, Request
from cotexp.inference.throttle import OutOfMoney, Stopped, Throttle
from cotexp.records import FinishReason
from cotexp.settings.base import RunFailed
from cotexp.settings.sampling import Sampling

log = logging.getLogger(__name__)

LONGEST_WAIT_SECONDS = 300.0
"""If a server asks for a longer pause, the run ends. Started again, it continues."""
MOST_REJECTED_IN_A_ROW = 8
FEWEST_EQUAL = 8
"""Prompts with samples that are all equal, from which on chance does not explain it."""


class ApiBatch:
    """The requests of one call under one throttle. `spent`: dollars that the role has cost before."""

    def __init__(self, service: ApiService, sampling: Sampling, on_output: Callable[[Output], None], *, spent: float, keep_thinking: bool) -> None:
        self.service, self.server, self.sampling, self.on_output = service, service.server, sampling, on_output
        self.keep_thinking = keep_thinking
        self.throttle = Throttle(sampling.batch_size, self.server.max_cost, spent, known=service.learned.capacity)
        self.faults: Counter[str] = Counter()
        self.oddities: Counter[str] = Counter()
        self.num_unanswered = self.rejected_in_a_row = 0
        self.last_rejection = ""
        self.samples: defaultdict[str, list[str]] = defaultdict(list)

    async def run(self, requests: Sequence[Request]) -> None:
        """Answer all requests. Raises: RunFailed if some cannot be answered."""
        throttle, paid_before, left = self.throttle, self.throttle.spent, iter(requests)

        async def work() -> None:
            for each in left:
                if throttle.reason is not None:
                    return
                await self.text(each)

        async with self.service.client() as client, asyncio.TaskGroup() as tasks:
            self.client = client
            for _ in range(min(2 * self.sampling.batch_size, len(requests))):  # some wait for a retry while others are in flight
                tasks.create_task(work())
        self.service.learned.capacity = throttle.capacity
        log.info(
            "%s: %d of %d texts answered, %.4f dollars%s%s",
            *(self.service.role, throttle.num_answers, len(requests), throttle.spent - paid_before),
            f"; faults: {_listed(self.faults)}" if self.faults else "",
            f"; {_listed(self.oddities)}" if self.oddities else "",
        )
        self.compare_samples()
        if throttle.reason is not None:
            raise throttle.reason
        if self.num_unanswered:
            raise self.service.failure(
                f"{self.num_unanswered} of {len(requests)} texts were not answered ({_listed(self.faults)}){self.last_rejection}; "
                "the others are kept: run the same command again to ask for these"
            )

    def compare_samples(self) -> None:
        """Warn if no prompt that was sampled several times has two different texts."""
        repeated = [texts for texts in self.samples.values() if len(texts) > 1]
        if self.sampling.temperature > 0 and len(repeated) >= FEWEST_EQUAL and all(len(set(texts)) == 1 for texts in repeated):
            log.warning(
                "%s: the samples of each of %d prompts are equal at temperature %s, so the server seems not to sample; "
                "transformers serve samples only if the model's generation_config.json contains do_sample=true",
                *(self.service.role, len(repeated), self.sampling.temperature),
            )

    async def text(self, request: Request) -> None:
        """Send a request until it is answered, the attempts are used up, or the throttle stops."""
        throttle, num_answers = self.throttle, self.throttle.num_answers
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(Fault),
            stop=stop_after_attempt(self.server.max_attempts),
            wait=wait_seconds,
            sleep=throttle.sleep,
            reraise=True,
        )
        try:
            await retrying(self.ask, request)
        except Stopped:
            pass
        except OutOfMoney:
            throttle.stop(self.service.failure(self.no_money(request)))
        except RunFailed as error:
            throttle.stop(error)
        except Fault as fault:
            self.num_unanswered += 1
            if throttle.num_answers == num_answers:
                throttle.stop(self.no_answer(f"{self.server.max_attempts} requests for one text failed, the last with: {fault}"))
        except Rejected as error:
            self.num_unanswered += 1
            self.rejected_in_a_row += 1
            self.last_rejection = f"; the last was rejected: {error}"
            if self.rejected_in_a_row >= MOST_REJECTED_IN_A_ROW:
                throttle.stop(self.service.failure(f"it rejects the requests as invalid: {error}; look at server.model and server.extra_body"))

    def no_answer(self, why: str) -> RunFailed:
        """The error for a server that does not answer."""
        return self.service.failure(f"no answer from {self.server.base_url}; {why}; run the same command again when it is back")

    async def ask(self, request: Request) -> None:
        """Send one request and pass its answer to `on_output`. Raises: Fault, Rejected, RunFailed, Stopped, OutOfMoney."""
        most_cost = self.service.most_cost(request, self.sampling)
        sent = await self.throttle.begin(most_cost)
        try:
            output = await self.answer(request, most_cost, sent)
            self.throttle.answered(sent)
            self.rejected_in_a_row = 0
            self.samples[request.prompt].append(output.text)
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
        """The answer to one request. If its `max_new_tokens` do not fit the context, it is sent a second time for fewer."""
        limit: int | None = self.sampling.max_new_tokens
        lowered: dict[str, Any] = {}
        said = await self.said(request, limit)
        if isinstance(said, Refusal) and (fits := said.too_long(limit)) and fits.room != 0:
            limit, lowered = fits.room, {"lowered_to": fits.room or 0}
            self.oddities["texts asked for with fewer tokens, since max_new_tokens does not fit the server's context"] += 1
            said = await self.said(request, limit)
        if isinstance(said, Refusal):
            stated = {"cost": 0.0, "model": self.server.model, **lowered}
            return Output(request.id, "", 0, self.judged(said, limit, was_lowered=bool(lowered)), time.monotonic() - sent, stated)
        usage = self.usage(said, most_cost) | lowered
        self.throttle.spent += usage["cost"]
        text, reason = self.written(said, limit)
        return Output(request.id, text, usage.get("completion_tokens", 0), reason, time.monotonic() - sent, usage)

    async def said(self, request: Request, limit: int | None) -> dict[str, Any] | Refusal:
        """The server's response to one request. Fields that lift its own restrictions of sampling are left out once it refuses them."""
        while True:
            body = self.service.body(request, self.sampling, limit)
            said = await self.post(body)
            if not isinstance(said, Refusal) or not self.service.leaves_out(said, body):
                return said
            self.oddities[f"requests sent again without {', '.join(sorted(self.service.learned.left_out))}, which the server does not take"] += 1

    async def post(self, body: dict[str, Any]) -> dict[str, Any] | Refusal:
        """The server's response to one body. Raises: Fault if no readable response arrives."""
        num_answers = self.throttle.num_answers
        try:
            sent = self.client.post("/chat/completions", cast_to=object, body=body)  # skips chat.completions.create()'s checks, a fifth of its time
            answer = completions.parsed(await time_limit.within(self.server.timeout, sent))
        except (APITimeoutError, TimeoutError):
            raise Fault("time-outs", means_too_many=self.throttle.num_answers == num_answers) from None
        except APIConnectionError:
            raise Fault("connection errors") from None
        except APIStatusError as error:
            return self.refusal(error.body, error.response.headers, status=error.status_code, otherwise=error.response.reason_phrase)
        except (ValueError, RecursionError):
            raise Fault("unreadable answers") from None
        if answer is None:
            raise Fault("unreadable answers")
        if not answer.get("choices") and (answer.get("error") or answer.get("object") == "error"):
            return self.refusal(answer.get("error") or answer, {}, status=None, otherwise="an error")
        return answer

    def refusal(self, body: Any, headers: Mapping[str, str], *, status: int | None, otherwise: str) -> Refusal:
        """The parsed error body, without the key and its first characters, which some services repeat."""
        found = refusal_of(body if isinstance(body, dict) else {"message": body}, headers, status=status, otherwise=otherwise)
        return found._replace(words=self.service.scrubbed_words(found.words))

    def written(self, completion: dict[str, Any], limit: int | None) -> tuple[str, FinishReason]:
        """The text and its finish reason.

        Raises: Fault if there is no text or the server gave up half-way, Rejected if the content has an unknown form.
        """
        answer = completions.written(completion)
        if answer is None and completions.has_choice(completion):
            raise Rejected("its answers hold a content that is neither a text nor a list of parts")
        if answer is None:
            raise Fault("answers without a choice")
        if answer.ending == "fault":
            raise Fault("answers that the server gave up", means_too_many=completions.means_too_many(completion))
        if answer.num_dropped:
            self.oddities["parts of answers left out, which have no text"] += answer.num_dropped
        if answer.ending == "filtered":
            return "", "filtered"
        if answer.refusal or answer.ending == "refused":
            return "", "refused"
        ending = answer.ending
        if ending not in completions.ENDINGS:
            if ending:
                self.oddities[f"answers that ended by {self.service.scrubbed(ending)[:30]!r}, which is not a reason that we know"] += 1
            num_written = completions.num_written(completion)
            ending = "length" if limit is not None and num_written is not None and num_written >= limit else "stop"
        text = self.service.scrubbed(answer.joined(keep_thinking=self.keep_thinking))
        if ending == "length":
            return text, "length"
        return (text, "stop") if text.strip() else ("", "empty")

    def usage(self, completion: dict[str, Any], most_cost: float) -> dict[str, Any]:
        """The tokens and dollars of a text. If the server does not report tokens, the cost is the most that is possible."""
        num_prompt, num_written = completions.num_read(completion), completions.num_written(completion)
        known = num_prompt is not None and num_written is not None
        found: dict[str, Any] = {
            "prompt_tokens": num_prompt if known else None,
            "completion_tokens": num_written,
            "reasoning_tokens": completions.num_thought(completion),
            "cost": self.service.cost(num_prompt, num_written) if num_prompt is not None and num_written is not None else most_cost,
        }
        names = (each for each in ("model", "system_fingerprint") if isinstance(completion.get(each), str))
        found |= {name: self.service.scrubbed(completion[name]) for name in names}
        return {name: value for name, value in found.items() if value is not None}

    def judged(self, refusal: Refusal, limit: int | None, *, was_lowered: bool) -> FinishReason:
        """The finish reason for a refusal that a retry would not change. Raises: Fault, Rejected or RunFailed for other refusals."""
        status, said = refusal.status, refusal.said
        if refusal.is_final:
            raise self.service.failure(
                f"the account has no credit left ({said}); everything answered is kept: run the same command again with new credit"
            )
        if status == 429 or status in (408, 409, 425) or status >= 500:
            wait = retry_after(refusal.headers, time.time())
            if wait is not None and wait > LONGEST_WAIT_SECONDS:
                raise self.service.failure(f"it asks to wait {wait:.0f} s ({said}); everything answered is kept: run the same command again then")
            kind = "too many requests" if status == 429 else "time-outs" if status == 408 else "server errors"
            raise Fault(kind, retry_after=wait, means_too_many=status == 429)
        if status == 401:
            name = self.server.api_key_env or "no key, since server.api_key_env is null"
            raise self.service.failure(f"{self.server.base_url} does not accept the key ({name}): {said}")
        if status in (403, 404):
            look = "look at server.base_url, which usually ends in /v1, and server.model"
            raise self.service.failure(f"{self.server.base_url} does not offer this model to this key (status {status}): {said}; {look}")
        if refusal.is_filtered:
            return "filtered"
        fits = refusal.too_long(limit, again=was_lowered)
        if fits is not None and fits.room == 0:
            return "overflow"
        if status == 200:
            raise Fault("errors in place of answers")
        for name, value in self.sampling.restrictions.items():
            if refusal.is_about(name):
                own = f"{self.service.role}.{name}"
                raise self.service.failure(f"it refuses {own}={value} ({said}); unset it, or write it in server.extra_body as this server reads it")
        also = f", also for the {limit} tokens that fit: lower {self.service.role}.max_new_tokens" if was_lowered and limit else ""
        raise Rejected(f"{said} (status {status}){also}")

    def no_money(self, request: Request) -> str:
        """The error for a request that could cost more than the rest of `max_cost`."""
        limit, spent = self.server.max_cost, self.throttle.spent
        next_cost = self.service.most_cost(request, self.sampling)
        return (
            f"max_cost is reached: {spent:.4f} of {limit} dollars are spent and the next text may cost {next_cost:.4f}; everything answered is "
            f"kept: raise {self.service.role}.server.max_cost and run the same command again"
        )


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())) or "no faults"
