"""Placements and other records as pandas tables and CSV; the only module of planner/ that loads pandas."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from analyzer.formats.json_keys import rounded
from analyzer.formats.units import MIB
from analyzer.measurements.csv_columns import guarded

if TYPE_CHECKING:
    import pandas as pd

    from planner.placement.document import Placement
    from planner.placement.placed_gpu import PlacedGpu, PlacedModel


def _times(figure: float | None, factor: float) -> float | None:
    return None if figure is None else rounded(figure * factor)


_GPU_COLUMNS: dict[str, Callable[[PlacedGpu], Any]] = {
    "gpu": lambda gpu: gpu.name,
    "gpu_type": lambda gpu: gpu.type,
    "gpu_memory_capacity_mib": lambda gpu: rounded(gpu.memory_capacity_bytes / MIB),
    "gpu_memory_mib": lambda gpu: rounded(gpu.memory_bytes / MIB),
    "gpu_utilization_pct": lambda gpu: _times(gpu.utilization, 100),
    "gpu_memory_utilization_pct": lambda gpu: _times(gpu.memory_utilization, 100),
}
_MODEL_COLUMNS: dict[str, Callable[[PlacedModel], Any]] = {
    "slice": lambda model: f"{model.slice.profile} at {model.slice.start}" if model.slice else "",
    "model": lambda model: model.name,
    "variant": lambda model: model.variant,
    "instances": lambda model: model.instances,
    "batch": lambda model: model.batch,
    "concurrency": lambda model: model.concurrency,
    "replicas": lambda model: model.replicas,
    "memory_mib": lambda model: rounded(model.memory_bytes / MIB),
    "utilization_pct": lambda model: _times(model.utilization, 100),
    "memory_utilization_pct": lambda model: _times(model.memory_utilization, 100),
    "throughput_infer_per_s": lambda model: _times(model.throughput_infer_per_s, 1),
    "latency_p99_ms": lambda model: _times(model.latency_p99_s, 1000),
}


def placement_frame(placement: Placement) -> pd.DataFrame:
    """Return a table with a row for each model on a GPU, in the placement's order; unknown figures are missing.

    Returns
    -------
    DataFrame
        Units are in the names of the columns.
    """
    return _table(_rows(placement)).infer_objects()


def to_csv(placement: Placement) -> str:
    """Write the same table as CSV: an unknown figure is an empty cell, and no text can act as a spreadsheet formula."""
    rows = [[guarded(cell) if isinstance(cell, str) else cell for cell in row] for row in _rows(placement)]
    text: str = _table(rows).to_csv(index=False, lineterminator="\n")
    return text


def _table(rows: list[list[Any]]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(rows, columns=[*_GPU_COLUMNS, *_MODEL_COLUMNS], dtype=object)


def _rows(placement: Placement) -> list[list[Any]]:
    """Return the rows of the table; figures are rounded as in the placement file."""
    return [
        [*(of(gpu) for of in _GPU_COLUMNS.values()), *(of(model) for of in _MODEL_COLUMNS.values())]
        for gpu in placement.gpus
        for model in gpu.models
    ]


def records_frame(records: Sequence[Any], record: type) -> pd.DataFrame:
    """Return a table with a row for each record and a column for each of its fields."""
    import pandas as pd

    return pd.DataFrame([asdict(each) for each in records], columns=[field.name for field in fields(record)])
