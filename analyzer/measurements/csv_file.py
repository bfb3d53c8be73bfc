"""Write measurements to CSV files for people and spreadsheets, and read them back.

An unknown figure is an empty cell. A text that a spreadsheet would run as a formula is written with an apostrophe
before it, which the reader removes again.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from analyzer.errors import UsageError
from analyzer.formats.files import write_whole
from analyzer.formats.suggestions import suggest
from analyzer.formats.units import MIB
from analyzer.measurements.csv_columns import (
    COLUMNS,
    FIGURES,
    SERVER_COLUMNS,
    SERVER_FIGURES,
    STREAM_FIGURES,
    TEXTS,
    TRIAL_FIGURES,
    guarded,
    to_cells,
    to_count,
    to_figures,
    to_variant,
    unguarded,
)
from analyzer.measurements.record import UNKNOWN, Measurement, Provenance, ServerOnly, Status, Trial
from analyzer.measurements.stream_figures import StreamFigures

REQUIRED = ("model", "batch", "concurrency")
ARRIVALS = ("poisson", "constant")
_CRLF = "\r\n"
_YES = "yes"


def write_measurements_csv(path: Path, measurements: Iterable[Measurement]) -> None:
    """Write one row for each measurement, in the order given; the columns are `COLUMNS`.

    Raises
    ------
    OSError
        If the file cannot be written; an older file is then unchanged.
    """
    _write(path, COLUMNS, (measurement_cells(measurement) for measurement in measurements))


def write_server_only_csv(path: Path, baselines: Iterable[ServerOnly]) -> None:
    """Write the idle server's figures on each device; the columns are `SERVER_COLUMNS`.

    Raises
    ------
    OSError
        See `write_measurements_csv`.
    """
    rows = (
        {
            "device": one.provenance.device_name,
            "server": one.provenance.server,
            **to_cells(SERVER_FIGURES, one),
        }
        for one in baselines
    )
    _write(path, SERVER_COLUMNS, rows)


def read_measurements_csv(path: Path) -> tuple[Measurement, ...]:
    """Read a table of measurements, this tool's or one written by hand.

    The columns model, batch and concurrency are required; absent columns and empty cells are unknown figures, and an
    absent status is ``ok``. A table has only the device's name and the server of the provenance: the rest is
    ``unknown``, and the device's memory 0. The model's own memory may replace either the server's memory or the
    highest memory.

    Raises
    ------
    UsageError
        If the file cannot be read, a column is missing or not known, or a cell is not valid; the message names the
        line and the column.
    """
    measurements = []
    for where, cells in _read(path, COLUMNS, REQUIRED):
        try:
            measurements.append(to_measurement(cells))
        except ValueError as error:
            raise UsageError(f"{where}: {error}") from None
    return tuple(measurements)


def read_server_only_csv(path: Path) -> tuple[ServerOnly, ...]:
    """Read the idle server's figures on each device; the column server_memory_mib is required.

    Raises
    ------
    UsageError
        See `read_measurements_csv`.
    """
    baselines = []
    for where, cells in _read(path, SERVER_COLUMNS, ("server_memory_mib",)):
        try:
            figures = to_figures(SERVER_FIGURES, cells)
        except ValueError as error:
            raise UsageError(f"{where}: {error}") from None
        provenance = _provenance(cells.get("device") or UNKNOWN, cells.get("server") or UNKNOWN)
        baselines.append(ServerOnly(provenance=provenance, **figures))
    return tuple(baselines)


def measurement_cells(measurement: Measurement) -> dict[str, str]:
    """Return the cells of a measurement by the names in `COLUMNS`."""
    trial = measurement.trial
    return {
        "model": trial.model,
        "device": measurement.provenance.device_name,
        "variant": trial.variant.name,
        "instances": str(measurement.instances),
        "batch": str(trial.batch),
        "concurrency": str(trial.concurrency),
        "status": str(measurement.status),
        "cause": measurement.cause,
        "transport": trial.transport,
        "inputs": trial.inputs,
        "arrivals": "" if trial.request_rate_per_s is None else trial.arrivals,
        "memory_is_reservation": _YES if measurement.memory_is_reservation else "",
        "server": measurement.provenance.server,
        **to_cells(TRIAL_FIGURES, trial),
        **to_cells(FIGURES, measurement),
        **to_cells(STREAM_FIGURES, measurement.stream),
    }


def _write(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> None:
    writer = csv.writer(_Lines())  # with line ends CR LF; with others it does not quote every cell that has a line end
    cells = [[guarded(row[name]) if name in TEXTS else row[name] for name in columns] for row in rows]
    lines = [writer.writerow(row) for row in (columns, *cells)]
    text = "".join(f"{line.removesuffix(_CRLF)}\n" for line in lines)
    write_whole(path, text.encode("utf-8", "replace"))


class _Lines:
    """The file object that csv writes to; `writerow` returns what `write` returns."""

    def write(self, line: str) -> str:
        return line


def _read(path: Path, known: Sequence[str], required: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the place of each row (path and line), and its cells by column."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            columns = check_header(f"{path}, line 1", next(reader, []), known, required)
            for row in reader:
                where = f"{path}, line {reader.line_num}"
                if not row:
                    continue
                if len(row) != len(columns):
                    raise UsageError(f"{where} has {len(row)} cells under {len(columns)} columns")
                cells = dict(zip(columns, row, strict=True))
                yield where, cells | {name: unguarded(cells[name]) for name in TEXTS & cells.keys()}
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8 text; save it as CSV in UTF-8") from None
    except csv.Error as error:
        raise UsageError(f"{path}, line {reader.line_num}: {error}") from None


def check_header(
    where: str, header: Sequence[str], known: Sequence[str] = COLUMNS, required: Sequence[str] = REQUIRED
) -> list[str]:
    """Return the names of a table's columns.

    Raises
    ------
    UsageError
        If a column is not known, appears twice or is missing.
    """
    columns = [name.strip() for name in header]
    for name in columns:
        if name not in known:
            raise UsageError(f"{where}: unknown column '{name}'; {suggest(name, known)}")
        if columns.count(name) > 1:
            raise UsageError(f"{where}: column {name} appears twice; leave one")
    missing = [name for name in required if name not in columns]
    if missing:
        raise UsageError(f"{where}: no column {', '.join(missing)}; required are {', '.join(required)}")
    return columns


def to_measurement(cells: Mapping[str, str]) -> Measurement:
    """Read a measurement from its cells by column; absent and empty cells are unknown.

    Raises
    ------
    ValueError
        If a cell is not valid; the message names the column.
    """
    if not cells["model"].strip():
        raise ValueError("column model is empty; give the model's name")
    variant = to_variant(cells.get("variant", ""))
    given = to_figures(TRIAL_FIGURES, cells)
    trial = Trial(
        model=cells["model"],
        variant=variant,
        batch=to_count(cells, "batch"),
        concurrency=to_count(cells, "concurrency", least=1 if given["request_rate_per_s"] is None else 0),
        **given,
        transport=cells.get("transport") or "http",
        inputs=cells.get("inputs", ""),
        arrivals=_arrivals(cells.get("arrivals") or "poisson"),
    )
    figures = to_figures(FIGURES, cells)
    _complete_memory(figures, figures.pop("model_memory_bytes"))
    return Measurement(
        trial=trial,
        provenance=_provenance(cells.get("device") or UNKNOWN, cells.get("server") or UNKNOWN),
        status=_status(cells.get("status") or Status.OK),
        instances=to_count(cells, "instances", default=variant.instances or 1),
        cause=cells.get("cause", ""),
        stream=StreamFigures(**to_figures(STREAM_FIGURES, cells)),
        memory_is_reservation=_flag("memory_is_reservation", cells),
        **figures,
    )


def _complete_memory(figures: dict[str, Any], model: int | None) -> None:
    """Compute the highest or the server's memory from the model's own; reject three values that disagree."""
    if model is None:
        return
    highest, server = figures["max_memory_bytes"], figures["server_memory_bytes"]
    if highest is None and server is None:
        raise ValueError("column model_memory_mib needs max_memory_mib or server_memory_mib beside it")
    if highest is None:
        figures["max_memory_bytes"] = server + model
    elif server is None:
        figures["server_memory_bytes"] = max(0, highest - model)
    elif abs(max(0, highest - server) - model) > MIB + highest * 2e-5:  # the most that rounding of all three can cause
        less = f"max_memory_mib less server_memory_mib is {(highest - server) / MIB:.0f}"
        raise ValueError(f"column model_memory_mib: {model / MIB:.0f}, but {less}; correct one of the three")


def _flag(column: str, cells: Mapping[str, str]) -> bool:
    cell = cells.get(column, "")
    if cell not in ("", "no", _YES):
        raise ValueError(f"column {column}: {cell!r} is neither yes nor no")
    return cell == _YES


def _arrivals(name: str) -> str:
    if name not in ARRIVALS:
        raise ValueError(f"column arrivals: unknown {name!r}; {suggest(name, ARRIVALS)}")
    return name


def _status(name: str) -> Status:
    try:
        return Status(name)
    except ValueError:
        raise ValueError(f"column status: unknown {name!r}; {suggest(name, Status)}") from None


@cache
def _provenance(device: str, server: str) -> Provenance:
    return Provenance(
        device_name=device,
        device_uuid=UNKNOWN,
        device_memory_bytes=0,
        driver=None,
        server=server,
        tool_version=UNKNOWN,
        model_hash=UNKNOWN,
    )
