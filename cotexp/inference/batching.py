"""Finds which rows can be decoded in one batch without changing their texts. Each loaded model is probed once, on a few short rows.

Decoding step by step from a cache must give the logits of one pass over the whole row; otherwise the model is refused. Then rows of other
lengths, and of equal length, are added: the masks of some architectures do not cover all of their state. Axes: N steps, V vocabulary.
"""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

from cotexp.inference.decoding import PromptRows, Rows, SourceRows, StaticPromptRows, accepted
from cotexp.models.embeddings import num_embeddings
from cotexp.models.loading import LoadedModel, decoder_inputs
from cotexp.settings.base import ConfigError

log = logging.getLogger(__name__)

NUM_STEPS = 4
SHORT, LONG = 5, 20
"""Lengths of the probed prompts in tokens."""
FAILURES = (RuntimeError, ValueError, TypeError, AttributeError, LookupError)
"""Exceptions of architectures that cannot be decoded in a probed way."""
LOST = 0.03
"""Largest allowed difference between a step and a pass over the whole row, as a share of the logits' spread, in float32; 10 times that in 16 bits.

A lost state differs far more. Some architectures (Nemotron-H) round or clamp their states in steps, in every implementation.
"""


class Batching(NamedTuple):
    """Rows that may share a batch: rows of different lengths (`padded`), rows of equal length (`together`).

    `leave`: ended rows may leave early. `refill`: others may then take their places.
    """

    padded: bool
    together: bool
    leave: bool
    refill: bool = False


class _Tried(NamedTuple):
    """A prompt, the tokens written after it, and logits of shape (N, V): from one pass over the whole row, and from decoding it alone in steps."""

    prompt: list[int]
    written: list[int]
    whole_NV: torch.Tensor
    alone_NV: torch.Tensor


@torch.inference_mode()
def probe(loaded: LoadedModel, *, compiled: bool, refill: bool = False) -> Batching:
    """How rows of this model may share a batch; `refill` asks whether others can take the places of ended ones.

    Raises: ConfigError if the model decodes other logits step by step than in one pass, or does so in `compiled` steps with a cache of fixed size.
    """
    name, exact = type(loaded.model).__name__, torch.finfo(loaded.model.dtype).bits >= 32
    make: Callable[..., Rows] = SourceRows if loaded.model.config.is_encoder_decoder else PromptRows
    short, long, other = (_try(loaded, make, *each) for each in _rows(loaded))
    lost = max(_distance(each.alone_NV, each.whole_NV) for each in (short, long, other))
    if not lost < (LOST if exact else 10 * LOST):
        raise ConfigError(
            f"model.path: {name} decoded step by step differs from one pass over the whole text (by {lost:.1g} of its logits' spread), "
            "so its texts would be wrong; take another model, or a version of transformers that decodes this one correctly"
        )
    most = 1e-4 if exact else max(0.1, 4 * lost)
    if compiled and not _difference(lambda prompts: StaticPromptRows(loaded, prompts, NUM_STEPS, compiled=False), [short, long]) <= most:
        raise ConfigError(f"model.compile must be false for {name}, which is not exact over a cache of fixed size; got true")
    for batching, rows in (
        (Batching(padded=True, together=True, leave=True), [short, long]),
        (Batching(padded=True, together=True, leave=False), [short, long]),
        (Batching(padded=False, together=True, leave=True), [long, other]),
        (Batching(padded=False, together=True, leave=False), [long, other]),
    ):
        if _difference(functools.partial(make, loaded, leave=batching.leave), rows) <= most:
            break
    else:
        batching = Batching(padded=False, together=False, leave=False)
    if refill and batching.padded and batching.leave and make is PromptRows and not compiled:
        return batching._replace(refill=_refilled_difference(loaded, [long, short, other]) <= most)
    if not batching.padded:
        log.warning("%s is exact only %s: its batches are small", name, "among rows of equal length" if batching.together else "for a row alone")
    return batching


def _rows(loaded: LoadedModel) -> list[tuple[list[int], list[int]]]:
    """Prompts and the tokens written after them, spread over the vocabulary."""
    vocabulary = num_embeddings(loaded.model)
    lengths = [SHORT, LONG, LONG]
    ids = torch.linspace(vocabulary // 8, vocabulary - 1, sum(lengths) + NUM_STEPS * len(lengths)).long()
    ids = ids[torch.randperm(len(ids), generator=torch.Generator().manual_seed(0))]
    parts = [each.tolist() for each in ids.split([size for length in lengths for size in (length, NUM_STEPS)])]
    return list(zip(parts[::2], parts[1::2], strict=True))


def _try(loaded: LoadedModel, make: Callable[..., Rows], prompt: list[int], written: list[int]) -> _Tried:
    model, device = loaded.model, loaded.device
    if model.config.is_encoder_decoder:
        target = torch.tensor([written], device=device)
        ids = {"input_ids": torch.tensor([prompt], device=device), "decoder_input_ids": decoder_inputs(model, target)}
    else:
        ids = {"input_ids": torch.tensor([prompt + written[:-1]], device=device)}
    whole_NV = model(**ids, **accepted(model, use_cache=False)).logits[0, -len(written) :]
    try:
        alone_NV = torch.stack(_carried_on(make(loaded, [prompt]), [written])[0])
    except FAILURES:
        alone_NV = torch.full_like(whole_NV, math.nan)
    return _Tried(prompt, written, whole_NV, alone_NV)


def _difference(make: Callable[[list[list[int]]], Rows], rows: Sequence[_Tried]) -> float:
    """The largest difference of a row in a batch from the row alone; infinite if decoding fails. All rows but the first leave midway."""
    try:
        found = _carried_on(make([each.prompt for each in rows]), [each.written for each in rows])
    except FAILURES:
        return math.inf
    return max(_distance(torch.stack(logits), each.alone_NV[: len(logits)]) for logits, each in zip(found, rows, strict=True))


def _refilled_difference(loaded: LoadedModel, rows: Sequence[_Tried]) -> float:
    """The largest difference of a row from the row alone if a batch loses and gains rows; infinite if that fails.

    The second row joins the first after a step, and the third after the first has left.
    """
    try:
        batch = PromptRows(loaded, [rows[0].prompt])
        found = [[batch.first_logits()], [], []]

        def step(*numbers: int) -> None:
            tokens = [[rows[number].written[len(found[number]) - 1]] for number in numbers]
            logits_BV = batch.next_logits(torch.tensor(tokens, device=loaded.device))
            for number, logits_1V in zip(numbers, logits_BV.split(1), strict=True):
                found[number].append(logits_1V)

        def join(number: int) -> None:
            others = PromptRows(loaded, [rows[number].prompt])
            found[number].append(others.first_logits())
            batch.join(others)

        step(0)
        join(1)
        step(0, 1)
        batch.keep(torch.ones(1, dtype=torch.long, device=loaded.device))
        join(2)
        step(1, 2)
        step(1, 2)
    except FAILURES:
        return math.inf
    return max(_distance(torch.cat(logits), each.alone_NV[: len(logits)]) for logits, each in zip(found, rows, strict=True))


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


def _distance(found_NV: torch.Tensor, expected_NV: torch.Tensor) -> float:
    """The difference as a share of the logits' spread; infinite if it is not a number."""
    found_NV, expected_NV = found_NV.double(), expected_NV.double()
    spread = (expected_NV - expected_NV.mean(dim=-1, keepdim=True)).norm()
    distance = float((found_NV - expected_NV).norm() / spread.clamp(min=1e-12))
    return distance if math.isfinite(distance) else math.inf
