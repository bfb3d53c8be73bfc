"""Test the bound by prices of resources, and the plans that fill GPU after GPU by them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from planner.problem.plan import Plan, Status, cost_of
from planner.problem.problem import GpuType, Layout, Option, Place, Problem, Task
from planner.problem.verify import violations
from planner.solver.column_generation.filling import Filled, Need, filler
from planner.solver.column_generation.resource_prices import resource_prices
from planner.solver.column_generation.restricted_master import assembled
from planner.solver.column_model import build
from planner.solver.limits import SearchLimits
from planner.solver.lower_bounds import dual_feasible_room
from planner.solver.presolve import reduce, unplaceable
from tests.builders.brute_force import least_cost
from tests.builders.knapsacks import Knapsack, tiny_knapsacks
from tests.builders.problems import TINY, counted_problems, rated_problems, too_many, whole_gpus


def bound_of(problem: Problem) -> int:
    """Return the bound of a problem in which every task fits somewhere."""
    prices = resource_prices(build(reduce(problem).problem), SearchLimits())
    assert prices is not None
    return prices.bound


@given(st.one_of(counted_problems(), rated_problems(), rated_problems(sliced=True), rated_problems(ruled=True)))
@TINY
def test_bound_is_never_above_the_least_cost(problem: Problem) -> None:
    """Brute force finds no plan that costs less than the bound, with limits, slices, rules and costs of replicas."""
    assume(not problem.together)  # such groups have no prices
    expected = None if too_many(problem) or unplaceable(problem) else least_cost(problem)
    if expected is not None:
        assert bound_of(problem) <= expected


def test_bound_adds_up_whole_replicas_over_types() -> None:
    """Three tasks of 7 units: one replica of 10 units at 60 % of a GPU of 1, or 7 at 25 % of one of 2.

    Each weighs 0.5 at least, on the larger type, so 1.5 in all, which is 2; in parts of replicas it were 0.42 each.
    """
    problem = Problem(
        resources=("share",),
        places=(Place(name="small", capacity=(100,)), Place(name="large", capacity=(100,))),
        gpus=(
            GpuType(name="small", layouts=(Layout(name="whole", places=(0,)),), cost=10),
            GpuType(name="large", layouts=(Layout(name="whole", places=(1,)),), cost=20),
        ),
        tasks=tuple(
            Task(
                name=f"m{i}",
                demand=7,
                options=(Option(place=0, load=(60,), supply=10), Option(place=1, load=(25,), supply=7)),
            )
            for i in range(3)
        ),
    )
    prices = resource_prices(build(reduce(problem).problem), SearchLimits())
    assert prices is not None
    assert prices.proven / prices.unit == pytest.approx(15, abs=0.01)


def test_loads_above_a_half_are_not_packed_in_parts() -> None:
    """Ten replicas of 51 % need ten GPUs: a dual feasible function counts each as a whole one."""
    assert bound_of(whole_gpus((100,), [(51,)], [10])) == 10


@given(tiny_knapsacks(ruled=False))
@TINY
def test_contents_that_fit_also_fit_under_dual_feasible_functions(sack: Knapsack) -> None:
    """Every content within the capacity is within the room of each function of it."""
    loads = [tuple(map(int, row)) for row in sack.load]
    model = build(whole_gpus(tuple(map(int, sack.capacity)), loads))
    load, room = dual_feasible_room(model, 0)
    for bits in range(2 ** min(len(loads), 8)):
        counts = np.array([bits >> i & 1 for i in range(len(loads))], dtype=np.int64)
        if (counts @ model.items[0].load <= model.items[0].capacity).all():
            assert (counts @ load <= room).all()


def filled(problem: Problem, noise: float = 0.0) -> tuple[Problem, Plan] | None:
    """Fill GPUs for a reduced problem, once more after a correction; return the problem and its second plan."""
    smaller = reduce(problem).problem
    model = build(smaller)
    prices = resource_prices(model, SearchLimits())
    assert prices is not None
    fill = filler(model, prices, Random(0))
    found: list[Filled] | None = None
    for _ in range(2):
        found = fill.fill(Need(left=model.demand, replicas=model.replicas), noise, SearchLimits())
        if found is None:
            return None
        fill.correct(found)
    chosen = sum((Counter({f.pattern: f.times}) for f in found or []), Counter[object]())
    gpus = assembled(model, chosen, {})  # type: ignore[arg-type]
    return smaller, Plan(status=Status.FEASIBLE, gpus=gpus, objective=cost_of(gpus, smaller))


@given(rated_problems(), st.sampled_from([0.0, 0.3]))
@TINY
def test_plan_by_prices_is_right(problem: Problem, noise: float) -> None:
    """It serves everything within capacities and limits, and costs no less than brute force finds."""
    if too_many(problem) or unplaceable(problem):
        return
    found, expected = filled(problem, noise), least_cost(problem)
    if found is not None:
        smaller, plan = found
        assert not violations(plan, smaller)
        assert expected is not None
        assert plan.objective is not None
        assert plan.objective >= expected


def test_what_a_full_type_cannot_serve_goes_to_the_others() -> None:
    """The cheap type has one GPU: it takes two of the four copies, and the dear one the other two."""
    problem = Problem(
        resources=("share",),
        places=(Place(name="cheap", capacity=(10,)), Place(name="dear", capacity=(10,))),
        gpus=(
            GpuType(name="cheap", layouts=(Layout(name="whole", places=(0,)),), cost=1, limit=1),
            GpuType(name="dear", layouts=(Layout(name="whole", places=(1,)),), cost=5),
        ),
        tasks=(Task(name="m", demand=4, options=(Option(place=0, load=(5,)), Option(place=1, load=(5,)))),),
    )
    found = filled(problem)
    assert found is not None
    assert found[1].objective == 6
    assert not violations(found[1], found[0])


def test_replicas_that_take_nothing_scarce_are_placed_too() -> None:
    """Memory is free at the prices, as shares are scarce; a model that takes only memory is placed all the same."""
    found = filled(whole_gpus((1000, 10), [(1, 6), (1, 5), (40, 0)]))
    assert found is not None
    assert found[1].objective == 2


def test_problem_without_gpus_has_no_prices() -> None:
    """Where every type has a count of 0 there are no items: the bound failed on their empty list."""
    asked = whole_gpus((10,), [(4,)])
    none = replace(asked, gpus=tuple(replace(gpu, limit=0) for gpu in asked.gpus))
    assert resource_prices(build(none), SearchLimits()) is None
