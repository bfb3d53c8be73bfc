"""`plan explain`: why a plan is as it is."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from analyzer.cli.command import Command
from analyzer.errors import UsageError
from analyzer.formats.units import counted, printable
from planner.cli.option_types import Size
from planner.explain.bottlenecks import Fill, binding, last_gpu
from planner.explain.resource_bounds import resource_bounds
from planner.explain.what_if import Question, Relaxation, conflict, is_form_of, relaxations
from planner.formulation.formulate import Formulation, check_models
from planner.inputs.profiles import at_configuration, by_model
from planner.placement.document import Placement
from planner.placement.file import read_placement
from planner.placement.read_back import demand_of, fleet_of, rules_of
from planner.placement.text import headline
from planner.problem.plan import Plan


@click.command(name="explain", cls=Command)
@click.argument("placement", metavar="PLACEMENT.json")
@click.argument("profiles", metavar="[PROFILES]", required=False)
@click.option("--server-memory", type=Size(), metavar="SIZE", help="As it was given to plan solve.")
@click.option("--time-limit", type=click.FloatRange(min=0, min_open=True), default=60.0, show_default=True, metavar="S",
              help="Seconds for trying what would save a GPU.")  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), default=0, metavar="N", help="Of the searches.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def command(
    placement: str, profiles: str | None, server_memory: int | None, time_limit: float, seed: int, as_json: bool
) -> None:
    """Say why a plan needs the GPUs it needs, and what would save one.

    From the placement alone: which resource binds on which GPU, and what the last GPU is there for. With the PROFILES
    it was made from also the bound by each resource alone, and which single change of a threshold, a model's p99 budget
    or another wish saves GPUs; where there is no plan, a smallest set of demands that conflict.

    \b
    Where the GPUs go:
      plan explain placement.json results
    """
    document = read_placement(Path(placement))
    explanation: dict[str, Any] = {"headline": headline(document)}
    found = binding(document)
    explanation["binding"] = {gpu: asdict(fill) | {"share": round(fill.share, 6)} for gpu, fill in found.items()}
    last = last_gpu(document)
    explanation["last_gpu"] = asdict(last) if last else None
    if profiles:
        explanation |= _with_profiles(document, profiles, server_memory, time_limit, seed)
    if as_json:
        click.echo(json.dumps(explanation, indent=1))
        return
    click.echo("\n".join(map(printable, _sentences(document, explanation, found))))
    if not profiles:
        click.echo("give the PROFILES as well to learn which change would save a GPU", err=True)


def _with_profiles(
    document: Placement, source: str, server_memory: int | None, time_limit_s: float, seed: int
) -> dict[str, Any]:
    from planner.inputs.profile_source import read_profiles
    from planner.solver.solve import solve

    fleet, rules, requirements = fleet_of(document), rules_of(document), demand_of(document)
    devices = {d for t in fleet for d in (*t.devices, *((t.scaling.device,) if t.scaling else ()))}
    every = read_profiles(source, server_memory_bytes=server_memory)
    measured = tuple(p for p in every if p.board in devices)
    serving = {model for r in requirements for model in (r.model, *r.variants)}
    if rules.batch is None and rules.concurrency is None:  # forms of a model may not have been measured there
        serving |= {p.model for p in measured if any(is_form_of(p.model, r.model) for r in requirements)}
    measured = tuple(p for p in measured if p.model in serving)
    if not measured:
        raise UsageError(f"'{source}' has no profile measured on {', '.join(sorted(devices))}")
    profiles = at_configuration(measured, batch=rules.batch, concurrency=rules.concurrency)
    check_models(requirements, by_model(profiles))
    question = Question(profiles=profiles, requirements=requirements, fleet=fleet, rules=rules)

    def search(formulation: Formulation, limit_s: float) -> Plan:
        return solve(formulation.problem, time_limit_s=limit_s, seed=seed)

    explanation: dict[str, Any] = {"bounds": resource_bounds(question.formulate())}
    value = document["objective"].get("value", document["objective"]["gpus"])
    if value is not None:
        changes = relaxations(question, value, search, time_limit_s=time_limit_s)
        explanation["relaxations"] = [asdict(change) for change in changes]
    elif document["status"] == "infeasible":
        explanation["conflict"] = [r.model for r in conflict(question, search, time_limit_s=time_limit_s)]
    return explanation


def _sentences(document: Placement, explanation: dict[str, Any], found: dict[str, Fill]) -> list[str]:
    unit = document["objective"].get("unit", "GPUs")
    lines = [explanation["headline"]]
    if "bounds" in explanation:
        bounds = sorted(explanation["bounds"].items(), key=lambda item: -item[1])
        lines.append("at least by one resource alone: " + ", ".join(f"{name} {v:g} {unit}" for name, v in bounds))
    lines += _bindings(found)
    last = explanation["last_gpu"]
    if last:
        lines.append(f"{last['id']} is the emptiest: {'; '.join(last['reasons'])}")
    lines += [f"not placed: {u['reason']}" for u in document["unplaced"]]
    if "relaxations" in explanation:
        changes = [Relaxation(**change) for change in explanation["relaxations"]]
        lines += [f"with {c.change}: {counted(c.gpus, 'GPU')}, saves {c.saved:g} {unit}" for c in changes]
        if not changes:
            lines.append("no single change that was tried saves anything")
    if "conflict" in explanation:
        names = explanation["conflict"]
        lines.append(
            f"{names[0]} cannot be met by this fleet at all"
            if len(names) == 1
            else f"these cannot be met together, any one of them left out can: {', '.join(names)}"
        )
    return lines


def _bindings(found: dict[str, Fill]) -> list[str]:
    """One line a resource: the GPUs that it fills most, the fullest named."""
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
