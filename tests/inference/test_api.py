"""Every way in which a server can answer: what is a text, what is an outcome, what is asked again, and what ends the run."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import Any

import pytest
from fault_server import completion, served, told

from cotexp.inference.api import ApiEngine, retry_after
from cotexp.inference.engine import Output, Request
from cotexp.inference.throttle import OutOfMoney, Stopped, Throttle
from cotexp.model_settings import ApiServer, Sampling
from cotexp.sections import RunFailed

KEY = "sk-planted-0123456789"
SAMPLING = Sampling(temperature=0.7, max_new_tokens=50, batch_size=8)


def server(url: str, **changes: Any) -> ApiServer:
    return ApiServer(**{"service": "test", "model": "m", "base_url": f"{url}/v1", "timeout": 5.0, "max_attempts": 2, **changes})


def asked(engine: ApiEngine, *prompts: str) -> tuple[dict[str, Output], str]:
    """(outputs by prompt, the message of the failure or nothing)."""
    outputs: dict[str, Output] = {}
    try:
        engine.generate([Request(each, each) for each in prompts], SAMPLING, lambda output: outputs.update({output.id: output}))
    except RunFailed as error:
        return outputs, str(error)
    return outputs, ""


def error(status: int, message: str, **fields: str) -> dict[str, Any]:
    return {"status": status, "body": {"error": {"message": message, **fields}}}


def answer(message: dict[str, Any], finish_reason: str = "stop", **changes: Any) -> dict[str, Any]:
    body = {**completion("x", finish_reason), **changes}
    return {"status": 200, "body": {**body, "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}]}}


OUTCOMES: dict[str, tuple[dict[str, Any], str, str]] = {
    "a text": (answer({"content": " Four. "}), "stop", " Four. "),
    "no reason given": (answer({"content": "Four."}, finish_reason=""), "stop", "Four."),
    "cut off": (answer({"content": "Fo"}, "length"), "length", "Fo"),
    "thought too long": (answer({"content": None}, "length"), "length", ""),
    "nothing": (answer({"content": None}), "empty", ""),
    "blank": (answer({"content": " \n"}), "empty", ""),
    "refusal": (answer({"content": None, "refusal": "I will not."}), "refused", ""),
    "withheld": (answer({"content": "Fo"}, "content_filter"), "filtered", ""),
    "filter of Azure": (error(400, "The response was filtered", code="content_filter"), "filtered", ""),
    "filter of DeepSeek": (error(400, "Content Exists Risk", code="invalid_request_error"), "filtered", ""),
    "overflow at OpenAI": (error(400, "This model's maximum context length is 9 tokens.", code="context_length_exceeded"), "overflow", ""),
    "overflow at llama.cpp": (error(400, "the request exceeds the available context size", type="exceed_context_size_error"), "overflow", ""),
    "overflow at SGLang": ({"status": 400, "body": {"message": "The input (9 tokens) is longer than the model's context length"}}, "overflow", ""),
}


def test_every_outcome_is_asked_for_once_and_told_apart() -> None:
    with served(latency=0.0, fixed={name: said for name, (said, _, _) in OUTCOMES.items()}) as url:
        outputs, failure = asked(ApiEngine(server(url), "teacher"), *OUTCOMES)
        assert told(url, "counts")["requests"] == len(OUTCOMES)
    assert failure == ""
    assert {name: (each.finish_reason, each.text) for name, each in outputs.items()} == {name: own[1:] for name, own in OUTCOMES.items()}


def test_an_answer_carries_what_it_took_and_cost() -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 4, "completion_tokens_details": {"reasoning_tokens": 3}}
    fixed = {"known": answer({"content": "Four."}, usage=usage), "silent": answer({"content": "Four."}, usage=None)}
    with served(latency=0.0, fixed=fixed) as url:
        engine = ApiEngine(server(url, input_price=1.0, output_price=2.0), "teacher")
        outputs, _ = asked(engine, "known", "silent")
    stated = {"prompt_tokens": 10, "completion_tokens": 4, "reasoning_tokens": 3, "model": "model-of-today", "system_fingerprint": "fp_1"}
    assert outputs["known"].usage == {**stated, "cost": pytest.approx((10 * 1 + 4 * 2) / 1e6)}
    assert outputs["silent"].usage["cost"] == engine.most_cost(Request("silent", "silent"), SAMPLING) > 50 * 2 / 1e6
    assert outputs["known"].seconds > 0


def test_thinking_is_part_of_what_a_teacher_writes_and_no_part_of_a_rewrite() -> None:
    with served(latency=0.0, fixed={"q": answer({"content": "Four.", "reasoning_content": " 2 + 2 "})}) as url:
        texts = [asked(ApiEngine(server(url), "any", keep_thinking=keep), "q")[0]["q"].text for keep in (True, False)]
    assert texts == ["<think>\n2 + 2\n</think>\n\nFour.", "Four."]


def test_a_request_says_what_the_settings_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANTED", KEY)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-somebody-else")
    fixed = {"": answer({"content": "Four."})}
    with served(latency=0.0, fixed=fixed) as url:
        changes = {"api_key_env": "PLANTED", "extra_body": '{"top_p": 0.9}', "token_limit_field": "max_completion_tokens"}
        asked(ApiEngine(server(url, **changes), "teacher"), "one", "two")
        asked(ApiEngine(server(url, send_seed=False), "teacher"), "three")
        asked(ApiEngine(server(url), "teacher"), "one")
        one, two, three, again = sorted(told(url, "requests")[:2], key=lambda each: each["row"]) + told(url, "requests")[2:]
    fields = {"model": "m", "messages": [{"role": "user", "content": "one"}], "temperature": 0.7, "max_completion_tokens": 50, "top_p": 0.9}
    assert one["body"] == {**fields, "seed": one["body"]["seed"]}
    assert one["authorization"] == f"Bearer {KEY}"
    assert one["body"]["seed"] == again["body"]["seed"] != two["body"]["seed"]
    assert (three["body"]["max_tokens"], "seed" in three["body"]) == (50, False)
    assert "sk-of" not in str(three["authorization"]), "a server without keys gets none"


FATAL = {
    "key": (error(401, "Incorrect API key provided: SECRET", code="invalid_api_key"), "does not accept the key (PLANTED): Incorrect API key"),
    "part of the key": (error(401, f"Incorrect API key: {KEY[:8]}****{KEY[-4:]}."), "does not accept the key (PLANTED): Incorrect API key: ***"),
    "rights": (error(403, "No access for SECRET"), "does not offer this model to this key (status 403): No access"),
    "model": (error(404, "The model `m` does not exist", code="model_not_found"), "does not offer this model to this key (status 404): The model"),
    "balance": (error(402, "Insufficient Balance"), "the account has no credit left (Insufficient Balance)"),
    "quota": (error(429, "You exceeded your current quota", type="insufficient_quota", code="insufficient_quota"), "the account has no credit left"),
    "pause": ({**error(429, "Daily limit"), "headers": {"Retry-After": "86400"}}, "it asks to wait 86400 s (Daily limit)"),
}


@pytest.mark.parametrize("name", FATAL)
def test_what_no_repetition_mends_ends_the_run_at_once_with_one_line_and_no_key(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PLANTED", KEY)
    said, expected = FATAL[name]
    with served(latency=0.0, fixed={"": said}) as url:
        outputs, failure = asked(ApiEngine(server(url, api_key_env="PLANTED", max_attempts=8), "teacher"), *(f"row {n}" for n in range(500)))
        assert told(url, "counts")["requests"] <= SAMPLING.batch_size
    assert outputs == {}
    assert failure.startswith("teacher.server (test, m): ")
    assert expected in failure
    assert "\n" not in failure
    captured = capsys.readouterr()
    assert KEY not in failure + captured.out + captured.err


def test_a_key_that_a_server_repeats_in_its_answers_is_not_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANTED", KEY)
    with served(latency=0.0, fixed={"q": answer({"content": "You sent SECRET."}, model="SECRET", system_fingerprint="SECRET")}) as url:
        output = asked(ApiEngine(server(url, api_key_env="PLANTED"), "teacher"), "q")[0]["q"]
    assert KEY not in str(output)
    assert output.text == "You sent Bearer ***."


@pytest.mark.parametrize(("key", "sent"), [("4", "Bearer 4"), (f"{KEY}\r\n", f"Bearer {KEY}")])
def test_a_key_is_sent_without_white_space_and_a_placeholder_takes_nothing_from_a_text(key: str, sent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANTED", key)
    with served(latency=0.0, fixed={"q": answer({"content": "2 + 2 = 4"})}) as url:
        output = asked(ApiEngine(server(url, api_key_env="PLANTED"), "teacher"), "q")[0]["q"]
        assert told(url, "requests")[0]["authorization"] == sent
    assert output.text == "2 + 2 = 4"


def test_rows_that_stay_unanswered_are_counted_by_fault_and_the_others_are_kept() -> None:
    with served(latency=0.0, fixed={"bad": error(500, "Out of order"), "good": answer({"content": "Four."})}) as url:
        prompts = ["bad 1", *(f"good {n}" for n in range(40)), "bad 2", *(f"good {n}" for n in range(40, 80))]
        outputs, failure = asked(ApiEngine(server(url, max_attempts=3), "compressor"), *prompts)
        numbers = [sum(each["row"] == name for each in told(url, "requests")) for name in ("bad 1", "bad 2")]
    assert set(outputs) == {each for each in prompts if each.startswith("good")}
    assert failure.startswith("compressor.server (test, m): 2 of 82 texts were not answered (6 server errors); the others are kept: run the same")
    assert numbers == [3, 3]


def test_a_dead_server_fails_soon_whatever_is_left_to_ask() -> None:
    started = time.monotonic()
    with served() as url:
        pass
    outputs, failure = asked(ApiEngine(server(url, max_attempts=3), "teacher"), *(f"row {n}" for n in range(5000)))
    assert outputs == {}
    assert "no answer from http://127.0.0.1:" in failure
    assert "3 requests for one text failed, the last with: connection errors; run the same command again" in failure
    assert time.monotonic() - started < 20


def test_requests_that_a_server_finds_wrong_are_not_repeated_and_end_the_run_when_all_are() -> None:
    wrong = error(400, "Unrecognized request argument supplied: top_q")
    with served(latency=0.0, fixed={"wrong": wrong, "good": answer({"content": "Four."})}) as url:
        outputs, failure = asked(ApiEngine(server(url), "teacher"), "good 1", "wrong 1", "good 2")
        assert told(url, "counts")["requests"] == 3
        none, at_once = asked(ApiEngine(server(url), "teacher"), *(f"wrong {n}" for n in range(1000)))
        assert told(url, "counts")["requests"] <= 3 + 2 * SAMPLING.batch_size
    assert set(outputs) == {"good 1", "good 2"}
    assert "1 of 3 texts were not answered (1 rejected); the last was found wrong: Unrecognized request argument" in failure
    assert none == {}
    assert "it finds the requests wrong: Unrecognized request argument supplied: top_q (status 400); look at server.model" in at_once


def test_no_more_is_spent_than_allowed_and_more_money_goes_on_from_there() -> None:
    prompts = [f"row {n}" for n in range(200)]
    prices = {"input_price": 1e3, "output_price": 1e3}  # an answer is 2 + 4 tokens, and 157 at most
    with served(latency=0.0, shares={}) as url:
        outputs, failure = asked(ApiEngine(server(url, **prices, max_cost=0.8), "teacher", paid=lambda: 0.2), *prompts)
        spent = sum(each.usage["cost"] for each in outputs.values())
        rest, no_failure = asked(ApiEngine(server(url, **prices, max_cost=5.0), "teacher", paid=lambda: 0.2 + spent), *(set(prompts) - set(outputs)))
        assert told(url, "counts")["requests"] == len(prompts)
    most = 0.157
    assert 0.8 - most < 0.2 + spent <= 0.8
    assert f"max_cost is reached: {0.2 + spent:.4f} of 0.8 dollars are spent" in failure
    assert "raise teacher.server.max_cost and run the same command again" in failure
    assert (no_failure, set(outputs) | set(rest)) == ("", set(prompts))


def test_a_failure_of_ours_is_shown_as_it_is() -> None:
    def full(output: Output) -> None:
        raise OSError(28, "No space left on device")

    with served(latency=0.0, shares={}) as url, pytest.raises(OSError, match="No space left on device"):
        ApiEngine(server(url), "teacher").generate([Request(str(n), str(n)) for n in range(20)], SAMPLING, full)


# --- pauses --------------------------------------------------------------------------------------------------------------

DATE, LATER = "Sun, 22 Nov 2026 10:00:00 GMT", "Sun, 22 Nov 2026 10:00:07 GMT"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "2.5"}, 2.5),
        ({"retry-after": "-1"}, 0.0),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": LATER, "date": DATE}, 7.0),
        ({"retry-after": DATE, "date": LATER}, 0.0),
        ({"retry-after": "soon"}, None),
    ],
)
def test_a_pause_is_read_in_every_form(headers: dict[str, str], expected: float | None) -> None:
    assert retry_after(headers, now=0.0) == expected


def test_without_a_date_of_its_own_a_servers_date_is_compared_with_our_clock() -> None:
    assert retry_after({"retry-after": LATER}, now=retry_after({"retry-after": DATE}, now=0.0) or 0.0) == 7.0


# --- how many at once ------------------------------------------------------------------------------------------------------


async def rounds_of_answers(throttle: Throttle, count: int) -> list[int]:
    """How many requests get out per round trip, when each is answered."""
    sizes = []
    for _ in range(count):
        sent = 0
        while throttle.in_flight < int(throttle.limit):
            await throttle.begin(0.0)
            sent += 1
        sizes.append(sent)
        for _ in range(sent):
            throttle.answered()
            throttle.end(0.0)
    return sizes


def test_requests_in_flight_double_until_the_first_refusal_and_then_grow_by_one() -> None:
    async def scenario() -> tuple[list[int], float, list[int]]:
        throttle = Throttle(most=200)
        doubling = await rounds_of_answers(throttle, 4)
        sent = [await throttle.begin(0.0) for _ in range(64)]
        for each in sent:
            throttle.refused(each, wait=0.0)
        for _ in sent:
            throttle.end(0.0)
        halved = throttle.limit
        return doubling, halved, await rounds_of_answers(throttle, 4)

    doubling, halved, growing = asyncio.run(scenario())
    assert doubling == [8, 16, 32, 64]
    assert halved == 32, "one cut for all that were sent before it was known"
    assert growing[0] == 32
    assert all(0 <= other - one <= 1 for one, other in itertools.pairwise(growing))
    assert growing[-1] > growing[0]


def test_two_refusals_in_a_row_hold_everyone_back_and_one_between_answers_does_not() -> None:
    async def seconds(between: bool) -> float:
        throttle = Throttle(most=8)
        sent = [await throttle.begin(0.0) for _ in range(3)]
        throttle.refused(sent[0], wait=0.3)
        if between:
            throttle.answered()
        throttle.refused(sent[1], wait=0.3)
        for _ in sent:
            throttle.end(0.0)
        started = time.monotonic()
        await throttle.begin(0.0)
        return time.monotonic() - started

    assert asyncio.run(seconds(between=False)) >= 0.29
    assert asyncio.run(seconds(between=True)) < 0.2


def test_money_is_held_for_what_is_in_flight() -> None:
    async def scenario() -> None:
        throttle = Throttle(most=8, max_cost=1.0)
        await throttle.begin(0.6)
        waiting = asyncio.ensure_future(throttle.begin(0.6))
        await asyncio.sleep(0.05)
        assert not waiting.done(), "the first may still cost 0.6"
        throttle.spent += 0.1
        throttle.end(0.6)
        await waiting
        throttle.spent += 0.6
        throttle.end(0.6)
        with pytest.raises(OutOfMoney):
            await throttle.begin(0.6)

    asyncio.run(scenario())


def test_a_stop_wakes_who_waits_and_who_sleeps() -> None:
    async def scenario() -> None:
        throttle = Throttle(most=1)
        await throttle.begin(0.0)
        waiters = [asyncio.ensure_future(throttle.begin(0.0)), asyncio.ensure_future(throttle.begin(0.0)), asyncio.ensure_future(throttle.sleep(60))]
        await asyncio.sleep(0.05)
        throttle.stop(RunFailed("over"))
        ends = await asyncio.wait_for(asyncio.gather(*waiters, return_exceptions=True), timeout=5)
        assert [type(each) for each in ends] == [Stopped] * 3

    asyncio.run(scenario())
