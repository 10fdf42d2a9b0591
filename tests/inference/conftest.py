"""Shared pieces of the tests of engines and scorers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from cotexp.models import loading
from cotexp.models.loading import LoadedModel
from cotexp.settings.models import PretrainedModel


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """With models this small, threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def anything(random_model: Path) -> LoadedModel:
    return loading.load(random_model, PretrainedModel(path=str(random_model), device="cpu"))
