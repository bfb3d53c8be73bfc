"""`plan explain`: why a plan is as it is."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click

from analyzer.cli.command import Command
from analyzer.cli.option_types import click_option
from analyzer.formats.option_values import in_flags, options_of
from analyzer.formats.units import counted, printable
from planner.explanation.bottlenecks import Fill
from planner.explanation.explain import ExplainSettings, Explanation, explain
from planner.formulation.settings import FLAGS
from planner.placement.document import Placement
from planner.placement.file import read_placement

_SETTINGS = options_of(ExplainSettings)


@click.command(name="explain", cls=Command)
@click.argument("placement", metavar="PLACEMENT.json")
@click.argument("profiles", metavar="[PROFILES]", required=False)
@click_option("server_memory_mib", _SETTINGS["server_memory_mib"], "As it was given to plan solve.")
@click_option("time_limit_s", _SETTINGS["time_limit_s"], "Time for trying changes that would save a GPU.")
@click_option("seed", _SETTINGS["seed"], "Seed of the randomised parts of the searches.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def command(placement: str, profiles: str | None, as_json: bool, **options: Any) -> None:
    """Say why a plan needs the GPUs it needs, and what would save one.

    From the placement alone: which resource binds on which GPU, and why the emptiest GPU is needed. With the PROFILES
    it was made from also the bound by each resource alone, and which single change (of a threshold, of a model's p99
    budget, of another requirement) saves GPUs; where there is no plan, a smallest set of demands that conflict.

    \b
    Where the GPUs go:
      plan explain placement.json results
    """
    found = read_placement(placement)
    explanation = explain(found, profiles, **options)
    if as_json:
        click.echo(json.dumps(_document(explanation), indent=1))
        return
    click.echo("\n".join(printable(in_flags(line, FLAGS)) for line in _sentences(found, explanation)))
    if not profiles:
        click.echo("give the PROFILES as well to learn which change would save a GPU", err=True)


def _document(explanation: Explanation) -> dict[str, Any]:
    document: dict[str, Any] = {
        "headline": explanation.headline,
        "binding": {gpu: asdict(fill) | {"share": round(fill.share, 6)} for gpu, fill in explanation.binding.items()},
        "last_gpu": asdict(explanation.last_gpu) if explanation.last_gpu else None,
    }
    if explanation.bounds is not None:
        document["bounds"] = explanation.bounds
    if explanation.relaxations is not None:
        changes = [asdict(change) for change in explanation.relaxations]
        document["relaxations"] = [{**change, "change": in_flags(change["change"], FLAGS)} for change in changes]
    if explanation.conflict is not None:
        document["conflict"] = list(explanation.conflict)
    return document


def _sentences(placement: Placement, explanation: Explanation) -> list[str]:
    unit = placement.objective.unit
    lines = [explanation.headline]
    if explanation.bounds is not None:
        bounds = sorted(explanation.bounds.items(), key=lambda item: -item[1])
        lines.append("at least by one resource alone: " + ", ".join(f"{name} {v:g} {unit}" for name, v in bounds))
    lines += _bindings(explanation.binding)
    last = explanation.last_gpu
    if last:
        lines.append(f"{last.id} is the emptiest: {'; '.join(last.reasons)}")
    lines += [f"not placed: {unplaced.reason}" for unplaced in placement.unplaced]
    if explanation.relaxations is not None:
        lines += [
            f"with {c.change}: {counted(c.gpus, 'GPU')}, saves {c.saved:g} {unit}" for c in explanation.relaxations
        ]
        if not explanation.relaxations:
            lines.append("no single change that was tried saves anything")
    if explanation.conflict is not None:
        names = explanation.conflict
        lines.append(
            f"{names[0]} cannot be met by this fleet at all"
            if len(names) == 1
            else f"these cannot be met together, any one of them left out can: {', '.join(names)}"
        )
    return lines


def _bindings(found: dict[str, Fill]) -> list[str]:
    """One line for each resource: on how many GPUs it binds, and the GPU where it is nearest to its limit."""
    lines = []
    for resource in dict.fromkeys(fill.resource for fill in found.values()):
        own = {gpu: fill for gpu, fill in found.items() if fill.resource == resource}
        gpu, fullest = max(own.items(), key=lambda item: item[1].share)
        emptiest = min(own.values(), key=lambda fill: fill.share)
        shares = f"{fullest.share:.0%}" if len(own) == 1 else f"{emptiest.share:.0%} to {fullest.share:.0%}"
        lines.append(
            f"{resource} binds on {counted(len(own), 'GPU')} ({shares} of what is allowed); most on {gpu}:"
            f" {fullest.used:.6g} of {fullest.limit:.6g} {fullest.unit}"
        )
    return lines
