"""Test the explanations: relaxations that save a GPU, the smallest conflict, and the bound of each resource."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner import explain, plan
from planner.explanation.resource_bounds import resource_bounds
from planner.explanation.what_if import conflict, relaxations
from planner.formulation.candidates import Mode
from planner.formulation.formulate import formulate
from planner.formulation.objective import Objective, from_units
from planner.formulation.request import Request
from planner.formulation.rules import Rules
from planner.inputs.demand import Requirement, Spread
from planner.inputs.fleet import FleetType, Thresholds
from planner.planning import solve_request
from planner.solver.limits import SearchLimits
from planner.solver.solve import solve
from tests.builders.profiles import MIB, point, profile

T4 = FleetType(type="T4", memory_bytes=10_300 * MIB, devices=("T4",))


def request(*utilizations: float, fleet: FleetType = T4, latency_p99_s: float | None = None) -> Request:
    """Make a request for one replica each of models a, b, c ... with these utilizations."""
    names = "abcdefgh"[: len(utilizations)]
    return Request(
        profiles=tuple(
            profile(
                n,
                point(utilization=u, memory_utilization=0.1),
                point(utilization=0.1, latency_p99_s=0.05, batch=2, throughput=50),
            )
            for n, u in zip(names, utilizations, strict=True)
        ),
        requirements=tuple(Requirement(model=n, latency_p99_s=latency_p99_s) for n in names),
        fleet=(fleet,),
        rules=Rules(mode=Mode.THROUGHPUT),
    )


def test_higher_threshold_that_saves_a_gpu_is_found() -> None:
    """55 % and 50 % need two GPUs at 100 % and one at 110 %; the threshold of memory utilization does not matter."""
    found = relaxations(request(0.55, 0.5), 2, SearchLimits(seconds=20))
    assert [(r.change, r.gpus, r.saved) for r in found] == [("the threshold of utilization at 110%, not 100%", 1, 1)]


def test_lifted_latency_budget_that_saves_a_gpu_is_found() -> None:
    """Within 30 ms each of two models needs its point at 60 %; within 60 ms one with half the rate at 10 % suffices."""
    asked = request(0.6, 0.6, latency_p99_s=0.03)
    rated = tuple(replace(r, rate_infer_per_s=40.0) for r in asked.requirements)
    found = relaxations(replace(asked, requirements=rated), 2, SearchLimits(seconds=20))
    assert {"a at twice its p99 budget of 30 ms", "b at twice its p99 budget of 30 ms"} <= {r.change for r in found}


def test_dropped_group_limit_that_saves_a_gpu_is_found() -> None:
    """Three models of 10 % would share a GPU, but two of them are in a group limited to one per GPU."""
    asked = request(0.1, 0.1, 0.1)
    limited = tuple(replace(r, group_max=(("g", 1),)) for r in asked.requirements[:2])
    found = relaxations(replace(asked, requirements=(*limited, asked.requirements[2])), 2, SearchLimits(seconds=20))
    assert "a as often on a GPU as there is room" in {r.change for r in found}


def test_measured_variant_of_a_model_is_proposed() -> None:
    """Two replicas of chest at 60 % need two GPUs; with chest_int8 at 30 % one suffices. chestnut is another model."""
    models = (
        profile("chest", point(utilization=0.6)),
        profile("chest_int8", point(utilization=0.3)),
        profile("chestnut", point(utilization=0.1)),
    )
    asked = Request(
        profiles=models,
        requirements=(Requirement(model="chest", rate_infer_per_s=200),),
        fleet=(T4,),
        rules=Rules(mode=Mode.THROUGHPUT),
    )
    found = relaxations(asked, 2, SearchLimits(seconds=20))
    assert "chest served by chest_int8 as well" in {r.change for r in found}
    assert not any("chestnut" in r.change for r in found)


def test_nothing_saves_what_is_needed() -> None:
    """Three models of 90 % need three GPUs even if a threshold is raised by 10 %."""
    found = relaxations(replace(request(0.9, 0.9, 0.9), rules=Rules(mode=Mode.THROUGHPUT)), 3, SearchLimits(seconds=20))
    assert [r.change for r in found if "keep-throughput" not in r.change] == []


def test_smallest_conflict_leaves_out_uninvolved_models() -> None:
    """On one GPU the models of 60 % and 50 % conflict; those of 5 % are left out."""
    asked = request(0.05, 0.6, 0.05, 0.5, fleet=replace(T4, limit=1))
    assert [r.model for r in conflict(asked, SearchLimits(seconds=20))] == ["b", "d"]


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.tuples(st.integers(1, 99), st.integers(100, 9000)), min_size=1, max_size=5),
    st.sampled_from([1.0, 0.9]),
)
def test_no_plan_costs_less_than_any_resource_alone(models: list[tuple[int, int]], memory: float) -> None:
    """The volume of each resource is a lower bound of the optimum."""
    fleet = replace(T4, thresholds=Thresholds(memory=memory))
    asked = Request(
        profiles=tuple(
            profile(f"m{i}", point(utilization=u / 100, memory_mib=size)) for i, (u, size) in enumerate(models)
        ),
        requirements=tuple(Requirement(model=f"m{i}") for i in range(len(models))),
        fleet=(fleet,),
        rules=Rules(mode=Mode.THROUGHPUT),
    )
    formulation = formulate(asked)
    plan = solve(formulation.problem, SearchLimits(seconds=10))
    if plan.objective is not None:
        assert max(resource_bounds(formulation).values()) <= from_units(plan.objective, formulation.cost_divisor)


def test_resource_bound_is_the_rounded_volume() -> None:
    """Three models of 50 % need 1.5 GPUs by utilization, rounded up to 2; 3 x 1000 of 10,000 MiB need one."""
    assert resource_bounds(formulate(request(0.5, 0.5, 0.5))) == {
        "memory": 1,
        "utilization": 2,
        "memory utilization": 1,
    }


def priced(objective: Objective) -> Request:
    """Make a request on which a single change of memory, `together` or `alone` makes a plan cheaper by an objective."""
    small = FleetType(type="T4", memory_bytes=10_000 * MIB, devices=("T4",), cost_per_hour=1.0)
    large = replace(small, type="A10", memory_bytes=24_000 * MIB, devices=("A10",), cost_per_hour=3.2)
    sizes = {"a": 3000, "b": 4500, "c": 2500, "d": 6000}
    return Request(
        profiles=tuple(
            profile(n, point(memory_mib=m, utilization=0.1), device=device, server_mib=0)
            for n, m in sizes.items()
            for device in ("T4", "A10")
        ),
        requirements=(
            Requirement(model="a", alone=True),
            Requirement(model="b", together=("g",)),
            Requirement(model="c"),
            Requirement(model="d", together=("g",)),
        ),
        fleet=(small, large),
        rules=Rules(mode=Mode.MEMORY, objective=objective),
    )


@pytest.mark.parametrize("objective", [Objective.COST, Objective.GPUS])
def test_every_change_that_makes_the_plan_cheaper_is_named(objective: Objective) -> None:
    """b and d take 10,500 MiB together: an A10 for 3.2 and, as a is alone, a T4 for a; without `together` T4s do."""
    asked = priced(objective)
    as_it_is = solve_request(asked, SearchLimits(seconds=10)).value
    assert as_it_is is not None
    named = {r.change: r.value for r in relaxations(asked, as_it_is, SearchLimits(seconds=60))}
    for t, field, nothing, words in ((0, "alone", False, "a not alone"), (1, "together", (), "b not kept together")):
        requirements = list(asked.requirements)
        requirements[t] = replace(requirements[t], **{field: nothing})  # type: ignore[arg-type]
        value = solve_request(replace(asked, requirements=tuple(requirements)), SearchLimits(seconds=10)).value
        assert value is not None
        assert named.get(words) == (pytest.approx(value) if value < as_it_is - 1e-9 else None)


def test_rule_that_keeps_a_model_off_the_other_gpus_is_named() -> None:
    """b has room beside a, from which it is kept apart: it was said to fit elsewhere."""
    profiles = [profile(n, point(memory_mib=m, utilization=0.1)) for n, m in (("a", 4000), ("b", 2000))]
    asked = [Requirement(model="a", apart=("x",)), Requirement(model="b", apart=("x",))]
    found = explain(plan(profiles, demand=asked, fleet=[T4], mode="memory").placement)
    assert found.last_gpu is not None
    assert found.last_gpu.reasons == ("b would have room on gpu-0, but it is kept apart from a (group 'x')",)


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"alone": True}, "b is to be alone"),
        ({"spread": Spread.GPU, "replicas": 2}, "its replicas are spread over gpus"),
        ({"group_max": (("g", 1),), "replicas": 2}, "a GPU may hold 1 replicas of the group 'g' (group_max)"),
    ],
)
def test_every_kind_of_rule_is_named(rules: dict[str, Any], said: str) -> None:
    """There is room for both models, and for two replicas of b, on one GPU; the rule is what forbids it."""
    profiles = [profile(n, point(memory_mib=m, utilization=0.1)) for n, m in (("a", 4000), ("b", 2000))]
    asked = [Requirement(model="a"), Requirement(model="b", **rules)]
    found = explain(plan(profiles, demand=asked, fleet=[T4], mode="memory").placement)
    assert found.last_gpu is not None
    assert any(reason.endswith(said) or "it is to be alone" in reason for reason in found.last_gpu.reasons)


def test_server_of_no_memory_is_explained_as_it_was_planned() -> None:
    """`plan` takes a server of 0 MiB, and `explain` refused the same value."""
    data = "tests/data/case-study.csv"
    result = plan(data, gpu_memory_mib=16384, mode="memory", server_memory_mib=0)
    found = explain(result.placement, data, server_memory_mib=0, time_limit_s=1)
    assert found.bounds is not None and found.bounds["memory"] <= result.lower_bound


def test_change_that_lacks_a_figure_is_passed_over() -> None:
    """A form of the model without a measured utilization ended the explanation with an error about that form."""
    asked = Request(
        profiles=(profile("chest", point(utilization=0.6)), profile("chest_int8", point(utilization=None))),
        requirements=(Requirement(model="chest", replicas=2),),
        fleet=(T4,),
        rules=Rules(mode=Mode.THROUGHPUT),
    )
    found = relaxations(asked, 2, SearchLimits(seconds=20))
    assert [r.change for r in found] == ["chest with 1 replicas, not 2"]
