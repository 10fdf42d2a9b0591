"""Folders of tiny models that resemble real families, each made once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from families import FAMILIES, write_family, write_gguf

MakeFamily = Callable[[str], Path]


@pytest.fixture(scope="session")
def family_folder(tmp_path_factory: pytest.TempPathFactory, story_texts: list[str], encoder_decoders: dict[str, Path]) -> MakeFamily:
    """The folder of a family's model, or "gguf"'s file; made once."""
    made: dict[str, Path] = {"flan_t5": encoder_decoders["flan"]}

    def make(name: str) -> Path:
        if name not in made and name == "gguf":
            made[name] = write_gguf(make("smollm2"), tmp_path_factory.mktemp("gguf") / "model.gguf")
        elif name not in made:
            made[name] = tmp_path_factory.mktemp("families") / name
            write_family(FAMILIES[name], story_texts, made[name])
        return made[name]

    return make
