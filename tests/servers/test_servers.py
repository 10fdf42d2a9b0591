"""One suite over every server that is installed here and the faulty one of this project: what each answers, and that nothing is lost or paid twice.

`thinking_model` says what a server must write. docs/servers.md has what each answers, in words.
"""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import real_servers
import thinking_model
from real_servers import KINDS, Running
from transformers import PreTrainedTokenizerFast

from cotexp.inference.api import ApiEngine
from cotexp.inference.api_batch import ApiBatch
from cotexp.inference.engine import Output, Request
from cotexp.methods.reasoning import Parts, without_thinking
from cotexp.settings.base import RunFailed
from cotexp.settings.sampling import Sampling
from cotexp.settings.server import ApiServer

pytestmark = pytest.mark.slow
GREEDY = Sampling(max_new_tokens=32, batch_size=8)
SAMPLED = dataclasses.replace(GREEDY, temperature=1.0)
FIRST = "It is one."
SAYS_WHAT_IS_TOO_LONG = ("faulty", "llama.cpp", "vllm")
SEPARATES_THOUGHTS = ("faulty", "llama.cpp", "vllm")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("gguf")
    return real_servers.make_model(tmp_path_factory.mktemp("thinker"))


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.name)
def server(request: pytest.FixtureRequest, model: Path) -> Iterator[Running]:
    if request.param.program() is None:
        pytest.skip(request.param.missing())
    with real_servers.running(request.param, model) as running:
        yield running


def settings_of(server: Running, **changes: Any) -> ApiServer:
    return ApiServer(**{"service": "local", "model": server.model, "base_url": f"{server.url}/v1", **changes})


def outputs_of(server: Running, requests: list[Request], sampling: Sampling, *, role: str = "teacher", **changes: Any) -> dict[str, Output]:
    outputs: dict[str, Output] = {}
    engine = ApiEngine(settings_of(server, **changes), role, keep_thinking=role == "teacher")
    engine.generate(requests, sampling, lambda output: outputs.update({output.id: output}))
    return outputs


def questions(count: int) -> list[Request]:
    return [Request(f"{number}", f"What is {number} plus {number}?") for number in range(count)]


def sentences(outputs: dict[str, Output]) -> Counter[str]:
    return Counter(without_thinking(each.text) for each in outputs.values())


# --- texts -------------------------------------------------------------------------------------------------------------------


def test_each_answer_is_what_the_model_writes_with_its_thought_apart(server: Running) -> None:
    outputs = outputs_of(server, questions(24), GREEDY)
    assert {each.finish_reason for each in outputs.values()} == {"stop"}
    assert {without_thinking(each.text) for each in outputs.values()} == {FIRST}
    assert {Parts.of(each.text).thinking for each in outputs.values()} == {thinking_model.THOUGHT}
    rewritten = outputs_of(server, questions(4), GREEDY, role="compressor")
    assert {without_thinking(each.text) for each in rewritten.values()} == {FIRST}
    if server.kind.name in SEPARATES_THOUGHTS:
        assert {each.text for each in rewritten.values()} == {FIRST}


def test_tokens_are_counted_as_the_models_tokenizer_counts_them(server: Running, model: Path) -> None:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(model / "model")
    asked = [*questions(4), Request("é", "Größe: 3 × 4 = ?\n\n  Ünïcode"), Request("long", "word " * 30)]
    outputs = outputs_of(server, asked, GREEDY)
    counted = {each.id: thinking_model.num_prompt_tokens(tokenizer, each.prompt) for each in asked}
    counted = {each.id: len(each.prompt.split()) for each in asked} if server.kind.name == "faulty" else counted
    assert {name: each.usage["prompt_tokens"] for name, each in outputs.items()} == counted
    assert {each.num_tokens for each in outputs.values()} == {thinking_model.ANSWER_TOKENS + 1}, "with the token that ends the text"
    assert {each.usage.get("reasoning_tokens") for each in outputs.values()} == {None}, "none of them counts these"


def test_a_limit_cuts_a_text_off_within_its_thought_and_after_it(server: Running) -> None:
    for limit in (1, 2, 6):
        outputs = outputs_of(server, questions(4), dataclasses.replace(GREEDY, max_new_tokens=limit))
        assert {(each.finish_reason, each.num_tokens) for each in outputs.values()} == {("length", limit)}
    assert {without_thinking(each.text) for each in outputs.values()} == {"It is"}


# --- sampling ----------------------------------------------------------------------------------------------------------------


def sampled(server: Running, sampling: Sampling, count: int = 12) -> dict[str, Output]:
    """Texts of one prompt. transformers serve is told what to do in its own words, and asked for one text at a time, since its seed is global."""
    requests = [Request(f"{number}", "Which word?") for number in range(count)]
    if server.kind.name != "transformers":
        return outputs_of(server, requests, sampling)
    config = {"do_sample": True, "top_k": 0, "eos_token_id": thinking_model.CONTROL.index("<|end|>"), "pad_token_id": 0}
    extra_body = json.dumps({"generation_config": json.dumps(config)})
    return outputs_of(server, requests, dataclasses.replace(sampling, batch_size=1), extra_body=extra_body)


def test_the_same_seed_gives_the_same_texts_and_another_one_others(server: Running) -> None:
    first, again, others = (sampled(server, dataclasses.replace(SAMPLED, seed=seed)) for seed in (0, 0, 1))
    texts = [{name: each.text for name, each in outputs.items()} for outputs in (first, again, others)]
    assert texts[0] == texts[1] != texts[2]
    assert len(sentences(first)) > 1


def test_nothing_restricts_sampling_that_the_settings_do_not(server: Running) -> None:
    found = sentences(sampled(server, SAMPLED, count=100))
    assert found.keys() <= thinking_model.answers()
    num_rare = sum(found[each] for each in thinking_model.answers(thinking_model.RARE))
    assert 3 <= num_rare <= 35, f"15 % of 100 texts have a rare word, which defaults of servers leave out: {found}"
    assert found["It is one."] > found["It is three."] > 0


@pytest.mark.parametrize(
    ("restriction", "words"),
    [({"top_k": 1}, ["one"]), ({"top_k": 2}, ["one", "two"]), ({"top_p": 0.3}, ["one"]), ({"min_p": 0.9}, ["one"])],
    ids=str,
)
def test_a_restriction_holds_or_ends_the_run_with_its_setting(server: Running, restriction: dict[str, Any], words: list[str]) -> None:
    sampling = dataclasses.replace(SAMPLED, **restriction)
    name = next(iter(restriction))
    if server.kind.name == "transformers" and name != "top_p":
        with pytest.raises(RunFailed, match=rf"it refuses teacher\.{name}=.*unset it, or write it in server\.extra_body"):
            sampled(server, sampling)
        return
    count = 12 if len(words) == 1 else 60  # of twelve, llama.cpp's draws for these seeds give the first word twelve times
    assert set(sentences(sampled(server, sampling, count))) == thinking_model.answers(words)


# --- what does not fit -----------------------------------------------------------------------------------------------------------


def test_a_prompt_that_fills_the_context_overflows_and_the_others_are_answered(server: Running) -> None:
    asked = [Request("long", "word " * 300), Request("very long", "word " * 20_000), *questions(2)]
    if server.kind.name not in SAYS_WHAT_IS_TOO_LONG:
        asked = [asked[0], *asked[2:]]
    outputs = outputs_of(server, asked, GREEDY)
    reasons = {name: each.finish_reason for name, each in outputs.items()}
    if server.kind.name in SAYS_WHAT_IS_TOO_LONG:
        assert reasons == {"long": "overflow", "very long": "overflow", "0": "stop", "1": "stop"}
    else:
        assert reasons["long"] in ("stop", "length"), "transformers serve does not look at the model's context"


@pytest.mark.parametrize("max_new_tokens", [thinking_model.CONTEXT - 20, thinking_model.CONTEXT, 100_000])
def test_more_tokens_than_the_context_holds_are_asked_for_as_many_as_fit(server: Running, max_new_tokens: int) -> None:
    asked = [Request("half", "word " * 30), *questions(2)]
    outputs = outputs_of(server, asked, dataclasses.replace(GREEDY, max_new_tokens=max_new_tokens))
    assert {(each.finish_reason, without_thinking(each.text)) for each in outputs.values()} == {("stop", FIRST)}
    if server.kind.name == "vllm":  # 0.32 refuses what is more than the whole context, and cuts what does not fit beside the prompt
        lowered = {each.usage.get("lowered_to") for each in outputs.values()}
        assert lowered == ({thinking_model.CONTEXT} if max_new_tokens > thinking_model.CONTEXT else {None})


def test_a_prompt_of_any_length_around_the_context_is_answered_with_what_is_left_or_overflows(server: Running, model: Path) -> None:
    if server.kind.name not in SAYS_WHAT_IS_TOO_LONG:
        pytest.skip("transformers serve does not look at the model's context")
    tokenizer = PreTrainedTokenizerFast.from_pretrained(model / "model")
    beside = 0 if server.kind.name == "faulty" else thinking_model.num_prompt_tokens(tokenizer, "")
    room = {f"{left}": left for left in range(-3, 12)}
    asked = [Request(name, ("a " if server.kind.name == "faulty" else "a") * (thinking_model.CONTEXT - left - beside)) for name, left in room.items()]
    assert server.kind.name == "faulty" or thinking_model.num_prompt_tokens(tokenizer, asked[3].prompt) == thinking_model.CONTEXT
    outputs = outputs_of(server, asked, GREEDY)
    for name, left in room.items():
        own = outputs[name]
        expected = ("overflow", 0) if left < 1 else ("length", left) if left < 9 else ("stop", 9)
        assert (own.finish_reason, own.num_tokens) == expected, name


# --- in flight, and restarts -----------------------------------------------------------------------------------------------------


def test_sixty_four_in_flight_are_all_answered_once(server: Running) -> None:
    outputs = outputs_of(server, questions(128), dataclasses.replace(GREEDY, batch_size=64))
    assert len(outputs) == 128
    assert sentences(outputs) == {FIRST: 128}


def test_no_row_is_lost_when_the_server_dies_in_mid_run_and_only_those_in_flight_are_asked_again(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prints what happened."""
    in_flight: set[str] = set()
    at_its_death: list[set[str]] = []
    post = ApiBatch.post

    async def watched(batch: ApiBatch, body: dict[str, Any]) -> Any:
        row = body["messages"][0]["content"]
        in_flight.add(row)
        try:
            return await post(batch, body)
        finally:
            in_flight.discard(row)

    monkeypatch.setattr(ApiBatch, "post", watched)
    asked, outputs, restarts = questions(120), list[Output](), list[threading.Thread]()

    def restart() -> None:
        server.kill()
        time.sleep(1.0)
        server.start()

    def on_output(output: Output) -> None:
        outputs.append(output)
        if len(outputs) == 40:
            at_its_death.append(in_flight - {each.prompt for each in asked if each.id == output.id})
            restarts.append(threading.Thread(target=restart))
            restarts[0].start()

    engine, started, num_starts = ApiEngine(settings_of(server), "teacher"), time.monotonic(), 0
    while len(outputs) < len(asked):
        done, num_starts = {each.id for each in outputs}, num_starts + 1
        assert num_starts < 4
        try:
            engine.generate([each for each in asked if each.id not in done], dataclasses.replace(GREEDY, batch_size=16), on_output)
        except RunFailed as error:
            print(error)
            restarts[0].join()
            server.wait()
    assert sorted(each.id for each in outputs) == sorted(each.id for each in asked), "none is lost, none is stored twice"
    assert len(at_its_death[0]) <= 16, "no other row can be paid for twice"
    print(
        f"{server.kind.name}: {len(outputs)} of {len(asked)} rows in {num_starts} starts and {time.monotonic() - started:.0f} s; "
        f"{len(at_its_death[0])} rows in flight at the server's death, the only ones that may have been paid for twice"
    )
