"""Check that a model is causal: its prediction of a token must not depend on later tokens, as it does in BERT and XLNet."""

from __future__ import annotations

import inspect
from typing import Any

import torch

from cotexp.models.embeddings import num_embeddings
from cotexp.models.files import first_line
from cotexp.settings.base import ConfigError


@torch.inference_mode()
def check_causal(model: Any) -> None:
    """Check that a model is causal and computes finite logits, by two texts that differ in their last tokens.

    Raises: ConfigError for a model that reads the tokens that it predicts, since its loss and scores would be meaningless; and for one with NaN
    or infinite logits, since its training would seem to diverge.
    """
    vocabulary = num_embeddings(model)
    first, second, third = torch.linspace(vocabulary // 8, vocabulary - 1, 12, device=model.device).long().view(3, 4)
    ids_BT = torch.stack([torch.cat([first, second]), torch.cat([first, third])])
    inputs: dict[str, Any] = {"input_ids": ids_BT}
    if model.config.is_encoder_decoder:
        inputs = {"input_ids": ids_BT[:, :4], "decoder_input_ids": ids_BT}
    if "use_cache" in inspect.signature(model.forward).parameters:
        inputs["use_cache"] = False
    was_training = model.training
    name = type(model).__name__
    try:
        one_TV, other_TV = model.eval()(**inputs).logits[:, :4].float()
    except (RuntimeError, ValueError, TypeError, LookupError, AttributeError) as error:  # inconsistent numbers in config.json cause any of these
        raise ConfigError(
            f"model.path: {name} in {model.name_or_path} cannot read a text with its config.json ({first_line(error)}); restore that file"
        ) from None
    model.train(was_training)
    if not (one_TV + other_TV).isfinite().all():
        raise ConfigError(
            f"model.path: {name} in {model.name_or_path} computes NaN or infinite values from its config.json and weights; restore both, or fetch "
            "the model again"
        )
    if (one_TV - other_TV).norm() > 0.03 * (one_TV - one_TV.mean(dim=-1, keepdim=True)).norm():
        raise ConfigError(f"model.path: {name} is not causal: its prediction of a token depends on later tokens; take a causal model")
