"""Processes by host, number and start time, and whether they still work."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import psutil


def owner() -> dict[str, Any]:
    """Host, process id and start time: together they name one process for good."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "started": psutil.Process().create_time()}


def is_elsewhere(owner: dict[str, Any]) -> bool:
    """Whether a process runs on another host, where nobody here can look."""
    return bool(owner["host"] != socket.gethostname())


def process_is_alive(owner: dict[str, Any]) -> bool:
    try:
        process = psutil.Process(owner["pid"])
        return bool(abs(process.create_time() - owner["started"]) < 1.0 and process.status() != psutil.STATUS_ZOMBIE)
    except (psutil.Error, OverflowError, ValueError):
        return False


def is_owner(value: Any) -> bool:
    """Whether a value read from a file names a process."""
    if not isinstance(value, dict):
        return False
    pid, started = value.get("pid"), value.get("started")
    return isinstance(value.get("host"), str) and type(pid) is int and pid > 0 and isinstance(started, int | float)


def now_at(clock: Path) -> float:
    """What time it is for the file system of the file `clock`, which all hosts share, whatever their own clocks say."""
    clock.touch()
    os.utime(clock)
    return clock.stat().st_mtime
