"""`plan import prometheus`: write a demand from Triton's metrics in a Prometheus."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from analyzer.cli.command import Command
from analyzer.cli.option_types import option_of, typed
from analyzer.errors import TritonpackError
from analyzer.formats.files import write_whole
from analyzer.formats.units import printable, shortened_list
from planner.cli.options import check_folder_of
from planner.inputs.prometheus.import_demand import import_demand
from planner.inputs.prometheus.observed import MOST_NAMED
from planner.inputs.prometheus.settings import ImportSettings
from planner.inputs.prometheus.text import demand_toml, gpus_text, models_text

_option = option_of(ImportSettings)


@click.command(name="prometheus", cls=Command)
@_option("url", "Address of the Prometheus, or of what answers its HTTP API.")
@_option("window", "How far back samples count, such as 7d, 12h or 30m.")
@_option("end", "End of the window, such as 2026-11-20T18:00Z.  [default: now]")
@_option("rate_window", "Time over which one rate is taken; several scrape intervals.")
@_option("quantile", "Which of the rates in the window is the demand: the least that this share does not exceed.")
@_option("peak_hours", "Count these hours of the day alone, such as 8-18.")
@_option("rates_by_hour", "Give each hour of the day a rate of its own.")
@_option("timezone", "Time zone of the hours of the day.")
@_option("growth", "Growth that the demand asks for, as a factor.")
@_option("budgets", "Write the p99 that was seen as the budget; without it, it is a comment.")
@_option("labels", "Only series of Triton with this label; also !=, =~ and !~; several times.")
@_option("profiles", "Measurements; running models without any are listed, and are comments in the demand.")
@_option("token_file", "File with a bearer token.")
@_option("token_env", "Environment variable with a bearer token.")
@_option("ca_file", "Certificates that sign the server's, in PEM.  [default: those of this host]")
@_option("timeout_s", "Seconds that one answer may take.")
@click.option("-o", "--output", metavar="FILE", help="Write the demand as TOML; - prints it instead of the tables.")
@click.pass_context
def command(ctx: click.Context, /, output: str | None, **options: Any) -> None:
    """Write a demand from Triton's metrics in a Prometheus.

    The rate of a model is a quantile of its rates in the window, over all its servers and versions. Operating data say
    what is asked of a model, not what it can do: that is measured with analyze.

    \b
    What each model served in the last week, as a file for plan solve:
      plan import prometheus --url http://prometheus:9090 -o demand.toml
    The working hours of four weeks, and a fifth more; models that were never measured are listed:
      plan import prometheus --url http://prometheus:9090 --window 28d --peak-hours 8-18
        --timezone Europe/Zurich --growth 1.2 --profiles results -o demand.toml
    Behind TLS and a token, one namespace alone:
      plan import prometheus --url https://prometheus --ca-file ca.pem --token-file token --label namespace=prod

    Exit codes: 0 done, 1 Prometheus does not answer or has nothing, 2 a wrong command line or input.
    """
    check_folder_of(output)
    found = import_demand(ImportSettings(**typed(ctx, options)))
    for note in found.notes:
        click.echo(printable(f"note: {note}"), err=True)
    if found.not_profiled:
        names = shortened_list(sorted(found.not_profiled), MOST_NAMED)
        click.echo(printable(f"running but not profiled: {names}; measure them with analyze"), err=True)
    if output and output != "-":
        try:
            write_whole(Path(output), demand_toml(found))
        except OSError as error:
            raise TritonpackError(f"{output} cannot be written: {error.strerror}") from None
        click.echo(f"demand written to {output}", err=True)
    if output == "-":
        click.echo(demand_toml(found), nl=False)
        return
    click.echo(models_text(found.models, found.not_profiled))
    if found.gpus:
        click.echo(f"\n{gpus_text(found.gpus)}")
