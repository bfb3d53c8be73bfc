"""Build measurements for the tests of tables, figures and reports."""

from __future__ import annotations

from analyzer.measurements.record import Measurement, Provenance, ServerOnly, Status, Trial, Variant

MIB = 1024**2
GPU = Provenance(
    device_name="Tesla T4",
    device_uuid="GPU-0",
    device_memory_bytes=15095 * MIB,
    driver="550.54.15",
    server="2.51.0",
    tool_version="0.1.0",
    model_hash="a" * 64,
)
HOST = Provenance(
    device_name="EPYC",
    device_uuid="host-0",
    device_memory_bytes=8192 * MIB,
    driver=None,
    server="2.51.0",
    tool_version="0.1.0",
    model_hash="a" * 64,
)
SERVER = ServerOnly(provenance=GPU, memory_bytes=309 * MIB, max_utilization=0.0, max_memory_utilization=None)


def measured(
    model: str = "chest",
    batch: int = 1,
    concurrency: int = 1,
    *,
    provenance: Provenance = GPU,
    status: Status = Status.OK,
    memory_mib: float | None = 1461,
    memory_utilization: float | None = 0.01,
    variant: Variant | None = None,
) -> Measurement:
    """Make a measurement with 100 infer/s and a p99 of 10 ms for each request in flight."""
    return Measurement(
        trial=Trial(model=model, batch=batch, concurrency=concurrency, variant=variant or Variant()),
        provenance=provenance,
        status=status,
        cause="" if status is Status.OK else "drift",
        throughput_infer_per_s=100.0 * concurrency,
        latency_p99_s=0.01 * concurrency,
        server_memory_bytes=309 * MIB,
        max_memory_bytes=None if memory_mib is None else int(memory_mib * MIB),
        max_utilization=0.23,
        max_memory_utilization=memory_utilization,
    )


def failed(model: str = "chest", batch: int = 4, concurrency: int = 1, *, cause: str = "no memory") -> Measurement:
    """Make the measurement of a trial that ran out of memory."""
    trial = Trial(model=model, batch=batch, concurrency=concurrency)
    return Measurement(trial=trial, provenance=GPU, status=Status.OUT_OF_MEMORY, cause=cause)
