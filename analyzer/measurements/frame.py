"""Convert measurements to a pandas DataFrame with the columns of the CSV file, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from analyzer.errors import UsageError
from analyzer.measurements.csv_columns import COLUMNS, FIGURES, STREAM_FIGURES, TEXTS, TRIAL_FIGURES
from analyzer.measurements.csv_file import check_header, measurement_cells, to_measurement
from analyzer.measurements.record import Measurement

if TYPE_CHECKING:
    import pandas as pd

_FIGURES = {figure.column for figure in (*FIGURES, *TRIAL_FIGURES, *STREAM_FIGURES)}


def measurements_frame(measurements: Iterable[Measurement]) -> pd.DataFrame:
    """Return a table with one row for each measurement; unknown figures are NaN.

    Returns
    -------
    DataFrame
        Of shape ``(n_measurements, len(COLUMNS))``.
    """
    import pandas as pd

    rows = [measurement_cells(measurement) for measurement in measurements]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    for column in COLUMNS:
        if column in _FIGURES:
            frame[column] = pd.to_numeric(frame[column])
        elif column not in TEXTS:
            frame[column] = frame[column].astype("int64")
    return frame


def measurements_of_frame(frame: pd.DataFrame) -> tuple[Measurement, ...]:
    """Read a table like that of `measurements_frame`; see `read_measurements_csv` for what may be left out.

    Raises
    ------
    UsageError
        If a column is missing or not known, or a cell is not valid; the message names the row and the column.
    """
    columns = check_header("the table", [str(column) for column in frame.columns])
    found = []
    for number, row in enumerate(frame.itertuples(index=False, name=None)):
        try:
            found.append(to_measurement(_cells(dict(zip(columns, row, strict=True)))))
        except ValueError as error:
            raise UsageError(f"row {number} of the table: {error}") from None
    return tuple(found)


def _cells(row: Mapping[str, Any]) -> dict[str, str]:
    import pandas as pd

    return {column: "" if pd.isna(value) else _cell(column, value) for column, value in row.items()}


def _cell(column: str, value: Any) -> str:
    whole = column not in TEXTS and column not in _FIGURES and float(value) == int(value)
    return str(int(value)) if whole else str(value)
