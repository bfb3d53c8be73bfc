"""`plan import`: write a demand from what runs."""

from __future__ import annotations

import click

from planner.cli.lazy_group import LazyGroup

_COMMANDS = {
    "prometheus": ("planner.cli.import_prometheus", "Write a demand from Triton's metrics in a Prometheus."),
}


@click.group(name="import", cls=LazyGroup, modules=_COMMANDS)
def command() -> None:
    """Write a demand from what runs.

    \b
    What each model served in the last week:
      plan import prometheus --url http://prometheus:9090 -o demand.toml
    """
