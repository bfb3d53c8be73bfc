"""Build measurements for the tests of tables, figures and reports."""

from __future__ import annotations

from dataclasses import fields, replace

from analyzer.measurements.record import Measurement, Provenance, ServerOnly, Status, Trial, Variant
from analyzer.measurements.stream_figures import StreamFigures

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


def streamed(
    concurrency: int = 1, *, tokens: bool = True, input_length: int | None = 32, output_length: int | None = 16
) -> Measurement:
    """Make the measurement of a language model, or of another decoupled one that reports no tokens."""
    of_tokens = StreamFigures(
        responses_per_s=60.0 * concurrency,
        responses_ci=0.02,
        first_response_avg_s=0.1,
        first_response_p50_s=0.1,
        first_response_p99_s=0.11 * concurrency,
        first_response_p99_ci=0.03,
        response_gap_avg_s=0.01,
        response_gap_p50_s=0.01,
        response_gap_p99_s=0.012,
        response_gap_p99_ci=0.04,
        input_tokens_avg=34.0,
        output_tokens_avg=16.0,
        output_tokens_per_s=64.0 * concurrency,
        output_tokens_ci=0.025,
        itl_avg_s=0.01,
        itl_p50_s=0.01,
        itl_p99_s=0.013,
        itl_p99_ci=0.05,
    )
    unknown = dict.fromkeys(f.name for f in fields(StreamFigures) if "token" in f.name or f.name.startswith("itl"))
    return replace(
        measured("llm", concurrency=concurrency),
        trial=Trial(
            model="llm",
            concurrency=concurrency,
            transport="grpc",
            input_length=input_length,
            output_length=output_length,
        ),
        stream=of_tokens if tokens else replace(of_tokens, **unknown),
        memory_is_reservation=tokens,
    )
