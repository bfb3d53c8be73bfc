"""The options that say what is to be planned, shared by every command that plans, and what they amount to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import click

from analyzer.errors import UsageError
from planner.cli.option_types import Names, Percent, Size
from planner.formulation.candidates import Mode
from planner.formulation.formulate import check_models
from planner.formulation.objective import Objective
from planner.formulation.rules import Rules
from planner.inputs.demand import Requirement, Spread, one_copy_each
from planner.inputs.fleet import FleetType
from planner.inputs.fleet_file import GivenThresholds, read_fleet
from planner.inputs.fleet_options import adopt, cut_with_mig, named_types, type_of_profiles
from planner.inputs.profiles import Profile, at_configuration, by_model, of_models, of_one_device

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--demand", metavar="FILE",
                 help="What must be served, as TOML or CSV; - is stdin. Without it, one copy of each model."),
    click.option("--mode", type=click.Choice([m.value for m in Mode]), default="throughput", show_default=True,
                 help="memory: models may only not run out of memory. throughput: neither of the GPU's time."),
    click.option("--objective", type=click.Choice([o.value for o in Objective]), default="gpus", show_default=True,
                 help="What is made as small as can be; cost and energy need a --fleet file with prices or powers."),
    click.option("--gpu", "gpus", multiple=True, metavar="TYPE[:COUNT]",
                 help="GPU type from the catalogue, with how many there are at most; may be repeated."),
    click.option("--gpu-memory", type=Size(), metavar="SIZE",
                 help="What one GPU offers to models and server, such as 16GiB; wins over the catalogue."),
    click.option("--fleet", metavar="FILE", help="The GPU types there are, as TOML; in place of --gpu."),
    click.option("--mig", is_flag=True, help="GPUs may be cut into MIG slices, where their type can be."),
    click.option("--max-memory", type=Percent(100), metavar="PCT",
                 help="Of the GPU's memory that may be used.  [default: 100]"),
    click.option("--max-utilization", type=Percent(1000), metavar="PCT",
                 help="Highest sum of GPU utilization; above 100 accepts some slow-down.  [default: 100]"),
    click.option("--max-memory-utilization", type=Percent(1000), metavar="PCT",
                 help="Highest sum of memory utilization.  [default: 100]"),
    click.option("--keep-throughput", type=click.FloatRange(0, 1, min_open=True), default=1.0, show_default=True,
                 metavar="X", help="Without a rate: share of its best throughput that each model keeps."),
    click.option("--proportional", is_flag=True,
                 help="Charge a replica utilization in proportion to the rate it serves, in tenths."),
    click.option("--spare", type=click.IntRange(min=0), default=0, show_default=True, metavar="N",
                 help="GPUs that may be lost at once while every demand is still met."),
    click.option("--spare-of", type=click.Choice([s.value for s in Spread]), default="gpu", show_default=True,
                 help="Whether --spare counts GPUs or whole nodes."),
    click.option("--batch", type=click.IntRange(min=1), metavar="N", help="Take each model's figures at this batch."),
    click.option("--concurrency", type=click.IntRange(min=1), metavar="N", help="Take them at this concurrency."),
    click.option("--model-names", type=Names(), metavar="A,B", help="Only these models."),
    click.option("--device", metavar="NAME", help="Only what was measured on this device."),
    click.option("--server-memory", type=Size(), metavar="SIZE",
                 help="What the idle server takes; wins over what is found beside the measurements."),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Everything that a plan depends on.

    Parameters
    ----------
    notes : tuple of str
        What was assumed while the options were read.
    """

    profiles: tuple[Profile, ...]
    requirements: tuple[Requirement, ...]
    fleet: tuple[FleetType, ...]
    rules: Rules
    notes: tuple[str, ...] = ()


def planning_options(command: Command) -> Command:
    """Give a command the options that say what is to be planned."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def read_inputs(source: str, options: dict[str, Any]) -> Inputs:
    """Read everything that the options name, before anything is solved.

    Raises
    ------
    UsageError
        For the first thing that cannot be taken.
    """
    from planner.inputs.demand_file import read_demand
    from planner.inputs.profile_source import read_profiles

    rules = _rules(options)
    thresholds = _thresholds(rules.mode, options)
    requirements = read_demand(options["demand"]) if options["demand"] else None
    fleet = read_fleet(options["fleet"], thresholds) if options["fleet"] else None
    profiles = read_profiles(source, server_memory_bytes=options["server_memory"])
    if options["device"]:
        profiles = of_one_device(profiles, options["device"])
    requirements, profiles = _wanted(requirements, profiles, options["model_names"])
    fleet, notes = _fleet(fleet, options, thresholds, profiles)
    profiles = _measured_on(profiles, fleet)
    return Inputs(
        profiles=at_configuration(profiles, batch=options["batch"], concurrency=options["concurrency"]),
        requirements=requirements,
        fleet=cut_with_mig(fleet) if options["mig"] else fleet,
        rules=rules,
        notes=notes,
    )


def _rules(options: dict[str, Any]) -> Rules:
    return Rules(
        mode=Mode(options["mode"]),
        objective=Objective(options["objective"]),
        keep_throughput=options["keep_throughput"],
        proportional=options["proportional"],
        spare=options["spare"],
        spare_of=Spread(options["spare_of"]),
        batch=options["batch"],
        concurrency=options["concurrency"],
    )


def _thresholds(mode: Mode, options: dict[str, Any]) -> GivenThresholds:
    if mode is Mode.MEMORY:
        for option in ("max_utilization", "max_memory_utilization"):
            if options[option] is not None:
                name = "--" + option.replace("_", "-")
                raise UsageError(f"{name} has no effect with --mode memory; leave it out, or use --mode throughput")
    return GivenThresholds(
        memory=options["max_memory"],
        utilization=options["max_utilization"],
        memory_utilization=options["max_memory_utilization"],
    )


def _wanted(
    requirements: tuple[Requirement, ...] | None, profiles: tuple[Profile, ...], names: tuple[str, ...] | None
) -> tuple[tuple[Requirement, ...], tuple[Profile, ...]]:
    """The demand, and the profiles of the models that may serve it."""
    if names:
        profiles = of_models(profiles, names)
    if requirements is None:
        return one_copy_each(p.model for p in profiles), profiles
    if names:
        requirements = tuple(r for r in requirements if r.model in names)
        if not requirements:
            raise UsageError(f"the demand has none of --model-names {','.join(names)}; leave one of the two out")
    check_models(requirements, by_model(profiles))
    serving = {model for r in requirements for model in (r.model, *r.variants)}
    return requirements, tuple(p for p in profiles if p.model in serving)


def _fleet(
    fleet: tuple[FleetType, ...] | None,
    options: dict[str, Any],
    thresholds: GivenThresholds,
    profiles: tuple[Profile, ...],
) -> tuple[tuple[FleetType, ...], tuple[str, ...]]:
    memory = options["gpu_memory"]
    if fleet is not None:
        for option, name in ((options["gpus"], "--gpu"), (memory, "--gpu-memory")):
            if option:
                raise UsageError(f"{name} and --fleet both say which GPUs there are; give one of them")
        return fleet, ()
    limits = thresholds.over(None, None, None)
    if not options["gpus"]:
        return (type_of_profiles(of_one_device(profiles, None)[0], memory, limits),), ()
    types = named_types(options["gpus"], memory, limits)
    return adopt(types, profiles)


def _measured_on(profiles: tuple[Profile, ...], fleet: Sequence[FleetType]) -> tuple[Profile, ...]:
    """Keep the profiles that count for the fleet; two devices for one type are not mixed.

    Raises
    ------
    UsageError
        If a type has profiles of several devices.
    """
    devices: set[str] = set()
    for fleet_type in fleet:
        own = tuple(p for p in profiles if p.board in fleet_type.devices)
        devices |= {p.board for p in of_one_device(own, None)}
        if fleet_type.scaling:
            devices.add(fleet_type.scaling.device)
    return tuple(p for p in profiles if p.board in devices)


def with_rate_factor(inputs: Inputs, factor: float) -> Inputs:
    """The same inputs with every rate multiplied; copies that are asked for without a rate stay."""
    grown = tuple(replace(r, growth=r.growth * factor) if r.rate_infer_per_s else r for r in inputs.requirements)
    return replace(inputs, requirements=grown)
