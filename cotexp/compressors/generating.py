"""Compressors that are models: the student itself, another local model, or one on a server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from cotexp.compressors.base import Compressor
from cotexp.settings.base import setting
from cotexp.settings.models import PretrainedModel
from cotexp.settings.sampling import Sampling
from cotexp.settings.server import ApiServer


@dataclass(slots=True, kw_only=True)
class SelfCompressor(Compressor):
    """The model that is fine-tuned also rewrites the chains of thought."""

    is_student: ClassVar[bool] = True

    name: str = setting("self", "Name of the compressor.", choices=("self",))


@dataclass(slots=True, kw_only=True)
class LocalCompressor(Compressor):
    """Another local model rewrites the chains of thought."""

    name: str = setting("local", "Name of the compressor.", choices=("local",))
    model: PretrainedModel = setting(PretrainedModel, "The compressor's model.")


@dataclass(slots=True, kw_only=True)
class ApiCompressor(Compressor):
    """A model on a server rewrites the chains of thought."""

    name: str = setting("api", "Name of the compressor.", choices=("api",))
    batch_size: int = setting(64, "Most requests in flight.", low=1, high=1000, keyed=False)
    server: ApiServer = setting(ApiServer, "The server and the compressor's model there.")

    def contradictions(self) -> Iterator[str]:
        yield from Sampling.contradictions(self)
        yield from self.server.clashes(self)
