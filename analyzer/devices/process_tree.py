"""Read a process and all its descendants from /proc, while processes start and end."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from analyzer.errors import DeviceError

CLOCK_TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")
_PROC = "/proc"


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One process at one moment, from ``/proc/<pid>/stat`` (proc_pid_stat(5)).

    Parameters
    ----------
    parent : int
        Process id of its parent.
    started : int
        Start time in clock ticks since boot; together with the process id it identifies a process.
    alive : bool
        False for a zombie, whose memory is gone.
    own_s : float
        Processor time of all its threads, in seconds.
    reaped_s : float
        Processor time of the children that it has waited for, with what those had waited for, in seconds.
    """

    parent: int
    started: int
    alive: bool
    own_s: float
    reaped_s: float


class ProcessTree:
    """The processes of a tree, in this host's numbering.

    Reading every process of the host is most of the cost of finding children, so each reading looks only at the
    processes that are new since the last one. A child stays in the tree when its parent ends: it still holds memory.

    Parameters
    ----------
    root_pid : int
        Process id of the root; for a container, of its root process.

    Raises
    ------
    DeviceError
        If there is no such process.
    """

    def __init__(self, root_pid: int) -> None:
        self._root = root_pid
        self._known: set[int] = set()
        self._members = {root_pid: self._living_root(read_process(root_pid))}

    def read(self) -> dict[int, Process]:
        """Read every process of the tree that is still there, by pid; zombies included.

        Raises
        ------
        DeviceError
            If the root is gone.
        """
        self._add_descendants()
        tree = {}
        for pid, member in self._members.items():
            process = read_process(pid)
            if process is not None and process.started == member.started:
                tree[pid] = process
        self._living_root(tree.get(self._root))
        self._members = tree
        return tree

    def _add_descendants(self) -> None:
        pids = {int(name) for name in os.listdir(_PROC) if name.isdigit()}  # noqa: PTH208 - takes a fifth of the time
        appeared = {pid: process for pid in pids - self._known if (process := read_process(pid)) is not None}
        self._known = pids
        while children := {
            pid: process
            for pid, process in appeared.items()
            if process.parent in self._members and pid not in self._members
        }:
            self._members.update(children)

    def _living_root(self, root: Process | None) -> Process:
        if root is None or not root.alive:
            raise DeviceError(f"the server's process {self._root} is gone: its log says why it ended")
        return root


def read_process(pid: int) -> Process | None:
    """Read one process; None if it is gone."""
    try:
        with open(f"{_PROC}/{pid}/stat", "rb", buffering=0) as file:  # noqa: PTH123 - called often, unbuffered
            text = file.read()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    # The name, in parentheses, may hold spaces and parentheses: the fields begin after the last one.
    fields = text[text.rindex(b")") + 2 :].split()
    user, system, reaped_user, reaped_system = (int(ticks) * CLOCK_TICK_S for ticks in fields[11:15])
    return Process(
        parent=int(fields[1]),
        started=int(fields[19]),
        alive=fields[0] not in (b"Z", b"X"),
        own_s=_own_clock_s(pid, default=user + system),
        reaped_s=reaped_user + reaped_system,
    )


def busy_between(before: dict[int, Process], after: dict[int, Process]) -> float:
    """Return the processor time in seconds that a tree used between two readings; never negative.

    A process that is new in `after` did all of its work in between. When a process ends, all its time is added to
    that of the parent that waited for it; the part from before the first reading is subtracted again, so that the
    result does not jump when processes start or end.
    """
    own = reaped = 0.0
    for pid, process in after.items():
        past = before.get(pid)
        same = past is not None and past.started == process.started
        own += max(0.0, process.own_s - (past.own_s if past and same else 0.0))
        reaped += max(0.0, process.reaped_s - (past.reaped_s if past and same else 0.0))
    ended = sum(past.own_s + past.reaped_s for pid, past in before.items() if pid not in after)
    return own + max(0.0, reaped - ended)


def _own_clock_s(pid: int, *, default: float) -> float:
    """Return a process's processor time from its clock, in nanosecond steps; ``stat`` has hundredths of a second.

    The id of another process's clock is the one that clock_getcpuclockid(3) returns: ``~pid << 3 | 2``
    (Linux, include/linux/posix-timers_types.h: CPUCLOCK_SCHED is 2).
    """
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return default
