"""What of docs/not_run.md works on this machine's GPUs: a line for each thing, within five minutes.

    python benchmarks/check_gpu.py [--device cpu] [--only NAME] [--minutes 5] [SETTING=VALUE ...]

Each is a run of run.py with outputs of its own: a few steps from random weights, or a few texts of the embedded model. "worked" gives its seconds and
what it measured, "failed" the last line of its error, "not tried" the reason. Loss and accuracy must be those of the plain run of their kind, but for
rounding. SETTING=VALUE goes to all runs. `--device cpu` tries the same on processors. Ends with 1 if anything failed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from measure import ROOT

from cotexp.models import identity

SMALL = ["experiment=none", "teacher=reference", "compression=none", "tracking=none", "name=check", "evaluation.latency=false"]
SMALL += ["task.num_train=32", "task.num_validation=16", "task.num_test=16", "trainer.batch_size=8", "trainer.max_epochs=2"]

FROM_RANDOM = (
    "model=scratch",
    "trainer.tuning=full",
    "trainer.learning_rate=1e-2",
    "trainer.checkpoint_every_seconds=0",
    "evaluation.max_new_tokens=8",
)
"""Fine-tuning whose loss falls from step to step; its texts mean nothing."""
TEXTS = ("evaluation.max_new_tokens=192",)
"""The embedded model answers nearly all questions; its fine-tuning changes little."""
BFLOAT16 = ("trainer.precision=bfloat16", "model.dtype=bfloat16", "scoring.dtype=bfloat16")
LOSS, ACCURACY, LATENCY = "training/best_validation_loss", "eval/full/accuracy", "eval/full/latency_seconds_batch1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A run with `overrides`, what it needs, and the number of its metrics that is printed.

    `near` is the largest difference from that number in the check before it that has none and prints the same number. With `kills`, the run is
    killed by SIGKILL after a checkpoint and started again.
    """

    name: str
    overrides: tuple[str, ...] = FROM_RANDOM
    package: str = ""
    num_devices: int = 1
    only_gpu: bool = False
    figure: str = LOSS
    near: float | None = None
    kills: bool = False


def _attention(name: str, near: float, *formats: str) -> Check:
    overrides = (*FROM_RANDOM, f"model.attn_implementation={name}", *formats)
    return Check(name=name, overrides=overrides, package=identity.FLASH.get(name, ""), only_gpu=True, near=near)


def _on_two(strategy: str, package: str = "") -> Check:
    return Check(name=strategy, overrides=(*FROM_RANDOM, f"trainer={strategy}", "trainer.devices=2"), package=package, num_devices=2, near=1e-3)


CHECKS = [
    Check(name="one device"),
    Check(name="kill and resume", kills=True, near=1e-4),
    Check(name="bfloat16", overrides=(*FROM_RANDOM, *BFLOAT16), near=0.05),
    _attention("flash_attention_2", 0.05, *BFLOAT16),
    _attention("flash_attention_3", 0.05, *BFLOAT16),
    _attention("flex_attention", 0.01),
    _on_two("ddp"),
    _on_two("fsdp"),
    _on_two("deepspeed", package="deepspeed"),
    Check(name="texts", overrides=TEXTS, figure=ACCURACY),
    Check(name="nf4", overrides=(*TEXTS, *BFLOAT16, "trainer.frozen_dtype=nf4"), package="bitsandbytes", figure=ACCURACY, near=0.13),
    Check(name="compile", overrides=(*TEXTS, "model.compile=true"), figure=ACCURACY, near=0.13),
    Check(name="texts on two devices", overrides=(*TEXTS, "model.devices=2"), num_devices=2, figure=ACCURACY, near=0.13),
    Check(name="latency", overrides=(*TEXTS, "evaluation.latency=true", "evaluation.latency_questions=4"), figure=LATENCY),
    Check(name="vllm", overrides=(*TEXTS, "model.engine=vllm", "model.vllm.enforce_eager=true"), package="vllm", figure=ACCURACY, near=0.13),
]


def obstacle(check: Check, device: str) -> str:
    """The reason why a check cannot be tried on this machine; empty if it can."""
    num_gpus = (identity.num_devices("cuda") or 0) if identity.has_cuda() else 0
    if device == "cuda" and not num_gpus:
        return "no GPU that this machine's build of torch can use"
    if device == "cuda" and num_gpus < check.num_devices:
        return f"needs {check.num_devices} GPUs, and there is {num_gpus}"
    if device == "cpu" and check.only_gpu:
        return "needs a GPU"
    if check.package and importlib.util.find_spec(check.package) is None:
        return f"needs the package {check.package.replace('_', '-')}"
    return ""


def verdict(check: Check, metrics: Mapping[str, float], expected: float | None) -> str:
    """What a finished run's line says of its metrics. Raises: LookupError if its number is missing, or away from the `expected` one."""
    if check.figure not in metrics:
        raise LookupError(f"the run has no {check.figure}")
    found = metrics[check.figure]
    if check.near is not None and expected is not None and not abs(found - expected) <= check.near:
        raise LookupError(f"{check.figure} is {found:.6g}, and that of a plain run {expected:.6g}")
    return f"{check.figure} {found:.6g}"


def tried(check: Check, device: str, own: Sequence[str], seconds: float) -> dict[str, float]:
    """The metrics of a run. Raises: LookupError with the last line of its error; TimeoutExpired."""
    with tempfile.TemporaryDirectory(prefix="cotexp-check-") as outputs:
        places = [f"paths.outputs={outputs}", f"model.device={'auto' if 'model.engine=vllm' in check.overrides else device}"]
        command = [sys.executable, "run.py", *SMALL, *places, f"trainer.accelerator={device}", *check.overrides, *own]
        if check.kills:
            _kill_after_checkpoint(command, Path(outputs), seconds)
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=seconds, check=False)
        found = list(Path(outputs).glob("runs/check/*/metrics.json"))
        if done.returncode or not found:
            raise LookupError(next((line.strip() for line in reversed(done.stdout.splitlines()) if line.strip()), f"status {done.returncode}"))
        metrics: dict[str, float] = json.loads(found[0].read_text(encoding="utf-8"))
        return metrics


def _kill_after_checkpoint(command: Sequence[str], outputs: Path, seconds: float) -> None:
    end = time.monotonic() + seconds
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not list(outputs.glob("store/*/*/resumable.ckpt")) and time.monotonic() < end:
            time.sleep(0.01)
        has_ended = process.poll() is not None
        process.kill()
    if has_ended:
        raise LookupError("it ended before it could be killed")
    if time.monotonic() >= end:
        raise subprocess.TimeoutExpired(list(command), seconds)


def lines(checks: Sequence[Check], device: str, own: Sequence[str], minutes: float) -> Iterator[tuple[str, str, str]]:
    """(outcome, name, what is to be said) of each check."""
    end, expected = time.monotonic() + 60 * minutes, dict[str, float]()
    for check in checks:
        started = time.monotonic()
        reason = obstacle(check, device) or ("" if started < end else f"the {minutes:g} minutes were over")
        if reason:
            yield "not tried", check.name, reason
            continue
        try:
            metrics = tried(check, device, own, end - started)
            said = verdict(check, metrics, expected.get(check.figure))
        except LookupError as error:
            yield "failed", check.name, str(error.args[0])
        except subprocess.TimeoutExpired:
            yield "failed", check.name, f"not finished when the {minutes:g} minutes were over"
        else:
            if check.near is None:
                expected[check.figure] = metrics[check.figure]
            yield "worked", check.name, f"{time.monotonic() - started:5.1f} s   {said}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--only", action="append", choices=[each.name for each in CHECKS], metavar="NAME", help="may be given several times")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("settings", nargs="*", metavar="SETTING=VALUE")
    options = parser.parse_args()
    chosen = [each for each in CHECKS if not options.only or each.name in options.only]
    outcomes = []
    for outcome, name, said in lines(chosen, options.device, options.settings, options.minutes):
        outcomes.append(outcome)
        print(f"{outcome:9}  {name:21}  {said}", flush=True)
    sys.exit(1 if "failed" in outcomes else 0)


if __name__ == "__main__":
    main()
