"""When a fine-tuning computes its activations twice."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from cotexp.models import adapters
from cotexp.settings.training import Lora, Trainer
from cotexp.training.memory import computes_twice, step_bytes

SEVEN = {"hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4}


@pytest.fixture(scope="module")
def seven_billion() -> torch.nn.Module:
    """Shapes alone."""
    with torch.device("meta"):
        config = AutoConfig.for_model("qwen2", **SEVEN, vocab_size=152064, tie_word_embeddings=False)
        return adapters.with_adapters(AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16), Lora(), 7)


@pytest.mark.parametrize(("gigabytes", "num_tokens", "expected"), [(24, 1024, True), (24, 256, False), (80, 4096, False), (80, 8192, True)])
def test_it_follows_from_the_memory_of_the_device(
    seven_billion: torch.nn.Module, gigabytes: int, num_tokens: int, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cotexp.training.memory.memory_of", lambda *_: gigabytes * 10**9)
    trainer, cpu = Trainer(tuning="lora", precision="bfloat16"), torch.device("cpu")
    assert computes_twice(seven_billion, trainer, num_tokens, cpu) == expected
    for wish in (True, False):
        trainer.gradient_checkpointing = wish
        assert computes_twice(seven_billion, trainer, num_tokens, cpu) == wish


def test_the_estimate_is_near_what_a_step_of_7b_was_counted_to_need(seven_billion: torch.nn.Module) -> None:
    """68.9 GB at 8192 tokens: benchmarks/memory.py."""
    assert step_bytes(seven_billion, Trainer(tuning="lora", precision="bfloat16"), 8192) == pytest.approx(68.9e9, rel=0.2)
