"""`plan solve`: the models on the fewest GPUs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from analyzer.cli.command import Command
from analyzer.errors import UsageError
from analyzer.formats.units import printable
from planner.cli.inputs import planning_options, read_inputs
from planner.cli.search import answer, answer_from, search_limits, search_options
from planner.placement.document import build_placement
from planner.placement.file import read_placement, to_json, write_placement
from planner.placement.text import baseline_text, moves_text, placement_text


@click.command(name="solve", cls=Command)
@click.argument("profiles", metavar="PROFILES")
@planning_options
@search_options
@click.option("--current", metavar="FILE", help="The placement in force: change it as little as the plan allows.")
@click.option(
    "--max-moves",
    type=click.IntRange(min=0),
    metavar="N",
    help="With --current: replicas that may be loaded where they were not.",
)
@click.option("-o", "--output", metavar="FILE", help="Write the placement as JSON; - prints it instead of the table.")
@click.option("--group", is_flag=True, help="In the JSON, one entry with a count for GPUs that are filled alike.")
def command(profiles: str, current: str | None, output: str | None, group: bool, **options: Any) -> None:
    """Place the models on as few GPUs as can be, and prove it.

    PROFILES is an output folder of analyze, a store's URL, or a metrics-model.csv with metrics-server-only.csv
    beside it (or --server-memory).

    \b
    The models at batch 2, concurrency 4, on 16 GiB cards, by memory alone:
      plan solve results --mode memory --batch 2 --concurrency 4 --gpu-memory 16GiB
    Each at its best throughput, no GPU above 80 %, as a file for a scheduler:
      plan solve results --gpu T4 --max-utilization 80 --max-memory-utilization 80 -o placement.json
    After a change of the demand, with at most five replicas moved:
      plan solve results --demand demand.toml --gpu T4 --current placement.json --max-moves 5 -o next.json
    From a CSV of other origin:
      plan solve metrics-model.csv --server-memory 309MiB --gpu-memory 16GB
    """
    from planner.explain.baselines import baselines

    if output and output != "-" and not Path(output).parent.is_dir():
        raise UsageError(f"there is no folder {Path(output).parent} for -o {output}; make it first")
    inputs = read_inputs(profiles, options)
    if current is None and options["max_moves"] is not None:
        raise UsageError("--max-moves says how far to go from a placement; give that with --current placement.json")
    found = answer_from(read_placement(Path(current)), inputs, options) if current else answer(inputs, options)
    placement = build_placement(
        found.plan,
        found.formulation,
        inputs.profiles,
        group=group,
        search=search_limits(options),
        ids=found.ids,
        moves=found.moves,
    )
    for note in found.formulation.notes:
        click.echo(printable(f"note: {note}"), err=True)
    if output and output != "-":  # before the table, whose reader may close the pipe early
        write_placement(placement, Path(output))
        click.echo(f"placement written to {output}", err=True)
    if output == "-":
        click.echo(to_json(placement), nl=False)
    else:
        click.echo(placement_text(placement))
        if found.moves is not None:
            click.echo(moves_text(found.moves))
        for baseline in baselines(found.formulation, seed=options["seed"]) if found.plan.gpus else ():
            click.echo(baseline_text(baseline, inputs.rules.objective.unit))
    click.get_current_context().exit(found.exit_code)
