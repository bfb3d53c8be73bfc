"""Run a CP-SAT model within the limits of a search."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from planner.solver.limits import SearchLimits, run_interruptibly

if TYPE_CHECKING:
    from ortools.sat.python import cp_model

_LEAST_S = 0.01


def run_model(model: cp_model.CpModel, limits: SearchLimits) -> tuple[cp_model.CpSolver, Any]:
    """Solve a model; return the solver, which has the values, and the status.

    CP-SAT's own handling of Ctrl-C is off: it would end only this model, and the search would go on with the next one.
    """
    from ortools.sat.python import cp_model

    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = max(_LEAST_S, limits.left_s)
    solver.parameters.random_seed = limits.seed
    solver.parameters.num_workers = limits.workers
    solver.parameters.catch_sigint_signal = False
    return solver, run_interruptibly(lambda: solver.solve(model), solver.stop_search, limits)
