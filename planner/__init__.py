"""The planner's Python API: place model replicas on the fewest GPUs, and prove that fewer cannot serve them.

`plan` makes a placement from profiles, `verify` measures whether it holds, `explain` says why it needs its GPUs,
`growth` says how many GPUs a growing demand needs, `difference` compares two placements, and `export_plan` writes one
in the format of a system that deploys it. `read_profiles`, `read_aiperf`, `read_demand`, `read_fleet`,
`read_placement` and `read_verification` read the files that the command line reads; `write_placement` and
`write_verification` write them. `solve` is the solver itself, whose problem and plan are in integers. A module is
loaded when one of its names is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from planner.explanation.explain import Explanation, explain
    from planner.explanation.growth import GrowthPoint, growth
    from planner.export.export import export_plan
    from planner.export.files import Export
    from planner.inputs.aiperf import read_aiperf
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
    from planner.verification.document import Verdict, Verification
    from planner.verification.file import read_verification, write_verification
    from planner.verification.verify import verify

__all__ = [
    "Difference",
    "Explanation",
    "Export",
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
    "Verdict",
    "Verification",
    "difference",
    "explain",
    "export_plan",
    "growth",
    "plan",
    "read_aiperf",
    "read_demand",
    "read_fleet",
    "read_placement",
    "read_profiles",
    "read_verification",
    "solve",
    "verify",
    "write_placement",
    "write_verification",
]

_MODULES = {
    "planner.explanation.explain": ("Explanation", "explain"),
    "planner.explanation.growth": ("GrowthPoint", "growth"),
    "planner.export.export": ("export_plan",),
    "planner.export.files": ("Export",),
    "planner.inputs.aiperf": ("read_aiperf",),
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
    "planner.verification.document": ("Verdict", "Verification"),
    "planner.verification.file": ("read_verification", "write_verification"),
    "planner.verification.verify": ("verify",),
}


def __getattr__(name: str) -> Any:
    """Load the module of a name when the name is first used, so that `import planner` is fast (PEP 562)."""
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module 'planner' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
