"""What was asked for when a placement was made, read back from it.                                          [pure]"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analyzer.errors import UsageError
from analyzer.formats.units import MIB
from planner.formulation.candidates import Mode
from planner.formulation.objective import Objective
from planner.formulation.rules import Rules
from planner.inputs.demand import Requirement, Spread
from planner.inputs.fleet import FleetType, Scaling, Thresholds
from planner.placement.document import Placement


def demand_of(placement: Placement) -> tuple[Requirement, ...]:
    """The demand.

    Raises
    ------
    UsageError
        If the file does not hold it, as those of other tools may not.
    """
    return tuple(_requirement(entry) for entry in _part(placement, "demand"))


def fleet_of(placement: Placement) -> tuple[FleetType, ...]:
    """The GPU types.

    Raises
    ------
    UsageError
        As `demand_of`.
    """
    return tuple(_fleet_type(entry) for entry in _part(placement, "gpu_types"))


def rules_of(placement: Placement) -> Rules:
    """The rules.

    Raises
    ------
    UsageError
        As `demand_of`.
    """
    rules = _part(placement, "rules")
    return Rules(
        mode=Mode(placement["mode"]),
        objective=Objective(placement["objective"].get("kind", "gpus")),
        keep_throughput=rules.get("keep_throughput", 1.0),
        proportional=rules.get("proportional", False),
        spare=rules.get("spare", 0),
        spare_of=Spread(rules.get("spare_of", "gpu")),
        batch=rules.get("batch"),
        concurrency=rules.get("concurrency"),
    )


def _part(placement: Placement, key: str) -> Any:
    found = placement.get(key)
    if not found:
        raise UsageError(f"the placement does not say its {key.replace('_', ' ')}; make it again with plan solve")
    return found


def _requirement(entry: Mapping[str, Any]) -> Requirement:
    latency_ms, spread = entry.get("latency_p99_ms"), entry.get("spread")
    return Requirement(
        model=entry["model"],
        rate_infer_per_s=entry.get("rate_infer_per_s"),
        latency_p99_s=None if latency_ms is None else latency_ms / 1000,
        replicas=entry.get("replicas"),
        spread=Spread(spread) if spread else None,
        alone=entry.get("alone", False),
        apart=tuple(entry.get("apart", ())),
        together=tuple(entry.get("together", ())),
        variants=tuple(entry.get("variants", ())),
        growth=entry.get("growth", 1.0),
        overhead_bytes=round(entry.get("overhead_mib", 0) * MIB),
    )


def _fleet_type(entry: Mapping[str, Any]) -> FleetType:
    scaling, thresholds = entry.get("scaling"), entry.get("thresholds", {})
    return FleetType(
        type=entry["type"],
        memory_bytes=round(entry["memory_mib"] * MIB),
        reserved_bytes=round(entry.get("reserved_mib", 0) * MIB),
        model_overhead_bytes=round(entry.get("model_overhead_mib", 0) * MIB),
        limit=entry.get("limit"),
        cost_per_hour=entry.get("cost_per_hour"),
        power_w=entry.get("power_w"),
        idle_power_w=entry.get("idle_power_w"),
        gpus_per_node=entry.get("gpus_per_node", 1),
        devices=tuple(entry.get("devices", ())),
        scaling=Scaling(**scaling) if scaling else None,
        thresholds=Thresholds(
            memory=_share(thresholds, "memory_pct"),
            utilization=_share(thresholds, "utilization_pct"),
            memory_utilization=_share(thresholds, "memory_utilization_pct"),
        ),
        mig=entry.get("mig"),
        slice_memory=tuple((name, round(mib * MIB)) for name, mib in entry.get("slice_memory_mib", {}).items()),
    )


def _share(thresholds: Mapping[str, Any], key: str) -> float:
    found = thresholds.get(key)
    return 1.0 if found is None else found / 100
