"""Write a report of measurements, plans and verifications: page, pictures and tables (`reports.write_report`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from analyzer.errors import TritonpackError
from analyzer.formats.files import file_stem, free_stem, write_whole
from analyzer.formats.units import counted
from analyzer.measurements import MODEL_CSV, SERVER_ONLY_CSV
from analyzer.measurements.csv_file import write_measurements_csv, write_server_only_csv
from analyzer.measurements.record import Measurement
from analyzer.measurements.source import Measurements, read_measurements
from analyzer.measurements.text import by_subject
from planner.placement.document import Placement
from planner.verification.document import MODEL_KEYS, Verification
from reports.plan_file import read_plan_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE = "report.html"


def write_report(
    measurements: str | Path | Measurements | Sequence[Measurement],
    plans: str | Path | Placement | Verification | Sequence[str | Path | Placement | Verification] = (),
    output: str | Path = "report",
    *,
    on_drawing: Callable[[str], None] | None = None,
) -> tuple[Path, ...]:
    """Write a report of measurements, of plans made from them, and of whether these hold; the command `report`.

    Parameters
    ----------
    measurements : str, Path or sequence of Measurement
        Measurements as `analyzer.read_measurements` returns them, or anything that it reads.
    plans : str, Path, Placement, Verification or sequence of these
        Placements and verifications, or the JSON files that they were written to.
    output : str or Path
        Folder to write into; it is made if it is not there.
    on_drawing : callable, optional
        Called once before the drawing, which takes seconds, with what is drawn in words.

    Returns
    -------
    tuple of Path
        The files that were written: ``report.html``, one page that needs no other file; tables as CSV; pictures as PNG.

    Raises
    ------
    UsageError
        If an input cannot be read or is not valid.
    TritonpackError
        If a file cannot be written.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from planner import plan
    >>> from reports import write_report
    >>> result = plan("tests/data/case-study.csv", gpu_memory_mib=16384)
    >>> with TemporaryDirectory() as folder:
    ...     paths = write_report("tests/data/case-study.csv", result.placement, folder)
    >>> [path.name for path in paths][:3]
    ['report.html', 'metrics-model.csv', 'metrics-server-only.csv']
    """
    known = _measurements(measurements)
    given = [plans] if isinstance(plans, str | Path | Placement | Verification) else plans
    records = [(_name(each), read_plan_file(each) if isinstance(each, str | Path) else each) for each in given]
    source = Path(measurements).resolve() if isinstance(measurements, str | Path) else None
    folder = Path(output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tables = _write_tables(folder, source, known, records)
        if on_drawing is not None:
            on_drawing(_counts(known, records))
        page, pictures = _write_pages(folder, known, records)
    except OSError as error:
        raise TritonpackError(
            f"{error.filename or folder} cannot be written: {error.strerror or error}; give another folder as `output`"
        ) from None
    return (page, *tables, *pictures)


def _measurements(source: str | Path | Measurements | Sequence[Measurement]) -> Measurements:
    if isinstance(source, str | Path):
        return read_measurements(source)
    return source if isinstance(source, Measurements) else Measurements(tuple(source))


def _name(plan: str | Path | Placement | Verification) -> str:
    if isinstance(plan, str | Path):
        return Path(plan).name
    return "placement" if isinstance(plan, Placement) else "verification"


def _counts(measurements: Measurements, records: Sequence[tuple[str, Placement | Verification]]) -> str:
    verifications = sum(isinstance(record, Verification) for _, record in records)
    models = counted(len(by_subject(measurements)), "model")
    placements = counted(len(records) - verifications, "placement")
    if not verifications:
        return f"{models} and {placements}"
    return f"{models}, {placements} and {counted(verifications, 'verification')}"


def _write_tables(
    folder: Path,
    source: Path | None,
    measurements: Measurements,
    records: Sequence[tuple[str, Placement | Verification]],
) -> list[Path]:
    """Write the CSV files, but never over the CSV that was read: it may have columns that tritonpack does not know."""
    written = []
    if source != (folder / MODEL_CSV).resolve():
        write_measurements_csv(folder / MODEL_CSV, measurements.rows)
        written.append(folder / MODEL_CSV)
        write_server_only_csv(folder / SERVER_ONLY_CSV, measurements.server_only)
        written.append(folder / SERVER_ONLY_CSV)
    taken = {Path(MODEL_CSV).stem, Path(SERVER_ONLY_CSV).stem}
    for name, record in records:
        stem = free_stem(file_stem(Path(name).stem), taken)
        taken.add(stem)
        write_whole(folder / f"{stem}.csv", _csv(record))
        written.append(folder / f"{stem}.csv")
    return written


def _csv(record: Placement | Verification) -> str:
    from planner.placement.frame import to_csv as placement_csv
    from planner.verification.frame import to_csv as verification_csv

    return placement_csv(record) if isinstance(record, Placement) else verification_csv(record, MODEL_KEYS)


def _write_pages(
    folder: Path, measurements: Measurements, records: Sequence[tuple[str, Placement | Verification]]
) -> tuple[Path, list[Path]]:
    """Write the pictures, and the page, which holds them for readers without JavaScript if they are small."""
    from analyzer.formats.figure_style import png
    from analyzer.measurements.figures import write_measurement_figures
    from reports.page import render

    pictures = write_measurement_figures(measurements, folder)
    of_model = {about: path.read_bytes() for about, path in zip(by_subject(measurements), pictures, strict=True)}
    placements: list[tuple[str, Placement, list[bytes]]] = []
    verifications: list[tuple[str, Verification, list[bytes]]] = []
    for name, record in records:
        pngs = [png(figure) for figure in _figures(name, record)]
        for content in pngs:
            path = folder / f"{free_stem(file_stem(Path(name).stem), {p.stem for p in pictures})}.png"
            write_whole(path, content)
            pictures.append(path)
        if isinstance(record, Placement):
            placements.append((name, record, pngs))
        else:
            verifications.append((name, record, pngs))
    page = folder / PAGE
    write_whole(page, render(measurements, measurements.server_only, of_model, placements, verifications))
    return page, pictures


def _figures(name: str, record: Placement | Verification) -> list[Figure]:
    from reports.placement_figures import placement_figures
    from reports.verification_figures import verification_figures

    if isinstance(record, Placement):
        return placement_figures(f"Placement {name}: {record.status}, {record.mode} mode", record)
    return verification_figures(f"Verification {name}: {record.verdict}", record)
