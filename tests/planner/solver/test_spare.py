"""Test the problems without losses by which a problem with losses is bounded and solved."""

from __future__ import annotations

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from planner.problem.co_location import Spare
from planner.problem.plan import Plan, Status
from planner.problem.problem import Problem
from planner.problem.verify import violations
from planner.solver.limits import SearchLimits
from planner.solver.search_state import SearchState
from planner.solver.solve import solve
from planner.solver.spare import search_with_spare
from tests.builders.brute_force import least_cost
from tests.builders.problems import rated_problems


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
