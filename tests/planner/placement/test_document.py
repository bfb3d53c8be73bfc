"""The placement document keeps what was asked, counted again from its own figures."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.formulation.candidates import Mode
from planner.formulation.formulate import formulate
from planner.formulation.rules import Rules
from planner.inputs.demand import Requirement
from planner.inputs.fleet import FleetType, Thresholds
from planner.placement.document import build_placement
from planner.placement.file import first_fault
from planner.solver.solve import solve
from tests.builders.profiles import MIB, point, profile

figures = st.tuples(
    st.integers(5, 60),  # utilization in %
    st.integers(0, 60),  # memory utilization in %
    st.integers(50, 4000),  # MiB
    st.integers(10, 200),  # inferences/s
)


@settings(deadline=None, max_examples=60)
@given(
    models=st.lists(st.lists(figures, min_size=1, max_size=3), min_size=1, max_size=4),
    wishes=st.lists(st.one_of(st.none(), st.integers(1, 500)), min_size=4, max_size=4),
    thresholds=st.tuples(st.sampled_from([1.0, 0.8]), st.sampled_from([1.0, 0.7, 1.1]), st.sampled_from([1.0, 0.9])),
    group=st.booleans(),
    proportional=st.booleans(),
)
def test_document_is_within_every_limit_and_serves_every_rate(
    models: list[list[tuple[int, int, int, int]]],
    wishes: list[int | None],
    thresholds: tuple[float, float, float],
    group: bool,
    proportional: bool,
) -> None:
    """Sums in floats over the entries of the document, not the solver's integers."""
    profiles = [
        profile(
            f"m{i}",
            *(
                point(batch=b, utilization=u / 100, memory_utilization=m / 100, memory_mib=size, throughput=rate)
                for b, (u, m, size, rate) in enumerate(points, start=1)
            ),
        )
        for i, points in enumerate(models)
    ]
    demand = [
        Requirement(model=p.model, rate_infer_per_s=rate) if rate else Requirement(model=p.model, replicas=2)
        for p, rate in zip(profiles, wishes, strict=False)
    ]
    memory, utilization, bandwidth = thresholds
    limits = Thresholds(memory=memory, utilization=utilization, memory_utilization=bandwidth)
    fleet = FleetType(type="T4", memory_bytes=8_000 * MIB, devices=("T4",), thresholds=limits)
    asked = formulate(profiles, demand, [fleet], Rules(mode=Mode.THROUGHPUT, proportional=proportional))
    plan = solve(asked.problem, time_limit_s=5)
    document = build_placement(plan, asked, profiles, group=group)
    assert first_fault(document) is None
    served: dict[str, float] = dict.fromkeys((p.model for p in profiles), 0.0)
    copies = dict(served)
    for gpu in document["gpus"]:
        _check(gpu, 8_000 * memory, 100 * utilization, 100 * bandwidth)
        for model in gpu["models"]:
            served[model["name"]] += gpu.get("count", 1) * model["throughput_infer_per_s"]
            copies[model["name"]] += gpu.get("count", 1) * model["replicas"]
    assert sum(gpu.get("count", 1) for gpu in document["gpus"]) == document["objective"]["gpus"]
    for requirement in demand:
        if requirement.rate_infer_per_s is None:
            assert copies[requirement.model] == 2
        else:
            assert served[requirement.model] >= requirement.rate_infer_per_s * (1 - 1e-6)
            given_rates = sum(
                gpu.get("count", 1) * m["rate_infer_per_s"]
                for gpu in document["gpus"]
                for m in gpu["models"]
                if m["name"] == requirement.model
            )
            assert given_rates == pytest.approx(requirement.rate_infer_per_s, rel=1e-6)


def _check(gpu: dict[str, Any], memory_mib: float, utilization_pct: float, bandwidth_pct: float) -> None:
    """The GPU's figures are the sums of its models', and within the limits."""
    sums = {
        key: sum(model[key] for model in gpu["models"])
        for key in ("memory_mib", "utilization_pct", "memory_utilization_pct")
    }
    assert gpu["memory_mib"] == pytest.approx(300 + sums["memory_mib"])
    assert gpu["utilization_pct"] == pytest.approx(sums["utilization_pct"])
    assert gpu["memory_utilization_pct"] == pytest.approx(sums["memory_utilization_pct"])
    assert gpu["memory_mib"] <= memory_mib + 1e-6
    assert gpu["utilization_pct"] <= utilization_pct + 2e-4
    assert gpu["memory_utilization_pct"] <= bandwidth_pct + 2e-4


def test_unmeasured_sum_is_null_not_zero() -> None:
    """In memory mode a model without utilization makes the GPU's sum unknown."""
    profiles = [profile("a"), profile("b", point(utilization=None))]
    fleet = FleetType(type="T4", memory_bytes=8_000 * MIB, devices=("T4",))
    asked = formulate(profiles, [Requirement(model="a"), Requirement(model="b")], [fleet], Rules(mode=Mode.MEMORY))
    document = build_placement(solve(asked.problem, time_limit_s=5), asked, profiles)
    (gpu,) = document["gpus"]
    assert (gpu["utilization_pct"], gpu["memory_utilization_pct"]) == (None, 40)
    assert document["thresholds"] == {"memory_pct": 100, "utilization_pct": None, "memory_utilization_pct": None}
