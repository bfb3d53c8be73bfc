"""A GPU of a placement: its slices, and the models on it with their figures.                                 [pure]

The records are in bytes, seconds and shares of one. Each is followed by its JSON keys, which give the units in the
file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from analyzer.formats.json_keys import (
    FLAG,
    INTEGER,
    MEBIBYTES,
    MILLISECONDS,
    PERCENT,
    ROUNDED,
    TEXT,
    key,
    nested,
    nullable,
    several,
)

_PREFIX = "gpu-"


def gpu_id(number: int) -> str:
    """Return the id of a GPU from its number in the plan."""
    return f"{_PREFIX}{number}"


def gpu_number(name: str) -> int | None:
    """Return a GPU's number from its id; None for an id that this tool did not make."""
    number = name.removeprefix(_PREFIX)
    return int(number) if name != number and number.isdecimal() else None


@dataclass(frozen=True, slots=True, kw_only=True)
class SlicePosition:
    """Where a MIG slice is on a GPU: its profile, and the number of its first memory slice."""

    profile: str
    start: int

    @property
    def name(self) -> str:
        """The slice in short, such as ``1g.10gb@2``."""
        return f"{self.profile}@{self.start}"


SLICE_KEYS = (key("profile", TEXT), key("start", INTEGER))


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedModel:
    """Equal replicas of a model on one GPU; memory, throughput, rate and utilizations are sums over the replicas.

    Parameters
    ----------
    name : str
        The model that runs.
    instances : int
        Instances in the model's instance group, of each replica.
    memory_bytes : int
        Memory of the replicas, without the server.
    throughput_infer_per_s : float or None
        Throughput that they deliver at `load_share`.
    variant : str
        Name of the measured configuration; ``default`` is the model's own.
    latency_p99_s : float or None
        p99 latency measured at the operating point, with the model alone on the device.
    utilization, memory_utilization : float or None
        Share of the whole GPU's time and of its memory's time, also on a slice; with rates by hour at the highest rate.
    load_share : float
        Share of the measured throughput that is asked of each replica, in (0, 1].
    rate_infer_per_s : float or None
        Their part of the demand's rate, with rates by hour of the highest; None where no rate is asked for.
    serves : str or None
        The model of the demand, where another model runs in its place.
    estimate : str
        How the figures were derived where they were not measured on this type; empty for measured ones.
    slice : SlicePosition or None
        The slice that they run on; None on a whole GPU.
    predicted_slow_down, most_slow_down : float or None
        How much slower they are beside the others than alone, as fitted to measured co-locations, and with its margin;
        None where nothing was measured on the device.
    predicted_p99_s, most_p99_s : float or None
        The p99 latencies that follow from these; None also where they grow without bound.
    ttft_p99_s, itl_p99_s : float or None
        p99 of the time to the first response and of the inter-token latency at the operating point, alone.
    input_length, output_length : int or None
        Tokens of requests and answers at the operating point.
    memory_is_reservation : bool
        Whether the memory is what the backend reserves whatever the load.
    """

    name: str
    batch: int
    concurrency: int
    instances: int
    memory_bytes: int
    throughput_infer_per_s: float | None
    replicas: int = 1
    variant: str = "default"
    latency_p99_s: float | None = None
    utilization: float | None = None
    memory_utilization: float | None = None
    load_share: float = 1.0
    rate_infer_per_s: float | None = None
    serves: str | None = None
    estimate: str = ""
    slice: SlicePosition | None = None
    predicted_slow_down: float | None = None
    most_slow_down: float | None = None
    predicted_p99_s: float | None = None
    most_p99_s: float | None = None
    ttft_p99_s: float | None = None
    itl_p99_s: float | None = None
    input_length: int | None = None
    output_length: int | None = None
    memory_is_reservation: bool = False

    @property
    def served(self) -> str:
        """The model of the demand that the replicas serve."""
        return self.serves or self.name


MODEL_KEYS = (
    key("name", TEXT),
    key("batch", INTEGER),
    key("concurrency", INTEGER),
    key("instances", INTEGER),
    key("memory_mib", MEBIBYTES, "memory_bytes"),
    key("throughput_infer_per_s", nullable(ROUNDED)),
    key("replicas", INTEGER, absent=1),
    key("variant", TEXT, absent="default"),
    key("latency_p99_ms", nullable(MILLISECONDS), "latency_p99_s", absent=None),
    key("utilization_pct", nullable(PERCENT), "utilization", absent=None),
    key("memory_utilization_pct", nullable(PERCENT), "memory_utilization", absent=None),
    key("load_share", ROUNDED, absent=1.0),
    key("rate_infer_per_s", nullable(ROUNDED), absent=None, left_out=True),
    key("serves", TEXT, absent=None, left_out=True),
    key("estimate", TEXT, absent="", left_out=True),
    key("slice", nested(SlicePosition, SLICE_KEYS), absent=None, left_out=True),
    key("predicted_slow_down", ROUNDED, absent=None, left_out=True),
    key("most_slow_down", ROUNDED, absent=None, left_out=True),
    key("predicted_p99_ms", MILLISECONDS, "predicted_p99_s", absent=None, left_out=True),
    key("most_p99_ms", MILLISECONDS, "most_p99_s", absent=None, left_out=True),
    key("ttft_p99_ms", MILLISECONDS, "ttft_p99_s", absent=None, left_out=True),
    key("itl_p99_ms", MILLISECONDS, "itl_p99_s", absent=None, left_out=True),
    key("input_length", INTEGER, absent=None, left_out=True),
    key("output_length", INTEGER, absent=None, left_out=True),
    key("memory_is_reservation", FLAG, absent=False, left_out=True),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedSlice(SlicePosition):
    """One MIG slice and what is used of it; its memory includes its own server where models run on it."""

    memory_capacity_bytes: int
    memory_bytes: int
    utilization: float | None = None
    memory_utilization: float | None = None

    @property
    def position(self) -> SlicePosition:
        """Where it is, as its models have it."""
        return SlicePosition(profile=self.profile, start=self.start)


PLACED_SLICE_KEYS = (
    *SLICE_KEYS,
    key("memory_capacity_mib", MEBIBYTES, "memory_capacity_bytes"),
    key("memory_mib", MEBIBYTES, "memory_bytes"),
    key("utilization_pct", nullable(PERCENT), "utilization", absent=None),
    key("memory_utilization_pct", nullable(PERCENT), "memory_utilization", absent=None),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuGeometry:
    """How a GPU is cut into MIG slices."""

    name: str
    slices: tuple[PlacedSlice, ...]


GEOMETRY_KEYS = (key("name", TEXT), key("slices", several(nested(PlacedSlice, PLACED_SLICE_KEYS))))


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedGpu:
    """A GPU, or `count` GPUs with the same geometry and content.

    Parameters
    ----------
    id : str
        ``gpu-3``; with a count it is the id of the first GPU, and the others have the numbers after it.
    count : int or None
        Number of GPUs; None where the entry stands for one GPU.
    nodes : tuple of int
        Node of each of the GPUs, numbered per type; empty where nodes do not matter.
    memory_capacity_bytes : int
        Memory of one GPU that the server and the models can use together, before thresholds.
    memory_bytes : int
        Memory of the models and of one idle server (with MIG: one on each slice in use), on one GPU.
    utilization, memory_utilization : float or None
        Sum over the models of one GPU, with rates by hour in the hour in which it is largest; None where one was not
        measured.
    geometry : GpuGeometry or None
        How the GPU is cut; None for a whole GPU.
    """

    id: str
    type: str
    memory_capacity_bytes: int
    memory_bytes: int
    utilization: float | None
    memory_utilization: float | None
    models: tuple[PlacedModel, ...]
    count: int | None = None
    nodes: tuple[int, ...] = ()
    geometry: GpuGeometry | None = None

    @property
    def gpus(self) -> int:
        """Number of GPUs that the entry stands for."""
        return self.count or 1

    @property
    def name(self) -> str:
        """The GPU's id, and how many more GPUs the entry stands for."""
        return self.id if self.gpus == 1 else f"{self.id} and {self.gpus - 1} like it"

    def servers(self) -> Iterator[tuple[PlacedSlice | None, tuple[PlacedModel, ...]]]:
        """Yield the models of each server on one GPU: those of a whole GPU, or of each slice that has any."""
        if self.geometry is None:
            if self.models:
                yield None, self.models
            return
        for cut in self.geometry.slices:
            models = tuple(model for model in self.models if model.slice == cut.position)
            if models:
                yield cut, models

    def one_by_one(self) -> Iterator[PlacedGpu]:
        """Yield one entry for each GPU that this entry stands for."""
        first = gpu_number(self.id) or 0
        for k in range(self.gpus):
            name = self.id if self.count is None else gpu_id(first + k)
            yield replace(self, id=name, count=None, nodes=self.nodes[k : k + 1])

    @property
    def content(self) -> PlacedGpu:
        """The entry without id, count and nodes; it is equal for GPUs with the same geometry and content."""
        return replace(self, id="", count=None, nodes=())


GPU_KEYS = (
    key("id", TEXT),
    key("count", INTEGER, absent=None, left_out=True),
    key("nodes", several(INTEGER), absent=(), left_out=True),
    key("type", TEXT),
    key("memory_capacity_mib", MEBIBYTES, "memory_capacity_bytes"),
    key("memory_mib", MEBIBYTES, "memory_bytes"),
    key("utilization_pct", nullable(PERCENT), "utilization"),
    key("memory_utilization_pct", nullable(PERCENT), "memory_utilization"),
    key("models", several(nested(PlacedModel, MODEL_KEYS))),
    key("geometry", nested(GpuGeometry, GEOMETRY_KEYS), absent=None, left_out=True),
)
