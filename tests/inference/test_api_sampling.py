"""Sampling by a server: it is asked for what the settings say, and what it does not do is said."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

import pytest
from fault_server import completion, served, told

from cotexp.inference.api import ApiEngine
from cotexp.inference.engine import Output, Request
from cotexp.settings.base import RunFailed
from cotexp.settings.sampling import Sampling
from cotexp.settings.server import ApiServer

SAMPLING = Sampling(temperature=0.7, max_new_tokens=50, batch_size=1)
LIFTED = ("top_k", "top_p", "min_p")


def asked(url: str, sampling: Sampling, prompts: list[str], **changes: Any) -> list[Output]:
    outputs: list[Output] = []
    server = ApiServer(service="test", model="m", base_url=f"{url}/v1", max_attempts=2, **changes)
    requests = [Request(f"{number}", prompt) for number, prompt in enumerate(prompts)]
    ApiEngine(server, "teacher").generate(requests, sampling, outputs.append)
    return outputs


def sampled(url: str) -> list[dict[str, Any]]:
    """The fields of each request that restrict sampling."""
    return [{name: each["body"][name] for name in LIFTED if name in each["body"]} for each in told(url, "requests")]


def refusing(**said: Any) -> dict[str, Any]:
    """A server that has said that it does not know fields; it says the same of each request that contains one of them."""
    return {"latency": 0.0, "shares": {}, "text": "Four.", "unknown_fields": said}


def test_a_server_with_defaults_of_its_own_is_told_that_nothing_is_restricted() -> None:
    with served(latency=0.0, fixed={"": {"status": 200, "body": completion("x", "stop", "Four.")}}) as url:
        asked(url, SAMPLING, ["one"])
        asked(url, dataclasses.replace(SAMPLING, top_k=5), ["two"])
        asked(url, SAMPLING, ["three"], extra_body='{"min_p": 0.2}')
        asked(url, dataclasses.replace(SAMPLING, temperature=0.0), ["four"])
        assert sampled(url) == [
            {"top_k": -1, "top_p": 1.0, "min_p": 0.0},
            {"top_k": 5, "top_p": 1.0, "min_p": 0.0},
            {"top_k": -1, "top_p": 1.0, "min_p": 0.2},
            {},
        ]


@pytest.mark.parametrize(
    ("status", "said", "fields"),
    [
        (422, {"detail": "Unexpected fields in the request: {NAMES}"}, ("top_k", "min_p")),  # transformers serve
        (400, {"error": {"message": "Unrecognized request argument supplied: FIRST", "type": "invalid_request_error"}}, ("min_p", "top_k")),
        (400, {"error": {"message": "`temperature` and `FIRST` cannot both be specified for this model."}}, ("top_p",)),
    ],
)
def test_what_a_server_does_not_take_is_left_out_from_then_on_and_every_text_is_answered(
    status: int, said: dict[str, Any], fields: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO), served(**refusing(status=status, body=said, names=fields)) as url:
        outputs = asked(url, SAMPLING, ["one", "two", "three"])
        left = {name: value for name, value in {"top_k": -1, "top_p": 1.0, "min_p": 0.0}.items() if name not in fields}
        num_refused = 1 if "NAMES" in str(said) else len(fields)
        assert sampled(url)[num_refused:] == [left] * 3
        asked(url, SAMPLING, ["four"])
        assert sampled(url)[num_refused:] == [left] * 4, "nor does it refuse them in another round"
    assert [(each.text, each.finish_reason) for each in outputs] == [("Four.", "stop")] * 3
    assert f"requests sent again without {', '.join(sorted(fields))}, which the server does not take" in caplog.text


def test_a_restriction_that_a_server_does_not_take_ends_the_run_with_its_setting() -> None:
    said = {"status": 422, "body": {"detail": "Unexpected fields in the request: {NAMES}"}, "names": ("top_k", "min_p")}
    with served(**refusing(**said)) as url:
        with pytest.raises(RunFailed) as failed:
            asked(url, dataclasses.replace(SAMPLING, top_k=5), [f"{number}" for number in range(20)])
        assert len(told(url, "requests")) == 2, "once with the fields that lift nothing, once without"
    assert str(failed.value) == (
        "teacher.server (test, m): it refuses teacher.top_k=5 (Unexpected fields in the request: {'top_k'}); unset it, or write it in "
        "server.extra_body as this server reads it"
    )


@pytest.mark.parametrize(("num_prompts", "num_samples", "temperature", "warns"), [(8, 2, 0.7, True), (8, 1, 0.7, False), (8, 2, 0.0, False)])
def test_a_server_that_does_not_sample_is_noticed(
    num_prompts: int, num_samples: int, temperature: float, warns: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with served(latency=0.0, shares={}) as url:  # its answer depends on the prompt alone, as that of transformers serve without do_sample
        asked(url, dataclasses.replace(SAMPLING, temperature=temperature), [f"{number}" for number in range(num_prompts)] * num_samples)
    assert (f"the samples of each of {num_prompts} prompts are equal at temperature 0.7" in caplog.text) == warns
