"""The record of a placement: its GPUs, the objective reached, the proof, the moves, and what was asked.

The records are in bytes, seconds and shares of one. Each is followed by its JSON keys, which give the units in the
file; `planner.placement.file` reads and writes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from analyzer.formats.json_keys import (
    INTEGER,
    MEBIBYTES,
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
from planner.interference.fitted import Interference
from planner.placement.placed_gpu import SLICE_KEYS, PlacedGpu, SlicePosition
from planner.problem.plan import Cause, Status

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedThresholds:
    """The thresholds that apply in the plan's mode, as shares of one; None for one that does not apply."""

    memory: float | None
    utilization: float | None
    memory_utilization: float | None


THRESHOLD_KEYS = (
    key("memory_pct", nullable(PERCENT), "memory"),
    key("utilization_pct", nullable(PERCENT), "utilization"),
    key("memory_utilization_pct", nullable(PERCENT), "memory_utilization"),
)


def as_counted(thresholds: Thresholds, mode: Mode) -> CountedThresholds:
    """Return those of a type's thresholds that apply in a mode."""
    throughput = mode is Mode.THROUGHPUT
    return CountedThresholds(
        memory=thresholds.memory,
        utilization=thresholds.utilization if throughput else None,
        memory_utilization=thresholds.memory_utilization if throughput else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuTypeInUse(FleetType):
    """A GPU type of the fleet, with its server's memory and the thresholds that apply in the plan's mode.

    Parameters
    ----------
    server_bytes : int
        The idle server's memory on each GPU of the type.
    counted : CountedThresholds or None
        The thresholds that apply; None in old files, which have only the placement's common `thresholds`.
    """

    server_bytes: int = 0
    counted: CountedThresholds | None = None


def _read_gpu_type(found: Mapping[str, Any]) -> GpuTypeInUse:
    """Read a type; a threshold that does not apply in the mode is set to 100 %."""
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
    """The objective, its value in the plan, and the proven lower bound.

    Parameters
    ----------
    value : float or None
        Value in the objective's unit; None without a plan, as are `gpus` and `gap`.
    lower_bound : float
        No plan has a smaller value.
    gap : float or None
        (value - lower_bound) / value.
    bound_source : str
        What proves the bound.
    plain_lower_bound : float or None
        The lower bound without what co-location costs; None where the plan took no account of that, so that
        `lower_bound` is plain.
    within_moves : int or None
        The bound is for plans within this many moves from the placement in force; None where it is for every plan.
    """

    kind: Objective
    value: float | None
    gpus: int | None
    lower_bound: float
    gap: float | None
    bound_source: str
    within_moves: int | None = None
    plain_lower_bound: float | None = None

    @property
    def unit(self) -> str:
        """Unit of the value and of the bound."""
        return self.kind.unit

    @property
    def bound_text(self) -> str:
        """What proves the bound, and for which plans, as the placement file says it."""
        within = "" if self.within_moves is None else f"{_WITHIN}{self.within_moves}{_MOVES}"
        return f"{self.bound_source}{within}"


_WITHIN, _MOVES = " within ", " moves"


def _read_objective(found: Mapping[str, Any]) -> ObjectiveReached:
    """Read the objective; in files without a value it is the number of GPUs."""
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
    key("plain_lower_bound", ROUNDED, absent=None, left_out=True),
    key("gap", nullable(SHARE)),
    key("bound_source", TEXT, "bound_text", argument="bound_source", absent=""),
)
OBJECTIVE = Form(("object",), lambda value: write_record(value, OBJECTIVE_KEYS), _read_objective, OBJECTIVE_KEYS)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnplacedModel:
    """A model that is not served, or not fully.

    Parameters
    ----------
    missing : float or None
        Demand that is not served, in inferences/s or copies as `missing_unit` says.
    reason : str
        Why, in a sentence with the figure that exceeds a limit.
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
    """What a step does on a GPU."""

    LOAD = "load"
    UNLOAD = "unload"
    CUT = "cut"  # change its MIG geometry; it must be empty


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One step from the placement in force to the new one.

    Parameters
    ----------
    step : int
        Number of the step, from 1.
    reason : str
        Why fewer replicas serve until a later step; empty where as many serve.
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
    """The limits of the search; None for what a file of another tool does not say."""

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
    """What a placement was made with and from.

    Parameters
    ----------
    devices : tuple of str
        Devices that the profiles were measured on.
    profiles_sha256 : str
        SHA-256 over every figure of the profiles; two plans from the same measurements have the same one.
    notes : tuple of str
        What the plan assumes, as sentences for the user.
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
        For each resource the tightest threshold of any type.
    gpu_types, demand : tuple
        The fleet and the demand that were planned; empty in files of other tools that lack them.
    rules : Rules or None
        The rules that the plan follows; None in files of other tools that lack them.
    interference : tuple of Interference
        What co-location costs on each device, as the plan took it; empty where it took no account of it.
    moves : tuple of Move or None
        The steps from the placement in force; None where there was none.
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
    interference: tuple[Interference, ...] = ()
    moves: tuple[Move, ...] | None = None

    def one_by_one(self) -> list[PlacedGpu]:
        """Return the GPUs with one entry for each."""
        return [gpu for entry in self.gpus for gpu in entry.one_by_one()]

    def grouped(self) -> list[PlacedGpu]:
        """Return the GPUs with one entry for those of the same geometry and content, ordered by the first of each."""
        found: dict[PlacedGpu, list[PlacedGpu]] = {}
        for gpu in self.gpus:
            found.setdefault(gpu.content, []).append(gpu)
        return [replace(content, id=same[0].id, count=sum(g.gpus for g in same)) for content, same in found.items()]

    def thresholds_of(self, gpu_type: str) -> CountedThresholds:
        """Return the thresholds of a type, or the common ones where the file has none for the type."""
        own = next((t.counted for t in self.gpu_types if t.type == gpu_type), None)
        return own or self.thresholds

    def to_frame(self) -> pd.DataFrame:
        """Return a table with a row for each model on a GPU; units are in the column names."""
        from planner.placement.frame import placement_frame

        return placement_frame(self)
