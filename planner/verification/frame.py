"""A verification as a pandas table and as CSV."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from analyzer.formats.json_keys import Key, rounded
from analyzer.formats.units import MIB
from analyzer.measurements.csv_columns import guarded

if TYPE_CHECKING:
    import pandas as pd

    from planner.verification.document import Verification, VerifiedContent


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


def verification_frame(found: Verification, model_keys: Sequence[Key]) -> pd.DataFrame:
    """Return a table with a row for each model of each content; units are in the column names.

    Parameters
    ----------
    model_keys : sequence of Key
        The columns of a model, in the names and units of the JSON file.
    """
    import pandas as pd

    return pd.DataFrame(
        _rows(found, model_keys), columns=[*_CONTENT_COLUMNS, *(key.name for key in model_keys)], dtype=object
    ).infer_objects()


def to_csv(found: Verification, model_keys: Sequence[Key]) -> str:
    """Write the same table as CSV: an unknown figure is an empty cell, and no text can act as a spreadsheet formula."""
    table = verification_frame(found, model_keys).map(lambda cell: guarded(cell) if isinstance(cell, str) else cell)
    text: str = table.to_csv(index=False, lineterminator="\n")
    return text


def _rows(found: Verification, model_keys: Sequence[Key]) -> list[list[Any]]:
    return [
        [*(of(content) for of in _CONTENT_COLUMNS.values()), *(key.form.write(key.field(model)) for key in model_keys)]
        for content in found.contents
        for model in content.models
    ]
