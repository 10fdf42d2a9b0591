"""A fine-tuning, ours and TRL's: same examples, weights, batch and learning rate, in separate processes that take turns.

    python benchmarks/finetuning.py --peer PYTHON --model FOLDER [--work lora|full] [--examples 320] [--batch-size 16] [--rounds 1]

PYTHON is the interpreter of an environment with benchmarks/requirements.txt. The work `full` trains every weight on SVAMP rationales; `lora` trains
adapters of rank 8 on chains of 1,180 to 1,530 tokens of random ids. Prints useful tokens per second from the end of the first step, peak resident
memory, and losses.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cotexp.models import identity, loading
from cotexp.models.encoding import Encoded
from cotexp.settings.models import PretrainedModel
from cotexp.settings.training import Trainer
from cotexp.training import fit as fitting
from cotexp.training.data import EncodedExample

PEERS = ("default", "packed", "not checkpointed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", help="Python of an environment with TRL")
    parser.add_argument("--model", help="folder of the model")
    parser.add_argument("--rationales", help="folder with questions.jsonl and rationales.jsonl in the form of Distilling Step-by-Step")
    parser.add_argument("--work", choices=("full", "lora"), default="full")
    parser.add_argument("--peers", default="default,packed")
    parser.add_argument("--examples", type=int, default=320)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--ours", help="a file of examples: train on them and print what was measured")
    options = parser.parse_args()
    if options.ours:
        print(json.dumps(ours(options)))
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "examples.json"
        file.write_text(json.dumps(chains(options) if options.work == "lora" else rationales(options)))
        shared = ["--model", options.model, "--work", options.work, "--batch-size", str(options.batch_size)]
        runs = {"cotexp": [sys.executable, __file__, "--ours", str(file), *shared]}
        for each in options.peers.split(",") if options.peer else ():
            runs[f"TRL {each}"] = [options.peer, str(Path(__file__).with_name("trl_finetuning.py")), str(file), each, *shared]
        for _ in range(options.rounds):
            for name, command in runs.items():
                show(name, command)


def show(name: str, command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{name}: {done.stderr[-2000:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    losses = " ".join(f"{each:.4f}" for each in found["losses"])
    print(f"{name:24} {found['tokens_per_second']:8.1f} tokens/s {found['resident_gb']:6.2f} GB  losses {losses}", flush=True)


def rationales(options: Any) -> list[Encoded]:
    settings = PretrainedModel(path=options.model)
    encoder = loading.make_encoder(*_shapes(options.model), settings)
    folder = Path(options.rationales)
    questions = [json.loads(line)["input"] for line in (folder / "questions.jsonl").read_text().splitlines()]
    texts = [json.loads(line).split("\n\nQ:")[0] for line in (folder / "rationales.jsonl").read_text().splitlines()]
    return [encoder.example(*each, compressed=False) for each in list(zip(questions, texts, strict=False))[: options.examples]]


def _shapes(folder: str) -> tuple[Any, Any]:
    settings = PretrainedModel(path=folder)
    return loading.check(identity.find(settings), settings, "model.path"), loading.load_tokenizer(Path(folder), settings)


def chains(options: Any) -> list[Encoded]:
    draw = random.Random(0)
    lengths = [(draw.randint(80, 130), draw.randint(1100, 1400)) for _ in range(options.examples)]
    return [Encoded([draw.randrange(1000, 10_000) for _ in range(a + b)], [0] * a + [1] * b) for a, b in lengths]


def ours(options: Any) -> dict[str, Any]:
    """One pass over the examples by `training.fit`."""
    examples = [EncodedExample(Encoded(*each), "full") for each in json.loads(Path(options.ours).read_text())]
    times: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            tuning=options.work, precision="bfloat16", batch_size=options.batch_size, max_epochs=1, learning_rate=2e-5, num_validations=1,
            accelerator="cpu", checkpoint_every_seconds=3600,
        )  # fmt: skip
        job = fitting.FitJob(
            folder=Path(folder), base_folder=Path(options.model), model=PretrainedModel(path=options.model), trainer=trainer, seed=0,
            train=[], validation=[],
        )  # fmt: skip
        given = iter((examples, examples[:1]))
        fitting._encode = lambda *_: (next(given), 0)  # the measurement begins after the encoding
        fitting.fit(job, lambda row, _: times.append(time.perf_counter()))
        rows = [json.loads(line) for line in (job.folder / "curve.jsonl").read_text().splitlines()]
    losses = [row["train/loss"] for row in rows if "train/loss" in row]
    return measured(examples, losses, times[len(losses) - 1] - times[0], options.batch_size)


def measured(examples: Sequence[Any], losses: list[float], seconds: float, batch_size: int) -> dict[str, Any]:
    tokens = sum(len(each.encoded.ids) for each in examples) * (1 - batch_size / len(examples))
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return {"tokens_per_second": tokens / seconds, "resident_gb": resident, "losses": losses}


if __name__ == "__main__":
    main()
