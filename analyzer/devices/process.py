"""A host without a GPU: what a server's process tree holds and how busy it keeps the processors."""

from __future__ import annotations

import hashlib
import os
import platform
import time
from collections.abc import Iterable
from pathlib import Path

from analyzer.devices import Device, Reading
from analyzer.devices.process_tree import Process, ProcessTree, busy_between
from analyzer.devices.processors import processor_name, processors

PERIOD_S = 0.02  # short enough for memory that a model takes only while it runs
LOOK_SPAN_S = 0.1  # between looks at the tree: shorter ones show single bursts, not how busy the host is
PSS_SPAN_S = 0.25  # how old the share of shared memory may be
PSS_MAX_COST = 0.01  # of one processor: the kernel walks every page, 8 ms a GiB, and holds up the server's mappings
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
MACHINE_ID_FILES = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))


class ProcessSampler:
    """Memory and processor time of a server's process and everything below it.

    Memory is the proportional set size: a page that n processes share counts 1/n in each of them, so that the
    sum over the tree counts it once. The kernel walks every page for it; so that short peaks are seen all the
    same, only what is shared is kept from the last walk, and the anonymous memory, which the kernel counts as it
    grows, is read anew every time.

    Parameters
    ----------
    root_pid : int
        The server's process as this host numbers it; for a container its root process.

    Raises
    ------
    DeviceError
        If there is no such process.
    """

    def __init__(self, root_pid: int) -> None:
        self._tree = ProcessTree(root_pid)
        self._device = host()
        self._past: dict[int, Process] = {}
        self._past_s: float | None = None
        self._alive: list[int] = []
        self._look_due_s = 0.0
        self._share: int | None = None
        self._walked: list[int] = []  # the processes that `_share` is of
        self._walk_due_s = 0.0

    @property
    def device(self) -> Device:
        """The host."""
        return self._device

    @property
    def period_s(self) -> float:
        """The shortest time between readings that are worth taking."""
        return PERIOD_S

    @property
    def min_window_s(self) -> float:
        """The shortest window that holds several looks at the tree."""
        return 5 * LOOK_SPAN_S

    @property
    def lag_s(self) -> float:
        """The kernel counts as it goes."""
        return 0.0

    def read(self) -> Reading:
        """Read the tree once.

        Processes are looked for every `LOOK_SPAN_S`, and at once when one has ended; `utilization` is given then,
        and None in between.

        Raises
        ------
        DeviceError
            If the root process is gone.
        """
        now = time.perf_counter()
        utilization = None
        anonymous = [anonymous_bytes(pid) for pid in self._alive]
        if now >= self._look_due_s or None in anonymous:
            utilization = self._look(now)
            anonymous = [anonymous_bytes(pid) for pid in self._alive]
        if now >= self._walk_due_s or self._alive != self._walked:
            self._walk(now)
        memory = None
        if self._share is not None:
            memory = max(0, self._share + sum(size for size in anonymous if size is not None))
        return Reading(time_s=now, memory_bytes=memory, utilization=utilization)

    def close(self) -> None:
        """Nothing is held between readings."""

    def _look(self, now: float) -> float | None:
        """Find the processes of the tree; the share of the host's processors that they used since the last look."""
        tree = self._tree.read()
        self._alive = [pid for pid, process in tree.items() if process.alive]
        self._look_due_s = now + LOOK_SPAN_S
        past, since = self._past, self._past_s
        if since is not None and now - since < LOOK_SPAN_S:
            return None
        self._past, self._past_s = tree, now
        if since is None:
            return None
        return min(1.0, busy_between(past, tree) / ((now - since) * processors()))

    def _walk(self, now: float) -> None:
        began_s = time.thread_time()
        self._share = shared_bytes(self._alive)
        self._walk_due_s = now + max(PSS_SPAN_S, (time.thread_time() - began_s) / PSS_MAX_COST)
        self._walked = self._alive


def host() -> Device:
    """This host as a device: its processor's name, its id and its memory."""
    return Device(
        name=processor_name(),
        uuid=_machine_id(MACHINE_ID_FILES),
        memory_bytes=os.sysconf("SC_PHYS_PAGES") * _PAGE_BYTES,
        driver=None,
    )


def available_bytes() -> int | None:
    """Memory of this host that can be had without swapping (proc_meminfo(5)); None if the kernel does not tell it."""
    try:
        text = Path("/proc/meminfo").read_bytes()
    except OSError:
        return None
    return _kilobytes(text, b"\nMemAvailable:") * 1024 or None


def shared_bytes(pids: Iterable[int]) -> int | None:
    """The proportional set size of processes less their anonymous memory; ended ones have none.

    Below 0 where anonymous memory is shared, after a fork. None if the kernel does not tell it (Linux before
    4.14) or if a process is another user's and this one is not root: a sum without it would be too small.
    """
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup", "rb", buffering=0) as file:  # noqa: PTH123 - many a reading
                text = file.read()
        except ProcessLookupError:
            continue
        except FileNotFoundError:
            if Path(f"/proc/{pid}").exists():
                return None
            continue
        except PermissionError:
            return None
        # Both of one walk: the process may grow meanwhile.
        total += _kilobytes(text, b"\nPss:") - _kilobytes(text, b"\nAnonymous:")
    return total * 1024


def _kilobytes(text: bytes, key: bytes) -> int:
    start = text.find(key)
    return int(text[start + len(key) :].split(maxsplit=1)[0]) if start >= 0 else 0


def anonymous_bytes(pid: int) -> int | None:
    """Resident memory of a process that no file or shared memory stands behind; None if it ended."""
    try:
        with open(f"/proc/{pid}/statm", "rb", buffering=0) as file:  # noqa: PTH123 - many a reading
            _, resident, shared = (int(pages) for pages in file.read().split()[:3])
    except (FileNotFoundError, ProcessLookupError):
        return None
    return (resident - shared) * _PAGE_BYTES if resident else None  # a zombie has nothing resident


def _machine_id(files: Iterable[Path]) -> str:
    """An id that stays with this machine.

    machine-id(5) asks not to pass the id itself on, so it is a hash of it; without one, of the host's name.
    """
    found = (file.read_text().strip() for file in files if file.is_file())
    secret = next((text for text in found if text and text != "uninitialized"), platform.node())
    return hashlib.sha256(f"tritonpack {secret}".encode()).hexdigest()[:32]
