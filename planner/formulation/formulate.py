"""From demand, profiles and fleet to a Problem.                                                             [pure]"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from analyzer.errors import UsageError
from analyzer.formats.suggestions import suggest
from planner.formulation.candidates import Choice, Mode, choices
from planner.formulation.gpu_places import Site, slices, whole_gpu
from planner.formulation.integer_units import coarsen, rate_demand, rate_supply, share_capacity, share_load
from planner.formulation.objective import cost_divisor, gpu_cost, in_units, replica_cost
from planner.formulation.rules import Rules
from planner.formulation.spare import with_spare
from planner.inputs.demand import Requirement, Spread
from planner.inputs.fleet import FleetType
from planner.inputs.mig_geometry import WHOLE, Geometry, boards, geometries
from planner.inputs.profiles import Profile, by_model
from planner.problem.problem import GpuType, Layout, Option, Place, Problem, Task


class Resource(StrEnum):
    """What a replica takes of a GPU."""

    MEMORY = "memory"
    UTILIZATION = "utilization"
    MEMORY_UTILIZATION = "memory utilization"


@dataclass(frozen=True, slots=True, kw_only=True)
class Formulation:
    """The Problem and what its indices stand for.

    Parameters
    ----------
    sites : tuple of Site
        One for each place.
    requirements : tuple of Requirement
        One for each task.
    cost_divisor : int
        Turns the objective back into GPUs, currency or watts (`objective.from_units`).
    notes : tuple of str
        What the plan takes for granted, for people.
    """

    problem: Problem
    sites: tuple[Site, ...]
    requirements: tuple[Requirement, ...]
    rules: Rules
    cost_divisor: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """A replica's choice and the site it runs on."""

    site: int
    choice: Choice


def formulate(
    profiles: Sequence[Profile], requirements: Sequence[Requirement], fleet: Sequence[FleetType], rules: Rules
) -> Formulation:
    """State the Problem: every requirement a task, every way to run a replica of it an option.

    Raises
    ------
    UsageError
        If a model has no profile, a needed figure was not measured, or a server does not fit its GPU.
    """
    known = by_model(profiles)
    check_models(requirements, known)
    sites, gpus, left_out = _sites(profiles, fleet)
    ways = [_ways(r, sites, known, rules) for r in requirements]
    resources, notes = _resources([w.choice for found in ways for w in found], rules.mode)
    divisor = cost_divisor(
        [gpu_cost(t, rules.objective) for t in fleet]
        + [_replica_cost(w, sites, rules) for found in ways for w in found]
    )
    loads, capacities = coarsen(
        [_load(w.choice, resources) for found in ways for w in found], [_capacity(s, resources) for s in sites]
    )
    remaining = iter(loads)
    tasks = []
    for requirement, found in zip(requirements, ways, strict=True):
        options = tuple(
            Option(
                place=w.site,
                load=tuple(next(remaining)),
                supply=_supply(w.choice, requirement),
                cost=in_units(_replica_cost(w, sites, rules), divisor),
                point=w.choice,
            )
            for w in found
        )
        tasks.append(_task(requirement, options, rules))
    problem = Problem(
        resources=tuple(resources),
        places=tuple(Place(name=s.name, capacity=tuple(c)) for s, c in zip(sites, capacities, strict=True)),
        gpus=tuple(
            replace(g, cost=in_units(gpu_cost(t, rules.objective), divisor)) for g, t in zip(gpus, fleet, strict=True)
        ),
        tasks=tuple(tasks),
        apart=_groups([r.apart for r in requirements]),
        together=_groups([r.together for r in requirements]),
    )
    return Formulation(
        problem=problem,
        sites=sites,
        requirements=tuple(requirements),
        rules=rules,
        cost_divisor=divisor,
        notes=(*notes, *left_out, *_assumptions([w.choice for found in ways for w in found], rules)),
    )


def _sites(
    profiles: Sequence[Profile], fleet: Sequence[FleetType]
) -> tuple[tuple[Site, ...], tuple[GpuType, ...], tuple[str, ...]]:
    """The places of a fleet, and its types with their layouts: whole, and every cut worth considering."""
    sites: list[Site] = []
    gpus: list[GpuType] = []
    notes: list[str] = []
    for fleet_type in fleet:
        index = {WHOLE: len(sites)}
        layouts = [Layout(name=WHOLE, places=(len(sites),))]
        sites.append(whole_gpu(fleet_type, profiles))
        kinds, unknown = slices(fleet_type, profiles)
        for site in kinds:
            index[site.slice_name or WHOLE] = len(sites)
            sites.append(site)
        if fleet_type.mig and kinds:
            names = frozenset(site.slice_name or "" for site in kinds)
            layouts += [_layout(g, index) for g in geometries(boards()[fleet_type.mig], names)]
        if unknown:
            notes.append(f"{fleet_type.type} is not cut into {', '.join(unknown)}, whose memory is not known")
        gpus.append(
            GpuType(
                name=fleet_type.type,
                layouts=tuple(layouts),
                limit=fleet_type.limit,
                node_size=fleet_type.gpus_per_node,
            )
        )
    return tuple(sites), tuple(gpus), tuple(notes)


def _layout(geometry: Geometry, index: Mapping[str, int]) -> Layout:
    return Layout(
        name="+".join(f"{cut.profile}@{cut.start}" for cut in geometry),
        places=tuple(index[cut.profile] for cut in geometry),
        starts=tuple(cut.start for cut in geometry),
    )


def check_models(requirements: Sequence[Requirement], known: Mapping[str, tuple[Profile, ...]]) -> None:
    """Make sure that every model of the demand, and every variant, was profiled.

    Raises
    ------
    UsageError
        Naming the first that was not, with the nearest that was.
    """
    for requirement in requirements:
        for model in (requirement.model, *requirement.variants):
            if model not in known:
                raise UsageError(f"model '{model}' of the demand has no profile; {suggest(model, known)}")


def _ways(
    requirement: Requirement, sites: Sequence[Site], known: Mapping[str, tuple[Profile, ...]], rules: Rules
) -> list[_Way]:
    return [
        _Way(site=i, choice=choice)
        for i, site in enumerate(sites)
        for choice in choices(
            requirement,
            site,
            known,
            mode=rules.mode,
            keep_throughput=rules.keep_throughput,
            proportional=rules.proportional,
        )
    ]


def _resources(found: Sequence[Choice], mode: Mode) -> tuple[list[Resource], tuple[str, ...]]:
    """Which resources are counted: a utilization that no point has cannot be, one that some lack is refused."""
    counted, notes = [Resource.MEMORY], []
    if mode is Mode.MEMORY or not found:
        return counted, ()
    for resource, column, figures in (
        (Resource.UTILIZATION, "max_utilization_pct", [c.utilization for c in found]),
        (Resource.MEMORY_UTILIZATION, "max_memory_utilization_pct", [c.memory_utilization for c in found]),
    ):
        missing = [c for c, figure in zip(found, figures, strict=True) if figure is None]
        if not missing:
            counted.append(resource)
        elif len(missing) < len(found):
            raise UsageError(
                f"model '{missing[0].model}' ({missing[0].point.label}) has no measured {resource} ({column} is empty)"
                " where others have; measure it again, or use --mode memory"
            )
        else:
            notes.append(f"{resource} was not measured on {found[0].device}, so it does not limit this plan")
    if len(counted) == 1:
        raise UsageError(
            f"no utilization was measured on '{found[0].device}'; throughput mode needs one: use --mode memory"
        )
    return counted, tuple(notes)


def _assumptions(found: Sequence[Choice], rules: Rules) -> tuple[str, ...]:
    """What the figures rest on where they were not measured as they are used."""
    notes = []
    if rules.proportional and any(c.share < 1 for c in found):
        notes.append(
            "--proportional takes utilization to grow from 0 in proportion to the load; work that is done whatever the"
            " load, and batches that do not fill, make it more"
        )
    estimated = sorted({c.model for c in found if c.point.estimate})
    if estimated:
        more = f" and {len(estimated) - 3} more" if len(estimated) > 3 else ""
        notes.append(f"figures of {', '.join(estimated[:3])}{more} are estimates where the placement says so")
    return tuple(notes)


def _load(choice: Choice, resources: Sequence[Resource]) -> list[int]:
    figures = {
        Resource.MEMORY: choice.memory_bytes,
        Resource.UTILIZATION: share_load(choice.utilization or 0.0),
        Resource.MEMORY_UTILIZATION: share_load(choice.memory_utilization or 0.0),
    }
    return [figures[r] for r in resources]


def _capacity(site: Site, resources: Sequence[Resource]) -> list[int]:
    thresholds = site.fleet_type.thresholds
    figures = {
        Resource.MEMORY: site.memory_for_models,
        Resource.UTILIZATION: share_capacity(thresholds.utilization),
        Resource.MEMORY_UTILIZATION: share_capacity(thresholds.memory_utilization),
    }
    return [figures[r] for r in resources]


def _supply(choice: Choice, requirement: Requirement) -> int:
    if requirement.rate_to_serve is None:
        return 1
    return max(1, rate_supply(choice.throughput_infer_per_s or 0.0))


def _replica_cost(way: _Way, sites: Sequence[Site], rules: Rules) -> float:
    return replica_cost(way.choice, sites[way.site].fleet_type, rules.objective)


def _task(requirement: Requirement, options: tuple[Option, ...], rules: Rules) -> Task:
    rate = requirement.rate_to_serve
    task = Task(
        name=requirement.model,
        options=options,
        demand=(requirement.replicas or 1) if rate is None else rate_demand(rate),
        min_replicas=0 if rate is None else (requirement.replicas or 0),
        max_per_gpu=1 if requirement.spread else None,
        max_per_node=1 if requirement.spread is Spread.NODE else None,
        alone=requirement.alone,
    )
    return with_spare(task, rules.spare, rules.spare_of) if rules.spare else task


def _groups(names: Sequence[tuple[str, ...]]) -> tuple[tuple[int, ...], ...]:
    members: dict[str, list[int]] = defaultdict(list)
    for task, groups in enumerate(names):
        for name in groups:
            members[name].append(task)
    return tuple(tuple(members[name]) for name in sorted(members))
