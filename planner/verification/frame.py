"""A verification as a pandas table and as CSV."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from analyzer.formats.json_keys import rounded
from analyzer.formats.units import MIB
from analyzer.measurements.csv_columns import guarded
from planner.verification.document import MODEL_KEYS, Verification, VerifiedContent

if TYPE_CHECKING:
    import pandas as pd


def _scaled(figure: float | None, factor: float) -> float | None:
    return None if figure is None else rounded(figure * factor)


_CONTENT_COLUMNS: dict[str, Callable[[VerifiedContent], Any]] = {
    "gpu": lambda content: content.name,
    "gpu_type": lambda content: content.type,
    "device": lambda content: content.device,
    "gpu_verdict": lambda content: content.verdict.value,
    "gpu_planned_memory_mib": lambda content: _scaled(content.memory.planned, 1 / MIB),
    "gpu_memory_mib": lambda content: _scaled(content.memory.measured, 1 / MIB),
    "gpu_planned_utilization_pct": lambda content: _scaled(content.utilization.planned, 100),
    "gpu_utilization_pct": lambda content: _scaled(content.utilization.measured, 100),
}


def verification_frame(found: Verification) -> pd.DataFrame:
    """Return a table with a row for each model of each content; units are in the column names."""
    import pandas as pd

    return pd.DataFrame(
        _rows(found), columns=[*_CONTENT_COLUMNS, *(key.name for key in MODEL_KEYS)], dtype=object
    ).infer_objects()


def to_csv(found: Verification) -> str:
    """Write the same table as CSV: an unknown figure is an empty cell, and no text can act as a spreadsheet formula."""
    table = verification_frame(found).map(lambda cell: guarded(cell) if isinstance(cell, str) else cell)
    text: str = table.to_csv(index=False, lineterminator="\n")
    return text


def _rows(found: Verification) -> list[list[Any]]:
    return [
        [*(of(content) for of in _CONTENT_COLUMNS.values()), *(key.form.write(key.field(model)) for key in MODEL_KEYS)]
        for content in found.contents
        for model in content.models
    ]
