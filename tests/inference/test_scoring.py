"""Scores equal a slow formula for every kind of model, however they are batched, and nothing is computed twice."""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest
import torch
import transformers

from cotexp.inference.scoring import Item, Scorer, Text
from cotexp.models import head
from cotexp.models.loading import LoadedModel
from cotexp.settings.base import RunFailed

VOCABULARY = 120
SHAPE: dict[str, Any] = {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
LLAMA: dict[str, Any] = {**SHAPE, "num_key_value_heads": 2, "intermediate_size": 64, "max_position_embeddings": 128, "initializer_range": 0.3}
BART: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "d_model": 32,
    "max_position_embeddings": 64,
    "decoder_start_token_id": 2,
    "init_std": 0.3,
    **{f"{part}_{name}": size for part in ("encoder", "decoder") for name, size in {"layers": 2, "attention_heads": 4, "ffn_dim": 64}.items()},
}
T5: dict[str, Any] = {"vocab_size": VOCABULARY, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 0}
GEMMA: dict[str, Any] = {"head_dim": 8, "final_logit_softcapping": 2.0, "attn_logit_softcapping": 5.0, "attn_implementation": "eager"}

MODELS: dict[str, tuple[bool, str, dict[str, Any]]] = {
    "llama": (True, "Llama", LLAMA),
    "eager": (True, "Llama", {**LLAMA, "tie_word_embeddings": True, "attn_implementation": "eager"}),
    "absolute positions": (True, "GPT2", {**SHAPE, "n_positions": 128, "initializer_range": 0.3}),
    "window around every text": (True, "Mistral", {**LLAMA, "sliding_window": 60}),
    "window shorter than the texts": (False, "Mistral", {**LLAMA, "sliding_window": 7}),
    "windows and capped logits": (False, "Gemma2", {**LLAMA, **GEMMA, "sliding_window": 7}),
    "capped logits": (True, "Gemma2", {**LLAMA, **GEMMA, "sliding_window": 100}),
    "biased by distance": (False, "Bloom", {"vocab_size": VOCABULARY, "hidden_size": 32, "n_layer": 2, "n_head": 4}),
    "positions of its own": (False, "Roberta", {**SHAPE, "intermediate_size": 64, "is_decoder": True, "initializer_range": 0.3}),
    "BART": (False, "Bart", BART),
    "Flan-T5": (False, "T5", {**T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}),
    "T5": (False, "T5", {**T5, "tie_word_embeddings": True}),
}
"""Name -> (whether items of at most 60 tokens are packed, transformers' name of the architecture, its configuration)."""


class Case(NamedTuple):
    """A model, whether items of at most 60 tokens are packed for it, and the scores of `ITEMS` by the slow formula."""

    loaded: LoadedModel
    packs: bool
    expected: dict[str, list[list[float]]]


def made(kind: str) -> Any:
    _, architecture, configuration = MODELS[kind]
    config = getattr(transformers, f"{architecture}Config")(**configuration)
    auto = transformers.AutoModelForSeq2SeqLM if config.is_encoder_decoder else transformers.AutoModelForCausalLM
    torch.manual_seed(0)
    return auto.from_config(config).eval()


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module", params=MODELS)
def case(request: pytest.FixtureRequest, anything: LoadedModel) -> Case:
    model = made(request.param)
    return Case(dataclasses.replace(anything, model=model), MODELS[request.param][0], {each.id: slow_scores(model, each) for each in ITEMS})


@pytest.fixture(scope="module")
def llama(anything: LoadedModel) -> LoadedModel:
    return dataclasses.replace(anything, model=made("llama"))


@pytest.fixture(scope="module")
def t5(anything: LoadedModel) -> LoadedModel:
    return dataclasses.replace(anything, model=made("T5"))


def random_ids(draw: random.Random, low: int, high: int) -> list[int]:
    """Never 0, with which batches are padded."""
    return [draw.randrange(1, VOCABULARY) for _ in range(draw.randint(low, high))]


def random_item(name: str, seed: int) -> Item:
    """A prompt of 1 to 20 tokens and up to 9 texts of up to 40: new ones, cut ones, those with another end, equal ones."""
    draw = random.Random(seed)
    prompt, known, texts = random_ids(draw, 1, 20), [random_ids(draw, 1, 35)], []
    for _ in range(draw.randint(0, 9)):
        base = draw.choice(known)
        cut = base[: draw.randint(0, len(base))]
        ids = draw.choice([base, cut, cut + random_ids(draw, 1, 40 - len(cut)), random_ids(draw, 0, 40)])
        known.append(ids)
        read = draw.choice([range(len(ids)), range(max(0, len(ids) - 3), len(ids)), draw.sample(range(len(ids)), len(ids) // 2), []])
        texts.append(Text(ids, sorted(read)))
    return Item(name, prompt, texts)


ITEMS = [
    *(random_item(f"random/{seed}", seed) for seed in range(16)),
    Item("no text", [5, 6], []),
    Item("empty texts", [5, 6], [Text([], []), Text([], []), Text([7], [])]),
    Item("one token after one", [5], [Text([6], [0])]),
    Item("equal prompts", [5, 6], [Text([7, 8, 9], [0, 1, 2]), Text([7, 8], [0, 1]), Text([7, 8, 9], [2]), Text([7, 9, 9], [1])]),
]


def scored(scorer: Scorer, items: Sequence[Item]) -> dict[str, list[list[float]]]:
    result: dict[str, list[list[float]]] = {}

    def on_item(name: str, scores: list[list[float]]) -> None:
        assert name not in result, "each item once"
        result[name] = scores

    scorer.score(items, on_item)
    assert set(result) == {each.id for each in items}
    return result


@torch.no_grad()
def slow_logits(model: Any, prompt_ids: list[int], ids: list[int]) -> torch.Tensor:
    """(T, V) logits of a text's tokens from one pass over the text alone, in float64: no cache, no padding."""
    if model.config.is_encoder_decoder:
        decoder_ids = [model.config.decoder_start_token_id, *ids]
        return model(input_ids=torch.tensor([prompt_ids]), decoder_input_ids=torch.tensor([decoder_ids]), use_cache=False).logits[0].double()
    return model(input_ids=torch.tensor([prompt_ids + ids]), use_cache=False).logits[0, len(prompt_ids) - 1 :].double()


def slow_scores(model: Any, item: Item) -> list[list[float]]:
    """One text at a time, with the softmax of whole logits."""
    result = []
    for ids, read in item.texts:
        log_probabilities_TV = torch.log_softmax(slow_logits(model, item.prompt_ids, ids), dim=-1)
        result.append([log_probabilities_TV[index, ids[index]].item() for index in read])
    return result


def assert_close(ours: dict[str, list[list[float]]], expected: dict[str, list[list[float]]], *, within: float = 3e-5) -> None:
    assert ours.keys() == expected.keys()
    for name, scores in ours.items():
        assert [len(each) for each in scores] == [len(each) for each in expected[name]]
        for one, other in zip(itertools.chain(*scores), itertools.chain(*expected[name]), strict=True):
            assert one <= 0
            assert one == pytest.approx(other, abs=within, rel=0), name


@pytest.mark.parametrize("budget", [13, 100_000])
def test_scores_equal_the_slow_formula(case: Case, budget: int) -> None:
    assert_close(scored(Scorer(case.loaded, budget), ITEMS), case.expected)
    values = {round(value, 3) for scores in case.expected.values() for value in itertools.chain(*scores)}
    assert len(values) > 100, "a model that tells tokens apart"


def test_scores_depend_neither_on_order_nor_on_company(case: Case) -> None:
    shuffled = random.Random(1).sample(ITEMS, len(ITEMS))
    turned = [item._replace(texts=item.texts[::-1]) for item in shuffled]
    back = {name: scores[::-1] for name, scores in scored(Scorer(case.loaded, 200), turned).items()}
    assert_close(back, case.expected)
    scorer, alone = Scorer(case.loaded, 200), {}
    for each in ITEMS:
        alone |= scored(scorer, [each])
    assert_close(alone, case.expected)


def test_ranks_are_the_places_of_the_tokens_in_whole_logits(case: Case) -> None:
    found: dict[str, list[list[float]]] = {}
    Scorer(case.loaded, 200).score(ITEMS, found.__setitem__, head.ranks)
    seen = set()
    for item in ITEMS:
        for (ids, read), ranks in zip(item.texts, found[item.id], strict=True):
            logits_TV = slow_logits(case.loaded.model, item.prompt_ids, ids)
            for index, rank in zip(read, ranks, strict=True):
                others = logits_TV[index] - logits_TV[index, ids[index]]
                least, most = (1 + int((others > bound).sum()) - (bound < 0) for bound in (1e-4, -1e-4))
                assert least <= rank <= most, "but for tokens whose logits differ by rounding"
                seen.add(rank)
    assert len(seen) > 20, "a model that ranks tokens apart"
    assert min(seen) >= 1


@pytest.mark.parametrize("kind", ["llama", "window shorter than the texts", "Flan-T5"])
def test_scores_in_bfloat16_are_the_models_own_up_to_rounding(anything: LoadedModel, kind: str) -> None:
    loaded = dataclasses.replace(anything, model=made(kind).bfloat16())
    items = ITEMS[:4]
    scores = scored(Scorer(loaded, 200), items)
    ours = torch.tensor([value for each in items for value in itertools.chain(*scores[each.id])])
    theirs = torch.tensor([value for each in items for value in itertools.chain(*slow_scores(loaded.model, each))])
    assert (ours - theirs).abs().mean() < 0.05
    assert (ours != ours.bfloat16()).any(), "softmax in float32"


@contextmanager
def inputs_of(module: torch.nn.Module) -> Iterator[list[torch.Tensor]]:
    """What the module is called with."""
    seen: list[torch.Tensor] = []
    handle = module.register_forward_pre_hook(lambda _, args, named: seen.append(args[0] if args else named["input_ids"]), with_kwargs=True)
    try:
        yield seen
    finally:
        handle.remove()


@contextmanager
def logits_of(model: Any) -> Iterator[list[int]]:
    """For how many tokens the head gives logits, pass by pass."""
    seen: list[int] = []
    handle = model.get_output_embeddings().register_forward_hook(lambda _, args, logits: seen.append(logits.shape[:-1].numel()))
    try:
        yield seen
    finally:
        handle.remove()


def needed_prefixes(item: Item) -> set[tuple[int, ...]]:
    """What stands before a token that is read, and everything before that; without the prompt."""
    return {tuple(ids[:length]) for ids, read in item.texts if read for length in range(read[-1] + 1)}


def longest_prefixes(item: Item) -> list[tuple[int, ...]]:
    """Those that no other one continues."""
    prefixes = needed_prefixes(item)
    return [each for each in prefixes if not any(len(other) > len(each) and other[: len(each)] == each for other in prefixes)]


def num_tokens(passes: list[torch.Tensor]) -> int:
    return sum(int((each != 0).sum()) for each in passes)


@pytest.mark.parametrize("budget", [1, 64, 100_000])
def test_each_prefix_passes_through_the_model_once(llama: LoadedModel, budget: int) -> None:
    scorer = Scorer(llama, budget)
    with inputs_of(llama.model.base_model) as passes:
        scored(scorer, ITEMS)
    prompts = sum(len(each.prompt_ids) for each in ITEMS if needed_prefixes(each))
    assert num_tokens(passes) == prompts + sum(len(needed_prefixes(each) - {()}) for each in ITEMS)
    assert max(each.numel() for each in passes) <= budget


def test_an_encoder_sees_each_prompt_once_and_its_decoder_each_distinct_text(t5: LoadedModel) -> None:
    scorer = Scorer(t5, 200)
    with inputs_of(t5.model.get_encoder()) as prompts, inputs_of(t5.model.get_decoder()) as passes:
        scored(scorer, ITEMS)
    scored_items = [each for each in ITEMS if needed_prefixes(each)]
    assert num_tokens(prompts) == sum(len(each.prompt_ids) for each in scored_items)
    assert len(prompts) < len(scored_items), "several at a time"
    assert num_tokens(passes) == sum(len(prefix) for each in ITEMS for prefix in longest_prefixes(each))
    assert all(len(each) == 1 or each.numel() <= 200 for each in passes)


def test_rows_of_a_model_that_is_not_packed_are_the_distinct_texts(anything: LoadedModel) -> None:
    loaded = dataclasses.replace(anything, model=made("window shorter than the texts"))
    scorer = Scorer(loaded, 200)
    with inputs_of(loaded.model.base_model) as passes:
        scored(scorer, ITEMS)
    assert num_tokens(passes) == sum(len(each.prompt_ids) + len(prefix) for each in ITEMS for prefix in longest_prefixes(each))
    assert all(len(each) == 1 or each.numel() <= 200 for each in passes)


def test_logits_are_computed_for_read_tokens_alone(case: Case) -> None:
    scorer = Scorer(case.loaded, 100)
    with logits_of(case.loaded.model) as counts:
        scored(scorer, ITEMS)
    distinct = {(item.id, *ids[: index + 1]) for item in ITEMS for ids, read in item.texts for index in read}
    of_texts = {(item.id, tuple(ids), index) for item in ITEMS for ids, read in item.texts for index in read}
    assert sum(counts) == len(distinct) if case.packs else len(distinct) <= sum(counts) <= len(of_texts)


def test_packing_is_chosen_by_what_the_model_can_do(case: Case) -> None:
    item = Item("a", [3] * 15, [Text([4] * 15 + [last] * 20, [34]) for last in (5, 6)])
    scorer = Scorer(case.loaded, 1000)
    with inputs_of(case.loaded.model.get_input_embeddings()) as passes:
        scored(scorer, [item])
    assert ((1, 15 + 15 + 2 * 19) in [tuple(each.shape) for each in passes]) == case.packs


def test_a_text_longer_than_the_window_is_scored_rightly_by_a_model_packed_before(anything: LoadedModel) -> None:
    loaded = dataclasses.replace(anything, model=made("window around every text"))
    scorer, long = Scorer(loaded, 64), Item("long", [3] * 10, [Text(random_ids(random.Random(9), 70, 70), list(range(70)))])
    for items in (ITEMS[:4], [*ITEMS[:4], long], ITEMS[:4]):
        assert_close(scored(scorer, items), {each.id: slow_scores(loaded.model, each) for each in items})


def test_batches_waste_little_on_padding(llama: LoadedModel) -> None:
    items = [random_item(str(seed), seed) for seed in range(100)]
    scorer = Scorer(llama, 600)
    with inputs_of(llama.model.base_model) as passes:
        scored(scorer, items)
    held = sum(each.numel() for each in passes)
    assert num_tokens(passes) / held > 0.85
    assert held / len(passes) > 400, "full batches"


def test_no_token_is_without_any_other_to_attend_to(llama: LoadedModel) -> None:
    """Not even padding, whose softmax over nothing could become NaN and spread."""
    masks: list[torch.Tensor] = []
    scorer = Scorer(llama, 600)
    handle = llama.model.base_model.register_forward_pre_hook(lambda _, args, named: masks.append(named["attention_mask"]), with_kwargs=True)
    scored(scorer, ITEMS)
    handle.remove()
    assert any(len(each) > 1 for each in masks)
    assert all((each == 0).any(dim=-1).all() for each in masks)


def test_items_are_reported_as_they_finish(llama: LoadedModel) -> None:
    events: list[str] = []
    scorer = Scorer(llama, 64)
    handle = llama.model.register_forward_pre_hook(lambda *_: events.append("pass"))
    scorer.score(ITEMS, lambda *_: events.append("item"))
    handle.remove()
    assert events.count("item") == len(ITEMS)
    passes_between = [len(list(group)) for what, group in itertools.groupby(events) if what == "pass"]
    assert len(passes_between) > 5


def test_logits_are_held_for_few_tokens(llama: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = scored(Scorer(llama, 500), ITEMS)
    monkeypatch.setattr(head, "LOGITS_AT_ONCE", 3 * VOCABULARY)
    scorer = Scorer(llama, 500)
    with logits_of(llama.model) as counts:
        assert_close(scored(scorer, ITEMS), whole)
    assert max(counts) == 3


@pytest.mark.parametrize("kind", ["llama", "absolute positions"])
def test_a_text_beyond_the_context_is_refused_before_anything_is_computed(anything: LoadedModel, kind: str) -> None:
    loaded = dataclasses.replace(anything, model=made(kind))
    fits = Item("fits", [3] * 8, [Text([4] * 120, [0, 119])])
    beyond = Item("q/7", [3] * 8, [Text([4], [0]), Text([4] * 121, [0])])
    scorer = Scorer(loaded, 64)
    assert_close(scored(scorer, [fits]), {"fits": slow_scores(loaded.model, fits)})
    with inputs_of(loaded.model.base_model) as passes, pytest.raises(RunFailed, match=r"^q/7: .* 129 tokens, the model has 128; .*$"):
        scored(scorer, [fits, beyond])
    assert not passes


def test_prompt_and_text_have_a_context_each_where_an_encoder_reads_the_prompt(anything: LoadedModel) -> None:
    scorer = Scorer(dataclasses.replace(anything, model=made("BART")), 64)
    fits = Item("fits", [3] * 64, [Text([4] * 64, [0, 63])])
    assert len(scored(scorer, [fits])["fits"][0]) == 2
    for beyond in (Item("q", [3] * 65, [Text([4], [0])]), Item("q", [3], [Text([4] * 65, [0])])):
        with pytest.raises(RunFailed, match="65 tokens, the model has 64"):
            scored(scorer, [beyond])


def test_t5_has_no_limit(t5: LoadedModel) -> None:
    item = Item("long", [3] * 300, [Text([4] * 300, [299])])
    assert_close(scored(Scorer(t5, 64), [item]), {"long": slow_scores(t5.model, item)})


def test_no_items_are_no_work(llama: LoadedModel, t5: LoadedModel) -> None:
    assert scored(Scorer(llama), []) == {}
    assert scored(Scorer(t5), []) == {}


def test_the_model_is_left_as_it_was(llama: LoadedModel) -> None:
    scored(Scorer(llama, 64), ITEMS[:3])
    assert llama.model(input_ids=torch.tensor([[3, 4, 5]])).logits.shape == (1, 3, VOCABULARY)
