"""Test that, of plans with the same cost, one with the fewest GPUs is chosen."""

from __future__ import annotations

import pytest

from planner.problem.plan import GpuGroup, Plan, Replicas, Status
from planner.problem.problem import GpuType, Layout, Option, Place, Problem, Task
from planner.solver.limits import SearchLimits
from planner.solver.solve import solve
from planner.solver.tie_break import fewest_gpus

SMALL = (Replicas(task=0, option=0),)


def problem(large_cost: int) -> Problem:
    """Make a problem with two replicas: one fits on a small GPU (cost 1), both on a large one."""
    return Problem(
        resources=("memory",),
        places=(Place(name="small", capacity=(5,)), Place(name="large", capacity=(10,))),
        gpus=(
            GpuType(name="small", layouts=(Layout(name="whole", places=(0,)),), cost=1),
            GpuType(name="large", layouts=(Layout(name="whole", places=(1,)),), cost=large_cost),
        ),
        tasks=(Task(name="a", options=(Option(place=0, load=(5,)), Option(place=1, load=(5,))), demand=2),),
    )


@pytest.mark.parametrize(("large_cost", "gpus"), [(2, 1), (3, 2)])
def test_one_large_gpu_replaces_two_small_ones_only_at_the_same_cost(large_cost: int, gpus: int) -> None:
    """A large GPU at cost 2 replaces two small ones at 1 each; at cost 3 it does not."""
    plan = Plan(
        status=Status.OPTIMAL,
        gpus=(GpuGroup(gpu=0, layout=0, contents=(SMALL,), count=2),),
        objective=2,
        lower_bound=2,
    )
    found = fewest_gpus(plan, problem(large_cost), lambda fine: solve(fine, SearchLimits(seconds=10)))
    assert (found.n_gpus, found.objective, found.lower_bound) == (gpus, 2, 2)
