"""Test the repair of the current placement with few moves."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from planner.problem.co_location import ContentPart, KnownToHold
from planner.problem.plan import GpuGroup, Plan, Replicas, Status
from planner.problem.problem import GpuType, Layout, Option, Place, Problem, Task
from planner.problem.verify import violations
from planner.replan.repair import AvailableGpus, CurrentGpu, repair


def problem(loads: list[int], demands: list[int], *, capacity: int = 10) -> Problem:
    """Make a problem: models with these loads and demands, on GPUs of this capacity."""
    return Problem(
        resources=("memory",),
        places=(Place(name="T4", capacity=(capacity,)),),
        gpus=(GpuType(name="T4", layouts=(Layout(name="whole", places=(0,)),)),),
        tasks=tuple(
            Task(name=f"m{t}", options=(Option(place=0, load=(load,)),), demand=demand)
            for t, (load, demand) in enumerate(zip(loads, demands, strict=True))
        ),
    )


def available(*contents: dict[int, int], fresh: int = 0) -> AvailableGpus:
    """Make GPUs with these counts of each model, and `fresh` empty ones."""
    held = [
        CurrentGpu(id=f"gpu-{i}", gpu=0, layout=0, node=None, counts={(0, t, 0): n for t, n in content.items()})
        for i, content in enumerate(contents)
    ]
    new = [CurrentGpu(id=f"new-{i}", gpu=0, layout=None, node=None, counts={}) for i in range(fresh)]
    return AvailableGpus(current=tuple(held), new=tuple(new))


def test_missing_replica_goes_to_the_fullest_gpu_with_room() -> None:
    """gpu-0 has 2 units free and gpu-1 has 4: a missing replica of 4 goes to gpu-1, not to the new GPU."""
    found = repair(problem([4, 6], [3, 1]), available({0: 2}, {1: 1}, fresh=1))
    assert found == [(0, {(0, 0, 0): 2}), (0, {(0, 1, 0): 1, (0, 0, 0): 1}), None]


def test_surplus_leaves_the_emptiest_gpu() -> None:
    """Of two replicas one is needed: the one on the emptier GPU is removed, and that GPU is given up."""
    assert repair(problem([4, 5], [1, 1]), available({0: 1, 1: 1}, {0: 1})) == [(0, {(0, 0, 0): 1, (0, 1, 0): 1}), None]


def test_replica_that_no_longer_fits_moves() -> None:
    """At a capacity of 8 the replicas of 5 and 4 cannot share a GPU: the larger moves to a new one."""
    found = repair(problem([5, 4], [1, 1], capacity=8), available({0: 1, 1: 1}, fresh=1))
    assert found == [(0, {(0, 1, 0): 1}), (0, {(0, 0, 0): 1})]


def test_replica_goes_where_it_and_the_others_tolerate_the_load() -> None:
    """A replica of 3 would go beside the 6, the fullest GPU with room; the 6 tolerates 7, so it goes beside the 5."""
    asked = problem([6, 5, 3], [1, 1, 1])
    quiet = replace(asked.tasks[0], options=(replace(asked.tasks[0].options[0], tolerance=(7,)),))
    held = available({0: 1}, {1: 1})
    assert repair(asked, held) == [(0, {(0, 0, 0): 1, (0, 2, 0): 1}), (0, {(0, 1, 0): 1})]
    assert repair(replace(asked, tasks=(quiet, *asked.tasks[1:])), held) == [
        (0, {(0, 0, 0): 1}),
        (0, {(0, 1, 0): 1, (0, 2, 0): 1}),
    ]


def test_replicas_that_no_longer_tolerate_each_other_are_parted() -> None:
    """5 and 4 shared a GPU; now the 4 tolerates 8: the 5 moves, as where the capacity is 8."""
    asked = problem([5, 4], [1, 1])
    quiet = replace(asked.tasks[1], options=(replace(asked.tasks[1].options[0], tolerance=(8,)),))
    found = repair(replace(asked, tasks=(asked.tasks[0], quiet)), available({0: 1, 1: 1}, fresh=1))
    assert found == [(0, {(0, 1, 0): 1}), (0, {(0, 0, 0): 1})]


def test_replicas_that_are_known_to_hold_stay_together() -> None:
    """5 and 4 share a GPU although the 4 tolerates 8, as that held when it was measured; the 1 goes elsewhere.

    A missing 5 joins a 4 there as well.
    """
    asked = problem([5, 4, 1], [1, 1, 1])
    quiet = replace(asked.tasks[1], options=(replace(asked.tasks[1].options[0], tolerance=(8,)),))
    known = KnownToHold(parts=(ContentPart(task=0, options=(0,)), ContentPart(task=1, options=(0,))))
    asked = replace(asked, tasks=(asked.tasks[0], quiet, asked.tasks[2]), rules=(known,))
    together = (0, {(0, 0, 0): 1, (0, 1, 0): 1})
    assert repair(asked, available({0: 1, 1: 1}, fresh=1)) == [together, (0, {(0, 2, 0): 1})]
    assert repair(asked, available({1: 1}, fresh=1)) == [together, (0, {(0, 2, 0): 1})]


def test_too_few_gpus_are_no_plan() -> None:
    """Two replicas of 6 need two GPUs; with one there is no plan."""
    assert repair(problem([6], [2]), available({0: 1})) is None


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(0, 4)), min_size=1, max_size=5),
    st.lists(st.dictionaries(st.integers(0, 4), st.integers(1, 3), max_size=3), max_size=5),
)
def test_repaired_plan_is_right(models: list[tuple[int, int]], now: list[dict[int, int]]) -> None:
    """From any placement, even above the capacity, the repaired plan serves every demand within it."""
    asked = problem([load for load, _ in models], [demand for _, demand in models])
    known = [{t: n for t, n in content.items() if t < len(models)} for content in now]
    found = repair(asked, available(*known, fresh=20))
    assert found is not None
    gpus = tuple(
        GpuGroup(
            gpu=0,
            layout=entry[0],
            contents=(tuple(Replicas(task=t, option=k, count=n) for (_, t, k), n in sorted(entry[1].items())),),
        )
        for entry in found
        if entry is not None
    )
    plan = Plan(status=Status.FEASIBLE, gpus=gpus, objective=len(gpus))
    assert not violations(plan, asked)
