"""Test the problems without losses by which a problem with losses is bounded and solved."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from planner.problem.co_location import ContentPart, Overloaded, Spare
from planner.problem.plan import Plan, Status, cost_of
from planner.problem.problem import Option, Problem, Task
from planner.problem.verify import violations
from planner.solver.limits import SearchLimits
from planner.solver.search_state import SearchState
from planner.solver.solve import solve
from planner.solver.spare import restricted, search_with_spare
from tests.builders.brute_force import least_cost
from tests.builders.problems import rated_problems, whole_gpus


@given(st.one_of(rated_problems(spare=True), rated_problems(spare=True, ruled=True)))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
def test_bound_and_plan_enclose_the_optimum(problem: Problem) -> None:
    """Without the exact search: no plan costs less than the bound, and the plan found keeps every rule."""
    lost = max(rule.lost for rule in problem.rules if isinstance(rule, Spare))
    assume(sum(max(t.demand, t.min_replicas) for t in problem.tasks) * (1 + lost) <= 6)
    expected = least_cost(problem)
    state = SearchState(problem=problem, limits=SearchLimits(seconds=20))
    search_with_spare(state, solve)
    if state.infeasible:
        assert expected is None
    if expected is not None:
        assert state.bound <= expected
    if state.cost is not None:
        assert expected is not None
        assert expected <= state.cost
        assert violations(Plan(status=Status.FEASIBLE, gpus=state.gpus, objective=state.cost), problem) == ()


def test_restricted_problem_keeps_the_numbers_of_options() -> None:
    """A large replica is left out, and the small one keeps its number, its tolerance and its failed content.

    With the large option taken out, the small one had its number: plans were read as of large replicas, and the content
    that failed was cut off for none.
    """
    large, small = Option(place=0, load=(10,), supply=4), Option(place=0, load=(1,), tolerance=(5,))
    other = Task(name="other", options=(Option(place=0, load=(1,)),), demand=1)
    failed = Overloaded(parts=(ContentPart(task=0, options=(1,)), ContentPart(task=1, options=(0,))))
    problem = replace(
        whole_gpus((10,), [(1,)]),
        tasks=(Task(name="rated", options=(large, small), demand=4), other),
        rules=(Spare(tasks=(0,), lost=1), Spare(tasks=(1,), lost=1), failed),
    )
    found = solve(restricted(problem, None), SearchLimits(seconds=10))
    assert {r.option for group in found.gpus for content in group.contents for r in content if r.task == 0} == {1}
    own = Plan(status=Status.FEASIBLE, gpus=found.gpus, objective=cost_of(found.gpus, problem))
    assert violations(own, problem) == ()
    # one small replica on each of 5 GPUs, and one of the other model on each of 2
    assert own.objective == 7
