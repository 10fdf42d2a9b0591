"""The added token, adapters, and fine-tuned models that come back from disk as they were."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from test_adapters import write_model
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from cotexp.models import adapters, loading
from cotexp.settings.base import ConfigError
from cotexp.settings.models import PretrainedModel
from cotexp.settings.training import Lora

MARK = "<compress>"


@pytest.fixture(scope="module")
def folders(random_model: Path, family_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The random model with a tied head, its twin with a head of its own, one with spare rows in its vocabulary; and models of real kinds."""
    tokenizer = AutoTokenizer.from_pretrained(random_model)
    result = {"tied": random_model, **{kind: family_folder(kind) for kind in ("qwen2_5", "qwen2_5_untied", "llama_3_1")}}
    for name, changes in {"untied": {"tie_word_embeddings": False}, "padded": {"vocab_size": len(tokenizer) + 40}}.items():
        config = LlamaConfig.from_pretrained(random_model, **changes)
        torch.manual_seed(1)
        result[name] = tmp_path_factory.mktemp("models") / name
        LlamaForCausalLM(config).save_pretrained(result[name])
        tokenizer.save_pretrained(result[name])
    return result


KINDS = pytest.mark.parametrize("kind", ["tied", "untied", "padded", "qwen2_5", "qwen2_5_untied", "llama_3_1"])
UNTIED = ("untied", "qwen2_5_untied", "llama_3_1")


def settings_of(folder: Path) -> PretrainedModel:
    return PretrainedModel(path=str(folder), device="cpu")


def batch(mark: int | None = None) -> torch.Tensor:
    """(B, T) ids of ordinary tokens, the mark among them if it is given."""
    ids_BT = torch.randint(300, (4, 12), generator=torch.Generator().manual_seed(0))
    if mark is not None:
        ids_BT[:, 5] = mark
    return ids_BT


@torch.no_grad()
def logits(model: Any, ids_BT: torch.Tensor) -> torch.Tensor:
    """(B, T, V)"""
    result: torch.Tensor = model.eval()(input_ids=ids_BT).logits
    return result


def one_step(model: Any, mark: int, *, learning_rate: float = 0.05, steps: int = 1) -> None:
    optimizer = torch.optim.AdamW([each for each in model.parameters() if each.requires_grad], lr=learning_rate)
    ids_BT = batch(mark)
    for _ in range(steps):
        model.train()(input_ids=ids_BT, labels=ids_BT).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


@KINDS
def test_adding_the_mark_changes_no_other_logits(folders: dict[str, Path], kind: str) -> None:
    model, tokenizer = loading.load_trainable(folders[kind], settings_of(folders[kind]))
    known, before = len(tokenizer), logits(model, batch())
    mark = loading.add_compress_token(model, tokenizer, MARK)
    after = logits(model, batch())
    assert mark == known == token_id(tokenizer)
    assert after.shape[-1] == max(before.shape[-1], known + 1)
    torch.testing.assert_close(after[..., :known], before[..., :known], rtol=0, atol=1e-6)
    for layer in (model.get_input_embeddings(), model.get_output_embeddings()):
        torch.testing.assert_close(layer.weight[mark], layer.weight[:mark].mean(dim=0))
    shared = model.get_input_embeddings().weight is model.get_output_embeddings().weight
    assert shared == (kind not in UNTIED)


def token_id(tokenizer: Any) -> int:
    return int(tokenizer.convert_tokens_to_ids(MARK))


def test_adding_the_mark_twice_changes_nothing(folders: dict[str, Path]) -> None:
    model, tokenizer = loading.load_trainable(folders["tied"], settings_of(folders["tied"]))
    mark = loading.add_compress_token(model, tokenizer, MARK)
    with torch.no_grad():
        model.get_input_embeddings().weight[mark] += 1
    before, size = model.get_input_embeddings().weight.detach().clone(), len(tokenizer)
    assert loading.add_compress_token(model, tokenizer, MARK) == mark
    assert len(tokenizer) == size
    assert torch.equal(model.get_input_embeddings().weight, before)
    assert tokenizer(f"x{MARK}y", add_special_tokens=False)["input_ids"].count(mark) == 1


def merged(model: Any) -> Any:
    return copy.deepcopy(model).merge_and_unload()


@KINDS
def test_lora_trains_adapters_and_the_one_row(folders: dict[str, Path], kind: str) -> None:
    model, tokenizer = loading.load_trainable(folders[kind], settings_of(folders[kind]))
    mark = loading.add_compress_token(model, tokenizer, MARK)
    model = adapters.add_lora(model, Lora(rank=4, alpha=8), mark)
    trained = {name for name, each in model.named_parameters() if each.requires_grad}
    assert all("lora_" in name or "trainable_tokens_delta" in name for name in trained)
    assert {name.split(".lora_")[0].rsplit(".", 1)[-1] for name in trained if "lora_" in name} == {
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
    }
    frozen = {name: each.detach().clone() for name, each in model.named_parameters() if not each.requires_grad}
    before = merged(model)
    one_step(model, mark)
    assert all(torch.equal(each, frozen[name]) for name, each in model.named_parameters() if name in frozen)
    after = merged(model)
    others = torch.arange(before.get_input_embeddings().weight.shape[0]) != mark
    for old, new in ((each(before).weight, each(after).weight) for each in (type(before).get_input_embeddings, type(before).get_output_embeddings)):
        assert torch.equal(old[others], new[others])
        assert not torch.allclose(old[mark], new[mark], atol=1e-3)
    assert not torch.allclose(before.model.layers[0].mlp.up_proj.weight, after.model.layers[0].mlp.up_proj.weight)


@KINDS
def test_a_saved_adapter_comes_back_merged_with_the_same_logits(folders: dict[str, Path], kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, tokenizer = loading.load_trainable(folders[kind], settings_of(folders[kind]))
    mark = loading.add_compress_token(model, tokenizer, MARK)
    model = adapters.add_lora(model, Lora(rank=4, alpha=8), mark)
    untrained = logits(model, batch(mark))
    one_step(model, mark, steps=5)
    expected = logits(model, batch(mark))
    assert (expected - untrained).abs().max() > 0.01
    loading.save(model, tokenizer, tmp_path)
    loaded = loading.load(tmp_path, settings_of(tmp_path), base_folder=folders[kind])
    assert not hasattr(loaded.model, "peft_config") or not any("lora" in name for name, _ in loaded.model.named_parameters())
    torch.testing.assert_close(logits(loaded.model, batch(mark)), expected, rtol=1e-5, atol=1e-4)
    assert loaded.encoder.compress_id == mark == token_id(loaded.tokenizer)
    assert loaded.tokenizer.chat_template == tokenizer.chat_template
    weights = sum(path.stat().st_size for path in tmp_path.glob("*.safetensors"))
    assert weights < sum(path.stat().st_size for path in folders[kind].glob("*.safetensors")), "an adapter's folder holds no whole model"


@KINDS
def test_a_fully_trained_model_comes_back_with_the_same_logits(folders: dict[str, Path], kind: str, tmp_path: Path) -> None:
    model, tokenizer = loading.load_trainable(folders[kind], settings_of(folders[kind]))
    mark = loading.add_compress_token(model, tokenizer, MARK)
    untrained = logits(model, batch(mark))
    one_step(model, mark, steps=3)
    expected = logits(model, batch(mark))
    assert (expected - untrained).abs().max() > 0.01
    loading.save(model, tokenizer, tmp_path)
    loaded = loading.load(tmp_path, settings_of(tmp_path))
    torch.testing.assert_close(logits(loaded.model, batch(mark)), expected, rtol=1e-5, atol=1e-4)
    assert loaded.encoder.compress_id == mark
    assert not loaded.model.training


def test_the_number_format_of_generation_is_the_one_that_is_set(random_model: Path) -> None:
    loaded = loading.load(random_model, PretrainedModel(path=str(random_model), dtype="bfloat16", device="cpu"))
    assert {each.dtype for each in loaded.model.parameters()} == {torch.bfloat16}


def test_a_folder_that_transformers_cannot_load_is_refused(random_model: Path, tmp_path: Path) -> None:
    for path in random_model.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "config.json").write_text('{"model_type": "no such model"}')
    with pytest.raises(ConfigError, match=r"model\.path: transformers cannot load"):
        loading.load_trainable(tmp_path, settings_of(tmp_path))


def test_every_end_token_stops_generation(random_model: Path) -> None:
    loaded = loading.load(random_model, settings_of(random_model))
    assert loading.generation_stop_ids(loaded) == {loaded.tokenizer.eos_token_id}
    loaded.model.generation_config.eos_token_id = [7, 9]
    assert loading.generation_stop_ids(loaded) == {loaded.tokenizer.eos_token_id, 7, 9}


def test_stop_tokens_end_texts_and_are_saved_with_the_model(random_model: Path, tmp_path: Path) -> None:
    settings = PretrainedModel(path=str(random_model), device="cpu", stop_tokens=["<|user|>"])
    loaded = loading.load(random_model, settings)
    ends = {loaded.tokenizer.eos_token_id, int(loaded.tokenizer.convert_tokens_to_ids("<|user|>"))}
    assert loading.generation_stop_ids(loaded) == ends
    loading.save(loaded.model, loaded.tokenizer, tmp_path)
    assert loading.generation_stop_ids(loading.load(tmp_path, settings_of(tmp_path))) == ends


def test_a_stop_token_that_the_model_does_not_know_is_refused(random_model: Path) -> None:
    with pytest.raises(ConfigError, match=r"model\.stop_tokens must name tokens of the model's vocabulary; got '<\|nobody\|>'"):
        loading.load(random_model, PretrainedModel(path=str(random_model), stop_tokens=["<|user|>", "<|nobody|>"]))


def test_the_context_is_the_models_own_or_a_shorter_one(random_model: Path, encoder_decoders: dict[str, Path]) -> None:
    def context(folder: Path, length: int | None) -> int | None:
        return loading.load(folder, PretrainedModel(path=str(folder), device="cpu", context_length=length)).context_length

    assert context(random_model, None) == 1024
    assert context(random_model, 100) == 100
    assert context(encoder_decoders["bart"], None) == 512
    assert context(encoder_decoders["t5"], None) is None, "its positions are relative"
    assert context(encoder_decoders["t5"], 100) == 100
    with pytest.raises(ConfigError, match=r"model\.context_length must be at most the model's own 1024; got 1025"):
        context(random_model, 1025)


def test_a_model_in_bfloat16_keeps_its_rotary_frequencies(random_model: Path) -> None:
    """Rounded to 16 bits they would be those of other positions."""
    exact, rough = (
        loading.load(random_model, PretrainedModel(path=str(random_model), device="cpu", dtype=dtype)) for dtype in ("float32", "bfloat16")
    )
    assert {each.dtype for each in rough.model.parameters()} == {torch.bfloat16}
    for (name, own), (_, other) in zip(exact.model.named_buffers(), rough.model.named_buffers(), strict=True):
        assert torch.equal(own, other), name
    assert [name for name, _ in exact.model.named_buffers()]


@pytest.mark.slow  # flex_attention is compiled
def test_a_model_computes_attention_as_asked_or_says_what_it_has_not(random_model: Path) -> None:
    def loaded(attention: str | None) -> Any:
        return loading.load(random_model, PretrainedModel(path=str(random_model), device="cpu", attn_implementation=attention)).model

    ids = torch.tensor([[5, 6, 7, 8]])
    assert loaded(None).config._attn_implementation == "sdpa"
    for kind in ("sdpa", "eager", "flex_attention"):
        own = loaded(kind)
        assert own.config._attn_implementation == kind
        with torch.no_grad():
            torch.testing.assert_close(own(ids).logits, loaded(None)(ids).logits, rtol=1e-4, atol=1e-4)
    with pytest.raises(
        ConfigError, match=r"^model\.attn_implementation: a llama has no flash_attention_2 here \(.*installed.*\); take sdpa or eager$"
    ):
        loaded("flash_attention_2")


@pytest.mark.filterwarnings("ignore")
def test_a_model_that_would_go_on_with_another_attention_is_refused(random_model: Path, tmp_path: Path) -> None:
    base = write_model("bloom", random_model, tmp_path / "bloom", hidden_size=32, n_layer=2, n_head=4)
    with pytest.raises(ConfigError, match=r"^model\.attn_implementation: a bloom has no sdpa here \(uses eager\); take sdpa or eager$"):
        loading.load_trainable(base, PretrainedModel(path=str(base), attn_implementation="sdpa"))
