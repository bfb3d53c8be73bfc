"""The placement: which replicas run on which GPUs, with the figures, the proof, and what was asked.

Records in bytes, seconds and shares of one, as everywhere inside; `planner.placement.file` has their units in the file.
Every record is followed by its keys there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from analyzer.formats.json_keys import (
    INTEGER,
    MEBIBYTES,
    MILLISECONDS,
    NUMBER,
    PERCENT,
    ROUNDED,
    SHARE,
    TEXT,
    Form,
    key,
    mapping,
    nested,
    nullable,
    read_record,
    several,
    word,
    write_record,
)
from planner.formulation.candidates import Mode
from planner.formulation.objective import Objective
from planner.formulation.rules import Rules
from planner.inputs.demand import Requirement
from planner.inputs.fleet import FleetType, Scaling, Thresholds
from planner.problem.plan import Cause, Status

if TYPE_CHECKING:
    import pandas as pd

_PREFIX = "gpu-"


def gpu_id(number: int) -> str:
    """Name a GPU by its number in the plan."""
    return f"{_PREFIX}{number}"


def gpu_number(name: str) -> int | None:
    """Return a GPU's number by its name; None for a name of other origin."""
    number = name.removeprefix(_PREFIX)
    return int(number) if name != number and number.isdecimal() else None


@dataclass(frozen=True, slots=True, kw_only=True)
class SlicePosition:
    """A MIG slice of a GPU: its profile, and its first memory slice."""

    profile: str
    start: int

    @property
    def name(self) -> str:
        """The slice in short."""
        return f"{self.profile}@{self.start}"


SLICE_KEYS = (key("profile", TEXT), key("start", INTEGER))


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedModel:
    """Equal replicas of a model on a GPU; memory, throughput and utilizations are those of all of them together.

    Parameters
    ----------
    name : str
        The model that runs.
    instances : int
        In the model's instance group, each replica.
    memory_bytes : int
        Their own, without the server.
    throughput_infer_per_s : float or None
        That they are charged for.
    variant : str
        The configuration as measured; ``default`` is the model's own.
    latency_p99_s : float or None
        Measured at the operating point, alone on the device.
    utilization, memory_utilization : float or None
        Of the whole GPU.
    load_share : float
        Share of the measured throughput that is charged.
    rate_infer_per_s : float or None
        Of the demand that they are given; None where no rate is asked for.
    serves : str or None
        The model of the demand, where a variant of it runs.
    estimate : str
        How the figures were derived where they were not measured on this type; empty for measured ones.
    slice : SlicePosition or None
        Where they run on a GPU that is cut.
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

    @property
    def served(self) -> str:
        """The model of the demand."""
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
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedSlice(SlicePosition):
    """One MIG slice with what it holds, its own server included where models run on it."""

    memory_capacity_bytes: int
    memory_bytes: int
    utilization: float | None = None
    memory_utilization: float | None = None


PLACED_SLICE_KEYS = (
    *SLICE_KEYS,
    key("memory_capacity_mib", MEBIBYTES, "memory_capacity_bytes"),
    key("memory_mib", MEBIBYTES, "memory_bytes"),
    key("utilization_pct", nullable(PERCENT), "utilization", absent=None),
    key("memory_utilization_pct", nullable(PERCENT), "memory_utilization", absent=None),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuGeometry:
    """How a GPU is cut."""

    name: str
    slices: tuple[PlacedSlice, ...]


GEOMETRY_KEYS = (key("name", TEXT), key("slices", several(nested(PlacedSlice, PLACED_SLICE_KEYS))))


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedGpu:
    """A GPU, or `count` GPUs that are cut and filled alike.

    Parameters
    ----------
    id : str
        ``gpu-3``; of several the first one's, and the others have the numbers after it.
    count : int or None
        None where the entry stands for one GPU by itself.
    nodes : tuple of int
        Node of each of them, numbered per type; empty where nodes do not matter.
    memory_capacity_bytes : int
        What the server and the models can use together, before thresholds.
    memory_bytes : int
        The models' own and one idle server (with MIG: one on each slice in use).
    utilization, memory_utilization : float or None
        Sum over the models; None where one was not measured.
    geometry : GpuGeometry or None
        None for a GPU that is not cut.
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
        """GPUs that the entry stands for."""
        return self.count or 1

    @property
    def name(self) -> str:
        """The GPU's id, and how many are like it."""
        return self.id if self.gpus == 1 else f"{self.id} and {self.gpus - 1} like it"

    def one_by_one(self) -> Iterator[PlacedGpu]:
        """Give each GPU that the entry stands for an entry of its own."""
        first = gpu_number(self.id) or 0
        for k in range(self.gpus):
            name = self.id if self.count is None else gpu_id(first + k)
            yield replace(self, id=name, count=None, nodes=self.nodes[k : k + 1])

    @property
    def content(self) -> PlacedGpu:
        """The entry without what tells it from others that are cut and filled alike."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedThresholds:
    """Thresholds as far as the plan's mode counts them; None for one that it does not."""

    memory: float | None
    utilization: float | None
    memory_utilization: float | None


THRESHOLD_KEYS = (
    key("memory_pct", nullable(PERCENT), "memory"),
    key("utilization_pct", nullable(PERCENT), "utilization"),
    key("memory_utilization_pct", nullable(PERCENT), "memory_utilization"),
)


def as_counted(thresholds: Thresholds, mode: Mode) -> CountedThresholds:
    """Return what a mode counts of a type's thresholds."""
    throughput = mode is Mode.THROUGHPUT
    return CountedThresholds(
        memory=thresholds.memory,
        utilization=thresholds.utilization if throughput else None,
        memory_utilization=thresholds.memory_utilization if throughput else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuTypeInUse(FleetType):
    """A type of the fleet as a plan counts it.

    Parameters
    ----------
    server_bytes : int
        The idle server's memory on each GPU of the type.
    counted : CountedThresholds or None
        Its thresholds; None where an old file has the plan's common ones alone.
    """

    server_bytes: int = 0
    counted: CountedThresholds | None = None


def _read_gpu_type(found: Mapping[str, Any]) -> GpuTypeInUse:
    """Read a type, with the thresholds that its mode did not count at 100 %."""
    in_use: GpuTypeInUse = read_record(GpuTypeInUse, found, GPU_TYPE_KEYS)
    t = in_use.counted
    if t is None:
        return in_use
    given = Thresholds(
        memory=t.memory or 1.0, utilization=t.utilization or 1.0, memory_utilization=t.memory_utilization or 1.0
    )
    return replace(in_use, thresholds=given)


SCALING_KEYS = (key("device", TEXT), *(key(k, NUMBER) for k in ("throughput", "latency", "memory", "utilization")))
GPU_TYPE_KEYS = (
    key("type", TEXT),
    key("memory_mib", MEBIBYTES, "memory_bytes"),
    key("server_memory_mib", MEBIBYTES, "server_bytes", absent=0),
    key("reserved_mib", MEBIBYTES, "reserved_bytes", absent=0),
    key("model_overhead_mib", MEBIBYTES, "model_overhead_bytes", absent=0),
    key("limit", nullable(INTEGER), absent=None),
    key("cost_per_hour", nullable(NUMBER), absent=None),
    key("power_w", nullable(NUMBER), absent=None),
    key("idle_power_w", nullable(NUMBER), absent=None),
    key("gpus_per_node", INTEGER, absent=1),
    key("devices", several(TEXT), absent=()),
    key("scaling", nullable(nested(Scaling, SCALING_KEYS)), absent=None),
    key("thresholds", nested(CountedThresholds, THRESHOLD_KEYS), "counted", absent=None, left_out=True),
    key("mig", nullable(TEXT), absent=None),
    key("slice_memory_mib", mapping(MEBIBYTES), "slice_memory", absent=()),
)
GPU_TYPE = Form(("object",), lambda value: write_record(value, GPU_TYPE_KEYS), _read_gpu_type, GPU_TYPE_KEYS)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveReached:
    """What was made as small as can be, and how small it is.

    Parameters
    ----------
    value : float or None
        In the objective's unit; None without a plan, as `gpus` and `gap`.
    lower_bound : float
        No plan has a smaller value.
    gap : float or None
        (value - lower_bound) / value.
    bound_source : str
        What proves the bound.
    within_moves : int or None
        Moves from the placement in force that the bound is for; None where it is for any plan.
    """

    kind: Objective
    value: float | None
    gpus: int | None
    lower_bound: float
    gap: float | None
    bound_source: str
    within_moves: int | None = None

    @property
    def unit(self) -> str:
        """Of value and bound."""
        return self.kind.unit

    @property
    def bound_text(self) -> str:
        """What proves the bound, and for which plans, as the file has it."""
        within = "" if self.within_moves is None else f"{_WITHIN}{self.within_moves}{_MOVES}"
        return f"{self.bound_source}{within}"


_WITHIN, _MOVES = " within ", " moves"


def _read_objective(found: Mapping[str, Any]) -> ObjectiveReached:
    """Read the objective; files that name no value have the GPUs as theirs."""
    read: dict[str, Any] = read_record(dict, found, OBJECTIVE_KEYS)
    source, _, within = read["bound_source"].partition(_WITHIN)
    moves = within.removesuffix(_MOVES)
    return ObjectiveReached(
        **{
            **read,
            "value": read["gpus"] if "value" not in found else read["value"],
            "bound_source": source,
            "within_moves": int(moves) if moves.isdecimal() else None,
        }
    )


OBJECTIVE_KEYS = (
    key("kind", word(Objective), absent=Objective.GPUS),
    key("unit", TEXT, absent="", argument=""),
    key("value", nullable(ROUNDED), absent=None),
    key("gpus", nullable(INTEGER)),
    key("lower_bound", ROUNDED),
    key("gap", nullable(SHARE)),
    key("bound_source", TEXT, "bound_text", argument="bound_source", absent=""),
)
OBJECTIVE = Form(("object",), lambda value: write_record(value, OBJECTIVE_KEYS), _read_objective, OBJECTIVE_KEYS)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnplacedModel:
    """A model that is not, or not fully, served.

    Parameters
    ----------
    missing : float or None
        Inferences/s or copies, as `missing_unit` says.
    reason : str
        In a sentence, with the figure that is in the way.
    """

    name: str
    reason: str
    missing: float | None = None
    missing_unit: str | None = None
    cause: Cause | None = None


UNPLACED_KEYS = (
    key("name", TEXT),
    key("missing", ROUNDED, absent=None, left_out=True),
    key("missing_unit", TEXT, absent=None, left_out=True),
    key("cause", word(Cause), absent=None, left_out=True),
    key("reason", TEXT),
)


class Action(StrEnum):
    """What is done to a GPU."""

    LOAD = "load"
    UNLOAD = "unload"
    CUT = "cut"  # change its MIG geometry; it must be empty


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One step on the way from the placement that was in force.

    Parameters
    ----------
    step : int
        Counted from 1.
    reason : str
        Why fewer replicas serve for a while; empty where they do not.
    """

    step: int
    action: Action
    gpu: str
    slice: SlicePosition | None = None
    model: str | None = None
    memory_bytes: int | None = None
    reason: str = ""


MOVE_KEYS = (
    key("step", INTEGER),
    key("action", word(Action)),
    key("gpu", TEXT),
    key("slice", nested(SlicePosition, SLICE_KEYS), absent=None, left_out=True),
    key("model", TEXT, absent=None, left_out=True),
    key("memory_mib", MEBIBYTES, "memory_bytes", absent=None, left_out=True),
    key("reason", TEXT, absent="", left_out=True),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchUsed:
    """How the search was limited; None for what a file of other origin does not say."""

    time_limit_s: float | None
    seed: int | None
    workers: int | None


SEARCH_KEYS = (
    key("time_limit_s", NUMBER, absent=None, left_out=True),
    key("seed", INTEGER, absent=None, left_out=True),
    key("workers", INTEGER, absent=None, left_out=True),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanProvenance:
    """Where a placement comes from.

    Parameters
    ----------
    devices : tuple of str
        That the profiles were measured on.
    profiles_sha256 : str
        Of every figure of the profiles: the same where two plans rest on the same measurements.
    notes : tuple of str
        What the plan takes for granted.
    """

    tool: str
    tool_version: str
    devices: tuple[str, ...] = ()
    profiles_sha256: str = ""
    search: SearchUsed | None = None
    notes: tuple[str, ...] = ()


PROVENANCE_KEYS = (
    key("tool", TEXT),
    key("tool_version", TEXT),
    key("devices", several(TEXT), absent=()),
    key("profiles_sha256", TEXT, absent=""),
    key(
        "search",
        Form(
            ("object",),
            lambda value: {} if value is None else write_record(value, SEARCH_KEYS),
            lambda found: read_record(SearchUsed, found, SEARCH_KEYS) if found else None,
            SEARCH_KEYS,
        ),
        absent=None,
    ),
    key("notes", several(TEXT), absent=()),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Which model replicas run on which GPUs.

    Parameters
    ----------
    thresholds : CountedThresholds
        The tightest of the types'.
    gpu_types, demand : tuple
        What was asked; empty in files of other origin.
    rules : Rules or None
        Likewise.
    moves : tuple of Move or None
        From the placement that was in force; None where there was none.
    """

    schema_version: str
    status: Status
    mode: Mode
    objective: ObjectiveReached
    thresholds: CountedThresholds
    gpus: tuple[PlacedGpu, ...]
    unplaced: tuple[UnplacedModel, ...]
    provenance: PlanProvenance
    gpu_types: tuple[GpuTypeInUse, ...] = ()
    demand: tuple[Requirement, ...] = ()
    rules: Rules | None = None
    moves: tuple[Move, ...] | None = None

    def one_by_one(self) -> list[PlacedGpu]:
        """The GPUs, each in an entry of its own."""
        return [gpu for entry in self.gpus for gpu in entry.one_by_one()]

    def alike(self) -> list[PlacedGpu]:
        """The GPUs, those that are cut and filled alike in one entry, in the order of their first one."""
        found: dict[PlacedGpu, list[PlacedGpu]] = {}
        for gpu in self.gpus:
            found.setdefault(gpu.content, []).append(gpu)
        return [replace(content, id=same[0].id, count=sum(g.gpus for g in same)) for content, same in found.items()]

    def thresholds_of(self, gpu_type: str) -> CountedThresholds:
        """The thresholds of a type, or the common ones where the file has no others."""
        own = next((t.counted for t in self.gpu_types if t.type == gpu_type), None)
        return own or self.thresholds

    def to_frame(self) -> pd.DataFrame:
        """Return a table with a row for each model on a GPU, with units in the names of its columns."""
        from planner.placement.frame import placement_frame

        return placement_frame(self)
