"""Test the resources that are counted hour by hour, and the plans of demands with rates by hour."""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from planner.explanation.baselines import baselines
from planner.explanation.bottlenecks import binding, last_gpu
from planner.explanation.resource_bounds import resource_bounds
from planner.formulation.candidates import Mode
from planner.formulation.formulate import formulate
from planner.formulation.resources import hour_groups
from planner.formulation.rules import Rules
from planner.inputs.demand import Requirement
from planner.inputs.fleet import FleetType, Thresholds
from planner.inputs.profiles import Profile
from planner.placement.busiest_hour import gpu_in_busiest_hour, shares_by_hour
from planner.placement.file import read_placement, to_json
from planner.placement.placed_gpu import PlacedGpu
from planner.planning import PlanResult, plan
from planner.problem.verify import violations
from planner.solver.limits import SearchLimits
from planner.solver.solve import solve
from tests.builders.brute_force import least_cost
from tests.builders.profiles import MIB, point, profile, request

T4 = FleetType(type="T4", memory_bytes=10_300 * MIB, devices=("T4",))
DAY = tuple(100.0 if 8 <= hour < 20 else 10.0 for hour in range(24))
NIGHT = tuple(110.0 - rate for rate in DAY)
MODELS = "abcd"


def by_hour(model: str, rates: tuple[float, ...]) -> Requirement:
    """Make a demand with rates by hour."""
    return Requirement(model=model, rates_by_hour_infer_per_s=rates)


def of_day(*parts: float) -> tuple[float, ...]:
    """Return the rates of a day that has so many parts of the same length."""
    return tuple(rate for rate in parts for _ in range(24 // len(parts)))


def busy(utilization: float = 0.9) -> list[Profile]:
    """Make models that take so much of a GPU for 100 infer/s."""
    return [profile(name, point(utilization=utilization)) for name in MODELS]


DAY_AND_NIGHT = [by_hour("a", DAY), by_hour("b", DAY), by_hour("c", NIGHT), by_hour("d", NIGHT)]


def solved(demand: list[Requirement], utilization: float = 0.9, **options: object) -> PlanResult:
    """Plan four models on T4s."""
    return plan(busy(utilization), demand=demand, fleet=[T4], time_limit_s=20, **options)  # type: ignore[arg-type]


def test_models_whose_peaks_fall_in_different_hours_share_a_gpu() -> None:
    """At 90 % in 12 hours and 9 % in the others, a model of the day and one of the night take 99 % at any time: two
    GPUs instead of four."""
    found = solved(DAY_AND_NIGHT)
    assert (found.status.value, found.gpus) == ("optimal", 2)
    assert [sorted(model.name for model in gpu.models)[0] in "ab" for gpu in found.placement.gpus] == [True, True]
    for gpu in found.placement.gpus:  # 90 + 9, in the hours of either peak
        assert math.isclose(gpu.utilization or 0, 0.99)
    assert solved([Requirement(model=name, rate_infer_per_s=100) for name in MODELS]).gpus == 4


def test_hours_that_are_alike_or_never_limit_are_one_row() -> None:
    """Two parts of a day give two rows for each utilization, named by their times; an hour with less of all none."""
    found = formulate(request(busy(), DAY_AND_NIGHT, [T4], Rules(mode=Mode.THROUGHPUT)))
    assert found.problem.resources == (
        "memory",
        "utilization at 20:00-08:00",
        "utilization at 08:00-20:00",
        "memory utilization at 20:00-08:00",
        "memory utilization at 08:00-20:00",
    )
    quiet_at_three = [by_hour(r.model, (*r.rates_by_hour_infer_per_s[:3], 1.0, *DAY[4:])) for r in DAY_AND_NIGHT[:2]]
    assert [group.hours for group in hour_groups(quiet_at_three)] == [()]
    names = [group.suffix for group in hour_groups([by_hour("a", of_day(2, 1, 0)), by_hour("b", of_day(1, 2, 0))])]
    assert names == [" at 00:00-08:00", " at 08:00-16:00"]
    single = [by_hour("a", (5.0, *DAY[1:])), by_hour("b", (200.0, *DAY[1:]))]
    assert [group.suffix for group in hour_groups(single)] == [" at 00:00", " at 08:00-20:00"]


def test_the_same_rate_in_every_hour_is_the_plain_rate() -> None:
    """Flat rates give the GPUs, the bound and the proof of the plain rate, byte for byte."""
    flat, plain = (
        solved(demand, 0.3)
        for demand in (
            [by_hour(name, (100.0 + i,) * 24) for i, name in enumerate(MODELS)],
            [Requirement(model=name, rate_infer_per_s=100.0 + i) for i, name in enumerate(MODELS)],
        )
    )
    assert flat.placement.schema_version == "1.3"
    same = replace(flat.placement, demand=plain.placement.demand, schema_version="1.0")
    assert to_json(same) == to_json(plain.placement)


def test_model_without_hours_counts_in_every_hour() -> None:
    """A copy at 20 % beside 90 % by day and 9 % by night is 110 % by day: another GPU."""
    demand = [by_hour("a", DAY), Requirement(model="e")]
    models = [*busy(), profile("e", point(utilization=0.2))]
    assert plan(models, demand=demand, fleet=[T4]).gpus == 2
    assert plan(models, demand=demand, fleet=[replace(T4, thresholds=Thresholds(utilization=1.1))]).gpus == 1


def test_growth_raises_every_hour() -> None:
    """Twice the rates take two replicas of each model, at 90 % in their hours: four GPUs, each with two models."""
    found = solved([replace(r, growth=2.0) for r in DAY_AND_NIGHT])
    assert found.gpus == 4
    assert sum(m.rate_infer_per_s or 0 for gpu in found.placement.gpus for m in gpu.models) == 800  # at their peaks


def test_spare_gpu_serves_the_peak() -> None:
    """With one GPU spare, two replicas of each model are on different GPUs, day beside night: four GPUs, not eight."""
    assert solved(DAY_AND_NIGHT, spare=1).gpus == 4


def test_planning_again_moves_nothing() -> None:
    """The placement in force is read with its hours: nothing is moved."""
    before = solved(DAY_AND_NIGHT)
    again = solved(DAY_AND_NIGHT, current=before.placement, max_moves=0)
    assert (again.gpus, again.moves) == (2, ())


def test_first_fit_decreasing_packs_hours_too() -> None:
    """Like with like: first-fit decreasing puts day beside night as well, if the day comes first."""
    found = baselines(formulate(request(busy(), DAY_AND_NIGHT, [T4], Rules(mode=Mode.THROUGHPUT))))
    assert found[0].gpus == 2


def test_explanation_names_the_hour() -> None:
    """With 80 % by day, 85 % by night and a tenth of it in the other hours, the night is nearest to the limit."""
    models = [profile("a", point(utilization=0.8)), profile("c", point(utilization=0.85))]
    demand = [by_hour("a", DAY), by_hour("c", NIGHT)]
    found = plan(models, demand=demand, fleet=[T4])
    fill = binding(found.placement)["gpu-0"]
    assert (fill.resource, fill.used) == ("utilization at 20:00-08:00", 93)  # 85 + 8 %
    bounds = resource_bounds(found.solved.formulation)
    assert list(bounds) == ["memory", "utilization at 20:00-08:00", "memory utilization at 20:00-08:00"]


def test_last_gpu_is_compared_hour_by_hour() -> None:
    """Of three models of the day, each alone on its GPU, the one with least needs 60 % by day, where 40 % is left."""
    found = plan(busy(0.6)[:3], demand=[*(by_hour(n, DAY) for n in "ab"), by_hour("c", (50.0, *DAY[1:]))], fleet=[T4])
    last = last_gpu(found.placement)
    assert last is not None
    assert "needs 60 % of utilization" in last.reasons[0]
    demand = [by_hour("a", DAY), by_hour("b", DAY), by_hour("c", NIGHT)]
    apart = plan(busy(0.6)[:3], demand=[replace(r, apart=("x",)) for r in demand], fleet=[T4]).placement
    reasons = {gpu.id: gpu.models[0].name for gpu in apart.gpus}
    last = last_gpu(apart)
    assert last is not None  # c would fit beside a or b; a would fit beside c
    assert "would have room" in last.reasons[0], reasons


def test_gpu_in_its_busiest_hour_adds_up() -> None:
    """The models of a GPU in its busiest hour take together what the GPU shows: 90 and 9 %."""
    placement = solved(DAY_AND_NIGHT).placement
    gpu = gpu_in_busiest_hour(placement.gpus[0], shares_by_hour(placement.demand))
    assert sorted(round(model.utilization or 0, 6) for model in gpu.models) == [0.09, 0.9]
    assert sorted(round(model.rate_infer_per_s or 0, 6) for model in gpu.models) == [10, 100]
    assert math.isclose(sum(model.memory_utilization or 0 for model in gpu.models), gpu.memory_utilization or 0)


def test_placement_file_keeps_the_hours(tmp_path) -> None:  # type: ignore[no-untyped-def]
    """A placement with rates by hour is of schema 1.3, and is read back with them."""
    placement = solved(DAY_AND_NIGHT).placement
    path = tmp_path / "placement.json"
    path.write_text(to_json(placement))
    again = read_placement(path)
    assert (again.schema_version, again.demand) == ("1.3", placement.demand)
    assert again.demand[0].rate_infer_per_s == 100


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([0.3, 0.5, 0.7, 0.95]),
            st.lists(st.sampled_from([0.0, 20.0, 60.0, 100.0, 150.0]), min_size=4, max_size=4).filter(any),
        ),
        min_size=2,
        max_size=4,
    )
)
def test_plans_with_hours_cost_the_least_and_keep_every_hour(models: list[tuple[float, list[float]]]) -> None:
    """The solver finds the cost of brute force, and in each of the 24 hours every GPU is within its thresholds."""
    profiles = [profile(MODELS[i], point(utilization=share)) for i, (share, _) in enumerate(models)]
    demand = [by_hour(MODELS[i], of_day(*rates)) for i, (_, rates) in enumerate(models)]
    found = formulate(request(profiles, demand, [T4], Rules(mode=Mode.THROUGHPUT)))
    answer = solve(found.problem, SearchLimits(seconds=10))
    assert violations(answer, found.problem) == ()
    assert answer.objective == least_cost(found.problem, most_gpus=8)
    placement = plan(profiles, demand=demand, fleet=[T4]).placement
    shares = {r.model: r.shares_by_hour for r in demand}
    for gpu in placement.gpus:
        by_hours = [_used(gpu, shares, hour) for hour in range(24)]
        assert max(by_hours) <= 1 + 1e-6
        assert math.isclose(max(by_hours), gpu.utilization or 0)


def _used(gpu: PlacedGpu, shares: dict[str, tuple[float, ...]], hour: int) -> float:
    return sum((model.utilization or 0) * shares[model.name][hour] for model in gpu.models)
