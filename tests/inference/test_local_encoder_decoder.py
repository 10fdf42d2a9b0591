"""Texts of encoder-decoder models: independent of the batch, and in agreement with transformers."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path

import pytest
import torch
from generated_texts import by_transformers, generated, requests_of_many_lengths

from cotexp.inference.engine import Request
from cotexp.inference.local import LocalEngine
from cotexp.models import loading
from cotexp.settings.base import ConfigError
from cotexp.settings.models import PretrainedModel
from cotexp.settings.sampling import Sampling
from cotexp.tasks import QuestionSets, StoriesTask, prompt_for

MAX_NEW_TOKENS = 24
STOPS = {"t5": range(5, 250, 16), "flan": range(5, 250, 16), "bart": range(5, 690, 7)}
"""Ids that end a text here besides EOS, as a model's generation settings may say: a random model hardly ever writes EOS itself."""


@pytest.fixture(scope="module", params=STOPS)
def engine(request: pytest.FixtureRequest, encoder_decoders: dict[str, Path]) -> LocalEngine:
    """Larger random weights: texts that wander and depend on their sources. In float64, where rounding, which differs between processors and
    with the size of a batch, does not decide a token: what is tested is masks, positions and caches."""
    folder = encoder_decoders[request.param]
    loaded = loading.load(folder, PretrainedModel(path=str(folder), device="cpu"))
    torch.manual_seed(0)
    with torch.no_grad():
        for each in loaded.model.parameters():
            if each.dim() == 2:
                each.normal_(std=0.2)
    loaded.model.double()
    loaded.model.generation_config.eos_token_id = [loaded.tokenizer.eos_token_id, *STOPS[request.param]]
    return LocalEngine(loaded)


@pytest.fixture(scope="module")
def requests(engine: LocalEngine, small_task: StoriesTask, small_questions: QuestionSets) -> list[Request]:
    """32 sources of very different length."""
    texts = [prompt_for(small_task, each) for each in small_questions.train[:32]]
    return requests_of_many_lengths(engine, texts, count=32)


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_texts_are_the_same_alone_in_batches_and_shuffled(engine: LocalEngine, requests: list[Request], temperature: float) -> None:
    sampling = Sampling(temperature=temperature, max_new_tokens=MAX_NEW_TOKENS)
    alone = generated(engine, requests, sampling, batch_size=1)
    shuffled = random.Random(0).sample(requests, len(requests))
    assert generated(engine, requests, sampling, batch_size=7) == alone
    assert generated(engine, shuffled, sampling, batch_size=20) == alone
    assert len(set(alone.values())) > 12
    assert len({length for _, length, _ in alone.values()}) > 2, "rows of a batch end at different steps"


@pytest.mark.slow
def test_greedy_texts_agree_with_transformers(engine: LocalEngine, requests: list[Request]) -> None:
    ours = generated(engine, requests, Sampling(max_new_tokens=MAX_NEW_TOKENS))
    assert ours == {each.id: by_transformers(engine, each, max_new_tokens=MAX_NEW_TOKENS) for each in requests}
    assert {reason for *_, reason in ours.values()} == {"stop", "length"}


def test_a_source_is_read_once_and_a_finished_row_is_not_decoded_any_more(
    engine: LocalEngine, requests: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "special_ids", set())  # count unknown tokens too
    encoded, decoded = [], []
    sides = (engine.loaded.model.get_encoder(), engine.loaded.model.get_decoder())
    hooks = [
        side.register_forward_hook(lambda module, args, output, sizes=sizes: sizes.append(tuple(output.last_hidden_state.shape[:2])))
        for side, sizes in zip(sides, (encoded, decoded), strict=True)
    ]
    texts = generated(engine, requests, Sampling(max_new_tokens=MAX_NEW_TOKENS), batch_size=32)
    for each in hooks:
        each.remove()
    steps = [length + (reason == "stop") for _, length, reason in texts.values()]
    assert encoded == [(32, max(len(engine.encode(each)) for each in requests))]
    assert {length for _, length in decoded} == {1}
    assert [rows for rows, _ in decoded] == [sum(each > step for each in steps) for step in range(max(steps))]
    assert decoded[-1][0] < 32


def test_source_and_text_have_a_context_of_their_own_each(engine: LocalEngine, requests: list[Request]) -> None:
    sampling = Sampling(max_new_tokens=MAX_NEW_TOKENS)
    whole = generated(engine, requests, sampling, batch_size=32)
    lengths = {each.id: len(engine.encode(each)) for each in requests}
    context = max(sorted(lengths.values())[20], MAX_NEW_TOKENS)
    small = generated(LocalEngine(dataclasses.replace(engine.loaded, context_length=context)), requests, sampling, batch_size=32)
    for name, row in small.items():
        assert row == (whole[name] if lengths[name] <= context else ("", 0, "overflow"))
    assert {"stop", "overflow"} <= {reason for *_, reason in small.values()}
    short = generated(
        LocalEngine(dataclasses.replace(engine.loaded, context_length=context)), requests, Sampling(max_new_tokens=10**4), batch_size=32
    )
    assert all(length <= context for _, length, _ in short.values())


def test_compiled_steps_are_refused(engine: LocalEngine) -> None:
    with pytest.raises(ConfigError, match=r"^model\.compile must be false for an encoder-decoder model"):
        LocalEngine(engine.loaded, compile=True)
