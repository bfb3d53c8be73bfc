"""Decide which replicas go on which GPU, on the fewest GPUs, and prove it.

`plan` takes what was measured and gives a placement, `explain` says why it is as it is, `growth` how the fleet grows
with the demand, and `difference` what changed between two placements. `read_profiles`, `read_demand`, `read_fleet` and
`read_placement` read the files that the command line reads, and `write_placement` writes what it writes. `solve` is
the solver itself, in integers. The modules behind them are loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from planner.explanation.explain import Explanation, explain
    from planner.explanation.growth import GrowthPoint, growth
    from planner.inputs.demand import Requirement, Spread
    from planner.inputs.demand_file import read_demand
    from planner.inputs.fleet import FleetType, Scaling, Thresholds
    from planner.inputs.fleet_file import read_fleet
    from planner.inputs.profile_source import read_profiles
    from planner.inputs.profiles import OperatingPoint, Profile
    from planner.placement.difference import Difference, difference
    from planner.placement.document import Placement
    from planner.placement.file import read_placement, write_placement
    from planner.planning import NoPlanError, PlanResult, plan
    from planner.problem.plan import Plan, Status
    from planner.problem.problem import Problem
    from planner.solver.limits import SearchLimits
    from planner.solver.solve import solve

__all__ = [
    "Difference",
    "Explanation",
    "FleetType",
    "GrowthPoint",
    "NoPlanError",
    "OperatingPoint",
    "Placement",
    "Plan",
    "PlanResult",
    "Problem",
    "Profile",
    "Requirement",
    "Scaling",
    "SearchLimits",
    "Spread",
    "Status",
    "Thresholds",
    "difference",
    "explain",
    "growth",
    "plan",
    "read_demand",
    "read_fleet",
    "read_placement",
    "read_profiles",
    "solve",
    "write_placement",
]

_MODULES = {
    "planner.explanation.explain": ("Explanation", "explain"),
    "planner.explanation.growth": ("GrowthPoint", "growth"),
    "planner.inputs.demand": ("Requirement", "Spread"),
    "planner.inputs.demand_file": ("read_demand",),
    "planner.inputs.fleet": ("FleetType", "Scaling", "Thresholds"),
    "planner.inputs.fleet_file": ("read_fleet",),
    "planner.inputs.profile_source": ("read_profiles",),
    "planner.inputs.profiles": ("OperatingPoint", "Profile"),
    "planner.placement.difference": ("Difference", "difference"),
    "planner.placement.document": ("Placement",),
    "planner.placement.file": ("read_placement", "write_placement"),
    "planner.planning": ("NoPlanError", "PlanResult", "plan"),
    "planner.problem.plan": ("Plan", "Status"),
    "planner.problem.problem": ("Problem",),
    "planner.solver.limits": ("SearchLimits",),
    "planner.solver.solve": ("solve",),
}


def __getattr__(name: str) -> Any:
    """Load a name's module when the name is first used: `import planner` takes no time (PEP 562)."""
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module 'planner' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
