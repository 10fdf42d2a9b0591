"""Asks a server for N texts through a ledger of the store, as a stage does; runs as a process of its own that can be killed.

python fault_client.py STORE URL N
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cotexp.inference.api import ApiEngine
from cotexp.inference.engine import Request
from cotexp.settings.base import RunFailed
from cotexp.settings.sampling import Sampling
from cotexp.settings.server import ApiServer
from cotexp.store.specs import Spec
from cotexp.store.store import Store

SPEC = Spec("texts", {"service": "faults"})
MOST_IN_FLIGHT = 64


def main(root: str, url: str, count: str) -> None:
    server = ApiServer(service="faults", model="m", base_url=url, timeout=10.0, input_price=1.0, output_price=2.0)

    def ask(ids: list[str], emit: Any) -> None:
        requests = [Request(each, f"row {each}") for each in ids]
        ApiEngine(server, "teacher").generate(requests, Sampling(batch_size=MOST_IN_FLIGHT), lambda output: emit(asdict(output)))

    ids = [str(number) for number in range(int(count))]
    try:
        rows = Store(Path(root)).ledger(SPEC).fill(ids, ask, chunk_size=len(ids))
    except RunFailed as error:
        sys.exit(str(error))
    print(len(rows))


if __name__ == "__main__":
    main(*sys.argv[1:])
