"""Test that a plan has no more copies than are asked for."""

from __future__ import annotations

from dataclasses import replace

from planner.problem.plan import GpuGroup, Replicas
from planner.solver.surplus import without_surplus_copies
from tests.builders.problems import whole_gpus


def test_copies_beyond_the_demand_are_left_out() -> None:
    """Two GPUs with two copies each, where three are asked for: the exact search left the fourth in the plan."""
    problem = whole_gpus((10,), [(4,)], [3])
    exact = replace(problem, tasks=tuple(replace(task, exact=True) for task in problem.tasks))
    two = GpuGroup(gpu=0, layout=0, contents=((Replicas(task=0, option=0, count=2),),), count=2)
    found = without_surplus_copies((two,), exact)
    assert sorted(r.count for group in found for r in group.contents[0]) == [1, 2]
    assert without_surplus_copies((two,), problem) == (two,)  # more copies may be for a loss, or serve a rate
