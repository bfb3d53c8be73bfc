"""Build verifications for the tests of figures and reports."""

from __future__ import annotations

from typing import Any

from analyzer.measurements.record import Status
from planner.formulation.candidates import Mode
from planner.verification.document import (
    Compared,
    NotTried,
    Verdict,
    Verification,
    VerificationProvenance,
    VerifiedContent,
    VerifiedModel,
    worst,
)
from planner.verification.file import SCHEMA_VERSION

MIB = 1024**2
UNKNOWN = Compared(planned=None, measured=None, most=None)


def verified_model(name: str, slow_down: float | None = 1.2, **more: Any) -> VerifiedModel:
    """Make a model whose slow-down was predicted as 1.1 to 1.3, at 10 ms of p99 alone; more fields by name."""
    fields: dict[str, Any] = {
        "verdict": Verdict.HOLDS,
        "status": Status.OK,
        "planned_infer_per_s": 100.0,
        "served_infer_per_s": 99.0,
        "served_half_width_infer_per_s": 2.0,
        "latency_p99_s": None if slow_down is None else 0.01 * slow_down,
        "latency_p99_half_width_s": 0.0005,
        "predicted_p99_s": 0.011,
        "most_p99_s": 0.013,
        "predicted_slow_down": 1.1,
        "most_slow_down": 1.3,
        "slow_down": slow_down,
        "slow_down_half_width": 0.05,
    }
    return VerifiedModel(
        name=name, variant="default", batch=2, concurrency=4, request_rate_per_s=None, replicas=1, **fields | more
    )


def verified_content(
    gpu: int,
    *models: VerifiedModel,
    memory_mib: tuple[float | None, float | None, float | None] = (9000, 9100, 14746),
    **more: Any,
) -> VerifiedContent:
    """Make the content of a T4 with planned, measured and most memory; its verdict is the worst of its models."""
    planned, measured, most = (None if value is None else value * MIB for value in memory_mib)
    fields: dict[str, Any] = {
        "gpus": (f"gpu-{gpu}",),
        "type": "T4",
        "device": "Tesla T4",
        "verdict": worst(model.verdict for model in models),
        "utilization": Compared(planned=0.7, measured=0.65, most=0.8),
        "memory_utilization": UNKNOWN,
    }
    return VerifiedContent(
        models=models, memory=Compared(planned=planned, measured=measured, most=most), **fields | more
    )


def verification(
    *contents: VerifiedContent, not_tried: tuple[NotTried, ...] = (), placement_sha256: str = "0" * 64
) -> Verification:
    """Make a verification; its verdict is the worst of its contents."""
    return Verification(
        schema_version=SCHEMA_VERSION,
        mode=Mode.THROUGHPUT,
        verdict=worst(content.verdict for content in contents) if contents else Verdict.NOT_MEASURED,
        contents=contents,
        not_tried=not_tried,
        provenance=VerificationProvenance(
            tool="tritonpack",
            tool_version="0.1.0",
            placement_sha256=placement_sha256,
            devices=tuple(sorted({content.device for content in contents})),
            server="2.51.0",
            precision_pct=5.0,
            max_trial_s=15.0,
            seed=0,
            calibrated=True,
        ),
    )
