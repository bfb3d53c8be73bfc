"""State a request (profiles, demand, fleet) as a Problem in integers.                                       [pure]"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from analyzer.errors import UsageError
from analyzer.formats.units import shortened_list
from planner.formulation.candidates import Candidate, candidates
from planner.formulation.co_location import UNLIMITED, needs_headroom, sharing
from planner.formulation.gpu_places import GpuPlace, slices, whole_gpu
from planner.formulation.integer_units import coarsen, rate_demand, rate_supply
from planner.formulation.measured_contents import known_to_hold, overloads
from planner.formulation.objective import cost_divisor, gpu_cost, in_units, replica_cost
from planner.formulation.request import Request, check_models
from planner.formulation.resources import Resource, resource_rows
from planner.formulation.rules import Rules
from planner.inputs.demand import Requirement, Spread
from planner.inputs.mig_geometry import WHOLE, Geometry, boards, geometries
from planner.inputs.profiles import Profile, by_model
from planner.problem.co_location import Alone, Apart, AtMost, Rule, Spare, Together, Within
from planner.problem.problem import GpuType, Layout, Option, Place, Problem, Task

_WITHIN = {Spread.GPU: Within.GPU, Spread.NODE: Within.NODE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Formulation:
    """A Problem, and what its indices stand for.

    Parameters
    ----------
    places : tuple of GpuPlace
        One for each place of the problem.
    resources : tuple of Resource
        What each of the problem's resources is; with rates by hour the same one may be there for several hours.
    request : Request
        Its requirements are the problem's tasks, one for each.
    cost_divisor : int
        Turns the objective back into GPUs, currency or watts (`objective.from_units`).
    notes : tuple of str
        What the plan assumes, as sentences for the user.
    """

    problem: Problem
    places: tuple[GpuPlace, ...]
    resources: tuple[Resource, ...]
    request: Request
    cost_divisor: int
    notes: tuple[str, ...] = ()


def formulate(request: Request) -> Formulation:
    """State the Problem: every requirement becomes a task, and every way to run a replica of it an option.

    Raises
    ------
    UsageError
        If a model has no profile, a needed figure was not measured, or a server does not fit its GPU.
    """
    rules, requirements = request.rules, request.requirements
    known = by_model(request.profiles)
    check_models(requirements, request.profiles)
    places, layouts, left_out = _places(request)
    found = [_candidates(requirement, places, known, request) for requirement in requirements]
    every = [candidate for own in found for candidate in own]
    rows, notes = resource_rows(every, requirements, rules.mode)
    gpu_costs = [gpu_cost(t, rules.objective) for t in request.fleet]
    costs = {c: replica_cost(c, places[c.place].fleet_type, rules.objective) for c in every}
    divisor = cost_divisor([*gpu_costs, *costs.values()])
    loads, capacities = coarsen(
        [[row.load(c, t) for row in rows] for t, own in enumerate(found) for c in own],
        [[row.capacity(place) for row in rows] for place in places],
    )
    next_load = iter(loads)
    sharings = [
        [sharing(c, requirement, request.learnt) for c in own]
        for requirement, own in zip(requirements, found, strict=True)
    ]
    limited = any(one.limits for own in sharings for one in own)
    if limited:  # else nobody minds how much others press
        capacities = [[*capacity, UNLIMITED, UNLIMITED] for capacity in capacities]
    of_sharing = (Resource.SLOW_DOWN, Resource.PRESSURE) if limited else ()
    tasks = []
    for requirement, own, shared in zip(requirements, found, sharings, strict=True):
        options = tuple(
            Option(
                place=c.place,
                load=(*next(next_load), *(one.load if limited else ())),
                tolerance=(*(None for _ in rows), *one.tolerance) if limited else (),
                supply=_supply(c, requirement),
                cost=in_units(costs[c], divisor),
                candidate=c,
            )
            for c, one in zip(own, shared, strict=True)
        )
        tasks.append(_task(requirement, options, rules))
    problem = Problem(
        resources=(*(row.name for row in rows), *of_sharing),
        places=tuple(Place(name=p.name, capacity=tuple(c)) for p, c in zip(places, capacities, strict=True)),
        gpus=tuple(
            GpuType(
                name=t.type,
                layouts=own,
                cost=in_units(cost, divisor),
                limit=t.limit,
                node_size=t.gpus_per_node,
            )
            for t, own, cost in zip(request.fleet, layouts, gpu_costs, strict=True)
        ),
        tasks=tuple(tasks),
        rules=(
            *_rules(requirements, rules),
            *overloads(found, places, request),
            *known_to_hold(found, sharings, places, request),
        ),
    )
    return Formulation(
        problem=problem,
        places=places,
        resources=(*(row.resource for row in rows), *of_sharing),
        request=request,
        cost_divisor=divisor,
        notes=(*request.notes, *notes, *left_out, *_assumptions(every, rules), *_own_backends(every, request)),
    )


def _places(
    request: Request,
) -> tuple[tuple[GpuPlace, ...], list[tuple[Layout, ...]], list[str]]:
    """The places of a fleet, the layouts of each of its types (whole, and each geometry), and notes for the user."""
    places: list[GpuPlace] = []
    layouts: list[tuple[Layout, ...]] = []
    notes: list[str] = []
    for fleet_type in request.fleet:
        index = {WHOLE: len(places)}
        own = [Layout(name=WHOLE, places=(len(places),))]
        places.append(whole_gpu(fleet_type, request.profiles))
        kinds, unknown = slices(fleet_type, request.profiles)
        for place in kinds:
            index[place.slice_name or WHOLE] = len(places)
            places.append(place)
        if fleet_type.mig and kinds:
            names = frozenset(place.slice_name or "" for place in kinds)
            own += [_layout(geometry, index) for geometry in geometries(boards()[fleet_type.mig], names)]
        if unknown:
            notes.append(f"{fleet_type.type} is not cut into {', '.join(unknown)}, whose memory is not known")
        layouts.append(tuple(own))
    return tuple(places), layouts, notes


def _layout(geometry: Geometry, index: Mapping[str, int]) -> Layout:
    return Layout(
        name="+".join(f"{cut.profile}@{cut.start}" for cut in geometry),
        places=tuple(index[cut.profile] for cut in geometry),
        starts=tuple(cut.start for cut in geometry),
    )


def _candidates(
    requirement: Requirement, places: Sequence[GpuPlace], known: Mapping[str, tuple[Profile, ...]], request: Request
) -> list[Candidate]:
    """Every way to run a replica of the required model, on every place."""
    rules = request.rules
    return [
        candidate
        for number, place in enumerate(places)
        for candidate in candidates(
            requirement,
            number,
            place,
            known,
            mode=rules.mode,
            keep_throughput=rules.keep_throughput,
            proportional=rules.proportional,
            headroom=needs_headroom(requirement, place.devices, request.learnt),
        )
    ]


def _assumptions(found: Sequence[Candidate], rules: Rules) -> tuple[str, ...]:
    """Notes about figures that are used in another way than they were measured."""
    notes = []
    if rules.proportional and any(c.charged < 1 for c in found):
        notes.append(
            "--proportional takes utilization to grow from 0 in proportion to the load; work that is done whatever the"
            " load, and batches that do not fill, make it more"
        )
    estimated = sorted({c.model for c in found if c.point.estimate})
    if estimated:
        notes.append(f"figures of {shortened_list(estimated, 3)} are estimates where the placement says so")
    reserved = sorted({c.model for c in found if c.point.memory_is_reservation})
    if reserved:
        notes.append(
            f"the memory of {shortened_list(reserved, 3)} is what the backend reserves, not what the model needs: a "
            "smaller reservation has to be set there, and measured"
        )
    return tuple(notes)


def _own_backends(found: Sequence[Candidate], request: Request) -> list[str]:
    """Notes about models that were measured with something else than Triton's backend."""
    wanted = {candidate.model for candidate in found}
    ran: dict[str, set[str]] = defaultdict(set)
    for profile in request.profiles:
        if profile.served_by and profile.model in wanted:
            ran[profile.served_by].add(profile.model)
    return [
        f"figures of {shortened_list(sorted(ran[by]), 3)} are those of {by}, and not of Triton's own backend"
        for by in sorted(ran)
    ]


def _supply(candidate: Candidate, requirement: Requirement) -> int:
    if requirement.rate_to_serve is None:
        return 1
    return max(1, rate_supply(candidate.throughput_infer_per_s or 0.0))


def _task(requirement: Requirement, options: tuple[Option, ...], rules: Rules) -> Task:
    rate = requirement.rate_to_serve
    return Task(
        name=requirement.model,
        options=options,
        demand=(requirement.replicas or 1) if rate is None else rate_demand(rate),
        min_replicas=0 if rate is None else (requirement.replicas or 0),
        exact=rate is None and not rules.spare,
    )


def _rules(requirements: Sequence[Requirement], rules: Rules) -> Iterator[Rule]:
    """The rules about who shares a GPU or a node: those of single models, then those of groups."""
    for t, requirement in enumerate(requirements):
        if requirement.spread:
            yield AtMost(tasks=(t,), most=1, within=_WITHIN[requirement.spread])
        if rules.spare:
            yield Spare(tasks=(t,), lost=rules.spare, within=_WITHIN[rules.spare_of])
        if requirement.alone:
            yield Alone(tasks=(t,))
    for tasks in _groups([r.apart for r in requirements]).values():
        yield Apart(tasks=tasks)
    for tasks in _groups([r.together for r in requirements]).values():
        yield Together(tasks=tasks)
    limits = [dict(r.group_max) for r in requirements]
    for group, tasks in _groups([list(limit) for limit in limits]).items():
        first, *others = tasks
        for task in others:
            if limits[task][group] != limits[first][group]:
                one, other = requirements[first], requirements[task]
                raise UsageError(
                    f"group_max of '{group}' is {limits[first][group]} for {one.model} and {limits[task][group]} for "
                    f"{other.model}; give all of its models the same"
                )
        yield AtMost(tasks=tasks, most=limits[first][group])


def _groups(names: Sequence[Sequence[str]]) -> dict[str, tuple[int, ...]]:
    """The tasks of each group, by the group's name."""
    members: dict[str, list[int]] = defaultdict(list)
    for task, groups in enumerate(names):
        for name in groups:
            members[name].append(task)
    return {name: tuple(members[name]) for name in sorted(members)}
