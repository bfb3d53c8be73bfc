"""`plan diff`: print what is different between two placements."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from analyzer.cli.command import Command
from analyzer.formats.units import counted, printable
from planner.placement.difference import Difference, Relocation, difference
from planner.placement.file import read_placement


@click.command(name="diff", cls=Command)
@click.argument("before", metavar="A.json")
@click.argument("after", metavar="B.json")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def command(before: str, after: str, as_json: bool) -> None:
    """Say what is different between two placements.

    GPUs are matched by the models on them, not by their ids: a new id alone is no difference.

    \b
    What a utilization threshold of 80 % changes:
      plan diff at-100.json at-80.json
    """
    found = difference(read_placement(before), read_placement(after))
    click.echo(json.dumps(asdict(found), indent=1) if as_json else _text(found))


def _text(found: Difference) -> str:
    lines = [f"{name}: {_value(old)} -> {_value(new)}" for name, old, new in found.figures]
    lines += [_move(move) for move in found.moves]
    return "\n".join(map(printable, lines)) or "no difference"


def _value(value: object) -> str:
    return "none" if value is None else str(value)


def _move(move: Relocation) -> str:
    what = f"{move.model}: {counted(move.count, 'replica')} of {move.memory_mib / move.count:.0f} MiB"
    if move.source is None:
        return f"{what} added on {move.target}"
    if move.target is None:
        return f"{what} removed from {move.source}"
    if move.source == move.target:
        return f"{what} loaded anew on {move.target}"
    return f"{what} from {move.source} to {move.target}"
