"""FLOPs by the formula against hand-computed ones; against torch's counter on real models: tests/training/test_costs.py."""

from __future__ import annotations

import pytest

from cotexp.methods.flops import ModelSize, Weights


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        (Weights(100, 100), 600),  # 6 N
        (Weights(100, 0), 400),  # frozen: forward, and the gradient of the input
        (Weights(110, 10), 4 * 110 + 2 * 10),  # adapters
        (Weights(), 0),
    ],
)
def test_a_token_costs_6_per_trained_weight_and_4_per_frozen_one(weights: Weights, expected: int) -> None:
    assert weights.per_token == expected


def test_attention_grows_with_the_square_of_the_length_and_the_head_with_supervised_tokens() -> None:
    size = ModelSize(text=Weights(100, 100), head=Weights(50, 50), text_width=8)
    assert size.step(num_text=10, num_supervised=3) == 600 * 10 + 300 * 3 + 12 * 8 * 10**2
    assert size._replace(head_reads_all=True).step(num_text=10, num_supervised=3) == 600 * 10 + 300 * 10 + 12 * 8 * 10**2


def test_a_source_costs_its_encoder_and_what_the_target_reads_of_it() -> None:
    size = ModelSize(text=Weights(100, 100), head=Weights(50, 50), source=Weights(70, 70), text_width=8, source_width=4, cross_width=2)
    by_weights = 600 * 5 + 420 * 7 + 300 * 5
    assert size.step(num_text=5, num_supervised=5, num_source=7) == by_weights + 12 * (8 * 25 + 4 * 49 + 2 * 35)
