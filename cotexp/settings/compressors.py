"""Settings of compressors, which rewrite the chains of thought."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from cotexp.settings.base import setting
from cotexp.settings.models import PretrainedModel
from cotexp.settings.sampling import Sampling
from cotexp.settings.server import ApiServer
from cotexp.settings.writers import Writer


@dataclass(slots=True, kw_only=True)
class SelfCompressor(Writer, Sampling):
    """The model that is fine-tuned also rewrites the chains of thought."""

    is_student: ClassVar[bool] = True

    name: str = setting("self", "Name of the compressor.", choices=("self",))
    temperature: float = setting(0.7, "Sampling temperature; 0 takes the likeliest token (MACC does not state its own).", low=0, high=5)
    rounds: int = setting(10, "Round limit T that suits this compressor, used where no limit is given.", low=1, most=100, keyed=False)


@dataclass(slots=True, kw_only=True)
class LocalCompressor(SelfCompressor):
    """Another local model rewrites the chains of thought."""

    is_student: ClassVar[bool] = False

    name: str = setting("local", "Name of the compressor.", choices=("local",))
    model: PretrainedModel = setting(PretrainedModel, "The compressor's model.")


@dataclass(slots=True, kw_only=True)
class ApiCompressor(SelfCompressor):
    """A model behind a server rewrites the chains of thought."""

    is_student: ClassVar[bool] = False

    name: str = setting("api", "Name of the compressor.", choices=("api",))
    batch_size: int = setting(64, "Most requests in flight.", low=1, high=1000, keyed=False)
    server: ApiServer = setting(ApiServer, "The server and the compressor's model there.")

    def contradictions(self) -> Iterator[str]:
        yield from Sampling.contradictions(self)
        yield from self.server.clashes(self)
