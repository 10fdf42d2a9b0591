"""What teachers and compressors have in common: somebody writes texts, here or behind a server."""

from __future__ import annotations

from typing import ClassVar

from cotexp.settings.base import Section
from cotexp.settings.models import PretrainedModel
from cotexp.settings.server import ApiServer


class Writer(Section):
    """Base of the settings class of each teacher and compressor; a subclass is a dataclass with a field `name`.

    Traits: `is_student`, the model that is fine-tuned writes; else a field `model` or `server` names who does.
    """

    __slots__ = ()
    name: str
    is_student: ClassVar[bool] = False

    @property
    def model(self) -> PretrainedModel | None:
        """A model on this machine other than the student."""
        return None

    @property
    def server(self) -> ApiServer | None:
        """The server that is asked."""
        return None

    def local_model(self, student: PretrainedModel) -> PretrainedModel | None:
        """The model on this machine that writes, if one does."""
        return student if self.is_student else self.model
