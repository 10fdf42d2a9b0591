"""What a fine-tuning is said to cost, against torch's counter of FLOPs and against sums by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from torch.utils.flop_counter import FlopCounterMode

from cotexp.models import adapters, head
from cotexp.models.encoding import Encoded
from cotexp.settings.base import ConfigError, keyed
from cotexp.settings.training import Lora, Trainer
from cotexp.training import costs
from cotexp.training.batch_plans import plan_batches
from cotexp.training.data import EncodedExample, collate, collate_source_target
from cotexp.training.modules import supervised_loss

WIDTH: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 300}
LLAMA = {**WIDTH, "num_key_value_heads": 2, "intermediate_size": 64}
BART: dict[str, Any] = {"d_model": 32, "vocab_size": 300}
BART |= {f"{part}_{name}": size for part in ("encoder", "decoder") for name, size in {"layers": 2, "attention_heads": 4, "ffn_dim": 64}.items()}
MODELS: dict[str, dict[str, Any]] = {
    "Llama": LLAMA,
    "Gemma3Text": {**LLAMA, "head_dim": 8},
    "GPT2": WIDTH,
    "OPT": {**WIDTH, "ffn_dim": 64, "word_embed_proj_dim": 32},
    "Mixtral": {**LLAMA, "num_local_experts": 4, "num_experts_per_tok": 2},
    "T5": {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_decoder_layers": 3, "num_heads": 4, "vocab_size": 300, "dropout_rate": 0.0},
    "Bart": {**BART, "dropout": 0.0},
}
RECURRENT = {"Mamba": {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8}, "Lfm2": {**LLAMA, "layer_types": ["conv", "full_attention"]}}


def make(name: str, own: dict[str, Any]) -> Any:
    """A model whose attention is multiplied in the open: torch's counter does not see into the fused one of a CPU."""
    config = getattr(transformers, f"{name}Config")(**{"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 0, **own})
    kind = transformers.AutoModelForSeq2SeqLM if config.is_encoder_decoder else transformers.AutoModelForCausalLM
    model = kind.from_config(config, attn_implementation="eager")
    if name == "Mixtral":
        model.set_experts_implementation("eager")
    return model


def example(num_prompt: int, num_supervised: int) -> EncodedExample:
    return EncodedExample(Encoded([7] * (num_prompt + num_supervised), [0] * num_prompt + [1] * num_supervised), "full")


def counted(model: Any, examples: list[EncodedExample]) -> int:
    """FLOPs of a step on a batch of these examples, by torch's counter."""
    make_batch = collate_source_target if model.config.is_encoder_decoder else collate
    batch = make_batch(examples, 0, 1)
    head.can_split(model)  # it tries the model once, which is no part of a step
    with FlopCounterMode(display=False) as counter:
        supervised_loss(model, batch).total.backward()  # type: ignore[no-untyped-call]
    return int(counter.get_total_flops())


def expected(model: Any, examples: list[EncodedExample]) -> int:
    size = costs.size_of(model)
    assert size is not None
    return sum(costs.flops_of(size._replace(head_reads_all=not head.is_split(model)), examples))


@pytest.mark.parametrize("name", sorted(MODELS))
def test_flops_of_a_step_are_those_of_torchs_counter(name: str) -> None:
    torch.manual_seed(0)
    model = make(name, MODELS[name]).train()
    for examples in ([example(20, 12)], [example(9, 5)] * 3):
        assert counted(model, examples) == expected(model, examples)


@pytest.mark.parametrize("name", ["Llama", "GPT2", "T5"])
def test_with_adapters_they_are_those_of_torchs_counter_but_for_the_one_trained_row(name: str) -> None:
    model = adapters.with_adapters(make(name, MODELS[name]), Lora(), 7).train()
    one_row = 6 * 32 * 12
    assert counted(model, [example(20, 12)]) == expected(model, [example(20, 12)]) + one_row


def test_padding_costs_more_and_does_not_count() -> None:
    model = make("Llama", LLAMA).train()
    together = [example(20, 12), example(3, 2)]
    assert expected(model, together) == sum(counted(model, [each]) for each in together) < counted(model, together)


@pytest.mark.parametrize("name", sorted(RECURRENT))
def test_flops_of_recurrent_layers_are_not_given_and_a_budget_of_them_is_refused(name: str) -> None:
    model = make(name, RECURRENT[name])
    assert costs.size_of(model) is None
    assert costs.flops_of(None, [example(2, 3)]) == []
    costs.check_budget(model.config, Trainer(max_tokens=100))
    with pytest.raises(
        ConfigError, match=rf"^trainer\.max_petaflops needs a model whose layers are all attention.* got a {name.lower()} .*max_tokens$"
    ):
        costs.check_budget(model.config, Trainer(max_petaflops=1e9))


def test_tokens_and_flops_are_summed_over_all_steps_not_over_the_training_set() -> None:
    examples = [example(10, 2), example(20, 5)]
    plan = plan_batches([12, 25], Trainer(batch_size=2, max_epochs=3), seed=0)
    of_set, seen = {"num_supervised_tokens": 7}, {"num_tokens_seen": 3 * 37, "num_supervised_tokens_seen": 3 * 7}
    assert costs.spent(plan, examples, [100, 300]) == {**of_set, **seen, "flops": 1200}
    assert "flops" not in costs.spent(plan, examples, [])


def test_hours_count_every_thread_of_every_process_and_are_left_out_if_the_time_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    two = Trainer(devices=2, strategy="ddp", accelerator="cpu")
    found = costs.hours(two, 900.0, 900.0 * costs.num_devices(two))
    assert (found["seconds"], found["core_hours"]) == (900.0, 2.0)
    assert str(found["device"]).startswith("8 x core of ")
    assert costs.hours(two, None, None).keys() == {"device"}
    assert costs.hours(two, 900.0, None).keys() == {"device", "seconds"}


def test_the_budget_of_each_kind_ends_with_the_step_that_reaches_it() -> None:
    lengths, flops = [10, 20, 30, 40], [1, 2, 3, 4]
    for budget, steps in (
        ({"max_steps": 7}, 7),
        ({"max_tokens": 200}, 4),
        ({"max_tokens": 201}, 5),
        ({"max_tokens": 1}, 1),
        ({"max_petaflops": 19.5e-15}, 4),
    ):
        plan = plan_batches(lengths, Trainer(batch_size=2, **budget), seed=3, flops=flops)
        assert len(plan.global_batches) == steps, budget
        longer = plan_batches(lengths, Trainer(batch_size=2, max_epochs=10), seed=3)
        assert plan.global_batches == longer.global_batches[:steps], "the same order of the data"


@pytest.mark.parametrize(
    "budgets", [{"max_steps": 3, "max_tokens": 5}, {"max_tokens": 5, "max_petaflops": 1e9}, {"max_steps": 3, "max_petaflops": 1e9}]
)
def test_two_budgets_are_refused_and_one_is_part_of_the_key_where_it_is_set_alone(budgets: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"^max_steps, max_tokens and max_petaflops each set the length of the fine-tuning, so one of them at most"):
        Trainer(**budgets)
    assert not {*keyed(Trainer())} & {"max_steps", "max_tokens", "max_petaflops"}, "fine-tuned models of earlier versions keep their keys"
    for name, value in budgets.items():
        assert keyed(Trainer(**{name: value}))[name] == value


@pytest.mark.parametrize("budget", [{"max_steps": 10**9}, {"max_tokens": 10**9}, {"max_petaflops": 1e9}])
def test_a_budget_of_more_passes_than_max_epochs_may_have_is_refused(budget: dict[str, Any]) -> None:
    [name] = budget
    with pytest.raises(ConfigError, match=rf"^trainer\.{name} must be at most [\d.e+-]+ here, 10,000 passes over 4 training examples; got 1"):
        plan_batches([10] * 4, Trainer(batch_size=2, **budget), seed=3, flops=[5] * 4)


@pytest.mark.parametrize(
    ("name", "most", "of_each"), [("max_steps", 10_000, 10), ("max_tokens", 12_300_000, 123), ("max_petaflops", 123_456.0, 1.23456e15)]
)
def test_the_largest_budget_that_is_named_can_be_typed(name: str, most: float, of_each: float) -> None:
    """Of ten examples, which make a batch of ten."""
    lengths, flops = [round(of_each)] * 10, [round(of_each)] * 10
    with pytest.raises(ConfigError) as caught:
        plan_batches(lengths, Trainer(batch_size=10, **{name: 10 * most}), seed=3, flops=flops)
    named = str(caught.value).split("at most ")[1].split(" ")[0]
    exact = float(named) if name == "max_petaflops" else int(named)
    assert exact == pytest.approx(most, rel=1e-4)
    assert len(plan_batches(lengths, Trainer(batch_size=10, **{name: exact}), seed=3, flops=flops).global_batches) <= 10_001
