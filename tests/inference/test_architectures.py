"""Whatever a model remembers a text by, its texts, scores and losses are its own, whatever stands beside them in a batch."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import pytest
import torch
from architectures import CAUSAL, CONTEXT, ENCODER_DECODERS, REFUSED, ROPE_LIMIT, WINDOW, make
from generated_texts import by_transformers, generated

from cotexp.inference.engine import Output, Request
from cotexp.inference.local import LocalEngine
from cotexp.inference.scoring import Item, Scorer, Text
from cotexp.models.causality import check_causal
from cotexp.models.encoding import Encoded
from cotexp.models.loading import LoadedModel
from cotexp.settings.base import ConfigError
from cotexp.settings.sampling import Sampling
from cotexp.tasks import QuestionSets, StoriesTask, prompt_for
from cotexp.training.data import EncodedExample, collate, collate_source_target
from cotexp.training.modules import supervised_loss

KINDS = {**CAUSAL, **ENCODER_DECODERS}
MAX_NEW_TOKENS = 12
SAMPLING = Sampling(max_new_tokens=MAX_NEW_TOKENS)
WITHOUT_STATIC_CACHE = {"GPT-Neo", "Mamba", "Mamba2", "FalconMamba", "RWKV", "MiniMax"}
"""Of the causal kinds, those that compiled steps are refused for."""
REFILLED = {"Llama", "Qwen3", "Phi", "Llama with linear RoPE", "Llama with YaRN", "GPT-2", "GPT-Neo", "OPT", "BLOOM", "Mixtral", "Qwen3-MoE"}
"""Of the causal kinds, those whose state is that of all tokens, without windows, recurrence or rotary limits."""
MIX_TEXTS_OF_A_ROW = {"OPT", "BLOOM", "LFM2", "Jamba", "Qwen3-Next", "Mamba", "Mamba2", "FalconMamba", "RWKV", "MiniMax"}
"""Of the causal kinds, those that micro-batches without padding are refused for."""


pytestmark = pytest.mark.usefixtures("one_thread")


def loaded_with(anything: LoadedModel, kind: tuple[str, dict[str, Any]]) -> LoadedModel:
    model = make(kind, len(anything.tokenizer), anything.encoder.eos_id)
    model.generation_config.eos_token_id = [anything.encoder.eos_id, *range(5, 660, 16)]  # a random model hardly ever writes EOS itself
    return dataclasses.replace(anything, model=model, context_length=CONTEXT)


@pytest.fixture(scope="module", params=KINDS)
def loaded(request: pytest.FixtureRequest, anything: LoadedModel) -> LoadedModel:
    return loaded_with(anything, KINDS[request.param])


@pytest.fixture(scope="module")
def requests(anything: LoadedModel, small_task: StoriesTask, small_questions: QuestionSets) -> list[Request]:
    """Of lengths far below and far above window and rotary limit, some that reach the limit while they are written, and two of one length."""
    text = " ".join(prompt_for(small_task, each) for each in small_questions.train[:4])
    frame = len(anything.encoder.prompt(""))
    wanted = [frame + 2, frame + 9, ROPE_LIMIT - 5, ROPE_LIMIT - 2, ROPE_LIMIT - 2, ROPE_LIMIT + 9, ROPE_LIMIT + 30]
    result = [Request(f"{number}/0", anything.encoder.cut(text[31 * number :], length - frame)) for number, length in enumerate(wanted)]
    lengths = [len(anything.encoder.prompt(each.prompt)) for each in result]
    assert min(lengths) < WINDOW < ROPE_LIMIT - 2 * MAX_NEW_TOKENS < max(lengths) - MAX_NEW_TOKENS
    return result


@pytest.mark.slow
def test_a_text_is_the_same_alone_in_any_batch_and_by_transformers(loaded: LoadedModel, requests: list[Request]) -> None:
    engine = LocalEngine(loaded)
    alone = generated(engine, requests, SAMPLING, batch_size=1)
    assert generated(engine, requests, SAMPLING) == alone
    assert generated(engine, requests[::-2], SAMPLING) == {each.id: alone[each.id] for each in requests[::-2]}
    assert {each.id: by_transformers(engine, each, max_new_tokens=MAX_NEW_TOKENS) for each in requests} == alone
    assert len({text for text, *_ in alone.values()}) > 3, "texts that depend on their prompts"


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [0.0, 0.8])
@pytest.mark.parametrize("name", CAUSAL)
def test_a_text_is_the_same_where_others_take_the_places_of_ended_ones(
    anything: LoadedModel, requests: list[Request], name: str, temperature: float
) -> None:
    loaded = loaded_with(anything, CAUSAL[name])
    engine = LocalEngine(loaded, refill=True)
    assert engine.batching.refill == (name in REFILLED)
    sampling = Sampling(max_new_tokens=MAX_NEW_TOKENS, temperature=temperature)
    alone = generated(engine, requests, sampling, batch_size=1)
    assert generated(engine, requests, dataclasses.replace(sampling, batch_size=2)) == alone
    assert generated(engine, requests[::-1], dataclasses.replace(sampling, batch_size=3)) == alone


@pytest.mark.parametrize("name", ["GPT-Neo", "GPT-2", "OPT", "Mistral"])
def test_a_batch_may_grow_wider_than_any_text_of_it(anything: LoadedModel, requests: list[Request], name: str) -> None:
    """The longest prompt fills the context at once, and the shortest goes on behind as much padding."""
    architecture, own = CAUSAL[name]
    context = ROPE_LIMIT + 32
    limits = {"n_positions" if name == "GPT-2" else "max_position_embeddings": context}
    loaded = dataclasses.replace(loaded_with(anything, (architecture, {**own, **limits})), context_length=context)
    loaded.model.generation_config.eos_token_id = None
    engine, outputs = LocalEngine(loaded), []
    engine.generate([requests[0], requests[-1]], Sampling(max_new_tokens=context), outputs.append)
    alone: list[Output] = []
    engine.generate(requests[:1], Sampling(max_new_tokens=context), alone.append)
    assert {each.id: each.text for each in outputs}[requests[0].id] == alone[0].text
    assert alone[0].num_tokens > context // 2


@pytest.mark.slow
@pytest.mark.parametrize("name", CAUSAL)
def test_compiled_steps_write_the_same_or_are_refused(anything: LoadedModel, requests: list[Request], name: str) -> None:
    loaded = loaded_with(anything, CAUSAL[name])
    if name in WITHOUT_STATIC_CACHE:
        with pytest.raises(ConfigError, match=r"^model\.compile must be false for \w+, which is not exact over a cache of fixed size; got true$"):
            LocalEngine(loaded, compile=True)
    else:
        with torch.compiler.set_stance("force_eager"):
            assert generated(LocalEngine(loaded, compile=True), requests, SAMPLING) == generated(LocalEngine(loaded), requests, SAMPLING)


def random_ids(draw: random.Random, count: int) -> list[int]:
    return [draw.randrange(10, 600) for _ in range(count)]


def items() -> list[Item]:
    """Texts below and above window and rotary limit, which share beginnings."""
    draw, result = random.Random(3), []
    for number, (num_prompt, lengths) in enumerate([(4, [2, 9, 30]), (20, [44, 45, 70]), (6, [ROPE_LIMIT - 6, ROPE_LIMIT - 7]), (70, [3, 12])]):
        base = random_ids(draw, max(lengths))
        texts = [[*base[: length - 1], *random_ids(draw, 1)] for length in lengths] + [base]
        result.append(Item(str(number), random_ids(draw, num_prompt), [Text(ids, [0, len(ids) // 2, len(ids) - 1]) for ids in texts]))
    return result


@torch.no_grad()
def logits_of(model: Any, prompt: list[int], ids: list[int]) -> torch.Tensor:
    """(T, V) logits for each token of a text, by one plain pass."""
    if model.config.is_encoder_decoder:
        inputs = {"input_ids": torch.tensor([prompt]), "decoder_input_ids": torch.tensor([[model.config.decoder_start_token_id, *ids[:-1]]])}
        return model(**inputs, use_cache=False).logits[0]
    return model(input_ids=torch.tensor([prompt + ids]), use_cache=False).logits[0, len(prompt) - 1 : -1]


@pytest.mark.slow
def test_scores_are_those_of_one_plain_pass(loaded: LoadedModel) -> None:
    scorer, found = Scorer(loaded, 400), {}
    own = [each for each in items() if scorer.fits(each)]
    scorer.score(own, lambda name, scores: found.update({name: scores}))
    for each in own:
        for text, scores in zip(each.texts, found[each.id], strict=True):
            expected = torch.log_softmax(logits_of(loaded.model, each.prompt_ids, text.ids).double(), dim=-1)
            assert scores == pytest.approx([expected[index, text.ids[index]].item() for index in text.read], abs=2e-4)
    assert len(own) > 1


def training_pairs() -> list[tuple[list[int], list[int]]]:
    """Prompts and texts, below and above window and rotary limit."""
    draw = random.Random(5)
    return [(random_ids(draw, prompt), random_ids(draw, target)) for prompt, target in ((5, 3), (30, 20), (ROPE_LIMIT, 20), (17, 9), (2, 40))]


def encoded(pairs: list[tuple[list[int], list[int]]]) -> list[EncodedExample]:
    return [EncodedExample(Encoded(prompt + ids, [0] * len(prompt) + [1] * len(ids)), "full") for prompt, ids in pairs]


@pytest.mark.parametrize("name", CAUSAL)
def test_without_padding_loss_and_gradients_are_the_same_or_the_model_is_refused(anything: LoadedModel, name: str) -> None:
    model, batch = loaded_with(anything, CAUSAL[name]).model, collate(encoded(training_pairs()), 0, 1)
    if name in MIX_TEXTS_OF_A_ROW:
        with pytest.raises(ConfigError, match=r"^trainer\.padding_free must be false for this model \(\w+\), which mixes texts .*; take false$"):
            supervised_loss(model, batch, padding_free=True)
        return
    found = []
    for padding_free in (False, True):
        losses = supervised_loss(model, batch, padding_free=padding_free)
        losses.total.backward()
        found.append((losses.sums, torch.cat([each.grad.flatten() for each in model.parameters() if each.grad is not None])))
        model.zero_grad()
    (padded, padded_gradient), (packed, packed_gradient) = found
    assert torch.allclose(padded, packed, rtol=1e-6)
    assert (padded_gradient - packed_gradient).abs().max() <= 1e-5 * padded_gradient.abs().max()


def test_the_training_loss_is_that_of_plain_passes(loaded: LoadedModel) -> None:
    pairs = training_pairs()
    examples = encoded(pairs)
    batch = (collate_source_target if loaded.model.config.is_encoder_decoder else collate)(examples, 0, 1)
    with torch.no_grad():
        sums = supervised_loss(loaded.model, batch).sums
    losses = [torch.nn.functional.cross_entropy(logits_of(loaded.model, *each).double(), torch.tensor(each[1]), reduction="sum") for each in pairs]
    check_causal(loaded.model)
    assert sums[1].sum() == sum(len(ids) for _, ids in pairs)
    assert sums[0].sum().item() == pytest.approx(sum(losses).item(), rel=1e-5)


@pytest.mark.parametrize("name", REFUSED)
def test_a_model_that_is_not_causal_is_refused_in_one_line(anything: LoadedModel, name: str) -> None:
    loaded = loaded_with(anything, REFUSED[name])
    with pytest.raises(ConfigError, match=r"^model\.path: \w+ decoded step by step differs from one pass over the whole text .*take another model"):
        LocalEngine(loaded)
    with pytest.raises(ConfigError, match=r"^model\.path: \w+ is not causal: .*; take a causal model$"):
        check_causal(loaded.model)
    with pytest.raises(ConfigError, match=r"^model\.path: \w+ cannot be scored: .*depends on later tokens; take a causal model$"):
        Scorer(loaded)


def test_a_model_that_loses_its_memory_is_refused(anything: LoadedModel) -> None:
    """Its forward takes what it is given under any name, and looks at none of it."""
    loaded = loaded_with(anything, CAUSAL["Llama"])
    forward = loaded.model.forward
    loaded.model.forward = lambda input_ids, **others: forward(input_ids=input_ids)
    with pytest.raises(ConfigError, match="decoded step by step differs"):
        LocalEngine(loaded)
