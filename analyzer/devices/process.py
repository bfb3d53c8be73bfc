"""Read the memory and the processor time of a server's process tree, on a host without a GPU."""

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

PERIOD_S = 0.02  # short enough to see memory that a model takes only while it runs
SCAN_INTERVAL_S = 0.1  # between scans of the tree; shorter ones show single bursts, not the load of the host
PSS_INTERVAL_S = 0.25  # shortest time between two reads of the proportional set size
PSS_MAX_COST = 0.01  # share of a processor: the kernel walks every page, 8 ms per GiB, and blocks the server's mappings
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
MACHINE_ID_FILES = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))


class ProcessSampler:
    """Reads the memory and processor time of a server's process and all its descendants.

    Memory is the proportional set size: a page that n processes share counts 1/n in each of them, so that the
    sum over the tree counts it once. The kernel walks every page to compute it, too slowly to see short peaks. So
    only the shared part is kept from the last such read; the anonymous memory, which the kernel counts as it grows,
    is read every time.

    Parameters
    ----------
    root_pid : int
        Process id of the server in this host's numbering; for a container, of its root process.

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
        self._scan_due_s = 0.0
        self._shared: int | None = None  # bytes; see `shared_bytes`
        self._shared_pids: list[int] = []  # the processes counted in `_shared`
        self._shared_due_s = 0.0

    @property
    def device(self) -> Device:
        """The host."""
        return self._device

    @property
    def period_s(self) -> float:
        """The shortest useful time between two readings, in seconds."""
        return PERIOD_S

    @property
    def min_window_s(self) -> float:
        """The shortest window that holds several scans of the tree, in seconds."""
        return 5 * SCAN_INTERVAL_S

    @property
    def lag_s(self) -> float:
        """Zero: the kernel's counters are current."""
        return 0.0

    def read(self) -> Reading:
        """Read the tree once.

        The tree is scanned for processes every `SCAN_INTERVAL_S`, and at once when one has ended. `utilization` is
        None in readings between the scans.

        Raises
        ------
        DeviceError
            If the root process is gone.
        """
        now = time.perf_counter()
        utilization = None
        anonymous = [anonymous_bytes(pid) for pid in self._alive]
        if now >= self._scan_due_s or None in anonymous:
            utilization = self._scan(now)
            anonymous = [anonymous_bytes(pid) for pid in self._alive]
        if now >= self._shared_due_s or self._alive != self._shared_pids:
            self._read_shared(now)
        memory = None
        if self._shared is not None:
            memory = max(0, self._shared + sum(size for size in anonymous if size is not None))
        return Reading(time_s=now, memory_bytes=memory, utilization=utilization)

    def close(self) -> None:
        """Do nothing: no resource is held between readings."""

    def _scan(self, now: float) -> float | None:
        """Find the processes of the tree; return the share of the host's processors they used since the last scan."""
        tree = self._tree.read()
        self._alive = [pid for pid, process in tree.items() if process.alive]
        self._scan_due_s = now + SCAN_INTERVAL_S
        past, since = self._past, self._past_s
        if since is not None and now - since < SCAN_INTERVAL_S:
            return None
        self._past, self._past_s = tree, now
        if since is None:
            return None
        return min(1.0, busy_between(past, tree) / ((now - since) * processors()))

    def _read_shared(self, now: float) -> None:
        began_s = time.thread_time()
        self._shared = shared_bytes(self._alive)
        self._shared_due_s = now + max(PSS_INTERVAL_S, (time.thread_time() - began_s) / PSS_MAX_COST)
        self._shared_pids = self._alive


def host() -> Device:
    """Return this host as a device: its processor's name, its machine id and its memory."""
    return Device(
        name=processor_name(),
        uuid=_machine_id(MACHINE_ID_FILES),
        memory_bytes=os.sysconf("SC_PHYS_PAGES") * _PAGE_BYTES,
        driver=None,
    )


def available_bytes() -> int | None:
    """Return the memory of this host that is available without swapping (proc_meminfo(5)); None if not reported."""
    try:
        text = Path("/proc/meminfo").read_bytes()
    except OSError:
        return None
    return _kilobytes(text, b"\nMemAvailable:") * 1024 or None


def shared_bytes(pids: Iterable[int]) -> int | None:
    """Return the proportional set size of processes minus their anonymous memory; ended processes count 0.

    Below 0 if processes share anonymous memory after a fork. None if the kernel does not report it (Linux before
    4.14), or if a process belongs to another user and this one is not root: a sum without it would be too small.
    """
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup", "rb", buffering=0) as file:  # noqa: PTH123 - called often
                text = file.read()
        except ProcessLookupError:
            continue
        except FileNotFoundError:
            if Path(f"/proc/{pid}").exists():
                return None
            continue
        except PermissionError:
            return None
        # Both from one read: the process may grow between two.
        total += _kilobytes(text, b"\nPss:") - _kilobytes(text, b"\nAnonymous:")
    return total * 1024


def _kilobytes(text: bytes, key: bytes) -> int:
    start = text.find(key)
    return int(text[start + len(key) :].split(maxsplit=1)[0]) if start >= 0 else 0


def anonymous_bytes(pid: int) -> int | None:
    """Return the resident memory of a process that is not backed by files or shared memory; None if it ended."""
    try:
        with open(f"/proc/{pid}/statm", "rb", buffering=0) as file:  # noqa: PTH123 - called often
            _, resident, shared = (int(pages) for pages in file.read().split()[:3])
    except (FileNotFoundError, ProcessLookupError):
        return None
    return (resident - shared) * _PAGE_BYTES if resident else None  # a zombie has no resident memory


def _machine_id(files: Iterable[Path]) -> str:
    """Return an id of this machine that does not change.

    machine-id(5) asks programs not to disclose the machine id, so this is a hash of it, or of the host's name if
    there is none.
    """
    found = (file.read_text().strip() for file in files if file.is_file())
    secret = next((text for text in found if text and text != "uninitialized"), platform.node())
    return hashlib.sha256(f"tritonpack {secret}".encode()).hexdigest()[:32]
