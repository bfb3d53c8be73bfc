"""`plan sweep`: how the fleet grows with the demand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from analyzer.cli.command import Command
from analyzer.cli.option_types import click_option, typed
from analyzer.errors import TritonpackError
from analyzer.formats.files import write_whole
from analyzer.formats.option_values import Numbers, Option
from analyzer.formats.text_table import Column, plain_text
from analyzer.formats.units import percent, whole
from planner.cli.options import planning_options
from planner.explanation.growth import GrowthPoint, growth, to_csv
from planner.formulation.objective import Objective

_RATE_FACTORS = Option(Numbers(float), "rate-factor", (1, 1.5, 2, 3))


@click.command(name="sweep", cls=Command)
@click.argument("profiles", metavar="PROFILES")
@click_option("rate_factors", _RATE_FACTORS, "Factors by which every rate of the demand is multiplied.")
@planning_options
@click.option("-o", "--output", metavar="FILE", help="Write the table as CSV; - prints it.")
@click.option("--plot", metavar="FILE.png", help="Draw it as a PNG.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    profiles: str,
    output: str | None,
    plot: str | None,
    **options: Any,
) -> None:
    """Say how many GPUs a growing demand needs, and what they cost.

    \b
    GPUs for today's rates, half as much again, and twice:
      plan sweep results --demand demand.toml --gpu T4 --rate-factor 1,1.5,2 -o growth.csv --plot growth.png
    """
    given = typed(ctx, options)
    points = growth(profiles, given.pop("rate_factors", _RATE_FACTORS.default), **given)
    if output == "-":
        click.echo(to_csv(points), nl=False)
    else:
        click.echo(plain_text(_COLUMNS, points))
    if output and output != "-":
        _write(output, to_csv(points))
    if plot:
        from analyzer.formats.figure_style import png
        from planner.explanation.growth_figure import growth_figure

        _write(plot, png(growth_figure(points, Objective(points[0].objective).unit)))


def _write(path: str, content: str | bytes) -> None:
    try:
        write_whole(Path(path), content)
    except OSError as error:
        raise TritonpackError(f"{path} cannot be written: {error.strerror}; give another file") from None


_COLUMNS: list[Column[GrowthPoint]] = [
    Column(title="Rate factor", unit="", text=lambda point: f"{point.rate_factor:g}"),
    Column(title="Status", unit="", text=lambda point: point.status, numeric=False),
    Column(title="GPUs", unit="", text=lambda point: whole(point.gpus)),
    Column(title="Value", unit="", text=lambda point: "" if point.value is None else f"{point.value:g}"),
    Column(title="At least", unit="", text=lambda point: f"{point.lower_bound:g}"),
    Column(title="Gap", unit="%", text=lambda point: "" if point.gap_pct is None else percent(point.gap_pct / 100)),
    Column(title="First-fit decreasing", unit="GPUs", text=lambda point: whole(point.first_fit_gpus)),
]
