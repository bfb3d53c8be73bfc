"""The request: everything that a plan depends on, in one record, and how it is made from settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from analyzer.errors import UsageError
from analyzer.formats.suggestions import suggest
from planner.formulation.candidates import Mode
from planner.formulation.objective import Objective
from planner.formulation.rules import Rules
from planner.formulation.settings import PlanSettings
from planner.inputs.demand import Requirement, Spread, one_copy_each
from planner.inputs.fleet import FleetType
from planner.inputs.fleet_file import read_fleet
from planner.inputs.fleet_options import count_unknown_device, cut_with_mig, named_types, type_of_profiles
from planner.inputs.memory_size import to_bytes
from planner.inputs.profiles import OperatingPoint, Profile, at_configuration, by_model, of_models, of_one_device
from planner.interference.learnt import NOTHING, Learnt


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Everything that a plan depends on.

    Parameters
    ----------
    profiles : tuple of Profile
        Of the models of the demand, on devices that count for the fleet.
    requirements : tuple of Requirement
        The demand.
    fleet : tuple of FleetType
    rules : Rules
    learnt : Learnt
        What co-location costs.
    notes : tuple of str
        What was assumed about profiles and fleet, as sentences for the user.
    """

    profiles: tuple[Profile, ...]
    requirements: tuple[Requirement, ...]
    fleet: tuple[FleetType, ...]
    rules: Rules
    learnt: Learnt = NOTHING
    notes: tuple[str, ...] = ()

    def with_rate_factor(self, factor: float) -> Self:
        """Return the request with every rate multiplied; copies that are asked for without a rate stay."""
        grown = (replace(r, growth=r.growth * factor) if r.rate_infer_per_s else r for r in self.requirements)
        return replace(self, requirements=tuple(grown))


def make_request(profiles: Sequence[Profile], settings: PlanSettings, learnt: Learnt) -> Request:
    """Read the files that settings name, and keep the profiles that count, before anything is solved.

    Parameters
    ----------
    learnt : Learnt
        What co-location costs, as far as `settings.interference` lets it count.

    Raises
    ------
    UsageError
        For the first setting that is not valid, or that does not go with the others or with the profiles.
    """
    from planner.inputs.demand_file import read_demand

    rules = _rules(settings)
    for name in ("max_utilization_pct", "max_memory_utilization_pct"):
        if rules.mode is Mode.MEMORY and getattr(settings, name) is not None:
            raise UsageError(f"`{name}` has no effect with `mode='memory'`; leave it out, or use `mode='throughput'`")
    demand, fleet = settings.demand, settings.fleet
    requirements = read_demand(demand) if isinstance(demand, str) else demand
    types = read_fleet(fleet) if isinstance(fleet, str) else fleet
    known = tuple(profiles)
    if settings.device:
        known = of_one_device(known, settings.device)
    requirements, known = _wanted(requirements, known, settings.model_names)
    types, notes = _fleet(types, settings, known)
    known = measured_on(known, types)
    return Request(
        profiles=at_configuration(known, batch=settings.batch, concurrency=settings.concurrency),
        requirements=requirements,
        fleet=cut_with_mig(types) if settings.mig else types,
        rules=rules,
        learnt=learnt,
        notes=notes,
    )


def _rules(settings: PlanSettings) -> Rules:
    return Rules(
        mode=Mode(settings.mode),
        objective=Objective(settings.objective),
        keep_throughput=settings.keep_throughput,
        proportional=settings.proportional,
        spare=settings.spare,
        spare_of=Spread(settings.spare_of),
        batch=settings.batch,
        concurrency=settings.concurrency,
    )


def _wanted(
    requirements: tuple[Requirement, ...] | None, profiles: tuple[Profile, ...], names: tuple[str, ...]
) -> tuple[tuple[Requirement, ...], tuple[Profile, ...]]:
    """The demand, and the profiles of the models that may serve it."""
    if names:
        profiles = of_models(profiles, names)
    if requirements is None:
        return one_copy_each(p.model for p in profiles), profiles
    if names:
        requirements = tuple(r for r in requirements if r.model in names)
        if not requirements:
            raise UsageError(f"the demand has none of `model_names={','.join(names)!r}`; leave one of the two out")
    check_models(requirements, profiles)
    serving = {model for r in requirements for model in (r.model, *r.variants)}
    return requirements, tuple(p for p in profiles if p.model in serving)


def check_models(requirements: Sequence[Requirement], profiles: Sequence[Profile]) -> None:
    """Make sure that every model of the demand, and every variant, was profiled for what is asked of it.

    Raises
    ------
    UsageError
        Naming the first that was not, with the nearest that was; or the first that was measured with requests of
        several lengths, where the demand does not say how long its own are.
    """
    known = by_model(profiles)
    for requirement in requirements:
        for model in (requirement.model, *requirement.variants):
            if model not in known:
                raise UsageError(f"model '{model}' of the demand has no profile; {suggest(model, known)}")
            _check_lengths(requirement, model, [point for profile in known[model] for point in profile.points])


def _check_lengths(requirement: Requirement, model: str, points: Sequence[OperatingPoint]) -> None:
    """Refuse to choose among lengths: figures of short requests say nothing of long ones."""
    for field, what in (("input_length", "requests"), ("output_length", "answers")):
        measured = sorted({length for point in points if (length := getattr(point, field)) is not None})
        if getattr(requirement, field) is None and len(measured) > 1:
            raise UsageError(
                f"model '{model}' was measured with {what} of {', '.join(map(str, measured))} tokens; "
                f"give {field} in the demand"
            )


def _fleet(
    fleet: tuple[FleetType, ...] | None, settings: PlanSettings, profiles: tuple[Profile, ...]
) -> tuple[tuple[FleetType, ...], tuple[str, ...]]:
    """The types of the fleet, with the thresholds of the settings in place of their own, and what is assumed."""
    memory_bytes = to_bytes(settings.gpu_memory_mib)
    notes: tuple[str, ...] = ()
    if fleet is not None:
        for given, name in ((settings.gpus, "gpus"), (memory_bytes, "gpu_memory_mib")):
            if given:
                raise UsageError(f"`{name}` and `fleet` both say which GPUs there are; give one of them")
    elif settings.gpus:
        fleet, notes = count_unknown_device(named_types(settings.gpus, memory_bytes), profiles)
    else:
        fleet = (type_of_profiles(of_one_device(profiles, None)[0], memory_bytes),)
    given_shares = {
        name: pct / 100
        for name, pct in (
            ("memory", settings.max_memory_pct),
            ("utilization", settings.max_utilization_pct),
            ("memory_utilization", settings.max_memory_utilization_pct),
        )
        if pct is not None
    }
    return tuple(replace(t, thresholds=replace(t.thresholds, **given_shares)) for t in fleet), notes


def measured_on(profiles: Sequence[Profile], fleet: Sequence[FleetType]) -> tuple[Profile, ...]:
    """Keep the profiles that count for the fleet; two devices for one type are not mixed.

    Raises
    ------
    UsageError
        If a type has profiles of several devices, or nothing was measured on any type.
    """
    devices: set[str] = set()
    for fleet_type in fleet:
        own = tuple(p for p in profiles if p.board in fleet_type.devices)
        devices |= {p.board for p in of_one_device(own, None)}
        if fleet_type.scaling:
            devices.add(fleet_type.scaling.device)
    measured = tuple(p for p in profiles if p.board in devices)
    if profiles and not measured:
        types, boards = (
            ", ".join(dict.fromkeys(names)) for names in ((t.type for t in fleet), (p.board for p in profiles))
        )
        raise UsageError(
            f"nothing was measured on {types}, only on {boards}; where that is the same card, name it in the type's "
            "devices in the fleet, or say with scale how figures carry over"
        )
    return measured
