"""The input embeddings of a model."""

from __future__ import annotations

from typing import Any


def num_embeddings(model: Any) -> int:
    """Rows of the input embeddings, one per token id. A vocabulary may have fewer, because rows are often padded to a round number."""
    rows: int = model.get_input_embeddings().weight.shape[0]
    return rows
