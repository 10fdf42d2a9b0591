"""Where the real benchmark files are, for the tests that need them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

BESIDE = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture(scope="session")
def benchmark_data() -> Path:
    """The folder named by COTEXP_DATA, else one beside the repository; tests that need it are skipped without."""
    named = os.environ.get("COTEXP_TEST_DATA") or os.environ.get("COTEXP_DATA")
    folder = Path(named) if named else BESIDE
    if not folder.is_dir():
        pytest.skip("needs the benchmark files: set COTEXP_DATA to their folder")
    return folder
