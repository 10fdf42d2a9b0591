"""Micro-batches without padding: their texts stand one behind the other in a single row, and positions begin again with each text.

transformers hides the texts of such a row from each other, by those positions. Architectures that carry a state over the row do not, so each
model is tried once. Axes: B texts, T tokens of the longest, P tokens of all texts.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakSet

import torch

from cotexp.models.embeddings import num_embeddings
from cotexp.models.head import FAILURES, ROUNDING
from cotexp.settings.base import ConfigError
from cotexp.settings.training import Trainer

SKIPS = ("flash_attention_2", "flash_attention_3", "flex_attention")
"""Attentions that spend no time on pairs of tokens of different texts. Others compute all pairs of the row, which costs more than padding."""
PROBED = (3, 7, 5)
"""Lengths of the texts with which a model is tried, in tokens."""

_tried: WeakSet[Any] = WeakSet()


def is_padding_free(trainer: Trainer, attention: str | None, *, is_encoder_decoder: bool) -> bool:
    """Whether the micro-batches of a fine-tuning have no padding: as `trainer.padding_free` says, or by default where that saves time.

    `attention` is `model.attn_implementation`. Raises: ConfigError if the setting is true for an encoder-decoder model.
    """
    check_kind(is_encoder_decoder, trainer)
    return (attention in SKIPS and not is_encoder_decoder) if trainer.padding_free is None else trainer.padding_free


def check_kind(is_encoder_decoder: bool, trainer: Trainer) -> None:
    """Check that the setting suits the kind of model. Raises: ConfigError otherwise."""
    if trainer.padding_free and is_encoder_decoder:
        raise ConfigError("trainer.padding_free must not be true for an encoder-decoder model, which reads sources apart from texts; take false")


def packed(ids_BT: torch.Tensor, attention_BT: torch.Tensor) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """(inputs of a model for one row of P tokens, (B, T) the place of every token in it)."""
    is_token_BT = attention_BT.bool()
    positions_BT = torch.arange(ids_BT.shape[1], device=ids_BT.device).expand_as(ids_BT)
    places_BT = is_token_BT.flatten().cumsum(dim=0).view_as(ids_BT) - 1
    return {"input_ids": ids_BT[is_token_BT][None], "position_ids": positions_BT[is_token_BT][None]}, places_BT


@torch.no_grad()
def check(model: Any) -> None:
    """Check once that a model computes the same for texts in one row as for each alone. Raises: ConfigError otherwise."""
    if model in _tried:
        return
    was_training = model.training
    model.eval()
    difference = _difference(model)
    model.train(was_training)
    if not difference <= ROUNDING * (1 if torch.finfo(model.dtype).bits >= 32 and not torch.is_autocast_enabled(model.device.type) else 1000):
        raise ConfigError(
            f"trainer.padding_free must be false for this model ({model.config.model_type}), which mixes texts that stand in one row "
            f"(its logits change by {difference:.1g} of the largest); take false"
        )
    _tried.add(model)


def _difference(model: Any) -> float:
    """The largest difference between logits of texts in one row and of each alone, as a share of the largest; infinite if the model fails."""
    texts = torch.linspace(0, num_embeddings(model) - 1, sum(PROBED), device=model.device).long().split(PROBED)
    ids_BT = torch.nn.utils.rnn.pad_sequence(texts, batch_first=True)
    attention_BT = torch.nn.utils.rnn.pad_sequence([torch.ones_like(each) for each in texts], batch_first=True)
    alone_PV = torch.cat([model(input_ids=each[None], use_cache=False).logits[0] for each in texts])
    try:
        together_PV = model(**packed(ids_BT, attention_BT)[0], use_cache=False).logits[0]
    except FAILURES:
        return float("inf")
    return float((together_PV - alone_PV).abs().max() / alone_PV.abs().max())
