"""Test what presolve makes of a problem."""

from __future__ import annotations

from planner.problem.problem import Option, Problem, Task
from planner.solver.presolve import reduce
from tests.builders.problems import whole_gpus


def test_supply_above_the_demand_is_lowered_to_it() -> None:
    """A replica that could serve 100 serves a demand of 30 once: in an LP, 0.3 of it must not."""
    base = whole_gpus((10,), [(5,)])
    options = (Option(place=0, load=(5,), supply=100), Option(place=0, load=(2,), supply=20))
    problem = Problem(
        resources=base.resources,
        places=base.places,
        gpus=base.gpus,
        tasks=(Task(name="a", options=options, demand=30), Task(name="b", options=options, demand=0, min_replicas=1)),
    )
    rated, counted = reduce(problem).problem.tasks
    assert [o.supply for o in rated.options] == [30, 20]
    assert [o.supply for o in counted.options] == [20]  # without a demand the smaller load is enough
