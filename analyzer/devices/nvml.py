"""NVIDIA GPUs and MIG slices through the driver's library, NVML.

The traps are those of nvml.h and of the reports named below: `used` of the first memory call counts what the
driver reserves, rates are of a sampling period of the driver's own, process ids are the host's, and slices
answer only through handles of their own.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterator
from typing import Any

import pynvml

from analyzer.devices import Device, Reading
from analyzer.devices.gpus import Gpu, Gpus
from analyzer.errors import DeviceError

PERIOD_S = 0.05  # a driver samples every 1/6 to 1 s, newer ones more often; memory moves faster
GPM_SPAN_S = 0.1  # nvml.h asks for at least 100 ms between two GPM samples

_LOST = {
    pynvml.NVML_ERROR_GPU_IS_LOST,
    pynvml.NVML_ERROR_RESET_REQUIRED,
    pynvml.NVML_ERROR_GPU_NOT_FOUND,
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
}
# Clocks below what was asked for because of power or heat; idle and application clocks are no throttling.
_THROTTLED = (
    pynvml.nvmlClocksThrottleReasonSwPowerCap
    | pynvml.nvmlClocksThrottleReasonHwSlowdown
    | pynvml.nvmlClocksThrottleReasonSwThermalSlowdown
    | pynvml.nvmlClocksThrottleReasonHwThermalSlowdown
    | pynvml.nvmlClocksThrottleReasonHwPowerBrakeSlowdown
)
_PROCESS_LISTS = ("nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetMPSComputeRunningProcesses_v3")
_GPM_METRICS = (
    pynvml.NVML_GPM_METRIC_GRAPHICS_UTIL,
    pynvml.NVML_GPM_METRIC_SM_UTIL,
    pynvml.NVML_GPM_METRIC_ANY_TENSOR_UTIL,
    pynvml.NVML_GPM_METRIC_DRAM_BW_UTIL,
)
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
        present = tuple(_describe(*found) for found in _handles())
    except pynvml.NVMLError as error:
        return Gpus(present=(), why_none=f"NVML does not list the GPUs: {error}")
    finally:
        pynvml.nvmlShutdown()
    return Gpus(present=present, why_none="" if present else "the NVIDIA driver sees no GPU")


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
        self._uuid = uuid
        self._gpm: _Gpm | None = None
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            raise DeviceError(f"GPU {uuid} cannot be read: {_WHY_NONE.get(error.value, error)}") from None
        try:
            self._handle, self._device = self._open()
            self._gpm = _Gpm.open(uuid, self._handle)
            self._gpu_samples = _Samples(uuid, self._handle, pynvml.NVML_GPU_UTILIZATION_SAMPLES)
            self._memory_samples = _Samples(uuid, self._handle, pynvml.NVML_MEMORY_UTILIZATION_SAMPLES)
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
        memory = _memory(self._uuid, self._handle)
        rates = self._ask("nvmlDeviceGetUtilizationRates")
        utilization = self._gpu_samples.mean(now, rate=None if rates is None else rates.gpu)
        memory_utilization = self._memory_samples.mean(now, rate=None if rates is None else rates.memory)
        gpm = self._gpm.read(now) if self._gpm else {}
        if rates is None and utilization is None:  # on a slice; GPM's figure is of the same meaning
            utilization = gpm.get(pynvml.NVML_GPM_METRIC_GRAPHICS_UTIL)
        power_mw = self._ask("nvmlDeviceGetPowerUsage")
        clock_mhz = self._ask("nvmlDeviceGetClockInfo", pynvml.NVML_CLOCK_SM)
        reasons = self._ask("nvmlDeviceGetCurrentClocksEventReasons")
        if reasons is None:  # drivers before 535
            reasons = self._ask("nvmlDeviceGetCurrentClocksThrottleReasons")
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
        pynvml.nvmlShutdown()

    def _open(self) -> tuple[Any, Device]:
        for index, uuid, handle in _handles():
            if uuid == self._uuid:
                gpu = _describe(index, uuid, handle)
                if gpu.memory_bytes is None:
                    raise DeviceError(f"GPU {self._uuid} does not tell its memory: update the NVIDIA driver")
                driver = pynvml.nvmlSystemGetDriverVersion()
                return handle, Device(name=gpu.name, uuid=gpu.uuid, memory_bytes=gpu.memory_bytes, driver=driver)
        raise DeviceError(f"GPU {self._uuid} is not on this host or is lost: nvidia-smi -L lists those present")

    def _ask(self, function: str, *arguments: object) -> Any:
        return _ask(self._uuid, function, self._handle, *arguments)

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
            for process in self._ask(function) or ()
            if process.pid in pids
        }
        return sum(ours.values()) if ours and None not in ours.values() else None


class _Samples:
    """The driver's own buffer of one utilization, read on from where the last reading ended."""

    def __init__(self, uuid: str, handle: Any, kind: int) -> None:
        self._uuid, self._handle, self._kind = uuid, handle, kind
        self._seen_us = 0
        self._last_s = -math.inf
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
        stopped = now - self._last_s > 1.0
        return rate / 100 if stopped and rate is not None else None

    def _new_percents(self) -> list[int]:
        found = _ask(self._uuid, "nvmlDeviceGetSamples", self._handle, self._kind, self._seen_us)
        _, samples = found or (0, [])  # no new sample is NOT_FOUND
        # Entries of the buffer that were never filled have the time 0.
        new = [sample for sample in samples if sample.timeStamp > self._seen_us]
        self._seen_us = max((sample.timeStamp for sample in new), default=self._seen_us)
        return [sample.sampleValue.uiVal for sample in new]


class _Gpm:
    """GPU performance monitoring, on Hopper and later: means between two samples of the device's counters."""

    def __init__(self, uuid: str, handle: Any, gpu_instance: int | None) -> None:
        self._uuid, self._handle, self._gpu_instance = uuid, handle, gpu_instance
        self._past, self._next = pynvml.nvmlGpmSampleAlloc(), pynvml.nvmlGpmSampleAlloc()
        self._past_s: float | None = None

    @classmethod
    def open(cls, uuid: str, handle: Any) -> _Gpm | None:
        """Start monitoring; None where the device has none."""
        gpu_instance = _ask(uuid, "nvmlDeviceGetGpuInstanceId", handle)  # refused unless it is a slice
        if gpu_instance is not None:
            handle = _ask(uuid, "nvmlDeviceGetDeviceHandleFromMigDeviceHandle", handle)
        support = _ask(uuid, "nvmlGpmQueryDeviceSupport", handle)
        if support is None or not support.isSupportedDevice:
            return None
        try:
            return cls(uuid, handle, gpu_instance)
        except pynvml.NVMLError:
            return None

    def read(self, now: float) -> dict[int, float]:
        """Metrics since the last reading in [0, 1], by id; none of them until `GPM_SPAN_S` has passed."""
        if self._past_s is not None and now - self._past_s < GPM_SPAN_S:
            return {}
        if self._gpu_instance is None:
            taken = _ask(self._uuid, "nvmlGpmSampleGet", self._handle, self._next)
        else:
            taken = _ask(self._uuid, "nvmlGpmMigSampleGet", self._handle, self._gpu_instance, self._next)
        if taken is None:
            return {}
        first = self._past_s is None
        metrics = {} if first else self._metrics()
        self._past, self._next, self._past_s = self._next, self._past, now
        return metrics

    def _metrics(self) -> dict[int, float]:
        query = pynvml.c_nvmlGpmMetricsGet_t()
        query.version = pynvml.NVML_GPM_METRICS_GET_VERSION
        query.numMetrics = len(_GPM_METRICS)
        query.sample1, query.sample2 = self._past, self._next
        for place, metric in enumerate(_GPM_METRICS):
            query.metrics[place].metricId = metric
        if _ask(self._uuid, "nvmlGpmMetricsGet", query) is None:
            return {}
        return {
            metric.metricId: min(1.0, metric.value / 100)
            for metric in query.metrics[: len(_GPM_METRICS)]
            if metric.nvmlReturn == pynvml.NVML_SUCCESS and math.isfinite(metric.value)
        }

    def close(self) -> None:
        """Give the samples back."""
        for sample in (self._past, self._next):
            pynvml.nvmlGpmSampleFree(sample)


def _ask(uuid: str, function: str, *arguments: object) -> Any:
    """Call NVML; None for a figure that the driver refuses, DeviceError if the GPU is lost."""
    try:
        return getattr(pynvml, function)(*arguments)
    except pynvml.NVMLError as error:
        if error.value in _LOST:
            raise DeviceError(
                f"GPU {uuid} is lost ({error}): see dmesg for its Xid, then reset it or restart the host"
            ) from None
        return None


def _handles() -> Iterator[tuple[str, str, Any]]:
    """Index, UUID and handle of each GPU, or of its slices where it is cut into slices.

    A GPU that is lost is left out: the others can still be used.
    """
    for number in range(pynvml.nvmlDeviceGetCount()):
        try:
            gpu = pynvml.nvmlDeviceGetHandleByIndex(number)
            for index, handle in _parts(number, gpu):
                yield index, pynvml.nvmlDeviceGetUUID(handle), handle
        except (pynvml.NVMLError, DeviceError):
            continue


def _parts(number: int, gpu: Any) -> Iterator[tuple[str, Any]]:
    modes = _ask(str(number), "nvmlDeviceGetMigMode", gpu)
    if modes is None or modes[0] != pynvml.NVML_DEVICE_MIG_ENABLE:
        yield str(number), gpu
        return
    for place in range(_ask(str(number), "nvmlDeviceGetMaxMigDeviceCount", gpu) or 0):
        part = _ask(str(number), "nvmlDeviceGetMigDeviceHandleByIndex", gpu, place)
        if part is not None:  # places without a slice are NOT_FOUND
            yield f"{number}:{place}", part


def _describe(index: str, uuid: str, handle: Any) -> Gpu:
    memory = _memory(uuid, handle)
    return Gpu(
        index=index,
        uuid=uuid,
        name=pynvml.nvmlDeviceGetName(handle),
        memory_bytes=None if memory is None else memory.total - getattr(memory, "reserved", 0),
        mig=":" in index,
    )


def _memory(uuid: str, handle: Any) -> Any:
    """Memory as the second version of the call has it, where `used` is without what the driver reserves.

    Drivers before 510 have the first only, where it is with it (Cldfire/nvml-wrapper#57: 912 MB instead of
    7.8 MB on an idle A100); what a model adds is the same in both.
    """
    memory = _ask(uuid, "nvmlDeviceGetMemoryInfo", handle, pynvml.nvmlMemory_v2)
    return _ask(uuid, "nvmlDeviceGetMemoryInfo", handle) if memory is None else memory
