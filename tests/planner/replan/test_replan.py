"""Test re-planning: a new plan with few moves from the current placement."""

from __future__ import annotations

import csv
import itertools
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.cli.main import main
from planner.formulation.candidates import Mode
from planner.formulation.formulate import formulate
from planner.formulation.rules import Rules
from planner.inputs.demand import Requirement
from planner.inputs.fleet import FleetType
from planner.replan.repair import CurrentGpu
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
    moved = {(t, 0): 100 * s for t, s in enumerate(sizes)}
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
        moved[r.task, r.option]
        for gpu, name in zip(result.plan.gpus, result.ids, strict=True)
        for r in gpu.contents[0]
        if f"gpu-{start[r.task]}" != name
    )
    assert (result.plan.n_gpus, bytes_moved // 100) == min(outcomes)
