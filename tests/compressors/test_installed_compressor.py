"""A package of somebody else's adds a compressor by an entry point, without a change in this tree."""

from __future__ import annotations

import json
from pathlib import Path

from installed_packages import install, run

MODULE = """
from dataclasses import dataclass
from typing import ClassVar

from cotexp.compressors.base import Compressor
from cotexp.settings.base import setting


@dataclass(slots=True, kw_only=True)
class PatientCompressor(Compressor):
    is_student: ClassVar[bool] = True

    name: str = setting("patient", "Name of the compressor.", choices=("patient",))
    rounds: int = setting(2, "Round limit.", low=1, most=3, keyed=False)
"""


def test_it_rewrites_the_chains_up_to_its_own_round_limit(tmp_path: Path) -> None:
    site = install(tmp_path / "site", "cotexp.compressors", "patient = patient_compressor:PatientCompressor", MODULE)
    words = ["compressor=patient", "compression=macc", "compress_only=true", "scoring.perplexity_chains=0", "tracking=none", "teacher=reference"]
    sizes = ["task.num_train=6", "task.num_validation=2", "task.num_test=2", f"paths.outputs={tmp_path / 'outputs'}"]
    done = run(site, *words, *sizes)
    assert done.returncode == 0, done.stderr
    (ledger,) = (tmp_path / "outputs" / "store" / "rounds").iterdir()
    rows = [json.loads(line) for path in ledger.glob("rows-*") for line in path.read_text().splitlines()]
    assert {row["round"] for row in rows} == {1, 2}
    refused = run(site, *words, *sizes, "compressor.rounds=4")
    assert refused.returncode != 0
    assert "compressor.rounds must be at most 3; got 4" in refused.stdout + refused.stderr
