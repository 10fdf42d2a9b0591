"""What engines write, and what transformers writes for the same prompts."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch

from cotexp.inference.engine import Engine, Output, Request
from cotexp.inference.local import LocalEngine
from cotexp.settings.sampling import Sampling

Texts = dict[str, tuple[str, int, str]]
"""Id -> (text, num_tokens, finish_reason)."""


def generated(engine: Engine, requests: Sequence[Request], sampling: Sampling, *, batch_size: int | None = None) -> Texts:
    """The outputs for all requests, in batches of `batch_size`, by default all at once."""
    outputs: list[Output] = []
    size = batch_size or len(requests)
    if batch_size:
        sampling = dataclasses.replace(sampling, batch_size=batch_size)
    for first in range(0, len(requests), size):
        engine.generate(requests[first : first + size], sampling, outputs.append)
    assert sorted(each.id for each in outputs) == sorted(each.id for each in requests)
    return {each.id: (each.text, each.num_tokens, each.finish_reason) for each in outputs}


def requests_of_many_lengths(engine: LocalEngine, texts: Sequence[str], *, count: int) -> list[Request]:
    """One request for each of the `count` texts, cut to very different lengths."""
    result = [Request(f"{number}/0", text[-(7 + 11 * number % len(text)) :]) for number, text in enumerate(texts)]
    assert len(result) == count
    assert max(len(engine.encode(each)) for each in result) > 4 * min(len(engine.encode(each)) for each in result)
    return result


def by_transformers(engine: LocalEngine, request: Request, *, max_new_tokens: int) -> tuple[str, int, str]:
    """The greedy text of transformers' own `generate`, its tokens without special ones, and how it ended."""
    model, tokenizer = engine.loaded.model, engine.loaded.tokenizer
    prompt = torch.tensor([engine.encode(request)])
    if engine.rope_limit:
        engine.rope_limit.restart(model)
    with torch.no_grad():
        ids = model.generate(prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=max_new_tokens, pad_token_id=0)[0]
    ids = ids[1 if engine.is_encoder_decoder else prompt.shape[1] :].tolist()  # without the prompt, or the decoder's start token
    has_ended = ids[-1] in engine.stop_ids
    written = ids[:-1] if has_ended else ids
    length = len([token for token in written if token not in tokenizer.all_special_ids])
    return engine.loaded.encoder.decode(written), length, "stop" if has_ended else "length"
