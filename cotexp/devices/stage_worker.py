"""One process per further device of this machine: it computes rows of the stage at work until all are there (`python -m`)."""

from __future__ import annotations

import sys
from pathlib import Path

from cotexp import flow, signals
from cotexp.devices import json_codec, training_workers
from cotexp.jobs import pipeline


def main() -> None:
    """From the settings file to the end of the stage."""
    training_workers.end_with_parent()
    try:
        with signals.handled():
            part = json_codec.read(Path(sys.argv[1]))
            flow.take_part(pipeline.make_context(part["settings"]), part["stage"])
    except signals.Stopped as stop:
        sys.exit(stop.code)
    except BaseException as error:  # noqa: BLE001 - whatever ends a worker is told to the process that waits for it
        training_workers.tell(error)
        sys.exit(1)


if __name__ == "__main__":
    main()
