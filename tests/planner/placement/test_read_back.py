"""What was asked for is read back from the placement as it was."""

from __future__ import annotations

import pytest

from analyzer.errors import UsageError
from planner.formulation.candidates import Mode
from planner.formulation.formulate import formulate
from planner.formulation.objective import Objective
from planner.formulation.rules import Rules
from planner.inputs.demand import Requirement, Spread
from planner.inputs.fleet import FleetType, Scaling, Thresholds
from planner.placement.document import build_placement
from planner.placement.read_back import demand_of, fleet_of, rules_of
from planner.solver.solve import solve
from tests.builders.profiles import MIB, profile


def test_question_comes_back_from_the_document() -> None:
    """Every field at a value of its own, so that none is lost or mixed up."""
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
        Requirement(model="b", together=("y",)),
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
    profiles = [profile("a"), profile("b")]
    asked = formulate(profiles, demand, fleet, rules)
    document = build_placement(solve(asked.problem, time_limit_s=2), asked, profiles)
    assert demand_of(document) == demand
    assert fleet_of(document) == fleet
    assert rules_of(document) == rules


def test_document_of_the_first_fields_alone_cannot_be_asked() -> None:
    """It is readable, but says neither its demand nor its fleet."""
    with pytest.raises(UsageError, match="does not say its demand; make it again with plan solve"):
        demand_of({"demand": []})
