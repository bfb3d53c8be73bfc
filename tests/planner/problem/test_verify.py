"""Test that the independent check of plans, `violations`, finds every fault."""

from __future__ import annotations

from dataclasses import replace

import pytest

from planner.problem.co_location import (
    Alone,
    Apart,
    AtMost,
    ContentPart,
    KnownToHold,
    Overloaded,
    Rule,
    Together,
    Within,
)
from planner.problem.plan import GpuGroup, Plan, Replicas, Status
from planner.problem.problem import GpuType, Layout, Option, Place, Problem, Task
from planner.problem.verify import violations

# Two tasks on two types: A whole (place 0) or cut into two (place 1), 3 each, at most 2; B whole, no limit.
PROBLEM = Problem(
    resources=("memory", "utilization"),
    places=(Place(name="whole", capacity=(10, 100)), Place(name="half", capacity=(5, 50))),
    gpus=(
        GpuType(
            name="A",
            layouts=(Layout(name="whole", places=(0,)), Layout(name="halves", places=(1, 1), starts=(0, 4))),
            cost=3,
            limit=2,
        ),
        GpuType(name="B", layouts=(Layout(name="whole", places=(0,)),), cost=2),
    ),
    tasks=(
        Task(name="a", demand=4, options=(Option(place=0, load=(4, 30), supply=2), Option(place=1, load=(4, 50)))),
        Task(name="b", demand=1, options=(Option(place=0, load=(2, 40)), Option(place=1, load=(3, 20)))),
    ),
)
A_TWICE = (Replicas(task=0, option=0, count=2),)
GOOD = Plan(
    status=Status.FEASIBLE,
    gpus=(
        GpuGroup(gpu=1, layout=0, contents=((*A_TWICE, Replicas(task=1, option=0)),)),  # 10 of 10, 100 of 100
    ),
    objective=2,
    lower_bound=1,
)


def with_contents(*contents: tuple[Replicas, ...], gpu: int = 1, layout: int = 0) -> Plan:
    """Make the good plan with other contents of its only GPU, and the objective to match."""
    cost = PROBLEM.gpus[gpu].cost
    return replace(GOOD, gpus=(GpuGroup(gpu=gpu, layout=layout, contents=contents),), objective=cost)


def test_right_plan_has_no_violations() -> None:
    """A GPU that is full to the last unit is allowed, because capacities are inclusive."""
    assert violations(GOOD, PROBLEM) == ()


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (with_contents((*A_TWICE, Replicas(task=1, option=0, count=2))), "memory on whole is 12 of 10"),
        (with_contents((*A_TWICE, Replicas(task=1, option=0, count=2))), "utilization on whole is 140 of 100"),
        (with_contents((Replicas(task=0, option=0), Replicas(task=1, option=0))), "a: 2 of 4 served"),
        (with_contents(A_TWICE), "b: 0 of 1 served"),
        (with_contents((*A_TWICE, Replicas(task=1, option=1))), "another place's option"),
        (with_contents((Replicas(task=0, option=1),), A_TWICE, gpu=0, layout=1), "another place's option"),
        (with_contents(A_TWICE, A_TWICE), "do not match the layout's places"),
        (with_contents((Replicas(task=7, option=0),)), "unknown task 7"),
        (with_contents((Replicas(task=0, option=5),)), "has no option 5"),
        (with_contents((Replicas(task=0, option=0, count=0),)), "a count of 0"),
        (replace(GOOD, gpus=(replace(GOOD.gpus[0], gpu=4),)), "unknown GPU type 4"),
        (replace(GOOD, gpus=(replace(GOOD.gpus[0], layout=1),)), "has no layout 1"),
        (replace(GOOD, objective=1), "objective 1, but the GPUs cost 2"),
        (replace(GOOD, lower_bound=3), "lower bound 3 above the objective 2"),
        (replace(GOOD, status=Status.OPTIMAL), "called optimal at 2 with a lower bound of 1"),
        (replace(GOOD, status=Status.UNKNOWN), "a plan with the status unknown"),
        (replace(GOOD, objective=None), "no objective"),
        (replace(GOOD, gpus=(replace(GOOD.gpus[0], gpu=0, count=3),), objective=9), "3 GPUs of type A, at most 2"),
    ],
)
def test_planted_fault_is_found(plan: Plan, said: str) -> None:
    """A plan with one fault gives a sentence that names it."""
    assert any(said in violation for violation in violations(plan, PROBLEM))


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (AtMost(tasks=(0,), most=1), "2 replicas of a on one GPU, at most 1"),
        (AtMost(tasks=(0, 1), most=2), "3 replicas of a and b on one GPU, at most 2"),
        (AtMost(tasks=(0,), most=1, within=Within.NODE), "no node is named"),
        (Alone(tasks=(0,)), "a wants its GPU alone"),
        (Apart(tasks=(0, 1)), "a and b must be apart"),
    ],
)
def test_broken_rule_is_found(rule: Rule, said: str) -> None:
    """The good plan breaks each of these rules."""
    assert any(said in violation for violation in violations(GOOD, replace(PROBLEM, rules=(rule,))))


def test_missing_replicas_are_found() -> None:
    """Two replicas serve the demand, but three are asked for."""
    problem = replace(PROBLEM, tasks=(replace(PROBLEM.tasks[0], min_replicas=3), PROBLEM.tasks[1]))
    assert violations(GOOD, problem) == ("a: 2 of at least 3 replicas",)


def test_missing_model_of_a_together_rule_is_found() -> None:
    """A GPU that holds a without b breaks the rule that both are together."""
    problem = replace(PROBLEM, rules=(Together(tasks=(0, 1)),))
    assert "group 0: a without the rest of the group" in violations(with_contents(A_TWICE), problem)


def test_broken_nodes_are_found() -> None:
    """Found are two replicas of a on one node, two GPUs on a node of one, and a node that does not exist."""
    one_each = (Replicas(task=0, option=0),)
    problem = replace(PROBLEM, tasks=PROBLEM.tasks[:1], rules=(AtMost(tasks=(0,), most=1, within=Within.NODE),))
    group = GpuGroup(gpu=0, layout=0, contents=(one_each,), count=2, nodes=(0, 0))
    plan = Plan(status=Status.FEASIBLE, gpus=(group,), objective=6, lower_bound=0)
    assert violations(plan, problem) == (
        "2 GPUs in node 0 of A, which holds 1",
        "2 replicas of a on node 0 of A, at most 1",
    )
    away = replace(plan, gpus=(replace(group, nodes=(0, 2)),))
    assert violations(away, problem) == ("A has no node 2",)
    right = replace(plan, gpus=(replace(group, nodes=(0, 1)),))
    assert violations(right, problem) == ()


def test_gap_is_a_fraction_of_the_objective() -> None:
    """With an objective of 2 and a bound of 1 the gap is 0.5; without a plan it is None."""
    assert GOOD.gap == 0.5
    assert replace(GOOD, objective=None, gpus=()).gap is None


def tolerating(*tolerance: int | None) -> Problem:
    """Make the problem with a first option of b that tolerates so much."""
    b = PROBLEM.tasks[1]
    own = (replace(b.options[0], tolerance=tolerance), b.options[1])
    return replace(PROBLEM, tasks=(PROBLEM.tasks[0], replace(b, options=own)))


def test_load_above_what_a_replica_tolerates_is_found() -> None:
    """The good plan loads its GPU with 10 of memory and 100 of utilization, b's own load included."""
    assert violations(GOOD, tolerating(10, 100)) == ()
    assert violations(GOOD, tolerating(None, None)) == ()
    assert violations(GOOD, tolerating(9, None)) == ("group 0: memory on whole is 10, and b tolerates 9",)
    assert violations(GOOD, tolerating(None, 99)) == ("group 0: utilization on whole is 100, and b tolerates 99",)


def test_a_content_that_is_known_to_hold_may_be_more_than_its_replicas_tolerate() -> None:
    """b tolerates 9 of memory, and two of a with one b hold: also with one a less, and not with a second b."""
    known = KnownToHold(parts=(ContentPart(task=0, options=(0,), count=2), ContentPart(task=1, options=(0,))))
    asked = replace(tolerating(9, None), rules=(known,))
    assert violations(GOOD, asked) == ()
    fewer = KnownToHold(parts=(ContentPart(task=0, options=(0,), count=3), ContentPart(task=1, options=(0,))))
    assert violations(GOOD, replace(asked, rules=(fewer,))) == ()
    one = KnownToHold(parts=(ContentPart(task=0, options=(0,)), ContentPart(task=1, options=(0,))))
    other = KnownToHold(parts=(ContentPart(task=0, options=(1,), count=2), ContentPart(task=1, options=(0,))))
    for rule in (one, other):
        assert violations(GOOD, replace(asked, rules=(rule,))) == ("group 0: memory on whole is 10, and b tolerates 9",)
    failed = Overloaded(parts=(ContentPart(task=1, options=(0,)), ContentPart(task=0, options=(0,))))
    assert violations(GOOD, replace(asked, rules=(known, failed))) == ("group 0: a and b overload whole",)


def test_slice_is_checked_against_the_tolerances_of_its_own_replicas() -> None:
    """b on the other half does not mind 50 of utilization beside it, only on its own half."""
    b = PROBLEM.tasks[1]
    own = (b.options[0], replace(b.options[1], tolerance=(None, 20)))
    asked = replace(PROBLEM, tasks=(replace(PROBLEM.tasks[0], demand=1), replace(b, options=own)))
    plan = with_contents((Replicas(task=0, option=1),), (Replicas(task=1, option=1),), gpu=0, layout=1)
    assert violations(plan, asked) == ()


@pytest.mark.parametrize(
    ("parts", "failed"),
    [
        ([(0, (0,), 2), (1, (0,), 1)], True),
        ([(0, (0, 1), 1), (1, (0, 1), 1)], True),  # a content that holds more than what failed
        ([(0, (0,), 3), (1, (0,), 1)], False),
        ([(0, (1,), 1), (1, (0,), 1)], False),  # another operating point
        ([(0, (0,), 2), (0, (0, 1), 2)], True),  # two parts of the same task
    ],
)
def test_content_that_failed_is_found_with_its_supersets(
    parts: list[tuple[int, tuple[int, ...], int]], failed: bool
) -> None:
    """Two replicas of a and one of b share a GPU: that, or less, has failed."""
    rule = Overloaded(parts=tuple(ContentPart(task=t, options=o, count=n) for t, o, n in parts))
    names = "a and b" if len(rule.tasks) > 1 else "a"
    expected = (f"group 0: {names} overload whole",) if failed else ()
    assert violations(GOOD, replace(PROBLEM, rules=(rule,))) == expected


def test_failed_content_is_one_of_a_single_slice() -> None:
    """a and b that failed on one half may be on the two halves of a GPU."""
    rule = Overloaded(parts=tuple(ContentPart(task=t, options=(0, 1)) for t in (0, 1)))
    asked = replace(PROBLEM, tasks=(replace(PROBLEM.tasks[0], demand=1), PROBLEM.tasks[1]), rules=(rule,))
    plan = with_contents((Replicas(task=0, option=1),), (Replicas(task=1, option=1),), gpu=0, layout=1)
    assert violations(plan, asked) == ()


def test_overload_without_parts_is_refused() -> None:
    """It would leave every place empty; so would a part of no replica."""
    with pytest.raises(ValueError, match="parts"):
        Overloaded(parts=())
    with pytest.raises(ValueError, match="parts"):
        Overloaded(parts=(ContentPart(task=0, options=(0,), count=0),))


def test_tolerance_of_another_number_of_resources_is_refused() -> None:
    """One figure for two resources says nothing about the second; a negative one, that nothing may be there."""
    with pytest.raises(ValueError, match="tolerance"):
        tolerating(9)
    with pytest.raises(ValueError, match="negative"):
        tolerating(9, -1)
