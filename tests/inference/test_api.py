"""Every way in which a server can answer: what is a text, what is an outcome, what is asked again, and what ends the run."""

from __future__ import annotations

import dataclasses
import gc
import itertools
import json
import os
import signal
import socketserver
import threading
from typing import Any

import pytest
from fault_server import completion, served, told
from tenacity import RetryCallState, Retrying

from cotexp import signals
from cotexp.inference.api import ApiEngine
from cotexp.inference.api_refusals import Fault, retry_after, wait_seconds
from cotexp.inference.engine import Output, Request
from cotexp.settings.base import RunFailed
from cotexp.settings.sampling import Sampling
from cotexp.settings.server import ApiServer

KEY = "sk-planted-0123456789"
SAMPLING = Sampling(temperature=0.7, max_new_tokens=50, batch_size=8)


def server(url: str, **changes: Any) -> ApiServer:
    return ApiServer(**{"service": "test", "model": "m", "base_url": f"{url}/v1", "timeout": 60.0, "max_attempts": 2, **changes})


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


DELTAS = [{"delta": {"content": "Fo"}, "finish_reason": None}, {"delta": {"content": "ur."}, "finish_reason": "stop"}]
STREAM = "".join(f"data: {json.dumps({'choices': [each]})}\n\n" for each in DELTAS) + "data: [DONE]\n\n"
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
    "parts": (answer({"content": [{"type": "text", "text": "Fo"}, {"type": "text", "text": "ur."}]}), "stop", "Four."),
    "no text": (answer({"content": None, "tool_calls": [{"id": "1"}]}, "tool_calls"), "empty", ""),
    "a call with text": (answer({"content": "Four.", "tool_calls": [{"id": "1"}]}, "tool_calls"), "stop", "Four."),
    "the limit of Mistral": (answer({"content": "Fo"}, "model_length"), "length", "Fo"),
    "the limit of Anthropic": (answer({"content": "Fo"}, "max_tokens"), "length", "Fo"),
    "null": (
        {"status": 200, "body": {**completion("x", "stop"), "choices": [{"message": {"content": "Four."}, "finish_reason": None}]}},
        "stop",
        "Four.",
    ),
    "as long as allowed": (answer({"content": "Fo"}, "", usage={"prompt_tokens": 1, "completion_tokens": 50}), "length", "Fo"),
    "part that refuses": (answer({"content": [{"type": "refusal", "refusal": "I will not."}]}), "refused", ""),
    "refusal of Anthropic": (answer({"content": "No."}, "refusal"), "refused", ""),
    "withheld by Gemini": (answer({"content": "Fo"}, "SAFETY"), "filtered", ""),
    "several choices": (
        {"status": 200, "body": {**completion("x", "stop", "Four."), "choices": completion("x", "stop", "Four.")["choices"] * 3}},
        "stop",
        "Four.",
    ),
    "a stream": ({"status": 200, "body": STREAM, "headers": {"Content-Type": "text/event-stream"}}, "stop", "Four."),
    "another type": (
        {"status": 200, "body": json.dumps(completion("x", "stop", "Four.")), "headers": {"Content-Type": "text/plain"}},
        "stop",
        "Four.",
    ),
    "packed": ({"status": 200, "body": completion("x", "stop", "Four."), "headers": {"Content-Encoding": "gzip"}}, "stop", "Four."),
    "an error under 200": ({"status": 200, "body": {"error": {"message": "filtered", "code": "content_filter"}}}, "filtered", ""),
    "overflow under 200": (
        {"status": 200, "body": {"error": {"message": "The prompt is too long: 9, model maximum context length: 8"}}},
        "overflow",
        "",
    ),
    "overflow at TGI": ({"status": 422, "body": {"error": "`inputs` must have less than 8 tokens. Given: 9", "error_type": "x"}}, "overflow", ""),
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
    assert outputs["silent"].usage["cost"] == engine.service.most_cost(Request("silent", "silent"), SAMPLING) > 50 * 2 / 1e6
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
        restricted = dataclasses.replace(SAMPLING, top_k=5, min_p=0.1)
        ApiEngine(server(url), "teacher").generate([Request("four", "four")], restricted, lambda output: None)
        assert told(url, "requests")[-1]["body"].items() >= {"top_k": 5, "min_p": 0.1}.items()
    fields = {"model": "m", "messages": [{"role": "user", "content": "one"}], "temperature": 0.7, "max_completion_tokens": 50}
    fields |= {"top_p": 0.9, "top_k": -1, "min_p": 0.0}
    assert one["body"] == {**fields, "seed": one["body"]["seed"]}
    assert one["authorization"] == f"Bearer {KEY}"
    assert one["body"]["seed"] == again["body"]["seed"] != two["body"]["seed"]
    assert (three["body"]["max_tokens"], "seed" in three["body"]) == (50, False)
    assert "sk-of" not in str(three["authorization"]), "a server without keys gets none"


# --- what is asked again ---------------------------------------------------------------------------------------------------

AGAIN: dict[str, tuple[dict[str, Any], str]] = {
    "gave up": (answer({"content": "Fo"}, "error"), "2 answers that the server gave up"),
    "stopped": (answer({"content": "Fo"}, "abort"), "2 answers that the server gave up"),
    "no room": (answer({"content": "Fo"}, "insufficient_system_resource"), "2 answers that the server gave up"),
    "no choices": ({"status": 200, "body": {**completion("x", "stop"), "choices": []}}, "2 answers without a choice"),
    "null choices": ({"status": 200, "body": {"choices": None}}, "2 answers without a choice"),
    "a stream that broke off": ({"status": 200, "body": STREAM[:60], "headers": {"Content-Type": "text/event-stream"}}, "2 unreadable answers"),
    "a page": ({"status": 200, "body": "<html>", "headers": {"Content-Type": "text/html"}}, "2 unreadable answers"),
    "nothing": ({"status": 200, "body": ""}, "2 unreadable answers"),
    "wrongly packed": ({"status": 200, "body": "", "headers": {"Content-Encoding": "br"}}, "2 unreadable answers"),
    "busy under 200": ({"status": 200, "body": {"error": {"message": "Slow down", "code": 429}}}, "2 too many requests"),
    "down under 200": ({"status": 200, "body": {"error": {"message": "Upstream", "code": "502"}}}, "2 server errors"),
    "an unknown error under 200": ({"status": 200, "body": {"object": "error", "message": "Hm"}}, "2 errors in place of answers"),
}


@pytest.mark.slow
def test_what_may_pass_is_asked_again_and_never_stored() -> None:
    with served(latency=0.0, fixed={**{name: said for name, (said, _) in AGAIN.items()}, "good": answer({"content": "Four."})}) as url:
        for name, (_, counted) in AGAIN.items():
            outputs, failure = asked(ApiEngine(server(url), "teacher"), "good", name)
            assert set(outputs) == {"good"}, name
            assert f"({counted})" in failure or f"the last with: {counted[2:]}" in failure, name
        requests = told(url, "requests")
    assert {name: sum(each["row"] == name for each in requests) for name in AGAIN} == dict.fromkeys(AGAIN, 2)


def test_a_content_of_a_kind_that_holds_no_text_is_not_paid_for_again() -> None:
    with served(latency=0.0, fixed={"bad": answer({"content": 7}), "good": answer({"content": "Four."})}) as url:
        outputs, failure = asked(ApiEngine(server(url), "teacher"), "good", "bad")
        assert told(url, "counts")["requests"] == 2
    assert set(outputs) == {"good"}
    assert "the last was rejected: its answers hold a content that is neither a text nor a list of parts" in failure


# --- room for fewer tokens -------------------------------------------------------------------------------------------------

WORDINGS = {
    "vLLM 0.11": "'max_tokens' or 'max_completion_tokens' is too large: {limit}. This model's maximum context length is {length} tokens and your "
    "request has {prompt} input tokens ({limit} > {length} - {prompt}).",
    "vLLM 0.15": "This model's maximum context length is {left} tokens. However, your request has {prompt} input tokens. Please reduce the length.",
    "vLLM 0.12": "This model's maximum context length is {length} tokens. However, your request has {prompt} input tokens. Please reduce the length "
    "of the input messages.",
    "vLLM 0.25": "This model's maximum context length is {length} tokens. However, you requested {limit} output tokens and your prompt contains "
    "{prompt} input tokens, for a total of {total} tokens.",
    "SGLang": "Requested token count exceeds the model's maximum context length of {length} tokens. You requested a total of {total} tokens: "
    "{prompt} tokens from the input messages and {limit} tokens for the completion.",
    "TGI": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= {length}. Given: {prompt} `inputs` tokens and {limit} "
    "`max_new_tokens`",
    "OpenAI": "This model's maximum context length is {length} tokens. However, you requested {total} tokens ({prompt} in the messages, {limit} in "
    "the completion). Please reduce the length of the messages or completion.",
}
LONG = " ".join(["word"] * 60)


@pytest.mark.parametrize("name", WORDINGS)
def test_tokens_that_do_not_fit_are_asked_for_once_more_as_many_as_do(name: str) -> None:
    with served(latency=0.0, shares={}, context={"length": 50, "said": WORDINGS[name]}) as url:
        outputs, failure = asked(ApiEngine(server(url, input_price=1.0, output_price=1.0), "teacher"), "row of four words", LONG)
        requests = told(url, "requests")
    assert failure == ""
    output = outputs["row of four words"]
    assert (output.finish_reason, output.text, output.usage["lowered_to"]) == ("stop", "answer to row of four words", 46)
    assert [each["body"]["max_tokens"] for each in requests if each["row"] == "row of four words"] == [50, 46]
    assert output.usage["cost"] == pytest.approx(10 / 1e6), "the refusal costs nothing"
    assert (outputs[LONG].finish_reason, outputs[LONG].usage["cost"]) == ("overflow", 0.0)


@pytest.mark.parametrize("name", WORDINGS)
def test_a_prompt_of_any_length_around_the_context_is_answered_or_overflows(name: str) -> None:
    prompts = {length: " ".join(["word"] * length) for length in range(46, 54)}
    with served(latency=0.0, shares={}, text="Four.", context={"length": 50, "said": WORDINGS[name]}) as url:
        outputs, failure = asked(ApiEngine(server(url), "teacher"), *prompts.values())
    assert failure == ""
    assert {length: outputs[each].finish_reason for length, each in prompts.items()} == {
        length: "stop" if length < 50 else "overflow" for length in prompts
    }


def test_where_a_server_does_not_say_what_fits_it_is_asked_without_a_limit() -> None:
    said = (
        "This model's maximum context length is {length} tokens. However, you requested {limit} output tokens and your prompt contains at least 1 "
        "input tokens, for a total of at least 51 tokens."
    )
    with served(latency=0.0, shares={}, context={"length": 50, "said": said}) as url:
        outputs, failure = asked(ApiEngine(server(url), "teacher"), "row of four words", LONG)
        requests = told(url, "requests")
    assert failure == ""
    assert [each["body"].get("max_tokens") for each in requests if each["row"] == "row of four words"] == [50, None]
    assert {name: each.finish_reason for name, each in outputs.items()} == {"row of four words": "stop", LONG: "overflow"}
    assert outputs["row of four words"].usage["lowered_to"] == 0


def test_a_server_that_refuses_what_it_has_room_for_stores_nothing() -> None:
    wrong = error(400, "max_tokens is too large: this model supports at most 40 output tokens")
    with served(latency=0.0, fixed={"wrong": wrong, "good": answer({"content": "Four."})}) as url:
        outputs, failure = asked(ApiEngine(server(url), "teacher"), "good", "wrong")
        assert [each["body"]["max_tokens"] for each in told(url, "requests") if each["row"] == "wrong"] == [50, 40]
    assert set(outputs) == {"good"}
    assert "(status 400), also for the 40 tokens that fit: lower teacher.max_new_tokens" in failure


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


def test_what_variables_hold_goes_into_address_body_and_headers_and_is_stored_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GATE", "TEAM", "TICKET"):
        monkeypatch.setenv(name, f"planted-{name.lower()}")
    changes = {"extra_body": '{"ticket": {"token": "{TICKET}"}}', "headers_env": '{"X-Team": "TEAM"}'}
    said = "You sent planted-gate, planted-team and planted-ticket."
    with served(latency=0.0, fixed={"good": answer({"content": said}), "bad": error(400, said)}) as url:
        engine = ApiEngine(server(f"{url}/{{GATE}}", **changes), "teacher")
        outputs, failure = asked(engine, "good", "bad")
        sent = told(url, "requests")[0]
    assert (sent["path"], sent["body"]["ticket"], sent["headers"]["x-team"]) == (
        "/planted-gate/v1/chat/completions",
        {"token": "planted-ticket"},
        "planted-team",
    )
    assert outputs["good"].text == "You sent ***, *** and ***."
    assert "planted" not in str(outputs) + failure + str(engine.server)


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
    connections = itertools.count()

    class Closes(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            next(connections)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Closes) as listener:
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{listener.server_address[1]}"
        outputs, failure = asked(ApiEngine(server(url, max_attempts=3), "teacher"), *(f"row {n}" for n in range(5000)))
        listener.shutdown()
    assert outputs == {}
    assert next(connections) < 100
    assert "no answer from http://127.0.0.1:" in failure
    assert "3 requests for one text failed, the last with: connection errors; run the same command again" in failure


def test_a_server_that_refuses_everyone_without_a_word_when_to_come_back_ends_the_run() -> None:
    with served(latency=0.0, fixed={"": error(429, "Slow down")}) as url:
        outputs, failure = asked(ApiEngine(server(url), "teacher"), *(f"row {n}" for n in range(500)))
        assert told(url, "counts")["requests"] < 100
    assert outputs == {}
    assert "no answer from http://127.0.0.1:" in failure


def test_requests_that_a_server_finds_wrong_are_not_repeated_and_end_the_run_when_all_are() -> None:
    wrong = error(400, "Unrecognized request argument supplied: top_q")
    with served(latency=0.0, fixed={"wrong": wrong, "good": answer({"content": "Four."})}) as url:
        outputs, failure = asked(ApiEngine(server(url), "teacher"), "good 1", "wrong 1", "good 2")
        assert told(url, "counts")["requests"] == 3
        none, at_once = asked(ApiEngine(server(url), "teacher"), *(f"wrong {n}" for n in range(1000)))
        assert told(url, "counts")["requests"] <= 3 + 2 * SAMPLING.batch_size
    assert set(outputs) == {"good 1", "good 2"}
    assert "1 of 3 texts were not answered (1 rejected); the last was rejected: Unrecognized request argument" in failure
    assert none == {}
    assert "it rejects the requests as invalid: Unrecognized request argument supplied: top_q (status 400); look at server.model" in at_once


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


def test_a_signal_ends_the_requests_without_a_word_of_asyncio(caplog: pytest.LogCaptureFixture) -> None:
    def stop(output: Output) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    with served(latency=0.0, shares={}) as url, pytest.raises(signals.Stopped), signals.handled(are_repeated=True):
        ApiEngine(server(url), "teacher").generate([Request(str(n), str(n)) for n in range(20)], SAMPLING, stop)
    gc.collect()
    assert [each.getMessage() for each in caplog.records if each.name == "asyncio"] == []


# --- pauses --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("num_attempts", "least", "most"), [(8, 60.0, 125.0), (12, 180.0, 365.0)])
def test_no_text_of_many_gives_a_server_that_restarts_less_time_than_is_promised(num_attempts: int, least: float, most: float) -> None:
    """The first that has used up its attempts ends the run."""

    def waited() -> float:
        state = RetryCallState(Retrying(), None, (), {})
        state.set_exception((Fault, Fault("connection errors"), None))
        total = 0.0
        for state.attempt_number in range(1, num_attempts):
            total += wait_seconds(state)
        return total

    waits = [waited() for _ in range(300)]
    assert least <= min(waits) < max(waits) <= most


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
