"""NVIDIA GPUs and MIG slices through the driver's library, NVML.

The traps are those of nvml.h and of the reports named below: `used` of the first memory call counts what the
driver reserves, rates are of a sampling period of the driver's own, process ids are the host's, and slices
answer only through handles of their own.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress

import pynvml

from analyzer.devices import Device, Reading
from analyzer.devices.inventory import Gpus
from analyzer.devices.nvml_device import Part, find, parts
from analyzer.devices.nvml_gpm import Gpm
from analyzer.errors import DeviceError

PERIOD_S = 0.05  # a driver samples every 1/6 to 1 s, newer ones more often; memory moves faster
MIN_WINDOW_S = 0.5  # several readings, and several of GPM's spans
_SAMPLES_IN_WINDOW = 3
_LONGEST_PERIOD_S = 1.0  # between two samples of a driver, as nvml.h has it
# Clocks below what was asked for because of power or heat; idle and application clocks are no throttling.
_THROTTLED = (
    pynvml.nvmlClocksThrottleReasonSwPowerCap
    | pynvml.nvmlClocksThrottleReasonHwSlowdown
    | pynvml.nvmlClocksThrottleReasonSwThermalSlowdown
    | pynvml.nvmlClocksThrottleReasonHwThermalSlowdown
    | pynvml.nvmlClocksThrottleReasonHwPowerBrakeSlowdown
)
_PROCESS_LISTS = ("nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetMPSComputeRunningProcesses_v3")
_WHY_NONE = {
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: "no NVIDIA driver (libnvidia-ml.so.1 is not found)",
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: "the NVIDIA driver is not loaded",
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: "the NVIDIA library and kernel module differ in version: reboot",
    pynvml.NVML_ERROR_NO_PERMISSION: "this user may not open the NVIDIA device files",
}


def list_gpus() -> Gpus:
    """List the GPUs and slices of this host; that there is no driver is an answer, not a failure."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return Gpus(present=(), why_none=_WHY_NONE.get(error.value, f"NVML does not start: {error}"))
    try:
        present = tuple(part.gpu() for part in parts())
        seen = pynvml.nvmlDeviceGetCount()
    except pynvml.NVMLError as error:
        return Gpus(present=(), why_none=f"NVML does not list the GPUs: {error}")
    finally:
        pynvml.nvmlShutdown()
    if present:
        return Gpus(present=present)
    unusable = f"{seen} seen, all lost or cut into no slices: see nvidia-smi" if seen else "the driver sees none"
    return Gpus(present=(), why_none=f"no NVIDIA GPU can be used ({unusable})")


class NvmlSampler:
    """One GPU or slice, read through NVML.

    Parameters
    ----------
    uuid : str
        As `list_gpus` gives it.
    processes : callable, optional
        Gives the pids of the server as the host numbers them; without it, no memory is charged to it.

    Raises
    ------
    DeviceError
        If the GPU cannot be found or opened.
    """

    def __init__(self, uuid: str, *, processes: Callable[[], Collection[int]] | None = None) -> None:
        self._processes = processes
        self._gpm: Gpm | None = None
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            raise DeviceError(f"GPU {uuid} cannot be read: {_WHY_NONE.get(error.value, error)}") from None
        try:
            self._part = find(uuid)
            self._device = self._part.device()
            self._gpm = Gpm.open(self._part)
            self._has_rates = self._part.ask("nvmlDeviceGetUtilizationRates") is not None
            self._gpu_samples = _Samples(self._part, pynvml.NVML_GPU_UTILIZATION_SAMPLES)
            self._memory_samples = _Samples(self._part, pynvml.NVML_MEMORY_UTILIZATION_SAMPLES)
        except pynvml.NVMLError as error:
            self.close()
            raise DeviceError(f"GPU {uuid} cannot be opened: {error}") from None
        except DeviceError:
            self.close()
            raise

    @property
    def device(self) -> Device:
        """The GPU or slice."""
        return self._device

    @property
    def period_s(self) -> float:
        """The shortest time between readings that are worth taking."""
        return PERIOD_S

    @property
    def min_window_s(self) -> float:
        """The shortest window that holds several of the driver's samples, as its buffer shows their period.

        Without a buffer the period is unknown; nvml.h says 1 s at most. On a slice GPM alone has a figure.
        """
        period_s = self._gpu_samples.period_s if self._has_rates else 0.0
        return max(MIN_WINDOW_S, _SAMPLES_IN_WINDOW * period_s)

    @property
    def lag_s(self) -> float:
        """The driver answers with the present."""
        return 0.0

    @property
    def refused(self) -> Mapping[str, str]:
        """What the driver last answered to each NVML function that it refused."""
        return self._part.refused

    def read(self) -> Reading:
        """Read the GPU once.

        Utilizations are means over the driver's samples since the last reading where the driver keeps them, and
        None if it took none since; else of its last sampling period. On a slice only GPM gives one.

        Raises
        ------
        DeviceError
            If the GPU is lost or needs a reset.
        """
        now = time.perf_counter()
        memory = self._part.memory()
        rates = self._part.ask("nvmlDeviceGetUtilizationRates")
        utilization = self._gpu_samples.mean(now, rate=None if rates is None else rates.gpu)
        memory_utilization = self._memory_samples.mean(now, rate=None if rates is None else rates.memory)
        gpm = self._gpm.read(now) if self._gpm else {}
        if rates is None and utilization is None:  # on a slice; GPM's figure is of the same meaning
            utilization = gpm.get(pynvml.NVML_GPM_METRIC_GRAPHICS_UTIL)
        power_mw = self._part.ask("nvmlDeviceGetPowerUsage")
        clock_mhz = self._part.ask("nvmlDeviceGetClockInfo", pynvml.NVML_CLOCK_SM)
        reasons = self._part.ask("nvmlDeviceGetCurrentClocksEventReasons")
        if reasons is None:  # drivers before 535
            reasons = self._part.ask("nvmlDeviceGetCurrentClocksThrottleReasons")
        return Reading(
            time_s=now,
            memory_bytes=None if memory is None else int(memory.used),
            process_memory_bytes=self._process_memory(),
            utilization=utilization,
            memory_utilization=memory_utilization,
            sm_utilization=gpm.get(pynvml.NVML_GPM_METRIC_SM_UTIL),
            tensor_utilization=gpm.get(pynvml.NVML_GPM_METRIC_ANY_TENSOR_UTIL),
            dram_bandwidth_utilization=gpm.get(pynvml.NVML_GPM_METRIC_DRAM_BW_UTIL),
            power_w=None if power_mw is None else power_mw / 1e3,
            sm_clock_hz=None if clock_mhz is None else clock_mhz * 1e6,
            throttled=None if reasons is None else bool(reasons & _THROTTLED),
        )

    def close(self) -> None:
        """Give back the GPM samples and NVML."""
        if self._gpm:
            self._gpm.close()
        self._gpm = None
        with suppress(pynvml.NVMLError):  # closed before
            pynvml.nvmlShutdown()

    def _process_memory(self) -> int | None:
        """What the driver charges to the server's processes, clients of MPS included.

        None if none of them is listed: in a container with a pid namespace of its own the pids do not match
        (NVIDIA/nvidia-docker#179), which cannot be told from a server that holds nothing.
        """
        if self._processes is None:
            return None
        pids = self._processes()
        ours = {
            process.pid: process.usedGpuMemory
            for function in _PROCESS_LISTS
            for process in self._part.ask(function) or ()
            if process.pid in pids
        }
        return sum(ours.values()) if ours and None not in ours.values() else None


class _Samples:
    """The driver's own buffer of one utilization, read on from where the last reading ended."""

    def __init__(self, part: Part, kind: int) -> None:
        self._part, self._kind = part, kind
        self._seen_us = 0
        self._last_s = -math.inf
        self.period_s = _LONGEST_PERIOD_S  # until the buffer shows it
        self._new_percents()  # what was before is of no interest

    def mean(self, now: float, *, rate: int | None) -> float | None:
        """The mean of the new samples in [0, 1]; None if there is none yet.

        `rate`, the driver's last in percent, stands in where there is no buffer or it stopped moving: nvml.h
        gives 1 s as the longest sampling period.
        """
        percents = self._new_percents()
        if percents:
            self._last_s = now
            return sum(percents) / len(percents) / 100
        stopped = now - self._last_s > _LONGEST_PERIOD_S
        return rate / 100 if stopped and rate is not None else None

    def _new_percents(self) -> list[int]:
        found = self._part.ask("nvmlDeviceGetSamples", self._kind, self._seen_us)
        _, samples = found or (0, [])  # no new sample is NOT_FOUND
        # Entries of the buffer that were never filled have the time 0.
        new = [sample for sample in samples if sample.timeStamp > self._seen_us]
        if len(new) > 1:
            times_us = sorted(sample.timeStamp for sample in new)
            self.period_s = min(_LONGEST_PERIOD_S, (times_us[-1] - times_us[0]) / (len(times_us) - 1) / 1e6)
        self._seen_us = max((sample.timeStamp for sample in new), default=self._seen_us)
        return [sample.sampleValue.uiVal for sample in new]
