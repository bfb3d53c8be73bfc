"""`plan verify`: measure whether a placement holds."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from analyzer.cli.command import Command
from analyzer.cli.option_types import option_of, typed
from analyzer.cli.options import sweep_options
from analyzer.cli.pull_progress import show_pull
from analyzer.errors import EXIT_FAILURE, UsageError
from analyzer.formats.option_values import in_flags
from analyzer.formats.units import printable
from analyzer.sweep.settings import FLAGS as SWEEP_FLAGS
from analyzer.sweep.signals import signals_as_interrupts
from planner.placement.document import Placement
from planner.placement.file import read_placement, write_placement
from planner.verification.document import Verification
from planner.verification.file import write_verification
from planner.verification.repair import repair, rounds_text
from planner.verification.settings import FLAGS, MEASURING, VerifySettings
from planner.verification.text import verification_text
from planner.verification.verify import PreparedVerification, prepare_verification

_option = option_of(VerifySettings)


@click.command(name="verify", cls=Command)
@click.argument("placement", metavar="PLACEMENT")
@click.argument("profiles", metavar="PROFILES")
@_option("gpu_ids", "Measure only the content of these GPUs of the plan.")
@_option("most", "Measure only so many contents: those that are nearest to a limit.")
@_option("pairs", "Besides, measure so many pairs of each model, from which the next plans learn.")
@_option(
    "repair", "Where the plan does not hold, plan again with what was learnt, and verify that, until a plan holds."
)
@_option("rounds", "Most plans that a repair verifies.")
@_option("output", "Write the plan that a repair ends on.", "-o")
@_option("tolerance_pct", "Share of a planned rate that may be missing.")
@_option("export_path", "Folder of verification.json and verification.csv.  [default: that of PLACEMENT]")
@partial(sweep_options, names=MEASURING)
@click.pass_context
def command(ctx: click.Context, /, placement: str, profiles: str, **options: Any) -> None:
    """Measure whether a plan holds: run what it packs together, and compare.

    PLACEMENT is a file of plan solve -o, and PROFILES the output folder of analyze, or the store, that it was made
    from. Each distinct content of the plan's GPUs is loaded on one Triton, where all of its models are sent their
    planned rates, or their planned concurrency, at the same time. First one of them is measured alone again: if it
    differs from its profile, the host has changed and not the plan is to blame.

    \b
    Every content of the plan, on this host's Triton:
      plan verify results/placement.json results
    Only the two contents that are nearest to a limit, in NVIDIA's container:
      plan verify results/placement.json results --most 2 --launch-mode docker
    Learn from pairs of models as well, and plan again until a plan holds:
      plan verify results/placement.json results --pairs 2 --repair -o results/placement-verified.json

    Exit codes: 0 the plan holds or is within noise, 1 it does not hold or could not be measured, 2 a wrong command
    line or input file.
    """
    given = typed(ctx, options)
    settings = VerifySettings(**{name: value for name, value in given.items() if name in FLAGS})
    measuring = {name: value for name, value in given.items() if name in MEASURING}
    folder = settings.export_path or Path(placement).parent
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}; make it first, or give another one with `export_path`")

    def prepared(plan: Placement) -> PreparedVerification:
        return prepare_verification(plan, profiles, settings, measuring, follow_pull=show_pull)

    def run(verification: PreparedVerification) -> Verification:
        return verification.run(lambda text: click.echo(printable(text), err=True), flags=SWEEP_FLAGS)

    first = prepared(read_placement(placement))
    sweep = first.sweep
    for line in sweep.describe():
        click.echo(in_flags(line, SWEEP_FLAGS), err=True)
    with signals_as_interrupts():
        if settings.repair:
            repaired = repair(first, prepared, rounds=settings.rounds, verify=run)
            found = repaired.verification
        else:
            repaired, found = None, run(first)
    write_verification(found, folder)
    click.echo(f"verification.json and verification.csv written to {folder}", err=True)
    click.echo(in_flags(verification_text(found), {**SWEEP_FLAGS, **FLAGS}))
    if repaired is not None:
        click.echo(rounds_text(repaired.rounds))
        if repaired.none_left:
            click.echo("no plan is left that does not have a content that failed")
        if settings.output is not None and not found.verdict.shown_to_hold:
            click.echo(f"{settings.output} is not written: of the last plan the verdict is '{found.verdict}'", err=True)
        elif settings.output is not None:
            write_placement(repaired.placement, settings.output)
            click.echo(f"placement written to {settings.output}", err=True)
    ctx.exit(0 if found.verdict.shown_to_hold else EXIT_FAILURE)
