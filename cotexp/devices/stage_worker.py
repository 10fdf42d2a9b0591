"""The process of an additional device (run by `python -m`): it computes rows of the current stage until all exist."""

from __future__ import annotations

import sys
from pathlib import Path

from cotexp import flow, signals
from cotexp.devices import json_codec, training_workers
from cotexp.jobs import pipeline


def main() -> None:
    """Read the settings file that the first argument names, and work on its stage."""
    training_workers.end_with_parent()
    try:
        with signals.handled(are_repeated=True):
            job = json_codec.read(Path(sys.argv[1]))
            flow.take_part(pipeline.make_context(job["settings"]), job["stage"])
    except signals.Stopped as stop:
        sys.exit(stop.code)
    except BaseException as error:  # noqa: BLE001 - the process that started this worker needs every error
        training_workers.print_error(error)
        sys.exit(1)


if __name__ == "__main__":
    main()
