"""Build measurements, profiles and requests with default figures, of which a test sets those that it needs."""

from __future__ import annotations

from collections.abc import Iterable

from analyzer.measurements.record import Measurement, Provenance, Status, Trial
from planner.formulation.request import Request
from planner.formulation.rules import Rules
from planner.inputs.demand import Requirement
from planner.inputs.fleet import FleetType
from planner.inputs.profiles import OperatingPoint, Profile

MIB = 2**20


def provenance(device: str = "Tesla T4", *, model_hash: str = "a") -> Provenance:
    """Make a provenance with this device and model hash."""
    return Provenance(
        device_name=device,
        device_uuid="GPU-0",
        device_memory_bytes=15000 * MIB,
        driver="550.54",
        server="2.51.0",
        tool_version="0.1.0",
        model_hash=model_hash,
    )


def measurement(
    model: str = "chest",
    *,
    device: str = "Tesla T4",
    batch: int = 1,
    concurrency: int = 1,
    throughput: float | None = 100.0,
    max_memory_mib: int | None = 1309,
    server_memory_mib: int | None = 309,
    utilization: float | None = 0.5,
    memory_utilization: float | None = 0.2,
    latency_p99_s: float | None = 0.01,
    status: Status = Status.OK,
    model_hash: str = "a",
) -> Measurement:
    """Make a measurement."""
    return Measurement(
        trial=Trial(model=model, batch=batch, concurrency=concurrency),
        provenance=provenance(device, model_hash=model_hash),
        status=status,
        throughput_infer_per_s=throughput,
        latency_p99_s=latency_p99_s,
        max_memory_bytes=None if max_memory_mib is None else max_memory_mib * MIB,
        server_memory_bytes=None if server_memory_mib is None else server_memory_mib * MIB,
        max_utilization=utilization,
        max_memory_utilization=memory_utilization,
    )


def point(
    *,
    batch: int = 1,
    concurrency: int = 1,
    throughput: float | None = 100.0,
    latency_p99_s: float | None = 0.01,
    memory_mib: int = 1000,
    utilization: float | None = 0.5,
    memory_utilization: float | None = 0.2,
) -> OperatingPoint:
    """Make an operating point."""
    return OperatingPoint(
        variant="default",
        instances=1,
        batch=batch,
        concurrency=concurrency,
        throughput_infer_per_s=throughput,
        latency_p99_s=latency_p99_s,
        memory_bytes=memory_mib * MIB,
        utilization=utilization,
        memory_utilization=memory_utilization,
    )


def profile(model: str, *points: OperatingPoint, device: str = "T4", server_mib: int = 300) -> Profile:
    """Make a profile with these points."""
    return Profile(
        model=model,
        device=device,
        device_memory_bytes=None,
        server_memory_bytes=server_mib * MIB,
        points=points or (point(),),
    )


def request(
    profiles: Iterable[Profile], requirements: Iterable[Requirement], fleet: Iterable[FleetType], rules: Rules
) -> Request:
    """Make a request; its parts may be any kind of sequence."""
    return Request(profiles=tuple(profiles), requirements=tuple(requirements), fleet=tuple(fleet), rules=rules)
