"""Losses and log-probabilities of chosen tokens, without the logits of all tokens at once.

A model reads a text up to its last hidden states. The model's code after them (scaling, head, soft cap) runs here on a few hundred tokens at
a time. Axes: B rows, T tokens, N chosen tokens, D width, V vocabulary; in lower case those of a part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import repeat
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch.autograd.function import once_differentiable
from transformers.modeling_outputs import BaseModelOutput

from cotexp.models.embeddings import num_embeddings

LOGITS_AT_ONCE = 2**25
"""Numbers in the logits of one part: 134 MB in float32."""
PROBE_TOKENS = 6
ROUNDING = 1e-5
"""Largest difference of logits computed in two ways, as a share of the largest, in float32; a thousand times that in 16 bits."""
FAILURES = (RuntimeError, ValueError, TypeError, AttributeError, LookupError)
"""Exceptions of models whose code cannot begin at the last hidden states."""

LogitsOf = Callable[[torch.Tensor], torch.Tensor]


class Hidden(NamedTuple):
    """The last hidden states of N tokens, a function from n of them to (n, V) logits, and the trained weights that it uses.

    `at_once` is the number of tokens whose logits are made at once.
    """

    states_ND: torch.Tensor
    logits_of: LogitsOf
    weights: list[torch.nn.Parameter]
    at_once: int


def hidden(model: Any, inputs: Mapping[str, Any], rows_N: torch.Tensor, columns_N: torch.Tensor) -> Hidden:
    """The hidden states of the chosen tokens before the head of `model(**inputs)`, or their logits if the model's code cannot begin at the head."""
    if can_split(model):
        return _split(model, inputs, rows_N, columns_N)
    at_once = max(1, LOGITS_AT_ONCE // num_embeddings(model))
    return Hidden(model(**inputs).logits[rows_N, columns_N], lambda logits_nV: logits_nV, [], at_once)


def summed_loss(states: Hidden, target_N: torch.Tensor, weight_N: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """The sum of the targets' negative log-likelihoods in nats, each times its weight if there are weights, through which gradients flow, and (N,)
    each of them without weight and gradient."""
    total, losses_N = _SummedLoss.apply(states, target_N, weight_N, torch.is_grad_enabled(), states.states_ND, *states.weights)  # type: ignore[no-untyped-call]
    return total, losses_N


@torch.no_grad()
def log_probabilities(states: Hidden, target_N: torch.Tensor) -> torch.Tensor:
    """(N,) log-probabilities of the targets in nats."""
    parts = zip(states.states_ND.split(states.at_once), target_N.split(states.at_once), strict=True)
    return torch.cat([_log_softmax(states.logits_of(part_nD)).gather(1, target_n[:, None])[:, 0] for part_nD, target_n in parts])


@torch.no_grad()
def ranks(states: Hidden, target_N: torch.Tensor) -> torch.Tensor:
    """(N,) places of the targets among all tokens, by their logits: 1 for the most likely. Equal logits share the better place."""
    parts = zip(states.states_ND.split(states.at_once), target_N.split(states.at_once), strict=True)
    return torch.cat([_ranks(states.logits_of(part_nD), target_n) for part_nD, target_n in parts])


class _SummedLoss(torch.autograd.Function):
    """Computes the gradients of a part together with its loss, so that its logits are computed once and not kept."""

    @staticmethod
    def forward(
        ctx: Any,
        states: Hidden,
        target_N: torch.Tensor,
        weight_N: torch.Tensor | None,
        with_gradient: bool,
        states_ND: torch.Tensor,
        *weights: torch.Tensor,
    ) -> tuple[Any, torch.Tensor]:
        wants_gradient = with_gradient and any(ctx.needs_input_grad)
        losses, found = [], [torch.zeros_like(each) for each in weights] if wants_gradient else []
        for_states = []
        weights_of = repeat(None) if weight_N is None else weight_N.split(states.at_once)
        for part_nD, target_n, weight_n in zip(states_ND.split(states.at_once), target_N.split(states.at_once), weights_of, strict=False):
            part_nD = part_nD.detach().requires_grad_(wants_gradient)
            with torch.set_grad_enabled(wants_gradient):
                logits_nV = states.logits_of(part_nD)
            scores_nV = _log_softmax(logits_nV.detach())
            losses.append(-scores_nV.gather(1, target_n[:, None])[:, 0])
            if wants_gradient:
                of_part, *of_weights = _gradients(logits_nV, scores_nV, target_n, weight_n, (part_nD, *weights))
                for_states.append(of_part)
                for total, own in zip(found, of_weights, strict=True):
                    total += own
        ctx.save_for_backward(*([torch.cat(for_states)] if for_states else []), *found)
        losses_N = torch.cat(losses)
        ctx.mark_non_differentiable(losses_N)
        return losses_N.sum() if weight_N is None else (losses_N * weight_N).sum(), losses_N

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: torch.Tensor, _: Any) -> tuple[Any, ...]:
        return None, None, None, None, *(each * scale.to(each.dtype) for each in ctx.saved_tensors)


def _gradients(
    logits_nV: torch.Tensor, scores_nV: torch.Tensor, target_n: torch.Tensor, weight_n: torch.Tensor | None, inputs: Any
) -> list[torch.Tensor]:
    """Gradients of the summed loss. `scores_nV` are the logits' log-probabilities, which are overwritten."""
    scores_nV.exp_()[torch.arange(len(target_n), device=target_n.device), target_n] -= 1
    if weight_n is not None:
        scores_nV *= weight_n[:, None]
    with torch.autocast(logits_nV.device.type, enabled=False):
        found = torch.autograd.grad(logits_nV, inputs, scores_nV.to(logits_nV.dtype), allow_unused=True)
    return [torch.zeros_like(each) if own is None else own for own, each in zip(found, inputs, strict=True)]


def _ranks(logits_nV: torch.Tensor, target_n: torch.Tensor) -> torch.Tensor:
    return 1 + (logits_nV > logits_nV.gather(1, target_n[:, None])).sum(dim=1)


def _log_softmax(logits_nV: torch.Tensor) -> torch.Tensor:
    return torch.log_softmax(logits_nV, dim=-1, dtype=torch.float32)


def _split(model: Any, inputs: Mapping[str, Any], rows_N: torch.Tensor, columns_N: torch.Tensor) -> Hidden:
    base = model.get_base_model() if hasattr(model, "peft_config") else model
    head, body = base.get_output_embeddings(), _body(base)
    outputs: list[Any] = []
    hooks = [
        body.register_forward_hook(lambda _, __, output: outputs.append(output)),
        head.register_forward_pre_hook(lambda _, states: (states[0][:, :0],)),
    ]
    try:
        model(**inputs)
    finally:
        for each in hooks:
            each.remove()
    kind, rest = type(outputs[-1]), {"encoder_outputs": BaseModelOutput(outputs[-1][0])} if body is not base.base_model else {}

    def logits_of(states_nD: torch.Tensor) -> torch.Tensor:
        with _in_place_of(body, base, kind(last_hidden_state=states_nD[None])):
            logits_1nV: torch.Tensor = base.forward(**rest).logits
        return logits_1nV[0]

    return Hidden(outputs[-1][0][rows_N, columns_N], logits_of, _trained(base, head, body), max(1, LOGITS_AT_ONCE // num_embeddings(base)))


def _body(base: Any) -> Any:
    """The part of a model that makes its last hidden states: all but the head, or a decoder next to the head as in T5."""
    return base.get_decoder() if base.base_model is base else base.base_model


def _trained(base: Any, head: Any, body: Any) -> list[torch.nn.Parameter]:
    """Trained weights after the body. For a tied head these are the embeddings."""
    beside = [each for each in base.children() if each is not body and not (base.config.is_encoder_decoder and each is base.get_encoder())]
    own = {id(each): each for module in (head, *beside) for each in module.parameters() if each.requires_grad}
    return list(own.values())


class _Answer(torch.nn.Module):
    """Returns `output` for all inputs, and has the attributes of the body that it replaces."""

    def __init__(self, body: Any, output: Any) -> None:
        super().__init__()
        self._body: Callable[[], Any] = lambda: body
        self._output = output

    def forward(self, *_: Any, **__: Any) -> Any:
        return self._output

    def __getattr__(self, name: str) -> Any:
        return getattr(self._body(), name)


@contextmanager
def _in_place_of(body: Any, base: Any, output: Any) -> Iterator[None]:
    """In this block, the base's body is replaced by one that returns `output`."""
    name = next(name for name, each in base.named_children() if each is body)
    setattr(base, name, _Answer(body, output))
    try:
        yield
    finally:
        setattr(base, name, body)


_known: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()


def can_split(model: Any) -> bool:
    """Whether a model's code can begin at its last hidden states and computes the same logits from them. Each model is tried once on a short text."""
    if model not in _known:
        _known[model] = probe(model)
    return _known[model]


def probe(model: Any) -> bool:
    """What `can_split` finds, where the model is now; it is not kept for later, when the model may be on another device."""
    was_training = model.training
    model.eval()
    found = _difference(model) <= ROUNDING * (1 if torch.finfo(model.dtype).bits >= 32 else 1000)
    model.train(was_training)
    return found


def is_split(model: Any) -> bool:
    """Whether `can_split` was true of this model; also if it was not asked. It computes nothing."""
    return _known.get(model, True)


@torch.no_grad()
def _difference(model: Any) -> float:
    """The largest difference between logits from the last hidden states and plain ones, as a share of the largest."""
    ids_BT = torch.linspace(0, num_embeddings(model) - 1, 2 * PROBE_TOKENS, device=model.device).long().view(2, -1)
    inputs = {"input_ids": ids_BT, "use_cache": False, **({"decoder_input_ids": ids_BT} if model.config.is_encoder_decoder else {})}
    rows_N, columns_N = torch.ones_like(ids_BT).nonzero().unbind(dim=1)
    try:
        plain_NV = model(**inputs).logits.flatten(0, 1)
        states = _split(model, inputs, rows_N, columns_N)
        difference_NV = states.logits_of(states.states_ND) - plain_NV
    except FAILURES:
        return float("inf")
    return float(difference_NV.abs().max() / plain_NV.abs().max())
