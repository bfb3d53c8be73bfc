"""`plan import`: take over what other tools measured."""

from __future__ import annotations

import click

from planner.cli.lazy_group import LazyGroup

_COMMANDS = {
    "aiperf": ("planner.cli.import_aiperf", "Make measurements of AIPerf's exports."),
    "prometheus": ("planner.cli.import_prometheus", "Write a demand from Triton's metrics in a Prometheus."),
}


@click.group(name="import", cls=LazyGroup, modules=_COMMANDS)
def command() -> None:
    """Take over what other tools measured: a demand, or measurements.

    \b
    What each model served in the last week:
      plan import prometheus --url http://prometheus:9090 -o demand.toml
    What AIPerf measured at a server with an OpenAI endpoint:
      plan import aiperf run-c4 run-c8 -o llm.csv
    """
