"""The options that say what is to be planned, shared by every command that plans, and what they amount to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import click

from analyzer.errors import UsageError
from planner.catalogue import find_type, type_of_device
from planner.cli.params import Names, Percent, Size
from planner.demand import Requirement, one_copy_each
from planner.fleet import FleetType, Thresholds, devices_of
from planner.formulate import Rules
from planner.options import Mode
from planner.profile import Profile, at_configuration, of_models, of_one_device

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--mode", type=click.Choice([m.value for m in Mode]), default="throughput", show_default=True,
                 help="memory: models may only not run out of memory. throughput: neither of the GPU's time."),
    click.option("--gpu", "gpus", multiple=True, metavar="TYPE[:COUNT]",
                 help="GPU type from the catalogue, with how many there are at most; may be repeated."),
    click.option("--gpu-memory", type=Size(), metavar="SIZE",
                 help="What one GPU offers to models and server, such as 16GiB; wins over the catalogue."),
    click.option("--max-memory", type=Percent(100), default="100", metavar="PCT", show_default=True,
                 help="Of the GPU's memory that may be used."),
    click.option("--max-utilization", type=Percent(1000), metavar="PCT",
                 help="Highest sum of GPU utilization; above 100 accepts some slow-down.  [default: 100]"),
    click.option("--max-memory-utilization", type=Percent(1000), metavar="PCT",
                 help="Highest sum of memory utilization.  [default: 100]"),
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
    from planner.sources import read_profiles

    mode = Mode(options["mode"])
    thresholds = _thresholds(mode, options)
    profiles = read_profiles(source, server_memory_bytes=options["server_memory"])
    if options["device"]:
        profiles = of_one_device(profiles, options["device"])
    profiles = at_configuration(profiles, batch=options["batch"], concurrency=options["concurrency"])
    if options["model_names"]:
        profiles = of_models(profiles, options["model_names"])
    fleet, notes = _fleet(options, thresholds, profiles)
    profiles = _measured_on(profiles, fleet)
    return Inputs(
        profiles=profiles,
        requirements=one_copy_each(p.model for p in profiles),
        fleet=fleet,
        rules=Rules(mode=mode),
        notes=notes,
    )


def _thresholds(mode: Mode, options: dict[str, Any]) -> Thresholds:
    given = {k: options[k] for k in ("max_utilization", "max_memory_utilization") if options[k] is not None}
    if mode is Mode.MEMORY and given:
        option = "--" + next(iter(given)).replace("_", "-")
        raise UsageError(f"{option} has no effect with --mode memory; leave it out, or use --mode throughput")
    return Thresholds(
        memory=options["max_memory"],
        utilization=given.get("max_utilization", 1.0),
        memory_utilization=given.get("max_memory_utilization", 1.0),
    )


def _fleet(
    options: dict[str, Any], thresholds: Thresholds, profiles: tuple[Profile, ...]
) -> tuple[tuple[FleetType, ...], tuple[str, ...]]:
    memory = options["gpu_memory"]
    if not options["gpus"]:
        return (_type_of_profiles(of_one_device(profiles, None)[0], memory, thresholds),), ()
    if memory and len(options["gpus"]) > 1:
        raise UsageError("--gpu-memory is for one type, and --gpu names several; give their memory in a --fleet file")
    types = [_named(text, memory, thresholds) for text in options["gpus"]]
    for name in {t.type for t in types if sum(other.type == t.type for other in types) > 1}:
        raise UsageError(f"--gpu {name} is given twice; give one with the sum of the counts")
    if len(types) > 1:
        return tuple(types), ()
    return _adopt(types[0], profiles)


def _named(text: str, memory: int | None, thresholds: Thresholds) -> FleetType:
    name, _, count = text.partition(":")
    if count and not (count.isdecimal() and int(count)):
        raise UsageError(f"--gpu {text}: the count '{count}' is no whole number above 0; write {name}:8")
    known = find_type(name)
    return FleetType(
        type=known.name,
        memory_bytes=memory or known.memory_bytes,
        limit=int(count) if count else None,
        devices=devices_of(known.name),
        thresholds=thresholds,
        mig=known.mig,
    )


def _type_of_profiles(profile: Profile, memory: int | None, thresholds: Thresholds) -> FleetType:
    """The type that the profiles were measured on."""
    known = type_of_device(profile.device)
    found = memory or profile.device_memory_bytes or (known.memory_bytes if known else None)
    if not found:
        raise UsageError(
            f"the memory of '{profile.device}' is not known; give --gpu-memory 16GiB, or --gpu with a type"
        )
    return FleetType(
        type=known.name if known else profile.device,
        memory_bytes=found,
        devices=(profile.device,),
        thresholds=thresholds,
        mig=known.mig if known else None,
    )


def _adopt(fleet_type: FleetType, profiles: Sequence[Profile]) -> tuple[tuple[FleetType, ...], tuple[str, ...]]:
    """Let profiles of a device that we do not know count for the only type there is; never those of another type."""
    devices = sorted({p.device for p in profiles})
    if any(d in fleet_type.devices for d in devices):
        return (fleet_type,), ()
    for device in devices:
        other = type_of_device(device)
        if other:
            raise UsageError(
                f"the profiles were measured on '{device}', and what a {other.name} does is not assumed of a"
                f" {fleet_type.type}; measure there, or give a scaling in a --fleet file"
            )
    of_one_device(tuple(profiles), None)
    note = f"what was measured on '{devices[0]}' is taken to hold on {fleet_type.type}"
    return (replace(fleet_type, devices=(*fleet_type.devices, devices[0])),), (note,)


def _measured_on(profiles: tuple[Profile, ...], fleet: Sequence[FleetType]) -> tuple[Profile, ...]:
    """Keep the profiles that count for the fleet; two devices for one type are not mixed.

    Raises
    ------
    UsageError
        If a type has profiles of several devices.
    """
    kept: list[Profile] = []
    for fleet_type in fleet:
        own = tuple(p for p in profiles if p.device in fleet_type.devices)
        kept += of_one_device(own, None)
        if fleet_type.scaling:
            kept += [p for p in profiles if p.device == fleet_type.scaling.device]
    return tuple(p for p in profiles if p in kept) if len(fleet) > 1 else tuple(kept)
