"""The state of a search: the best plan and the best lower bound so far, and the limits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import gcd

from planner.problem.node_assignment import assign_nodes
from planner.problem.plan import GpuGroup, cost_of
from planner.problem.problem import Problem
from planner.solver.limits import SearchLimits

OnProgress = Callable[[int | None, int, str], None]  # best objective so far, lower bound, stage of the search in words


@dataclass(slots=True)
class SearchState:
    """What is known so far about one (reduced) problem."""

    problem: Problem
    limits: SearchLimits
    on_progress: OnProgress | None = None
    gpus: tuple[GpuGroup, ...] = ()
    cost: int | None = None
    bound: int = 0
    source: str = "none"
    infeasible: bool = False
    on_offer: Callable[[tuple[GpuGroup, ...]], None] | None = None  # called with every plan that is found

    @property
    def step(self) -> int:
        """Every cost is a multiple of this."""
        gpus = [gpu.cost for gpu in self.problem.gpus]
        return gcd(*gpus, *(o.cost for task in self.problem.tasks for o in task.options)) or 1

    @property
    def done(self) -> bool:
        """Whether the plan is proven to cost the least, or the problem to be infeasible."""
        return self.infeasible or (self.cost is not None and self.cost <= self.bound)

    def say(self, stage: str) -> None:
        """Report progress."""
        if self.on_progress:
            self.on_progress(self.cost, self.bound, stage)

    def offer(self, gpus: tuple[GpuGroup, ...]) -> None:
        """Keep a plan if it is cheaper and its GPUs can be assigned to nodes."""
        cost = cost_of(gpus, self.problem)
        if self.on_offer:
            self.on_offer(gpus)
        if self.cost is not None and cost >= self.cost:
            return
        placed = assign_nodes(self.problem, gpus)
        if placed is not None:
            self.gpus, self.cost = placed, cost

    def prove(self, bound: int, source: str) -> None:
        """Keep a lower bound if it is higher; every cost is a multiple of `step`, so it is rounded up to one."""
        bound = -(-bound // self.step) * self.step
        if bound > self.bound:
            self.bound, self.source = bound, source
