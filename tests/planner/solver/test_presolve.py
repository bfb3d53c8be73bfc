"""Test what presolve makes of a problem."""

from __future__ import annotations

from dataclasses import replace

from planner.problem.co_location import ContentPart, KnownToHold, Overloaded, Rule
from planner.problem.plan import Cause
from planner.problem.problem import Option, Problem, Task
from planner.solver.presolve import reduce, unplaceable
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


def two_options(first: Option, second: Option, *rules: Rule) -> Problem:
    """Make a problem of one task with two options on GPUs of 10 and 10, beside one that takes 5 and 5."""
    beside = Task(name="beside", options=(Option(place=0, load=(5, 5)),))
    return replace(whole_gpus((10, 10), [(1, 1)]), tasks=(Task(name="a", options=(first, second)), beside), rules=rules)


def test_option_that_tolerates_more_is_not_dominated() -> None:
    """An option of less load is dominated by none; that of more load only where it does not tolerate more."""
    light, heavy = Option(place=0, load=(2, 2), tolerance=(5, None)), Option(place=0, load=(3, 3))
    assert len(reduce(two_options(light, heavy)).problem.tasks[0].options) == 2
    same = replace(heavy, tolerance=(5, 10))
    assert len(reduce(two_options(light, same)).problem.tasks[0].options) == 1


def test_option_of_a_content_that_is_known_to_hold_is_not_dominated() -> None:
    """The heavier option held beside the other task, the lighter was not tried: both are kept.

    One that serves as much for less, and is of the same part, takes its place.
    """
    light, heavy = (Option(place=0, load=(n, 1), tolerance=(5, None)) for n in (3, 4))
    other = ContentPart(task=1, options=(0,))
    known = KnownToHold(parts=(ContentPart(task=0, options=(1,)), other))
    assert len(reduce(two_options(light, heavy, known)).problem.tasks[0].options) == 2
    both = KnownToHold(parts=(ContentPart(task=0, options=(0, 1)), other))
    reduced = reduce(two_options(light, heavy, both)).problem
    assert len(reduced.tasks[0].options) == 1
    assert reduced.rules == (KnownToHold(parts=(ContentPart(task=0, options=(0,)), other)),)


def test_option_with_a_part_in_a_failed_content_dominates_none_without() -> None:
    """The lighter option failed beside the other task, the heavier was not tried: both are kept."""
    light, heavy = Option(place=0, load=(2, 2)), Option(place=0, load=(3, 3))
    failed = Overloaded(parts=(ContentPart(task=0, options=(0,)), ContentPart(task=1, options=(0,))))
    assert len(reduce(two_options(light, heavy, failed)).problem.tasks[0].options) == 2
    both = Overloaded(parts=(ContentPart(task=0, options=(0, 1)), ContentPart(task=1, options=(0,))))
    smaller = reduce(two_options(light, heavy, both)).problem
    assert len(smaller.tasks[0].options) == 1
    (rule,) = smaller.rules
    assert isinstance(rule, Overloaded)
    assert [part.options for part in rule.parts] == [(0,), (0,)]  # by the numbers of the options that are left


def test_tasks_of_different_tolerance_are_not_merged() -> None:
    """Three copies that are equal in load and tolerance are one task; the fourth tolerates less."""
    base = whole_gpus((10,), [(2,)] * 4)
    tolerances: list[tuple[int | None, ...]] = [(5,), (5,), (5,), (4,)]
    tasks = tuple(
        replace(task, options=(replace(task.options[0], tolerance=own),))
        for task, own in zip(base.tasks, tolerances, strict=True)
    )
    smaller = reduce(replace(base, tasks=tasks)).problem
    assert [task.demand for task in smaller.tasks] == [3, 1]
    assert smaller.places[0].capacity == (5,)  # none tolerates more


def test_option_that_does_not_tolerate_itself_is_never_used() -> None:
    """Its load is 4 and it tolerates 3: the task is too big, with both figures; so it is with what failed alone."""
    base = whole_gpus((10,), [(4,)])
    task = base.tasks[0]
    (unplaced,) = unplaceable(
        replace(base, tasks=(replace(task, options=(replace(task.options[0], tolerance=(3,)),)),))
    )
    assert (unplaced.cause, unplaced.load, unplaced.capacity) == (Cause.TOO_BIG, 4, 3)
    failed = Overloaded(parts=(ContentPart(task=0, options=(0,)),))
    (unplaced,) = unplaceable(replace(base, rules=(failed,)))
    assert unplaced.cause is Cause.NO_OPTION
