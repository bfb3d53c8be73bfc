"""The seam `Sampler`: what a device shows while a server works on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A GPU, a MIG slice of one, or a host without one.

    Parameters
    ----------
    name, uuid : str
        As the driver gives them; for a host its processor's name and its machine id.
    memory_bytes : int
        What models can use: the total less what the driver reserves.
    driver : str or None
        The driver's version; None for a host.
    """

    name: str
    uuid: str
    memory_bytes: int
    driver: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the device showed at one moment; a figure that the driver refuses is None, never 0.

    Parameters
    ----------
    time_s : float
        `time.perf_counter` at the reading.
    memory_bytes : int or None
        In use on the device (GPU), or held by the server's process tree (host).
    process_memory_bytes : int or None
        GPU only: what the driver charges to the server's own processes; None if it lists none of them.
    utilization, memory_utilization : float or None
        Of the driver's samples since the last reading (GPU), or of the time since it was last given (host), in
        [0, 1]; None too where there is nothing new since.
    sm_utilization, tensor_utilization, dram_bandwidth_utilization : float or None
        From GPM since it was last given, in [0, 1].
    power_w, sm_clock_hz : float or None
    throttled : bool or None
        Whether clocks were held down by power or heat.
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
    """NvmlSampler, ProcessSampler, PrometheusSampler."""

    @property
    def device(self) -> Device: ...

    @property
    def period_s(self) -> float:
        """The shortest time between readings that are worth taking."""

    @property
    def min_window_s(self) -> float:
        """The shortest window that holds several of the device's own samples."""

    @property
    def lag_s(self) -> float:
        """How old what a reading shows may be."""

    def read(self) -> Reading:
        """Read the device once; never raises for a figure that is refused.

        Raises
        ------
        DeviceError
            If the device is gone (lost, reset, fallen off the bus).
        """

    def close(self) -> None:
        """Give back whatever the readings needed."""
