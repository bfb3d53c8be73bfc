"""`plan interference`: print what co-location costs, as fitted to what was measured."""

from __future__ import annotations

import click

from analyzer.cli.command import Command
from analyzer.errors import UsageError
from analyzer.measurements.source import read_measurements
from planner.interference.file import to_json, write_interference
from planner.interference.observed import fits_of
from planner.interference.text import interference_text


@click.command(name="interference", cls=Command)
@click.argument("profiles", metavar="PROFILES")
@click.option("-o", "--output", metavar="FILE", help="Write the fits as JSON, for --interference; - prints them.")
def command(profiles: str, output: str | None) -> None:
    """Show what co-location costs: which models press on others, which suffer, and how sure that is.

    PROFILES is an output folder of analyze, or a store's URL, with what plan verify measured there. Each device type
    has a fit of its own. docs/verification.md has the method.

    \b
    What was learnt from the verifications of a store:
      plan interference results
    Keep it for plans that are made elsewhere:
      plan interference results -o interference.json
      plan solve profiles.csv --gpu T4 --interference interference.json
    """
    fits = fits_of(read_measurements(profiles).co_locations)
    if not fits:
        raise UsageError(
            f"'{profiles}' has no models that were measured together; plan verify measures them, for instance with "
            "`pairs=2`"
        )
    if output == "-":
        click.echo(to_json(fits.values()), nl=False)
        return
    if output:
        write_interference(fits.values(), output)
        click.echo(f"fits written to {output}", err=True)
    click.echo(interference_text(fits.values()))
