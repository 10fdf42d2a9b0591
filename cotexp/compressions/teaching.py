"""What compressions that teach a compressor share: they train on its role, and have no short form of their own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from cotexp.compressions.base import Compression
from cotexp.compressions.rewriting import DEFAULT_REWRITE_PROMPT
from cotexp.settings.base import bad_placeholders, setting


@dataclass(slots=True, kw_only=True)
class Teaching(Compression):
    """Teach a compressor its role, asked by the prompt of one round."""

    has_short_form: ClassVar[bool] = False

    prompt: str = setting(DEFAULT_REWRITE_PROMPT, "Prompt of one round; {question}, {rationale} and {answer} are replaced.")

    def contradictions(self) -> Iterator[str]:
        yield from bad_placeholders(self.prompt, {"question", "rationale", "answer"}, {"rationale"})
