"""Test the search by patterns (generation, dives, neighbourhoods, restricted master) without the exact search."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.problem.plan import Plan, Status, cost_of
from planner.problem.problem import GpuType, Layout, Option, Problem
from planner.problem.verify import violations
from planner.solver.column_generation.search import _singles, search_patterns
from planner.solver.column_model import build
from planner.solver.limits import SearchLimits
from planner.solver.presolve import reduce, unplaceable
from planner.solver.search_state import SearchState
from planner.solver.solve import _rules_across_slices
from tests.builders.brute_force import least_cost
from tests.builders.problems import (
    TINY,
    counted_problems,
    hard_problem,
    mixed_fleet,
    rated_problems,
    together_problems,
    too_many,
    whole_gpus,
    with_tolerances,
)


def searched(problem: Problem, seconds: float = 10) -> SearchState:
    """Search by patterns without a first plan."""
    smaller = reduce(problem).problem
    state = SearchState(problem=smaller, limits=SearchLimits(seconds=seconds))
    search_patterns(state, build(smaller, whole_layouts=_rules_across_slices(smaller)))
    return state


@given(st.one_of(rated_problems(), rated_problems(sliced=True)))
@TINY
def test_bound_and_plan_enclose_the_optimum(problem: Problem) -> None:
    """The bound is never above the least cost, the plan never below it."""
    if too_many(problem) or unplaceable(problem):
        return
    state, expected = searched(problem), least_cost(problem)
    if expected is None:
        assert state.cost is None
    else:
        assert state.bound <= expected
        assert state.cost is None or state.cost >= expected


@given(st.one_of(together_problems(), together_problems(sliced=True)))
@TINY
def test_bound_and_plan_enclose_the_optimum_of_groups_that_are_together(problem: Problem) -> None:
    """So it is with groups that are together: by bundles of replicas, on whole GPUs and across the slices of one."""
    if too_many(problem) or unplaceable(problem):
        return
    state, expected = searched(problem), least_cost(problem)
    if expected is None:
        assert state.cost is None
    else:
        assert state.bound <= expected
        assert state.cost is None or state.cost >= expected


@given(
    with_tolerances(
        st.one_of(
            counted_problems(),
            rated_problems(),
            rated_problems(sliced=True),
            rated_problems(sliced=True, ruled=True),
            together_problems(),
            together_problems(sliced=True),
        )
    )
)
@TINY
def test_bound_and_plan_enclose_the_optimum_with_tolerances(problem: Problem) -> None:
    """Without the exact search, too, no plan breaks a tolerance or holds what failed, and the bound is one."""
    if too_many(problem) or unplaceable(problem):
        return
    reduction = reduce(problem)
    state = searched(problem)
    expected = least_cost(problem)
    if expected is None:
        assert state.cost is None
        return
    assert state.bound <= expected
    if state.cost is not None:
        gpus = reduction.expand(state.gpus)
        plan = Plan(status=Status.FEASIBLE, gpus=gpus, objective=cost_of(gpus, problem))
        assert violations(plan, problem) == ()


def test_rounding_rows_close_the_gap_of_rates() -> None:
    """Four models need 3 units at 2 per replica and GPU: 1.5 GPUs each in the LP, rounded up to 2, 8 in all."""
    base = whole_gpus((10,), [(6,)] * 4, [3] * 4)
    tasks = tuple(
        type(task)(name=task.name, demand=3, options=(type(task.options[0])(place=0, load=(6,), supply=2),))
        for task in base.tasks
    )
    state = searched(Problem(resources=base.resources, places=base.places, gpus=base.gpus, tasks=tasks))
    assert (state.bound, state.cost) == (8, 8)


def test_thousand_models_are_proven() -> None:
    """500 models of 51 and 500 of 49 fill 500 GPUs in pairs; bound and plan are both 500."""
    state = searched(whole_gpus((100, 100), [(51, 30), (49, 60)], [500, 500]))
    assert (state.bound, state.cost) == (500, 500)


@pytest.mark.parametrize(("n_tasks", "ruled", "gap"), [(200, False, 0.02), (200, True, 0.05), (600, False, 0.02)])
@pytest.mark.parametrize("seed", [1, 2])
def test_mixed_fleets_are_near_their_bound_in_seconds(n_tasks: int, ruled: bool, gap: float, seed: int) -> None:
    """Column generation over patterns takes minutes where GPUs hold a dozen replicas; prices of resources do not."""
    state = searched(mixed_fleet(n_tasks, seed, ruled=ruled), seconds=5)
    assert state.cost is not None
    assert state.cost <= state.bound * (1 + gap)


def test_type_of_which_there_is_none_is_passed_over() -> None:
    """The places of a type with a count of 0 have no items; plans by prices looked for them."""
    asked = hard_problem(30)
    idle = GpuType(name="idle", layouts=(Layout(name="whole", places=(1,)),), limit=0)
    places = (*asked.places, replace(asked.places[0], name="idle"))
    state = searched(replace(asked, places=places, gpus=(*asked.gpus, idle)), seconds=3)
    assert state.cost is not None


def test_first_columns_of_many_items_are_those_that_serve_most() -> None:
    """Of 6,000 ways to run two tasks, one column for each of them: five copies that serve 10, and two that serve 6.

    Every item had a column once, and the LPs of a thousand tasks with tenths of their throughput took long.
    """
    base = whole_gpus((10,), [(1,), (1,)])
    ways = [
        tuple(Option(place=0, load=(load,), supply=supply) for _ in range(3000)) for load, supply in ((2, 1), (5, 2))
    ]
    best = (Option(place=0, load=(2,), supply=2), Option(place=0, load=(5,), supply=3))
    tasks = tuple(
        replace(task, options=(*own, one), demand=12) for task, own, one in zip(base.tasks, ways, best, strict=True)
    )
    model = build(replace(base, tasks=tasks))
    assert [(column.content, *model.served(column)[0].values()) for column in _singles(model)] == [
        (((3000, 5),), 10),
        (((6001, 2),), 6),
    ]
