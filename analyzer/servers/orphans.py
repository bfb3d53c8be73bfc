"""Who started something that outlives its starter's memory: a mark to leave on it, and whether its owner is gone."""

from __future__ import annotations

import os
from pathlib import Path


def our_mark() -> str:
    """Name this process so that nobody else is taken for it: boot, process namespace, process id, start time."""
    return f"{_boot()} {_namespace()} {os.getpid()} {_start_ticks(os.getpid())}"


def is_orphan(mark: str, *, running: bool) -> bool:
    """Tell whether the process that left `mark` is surely gone.

    Process ids of another process namespace say nothing here, and neither do those of another boot as long as the
    thing is `running`: it may belong to another host that shares the engine.
    """
    try:
        boot, namespace, process_id, start_ticks = mark.split()
        if boot != _boot():
            return not running
        return namespace == _namespace() and _start_ticks(int(process_id)) != int(start_ticks)
    except ValueError:  # not a mark of ours
        return False


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _namespace() -> str:
    return str(Path("/proc/self/ns/pid").readlink())


def _start_ticks(process_id: int) -> int | None:
    """Clock ticks from boot to the process's start (field 22 of proc(5)'s stat); None if there is none."""
    try:
        return int(Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[19])
    except OSError:
        return None
