"""Test tolerances and failed contents: against brute force on tiny problems, and in each part of the solver."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from planner.problem.co_location import ContentPart, KnownToHold, Overloaded, Spare, Together
from planner.problem.plan import Status, cost_of
from planner.problem.problem import GpuType, Layout, Option, Place, Problem, Task
from planner.problem.verify import violations
from planner.solver.bundles import bundles
from planner.solver.column_generation.search import search_patterns
from planner.solver.column_model import build
from planner.solver.cp_sat.model import search
from planner.solver.greedy import RULES, pack
from planner.solver.limits import SearchLimits
from planner.solver.presolve import reduce
from planner.solver.search_state import SearchState
from planner.solver.solve import solve
from tests.builders.problems import (
    TINY,
    counted_problems,
    rated_problems,
    slowed,
    together_problems,
    too_many,
    whole_gpus,
    with_tolerances,
)
from tests.planner.solver.test_solve import check_against_brute_force


@given(with_tolerances(st.one_of(counted_problems(), rated_problems())))
@TINY
def test_tolerances_and_failed_contents_match_brute_force(problem: Problem) -> None:
    """Plan, cost and bound are those of brute force, on one GPU type and with choices, rates and several types."""
    if not too_many(problem):
        check_against_brute_force(problem)


@given(with_tolerances(rated_problems(sliced=True)))
@TINY
def test_tolerances_and_failed_contents_of_slices_match_brute_force(problem: Problem) -> None:
    """A replica tolerates the load of its own slice, whatever the GPU's other slices hold."""
    if not too_many(problem):
        check_against_brute_force(problem)


@given(with_tolerances(st.one_of(rated_problems(ruled=True), rated_problems(ruled=True, sliced=True))))
@TINY
def test_tolerances_and_failed_contents_beside_other_rules_match_brute_force(problem: Problem) -> None:
    """They are those of brute force with rules of every other kind, also where patterns are of whole cut GPUs."""
    if not too_many(problem):
        check_against_brute_force(problem)


@given(with_tolerances(st.one_of(together_problems(), together_problems(sliced=True))))
@TINY
def test_tolerances_and_failed_contents_of_groups_match_brute_force(problem: Problem) -> None:
    """A bundle of tasks that are together tolerates what the least tolerant of its replicas does."""
    if not too_many(problem):
        check_against_brute_force(problem)


@given(with_tolerances(st.one_of(rated_problems(spare=True), rated_problems(spare=True, sliced=True))))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
def test_tolerances_and_failed_contents_with_a_spare_match_brute_force(problem: Problem) -> None:
    """What is left after the loss of any GPUs serves every demand, at the least cost."""
    lost = max(rule.lost for rule in problem.rules if isinstance(rule, Spare))
    assume(sum(max(t.demand, t.min_replicas) for t in problem.tasks) * (1 + lost) <= 6)
    check_against_brute_force(problem)


def test_patterns_and_the_exact_search_agree() -> None:
    """Sixteen models whose tolerances bind: both searches prove the same cost, one more than without tolerances."""
    problem = slowed(16, 5)
    exact = search(problem, limits=SearchLimits(seconds=60))
    found = solve(problem, SearchLimits(seconds=60))
    assert violations(found, problem) == ()
    assert (exact.status, found.status) == (Status.OPTIMAL, Status.OPTIMAL)
    assert exact.lower_bound == found.objective


def test_patterns_and_the_exact_search_agree_on_contents_that_are_known_to_hold() -> None:
    """Of models that leave no room for any other, five pairs are known to hold: 11 GPUs for 16 models, by both."""
    base = slowed(16, 5)
    tasks = tuple(
        replace(t, options=tuple(replace(o, tolerance=(None, o.load[1])) for o in t.options)) for t in base.tasks
    )
    light = sorted(range(16), key=lambda t: base.tasks[t].options[0].load[0])
    pairs = [light[i : i + 2] for i in range(0, 10, 2)]
    known = tuple(KnownToHold(parts=tuple(ContentPart(task=t, options=(0,)) for t in pair)) for pair in pairs)
    problem = replace(base, tasks=tasks, rules=known)
    exact = search(problem, limits=SearchLimits(seconds=60))
    assert (exact.status, exact.lower_bound) == (Status.OPTIMAL, 11)
    reduced = reduce(problem).problem
    state = SearchState(problem=reduced, limits=SearchLimits(seconds=20))
    search_patterns(state, build(reduced))
    assert (state.bound, state.cost) == (11, 11)
    model = build(reduced)
    plans = [pack(model, model.demand, model.replicas, SearchLimits(), rule=rule) for rule in range(len(RULES))]
    assert all(plan is not None and cost_of(plan, reduced) == 11 for plan in plans)


def test_hundred_models_that_tolerate_little_are_near_their_bound() -> None:
    """Their tolerances bind, and differ: the plan is at most one GPU above the bound."""
    problem = slowed(100, 2)
    plan = solve(problem, SearchLimits(seconds=20))
    assert violations(plan, problem) == ()
    assert plan.objective is not None
    assert plan.objective - plan.lower_bound <= 1


def test_greedy_plans_keep_tolerances_and_failed_contents() -> None:
    """Each of the six rules fills GPUs that all their replicas tolerate, in plain Python and compiled."""
    for n_tasks in (20, 60):
        problem = slowed(n_tasks, 3)
        failed = Overloaded(parts=tuple(ContentPart(task=t, options=(0,)) for t in (0, 1)))
        problem = replace(problem, rules=(failed,))
        reduction = reduce(problem)
        model = build(reduction.problem)
        for rule in range(len(RULES)):
            gpus = pack(model, model.demand, model.replicas, SearchLimits(), rule=rule)
            assert gpus is not None
            for group in gpus:
                (content,) = group.contents
                options = [reduction.problem.tasks[r.task].options[r.option] for r in content]
                loads = [sum(o.load[1] * r.count for o, r in zip(options, content, strict=True))]
                assert all(load <= reduction.problem.room(o)[1] for load in loads for o in options)
                assert {r.task for r in content} & set(reduction.problem.rules[0].tasks) != {0, 1}


def test_bundle_tolerates_what_its_least_tolerant_part_does() -> None:
    """One and two copies together, of which the second tolerates 8 and 7: two copies of it do not fit."""
    base = whole_gpus((10,), [(3,), (3,)], [1, 2])
    limits: list[tuple[int | None, ...]] = [(8,), (7,)]
    tasks = tuple(
        replace(t, options=(replace(t.options[0], tolerance=own),)) for t, own in zip(base.tasks, limits, strict=True)
    )
    problem = replace(base, tasks=tasks, rules=(Together(tasks=(0, 1)),))
    found, _ = bundles(problem, (0, 1), (0,), [1, 2])
    assert [(bundle.load, bundle.room) for bundle in found] == [((6,), (7,))]


def test_problem_with_too_much_capacity_is_refused_and_a_resource_without_a_limit_is_not() -> None:
    """Bounds multiply capacities by a million in 64 bits."""
    assert Place(name="GPU", capacity=(2**42,)).capacity == (2**42,)
    with pytest.raises(ValueError, match="capacity"):
        Place(name="GPU", capacity=(2**42 + 1,))


def test_a_resource_of_which_there_is_nothing_does_not_stand_for_another() -> None:
    """Without any room for one resource, which the replicas do not take, the other one still limits a slice.

    The greedy plan had two replicas of load 3 on a slice of 4.
    """
    place = Place(name="slice", capacity=(4, 0))
    option = Option(place=0, load=(3, 0))
    problem = Problem(
        resources=("a", "b"),
        places=(place,),
        gpus=(GpuType(name="A", layouts=(Layout(name="cut", places=(0, 0), starts=(0, 4)),)),),
        tasks=(Task(name="m", options=(option,), demand=1, min_replicas=3),),
    )
    assert solve(problem, SearchLimits(seconds=10)).n_gpus == 2  # two slices a GPU, one replica a slice
