"""What other ways find on the same case: rules, a plain CP-SAT assignment, VPSolver's arc-flow where installed."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

from planner.columns import build
from planner.greedy import RULES, pack
from planner.plan import Status
from planner.problem import Problem
from planner.reduce import reduce


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Cost found and bound, as the table shows them."""

    found: int | None
    bound: int | None = None

    def __str__(self) -> str:
        """23* where it is proven."""
        if self.found is None:
            return "none"
        return f"{self.found}*" if self.found == self.bound else f"{self.found}"


def rules(problem: Problem) -> dict[str, int]:
    """Cost by each rule that serves everything."""
    model = build(reduce(problem).problem)
    found = {}
    for rule, name in enumerate(RULES):
        packing = pack(model, model.demand, model.replicas, rule=rule)
        if packing is not None:
            found[name] = sum(problem.gpus[g].cost * times for g, _, _, times in packing)
    return found


def assignment(problem: Problem, time_limit_s: float, at_most: int) -> Peer:
    """CP-SAT over named GPUs, one integer for each kind of replica and GPU."""
    from planner.exact import search

    found = search(reduce(problem).problem, upper_bound=at_most, time_limit_s=time_limit_s)
    if found.status is Status.INFEASIBLE or not found.gpus:
        return Peer(found=None)
    cost = sum(problem.gpus[g.gpu].cost * g.count for g in found.gpus)
    return Peer(found=cost, bound=found.lower_bound)


def arc_flow(problem: Problem) -> Peer | None:
    """VPSolver (pip install --no-deps pyvpsolver six); None where it is not installed or the case is not counted."""
    if importlib.util.find_spec("pyvpsolver") is None or len(problem.places) > 1:
        return None
    from pyvpsolver import VPSolver

    loads = [task.options[0].load for task in problem.tasks]
    instance = VPSolver.VBP(problem.places[0].capacity, loads, [task.demand for task in problem.tasks], verbose=False)
    _, solution = VPSolver.solve(instance, script="vpsolver_highs.sh")
    return Peer(found=int(solution[0]), bound=int(solution[0]))
