"""Test the packing benchmark: its instances, and the other solvers that it compares with."""

from __future__ import annotations

from benchmarks.packing import arcflow, fleets, peers
from benchmarks.packing.instances import Case, cases, counted, drawn, problem_of
from benchmarks.packing.slowed import slowed
from planner.problem.plan import Status
from planner.solver.solve import solve


def case_named(name: str) -> Case:
    """Return the case with this name."""
    return next(case for case in cases() if case.name == name)


def test_names_are_unique() -> None:
    """Cases are selected by name, so no two have the same."""
    names = [case.name for case in cases()]
    assert len(names) == len(set(names))


def test_drawn_fleets_hold_the_models_they_name() -> None:
    """The counts of the m kinds add up to N, and a second drawing gives the same instance."""
    for name, models, kinds in (("gpuL-N200-m50", 200, 50), ("gpuS-N1000-m100", 1000, 100)):
        instance = drawn(case_named(name))
        assert (sum(instance["d"]), len(instance["d"])) == (models, kinds)
        assert instance == drawn(case_named(name))


def test_slowed_models_have_tolerances_and_are_drawn_alike_again() -> None:
    """Every model has options on three GPU types, some tolerate less than the capacity; a seed gives one problem."""
    problem, _ = problem_of(case_named("slowed-50"))
    assert len(problem.tasks) == 50
    assert all({o.place for o in task.options} == {0, 1, 2} for task in problem.tasks)
    assert problem.has_tolerances
    assert problem == slowed(50, 1)
    assert problem != slowed(50, 2)


def test_hard_instances_leave_little_room_and_defeat_first_fit() -> None:
    """In all GPUs at most 10 units of 1000 stay free, and first-fit decreasing needs more GPUs than the volume."""
    instance = drawn(case_named("hard-160-s1"))
    loads = [load for (load,), n in zip(instance["w"], instance["d"], strict=True) for _ in range(n)]
    volume = -(-sum(loads) // 1000)
    assert len(loads) == 160
    assert volume * 1000 - sum(loads) <= 10
    assert fleets.first_fit_decreasing(loads, 1000) > volume


def test_first_fit_decreasing_opens_a_gpu_only_where_none_has_room() -> None:
    """On GPUs of 10 the loads 7 and 6 open one each, 4 is placed beside 6 and 3 beside 7."""
    assert fleets.first_fit_decreasing([3, 4, 6, 7], 10) == 2


def test_arc_flow_input_has_its_file_format() -> None:
    """The input is dimensions, capacity, number of kinds, and then each kind's loads and demand."""
    problem = counted([10], [[6], [4]], [3, 1])
    assert arcflow.to_vbp(problem) == "1\n10\n2\n6 3\n4 1\n"


def test_known_optima_are_reached() -> None:
    """60 models in triplets fill 20 GPUs exactly; a perfect packing has a known optimum by construction."""
    for name in ("triplets-60", "perfect-60"):
        problem, known = problem_of(case_named(name))
        plan = solve(problem)
        assert (plan.status, plan.objective) == (Status.OPTIMAL, known)


def test_parvagpu_first_scenario_needs_two_gpus() -> None:
    """The optimum of the paper's scenario 1 is two A100, as in its own deployment."""
    plan = solve(problem_of(case_named("ParvaGPU-S1"))[0])
    assert (plan.status, plan.objective) == (Status.OPTIMAL, 2)


def test_rules_never_beat_the_proven_optimum() -> None:
    """None of the six rules needs fewer than the 15 GPUs that are optimal for these 50 models."""
    found = peers.rules(problem_of(case_named("gpuL-N50-m20"))[0])
    assert len(found) == 6
    assert min(found.values()) >= 15


def test_plain_assignment_proves_the_seed() -> None:
    """The plain CP-SAT model over individual GPUs proves 6 GPUs for the nine models of the case study."""
    peer = peers.assignment(problem_of(case_named("seed9-thr"))[0], 20.0, 9)
    assert str(peer) == "6*"
