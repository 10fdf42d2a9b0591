"""Teachers that are models: the student itself, another local model, or one on a server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from cotexp.settings.base import setting
from cotexp.settings.models import PretrainedModel
from cotexp.settings.sampling import Sampling
from cotexp.settings.server import ApiServer
from cotexp.teachers.base import Teacher


@dataclass(slots=True, kw_only=True)
class SelfTeacher(Teacher, Sampling):
    """The model that is fine-tuned writes the rationales itself (MACC)."""

    is_student: ClassVar[bool] = True

    name: str = setting("self", "Name of the teacher.", choices=("self",))
    num_samples: int = setting(1, "Rationales per question; a larger pool begins with the smaller one.", low=1, most=10_000)

    def contradictions(self) -> Iterator[str]:
        yield from Sampling.contradictions(self)
        if self.num_samples > 1 and self.temperature == 0:
            yield f"num_samples must be 1 at temperature 0, where all samples are equal; got {self.num_samples}"


@dataclass(slots=True, kw_only=True)
class OtherTeacher(SelfTeacher):
    """Base of teachers that are not the student; they write several rationales for each question (MoRSD)."""

    is_student: ClassVar[bool] = False

    num_samples: int = setting(
        8, "Rationales per question (MoRSD does not state its own); a larger pool begins with the smaller one.", low=1, most=10_000
    )
    temperature: float = setting(0.7, "Sampling temperature (MoRSD does not state its own); 0 takes the likeliest token.", low=0, high=5)


@dataclass(slots=True, kw_only=True)
class LocalTeacher(OtherTeacher):
    """Another local model writes several rationales for each question (MoRSD)."""

    name: str = setting("local", "Name of the teacher.", choices=("local",))
    model: PretrainedModel = setting(PretrainedModel, "The teacher's model.")

    @property
    def author(self) -> str:
        return self.model.name


@dataclass(slots=True, kw_only=True)
class ApiTeacher(OtherTeacher):
    """A model on a server writes several rationales for each question (MoRSD)."""

    name: str = setting("api", "Name of the teacher.", choices=("api",))
    batch_size: int = setting(64, "Most requests in flight.", low=1, high=1000, keyed=False)
    server: ApiServer = setting(ApiServer, "The server and the teacher's model there.")

    def contradictions(self) -> Iterator[str]:
        yield from SelfTeacher.contradictions(self)
        yield from self.server.clashes(self)

    @property
    def author(self) -> str:
        return self.server.model
