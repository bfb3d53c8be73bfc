"""`plan solve`: place the models on the fewest GPUs."""

from __future__ import annotations

from typing import Any

import click

from analyzer.cli.command import Command
from analyzer.cli.option_types import typed
from analyzer.errors import EXIT_FAILURE, EXIT_INFEASIBLE
from analyzer.formats.option_values import in_flags
from analyzer.formats.units import printable
from planner.cli.options import GROUP, MAX_MOVES, check_folder_of, planning_options
from planner.cli.progress import Progress
from planner.formulation.settings import FLAGS, PlanSettings
from planner.placement.file import read_placement, to_json, write_placement
from planner.placement.text import moves_text, placement_text
from planner.planning import PlanResult, load_inputs, plan_with
from planner.problem.plan import Status


@click.command(name="solve", cls=Command)
@click.argument("profiles", metavar="PROFILES")
@planning_options
@click.option("--current", metavar="FILE", help="The placement in force: change it as little as the plan allows.")
@MAX_MOVES
@click.option("-o", "--output", metavar="FILE", help="Write the placement as JSON; - prints it instead of the table.")
@GROUP
@click.pass_context
def command(ctx: click.Context, /, profiles: str, current: str | None, output: str | None, **options: Any) -> None:
    """Place the models on as few GPUs as possible, and prove it.

    PROFILES is an output folder of analyze, a store's URL, or a metrics-model.csv with metrics-server-only.csv
    beside it (or --server-memory).

    \b
    The models at batch 2, concurrency 4, on 16 GiB cards, by memory alone:
      plan solve results --mode memory --batch 2 --concurrency 4 --gpu-memory 16GiB
    Each at its best throughput, no GPU above 80 %, as a file for a scheduler:
      plan solve results --gpu T4 --max-utilization 80 --max-memory-utilization 80 -o placement.json
    After a change of the demand, with at most five replicas moved:
      plan solve results --demand demand.toml --gpu T4 --current placement.json --max-moves 5 -o next.json
    From a CSV file without the idle server's memory:
      plan solve metrics-model.csv --server-memory 309MiB --gpu-memory 16GB
    """
    check_folder_of(output)
    settings = PlanSettings(**typed(ctx, options))
    in_force = read_placement(current) if current else None
    known, learnt = load_inputs(profiles, settings)
    progress = Progress()
    with progress.listening():
        result = plan_with(
            known, settings, learnt=learnt, current=in_force, stop=progress.stop, on_progress=progress.of
        )
    for note in result.notes:
        click.echo(printable(f"note: {in_flags(note, FLAGS)}"), err=True)
    if not learnt.fits and any(len(gpu.models) > 1 for gpu in result.placement.gpus):
        click.echo("note: not verified: it adds up models that were measured alone; see plan verify", err=True)
    if output and output != "-":  # before the table, whose reader may close the pipe early
        write_placement(result.placement, output)
        click.echo(f"placement written to {output}", err=True)
    if output == "-":
        click.echo(to_json(result.placement), nl=False)
    else:
        _show(result, settings.seed)
    ctx.exit(_exit_code(result))


def _show(result: PlanResult, seed: int) -> None:
    from planner.explanation.baselines import baseline_text, baselines

    click.echo(placement_text(result.placement))
    if result.status is Status.UNKNOWN:
        click.echo("give the search more time with --time-limit", err=True)
    if result.moves is not None:
        click.echo(moves_text(result.moves))
    if result.gpus:
        for baseline in baselines(result.solved.formulation, seed=seed):
            click.echo(baseline_text(baseline, result.placement.objective.unit))


def _exit_code(result: PlanResult) -> int:
    if result.status is Status.INFEASIBLE:
        return EXIT_INFEASIBLE
    return EXIT_FAILURE if result.gpus is None else 0
