"""Read profiles from a folder or store of measurements, a CSV file or a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from analyzer.measurements.record import Measurement
from analyzer.measurements.source import Measurements, read_measurements
from planner.inputs.memory_size import to_bytes
from planner.inputs.profiles import Profile, build_profiles

if TYPE_CHECKING:
    import pandas as pd


def read_profiles(
    source: str | Path | pd.DataFrame | Sequence[Measurement], *, server_memory_mib: float | None = None
) -> tuple[Profile, ...]:
    """Turn measurements into profiles: each model's operating points on one device.

    Parameters
    ----------
    source : str, Path, DataFrame or sequence of Measurement
        An output folder of analyze, a store's file or URL, a CSV file as analyze exports it, or measurements at hand;
        a table has the columns of the CSV file.
    server_memory_mib : float, optional
        The idle server's memory; overrides what is found beside the measurements.

    Raises
    ------
    UsageError
        If there is nothing to read, or it is not valid.
    StoreError
        If the store cannot be read.

    Examples
    --------
    >>> from planner import read_profiles
    >>> profiles = read_profiles("tests/data/case-study.csv", server_memory_mib=309)
    >>> len(profiles), profiles[0].points[0].throughput_infer_per_s
    (9, 1381.6)
    """
    found = _measurements(source)
    return build_profiles(found.rows, found.server_only, server_memory_bytes=to_bytes(server_memory_mib))


def _measurements(source: str | Path | pd.DataFrame | Sequence[Measurement]) -> Measurements:
    if isinstance(source, str | Path):
        return read_measurements(source)
    if isinstance(source, Measurements):
        return source
    if hasattr(source, "itertuples"):
        from analyzer.measurements.frame import measurements_of_frame

        return Measurements(measurements_of_frame(source))
    return Measurements(tuple(source))
