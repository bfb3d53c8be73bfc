"""Test re-planning: a new plan with few moves from the current placement."""

from __future__ import annotations

import csv
import itertools
import json
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from planner.cli.main import main
from planner.formulation.candidates import Mode
from planner.formulation.formulate import formulate
from planner.formulation.rules import Rules
from planner.inputs.demand import Requirement, Spread
from planner.inputs.fleet import FleetType, Thresholds
from planner.placement.document import Action, Move
from planner.planning import NoPlanError, PlanResult
from planner.planning import plan as make_plan
from planner.problem.plan import Status
from planner.replan.repair import CurrentGpu, LoadedAs
from planner.replan.replan import replan
from planner.solver.limits import SearchLimits
from planner.solver.solve import solve
from tests.builders.profiles import MIB, point, profile, request

DATA = Path(__file__).parents[2] / "data" / "case-study.csv"


def plan(*arguments: object) -> Result:
    """Run `plan solve` on the case study."""
    return CliRunner().invoke(main, ["solve", str(DATA), "--gpu-memory", "16GB", *map(str, arguments)])


IN_FORCE = (  # the current plan, at 100 %, with six GPUs: utilizations 99, 56, 97, 60, 79 and 100 %
    ("classification_breast", "segmentation_liver"),
    ("classification_chest",),
    ("classification_malaria", "segmentation_ct_spleen"),
    ("segmentation_ct_colon_tumor",),
    ("segmentation_ct_pancreas",),
    ("segmentation_mri_brain_tumor", "segmentation_mri_hippocampus"),
)


@pytest.fixture
def current(tmp_path: Path) -> Path:
    """Write the current placement to a file."""
    with DATA.open() as rows:
        memory = {row["model"]: int(row["model_memory_mib"]) for row in csv.DictReader(rows)}
    document = json.loads(plan("-o", "-").stdout)
    document["gpus"] = [
        {
            "id": f"gpu-{n}",
            "type": "16-GB GPU",
            "memory_capacity_mib": 15258.789062,
            "memory_mib": 309 + sum(memory[name] for name in names),
            "utilization_pct": None,
            "memory_utilization_pct": None,
            "models": [
                {
                    "name": name,
                    "batch": 2,
                    "concurrency": 4,
                    "instances": 1,
                    "memory_mib": memory[name],
                    "throughput_infer_per_s": None,
                }
                for name in names
            ],
        }
        for n, names in enumerate(IN_FORCE)
    ]
    file = tmp_path / "placement.json"
    file.write_text(json.dumps(document))
    return file


def test_unchanged_request_moves_nothing(current: Path) -> None:
    """The current plan is still optimal, so it is kept with its GPUs' ids."""
    result = plan("--current", current, "-o", "-")
    assert result.exit_code == 0, result.output
    found, before = json.loads(result.stdout), json.loads(current.read_text())
    assert found["moves"] == []
    assert [g["id"] for g in found["gpus"]] == [g["id"] for g in before["gpus"]]
    assert found["objective"]["gpus"] == 6


def test_fewer_gpus_within_the_moves(current: Path) -> None:
    """At 110 % five GPUs suffice; without moves the plan keeps six, and the text says that the moves limit it."""
    limits = ("--max-utilization", "110", "--max-memory-utilization", "110", "--current", current)
    found = json.loads(plan(*limits, "-o", "-").stdout)
    assert found["objective"]["gpus"] == 5
    loads = [step for step in found["moves"] if step["action"] == "load"]
    unloads = [step for step in found["moves"] if step["action"] == "unload"]
    assert len(loads) == len(unloads) == 2  # the chest model has room only where another one leaves
    assert all("reason" not in step for step in found["moves"])  # there is room to load each before its unload
    stay = plan(*limits, "--max-moves", "0")
    assert stay.stdout.startswith("6 GPUs: proven, no plan within 0 moves needs fewer")


def test_too_few_moves_are_no_plan(current: Path) -> None:
    """At 90 % three GPUs are too full (99, 97 and 100 %), so at least three replicas must move."""
    limits = ("--max-utilization", "90", "--max-memory-utilization", "90", "--current", current, "--max-moves")
    refused = plan(*limits, "2")
    assert (refused.exit_code, "no plan was found within 2 moves" in refused.stderr) == (3, True)
    assert plan(*limits, "3").exit_code == 0


def test_max_moves_without_a_placement_is_refused() -> None:
    """--max-moves needs the current placement, which the error asks for."""
    result = plan("--max-moves", "3")
    assert (result.exit_code, "--current placement.json" in result.stderr) == (2, True)


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_cost_and_bytes_are_the_least_that_brute_force_finds(data: st.DataObject) -> None:
    """For one replica each of up to four models on up to three GPUs, all assignments are tried."""
    sizes = data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=4))
    start = data.draw(st.lists(st.integers(0, 2), min_size=len(sizes), max_size=len(sizes)))
    max_moves = data.draw(st.one_of(st.none(), st.integers(0, 3)))
    names = [f"m{i}" for i in range(len(sizes))]
    profiles = [profile(n, point(memory_mib=100 * s), server_mib=0) for n, s in zip(names, sizes, strict=True)]
    fleet = FleetType(type="T4", memory_bytes=1000 * MIB, devices=("T4",))
    found = formulate(request(profiles, [Requirement(model=n) for n in names], [fleet], Rules(mode=Mode.MEMORY)))
    held = [
        CurrentGpu(
            id=f"gpu-{g}", gpu=0, layout=0, node=None, counts={(0, t, 0): 1 for t, at in enumerate(start) if at == g}
        )
        for g in sorted(set(start))
    ]
    free = solve(found.problem, SearchLimits(seconds=10))
    moved = {(t, 0): LoadedAs(t, 100 * s) for t, s in enumerate(sizes)}
    result = replan(found.problem, held, free, moved, max_moves=max_moves, limits=SearchLimits(seconds=20))
    outcomes = []
    for where in itertools.product(range(7), repeat=len(sizes)):  # 0-2 are current GPUs, 3-6 are new
        loads = [s for s, old, new in zip(sizes, start, where, strict=True) if old != new]
        fits = all(sum(s for s, w in zip(sizes, where, strict=True) if w == g) <= 10 for g in set(where))
        new_gpus = len({w for w in where if w not in set(start)})
        if fits and new_gpus <= free.n_gpus and (max_moves is None or len(loads) <= max_moves):
            outcomes.append((len(set(where)), sum(loads)))
    if result is None:
        assert not outcomes
        return
    bytes_moved = sum(
        moved[r.task, r.option].size_mib
        for gpu, name in zip(result.plan.gpus, result.ids, strict=True)
        for r in gpu.contents[0]
        if f"gpu-{start[r.task]}" != name
    )
    assert (result.plan.n_gpus, bytes_moved // 100) == min(outcomes)


@pytest.mark.parametrize(("rate", "n_copies"), [(100.0, 3), (None, 2)])
def test_replicas_beyond_the_rate_stay_and_copies_beyond_the_number_go(rate: float | None, n_copies: int) -> None:
    """Three replicas of 100 infer/s on one GPU are more than a rate of 100 needs: they were unloaded for nothing.

    Where two copies are asked for, they are exactly two.
    """
    wanted = Requirement(model="a", rate_infer_per_s=rate, replicas=None if rate else 2)
    fleet = FleetType(type="T4", memory_bytes=4000 * MIB, devices=("T4",))
    profiles = [profile("a", point(memory_mib=1000, throughput=100), server_mib=0)]
    found = formulate(request(profiles, [wanted], [fleet], Rules(mode=Mode.MEMORY)))
    held = [CurrentGpu(id="gpu-0", gpu=0, layout=0, node=None, counts={(0, 0, 0): 3})]
    free = solve(found.problem, SearchLimits(seconds=10))
    result = replan(
        found.problem, held, free, {(0, 0): LoadedAs(0, 1000)}, max_moves=None, limits=SearchLimits(seconds=10)
    )
    assert result is not None
    assert [r.count for gpu in result.plan.gpus for r in gpu.contents[0]] == [n_copies]


def test_few_moves_may_need_a_type_that_a_plan_from_scratch_does_not_use() -> None:
    """From scratch 9 small GPUs serve 700/s with 80/s each; one move from 5 of them is one large GPU with 300/s.

    Only new GPUs of the small type were tried, and no plan was found.
    """
    small, large = (
        FleetType(type=name, memory_bytes=2000 * MIB, devices=(name,), cost_per_hour=cost)
        for name, cost in (("small", 1.0), ("large", 9.0))
    )
    profiles = [
        profile("a", point(throughput=80, utilization=0.9), device="small"),
        profile("a", point(throughput=300, utilization=0.9), device="large"),
    ]
    five, nine = ([Requirement(model="a", rate_infer_per_s=rate)] for rate in (400.0, 700.0))
    before = make_plan(profiles, demand=five, fleet=[small, large], objective="cost")
    assert before.gpus == 5
    after = make_plan(
        profiles, demand=nine, fleet=[small, large], objective="cost", current=before.placement, max_moves=1
    )
    assert (after.status, after.value) == (Status.OPTIMAL, 14)


@pytest.mark.parametrize("limit", [None, 6])
def test_new_gpu_is_in_a_node_that_the_rules_allow(limit: int | None) -> None:
    """A second replica that is spread over nodes of three GPUs needs the second node: new GPUs filled up the first."""
    fleet = FleetType(type="T4", memory_bytes=4000 * MIB, devices=("T4",), gpus_per_node=3, limit=limit)
    profiles = [profile("a", server_mib=0)]
    one, two = (Requirement(model="a", replicas=n, spread=Spread.NODE) for n in (1, 2))
    before = make_plan(profiles, demand=[one], fleet=[fleet])
    after = make_plan(profiles, demand=[two], fleet=[fleet], current=before.placement, max_moves=1)
    assert len({gpu.nodes for gpu in after.placement.gpus}) == 2
    assert before.placement.gpus[0] in after.placement.gpus


T4 = FleetType(type="T4", memory_bytes=16000 * MIB, devices=("T4",), limit=2)
A10 = FleetType(type="A10", memory_bytes=24000 * MIB, devices=("A10",))


def loads(result: PlanResult) -> list[Move]:
    """Return the loads among the moves of a plan."""
    return [move for move in result.moves or () if move.action is Action.LOAD]


@pytest.mark.parametrize("order", [("T4", "A10"), ("A10", "T4")])
def test_replica_is_the_one_of_its_own_device(order: tuple[str, str]) -> None:
    """The same batch and concurrency takes 7000 MiB on a T4 and 9000 on an A10: replicas on an A10 were taken for
    those of a T4, and unloads and loads were listed where nothing changes."""
    both = {
        "T4": profile("a", point(throughput=100, memory_mib=7000), device="T4"),
        "A10": profile("a", point(throughput=300, memory_mib=9000, utilization=0.6), device="A10"),
    }
    profiles = [both[device] for device in order]
    demand = [Requirement(model="a", rate_infer_per_s=800)]
    before = make_plan(profiles, demand=demand, fleet=[T4, A10])
    assert before.gpus == 3
    again = make_plan(profiles, demand=demand, fleet=[T4, A10], current=before.placement, max_moves=0)
    assert (again.moves, again.placement.gpus) == ((), before.placement.gpus)


def test_replica_whose_load_share_changes_is_not_loaded() -> None:
    """30/s of 100/s are three tenths of the replica's time, 60/s are six tenths: the same replica serves both."""
    profiles = [profile("a", point(throughput=100))]
    before = make_plan(profiles, demand=[Requirement(model="a", rate_infer_per_s=30)], fleet=[T4], proportional=True)
    assert before.placement.gpus[0].models[0].load_share == 0.3
    more = make_plan(
        profiles,
        demand=[Requirement(model="a", rate_infer_per_s=60)],
        fleet=[T4],
        proportional=True,
        current=before.placement,
        max_moves=0,
    )
    assert (more.moves, more.placement.gpus[0].models[0].load_share) == ((), 0.6)


def test_replica_that_serves_another_model_now_is_not_loaded() -> None:
    """A replica of `big` that served `small` serves `big`, once that is what is asked for."""
    profiles = [profile("big", point(throughput=100)), profile("small", point(throughput=10))]
    asked = [Requirement(model="small", rate_infer_per_s=50, variants=("big",))]
    before = make_plan(profiles, demand=asked, fleet=[T4])
    assert before.placement.gpus[0].models[0].served == "small"
    after = make_plan(
        profiles,
        demand=[Requirement(model="big", rate_infer_per_s=50)],
        fleet=[T4],
        current=before.placement,
        max_moves=0,
    )
    assert after.moves == ()


def rates(**infer_per_s: int) -> list[Requirement]:
    """Return a demand of rates, by model."""
    return [Requirement(model=name, rate_infer_per_s=rate) for name, rate in infer_per_s.items()]


@st.composite
def demands(draw: st.DrawFn) -> list[Requirement]:
    """Draw what is asked of up to three models, with rates, copies and rules."""
    names = draw(st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True))
    others = {name: tuple(n for n in names if n != name) for name in names}
    asked = []
    for name in names:
        by_rate = draw(st.booleans())
        asked.append(
            Requirement(
                model=name,
                rate_infer_per_s=draw(st.integers(20, 250)) if by_rate else None,
                replicas=None if by_rate else draw(st.integers(1, 3)),
                apart=draw(st.sampled_from([(), others[name]])),
                alone=draw(st.integers(0, 5)) == 0,
            )
        )
    return asked


PROFILES_IN_ORDER = [(0, "T4"), (1, "A10"), (2, "T4"), (3, "A10"), (4, "T4")]


@settings(deadline=None, max_examples=40)
@example(rates(c=190, a=73, b=20), True, PROFILES_IN_ORDER)  # a replica of `a` that is not needed
@example(rates(c=190, a=78, b=20), True, PROFILES_IN_ORDER)  # other shares need one `c` less
@given(demands(), st.booleans(), st.permutations([(0, "T4"), (1, "A10"), (2, "T4"), (3, "A10"), (4, "T4")]))
def test_same_demand_moves_nothing(demand: list[Requirement], proportional: bool, order: list[tuple[int, str]]) -> None:
    """Whatever is asked: a second plan from the first one, with the same profiles, has no steps."""
    known = [("a", 1000, 90), ("a", 3000, 250), ("b", 2000, 50), ("b", 2500, 120), ("c", 5000, 70)]
    profiles = [
        profile(known[i][0], point(memory_mib=known[i][1], throughput=known[i][2]), device=device)
        for i, device in order
    ]
    fleet = [FleetType(type=n, memory_bytes=16000 * MIB, devices=(n,), thresholds=Thresholds()) for n in ("T4", "A10")]
    before = make_plan(profiles, demand=demand, fleet=fleet, proportional=proportional, time_limit_s=10)
    assume(before.gpus is not None)
    again = make_plan(
        profiles,
        demand=demand,
        fleet=fleet,
        proportional=proportional,
        time_limit_s=10,
        current=before.placement,
        max_moves=0,
    )
    assert again.moves == ()
    assert again.value == before.value


@settings(deadline=None, max_examples=25)
@given(demands(), demands(), st.integers(0, 4))
def test_steps_load_no_more_replicas_than_allowed(
    first: list[Requirement], second: list[Requirement], max_moves: int
) -> None:
    """The loads among the steps are at most --max-moves, and are those that lead to the plan."""
    known = [("a", 1000, 90), ("b", 2000, 50), ("c", 5000, 70)]
    profiles = [profile(name, point(memory_mib=m, throughput=r)) for name, m, r in known]
    fleet = [FleetType(type="T4", memory_bytes=16000 * MIB, devices=("T4",))]
    before = make_plan(profiles, demand=first, fleet=fleet, time_limit_s=10)
    try:
        after = make_plan(
            profiles, demand=second, fleet=fleet, time_limit_s=10, current=before.placement, max_moves=max_moves
        )
    except NoPlanError:
        return
    assert len(loads(after)) <= max_moves
    now = Counter((gpu.id, m.name) for gpu in before.placement.gpus for m in gpu.models for _ in range(m.replicas))
    for move in after.moves or ():
        assert move.model is not None
        now[move.gpu, move.model] += 1 if move.action is Action.LOAD else -1
    assert +now == Counter(
        (gpu.id, m.name) for gpu in after.placement.gpus for m in gpu.models for _ in range(m.replicas)
    )
