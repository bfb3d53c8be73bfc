"""Read the processors of this host: their name, their number, and their busy and stolen time since boot."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path

from analyzer.devices.process_tree import CLOCK_TICK_S


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessorTimes:
    """Times of a host's processors since boot, summed over all of them.

    Parameters
    ----------
    time_s : float
        When they were read, by `time.perf_counter`.
    busy_s, stolen_s : float
        Time in which they worked, and time in which they had work but the hypervisor ran others (steal time).
    """

    time_s: float
    busy_s: float
    stolen_s: float


def processors() -> int:
    """Return the number of logical processors of the host."""
    return os.cpu_count() or 1


def processor_name() -> str:
    """Return the kernel's name of the processor, with the number of logical processors."""
    for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name" and value.strip():
            return f"{value.strip()}, {processors()} processors"
    return f"{platform.machine()}, {processors()} processors"  # Arm kernels give no name


def processor_times() -> ProcessorTimes:
    """Read the times of this host's processors since boot (proc_stat(5)); zeros if /proc does not have them."""
    try:
        line = Path("/proc/stat").read_bytes().partition(b"\n")[0]
        user, nice, system, _idle, _waiting, interrupts, soft_interrupts, stolen = map(int, line.split()[1:9])
    except (OSError, ValueError):
        return ProcessorTimes(time_s=time.perf_counter(), busy_s=0.0, stolen_s=0.0)
    return ProcessorTimes(
        time_s=time.perf_counter(),
        busy_s=(user + nice + system + interrupts + soft_interrupts) * CLOCK_TICK_S,
        stolen_s=stolen * CLOCK_TICK_S,
    )
