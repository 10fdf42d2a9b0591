"""Generated texts: independent of the batch, in agreement with transformers, and drawn with the right probabilities."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from generated_texts import by_transformers, generated, requests_of_many_lengths
from scipy.stats import chisquare
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from cotexp.inference import batching
from cotexp.inference.engine import Request
from cotexp.inference.local import LocalEngine, _choose
from cotexp.models import loading
from cotexp.settings.base import RunFailed
from cotexp.settings.models import PretrainedModel
from cotexp.settings.sampling import Sampling
from cotexp.tasks import QuestionSets, StoriesTask, prompt_for

MAX_NEW_TOKENS = 24
STOPS = list(range(5, 666, 16))
"""Ids that end a text here besides EOS, as a model's generation settings may say: the random model hardly ever writes EOS itself."""


@pytest.fixture(scope="module")
def engine(random_model: Path, tmp_path_factory: pytest.TempPathFactory) -> LocalEngine:
    """Large random weights and a head of its own: texts that wander, where the shared small weights repeat one token. In float64, where
    rounding, which differs between processors and with the size of a batch, does not decide a token."""
    folder = tmp_path_factory.mktemp("models") / "wandering"
    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig.from_pretrained(random_model, tie_word_embeddings=False, initializer_range=0.3)).save_pretrained(folder)
    AutoTokenizer.from_pretrained(random_model).save_pretrained(folder)
    loaded = loading.load(folder, PretrainedModel(path=str(folder), device="cpu"))
    loaded.model.double()
    loaded.model.generation_config.eos_token_id = [loaded.tokenizer.eos_token_id, *STOPS]
    return LocalEngine(loaded)


@pytest.fixture(scope="module")
def requests(engine: LocalEngine, small_task: StoriesTask, small_questions: QuestionSets) -> list[Request]:
    """64 prompts of very different length."""
    texts = [prompt_for(small_task, each) for each in [*small_questions.train, *small_questions.validation, *small_questions.test]]
    return requests_of_many_lengths(engine, texts, count=64)


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_texts_are_the_same_alone_in_batches_and_shuffled(engine: LocalEngine, requests: list[Request], temperature: float) -> None:
    sampling = Sampling(temperature=temperature, max_new_tokens=MAX_NEW_TOKENS)
    alone = generated(engine, requests, sampling, batch_size=1)
    shuffled = random.Random(0).sample(requests, len(requests))
    assert generated(engine, requests, sampling, batch_size=7) == alone
    assert generated(engine, shuffled, sampling, batch_size=32) == alone
    assert len(set(alone.values())) > 16
    assert {reason for *_, reason in alone.values()} == {"stop", "length"}, "rows of a batch end at different steps"


def test_sampled_texts_differ_between_seeds_and_between_samples(engine: LocalEngine, requests: list[Request]) -> None:
    prompt = requests[0].prompt
    samples = [Request(f"q/{number}", prompt) for number in range(16)]
    first, second = (generated(engine, samples, Sampling(temperature=1.0, max_new_tokens=16, seed=seed), batch_size=16) for seed in (0, 1))
    assert len(set(first.values())) >= 14, "one or two may end at once"
    assert sum(first[each.id] == second[each.id] for each in samples) <= 2


def test_a_sampled_text_is_the_start_of_the_same_text_with_a_larger_budget(engine: LocalEngine, requests: list[Request]) -> None:
    short, long = (generated(engine, requests[:16], Sampling(temperature=0.7, max_new_tokens=n), batch_size=16) for n in (6, 12))
    assert all(length <= 6 for _, length, _ in short.values())
    assert all(long[name][0].startswith(text.rstrip("\ufffd")) for name, (text, _, _) in short.items())
    assert all(long[name] == row for name, row in short.items() if row[2] == "stop")


def test_greedy_texts_agree_with_transformers(engine: LocalEngine, requests: list[Request]) -> None:
    ours = generated(engine, requests[:24], Sampling(max_new_tokens=MAX_NEW_TOKENS))
    assert ours == {each.id: by_transformers(engine, each, max_new_tokens=MAX_NEW_TOKENS) for each in requests[:24]}
    assert {reason for *_, reason in ours.values()} == {"stop", "length"}


def test_the_end_token_is_neither_in_the_text_nor_counted(random_model: Path) -> None:
    """A model whose every prediction is EOS, then one that never writes it."""
    loaded = loading.load(random_model, PretrainedModel(path=str(random_model), device="cpu"))
    eos = loaded.tokenizer.eos_token_id
    favour = torch.zeros(loaded.model.config.vocab_size)
    loaded.model.lm_head.register_forward_hook(lambda module, args, logits: logits + favour)
    engine, requests = LocalEngine(loaded), [Request("a", "How many?"), Request("b", "x")]
    favour[eos] = 1000
    assert set(generated(engine, requests, Sampling(max_new_tokens=5), batch_size=2).values()) == {("", 0, "stop")}
    favour[eos] = -1000
    never = generated(engine, requests, Sampling(max_new_tokens=5), batch_size=2)
    assert {(length, reason) for _, length, reason in never.values()} == {(5, "length")}
    assert not any("<|end|>" in text for text, *_ in never.values())


def test_an_end_token_in_the_last_possible_step_is_a_stop(engine: LocalEngine, requests: list[Request]) -> None:
    whole = generated(engine, requests, Sampling(max_new_tokens=MAX_NEW_TOKENS), batch_size=64)
    name, (text, length, _) = next((name, row) for name, row in whole.items() if row[2] == "stop" and row[1] > 1)
    request = [each for each in requests if each.id == name]
    assert generated(engine, request, Sampling(max_new_tokens=length + 1), batch_size=1)[name] == (text, length, "stop")
    assert generated(engine, request, Sampling(max_new_tokens=length), batch_size=1)[name] == (text, length, "length")


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [0.7, 1.5])
def test_frequencies_of_sampled_tokens_agree_with_the_softmax(engine: LocalEngine, requests: list[Request], temperature: float) -> None:
    prompt, num_draws = requests[3].prompt, 6000
    with torch.no_grad():
        logits_V = engine.loaded.model(input_ids=torch.tensor([engine.encode(requests[3])])).logits[0, -1].double()

    def expected_counts(at_temperature: float) -> Counter[tuple[str, str]]:
        counts: Counter[tuple[str, str]] = Counter()
        for token, probability in enumerate(torch.softmax(logits_V / at_temperature, dim=0).tolist()):
            ends = token in engine.stop_ids
            counts["" if ends else engine.loaded.encoder.decode([token]), "stop" if ends else "length"] += probability * num_draws  # type: ignore[assignment]
        return counts

    draws = [Request(f"draw {number}", prompt) for number in range(num_draws)]
    outputs = generated(engine, draws, Sampling(temperature=temperature, max_new_tokens=1, seed=7), batch_size=1000)
    observed = Counter((text, reason) for text, _, reason in outputs.values())

    def p_value(expected: Counter[tuple[str, str]]) -> float:
        common = [name for name, count in expected.items() if count >= 8]
        rest = num_draws - sum(expected[name] for name in common)
        ours, theirs = [observed[name] for name in common], [expected[name] for name in common]
        assert len(common) > 10
        return float(chisquare([*ours, num_draws - sum(ours)], [*theirs, rest]).pvalue)

    assert p_value(expected_counts(temperature)) > 0.001
    assert p_value(expected_counts(temperature * 1.5)) < 1e-6, "this test would notice another temperature"


RESTRICTED = [{"top_p": 0.8}, {"top_k": 20}, {"min_p": 0.2}, {"top_p": 0.6, "top_k": 40}, {"top_k": 30, "top_p": 0.9, "min_p": 0.1}]


@pytest.mark.parametrize("restrictions", RESTRICTED, ids=str)
def test_restricted_sampling_draws_from_the_tokens_that_generate_would_draw_from(
    engine: LocalEngine, requests: list[Request], restrictions: dict[str, Any]
) -> None:
    prompt = torch.tensor([engine.encode(requests[3])])
    words = {"do_sample": True, "temperature": 0.7, "max_new_tokens": 1, "top_k": 0, "top_p": 1.0, **restrictions}
    scores = engine.loaded.model.generate(
        input_ids=prompt, attention_mask=torch.ones_like(prompt), output_scores=True, return_dict_in_generate=True, **words
    ).scores[0][0]
    allowed = {token for token, score in enumerate(scores.tolist()) if score > -math.inf}
    everything = set(range(len(scores)))
    assert len(allowed) < len(everything) / 4, "the restriction is felt"

    def drawn(**kept: Any) -> set[int]:
        sampling = Sampling(temperature=0.7, max_new_tokens=1, seed=3, **kept)
        logits_BV = engine.loaded.model(input_ids=prompt).logits[:, -1].float()
        uniform_B = torch.linspace(0, 1, 4001, dtype=torch.float64)[:-1]
        return set(_choose(logits_BV.expand(len(uniform_B), -1), sampling, uniform_B.tolist()).tolist())

    with torch.no_grad():
        assert drawn(**restrictions) <= allowed
        assert len(drawn(**restrictions)) >= 0.6 * len(allowed), "all but the rarest of 4,000 evenly spread draws"
        assert not drawn() <= allowed, "this test would notice a restriction that is not applied"


@pytest.mark.slow
def test_a_restriction_that_restricts_nothing_changes_no_text(engine: LocalEngine, requests: list[Request]) -> None:
    free = generated(engine, requests, Sampling(temperature=1.0, max_new_tokens=MAX_NEW_TOKENS), batch_size=8)
    wide = Sampling(temperature=1.0, max_new_tokens=MAX_NEW_TOKENS, top_k=10_000_000, top_p=1.0, min_p=0.0)
    assert generated(engine, requests, wide, batch_size=8) == free
    narrow = generated(engine, requests, Sampling(temperature=1.0, max_new_tokens=MAX_NEW_TOKENS, top_k=1), batch_size=8)
    assert narrow == generated(engine, requests, Sampling(max_new_tokens=MAX_NEW_TOKENS), batch_size=8), "the likeliest token alone is greedy"


@contextlib.contextmanager
def passes_of(engine: LocalEngine, *, most: int = 10**6) -> Iterator[list[tuple[int, ...]]]:
    """(rows, tokens) of every forward pass; one of more than `most` rows finds no memory."""
    shapes: list[tuple[int, ...]] = []

    def watch(module: torch.nn.Module, args: tuple[object, ...], kwargs: dict[str, torch.Tensor]) -> None:
        shapes.append(tuple(kwargs["input_ids"].shape))
        if shapes[-1][0] > most:
            raise torch.OutOfMemoryError("CUDA out of memory")

    hook = engine.loaded.model.register_forward_pre_hook(watch, with_kwargs=True)
    try:
        yield shapes
    finally:
        hook.remove()


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_texts_over_a_cache_of_fixed_size_are_the_same(engine: LocalEngine, requests: list[Request], temperature: float) -> None:
    sampling = Sampling(temperature=temperature, max_new_tokens=MAX_NEW_TOKENS)
    compiled = LocalEngine(engine.loaded, compile=True)
    with torch.compiler.set_stance("force_eager"), passes_of(engine) as shapes:
        texts = generated(compiled, requests[:50], sampling, batch_size=50)
    assert texts == generated(engine, requests[:50], sampling, batch_size=50)
    rows = [rows for rows, _ in shapes]
    assert set(rows) <= {64, 32, 16, 8, 4, 2, 1}, "a compiled step meets few sizes"
    assert rows == sorted(rows, reverse=True)
    assert rows[-1] < rows[0], "rows that ended leave"


@pytest.mark.slow
def test_texts_by_compiled_steps_are_the_same(engine: LocalEngine, requests: list[Request]) -> None:
    """Compiled for the CPU: in float32 the likeliest tokens are far enough apart for its other order of sums."""
    if shutil.which("c++") is None:
        pytest.skip("torch.compile needs a C++ compiler on the CPU, and there is none")
    sampling, compiled = Sampling(max_new_tokens=8), LocalEngine(engine.loaded, compile=True)
    torch._dynamo.utils.counters.clear()
    texts = generated(compiled, requests[:3], sampling, batch_size=3)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
    assert texts == generated(engine, requests[:3], sampling, batch_size=3)


def test_a_text_ends_where_the_context_is_full_and_a_prompt_that_fills_it_is_an_overflow(engine: LocalEngine, requests: list[Request]) -> None:
    sampling = Sampling(max_new_tokens=MAX_NEW_TOKENS)
    whole = generated(engine, requests, sampling, batch_size=64)
    lengths = {each.id: len(engine.encode(each)) for each in requests}
    context = sorted(lengths.values())[40]
    small = generated(LocalEngine(dataclasses.replace(engine.loaded, context_length=context)), requests, sampling, batch_size=64)
    reasons = Counter()
    for name, (text, length, reason) in small.items():
        room = context - lengths[name]
        reasons[reason if room >= MAX_NEW_TOKENS else f"cut {reason}"] += 1
        if room <= 0:
            assert (text, length, reason) == ("", 0, "overflow")
        elif whole[name][1] < room:
            assert (text, length, reason) == whole[name]
        else:
            assert reason == "length"
            assert whole[name][0].startswith(text.rstrip("\ufffd"))
            assert length <= room
    assert {"stop", "length", "cut overflow", "cut length"} <= set(reasons)


@contextlib.contextmanager
def refilling(engine: LocalEngine, tokens: int | None = None) -> Iterator[None]:
    """As on a GPU: waiting rows take the places of ended ones."""
    before = engine.batching, engine.max_batch_tokens
    engine.batching, engine.max_batch_tokens = batching.probe(engine.loaded, compiled=False, refill=True), tokens
    assert engine.batching.refill
    yield
    engine.batching, engine.max_batch_tokens = before


def test_waiting_rows_take_the_places_of_ended_ones_and_no_more(engine: LocalEngine, requests: list[Request]) -> None:
    sampling = Sampling(max_new_tokens=MAX_NEW_TOKENS, temperature=0.7, batch_size=8)
    whole = generated(engine, requests, sampling)
    with passes_of(engine) as shapes:
        assert generated(engine, requests, sampling) == whole
    steps_in_batches = sum(tokens == 1 for _, tokens in shapes)
    with refilling(engine), passes_of(engine) as shapes:
        assert generated(engine, requests, sampling) == whole
    assert max(rows for rows, _ in shapes) == 8
    assert next(rows for rows, tokens in shapes if tokens > 1) == 8
    assert sum(rows for rows, tokens in shapes if tokens > 1) == len(requests), "every prompt is read once"
    assert sum(tokens == 1 for _, tokens in shapes) < steps_in_batches


def test_rows_that_join_keep_to_the_tokens_of_a_batch_by_their_expected_lengths(engine: LocalEngine, requests: list[Request]) -> None:
    sampling, length = Sampling(max_new_tokens=MAX_NEW_TOKENS, temperature=1.0), len(engine.encode(requests[0]))
    for expected, at_once in ((None, MAX_NEW_TOKENS), (5, 5), (10**6, MAX_NEW_TOKENS)):
        own = [requests[0]._replace(id=f"q/{number}", expected=expected) for number in range(12)]
        with refilling(engine, 3 * (length + at_once)), passes_of(engine) as shapes:
            assert len(generated(engine, own, sampling)) == len(own)
        assert max(rows for rows, _ in shapes) == 3


def test_a_batch_that_finds_no_memory_is_halved_and_the_texts_stay_the_same(
    engine: LocalEngine, requests: list[Request], caplog: pytest.LogCaptureFixture
) -> None:
    sampling = Sampling(temperature=0.7, max_new_tokens=MAX_NEW_TOKENS)
    whole = generated(engine, requests, sampling, batch_size=64)
    with passes_of(engine, most=20) as shapes:
        assert generated(engine, requests, sampling, batch_size=64) == whole
    first = [rows for rows, tokens in shapes if tokens > 1]
    assert first == [64, 32, 16, 16, 16, 16]
    assert "out of GPU memory with 64 texts at once: continuing with 32" in caplog.text


def test_memory_that_runs_out_midway_costs_only_the_texts_that_had_not_ended(engine: LocalEngine, requests: list[Request]) -> None:
    sampling, ends = Sampling(max_new_tokens=MAX_NEW_TOKENS), []
    whole = generated(engine, requests[:16], sampling, batch_size=16)
    steps, limit = 0, 6

    def fail_once(module: torch.nn.Module, args: tuple[object, ...]) -> None:
        nonlocal steps
        steps += 1
        if steps == limit:
            raise torch.OutOfMemoryError("CUDA out of memory")

    hook = engine.loaded.model.register_forward_pre_hook(fail_once)
    try:
        engine.generate(
            requests[:16], sampling, lambda output: ends.append((steps, output.id, (output.text, output.num_tokens, output.finish_reason)))
        )
    finally:
        hook.remove()
    assert {name: row for _, name, row in ends} == whole
    assert len(ends) == 16
    assert 0 < sum(step < limit for step, *_ in ends) < 16, "some had ended before"


def test_one_text_that_finds_no_memory_ends_with_a_clear_line(engine: LocalEngine, requests: list[Request]) -> None:
    with (
        passes_of(engine, most=0),
        pytest.raises(RunFailed, match=r"out of GPU memory with a single text \(\d+ tokens read, up to 5 written\); lower max_new"),
    ):
        engine.generate(requests[:4], Sampling(max_new_tokens=5), lambda output: None)
