"""Holds a job of Slurm at a moment until a signal comes, so that no clock decides where it is preempted.

With this folder on its path, a job that runs for the N-th time waits at the N-th of COTEXP_HELD_AT: moments of `test_resume` in COTEXP_HELD_OUTPUTS.
The file go-N there lets it go on to the next moment.
"""

import os
import sys
import time
from pathlib import Path

if "submitit.core._submit" in sys.orig_argv and "COTEXP_HELD_AT" in os.environ:
    sys.path.append(str(Path(__file__).resolve().parents[2]))
    from test_resume import MOMENTS

    from cotexp import signals
    from cotexp.store import ledgers
    from cotexp.training import recorder

    moments, number = os.environ["COTEXP_HELD_AT"].split(","), int(os.environ.get("SLURM_RESTART_COUNT", 0))
    outputs = Path(os.environ["COTEXP_HELD_OUTPUTS"])
    fill, write = ledgers.Ledger.fill, recorder.Recorder._write

    def hold() -> None:
        global number
        if number < len(moments) and MOMENTS[moments[number]](outputs):
            (outputs / f"held-{number}").touch()
            while not signals.noted() and not (outputs / f"go-{number}").exists():
                time.sleep(0.02)
            number += not signals.noted()

    def held_fill(self, ids, compute, **words):  # type: ignore[no-untyped-def]
        def held_compute(chunk, emit):  # type: ignore[no-untyped-def]
            compute(chunk, lambda row: (emit(row), hold()))

        return fill(self, ids, held_compute, **words)

    def held_write(self, trainer, row):  # type: ignore[no-untyped-def]
        write(self, trainer, row)
        hold()

    ledgers.Ledger.fill, recorder.Recorder._write = held_fill, held_write  # type: ignore[method-assign]
