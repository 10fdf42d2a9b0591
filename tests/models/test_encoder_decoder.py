"""T5, Flan-T5 and BART: prompts as sources, the added token, adapters, and fine-tuned models that come back from disk as they were."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from cotexp.models import adapters, loading
from cotexp.models.encoding import Encoder
from cotexp.settings.base import ConfigError
from cotexp.settings.models import PretrainedModel
from cotexp.settings.training import Lora
from cotexp.tasks import QuestionSets
from cotexp.tasks.answers import extract, split_solution

MARK = "<compress>"
QUESTION = "Ann has 5 apples. How many apples does Ann have now?"
HOSTILE = ["a<compress>b", "x</s>", "<pad></s><unk>", "<extra_id_0> <extra_id_9>", "</s><compress></s>", "<|end|>"]

KINDS = pytest.mark.parametrize("kind", ["t5", "flan", "full", "bart"])


@pytest.fixture
def load(encoder_decoders: dict[str, Path]) -> Callable[[str], tuple[Any, Any, int]]:
    """(model, tokenizer, id of the mark) as training begins with them."""

    def loaded(kind: str) -> tuple[Any, Any, int]:
        torch.manual_seed(0)
        model, tokenizer = loading.load_trainable(encoder_decoders[kind], settings_of(encoder_decoders[kind]))
        return model, tokenizer, loading.add_compress_token(model, tokenizer, MARK)

    return loaded


def settings_of(folder: Path) -> PretrainedModel:
    return PretrainedModel(path=str(folder), device="cpu")


def encoder_of(tokenizer: Any) -> Encoder:
    return Encoder.of(tokenizer, compress_token=MARK, encoder_decoder=True)


@pytest.fixture(scope="module")
def t5_encoder(encoder_decoders: dict[str, Path]) -> Encoder:
    tokenizer = AutoTokenizer.from_pretrained(encoder_decoders["t5"])
    tokenizer.add_tokens([MARK], special_tokens=True)
    return encoder_of(tokenizer)


# --- encoding ------------------------------------------------------------------------------------------------------------


@KINDS
def test_a_source_is_what_the_tokenizer_makes_of_the_question(load: Callable[[str], tuple[Any, Any, int]], kind: str) -> None:
    model, tokenizer, _ = load(kind)
    encoder = loading.make_encoder(model, tokenizer, PretrainedModel(path=kind))
    assert encoder == encoder_of(tokenizer)
    assert encoder.prompt(QUESTION) == tokenizer(QUESTION)["input_ids"]
    assert encoder.prompt(QUESTION)[-1] == tokenizer.eos_token_id


@KINDS
def test_the_mark_stands_between_two_ends_and_no_end_is_doubled(load: Callable[[str], tuple[Any, Any, int]], kind: str) -> None:
    _, tokenizer, mark = load(kind)
    encoder, end = encoder_of(tokenizer), tokenizer.eos_token_id
    source = encoder.prompt(QUESTION, compressed=True)
    assert source == [*tokenizer(QUESTION)["input_ids"], mark, end]
    assert source[-3:] == [end, mark, end]
    assert source == tokenizer(f"{QUESTION}{tokenizer.eos_token}{MARK}")["input_ids"], "what a user of an exported model writes"


def test_a_tokenizer_that_ends_no_source_still_gets_the_papers_form(random_model: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(random_model)
    tokenizer.chat_template = None
    tokenizer.add_tokens([MARK], special_tokens=True)
    encoder, end = encoder_of(tokenizer), tokenizer.eos_token_id
    assert encoder.prompt(QUESTION) == encoder.text_ids(QUESTION)
    assert encoder.prompt(QUESTION, compressed=True) == [*encoder.text_ids(QUESTION), end, encoder.compress_id, end]


def test_a_causal_models_prompt_never_ends_with_what_its_tokenizer_puts_behind_a_text(t5_encoder: Encoder) -> None:
    causal = Encoder.of(t5_encoder.tokenizer, compress_token=MARK)
    assert causal.prompt(QUESTION) == t5_encoder.text_ids(QUESTION)
    assert causal.prompt(QUESTION, compressed=True) == t5_encoder.prompt(QUESTION, compressed=True)


@pytest.mark.parametrize("text", HOSTILE)
def test_names_of_control_tokens_in_a_text_never_become_control_tokens(t5_encoder: Encoder, text: str) -> None:
    ids, mask = t5_encoder.example(text, text, compressed=True)
    control = {t5_encoder.compress_id, *t5_encoder.tokenizer.all_special_ids} - {t5_encoder.tokenizer.unk_token_id}
    found = [each for each in ids if each in control]
    assert found == [t5_encoder.eos_id, t5_encoder.compress_id, t5_encoder.eos_id, t5_encoder.eos_id]
    assert sum(mask) == len(t5_encoder.text_ids(text)) + 1


def test_a_chain_with_line_breaks_becomes_one_line_with_the_same_answer(t5_encoder: Encoder) -> None:
    chain = "Ann has 5 + 3 = 8.\n\n  Ann has 8 - 2 = 6.\nThe answer is 6."
    read = t5_encoder.decode(t5_encoder.text_ids(chain))
    assert read == "Ann has 5 + 3 = 8. Ann has 8 - 2 = 6. The answer is 6."
    assert extract(read) == extract(" ".join(chain.split()))
    assert extract(read).text == extract(chain).text == "6"


def test_a_boxed_answer_still_counts_where_there_are_no_braces(t5_encoder: Encoder, small_questions: QuestionSets) -> None:
    assert t5_encoder.tokenizer.unk_token_id in t5_encoder.tokenizer("\\boxed{}")["input_ids"]
    for each in small_questions.test:
        text = each.references[0]
        read = t5_encoder.decode(t5_encoder.text_ids(text))
        assert "\\boxed{" in text
        assert "\\boxed" not in read
        assert extract(read).text == extract(text).text == each.answer
        assert split_solution(read)[0].strip() == t5_encoder.decode(t5_encoder.text_ids(split_solution(text)[0]))
    for answer, kind in (("(B)", "choice"), ("yes", "boolean")):
        read = t5_encoder.decode(t5_encoder.text_ids(f"It has to be \\boxed{{{answer}}}."))
        assert extract(read, kind, {"A": "no", "B": "perhaps"}).text == extract(answer, kind, {"A": "no", "B": "perhaps"}).text


@given(text=st.one_of(st.text(), st.lists(st.sampled_from([*HOSTILE, " ", "\n", "12", " apples", "é", "{}", "\\boxed{5}"])).map("".join)))
def test_any_text_can_be_encoded_and_what_comes_back_comes_back_again(t5_encoder: Encoder, text: str) -> None:
    once = t5_encoder.decode(t5_encoder.text_ids(text))
    assert " ".join(t5_encoder.decode(t5_encoder.text_ids(once)).split()) == " ".join(once.split())
    assert t5_encoder.count(text) == len(t5_encoder.text_ids(text))
    assert sum(t5_encoder.example(text, text, compressed=True).loss_mask) == t5_encoder.count(text) + 1


# --- weights -------------------------------------------------------------------------------------------------------------


def batch(mark: int | None = None) -> dict[str, torch.Tensor]:
    """Sources and targets of ordinary tokens, the mark among the sources if it is given."""
    generator = torch.Generator().manual_seed(0)
    source_BS, target_BT = (torch.randint(3, 100, (4, length), generator=generator) for length in (12, 7))
    if mark is not None:
        source_BS[:, 5] = mark
    return {"input_ids": source_BS, "labels": target_BT}


@torch.no_grad()
def logits(model: Any, mark: int | None = None) -> torch.Tensor:
    """(B, T, V)"""
    result: torch.Tensor = model.eval()(**batch(mark)).logits
    return result


def learn(model: Any, mark: int, *, steps: int) -> None:
    optimizer = torch.optim.AdamW([each for each in model.parameters() if each.requires_grad], lr=0.05)
    for _ in range(steps):
        model.train()(**batch(mark)).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def has_tied_head(model: Any) -> bool:
    return model.get_output_embeddings().weight is model.get_input_embeddings().weight


def sides_share(model: Any) -> bool:
    """Whether encoder and decoder look up the same table."""
    rows = model.get_input_embeddings().weight
    return all(side.embed_tokens.weight is rows for side in (model.get_encoder(), model.get_decoder()))


@KINDS
def test_adding_the_mark_changes_no_other_logits(encoder_decoders: dict[str, Path], load: Callable[[str], tuple[Any, Any, int]], kind: str) -> None:
    plain, tokenizer = loading.load_trainable(encoder_decoders[kind], settings_of(encoder_decoders[kind]))
    known, before = len(tokenizer), logits(plain)
    model, tokenizer, mark = load(kind)
    after = logits(model)
    assert mark == known == int(tokenizer.convert_tokens_to_ids(MARK))
    assert after.shape[-1] == max(before.shape[-1], known + 1)
    torch.testing.assert_close(after[..., :known], before[..., :known], rtol=0, atol=1e-6)
    for layer in (model.get_input_embeddings(), model.get_output_embeddings()):
        torch.testing.assert_close(layer.weight[mark], layer.weight[:mark].mean(dim=0))
    assert sides_share(model)
    assert has_tied_head(model) == model.config.tie_word_embeddings == (kind in ("t5", "bart"))


def merged(model: Any) -> Any:
    return copy.deepcopy(model).merge_and_unload()


@KINDS
def test_lora_trains_adapters_and_the_one_row(load: Callable[[str], tuple[Any, Any, int]], kind: str) -> None:
    model, _, mark = load(kind)
    model = adapters.add_lora(model, Lora(rank=4, alpha=8), mark)
    assert model.peft_config["default"].task_type == "SEQ_2_SEQ_LM"
    trained = {name for name, each in model.named_parameters() if each.requires_grad}
    rows = {name for name in trained if "trainable_tokens_delta" in name}
    assert all("lora_" in name for name in trained - rows)
    assert len(rows) == (1 if kind in ("t5", "bart") else 2), "one row of the shared embeddings, and one of a head of its own"
    adapted = {name.split(".lora_")[0].rsplit(".", 1)[-1] for name in trained - rows}
    own = {"t5": {"q", "k", "v", "o", "wi", "wo"}, "bart": {"q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"}}
    assert adapted == own.get(kind, {"q", "k", "v", "o", "wi_0", "wi_1", "wo"})
    assert any("EncDecAttention" in name or "encoder_attn" in name for name in trained)
    before = merged(model)
    learn(model, mark, steps=2)
    after = merged(model)
    others = torch.arange(before.get_input_embeddings().weight.shape[0]) != mark
    for old, new in ((each(before).weight, each(after).weight) for each in (type(before).get_input_embeddings, type(before).get_output_embeddings)):
        assert torch.equal(old[others], new[others])
        assert not torch.allclose(old[mark], new[mark], atol=1e-3)
    assert sides_share(after)
    assert has_tied_head(after) == (kind in ("t5", "bart"))
    torch.testing.assert_close(logits(after, mark), logits(model, mark), rtol=0, atol=1e-4)


@KINDS
def test_a_saved_adapter_comes_back_merged_with_the_same_logits(
    encoder_decoders: dict[str, Path], load: Callable[[str], tuple[Any, Any, int]], kind: str, tmp_path: Path
) -> None:
    model, tokenizer, mark = load(kind)
    model = adapters.add_lora(model, Lora(rank=4, alpha=8), mark)
    untrained = logits(model, mark)
    learn(model, mark, steps=5)
    expected = logits(model, mark)
    assert (expected - untrained).abs().max() > 0.01
    loading.save(model, tokenizer, tmp_path / "adapter")
    weights = sum(path.stat().st_size for path in (tmp_path / "adapter").glob("*.safetensors"))
    assert weights < sum(path.stat().st_size for path in encoder_decoders[kind].glob("*.safetensors")), "an adapter's folder holds no whole model"
    loaded = loading.load(tmp_path / "adapter", settings_of(tmp_path), base_folder=encoder_decoders[kind])
    torch.testing.assert_close(logits(loaded.model, mark), expected, rtol=0, atol=1e-4)
    assert loaded.encoder == encoder_of(loaded.tokenizer)
    assert loaded.encoder.compress_id == mark
    loading.save(loaded.model, loaded.tokenizer, tmp_path / "merged")
    check_ordinary_folder(tmp_path / "merged", expected, mark, tied=kind in ("t5", "bart"))


@pytest.mark.slow
@KINDS
def test_a_fully_trained_model_comes_back_with_the_same_logits(load: Callable[[str], tuple[Any, Any, int]], kind: str, tmp_path: Path) -> None:
    model, tokenizer, mark = load(kind)
    untrained = logits(model, mark)
    learn(model, mark, steps=3)
    expected = logits(model, mark)
    assert (expected - untrained).abs().max() > 0.1
    loading.save(model, tokenizer, tmp_path)
    loaded = loading.load(tmp_path, settings_of(tmp_path))
    torch.testing.assert_close(logits(loaded.model, mark), expected, rtol=0, atol=1e-5)
    assert loaded.encoder.compress_id == mark
    check_ordinary_folder(tmp_path, expected, mark, tied=kind in ("t5", "bart"))


def check_ordinary_folder(folder: Path, expected: torch.Tensor, mark: int, *, tied: bool) -> None:
    """transformers alone reads the folder, whose configuration tells older releases too whether the head is tied."""
    model = AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32)
    torch.testing.assert_close(logits(model, mark), expected, rtol=0, atol=1e-4)
    assert json.loads((folder / "config.json").read_text())["tie_word_embeddings"] == tied


@KINDS
def test_generation_in_bfloat16_is_possible(encoder_decoders: dict[str, Path], kind: str) -> None:
    folder = encoder_decoders[kind]
    loaded = loading.load(folder, PretrainedModel(path=str(folder), device="cpu", dtype="bfloat16"))
    assert {each.dtype for each in loaded.model.parameters()} == {torch.bfloat16}
    assert logits(loaded.model).dtype == torch.bfloat16


def test_a_model_whose_decoder_has_no_start_is_refused(encoder_decoders: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "startless"
    shutil.copytree(encoder_decoders["flan"], folder)
    for name in ("config.json", "generation_config.json"):
        content = json.loads((folder / name).read_text())
        content.pop("decoder_start_token_id")
        (folder / name).write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=r"startless \(t5\) does not say what its decoder reads first; set decoder_start_token_id"):
        loading.load_trainable(folder, settings_of(folder))
