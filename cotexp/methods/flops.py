"""Floating-point operations (FLOPs) of fine-tuning, from sizes of a model and lengths of texts.

A multiplication and an addition are two FLOPs. A token costs 2 per weight forward, 2 per weight for the gradient of the input, and 2 per *trained*
weight for its own gradient: 6 N per token where every weight is trained, 4 N + 2 N_trained with adapters. Attention adds the products of queries
and keys and of attention and values, over all pairs of tokens of a text.
Source: Kaplan et al. 2020 (arXiv 2001.08361), section 2.1, and Chowdhery et al. 2022 (arXiv 2204.02311), appendix B, for the attention.
Differs from both: embeddings, which are looked up, do not count, and the head counts for the tokens whose logits are made.
"""

from __future__ import annotations

from typing import NamedTuple

FORWARD = 2
"""FLOPs per weight and token of a forward pass."""


class Weights(NamedTuple):
    """Weights by which a token is multiplied, and how many of them are trained."""

    total: int = 0
    trained: int = 0

    @property
    def per_token(self) -> int:
        """FLOPs of a token in a training step: forward, gradient of the input, and gradient of the trained weights."""
        return 2 * FORWARD * self.total + FORWARD * self.trained


class ModelSize(NamedTuple):
    """What decides the FLOPs of a model.

    `text`: weights for each token of the text (of the target, in an encoder-decoder model); `source`: for each token of the source; `head`: for
    each supervised token. The widths are the sums over attention layers of heads times their width: of a text, of a source, and of a target that
    reads a source. `head_reads_all`: the head makes logits of all tokens of the text.
    """

    text: Weights
    head: Weights
    source: Weights = Weights()
    text_width: int = 0
    source_width: int = 0
    cross_width: int = 0
    head_reads_all: bool = False

    def step(self, *, num_text: int, num_supervised: int, num_source: int = 0) -> int:
        """FLOPs of one example in a training step, by its tokens. Padding, and activations that are computed twice, do not count."""
        pairs = self.text_width * num_text**2 + self.source_width * num_source**2 + self.cross_width * num_text * num_source
        by_head = self.head.per_token * (num_text if self.head_reads_all else num_supervised)
        by_attention = 3 * 2 * FORWARD * pairs  # two products forward, four backward
        return self.text.per_token * num_text + self.source.per_token * num_source + by_head + by_attention
