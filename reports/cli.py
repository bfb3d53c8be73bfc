"""`report`: measurements and placements → CSV, pictures and one page; what was written on stdout."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from analyzer import __version__
from analyzer.cli.command import Command
from analyzer.errors import TritonpackError

if TYPE_CHECKING:
    from analyzer.measurements.source import Measurements
    from planner.placement.document import Placement

PAGE = "report.html"
MODEL_CSV = "metrics-model.csv"
SERVER_ONLY_CSV = "metrics-server-only.csv"


@click.command(
    cls=Command,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: report results placement.json -o report",
)
@click.argument("profiles", metavar="PROFILES")
@click.argument("placements", metavar="[PLACEMENT]...", nargs=-1, type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "-o",
    "--output",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("report"),
    show_default=True,
    metavar="DIR",
    help="Folder to write into; it is made if it is not there.",
)
@click.version_option(__version__, prog_name="tritonpack report")
def main(profiles: str, placements: tuple[Path, ...], folder: Path) -> None:
    """Show what analyze measured in PROFILES, and the plans in the PLACEMENT files that plan solve wrote.

    PROFILES is an output folder of analyze, a store's URL or a metrics-model.csv. Written are report.html, one
    page that needs no other file; its pictures as PNG; and its tables as CSV. Trials that failed are shown too.

    The paths of the files are printed, the page first.

    Exit status: 0 when all is written, 1 when a file cannot be written or a store not be read, 2 for a wrong
    command line or an input file that cannot be taken.
    """
    from analyzer.measurements.source import read_measurements
    from planner.placement.file import read_placement

    measurements = read_measurements(profiles)
    plans = [(path.name, read_placement(path)) for path in placements]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tables = _write_tables(folder, profiles, measurements, plans)
        page, pictures = _write_pages(folder, measurements, plans)
    except OSError as error:
        raise TritonpackError(
            f"{error.filename or folder} cannot be written: {error.strerror or error}; give another folder with -o"
        ) from None
    for path in (page, *tables, *pictures):
        click.echo(path)


def _write_tables(
    folder: Path, profiles: str, measurements: Measurements, plans: Sequence[tuple[str, Placement]]
) -> list[Path]:
    """Write the CSV files, but never over the CSV that was read: it may hold columns that we do not know."""
    from analyzer.formats.files import file_stem, free_stem, write_whole
    from analyzer.measurements.csv_file import write_measurements_csv, write_server_only_csv
    from planner.placement.frame import to_csv

    source = Path(profiles).resolve()
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
    from analyzer.formats.files import file_stem, free_stem, write_whole
    from analyzer.formats.units import counted
    from analyzer.measurements.figures import write_measurement_figures
    from analyzer.measurements.text import by_subject
    from reports.page import render
    from reports.placement_figures import placement_figures

    groups = by_subject(measurements)
    drawn = f"{counted(len(groups), 'model')} and {counted(len(plans), 'placement')}"
    click.echo(f"Drawing {drawn}", err=True)
    pictures = write_measurement_figures(measurements, folder)
    of_model = {about: path.read_bytes() for about, path in zip(groups, pictures, strict=True)}
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
