"""Of the plans that cost the same, one with the fewest GPUs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from planner.problem.plan import Plan, Status, cost_of
from planner.problem.problem import Problem
from planner.problem.verify import violations

Solve = Callable[[Problem], Plan]


def fewest_gpus(plan: Plan, problem: Problem, solve: Solve) -> Plan:
    """Solve again with the number of GPUs as a second objective below the cost.

    Every cost is multiplied by one more than the number of GPUs of the plan, and each GPU costs one unit more, so that
    a plan with fewer GPUs is better only at the same cost. It is used only if it is proven to be the best, as the plan
    itself must be: the same problem then gives the same plan.

    Parameters
    ----------
    solve : callable
        The search, with its time limit.
    """
    if plan.status is not Status.OPTIMAL or len({gpu.cost for gpu in problem.gpus}) < 2:
        return plan
    scale = plan.n_gpus + 1
    fine = replace(
        problem,
        gpus=tuple(replace(gpu, cost=gpu.cost * scale + 1) for gpu in problem.gpus),
        tasks=tuple(
            replace(task, options=tuple(replace(o, cost=o.cost * scale) for o in task.options))
            for task in problem.tasks
        ),
    )
    found = solve(fine)
    if found.status is not Status.OPTIMAL or found.n_gpus >= plan.n_gpus:
        return plan
    fewer = replace(plan, gpus=found.gpus)
    assert cost_of(fewer.gpus, problem) == plan.objective
    assert not violations(fewer, problem)  # a wrong plan is our bug, never the user's
    return fewer
