"""Losses, gradients and log-probabilities from parts of the logits are those of whole logits."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

from cotexp.models import adapters, head
from cotexp.settings.training import Lora

VOCABULARY, MARK = 300, 299
SHAPE: dict[str, Any] = {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_size": 32, "intermediate_size": 64}
T5: dict[str, Any] = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "dropout_rate": 0.0}
BART: dict[str, Any] = {"d_model": 32, "max_position_embeddings": 64, "dropout": 0.0, "activation_dropout": 0.0, "attention_dropout": 0.0}
BART |= {f"{part}_{name}": size for part in ("encoder", "decoder") for name, size in {"layers": 2, "attention_heads": 4, "ffn_dim": 64}.items()}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "tied": ("qwen2", {**SHAPE, "tie_word_embeddings": True}),
    "untied": ("llama", {**SHAPE, "tie_word_embeddings": False}),
    "capped": ("gemma2", {**SHAPE, "head_dim": 8, "final_logit_softcapping": 2.0}),
    "multiplied": ("cohere", {**SHAPE, "logit_scale": 0.3}),
    "divided": ("granite", {**SHAPE, "logits_scaling": 7.0}),
    "multiplied by an attribute of the body": ("falcon_h1", {**SHAPE, "lm_head_multiplier": 3.0, "mamba_d_ssm": 32, "mamba_n_heads": 4}),
    "biased": ("phi", {**SHAPE, "num_key_value_heads": 4, "attention_dropout": 0.0}),
    "a decoder within the body": ("opt", {"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 32, "ffn_dim": 64, "dropout": 0.0}),
    "T5": ("t5", T5),
    "BART": ("bart", BART),
}
WITHOUT_PARTS = {"a decoder within the body"}
LORA = ["tied", "untied", "capped", "biased", "T5"]


def made(name: str) -> Any:
    kind, own = KINDS[name]
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1, "decoder_start_token_id": 0}
    config = AutoConfig.for_model(kind, **own, **ids, vocab_size=VOCABULARY, initializer_range=0.3)
    torch.manual_seed(0)
    model = (AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM).from_config(config)
    with torch.no_grad():
        for each in model.parameters():
            each += 0.1 * torch.randn_like(each)
    return model.train()


def inputs_of(model: Any) -> dict[str, Any]:
    ids_BT = torch.randint(2, VOCABULARY, (3, 11), generator=torch.Generator().manual_seed(1))
    ids_BT[0, 4] = ids_BT[2, 2] = MARK
    read = {"decoder_input_ids": ids_BT.flip(0)} if model.config.is_encoder_decoder else {}
    return {"input_ids": ids_BT, "use_cache": False, **read}


CHOSEN = (torch.tensor([0, 0, 1, 1, 1, 2, 2]), torch.tensor([3, 9, 0, 5, 6, 2, 7]))
TARGETS = torch.tensor([17, MARK, 4, 250, 0, 99, 17])


def gradients(model: Any, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    (0.5 * loss).backward()
    return {name: each.grad.clone() for name, each in model.named_parameters() if each.grad is not None}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "tuning"), [*((name, "full") for name in KINDS), *((name, "lora") for name in LORA)])
def test_loss_and_gradients_from_parts_are_those_of_whole_logits(name: str, tuning: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head, "LOGITS_AT_ONCE", 3 * VOCABULARY)
    model = made(name)
    if tuning == "lora":
        model = adapters.add_lora(model, Lora(rank=2), MARK)
        with torch.no_grad():
            for each in (own for own in model.parameters() if own.requires_grad):
                each += 0.1 * torch.randn_like(each)
    inputs = inputs_of(model)
    whole = torch.nn.functional.cross_entropy(model(**inputs).logits[CHOSEN], TARGETS, reduction="none")
    expected = gradients(model, whole.sum())
    states = head.hidden(model, inputs, *CHOSEN)
    total, losses = head.summed_loss(states, TARGETS)
    torch.testing.assert_close(total, whole.sum().detach(), rtol=1e-6, atol=0)
    torch.testing.assert_close(losses, whole.detach(), rtol=2e-6, atol=0)
    found = gradients(model, total)
    assert found.keys() == expected.keys()
    largest = sum(each.norm() ** 2 for each in expected.values()) ** 0.5
    for each, own in expected.items():
        assert (found[each] - own).norm() <= 2e-6 * own.norm() + 1e-7 * largest, f"{each}: float32 sums in another order"
    assert sum((found[each] - own).norm() ** 2 for each, own in expected.items()) ** 0.5 <= 1e-6 * largest
    torch.testing.assert_close(head.log_probabilities(states, TARGETS), -losses)
    assert head.can_split(model) == (name not in WITHOUT_PARTS)
    assert states.states_ND.shape[1] == (VOCABULARY if name in WITHOUT_PARTS else 32)


@pytest.mark.parametrize("name", ["tied", "untied", "T5", "a decoder within the body"])
def test_weights_multiply_losses_and_gradients_token_by_token(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head, "LOGITS_AT_ONCE", 3 * VOCABULARY)
    model, weight_N = made(name), torch.tensor([0.5, 2.0, 0.0, 1.0, 3.0, 0.25, 1.5])
    inputs = inputs_of(model)
    whole = torch.nn.functional.cross_entropy(model(**inputs).logits[CHOSEN], TARGETS, reduction="none")
    expected = gradients(model, (whole * weight_N).sum())
    total, losses = head.summed_loss(head.hidden(model, inputs, *CHOSEN), TARGETS, weight_N)
    torch.testing.assert_close(total, (whole * weight_N).sum().detach(), rtol=1e-6, atol=0)
    torch.testing.assert_close(losses, whole.detach(), rtol=2e-6, atol=0)
    found = gradients(model, total)
    assert found.keys() == expected.keys()
    for each, own in expected.items():
        torch.testing.assert_close(found[each], own, rtol=1e-4, atol=1e-5)


def test_no_more_logits_are_made_at_once_than_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head, "LOGITS_AT_ONCE", 3 * VOCABULARY)
    model, sizes = made("tied"), []
    head.can_split(model)
    model.get_output_embeddings().register_forward_hook(lambda _, __, logits: sizes.append(logits.shape[:-1].numel()))
    total, _ = head.summed_loss(head.hidden(model, inputs_of(model), *CHOSEN), TARGETS)
    total.backward()
    assert sizes == [0, 3, 3, 1], "once, and not again for the gradient"


def test_a_loss_without_gradients_computes_none(monkeypatch: pytest.MonkeyPatch) -> None:
    model = made("untied")
    monkeypatch.setattr(torch.autograd, "grad", lambda *_, **__: pytest.fail("a gradient"))
    with torch.no_grad():
        total, _ = head.summed_loss(head.hidden(model, inputs_of(model), *CHOSEN), TARGETS)
    assert not total.requires_grad


def test_a_model_that_cannot_begin_at_its_hidden_states_gives_its_logits() -> None:
    """Its forward wants the ids for something else than its body."""
    model = made("untied")
    forward = model.forward
    model.forward = lambda input_ids, **others: forward(input_ids=input_ids, **others)
    assert not head.can_split(model)
    states = head.hidden(model, inputs_of(model), *CHOSEN)
    total, _ = head.summed_loss(states, TARGETS)
    assert total.item() == pytest.approx(
        torch.nn.functional.cross_entropy(forward(**inputs_of(model)).logits[CHOSEN], TARGETS, reduction="sum").item()
    )
