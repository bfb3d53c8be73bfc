"""Test the formulation of demand, profiles and fleet as a problem, most often by the plan that solves it."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzer.errors import UsageError
from planner.formulation.candidates import Candidate, Mode
from planner.formulation.formulate import formulate
from planner.formulation.objective import Objective, from_units
from planner.formulation.rules import Rules
from planner.inputs.demand import Requirement, Spread
from planner.inputs.fleet import FleetType, Scaling, Thresholds
from planner.inputs.profiles import OperatingPoint, Profile
from planner.planning import plan as make_plan
from planner.problem.plan import Plan, Status
from planner.solver.limits import SearchLimits
from planner.solver.solve import solve
from tests.builders.profiles import MIB, point, profile, request

T4 = FleetType(type="T4", memory_bytes=10_300 * MIB, devices=("T4",), cost_per_hour=1.0)
THROUGHPUT = Rules(mode=Mode.THROUGHPUT)


def plan(
    profiles: list[Profile], demand: list[Requirement], *fleet: FleetType, rules: Rules = THROUGHPUT
) -> tuple[Plan, float]:
    """Formulate and solve; return the plan and its value in the objective's unit."""
    found = formulate(request(profiles, demand, fleet or (T4,), rules))
    solved = solve(found.problem, SearchLimits(seconds=20))
    return solved, from_units(solved.objective or 0, found.cost_divisor)


def test_rate_is_split_over_replicas() -> None:
    """250 infer/s at 100 each are three replicas; at 50 % of a GPU each, two GPUs."""
    found, gpus = plan([profile("chest")], [Requirement(model="chest", rate_infer_per_s=250)])
    assert (found.status, gpus) == (Status.OPTIMAL, 2)


def test_solver_chooses_the_operating_point() -> None:
    """90 infer/s: batch 1 gives 50 at 40 %, batch 4 gives 100 at 60 %; one replica of batch 4 leaves 40 % free."""
    chest = profile("chest", point(throughput=50, utilization=0.4), point(batch=4, throughput=100, utilization=0.6))
    other = profile("other", point(utilization=0.4))
    demand = [Requirement(model="chest", rate_infer_per_s=90), Requirement(model="other")]
    assert plan([chest, other], demand)[1] == 1


def test_latency_budget_excludes_points() -> None:
    """Within a p99 of 20 ms only the slower point is allowed: 90 infer/s take two replicas at 60 % on two GPUs."""
    chest = profile(
        "chest",
        point(throughput=50, utilization=0.6, latency_p99_s=0.02),
        point(batch=4, throughput=100, utilization=0.6, latency_p99_s=0.021),
        point(
            batch=8, throughput=200, utilization=0.6, latency_p99_s=None
        ),  # without a measured p99 it does not count as within the budget
    )
    demand = Requirement(model="chest", rate_infer_per_s=90, latency_p99_s=0.02)
    assert plan([chest], [demand])[1] == 2
    found, _ = plan([chest], [Requirement(model="chest", latency_p99_s=0.001)])
    assert found.status is Status.INFEASIBLE


def test_copies_without_a_rate_stay_at_the_best_throughput() -> None:
    """At its best throughput a replica takes 60 %, so two need two GPUs; at 0.9 of it 50 %, and they share one."""
    chest = profile("chest", point(throughput=100, utilization=0.6), point(batch=2, throughput=92, utilization=0.5))
    demand = [Requirement(model="chest", replicas=2)]
    assert plan([chest], demand)[1] == 2
    assert plan([chest], demand, rules=Rules(mode=Mode.THROUGHPUT, keep_throughput=0.9))[1] == 1


def test_other_model_named_as_variant_may_serve_the_demand() -> None:
    """fp32 takes 60 % for 100 infer/s and int8 20 %: three replicas of int8 serve 300 infer/s on one GPU."""
    models = [
        profile("fp32", point(utilization=0.6)),
        profile("int8", point(utilization=0.2)),
    ]
    demand = Requirement(model="fp32", rate_infer_per_s=300)
    assert plan(models, [demand])[1] == 3
    allowed = Requirement(model="fp32", rate_infer_per_s=300, variants=("int8",))
    assert plan(models, [allowed])[1] == 1


def test_proportional_charging_scales_utilization_by_the_rate_served() -> None:
    """30 of 100 infer/s at 50 % are charged as 15 %: four such models share a GPU instead of two."""
    models = [profile(name) for name in "abcd"]
    demand = [Requirement(model=name, rate_infer_per_s=30) for name in "abcd"]
    assert plan(models, demand)[1] == 2
    assert plan(models, demand, rules=Rules(mode=Mode.THROUGHPUT, proportional=True))[1] == 1


def test_spare_replicas_survive_a_loss() -> None:
    """At 60 % one replica fits on a GPU: two and a spare one need three GPUs, and so do 150 infer/s at 100 each."""
    spare = Rules(mode=Mode.THROUGHPUT, spare=1)
    chest = [profile("chest", point(utilization=0.6))]
    assert plan(chest, [Requirement(model="chest", replicas=2)], rules=spare)[1] == 3
    assert plan(chest, [Requirement(model="chest", rate_infer_per_s=150)], rules=spare)[1] == 3
    # at 50 % two fit: each of two GPUs serves all of it
    assert plan([profile("chest")], [Requirement(model="chest", rate_infer_per_s=150)], rules=spare)[1] == 2
    # 10 infer/s need one replica, and a spare that serves if it is lost: two GPUs
    assert plan([profile("chest")], [Requirement(model="chest", rate_infer_per_s=10)], rules=spare)[1] == 2


def test_rules_follow_the_demand() -> None:
    """Small models would share one GPU; with spread, apart or alone they need two."""
    small = point(utilization=0.1, memory_utilization=0.1, memory_mib=100)
    models = [profile("a", small), profile("b", small)]
    both = [Requirement(model="a"), Requirement(model="b")]
    assert plan(models, both)[1] == 1
    assert plan(models, [Requirement(model="a", replicas=2, spread=Spread.GPU)])[1] == 2
    assert plan(models, [Requirement(model="a", apart=("x",)), Requirement(model="b", apart=("x",))])[1] == 2
    assert plan(models, [Requirement(model="a", alone=True), Requirement(model="b")])[1] == 2


def test_group_max_limits_the_replicas_per_gpu() -> None:
    """Six small replicas fit on a GPU; with at most two of the group `scans` per GPU, four of them need two GPUs."""
    small = point(utilization=0.1, memory_utilization=0.1, memory_mib=100)
    models = [profile(name, small) for name in "abc"]
    demand = [Requirement(model=name, replicas=2) for name in "abc"]
    assert plan(models, demand)[1] == 1
    scans = [replace(r, group_max=(("scans", 2),)) if r.model != "c" else r for r in demand]
    found, gpus = plan(models, scans)
    assert gpus == 2
    assert [sum(r.count for r in g.contents[0] if r.task < 2) for g in found.gpus for _ in range(g.count)] == [2, 2]
    other = [scans[0], replace(scans[1], group_max=(("scans", 3),))]
    with pytest.raises(UsageError, match="group_max of 'scans' is 2 for a and 3 for b"):
        plan(models, other)


def test_cheapest_mix_of_types() -> None:
    """For 200 infer/s two T4 at 1 per hour are cheaper than one L4 at 3 per hour; an L4 at 1.5 is cheaper."""
    models = [
        profile("chest", point(throughput=100, utilization=0.6)),
        profile("chest", point(throughput=200, utilization=0.6), device="L4"),
    ]
    demand = [Requirement(model="chest", rate_infer_per_s=200)]
    cost = Rules(mode=Mode.THROUGHPUT, objective=Objective.COST)
    for price, value in ((3.0, 2.0), (1.5, 1.5)):
        l4 = FleetType(type="L4", memory_bytes=20_000 * MIB, devices=("L4",), cost_per_hour=price)
        assert plan(models, demand, T4, l4, rules=cost)[1] == value
    with pytest.raises(UsageError, match="has no cost_per_hour"):
        plan(models, demand, FleetType(type="L4", memory_bytes=MIB * 9000, devices=("L4",)), rules=cost)


def test_measured_on_one_type_is_not_assumed_of_another() -> None:
    """Without a scaling no model is placed on the L4; with one the figures are scaled and marked as estimates."""
    l4 = FleetType(type="L4", memory_bytes=20_000 * MIB, devices=("L4",))
    assert plan([profile("chest")], [Requirement(model="chest")], l4)[0].status is Status.INFEASIBLE
    scaled = FleetType(
        type="L4", memory_bytes=20_000 * MIB, devices=("L4",), scaling=Scaling(device="T4", throughput=2.0)
    )
    found = formulate(request([profile("chest")], [Requirement(model="chest")], [scaled], THROUGHPUT))
    candidate = found.problem.tasks[0].options[0].candidate
    assert isinstance(candidate, Candidate)
    assert candidate.throughput_infer_per_s == 200
    assert candidate.point.estimate == "scaled from T4"


def test_models_get_the_memory_left_by_server_reserve_and_threshold() -> None:
    """0.5 x 10,300 - 300 (server) - 850 (reserved) = 4000 MiB: four models of 1000 MiB, not five."""
    tight = FleetType(
        type="T4",
        memory_bytes=10_300 * MIB,
        reserved_bytes=850 * MIB,
        devices=("T4",),
        thresholds=Thresholds(memory=0.5),
    )
    memory = Rules(mode=Mode.MEMORY)
    assert plan([profile("a")], [Requirement(model="a", replicas=4)], tight, rules=memory)[1] == 1
    assert plan([profile("a")], [Requirement(model="a", replicas=5)], tight, rules=memory)[1] == 2


def test_processes_of_their_own_are_charged_to_each_replica() -> None:
    """10,000 MiB hold ten models of 1000 MiB; with an overhead of 100 MiB (type) and 150 MiB (model) each, eight."""
    t4 = replace(T4, model_overhead_bytes=100 * MIB)
    memory = Rules(mode=Mode.MEMORY)
    for replicas, gpus in ((8, 1), (9, 2)):
        demand = [Requirement(model="a", replicas=replicas, overhead_bytes=150 * MIB)]
        assert plan([profile("a")], demand, t4, rules=memory)[1] == gpus


def test_energy_is_idle_power_plus_the_replicas_power() -> None:
    """A GPU of 20 W idle with two replicas measured at 50 W each takes 20 + 2 x 30 = 80 W."""
    powered = replace(point(utilization=0.4), power_w=50.0)
    t4 = replace(T4, idle_power_w=20.0)
    rules = Rules(mode=Mode.THROUGHPUT, objective=Objective.ENERGY)
    assert plan([profile("a", powered)], [Requirement(model="a", replicas=2)], t4, rules=rules)[1] == 80
    with pytest.raises(UsageError, match="has no measured power"):
        plan([profile("a")], [Requirement(model="a")], t4, rules=rules)


def test_slices_are_used_as_they_were_measured() -> None:
    """Seven replicas that each fill a 1g slice need one GPU cut into seven; whole GPUs hold one at 60 % each."""
    a30 = FleetType(type="A30", memory_bytes=24_000 * MIB, devices=("NVIDIA A30",), mig="A30-24GB")
    models = [
        profile("a", point(utilization=0.6), device="NVIDIA A30"),
        profile("a", point(throughput=100, utilization=1.0), device="NVIDIA A30 MIG 1g.6gb"),
    ]
    demand = [Requirement(model="a", replicas=4)]
    assert plan(models, demand, a30)[1] == 1
    assert plan(models, demand, FleetType(type="A30", memory_bytes=24_000 * MIB, devices=("NVIDIA A30",)))[1] == 4


def test_slice_without_a_measurement_is_a_labelled_estimate() -> None:
    """On a quarter of an A30, a model at 50 % of the whole has half its throughput (0.5 x 4 = 2) and 4 x the p99."""
    a30 = FleetType(type="A30", memory_bytes=24_000 * MIB, devices=("NVIDIA A30",), mig="A30-24GB")
    demand = [Requirement(model="a", rate_infer_per_s=10)]
    found = formulate(request([profile("a", device="NVIDIA A30")], demand, [a30], THROUGHPUT))
    place = next(i for i, place in enumerate(found.places) if place.slice_name == "1g.6gb")
    candidate = next(o.candidate for o in found.problem.tasks[0].options if o.place == place)
    assert isinstance(candidate, Candidate)
    assert candidate.throughput_infer_per_s == 50
    assert candidate.point.latency_p99_s == pytest.approx(0.04)
    assert candidate.utilization == 1.0
    assert "not measured on a slice" in candidate.point.estimate


def test_replica_at_its_best_throughput_is_not_put_on_a_slower_slice() -> None:
    """A replica at 50 % of an A30 keeps its 100 infer/s only on 2g (half the GPU) and 4g; 1g would halve it."""
    a30 = FleetType(type="A30", memory_bytes=24_000 * MIB, devices=("NVIDIA A30",), mig="A30-24GB")
    found = formulate(request([profile("a", device="NVIDIA A30")], [Requirement(model="a")], [a30], THROUGHPUT))
    names = {found.places[o.place].slice_name for o in found.problem.tasks[0].options}
    assert names == {None, "2g.12gb", "4g.24gb"}


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(10, 400), st.integers(1, 2)), min_size=1, max_size=3), st.integers(1, 2))
def test_any_gpu_may_be_lost_with_a_spare(demand: list[tuple[int, int]], spare: int) -> None:
    """Without any `spare` GPUs the others still serve every rate with the least number of replicas."""
    profiles = [
        profile(f"m{i}", point(throughput=60, utilization=0.2), point(batch=2, throughput=100, utilization=0.3))
        for i in range(len(demand))
    ]
    requirements = [
        Requirement(model=f"m{i}", rate_infer_per_s=rate, replicas=replicas)
        for i, (rate, replicas) in enumerate(demand)
    ]
    asked = formulate(request(profiles, requirements, [T4], Rules(mode=Mode.THROUGHPUT, spare=spare)))
    gpus = [g for g in solve(asked.problem, SearchLimits(seconds=20)).gpus for _ in range(g.count)]
    for lost in itertools.combinations(range(len(gpus)), min(spare, len(gpus))):
        left = [r for i, g in enumerate(gpus) if i not in lost for r in g.contents[0]]
        for t, (rate, replicas) in enumerate(demand):
            own = [(asked.problem.tasks[t].options[r.option].candidate, r.count) for r in left if r.task == t]
            assert sum(c.throughput_infer_per_s * n for c, n in own if isinstance(c, Candidate)) >= rate
            assert sum(n for _, n in own) >= replicas


def test_any_node_may_be_lost_with_a_spare_one() -> None:
    """Two replicas at 60 % and a spare of nodes, on nodes of two GPUs: each of two nodes has two, or three have one."""
    small = point(utilization=0.6)
    nodes = replace(T4, gpus_per_node=2)
    rules = Rules(mode=Mode.THROUGHPUT, spare=1, spare_of=Spread.NODE)
    found, gpus = plan([profile("a", small)], [Requirement(model="a", replicas=2)], nodes, rules=rules)
    assert gpus == 3
    assert len({n for g in found.gpus for n in g.nodes}) == 3


@pytest.mark.parametrize("ms", [26.0, 0.29, 55.3, 1234.567])
def test_budget_that_equals_the_measured_p99_is_kept(ms: float) -> None:
    """26 ms read from a CSV are 26 x 0.001 s = 0.026000000000000002 s, which was more than a budget of 26 / 1000 s."""
    chest = profile("chest", point(latency_p99_s=ms * 0.001))
    asked = Requirement(model="chest", rate_infer_per_s=50, latency_p99_s=ms / 1000)
    assert plan([chest], [asked])[1] == 1
    assert plan([chest], [replace(asked, latency_p99_s=ms / 1000 * 0.9999)])[0].status is Status.INFEASIBLE


@pytest.mark.parametrize(
    ("measured", "said"),
    [
        (point(latency_p99_s=None), "chest has no measured p99 on T4, so that 50 ms cannot be promised"),
        (
            point(latency_p99_s=0.06),
            "chest has no operating point on T4 with a p99 within 50 ms; its lowest is 60.0 ms",
        ),
        (point(throughput=None), "chest has no measured throughput on T4, so that no rate can be promised"),
    ],
)
def test_reason_says_what_was_not_measured(measured: OperatingPoint, said: str) -> None:
    """A p99 that was not measured is not one above the budget."""
    asked = Requirement(model="chest", rate_infer_per_s=50, latency_p99_s=0.05)
    (unplaced,) = make_plan([profile("chest", measured)], demand=[asked], fleet=[T4]).placement.unplaced
    assert unplaced.reason == said
