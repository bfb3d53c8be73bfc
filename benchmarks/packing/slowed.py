"""Draw requests of models with rates and p99 budgets on three GPU types, on which co-location costs what a fit says."""

from __future__ import annotations

import random

from planner.formulation.candidates import Mode
from planner.formulation.formulate import formulate
from planner.formulation.objective import Objective
from planner.formulation.request import Request
from planner.formulation.rules import Rules
from planner.inputs.demand import Requirement
from planner.inputs.fleet import FleetType
from planner.inputs.profiles import OperatingPoint, Profile
from planner.interference.fitted import Interference, ModelCost
from planner.interference.learnt import Learnt
from planner.problem.problem import Problem

_TYPES = (("T4", 15_000, 1.0, 0.5), ("A10", 22_500, 2.1, 1.0), ("A100-40GB", 39_500, 5.0, 2.9))  # MiB, speed, cost
_BATCHES = ((1, 1.0, 1.0, 1.0), (8, 2.3, 3.5, 1.4))  # batch size, factors of throughput, latency and memory
_MIB = 2**20


def slowed(n: int, seed: int = 1) -> Problem:
    """Draw `n` models with two operating points on each type: memory, busy shares, fits and budgets at random."""
    draw = random.Random(seed)
    names = [f"m{i:04d}" for i in range(n)]
    profiles: list[Profile] = []
    requirements: list[Requirement] = []
    for name in names:
        memory, share = min(9_000, max(250, draw.lognormvariate(7.2, 0.7))), max(0.05, draw.betavariate(1.6, 4))
        served, p99_s = draw.lognormvariate(5, 0.8), draw.uniform(0.005, 0.05)
        profiles += [
            Profile(
                model=name,
                device=device,
                device_memory_bytes=None,
                server_memory_bytes=309 * _MIB,
                points=tuple(_points(memory, share, served, p99_s, speed)),
            )
            for device, _, speed, _ in _TYPES
        ]
        requirements.append(
            Requirement(
                model=name,
                rate_infer_per_s=served * draw.choice([0.1, 0.3, 0.8, 1.5, 4]),
                latency_p99_s=None if draw.random() < 0.2 else p99_s * draw.uniform(4, 12),
            )
        )
    request = Request(
        profiles=tuple(profiles),
        requirements=tuple(requirements),
        fleet=tuple(
            FleetType(type=device, memory_bytes=mib * _MIB, devices=(device,), cost_per_hour=cost)
            for device, mib, _, cost in _TYPES
        ),
        rules=Rules(mode=Mode.THROUGHPUT, objective=Objective.COST),
        learnt=Learnt(fits=tuple(_fit(device, names, draw) for device, *_ in _TYPES)),
    )
    return formulate(request).problem


def _points(memory_mib: float, share: float, served: float, p99_s: float, speed: float) -> list[OperatingPoint]:
    return [
        OperatingPoint(
            variant="default",
            instances=1,
            batch=batch,
            concurrency=2,
            throughput_infer_per_s=served * more * speed**0.6,
            latency_p99_s=p99_s * longer / speed**0.6,
            memory_bytes=round(memory_mib * larger) * _MIB,
            utilization=min(1.0, share * more**0.3 / speed**0.5),
            memory_utilization=min(1.0, 0.5 * share * more**0.3 / speed**0.5),
        )
        for batch, more, longer, larger in _BATCHES
    ]


def _fit(device: str, names: list[str], draw: random.Random) -> Interference:
    return Interference(
        device=device,
        constant=0.02,
        models=tuple(
            ModelCost(
                model=name,
                sensitivity=draw.gauss(0.0, 0.04),
                pressure=max(0.0, draw.gauss(0.03, 0.04)),
                sensitivity_error=None,
                pressure_error=None,
                contents=3,
            )
            for name in names
        ),
        margin=1.12,
        calibrated=True,
        coverage=0.9,
        contents=3 * len(names),
        slow_downs=6 * len(names),
        ratio_p10=0.95,
        ratio_p50=1.0,
        ratio_p90=1.05,
    )
