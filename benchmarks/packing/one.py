"""The solver on one case: `python -m benchmarks.packing.one NAME [SECONDS]` prints one line of JSON."""

from __future__ import annotations

import json
import sys

from benchmarks.packing.instances import cases, problem_of
from planner.solver.limits import SearchLimits
from planner.solver.solve import solve


def main(name: str, time_limit_s: float) -> None:
    """Solve the case, and print value, lower bound and what proves the bound."""
    case = next(case for case in cases() if case.name == name)
    problem, _ = problem_of(case)
    plan = solve(problem, SearchLimits(seconds=time_limit_s))
    print(json.dumps({"value": plan.objective, "lower_bound": plan.lower_bound, "bound_source": plan.bound_source}))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 60.0)
