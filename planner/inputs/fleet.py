"""The GPUs a plan may use: types with their memory, limits, prices and thresholds."""

from __future__ import annotations

from dataclasses import dataclass

from planner.inputs.gpu_catalogue import type_of_device


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """How full a GPU may be, as shares of one; a sum that equals its threshold is within it.

    Parameters
    ----------
    memory : float
        Highest share of a GPU's memory that models and server use together; at most 1.
    utilization, memory_utilization : float
        Highest sums of the models' utilizations on a GPU; above 1 accepts some slow-down.
    """

    memory: float = 1.0
    utilization: float = 1.0
    memory_utilization: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.memory <= 1 or self.utilization <= 0 or self.memory_utilization <= 0:
            raise ValueError(f"thresholds must be positive, and memory at most 1: {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """How figures measured on another device are carried over to a type: an assumption of the fleet's owner.

    Parameters
    ----------
    device : str
        Name of the device that the profiles were measured on.
    throughput, latency, memory, utilization : float
        Factors on the figures measured there; `utilization` is for both utilizations.
    """

    device: str
    throughput: float = 1.0
    latency: float = 1.0
    memory: float = 1.0
    utilization: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetType:
    """A GPU type of the fleet.

    Parameters
    ----------
    memory_bytes : int
        Memory of one GPU that the server and the models can use together.
    reserved_bytes : int
        Memory that is kept free on every GPU of this type.
    model_overhead_bytes : int
        Memory that every replica takes besides its measured memory, where its backend runs a process of its own.
    limit : int or None
        Largest number of GPUs; None for as many as needed.
    cost_per_hour : float or None
        In the fleet's currency.
    power_w, idle_power_w : float or None
        Power that a GPU in use draws at most, and without load.
    gpus_per_node : int
        GPUs in one node.
    devices : tuple of str
        Devices whose profiles count as measured on this type; by default its own name and its boards' in the catalogue.
    scaling : Scaling or None
        How figures are carried over for models without a profile on `devices`.
    mig : str or None
        Key in mig_profiles.json, where GPUs of this type may be cut.
    slice_memory : tuple of (str, int)
        MIG profiles with the memory in bytes that the driver shows for them; overrides mig_profiles.json.

    Examples
    --------
    >>> from planner import FleetType, plan
    >>> gpu = FleetType(type="16-GB GPU", memory_bytes=16 * 2**30, limit=8, cost_per_hour=0.35)
    >>> result = plan("tests/data/case-study.csv", fleet=[gpu], objective="cost")
    >>> result.gpus, result.value
    (6, 2.1)
    """

    type: str
    memory_bytes: int
    reserved_bytes: int = 0
    model_overhead_bytes: int = 0
    limit: int | None = None
    cost_per_hour: float | None = None
    power_w: float | None = None
    idle_power_w: float | None = None
    gpus_per_node: int = 1
    devices: tuple[str, ...] = ()
    scaling: Scaling | None = None
    thresholds: Thresholds = Thresholds()
    mig: str | None = None
    slice_memory: tuple[tuple[str, int], ...] = ()

    def __post_init__(self) -> None:
        if self.memory_bytes <= 0 or self.reserved_bytes < 0 or self.model_overhead_bytes < 0:
            raise ValueError(f"{self.type}: memory must be positive")
        if self.gpus_per_node < 1 or (self.limit or 0) < 0:
            raise ValueError(f"{self.type}: a negative count")
        if not self.devices:
            object.__setattr__(self, "devices", devices_of(self.type))


def devices_of(type_name: str) -> tuple[str, ...]:
    """Return the device names whose profiles count for a type: its own name and, from the catalogue, its boards'."""
    known = type_of_device(type_name)
    return (type_name, *(known.device_names if known else ()))
