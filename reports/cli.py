"""The command `report`: write the report of measurements, plans and verifications, and print its paths."""

from __future__ import annotations

from pathlib import Path

import click

from analyzer import __version__
from analyzer.cli.command import Command


@click.command(
    cls=Command,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: report results placement.json verification.json -o report",
)
@click.argument("profiles", metavar="PROFILES")
@click.argument(
    "plans",
    metavar="[PLACEMENT | VERIFICATION]...",
    nargs=-1,
    type=click.Path(dir_okay=False, path_type=Path),
)
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("report"),
    show_default=True,
    metavar="DIR",
    help="Folder to write into; it is made if it is not there.",
)
@click.version_option(__version__, prog_name="tritonpack report")
def main(profiles: str, plans: tuple[Path, ...], output: Path) -> None:
    """Show what analyze measured in PROFILES, plans, and whether they hold.

    A PLACEMENT is a file that plan solve wrote, a VERIFICATION a verification.json that plan verify wrote.

    PROFILES is an output folder of analyze, a store's URL or a metrics-model.csv. The report is report.html, one
    page of charts and tables to explore, which needs no other file and no network; pictures as PNG; and its tables as
    CSV. Trials that failed are shown too.

    The paths of the files are printed, the page first.

    Exit codes: 0 all is written, 1 a file cannot be written or a store cannot be read, 2 a wrong command line or input
    file.
    """
    from reports.report import write_report

    for path in write_report(profiles, plans, output, on_drawing=_say_drawing):
        click.echo(path)


def _say_drawing(what: str) -> None:
    click.echo(f"Drawing {what}", err=True)
