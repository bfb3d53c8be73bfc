"""The packing benchmark draws what its table names, and its peers answer."""

from __future__ import annotations

from benchmarks.packing import arcflow, fleets, peers
from benchmarks.packing.instances import Case, cases, counted, drawn, problem_of
from planner.problem.plan import Status
from planner.solver.solve import solve


def case_named(name: str) -> Case:
    """The case of a name."""
    return next(case for case in cases() if case.name == name)


def test_names_are_unique() -> None:
    """A case is asked for by its name."""
    names = [case.name for case in cases()]
    assert len(names) == len(set(names))


def test_drawn_fleets_hold_the_models_they_name() -> None:
    """Counts add up to N over m kinds, and a second drawing is the first."""
    for name, models, kinds in (("gpuL-N200-m50", 200, 50), ("gpuS-N1000-m100", 1000, 100)):
        instance = drawn(case_named(name))
        assert (sum(instance["d"]), len(instance["d"])) == (models, kinds)
        assert instance == drawn(case_named(name))


def test_hard_instances_waste_next_to_nothing_and_beat_first_fit() -> None:
    """Loads leave at most 10 of 1000 on one GPU, and first-fit decreasing needs more GPUs than the volume."""
    instance = drawn(case_named("hard-160-s1"))
    loads = [load for (load,), n in zip(instance["w"], instance["d"], strict=True) for _ in range(n)]
    volume = -(-sum(loads) // 1000)
    assert len(loads) == 160
    assert volume * 1000 - sum(loads) <= 10
    assert fleets.first_fit_decreasing(loads, 1000) > volume


def test_first_fit_decreasing_opens_a_gpu_only_where_none_has_room() -> None:
    """On GPUs of 10: 7 and 6 open one each, 4 joins the 6, 3 the 7."""
    assert fleets.first_fit_decreasing([3, 4, 6, 7], 10) == 2


def test_arc_flow_is_asked_in_its_own_format() -> None:
    """Dimensions, capacity, kinds, then loads and demand of each: two kinds, 3 and 1 of them, on GPUs of 10."""
    problem = counted([10], [[6], [4]], [3, 1])
    assert arcflow.written(problem) == "1\n10\n2\n6 3\n4 1\n"


def test_known_optima_are_reached() -> None:
    """Sixty models in triplets fill 20 GPUs to the MiB; perfect packings say their own optimum."""
    for name in ("triplets-60", "perfect-60"):
        problem, known = problem_of(case_named(name))
        plan = solve(problem)
        assert (plan.status, plan.objective) == (Status.OPTIMAL, known)


def test_parvagpu_first_scenario_needs_two_gpus() -> None:
    """The paper's own deployment of scenario 1 uses two A100; no plan uses one."""
    plan = solve(problem_of(case_named("ParvaGPU-S1"))[0])
    assert (plan.status, plan.objective) == (Status.OPTIMAL, 2)


def test_rules_never_beat_the_proven_optimum() -> None:
    """Six rules on 50 models whose optimum is 15."""
    found = peers.rules(problem_of(case_named("gpuL-N50-m20"))[0])
    assert len(found) == 6
    assert min(found.values()) >= 15


def test_plain_assignment_proves_the_seed() -> None:
    """CP-SAT over named GPUs is right at this size: 6, proven."""
    peer = peers.assignment(problem_of(case_named("seed9-thr"))[0], 20.0, 9)
    assert str(peer) == "6*"
