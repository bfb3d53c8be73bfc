"""Place every replica at the least cost: from the quick answers to the exact ones."""

from __future__ import annotations

import time
from collections.abc import Callable

from planner.exact import search
from planner.plan import Plan, Status, cost_of, violations
from planner.problem import Problem
from planner.reduce import reduce, unplaceable

Progress = Callable[[int | None, int, str], None]  # best objective so far, lower bound, what is going on


def solve(
    problem: Problem,
    *,
    time_limit_s: float = 60.0,
    seed: int = 0,
    workers: int = 1,
    progress: Progress | None = None,
    stop: Callable[[], bool] | None = None,
) -> Plan:
    """Serve every task at the least cost; infeasibility is a status, not an exception.

    Parameters
    ----------
    progress
        Called with the best objective so far (None before there is one), the lower bound and the stage in words.
    stop
        Asked now and then; once it says True, the best plan so far is returned with its gap.
    """
    too_big = unplaceable(problem)
    if too_big:
        return Plan(status=Status.INFEASIBLE, unplaced=too_big, bound_source="a task that fits nowhere")
    start = time.monotonic()
    reduction = reduce(problem)
    if progress:
        progress(None, 0, "exact search")
    found = search(
        reduction.problem,
        time_limit_s=time_limit_s - (time.monotonic() - start),
        seed=seed,
        workers=workers,
        stop=stop,
    )
    if found.status in (Status.INFEASIBLE, Status.UNKNOWN):
        return Plan(status=found.status, lower_bound=found.lower_bound, bound_source="exact search")
    gpus = reduction.expand(found.gpus)
    plan = Plan(
        status=found.status,
        gpus=gpus,
        objective=cost_of(gpus, problem),
        lower_bound=found.lower_bound,
        bound_source="exact search",
    )
    wrong = violations(plan, problem)
    assert not wrong, wrong  # a wrong plan is our bug, never the user's
    return plan
