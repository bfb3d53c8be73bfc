"""Test placement files: they are written and read only if they follow the schema."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from analyzer.errors import UsageError
from planner.formulation.candidates import Mode
from planner.formulation.formulate import formulate
from planner.formulation.objective import Objective
from planner.formulation.rules import Rules
from planner.inputs.demand import Requirement, Spread
from planner.inputs.fleet import FleetType, Scaling, Thresholds
from planner.placement.build import build_placement
from planner.placement.file import DOCUMENT, from_document, read_placement, write_placement
from planner.placement.placed_gpu import PlacedModel
from planner.solver.limits import SearchLimits
from planner.solver.solve import solve
from tests.builders.profiles import MIB, profile, request


def of_first_version() -> dict[str, Any]:
    """Make a document with only the keys of the first files of schema 1.0."""
    return {
        "schema_version": "1.0",
        "status": "optimal",
        "mode": "memory",
        "objective": {"gpus": 2, "lower_bound": 2, "gap": 0},
        "thresholds": {"memory_pct": 100, "utilization_pct": None, "memory_utilization_pct": None},
        "gpus": [
            {
                "id": f"gpu-{n}",
                "type": "T4",
                "memory_capacity_mib": 15000,
                "memory_mib": 1309,
                "utilization_pct": None,
                "memory_utilization_pct": None,
                "models": [
                    {
                        "name": "<script>",
                        "batch": 2,
                        "concurrency": 4,
                        "instances": 1,
                        "memory_mib": 1000,
                        "throughput_infer_per_s": None,
                    }
                ],
            }
            for n in range(2)
        ],
        "unplaced": [],
        "provenance": {"tool": "tritonpack", "tool_version": "0.1.0"},
    }


def test_file_of_the_first_version_is_readable(tmp_path: Path) -> None:
    """A first file has no demand, rules or GPU types, and its objective is the number of GPUs."""
    path = tmp_path / "placement.json"
    path.write_text(json.dumps(of_first_version()))
    placement = read_placement(path)
    assert (placement.objective.kind, placement.objective.value, placement.objective.gap) == (Objective.GPUS, 2, 0)
    assert (placement.demand, placement.gpu_types, placement.rules, placement.moves) == ((), (), None, None)
    assert placement.gpus[1].models == (
        PlacedModel(
            name="<script>", batch=2, concurrency=4, instances=1, memory_bytes=1000 * MIB, throughput_infer_per_s=None
        ),
    )
    write_placement(placement, path)
    assert read_placement(path) == placement


def test_demand_fleet_and_rules_are_read_as_written(tmp_path: Path) -> None:
    """Every field has a different value, so that a lost or exchanged one is noticed."""
    demand = (
        Requirement(
            model="a",
            rate_infer_per_s=30.5,
            latency_p99_s=0.025,
            replicas=2,
            spread=Spread.NODE,
            alone=True,
            apart=("x",),
            variants=("b",),
            growth=1.5,
            overhead_bytes=7 * MIB,
        ),
        Requirement(model="b", together=("y",), group_max=(("z", 3),)),
    )
    fleet = (
        FleetType(
            type="A30",
            memory_bytes=24_000 * MIB,
            reserved_bytes=100 * MIB,
            model_overhead_bytes=3 * MIB,
            limit=9,
            cost_per_hour=1.25,
            power_w=165.0,
            idle_power_w=30.0,
            gpus_per_node=2,
            devices=("NVIDIA A30", "T4"),
            scaling=Scaling(device="L4", throughput=1.5, latency=0.5, memory=1.1, utilization=0.7),
            thresholds=Thresholds(memory=0.9, utilization=0.8, memory_utilization=1.1),
            mig="A30-24GB",
            slice_memory=(("1g.6gb", 5000 * MIB),),
        ),
    )
    rules = Rules(
        mode=Mode.THROUGHPUT,
        objective=Objective.COST,
        keep_throughput=0.9,
        proportional=True,
        spare=1,
        spare_of=Spread.NODE,
        batch=1,
        concurrency=1,
    )
    asked = formulate(request([profile("a"), profile("b")], demand, fleet, rules))
    written = build_placement(solve(asked.problem, SearchLimits(seconds=2)), asked)
    write_placement(written, tmp_path / "placement.json")
    found = read_placement(tmp_path / "placement.json")
    assert found.schema_version == "1.1"  # because of group_max; without it the version is 1.0
    assert found.demand == demand
    assert found.rules == rules
    (gpu_type,) = found.gpu_types
    assert {f.name: getattr(gpu_type, f.name) for f in fields(FleetType)} == {
        f.name: getattr(fleet[0], f.name) for f in fields(FleetType)
    }


def test_file_against_the_schema_is_refused(tmp_path: Path) -> None:
    """The error names the place, also if only the second of two equal GPUs is wrong."""
    document = of_first_version()
    document["gpus"][1]["memory_mib"] = -1
    path = tmp_path / "placement.json"
    path.write_text(json.dumps(document))
    with pytest.raises(UsageError, match=r"gpus\[1\].memory_mib: -1 is less than the minimum"):
        read_placement(path)


def test_record_against_the_schema_is_never_written(tmp_path: Path) -> None:
    """Such a record is a bug of the tool: an AssertionError, and no file is written."""
    placement = from_document(of_first_version())
    wrong = replace(placement, gpus=(replace(placement.gpus[0], memory_bytes=-MIB),))
    with pytest.raises(AssertionError, match=r"gpus\[0\].memory_mib"):
        write_placement(wrong, tmp_path / "placement.json")
    assert not list(tmp_path.iterdir())


def test_unknown_keys_of_a_newer_minor_version_are_ignored(tmp_path: Path) -> None:
    """An unknown key is ignored in a file of a newer minor version, and an error in one of this version."""
    document = of_first_version()
    document["gpus"][0]["rack"] = 7
    path = tmp_path / "placement.json"
    path.write_text(json.dumps(document))
    with pytest.raises(UsageError, match="'rack' was unexpected"):
        read_placement(path)
    path.write_text(json.dumps({**document, "schema_version": "1.99"}))
    assert len(read_placement(path).gpus) == 2


def test_id_of_another_type_is_found_among_equal_gpus() -> None:
    """Equal GPUs are checked once, but the id of each is checked."""
    document = of_first_version()
    document["gpus"][1]["id"] = 7
    assert DOCUMENT.first_fault(document) == "gpus[1].id: 7 is not of type 'string'"


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "is no JSON"), ("[]", "is no placement"), ('{"schema_version": "2.0"}', "reads 1.x: update it")],
)
def test_foreign_file_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    """Refused are a file that is no JSON, another document, and a newer major version."""
    path = tmp_path / "placement.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        read_placement(path)
