"""Mark a container with the process that owns it, and find out whether that process is gone."""

from __future__ import annotations

import os
from pathlib import Path


def owner_mark() -> str:
    """Return a unique name of this process: boot id, process namespace, process id and start time."""
    return f"{_boot()} {_namespace()} {os.getpid()} {_start_ticks(os.getpid())}"


def is_orphan(mark: str, *, running: bool) -> bool:
    """Return whether the process that `mark` names is certainly gone.

    That is not known for a process of another process namespace, whose ids differ, nor for one of another boot as
    long as the container is `running`: it may belong to another host that uses the same engine.
    """
    try:
        boot, namespace, process_id, start_ticks = mark.split()
        if boot != _boot():
            return not running
        return namespace == _namespace() and _start_ticks(int(process_id)) != int(start_ticks)
    except ValueError:  # not a mark of this tool
        return False


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _namespace() -> str:
    return str(Path("/proc/self/ns/pid").readlink())


def _start_ticks(process_id: int) -> int | None:
    """Return a process's start in clock ticks since boot (field 22 of proc(5)'s stat); None if it is gone."""
    try:
        return int(Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[19])
    except OSError:
        return None
