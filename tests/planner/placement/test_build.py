"""Test that a placement keeps demand and thresholds, by sums over its own figures."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.formulation.candidates import Mode
from planner.formulation.formulate import formulate
from planner.formulation.rules import Rules
from planner.inputs.demand import Requirement
from planner.inputs.fleet import FleetType, Thresholds
from planner.placement.build import build_placement
from planner.placement.document import CountedThresholds
from planner.placement.file import to_json
from planner.placement.placed_gpu import PlacedGpu
from planner.solver.limits import SearchLimits
from planner.solver.solve import solve
from tests.builders.profiles import MIB, point, profile, request

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
def test_placement_is_within_every_limit_and_serves_every_rate(
    models: list[list[tuple[int, int, int, int]]],
    wishes: list[int | None],
    thresholds: tuple[float, float, float],
    group: bool,
    proportional: bool,
) -> None:
    """Every GPU is within its thresholds and every rate is served, summed in floats over the placement's entries."""
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
    asked = formulate(request(profiles, demand, [fleet], Rules(mode=Mode.THROUGHPUT, proportional=proportional)))
    placement = build_placement(solve(asked.problem, SearchLimits(seconds=5)), asked, group=group)
    assert to_json(placement)  # raises unless it follows the schema
    served: dict[str, float] = dict.fromkeys((p.model for p in profiles), 0.0)
    copies, rates = dict(served), dict(served)
    for gpu in placement.gpus:
        _check(gpu, limits)
        for model in gpu.models:
            served[model.name] += gpu.gpus * (model.throughput_infer_per_s or 0)
            copies[model.name] += gpu.gpus * model.replicas
            rates[model.name] += gpu.gpus * (model.rate_infer_per_s or 0)
    assert sum(gpu.gpus for gpu in placement.gpus) == placement.objective.gpus
    for requirement in demand:
        if requirement.rate_infer_per_s is None:
            assert copies[requirement.model] == 2
        else:
            assert served[requirement.model] >= requirement.rate_infer_per_s * (1 - 1e-6)
            assert rates[requirement.model] == pytest.approx(requirement.rate_infer_per_s, rel=1e-6)


def _check(gpu: PlacedGpu, limits: Thresholds) -> None:
    """Check that the GPU's figures are the sums of its models' figures and within the thresholds."""
    assert gpu.memory_bytes == 300 * MIB + sum(model.memory_bytes for model in gpu.models)
    assert gpu.utilization == pytest.approx(sum(model.utilization or 0 for model in gpu.models))
    assert gpu.memory_utilization == pytest.approx(sum(model.memory_utilization or 0 for model in gpu.models))
    assert gpu.memory_bytes <= gpu.memory_capacity_bytes * limits.memory
    assert gpu.utilization is not None
    assert gpu.utilization <= limits.utilization + 2e-6
    assert gpu.memory_utilization is not None
    assert gpu.memory_utilization <= limits.memory_utilization + 2e-6


def test_unmeasured_sum_is_null_not_zero() -> None:
    """If one model has no utilization (memory mode), the GPU's sum is unknown."""
    profiles = [profile("a"), profile("b", point(utilization=None))]
    fleet = FleetType(type="T4", memory_bytes=8_000 * MIB, devices=("T4",))
    demand = [Requirement(model="a"), Requirement(model="b")]
    asked = formulate(request(profiles, demand, [fleet], Rules(mode=Mode.MEMORY)))
    placement = build_placement(solve(asked.problem, SearchLimits(seconds=5)), asked)
    (gpu,) = placement.gpus
    assert gpu.utilization is None
    assert gpu.memory_utilization == pytest.approx(0.4)
    assert placement.thresholds == CountedThresholds(memory=1.0, utilization=None, memory_utilization=None)
