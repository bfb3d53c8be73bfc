"""Build placements, as JSON objects and as records, for the tests of tables, figures and reports."""

from __future__ import annotations

from typing import Any

from planner.placement.document import Placement
from planner.placement.file import from_document

SERVER_MIB = 309
THRESHOLDS = {"memory_pct": 90, "utilization_pct": 80, "memory_utilization_pct": 110}


def model(
    name: str, memory_mib: float, utilization_pct: float | None = 20, *, replicas: int = 1, **more: Any
) -> dict[str, Any]:
    """Make the JSON object of a model on a GPU, at batch 2 and concurrency 4."""
    return {
        "name": name,
        "batch": 2,
        "concurrency": 4,
        "instances": 1,
        "memory_mib": memory_mib,
        "throughput_infer_per_s": 100.5,
        "replicas": replicas,
        "variant": "default",
        "latency_p99_ms": None,
        "utilization_pct": utilization_pct,
        "memory_utilization_pct": 5,
        "load_share": 1,
        **more,
    }


def gpu(number: int, *models: dict[str, Any]) -> dict[str, Any]:
    """Make the JSON object of a T4 with Triton and these models."""
    known = [m["utilization_pct"] for m in models]
    return {
        "id": f"gpu-{number}",
        "type": "T4",
        "memory_capacity_mib": 16384,
        "memory_mib": SERVER_MIB + sum(m["memory_mib"] for m in models),
        "utilization_pct": None if None in known else sum(known),
        "memory_utilization_pct": 5 * len(models),
        "models": list(models),
    }


def document(*gpus: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Make a valid placement document, with thresholds of 90 % memory and 80 % and 110 % utilization."""
    return {
        "schema_version": "1.0",
        "status": "optimal",
        "mode": "throughput",
        "objective": {
            "kind": "gpus",
            "unit": "GPUs",
            "value": len(gpus),
            "gpus": len(gpus),
            "lower_bound": len(gpus),
            "gap": 0.0,
            "bound_source": "exact search",
        },
        "thresholds": THRESHOLDS,
        "gpus": list(gpus),
        "unplaced": [],
        "provenance": {"tool": "tritonpack", "tool_version": "0.1.0"},
        **more,
    }


def placement(*gpus: dict[str, Any], **more: Any) -> Placement:
    """Make the record of such a placement document."""
    return from_document(document(*gpus, **more))
