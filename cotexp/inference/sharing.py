"""Which rows a model may carry on in one batch without changing their texts: tried out once for each loaded model, on a few short rows.

A row with its memory must be what the model says of the whole row at once, or the model is refused. Rows of other lengths, then of the
same length, may stand beside it where they change nothing: masks of some architectures do not reach all that they remember.
Axes: N steps, V vocabulary.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch

from cotexp.inference.rows import PromptRows, Rows, SourceRows, StaticPromptRows, accepted
from cotexp.models.loading import LoadedModel, decoder_inputs
from cotexp.sections import ConfigError

log = logging.getLogger(__name__)

NUM_STEPS = 4
SHORT, LONG = 5, 20
"""Tokens of the prompts that are tried."""


class Sharing(NamedTuple):
    """Whether rows of different length may share a batch, rows of equal length may, and those that ended may leave it before the others."""

    padded: bool
    together: bool
    leave: bool


class _Tried(NamedTuple):
    """A prompt, what is written behind it, and what the model says of all of it at once, of shape (N, V)."""

    prompt: list[int]
    written: list[int]
    expected_NV: torch.Tensor


@torch.inference_mode()
def tried(loaded: LoadedModel, *, compiled: bool) -> Sharing:
    """How rows may share a batch.

    Raises: ConfigError where the model, carried on step by step, differs from what it says of a whole text; and where `compiled` steps over
    a cache of fixed size do.
    """
    short, long, other = (_try(loaded, *each) for each in _rows(loaded))
    encoder_decoder, name = loaded.model.config.is_encoder_decoder, type(loaded.model).__name__
    make: Callable[..., Rows] = SourceRows if encoder_decoder else PromptRows
    noise = _difference(lambda prompts: make(loaded, prompts), [short])
    exact = torch.finfo(loaded.model.dtype).bits >= 32
    if not noise < (1e-3 if exact else 0.3):
        raise ConfigError(
            f"model.path: {name} carried on step by step differs from {name} on the whole text (by {noise:.1g} of its logits' spread), "
            "so its texts would be wrong; take another model, or a version of transformers that is right about this one"
        )
    most = max(4 * noise, 1e-4 if exact else 0.1)
    if compiled:
        _check_compiled(loaded, [short, long], most)
    for sharing, rows in (
        (Sharing(padded=True, together=True, leave=True), [short, long]),
        (Sharing(padded=True, together=True, leave=False), [short, long]),
        (Sharing(padded=False, together=True, leave=True), [long, other]),
        (Sharing(padded=False, together=True, leave=False), [long, other]),
    ):
        if _difference(lambda prompts, leave=sharing.leave: make(loaded, prompts, leave=leave), rows) <= most:
            break
    else:
        sharing = Sharing(padded=False, together=False, leave=False)
    if not sharing.padded:
        log.warning("%s is exact only %s: its batches are small", name, "among rows of equal length" if sharing.together else "for a row alone")
    return sharing


def _check_compiled(loaded: LoadedModel, rows: Sequence[_Tried], most: float) -> None:
    difference = _difference(lambda prompts: StaticPromptRows(loaded, prompts, NUM_STEPS, compiled=False), rows)
    if not difference <= most:
        name = type(loaded.model).__name__
        raise ConfigError(f"model.compile must be false for {name}, which is not exact over a cache of fixed size; got true")


def _rows(loaded: LoadedModel) -> list[tuple[list[int], list[int]]]:
    """Prompts and what is written behind them, from all over the vocabulary."""
    vocabulary = loaded.model.get_input_embeddings().weight.shape[0]
    lengths = [SHORT, LONG, LONG]
    ids = torch.linspace(vocabulary // 8, vocabulary - 1, sum(lengths) + NUM_STEPS * len(lengths)).long()
    ids = ids[torch.randperm(len(ids), generator=torch.Generator().manual_seed(0))]
    parts = [each.tolist() for each in ids.split([size for length in lengths for size in (length, NUM_STEPS)])]
    return list(zip(parts[::2], parts[1::2], strict=True))


def _try(loaded: LoadedModel, prompt: list[int], written: list[int]) -> _Tried:
    model, device = loaded.model, loaded.device
    if model.config.is_encoder_decoder:
        target = torch.tensor([written], device=device)
        ids = {"input_ids": torch.tensor([prompt], device=device), "decoder_input_ids": decoder_inputs(model, target)}
    else:
        ids = {"input_ids": torch.tensor([prompt + written[:-1]], device=device)}
    logits_TV = model(**ids, **accepted(model, use_cache=False)).logits[0]
    return _Tried(prompt, written, logits_TV[-len(written) :])


def _difference(make: Callable[[list[list[int]]], Rows], tried: Sequence[_Tried]) -> float:
    """The largest difference of a row from what is expected of it, in parts of the spread of its logits; all rows but the first leave midway.

    Infinite where the rows cannot be carried on at all.
    """
    try:
        found = _carried_on(make([each.prompt for each in tried]), [each.written for each in tried])
    except (RuntimeError, ValueError, TypeError, AttributeError, IndexError, NotImplementedError):
        return float("inf")
    return max(_distance(torch.stack(own), each.expected_NV[: len(own)]) for own, each in zip(found, tried, strict=True))


def _carried_on(rows: Rows, written: Sequence[list[int]]) -> list[list[torch.Tensor]]:
    found: list[list[torch.Tensor]] = [[] for _ in written]
    logits_BV, left = rows.first_logits(), list(range(len(written)))
    for step in range(NUM_STEPS):
        for number, logits_V in zip(left, logits_BV, strict=True):
            found[number].append(logits_V)
        if step == NUM_STEPS // 2 - 1 and len(left) > 1:
            rows.keep(torch.zeros(1, dtype=torch.long, device=logits_BV.device))
            left = left[:1]
        if step + 1 < NUM_STEPS:
            tokens = [[written[number][step]] for number in left]
            logits_BV = rows.next_logits(torch.tensor(tokens, device=logits_BV.device))
    return found


def _distance(found_NV: Any, expected_NV: Any) -> float:
    found_NV, expected_NV = found_NV.double(), expected_NV.double()
    spread = (expected_NV - expected_NV.mean(dim=-1, keepdim=True)).norm()
    return float((found_NV - expected_NV).norm() / spread.clamp(min=1e-12))
