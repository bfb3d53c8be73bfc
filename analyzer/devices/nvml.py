"""Read NVIDIA GPUs and MIG slices through the driver's library, NVML.

Four properties of NVML need care (see nvml.h, and the reports named below): `used` in the first version of the
memory call includes what the driver reserves; utilization rates cover a sampling period that the driver chooses;
process ids are those of the host; MIG slices have handles of their own.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress

import pynvml

from analyzer.devices import Device, Reading
from analyzer.devices.inventory import Gpus
from analyzer.devices.nvml_device import NvmlDevice, all_devices, find_device
from analyzer.devices.nvml_gpm import Gpm
from analyzer.errors import DeviceError

PERIOD_S = 0.05  # drivers sample utilization every 1/6 to 1 s, newer ones more often; memory changes faster
MIN_WINDOW_S = 0.5  # holds several readings, and several GPM intervals
_SAMPLES_IN_WINDOW = 3
_LONGEST_PERIOD_S = 1.0  # longest time between two samples of a driver, by nvml.h
# Reasons for clocks below the requested ones that are due to power or heat; low idle clocks are not throttling.
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
    """List the GPUs and MIG slices of this host; without a driver the list is empty, and nothing is raised."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return Gpus(present=(), why_none=_WHY_NONE.get(error.value, f"NVML does not start: {error}"))
    try:
        present = tuple(found.gpu() for found in all_devices())
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
    """Reads one GPU or MIG slice through NVML.

    Parameters
    ----------
    uuid : str
        As `list_gpus` returns it.
    processes : callable, optional
        Returns the server's process ids in the host's numbering; without it, `process_memory_bytes` is None.

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
            self._gpu = find_device(uuid)
            self._device = self._gpu.device()
            self._gpm = Gpm.open(self._gpu)
            self._has_rates = self._gpu.ask("nvmlDeviceGetUtilizationRates") is not None
            self._gpu_samples = _Samples(self._gpu, pynvml.NVML_GPU_UTILIZATION_SAMPLES)
            self._memory_samples = _Samples(self._gpu, pynvml.NVML_MEMORY_UTILIZATION_SAMPLES)
        except pynvml.NVMLError as error:
            self.close()
            raise DeviceError(f"GPU {uuid} cannot be opened: {error}") from None
        except DeviceError:
            self.close()
            raise

    @property
    def device(self) -> Device:
        """The GPU or MIG slice."""
        return self._device

    @property
    def period_s(self) -> float:
        """The shortest useful time between two readings, in seconds."""
        return PERIOD_S

    @property
    def min_window_s(self) -> float:
        """The shortest window that holds several of the driver's samples, in seconds.

        The driver's sample buffer shows their period. Without a buffer the period is taken as 1 s, the longest by
        nvml.h. On a MIG slice only GPM's interval counts.
        """
        period_s = self._gpu_samples.period_s if self._has_rates else 0.0
        return max(MIN_WINDOW_S, _SAMPLES_IN_WINDOW * period_s)

    @property
    def lag_s(self) -> float:
        """Zero: the driver returns current values."""
        return 0.0

    @property
    def refused(self) -> Mapping[str, str]:
        """The driver's last error message for each NVML function that failed."""
        return self._gpu.refused

    def read(self) -> Reading:
        """Read the GPU once.

        Utilizations are means over the driver's samples since the last reading, and None if it took none since. A
        driver that keeps no samples returns the rate of its last sampling period. On a MIG slice only GPM has a
        utilization.

        Raises
        ------
        DeviceError
            If the GPU is lost or needs a reset.
        """
        now = time.perf_counter()
        memory = self._gpu.memory()
        rates = self._gpu.ask("nvmlDeviceGetUtilizationRates")
        utilization = self._gpu_samples.mean(now, rate=None if rates is None else rates.gpu)
        memory_utilization = self._memory_samples.mean(now, rate=None if rates is None else rates.memory)
        gpm = self._gpm.read(now) if self._gpm else {}
        if rates is None and utilization is None:  # on a MIG slice; GPM's figure has the same meaning
            utilization = gpm.get(pynvml.NVML_GPM_METRIC_GRAPHICS_UTIL)
        power_mw = self._gpu.ask("nvmlDeviceGetPowerUsage")
        clock_mhz = self._gpu.ask("nvmlDeviceGetClockInfo", pynvml.NVML_CLOCK_SM)
        reasons = self._gpu.ask("nvmlDeviceGetCurrentClocksEventReasons")
        if reasons is None:  # drivers before 535
            reasons = self._gpu.ask("nvmlDeviceGetCurrentClocksThrottleReasons")
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
        """Free the GPM samples and shut NVML down."""
        if self._gpm:
            self._gpm.close()
        self._gpm = None
        with suppress(pynvml.NVMLError):  # already closed
            pynvml.nvmlShutdown()

    def _process_memory(self) -> int | None:
        """Return the memory that the driver attributes to the server's processes, MPS clients included.

        None if the driver lists none of them: either the server holds no memory, or this is a container with a pid
        namespace of its own, whose process ids do not match (NVIDIA/nvidia-docker#179).
        """
        if self._processes is None:
            return None
        pids = self._processes()
        ours = {
            process.pid: process.usedGpuMemory
            for function in _PROCESS_LISTS
            for process in self._gpu.ask(function) or ()
            if process.pid in pids
        }
        return sum(ours.values()) if ours and None not in ours.values() else None


class _Samples:
    """The driver's buffer of samples of one utilization; each reading returns the samples since the one before."""

    def __init__(self, gpu: NvmlDevice, kind: int) -> None:
        self._gpu, self._kind = gpu, kind
        self._seen_us = 0
        self._last_s = -math.inf
        self.period_s = _LONGEST_PERIOD_S  # until the buffer shows it
        self._new_percents()  # skips the samples from before

    def mean(self, now: float, *, rate: int | None) -> float | None:
        """Return the mean of the new samples in [0, 1]; None if there is none yet.

        `rate`, the driver's last rate in percent, is used instead if there is no buffer, or if it had no new sample
        for 1 s, the longest sampling period by nvml.h.
        """
        percents = self._new_percents()
        if percents:
            self._last_s = now
            return sum(percents) / len(percents) / 100
        stopped = now - self._last_s > _LONGEST_PERIOD_S
        return rate / 100 if stopped and rate is not None else None

    def _new_percents(self) -> list[int]:
        found = self._gpu.ask("nvmlDeviceGetSamples", self._kind, self._seen_us)
        _, samples = found or (0, [])  # NVML answers NOT_FOUND if there is no new sample
        # Unused entries of the buffer have the time 0.
        new = [sample for sample in samples if sample.timeStamp > self._seen_us]
        if len(new) > 1:
            times_us = sorted(sample.timeStamp for sample in new)
            self.period_s = min(_LONGEST_PERIOD_S, (times_us[-1] - times_us[0]) / (len(times_us) - 1) / 1e6)
        self._seen_us = max((sample.timeStamp for sample in new), default=self._seen_us)
        return [sample.sampleValue.uiVal for sample in new]
