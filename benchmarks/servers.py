"""Texts per second of the API engine and of vLLM's own benchmark client, against every server that is installed here.

    COTEXP_ENGINES=.venv/engines python benchmarks/servers.py [--requests 256] [--turns 3] [--servers llama.cpp vllm]

The servers are those of tests/servers, with the model of a few weights that they use, so that the clients matter as much as they can. Both send the
same prompts, 64 at once, at temperature 0. Ours runs the whole path (throttle, parsing, a flushed ledger row per text); its peer reads streams and
keeps nothing. They take turns, in which each begins in its turn; each ratio compares one turn. The first call to a server has 8 requests in flight
and doubles them per round trip; it is not measured, because a run makes that call once. Our processor time per text is shown beside: with a model of
a few weights, client and server wait for the same processors.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests" / "servers"))
import real_servers
from real_servers import KINDS, Running

from cotexp.inference.api import ApiEngine
from cotexp.inference.engine import Request
from cotexp.settings.sampling import Sampling
from cotexp.settings.server import ApiServer
from cotexp.store.specs import Spec
from cotexp.store.store import Store

IN_FLIGHT, MAX_NEW_TOKENS = 64, 32
PEER = """
import argparse, sys
from vllm.benchmarks.serve import add_cli_args, main
parser = argparse.ArgumentParser()
add_cli_args(parser)
main(parser.parse_args(sys.argv[1:]))
"""


class Rate(NamedTuple):
    """Texts per second, and milliseconds of processor time of this process per text."""

    texts: float
    milliseconds: float


def ours(server: Running, prompts: list[str]) -> Rate:
    sampling = Sampling(max_new_tokens=MAX_NEW_TOKENS, batch_size=IN_FLIGHT)
    engine = ApiEngine(ApiServer(service="benchmark", model=server.model, base_url=f"{server.url}/v1"), "teacher")

    def ask(ids: list[str], emit: Any) -> None:
        engine.generate([Request(each, prompts[int(each)]) for each in ids], sampling, lambda output: emit(asdict(output)))

    with tempfile.TemporaryDirectory() as folder:
        ids, started, at_work = [str(number) for number in range(len(prompts))], time.perf_counter(), time.process_time()
        rows = Store(Path(folder)).ledger(Spec("texts", {})).fill(ids, ask, chunk_size=len(ids))
        assert len(rows) == len(prompts)
        return Rate(len(prompts) / (time.perf_counter() - started), 1e3 * (time.process_time() - at_work) / len(prompts))


def peer(server: Running, prompts: list[str], python: str) -> tuple[float, int]:
    """(answered requests per second, requests that it lost), as the benchmark client counts them; it sends nothing again."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "prompts.jsonl"
        data.write_text("".join(json.dumps({"prompt": each}) + "\n" for each in prompts))
        model = str(server.folder / "model")
        words = ["--backend", "openai-chat", "--endpoint", "/v1/chat/completions", "--base-url", server.url, "--model", model, "--tokenizer", model]
        words += ["--served-model-name", server.model, "--dataset-name", "custom", "--dataset-path", str(data), "--skip-chat-template"]
        words += ["--num-prompts", str(len(prompts)), "--max-concurrency", str(IN_FLIGHT), "--custom-output-len", str(MAX_NEW_TOKENS)]
        words += ["--temperature", "0", "--save-result", "--result-dir", folder, "--result-filename", "result.json"]
        done = subprocess.run([python, "-c", PEER, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        found = json.loads((Path(folder) / "result.json").read_text())
        return float(found["request_throughput"]), len(prompts) - found["completed"]


def turn(server: Running, prompts: list[str], python: str, *, peer_first: bool) -> tuple[Rate, tuple[float, int]]:
    """What ours and the peer reach; a server may keep prompts that it has read."""
    if peer_first:
        other = peer(server, prompts, python)
        return ours(server, prompts), other
    return ours(server, prompts), peer(server, prompts, python)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=256)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--servers", nargs="+", default=[kind.name for kind in KINDS if kind.name != "faulty"])
    given = parser.parse_args()
    python = next(kind for kind in KINDS if kind.name == "vllm").program()
    if python is None:
        sys.exit("vLLM's benchmark client is not installed: COTEXP_ENGINES must name an environment with vllm")
    prompts = [f"What is {number} plus {number}?" for number in range(given.requests)]
    for kind in (each for each in KINDS if each.name in given.servers):
        if kind.program() is None:
            print(kind.missing())
            continue
        with tempfile.TemporaryDirectory() as folder, real_servers.running(kind, real_servers.make_model(Path(folder))) as server:
            ours(server, prompts[:IN_FLIGHT])
            turns = [turn(server, prompts, python, peer_first=bool(number % 2)) for number in range(given.turns)]
        ratios = sorted(one.texts / other for one, (other, _) in turns)
        rates = "; ".join(f"{one.texts:.1f} ({one.milliseconds:.1f} ms) and {other:.1f} ({lost} lost)" for one, (other, lost) in turns)
        print(f"{kind.name}: ours and the peer {rates} texts/s; ratio {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")


if __name__ == "__main__":
    main()
