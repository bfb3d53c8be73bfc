"""Test that a plan has no replicas that its demands are met without."""

from __future__ import annotations

from dataclasses import replace

from planner.problem.co_location import Spare, Together
from planner.problem.plan import GpuGroup, Replicas
from planner.problem.problem import Option
from planner.solver.surplus import without_surplus
from tests.builders.problems import whole_gpus


def group(*contents: Replicas, count: int = 1) -> GpuGroup:
    """Return GPUs that hold these replicas each."""
    return GpuGroup(gpu=0, layout=0, contents=(contents,), count=count)


def test_copies_beyond_the_demand_are_left_out() -> None:
    """Two GPUs with two copies each, where three are asked for: the exact search left the fourth in the plan."""
    problem = whole_gpus((10,), [(4,)], [3])
    for exact in (False, True):
        asked = replace(problem, tasks=tuple(replace(task, exact=exact) for task in problem.tasks))
        found = without_surplus((group(Replicas(task=0, option=0, count=2), count=2),), asked)
        assert sorted(r.count for one in found for r in one.contents[0]) == [1, 2]


def test_gpus_that_stay_alike_stay_a_group() -> None:
    """One copy less than 5,000 GPUs with two copies each hold: 4,999 of them are a group, and one is another."""
    held = group(Replicas(task=0, option=0, count=2), count=5000)
    found = without_surplus((held,), whole_gpus((10,), [(4,)], [9999]))
    assert [(one.count, one.contents[0][0].count) for one in found] == [(4999, 2), (1, 1)]


def test_replicas_that_a_rate_does_not_need_are_left_out() -> None:
    """73/s of replicas of 108/s, 60/s and 18/s: the smallest go first, so that one replica is left."""
    problem = whole_gpus((10,), [(1,)], [73])
    options = tuple(Option(place=0, load=(1,), supply=supply) for supply in (18, 108, 60))
    problem = replace(problem, tasks=(replace(problem.tasks[0], options=options),))
    held = tuple(Replicas(task=0, option=k) for k in range(3))
    assert without_surplus((group(held[0], held[2]), group(held[1])), problem) == (group(held[1]),)
    least_two = replace(problem, tasks=(replace(problem.tasks[0], min_replicas=2),))
    assert without_surplus((group(held[0], held[2]), group(held[1])), least_two) == (group(held[1]), group(held[2]))


def test_replicas_that_others_may_need_stay() -> None:
    """A second replica beside one that it must be together with, or for the loss of a GPU, is not taken out."""
    problem = whole_gpus((10,), [(4,), (1,)], [1, 2])
    held = (group(Replicas(task=0, option=0), Replicas(task=1, option=0), count=2),)
    for rule in (Together(tasks=(0, 1)), Spare(tasks=(0,), lost=1)):
        assert without_surplus(held, replace(problem, rules=(rule,))) == held
