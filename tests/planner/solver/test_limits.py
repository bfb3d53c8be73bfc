"""The limits of a search, and compiled code that heeds them."""

from __future__ import annotations

import time
from threading import Event

import pytest

from planner.problem.plan import Status
from planner.problem.verify import violations
from planner.solver.limits import LimitsReached, SearchLimits, run_interruptibly
from planner.solver.solve import solve
from tests.builders.problems import hard_problem, whole_gpus


def test_part_of_a_search_ends_with_the_whole() -> None:
    """Ten seconds are asked for and five are left; what stops the whole stops its parts."""
    stopped = Event()
    whole = SearchLimits(seconds=5, seed=3, workers=2, stop=stopped.is_set)
    part = whole.within(10)
    assert (part.seed, part.workers, part.over) == (3, 2, False)
    assert part.seconds <= 5
    stopped.set()
    assert whole.over
    assert part.over
    assert whole.within(10).seconds == 0


def test_limits_that_hold_on_for_a_while_are_not_reached_before() -> None:
    """The first plan is looked for even where nothing is left."""
    limits = SearchLimits(stop=lambda: True).at_least(0.2)
    assert not limits.over
    time.sleep(0.25)
    assert limits.over


def test_items_end_with_an_exception_once_the_time_is_up() -> None:
    """Building a model ends between two of its parts."""
    seen = []
    with pytest.raises(LimitsReached):
        for item in SearchLimits(seconds=0.1).each(range(1000)):
            seen.append(item)
            time.sleep(0.01)
    assert 1 <= len(seen) < 1000


def test_call_is_interrupted_once_the_limits_are_reached() -> None:
    """The call returns what it has by then."""
    told = Event()
    found = run_interruptibly(lambda: told.wait(60), told.set, SearchLimits(seconds=0.1))
    assert found is True


def test_call_is_interrupted_by_an_exception_where_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """As by Ctrl-C, which Python raises in the thread that waits; the call has ended before it goes on."""
    told, ended = Event(), Event()

    def call() -> None:
        told.wait(60)
        ended.set()

    def over(_: SearchLimits) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(SearchLimits, "over", property(over))
    with pytest.raises(KeyboardInterrupt):
        run_interruptibly(call, told.set, SearchLimits())
    assert ended.is_set()


def test_failure_of_the_call_is_raised_where_it_was_called() -> None:
    """Not lost in the other thread."""
    with pytest.raises(ZeroDivisionError):
        run_interruptibly(lambda: 1 // 0, lambda: None, SearchLimits())


@pytest.mark.parametrize("after_s", [0.0, 0.6, 1.5])
def test_search_that_is_stopped_ends_soon_with_a_right_plan(after_s: float) -> None:
    """In whatever stage it is: quick plans, pricing, dives, the restricted master."""
    problem = hard_problem(300)
    start_s = time.monotonic()
    plan = solve(problem, SearchLimits(seconds=120, stop=lambda: time.monotonic() - start_s > after_s))
    late_s = time.monotonic() - start_s - after_s
    assert plan.status is Status.FEASIBLE
    assert violations(plan, problem) == ()
    assert late_s < 5  # a tenth of a second on a machine that has nothing else to do


def test_search_without_time_has_a_plan_and_a_bound() -> None:
    """The first quick plan and the volumes take no time that counts."""
    plan = solve(whole_gpus((10,), [(4,), (5,), (6,)]), SearchLimits(seconds=1e-9))
    assert (plan.n_gpus, plan.lower_bound) == (2, 2)
