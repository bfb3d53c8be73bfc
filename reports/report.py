"""Write a report of measurements and placements: page, pictures, tables (`reports.write_report`, `report`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from analyzer.errors import TritonpackError
from analyzer.formats.files import file_stem, free_stem, write_whole
from analyzer.formats.units import counted
from analyzer.measurements import MODEL_CSV, SERVER_ONLY_CSV
from analyzer.measurements.csv_file import write_measurements_csv, write_server_only_csv
from analyzer.measurements.record import Measurement
from analyzer.measurements.source import Measurements, read_measurements
from analyzer.measurements.text import by_subject
from planner.placement.document import Placement
from planner.placement.file import read_placement

PAGE = "report.html"


def write_report(
    measurements: str | Path | Measurements | Sequence[Measurement],
    placements: str | Path | Placement | Sequence[str | Path | Placement] = (),
    output: str | Path = "report",
    *,
    on_drawing: Callable[[str], None] | None = None,
) -> tuple[Path, ...]:
    """Write a report of measurements and of plans made from them; the Python form of the command `report`.

    Parameters
    ----------
    measurements : str, Path or sequence of Measurement
        Measurements as `analyzer.read_measurements` returns them, or anything that it reads.
    placements : str, Path, Placement or sequence of these
        Placements, or the files that they were written to.
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
    given = [placements] if isinstance(placements, str | Path | Placement) else placements
    plans = [(_name(each), each if isinstance(each, Placement) else read_placement(each)) for each in given]
    source = Path(measurements).resolve() if isinstance(measurements, str | Path) else None
    folder = Path(output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tables = _write_tables(folder, source, known, plans)
        if on_drawing is not None:
            models = counted(len(by_subject(known)), "model")
            on_drawing(f"{models} and {counted(len(plans), 'placement')}")
        page, pictures = _write_pages(folder, known, plans)
    except OSError as error:
        raise TritonpackError(
            f"{error.filename or folder} cannot be written: {error.strerror or error}; give another folder as `output`"
        ) from None
    return (page, *tables, *pictures)


def _measurements(source: str | Path | Measurements | Sequence[Measurement]) -> Measurements:
    if isinstance(source, str | Path):
        return read_measurements(source)
    return source if isinstance(source, Measurements) else Measurements(tuple(source))


def _name(placement: str | Path | Placement) -> str:
    return "placement" if isinstance(placement, Placement) else Path(placement).name


def _write_tables(
    folder: Path, source: Path | None, measurements: Measurements, plans: Sequence[tuple[str, Placement]]
) -> list[Path]:
    """Write the CSV files, but never over the CSV that was read: it may have columns that tritonpack does not know."""
    from planner.placement.frame import to_csv

    written = []
    if source != (folder / MODEL_CSV).resolve():
        write_measurements_csv(folder / MODEL_CSV, measurements.rows)
        written.append(folder / MODEL_CSV)
        write_server_only_csv(folder / SERVER_ONLY_CSV, measurements.server_only)
        written.append(folder / SERVER_ONLY_CSV)
    taken = {Path(MODEL_CSV).stem, Path(SERVER_ONLY_CSV).stem}
    for name, placement in plans:
        stem = free_stem(file_stem(Path(name).stem), taken)
        taken.add(stem)
        write_whole(folder / f"{stem}.csv", to_csv(placement))
        written.append(folder / f"{stem}.csv")
    return written


def _write_pages(
    folder: Path, measurements: Measurements, plans: Sequence[tuple[str, Placement]]
) -> tuple[Path, list[Path]]:
    """Write the pictures, and the page that holds them."""
    from analyzer.formats.figure_style import png
    from analyzer.measurements.figures import write_measurement_figures
    from reports.page import render
    from reports.placement_figures import placement_figures

    pictures = write_measurement_figures(measurements, folder)
    of_model = {about: path.read_bytes() for about, path in zip(by_subject(measurements), pictures, strict=True)}
    sections = []
    for name, placement in plans:
        title = f"Placement {name}: {placement.status}, {placement.mode} mode"
        pngs = [png(figure) for figure in placement_figures(title, placement)]
        for content in pngs:
            path = folder / f"{free_stem(file_stem(Path(name).stem), {p.stem for p in pictures})}.png"
            write_whole(path, content)
            pictures.append(path)
        sections.append((name, placement, pngs))
    page = folder / PAGE
    write_whole(page, render(measurements, measurements.server_only, of_model, sections))
    return page, pictures
