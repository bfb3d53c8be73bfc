"""The packing benchmark draws what its table names, and its peers answer."""

from __future__ import annotations

from benchmarks.packing import peers
from benchmarks.packing.instances import Case, cases, drawn, problem_of
from planner.plan import Status
from planner.solve import solve


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
