"""A fine-tuning beside TRL's: same examples, weights, batch and learning rate, each in a process of its own, in turns.

    python benchmarks/finetuning.py PEER [--data FOLDER] [--rows full,lora] [--examples 320] [--chains 8] [--rounds 1] [--device cpu]

PEER is the Python of an environment with benchmarks/requirements.txt, FOLDER as `paths.data` takes it. The row `full` trains every weight of
SmolLM2-135M on SVAMP rationales; `lora` trains adapters of rank 8 of a random 0.5B model on chains of 1,180 to 1,530 tokens of random ids, and both
sides compute their activations twice, as TRL does by default. Speed is in useful tokens a second from the end of the first step on, memory the
largest resident memory (of the GPU, if it trains there). The peer's figures are those of its fastest way. The losses agree if their means over
all steps differ by at most a tenth; each side draws its own order.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from measure import Row, keep, run
from models import random_model, smollm2

from cotexp.models import identity, loading
from cotexp.models.encoding import Encoded
from cotexp.settings.models import PretrainedModel
from cotexp.settings.training import Trainer
from cotexp.training import fit as fitting
from cotexp.training.data import EncodedExample

BATCH = {"full": 16, "lora": 2}
PEERS = {"full": ("default", "packed"), "lora": ("default",)}
GOALS = {"full": (3, 2), "lora": (1.3, 1.25)}
"""Least ratios of speed and of memory."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("peer", nargs="?", help="Python of an environment with TRL")
    parser.add_argument("--data", type=Path, default=os.environ.get("COTEXP_DATA"), help="folder of the benchmarks' data")
    parser.add_argument("--rows", default="full,lora")
    parser.add_argument("--examples", type=int, default=320, help="of the row full")
    parser.add_argument("--chains", type=int, default=8, help="examples of the row lora")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--ours", help="a file of examples: train on them and print what was measured")
    parser.add_argument("--model")
    parser.add_argument("--work", choices=("full", "lora"))
    options = parser.parse_args()
    if options.ours:
        print(json.dumps(ours(options)))
        return
    for work in options.rows.split(","):
        compare(work, options)


def compare(work: str, options: Any) -> None:
    """Train in turns; keep a row of the speed and one of the memory."""
    model = smollm2() if work == "full" else random_model("qwen2_5_0_5b")
    results: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "examples.json"
        file.write_text(json.dumps(rationales(options, model) if work == "full" else chains(options.chains)))
        shared = ["--model", str(model), "--work", work, "--device", options.device]
        ways = {"ours": [sys.executable, __file__, "--ours", str(file), *shared]}
        for each in PEERS[work] if options.peer else ():
            script = str(Path(__file__).with_name("trl_finetuning.py"))
            ways[each] = [options.peer, script, str(file), each, "--batch-size", str(BATCH[work]), *shared]
        for _ in range(options.rounds):
            for name, command in ways.items():
                found = json.loads(run(command).splitlines()[-1])
                results.setdefault(name, []).append(found)
                losses = " ".join(f"{each:.3f}" for each in found["losses"])
                print(f"  {work} {name:8} {found['tokens_per_second']:8.1f} tokens/s {found['gigabytes']:6.2f} GB  losses {losses}", flush=True)
        examples = len(json.loads(file.read_text()))
    keep_rows(work, results, {"examples": examples, "batch": BATCH[work], "device": options.device})


def keep_rows(work: str, results: dict[str, list[dict[str, Any]]], sizes: dict[str, Any]) -> None:
    def median(name: str, figure: str) -> float:
        return statistics.median(each[figure] for each in results[name])

    means = {name: statistics.mean(each[0]["losses"]) for name, each in results.items()}
    best = max((name for name in results if name != "ours"), key=lambda name: median(name, "tokens_per_second"), default=None)
    agrees = all(abs(each / means["ours"] - 1) <= 0.1 for each in means.values())
    sizes |= {"mean losses": means, "peer's fastest way": best}
    speed, memory = median("ours", "tokens_per_second"), median("ours", "gigabytes")
    their_speed, their_memory = (median(best, "tokens_per_second"), median(best, "gigabytes")) if best else (None, None)
    keep(Row(f"finetuning_{work}", "tokens/s", speed, their_speed, their_speed and speed / their_speed, GOALS[work][0], agrees, sizes))
    keep(Row(f"finetuning_{work}_memory", "GB", memory, their_memory, their_memory and their_memory / memory, GOALS[work][1], agrees, sizes))


def rationales(options: Any, model: Path) -> list[Encoded]:
    """Questions and rationales of SVAMP."""
    if options.data is None:
        raise SystemExit("the row full needs --data FOLDER or COTEXP_DATA, with teacher_rationales/dsbs_svamp")
    settings = PretrainedModel(path=str(model))
    shapes = loading.check(identity.find(settings), settings, "model.path")
    encoder = loading.make_encoder(shapes, loading.load_tokenizer(model, settings), settings)
    folder = Path(options.data) / "teacher_rationales" / "dsbs_svamp"
    questions = [json.loads(line)["input"] for line in (folder / "questions.jsonl").read_text(encoding="utf-8").splitlines()]
    texts = [json.loads(line).split("\n\nQ:")[0] for line in (folder / "rationales.jsonl").read_text(encoding="utf-8").splitlines()]
    return [encoder.example(*each, compressed=False) for each in list(zip(questions, texts, strict=False))[: options.examples]]


def chains(count: int) -> list[Encoded]:
    """Random ids: prompts of 80 to 130, texts of 1,100 to 1,400."""
    draw = random.Random(0)
    lengths = [(draw.randint(80, 130), draw.randint(1100, 1400)) for _ in range(count)]
    return [Encoded([draw.randrange(1000, 10_000) for _ in range(a + b)], [0] * a + [1] * b) for a, b in lengths]


def ours(options: Any) -> dict[str, Any]:
    """One pass over the examples by `training.fit`."""
    examples = [EncodedExample(Encoded(*each), "full") for each in json.loads(Path(options.ours).read_text())]
    batch, times = BATCH[options.work], []
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            tuning=options.work, precision="bfloat16", batch_size=batch, max_epochs=1, learning_rate=2e-5, num_validations=1,
            accelerator=options.device, checkpoint_every_seconds=3600,
            gradient_checkpointing=True if options.work == "lora" else None,
        )  # fmt: skip
        job = fitting.FitJob(
            folder=Path(folder), base_folder=Path(options.model), model=PretrainedModel(path=options.model), trainer=trainer, seed=0,
            train=[], validation=[],
        )  # fmt: skip
        given = iter((examples, examples[:1]))
        fitting._encode = lambda *_: (next(given), 0)  # what is measured begins after the encoding
        fitting.fit(job, lambda row, _: times.append(time.perf_counter()))
        rows = [json.loads(line) for line in (job.folder / "curve.jsonl").read_text(encoding="utf-8").splitlines()]
    losses = [row["train/loss"] for row in rows if "train/loss" in row]
    return measured(examples, losses, times[len(losses) - 1] - times[0], batch)


def measured(examples: Sequence[EncodedExample], losses: list[float], seconds: float, batch_size: int) -> dict[str, Any]:
    tokens = sum(len(each.encoded.ids) for each in examples) * (1 - batch_size / len(examples))
    on_gpu = torch.cuda.is_available() and torch.cuda.max_memory_allocated()
    used = torch.cuda.max_memory_allocated() if on_gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"tokens_per_second": tokens / seconds, "gigabytes": used / 1e9, "losses": losses}


if __name__ == "__main__":
    main()
