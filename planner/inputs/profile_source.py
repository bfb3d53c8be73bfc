"""Where profiles come from: an output folder of analyze, a store's URL, or a CSV."""

from __future__ import annotations

from pathlib import Path

from analyzer.errors import UsageError
from analyzer.measurements.record import Measurement, ServerOnly
from planner.inputs.profiles import Profile, build_profiles

CSV_SERVER_ONLY = "metrics-server-only.csv"


def read_profiles(source: str, *, server_memory_bytes: int | None = None) -> tuple[Profile, ...]:
    """Read measurements and turn them into profiles.

    Parameters
    ----------
    source : str
        An output folder, a store's file or URL, or a CSV as analyze exports it.
    server_memory_bytes : int or None
        The idle server's memory; wins over what is found beside the measurements.

    Raises
    ------
    UsageError
        If there is nothing to read, or it cannot be taken.
    StoreError
        If the store cannot be read.
    """
    measurements, server_only = read_measurements(source)
    return build_profiles(measurements, server_only, server_memory_bytes=server_memory_bytes)


def read_measurements(source: str) -> tuple[tuple[Measurement, ...], tuple[ServerOnly, ...]]:
    """Read what was measured, failed trials included, and what the idle server takes.

    Raises
    ------
    UsageError
        If there is nothing to read, or it cannot be taken.
    StoreError
        If the store cannot be read.
    """
    if "://" in source:
        return _from_store(source)
    path = Path(source)
    if path.is_dir():
        return _from_folder(path)
    if not path.exists():
        raise UsageError(f"there is no '{source}'; give an output folder of analyze, a store's URL or a metrics CSV")
    if path.suffix.lower() in (".sqlite", ".db"):
        return _from_store(path)
    return _from_csv(path)


def _from_folder(folder: Path) -> tuple[tuple[Measurement, ...], tuple[ServerOnly, ...]]:
    from analyzer.measurements.store import STORE_FILE

    if (folder / STORE_FILE).is_file():
        return _from_store(folder / STORE_FILE)
    if (folder / "metrics-model.csv").is_file():
        return _from_csv(folder / "metrics-model.csv")
    raise UsageError(f"'{folder}' holds neither {STORE_FILE} nor metrics-model.csv; run analyze -o {folder} first")


def _from_store(place: str | Path) -> tuple[tuple[Measurement, ...], tuple[ServerOnly, ...]]:
    from analyzer.measurements.store import Store

    with Store.open(place, create=False) as store:
        return store.measurements(), store.server_only()


def _from_csv(path: Path) -> tuple[tuple[Measurement, ...], tuple[ServerOnly, ...]]:
    from analyzer.measurements.csv_file import read_measurements_csv, read_server_only_csv

    beside = path.with_name(CSV_SERVER_ONLY)
    return read_measurements_csv(path), read_server_only_csv(beside) if beside.is_file() else ()
