"""The records `Device` and `Reading`, and `Sampler`, the interface of the classes that read a device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A GPU, a MIG slice of a GPU, or a host without a GPU.

    Parameters
    ----------
    name, uuid : str
        As the driver reports them; for a host its processor's name and its machine id.
    memory_bytes : int
        Memory that models can use: the total minus what the driver reserves.
    driver : str or None
        The driver's version; None for a host.
    """

    name: str
    uuid: str
    memory_bytes: int
    driver: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The figures of a device at one moment; a figure that the device does not report is None, never 0.

    Parameters
    ----------
    time_s : float
        Time of the reading, by `time.perf_counter`.
    memory_bytes : int or None
        Memory in use on the device (GPU), or held by the server's process tree (host).
    process_memory_bytes : int or None
        GPU only: memory that the driver attributes to the server's own processes; None if it lists none of them.
    utilization, memory_utilization : float or None
        Mean of the driver's samples since the last reading (GPU), or over the time since the last reading with a
        value (host), in [0, 1]; also None if there is nothing new since then.
    sm_utilization, tensor_utilization, dram_bandwidth_utilization : float or None
        From GPM or the DCGM exporter, in [0, 1]; GPM's are means since the last reading with a value.
    power_w, sm_clock_hz : float or None
    throttled : bool or None
        Whether the clocks were reduced because of power or heat.
    """

    time_s: float
    memory_bytes: int | None = None
    process_memory_bytes: int | None = None
    utilization: float | None = None
    memory_utilization: float | None = None
    sm_utilization: float | None = None
    tensor_utilization: float | None = None
    dram_bandwidth_utilization: float | None = None
    power_w: float | None = None
    sm_clock_hz: float | None = None
    throttled: bool | None = None


class Sampler(Protocol):
    """Reads the figures of one device: NvmlSampler, ProcessSampler, PrometheusSampler."""

    @property
    def device(self) -> Device: ...

    @property
    def period_s(self) -> float:
        """The shortest useful time between two readings, in seconds."""

    @property
    def min_window_s(self) -> float:
        """The shortest window that holds several of the device's own samples, in seconds."""

    @property
    def lag_s(self) -> float:
        """The greatest age of the values in a reading, in seconds."""

    def read(self) -> Reading:
        """Read the device once; a figure that it does not report is None and raises nothing.

        Raises
        ------
        DeviceError
            If the device is gone (lost, reset, fallen off the bus).
        """

    def close(self) -> None:
        """Release the resources that the readings needed."""
