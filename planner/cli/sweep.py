"""`plan sweep`: how the fleet grows with the demand."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import click

from analyzer.cli.command import Command
from analyzer.errors import TritonpackError, UsageError
from analyzer.formats.files import write_whole
from analyzer.formats.text_table import Column, plain_text
from analyzer.formats.units import percent, whole
from planner.cli.inputs import Inputs, planning_options, read_inputs, with_rate_factor
from planner.cli.option_types import Factors
from planner.cli.search import answer, search_options
from planner.formulation.objective import from_units

COLUMNS = ("rate_factor", "status", "gpus", "objective", "value", "lower_bound", "gap_pct", "first_fit_gpus")

Row = dict[str, Any]


@click.command(name="sweep", cls=Command)
@click.argument("profiles", metavar="PROFILES")
@click.option("--rate-factor", "factors", type=Factors(), default="1,1.5,2,3", show_default=True, metavar="A,B",
              help="Factors on every rate of the demand.")  # fmt: skip
@planning_options
@search_options
@click.option("-o", "--output", metavar="FILE", help="Write the table as CSV; - prints it.")
@click.option("--plot", metavar="FILE.png", help="Draw it as a PNG.")
def command(profiles: str, factors: tuple[float, ...], output: str | None, plot: str | None, **options: Any) -> None:
    """Say how many GPUs a growing demand needs, and what they cost.

    \b
    GPUs for today's rates, half as much again, and twice:
      plan sweep results --demand demand.toml --gpu T4 --rate-factor 1,1.5,2 -o growth.csv --plot growth.png
    """
    inputs = read_inputs(profiles, options)
    if not any(r.rate_infer_per_s for r in inputs.requirements):
        raise UsageError("no model of the demand has a rate, so there is nothing that grows; give rate_infer_per_s")
    rows = [_row(inputs, factor, options) for factor in factors]
    if output == "-":
        click.echo(_csv(rows), nl=False)
    else:
        click.echo(plain_text(_SHOWN, rows))
    if output and output != "-":
        _write(output, _csv(rows))
    if plot:
        from analyzer.formats.figure_style import png
        from planner.explain.growth_figure import growth_figure

        _write(plot, png(growth_figure(rows, inputs.rules.objective.unit)))


def _write(path: str, content: str | bytes) -> None:
    try:
        write_whole(Path(path), content)
    except OSError as error:
        raise TritonpackError(f"{path} cannot be written: {error.strerror}; give another file") from None


def _row(inputs: Inputs, factor: float, options: dict[str, Any]) -> Row:
    from planner.explain.baselines import baselines

    found = answer(with_rate_factor(inputs, factor), options)
    plan, divisor = found.plan, found.formulation.cost_divisor
    placed = plan.objective is not None
    rules = baselines(found.formulation, seed=options["seed"]) if placed else ()
    return {
        "rate_factor": factor,
        "status": plan.status.value,
        "gpus": plan.n_gpus if placed else None,
        "objective": inputs.rules.objective.value,
        "value": from_units(plan.objective, divisor) if plan.objective is not None else None,
        "lower_bound": from_units(plan.lower_bound, divisor),
        "gap_pct": None if plan.gap is None else round(plan.gap * 100, 4),
        "first_fit_gpus": next((b.gpus for b in rules), None),
    }


def _csv(rows: list[Row]) -> str:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: "" if v is None else v for k, v in row.items()} for row in rows)
    return out.getvalue()


_SHOWN: list[Column[Row]] = [
    Column(title="Rate factor", unit="", text=lambda row: f"{row['rate_factor']:g}"),
    Column(title="Status", unit="", text=lambda row: str(row["status"]), numeric=False),
    Column(title="GPUs", unit="", text=lambda row: whole(row["gpus"])),
    Column(title="Value", unit="", text=lambda row: "" if row["value"] is None else f"{row['value']:g}"),
    Column(title="At least", unit="", text=lambda row: f"{row['lower_bound']:g}"),
    Column(title="Gap", unit="%", text=lambda row: "" if row["gap_pct"] is None else percent(row["gap_pct"] / 100)),
    Column(title="First-fit decreasing", unit="GPUs", text=lambda row: whole(row["first_fit_gpus"])),
]
