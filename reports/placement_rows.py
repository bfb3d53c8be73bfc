"""A placement document as records to show, and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analyzer.measurements.csv_columns import guarded
from planner.placement.text import alike

MOST_SINGLE = 60  # GPUs that are shown one by one: as many rows as a picture of readable height holds

# Columns of the CSV, and the field that each shows.
_GPU_FIELDS = {
    "gpu": "name",
    "gpu_type": "type",
    "gpu_memory_capacity_mib": "memory_capacity_mib",
    "gpu_memory_mib": "memory_mib",
    "gpu_utilization_pct": "utilization_pct",
    "gpu_memory_utilization_pct": "memory_utilization_pct",
}
_MODEL_FIELDS = {
    "slice": "mig_slice",
    "model": "name",
    "variant": "variant",
    "instances": "instances",
    "batch": "batch",
    "concurrency": "concurrency",
    "replicas": "replicas",
    "memory_mib": "memory_mib",
    "utilization_pct": "utilization_pct",
    "memory_utilization_pct": "memory_utilization_pct",
    "throughput_infer_per_s": "throughput_infer_per_s",
    "latency_p99_ms": "latency_p99_ms",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedModel:
    """Equal replicas of a model on a GPU, at the operating point that the plan chose; units as in the file.

    Parameters
    ----------
    replicas : int
        How many stand on this GPU; memory, utilizations and throughput are those of all of them together.
    mig_slice : str
        The slice's profile and the memory slice where it starts; empty on a whole GPU.
    """

    name: str
    variant: str | None
    instances: int | None
    batch: int
    concurrency: int
    replicas: int
    memory_mib: float
    utilization_pct: float | None
    memory_utilization_pct: float | None
    throughput_infer_per_s: float | None
    latency_p99_ms: float | None
    mig_slice: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedGpu:
    """GPUs of one type that hold the same, with their totals and thresholds; units as in the file.

    Parameters
    ----------
    id : str
        The GPU's, or that of the first of `count` that are alike.
    count : int
    memory_mib : float
        Models and server together.
    max_memory_pct, max_utilization_pct, max_memory_utilization_pct : float or None
        The plan's thresholds; None where the plan had none.
    """

    id: str
    count: int
    type: str
    memory_capacity_mib: float
    memory_mib: float
    utilization_pct: float | None
    memory_utilization_pct: float | None
    max_memory_pct: float | None
    max_utilization_pct: float | None
    max_memory_utilization_pct: float | None
    models: tuple[PlacedModel, ...]

    @property
    def name(self) -> str:
        """The GPU's id, and how many are like it."""
        return self.id if self.count == 1 else f"{self.id} and {self.count - 1} like it"


def placed_gpus(document: Mapping[str, Any]) -> list[PlacedGpu]:
    """Read every GPU of a placement document, already validated, in its order."""
    of_type = {entry["type"]: entry["thresholds"] for entry in document.get("gpu_types", ())}
    return [_gpu(gpu, of_type.get(gpu["type"], document["thresholds"])) for gpu in document["gpus"]]


def shown_gpus(document: Mapping[str, Any]) -> list[PlacedGpu]:
    """Read the GPUs as pictures and pages show them: above `MOST_SINGLE` those that hold the same are one row."""
    if len(document["gpus"]) <= MOST_SINGLE:
        return placed_gpus(document)
    return placed_gpus({**document, "gpus": alike(document["gpus"])})


def _gpu(gpu: Mapping[str, Any], thresholds: Mapping[str, Any]) -> PlacedGpu:
    return PlacedGpu(
        id=gpu["id"],
        count=gpu.get("count", 1),
        type=gpu["type"],
        memory_capacity_mib=gpu["memory_capacity_mib"],
        memory_mib=gpu["memory_mib"],
        utilization_pct=gpu.get("utilization_pct"),
        memory_utilization_pct=gpu.get("memory_utilization_pct"),
        max_memory_pct=thresholds.get("memory_pct"),
        max_utilization_pct=thresholds.get("utilization_pct"),
        max_memory_utilization_pct=thresholds.get("memory_utilization_pct"),
        models=tuple(_model(model) for model in gpu["models"]),
    )


def _model(model: Mapping[str, Any]) -> PlacedModel:
    piece = model.get("slice")
    return PlacedModel(
        name=model["name"],
        variant=model.get("variant"),
        instances=model.get("instances"),
        batch=model["batch"],
        concurrency=model["concurrency"],
        replicas=model.get("replicas", 1),
        memory_mib=model["memory_mib"],
        utilization_pct=model.get("utilization_pct"),
        memory_utilization_pct=model.get("memory_utilization_pct"),
        throughput_infer_per_s=model.get("throughput_infer_per_s"),
        latency_p99_ms=model.get("latency_p99_ms"),
        mig_slice=f"{piece['profile']} at {piece['start']}" if piece else "",
    )


def one_by_one(gpus: Sequence[PlacedGpu]) -> Iterator[tuple[PlacedGpu, PlacedModel]]:
    """Pair every model with the GPU that it stands on."""
    for gpu in gpus:
        for model in gpu.models:
            yield gpu, model


def to_csv(gpus: Sequence[PlacedGpu]) -> str:
    """Write one row a model on a GPU, in the file's units; unknown figures are empty, and no text is a formula."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*_GPU_FIELDS, *_MODEL_FIELDS])
    for gpu, model in one_by_one(gpus):
        own = [getattr(gpu, field) for field in _GPU_FIELDS.values()]
        of_model = [getattr(model, field) for field in _MODEL_FIELDS.values()]
        writer.writerow([guarded(cell) if isinstance(cell, str) else cell for cell in own + of_model])
    return text.getvalue()
