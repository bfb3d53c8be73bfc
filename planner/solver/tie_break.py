"""Of the plans that cost the same, one with the fewest GPUs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from planner.problem.plan import Plan, Status, cost_of
from planner.problem.problem import Problem
from planner.problem.verify import violations

Solve = Callable[[Problem], Plan]


def fewest_gpus(plan: Plan, problem: Problem, solve: Solve) -> Plan:
    """Solve once more with costs so fine that a GPU less decides between plans of equal cost.

    Every cost is multiplied by more than the GPUs of the plan, and one is added for each GPU, so that a finer optimum
    never costs more. It is taken only if it is proven, as the plan itself must be: the same question then gives the
    same plan.

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
