"""Read measurements from an output folder of `analyze`, a store or a CSV file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, overload

from analyzer.errors import UsageError
from analyzer.measurements import MODEL_CSV, SERVER_ONLY_CSV, STORE_FILE
from analyzer.measurements.co_location import CoLocation
from analyzer.measurements.csv_file import (
    read_measurements_csv,
    read_server_only_csv,
)
from analyzer.measurements.record import Measurement, ServerOnly
from analyzer.measurements.store import Store

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Measurements(Sequence[Measurement]):
    """Measurements in the order in which they were made, failed trials included.

    Parameters
    ----------
    rows : tuple of Measurement
    server_only : tuple of ServerOnly
        Figures of the idle server on each device.
    co_locations : tuple of CoLocation
        Models that were measured at the same time; only a store has them.

    Examples
    --------
    >>> from analyzer import read_measurements
    >>> measurements = read_measurements("tests/data/case-study.csv")
    >>> len(measurements), measurements[0].trial.model
    (9, 'classification_breast')
    >>> measurements.to_frame()["max_memory_mib"].max()
    11051
    """

    rows: tuple[Measurement, ...]
    server_only: tuple[ServerOnly, ...] = ()
    co_locations: tuple[CoLocation, ...] = ()

    @overload
    def __getitem__(self, index: int) -> Measurement: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Measurement, ...]: ...
    def __getitem__(self, index: int | slice) -> Measurement | tuple[Measurement, ...]:
        return self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Measurement]:
        return iter(self.rows)

    def to_frame(self) -> pd.DataFrame:
        """Return a DataFrame with one row for each measurement; its columns, named with units, are the CSV file's."""
        from analyzer.measurements.frame import measurements_frame

        return measurements_frame(self.rows)


def read_measurements(source: str | Path) -> Measurements:
    """Read measurements, failed trials included, and the idle server's figures.

    Parameters
    ----------
    source : str or Path
        An output folder of analyze, a store's file or URL, or a CSV file such as analyze exports.

    Raises
    ------
    UsageError
        If there is nothing to read, or the file is not valid.
    StoreError
        If the store cannot be read.

    Examples
    --------
    >>> from analyzer import read_measurements
    >>> [m.trial.model for m in read_measurements("tests/data/case-study.csv") if (m.max_utilization or 0) > 0.75]
    ['segmentation_ct_pancreas', 'segmentation_liver']
    """
    if "://" in str(source):
        return _from_store(str(source))
    path = Path(source)
    if path.is_dir():
        return _from_folder(path)
    if not path.exists():
        raise UsageError(f"there is no '{source}'; give an output folder of analyze, a store's URL or a metrics CSV")
    if path.suffix.lower() in (".sqlite", ".db"):
        return _from_store(path)
    return _from_csv(path)


def _from_folder(folder: Path) -> Measurements:
    if (folder / STORE_FILE).is_file():
        return _from_store(folder / STORE_FILE)
    if (folder / MODEL_CSV).is_file():
        return _from_csv(folder / MODEL_CSV)
    raise UsageError(f"'{folder}' holds neither {STORE_FILE} nor {MODEL_CSV}; run analyze -o {folder} first")


def _from_store(place: str | Path) -> Measurements:
    with Store.open(place, create=False) as store:
        return Measurements(store.measurements(), store.server_only(), store.co_locations())


def _from_csv(path: Path) -> Measurements:
    beside = path.with_name(SERVER_ONLY_CSV)
    return Measurements(read_measurements_csv(path), read_server_only_csv(beside) if beside.is_file() else ())
