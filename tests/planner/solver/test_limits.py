"""Test the limits of a search, and the interruption of compiled code."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from planner.problem.plan import Status
from planner.problem.verify import violations
from planner.solver.limits import LimitsReached, SearchLimits, run_interruptibly
from planner.solver.solve import solve
from tests.builders.problems import hard_problem, whole_gpus


def test_part_of_a_search_ends_with_the_whole() -> None:
    """A part gets at most the time that is left for the whole, and stops when the whole is stopped."""
    stopped = Event()
    whole = SearchLimits(seconds=5, seed=3, workers=2, stop=stopped.is_set)
    part = whole.within(10)
    assert (part.seed, part.workers, part.over) == (3, 2, False)
    assert part.seconds <= 5
    stopped.set()
    assert whole.over
    assert part.over
    assert whole.within(10).seconds == 0


def test_at_least_delays_limits_that_are_reached() -> None:
    """`at_least(0.2)` gives 0.2 s even if the search is already stopped, so that a first plan is found."""
    limits = SearchLimits(stop=lambda: True).at_least(0.2)
    assert not limits.over
    time.sleep(0.25)
    assert limits.over


def test_items_end_with_an_exception_once_the_time_is_up() -> None:
    """`each` raises LimitsReached between two items once the time is up."""
    seen = []
    with pytest.raises(LimitsReached):
        for item in SearchLimits(seconds=0.1).each(range(1000)):
            seen.append(item)
            time.sleep(0.01)
    assert 1 <= len(seen) < 1000


def test_call_is_interrupted_when_the_limits_are_reached() -> None:
    """The interrupted call returns its result so far."""
    told = Event()
    found = run_interruptibly(lambda: told.wait(60), told.set, SearchLimits(seconds=0.1))
    assert found is True


def test_call_is_interrupted_by_an_exception_where_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the waiting thread gets an exception such as Ctrl-C, the call is ended before the exception is passed on."""
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


def test_exception_of_the_call_is_raised_in_the_caller() -> None:
    """An exception in the call's thread is raised in the caller's thread."""
    with pytest.raises(ZeroDivisionError):
        run_interruptibly(lambda: 1 // 0, lambda: None, SearchLimits())


def test_interrupt_that_numba_turned_into_a_system_error_is_a_keyboard_interrupt() -> None:
    """Ctrl-C as a compiled function returns comes as SystemError; `solve` raises KeyboardInterrupt, others as is."""

    def fail(cause: BaseException) -> Any:
        def on_progress(*_: object) -> None:
            try:
                raise SystemError("_numba_unpickle returned a result with an exception set") from cause
            except SystemError as error:
                raise SystemError("best_contents returned a result with an exception set") from error

        return on_progress

    with pytest.raises(KeyboardInterrupt):
        solve(hard_problem(20), on_progress=fail(KeyboardInterrupt()))
    with pytest.raises(SystemError):
        solve(hard_problem(20), on_progress=fail(ValueError()))


@pytest.mark.parametrize("after_s", [0.0, 0.6, 1.5])
def test_search_that_is_stopped_ends_soon_with_a_right_plan(after_s: float) -> None:
    """A search ends within 5 s after its stop in any stage: first plans, pricing, dives, restricted master."""
    problem = hard_problem(300)
    start_s = time.monotonic()
    plan = solve(problem, SearchLimits(seconds=120, stop=lambda: time.monotonic() - start_s > after_s))
    late_s = time.monotonic() - start_s - after_s
    assert plan.status is Status.FEASIBLE
    assert violations(plan, problem) == ()
    assert late_s < 5  # about 0.1 s on an idle machine


def test_search_without_time_has_a_plan_and_a_bound() -> None:
    """Even with almost no time there is a first plan and a lower bound."""
    plan = solve(whole_gpus((10,), [(4,), (5,), (6,)]), SearchLimits(seconds=1e-9))
    assert (plan.n_gpus, plan.lower_bound) == (2, 2)


def test_first_plan_does_not_lose_its_time_to_the_compiler(tmp_path: Path) -> None:
    """Where nothing is compiled yet, there is still a first plan.

    It once was an unknown status: the compiler took the time of each greedy rule, and the next stages had none left.
    """
    code = """if True:
        from planner.solver.limits import SearchLimits
        from planner.solver.solve import solve
        from tests.builders.problems import whole_gpus
        print(solve(whole_gpus((100,), [(51 + i,) for i in range(45)]), SearchLimits(seconds=0.1)).n_gpus)"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "45\n", done.stderr
    assert list(tmp_path.rglob("*.fill-*.nbi"))
