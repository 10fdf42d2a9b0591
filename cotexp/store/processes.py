"""Identity of processes (host, process id, start time), and whether they are still alive."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import psutil


def this_process() -> dict[str, Any]:
    """Host, process id and start time of this process, which no other process will ever share."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "started": psutil.Process().create_time()}


def is_remote(process: dict[str, Any]) -> bool:
    """Whether a process runs on another host, so that it cannot be checked from here."""
    return bool(process["host"] != socket.gethostname())


def process_is_alive(process: dict[str, Any]) -> bool:
    """Whether a process of this host is alive. A zombie is dead, and so is a process whose id was reused."""
    try:
        candidate = psutil.Process(process["pid"])
        return bool(abs(candidate.create_time() - process["started"]) < 1.0 and candidate.status() != psutil.STATUS_ZOMBIE)
    except (psutil.Error, OverflowError, ValueError):
        return False


def identifies_process(value: Any) -> bool:
    """Whether a value read from a file identifies a process."""
    if not isinstance(value, dict):
        return False
    pid, started = value.get("pid"), value.get("started")
    return isinstance(value.get("host"), str) and type(pid) is int and pid > 0 and isinstance(started, int | float)


def file_system_time(clock: Path) -> float:
    """The current time in seconds by the clock of a shared file system, independent of this host's. Touches the file `clock`."""
    clock.touch()
    os.utime(clock)
    return clock.stat().st_mtime
