"""What a plan costs: GPUs, money or power, in measured and in solver units.                                 [pure]"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum

from analyzer.errors import UsageError
from planner.formulation.candidates import Candidate
from planner.inputs.fleet import FleetType

_FINE = 10**4  # costs are kept to a ten-thousandth of their unit


class Objective(StrEnum):
    """What a plan minimises."""

    GPUS = "gpus"
    COST = "cost"
    ENERGY = "energy"

    @property
    def unit(self) -> str:
        """Unit of its value."""
        return {"gpus": "GPUs", "cost": "per hour", "energy": "W"}[self.value]


def gpu_cost(fleet_type: FleetType, objective: Objective) -> float:
    """Return what a GPU in use costs without its replicas, in the objective's unit.

    For energy it is the idle power where the fleet gives it (replicas then add theirs), else the full power.

    Raises
    ------
    UsageError
        If the fleet gives no price or power for the type.
    """
    if objective is Objective.GPUS:
        return 1.0
    if objective is Objective.COST:
        return _given(fleet_type.cost_per_hour, fleet_type, "cost_per_hour", objective)
    if fleet_type.idle_power_w is not None:
        return fleet_type.idle_power_w
    return _given(fleet_type.power_w, fleet_type, "power_w (or idle_power_w)", objective)


def replica_cost(candidate: Candidate, fleet_type: FleetType, objective: Objective) -> float:
    """Return what a replica adds: for energy with a known idle power, its measured power above that; else 0.

    Raises
    ------
    UsageError
        If its power was not measured.
    """
    if objective is not Objective.ENERGY or fleet_type.idle_power_w is None:
        return 0.0
    if candidate.point.power_w is None:
        raise UsageError(
            f"model '{candidate.model}' has no measured power on '{candidate.device}' (power_w is empty);"
            f" leave idle_power_w of {fleet_type.type} out to charge its full power_w"
        )
    return max(0.0, candidate.point.power_w - fleet_type.idle_power_w) * candidate.charged


def cost_divisor(costs: Sequence[float]) -> int:
    """Return the costs' greatest common divisor in ten-thousandths: one unit of the solver's objective."""
    return math.gcd(*(_fine(c) for c in costs)) or 1


def in_units(cost: float, divisor: int) -> int:
    """Turn a cost into the solver's units."""
    return _fine(cost) // divisor


def from_units(value: int, divisor: int) -> float:
    """Turn a solver's value into the objective's unit."""
    return value * divisor / _FINE


def _fine(cost: float) -> int:
    return round(cost * _FINE)


def _given(figure: float | None, fleet_type: FleetType, key: str, objective: Objective) -> float:
    if figure is None:
        raise UsageError(
            f"GPU type {fleet_type.type} has no {key}; `objective='{objective}'` needs it in the fleet file"
        )
    return figure
