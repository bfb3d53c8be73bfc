"""Why a model could not be placed, as a sentence with the figure that exceeds a limit.                       [pure]"""

from __future__ import annotations

from collections.abc import Sequence

from analyzer.formats.units import milliseconds, within_limit
from planner.formulation.candidates import Candidate, covers, profiles_on
from planner.formulation.formulate import Formulation
from planner.formulation.gpu_places import GpuPlace
from planner.formulation.resources import Resource
from planner.inputs.demand import BUDGETS, Requirement
from planner.inputs.memory_size import format_size
from planner.inputs.profiles import OperatingPoint, by_model
from planner.problem.plan import Cause, Unplaced


def why_unplaced(unplaced: Unplaced, formulation: Formulation) -> str:
    """Say in a sentence why a model could not be placed, with the figure that exceeds a limit."""
    requirement = formulation.request.requirements[unplaced.task]
    name = requirement.model
    if unplaced.cause is Cause.NO_OPTION:
        return _no_option(unplaced.task, formulation)
    if unplaced.cause is Cause.NO_ROOM or unplaced.place is None or unplaced.resource is None:
        grouped = _together(unplaced.task, formulation)
        return f"{name} fits a GPU, but {_fleet(formulation)} cannot hold all that is asked for{grouped}"
    resource = formulation.resources[unplaced.resource]
    place = formulation.places[unplaced.place]
    need, limit = _shortage(unplaced.task, unplaced.place, resource, place, formulation)
    return f"{name} fits no GPU: its {resource} of {need} exceeds {limit} on {place.name}"


def _together(task: int, formulation: Formulation) -> str:
    """Return in words which models have to be together with this one."""
    group = next((group for group in formulation.problem.together if task in group), ())
    names = [formulation.request.requirements[t].model for t in group]
    return f", with {' and '.join(names)} together" if names else ""


def _fleet(formulation: Formulation) -> str:
    """Return the GPUs of the fleet in words."""
    counts = (
        f"{g.limit} {g.name}" if g.limit is not None else f"any number of {g.name}" for g in formulation.problem.gpus
    )
    return " and ".join(counts)


def _shortage(task: int, number: int, resource: Resource, place: GpuPlace, formulation: Formulation) -> tuple[str, str]:
    """Return in words the least that any option takes of a resource in a place, and how much of it there is."""
    options = formulation.problem.tasks[task].options
    found = [o.candidate for o in options if o.place == number and isinstance(o.candidate, Candidate)]
    thresholds = place.fleet_type.thresholds
    if resource is Resource.MEMORY:
        least = min(c.memory_bytes for c in found)
        return format_size(least), f"the {format_size(place.memory_for_models)} left beside the server"
    if resource is Resource.UTILIZATION:
        return _pct(min(c.utilization or 0.0 for c in found)), f"the threshold of {_pct(thresholds.utilization)}"
    least_share = min(c.memory_utilization or 0.0 for c in found)
    return _pct(least_share), f"the threshold of {_pct(thresholds.memory_utilization)}"


def _no_option(task: int, formulation: Formulation) -> str:
    requirement = formulation.request.requirements[task]
    types = ", ".join(dict.fromkeys(s.fleet_type.type for s in formulation.places))
    known = by_model(formulation.request.profiles)
    points = [
        point
        for place in formulation.places
        for profile in profiles_on(requirement, place, known)
        for point in profile.points
    ]
    if not points:
        return f"{requirement.model} was not measured on {types}, and the fleet gives no scaling from another device"
    covering = [point for point in points if covers(point, requirement)]
    if not covering:
        longest = " and ".join(
            f"{name} of {max((round(c or 0) for c in lengths), default=0)} tokens"
            for name, lengths in zip(
                ("inputs", "answers"), zip(*(p.covered_lengths for p in points), strict=True), strict=True
            )
        )
        return (
            f"{requirement.model} was measured on {types} with {longest} at most, which is less than what is asked for:"
            " measure it with longer ones"
        )
    if requirement.rate_requests_per_s is not None and all(point.batch != 1 for point in covering):
        return f"{requirement.model} was not measured at batch 1 on {types}, so that no requests/s can be promised"
    return _over_budget(requirement, covering, types) or (
        f"{requirement.model} has no measured throughput on {types}, so that no rate can be promised"
    )


def _over_budget(requirement: Requirement, points: Sequence[OperatingPoint], types: str) -> str:
    """Say which budget no point meets; empty where each is met by some point."""
    for field, name in BUDGETS:
        budget_s = getattr(requirement, field)
        if budget_s is None:
            continue
        lowest_s = min((s for p in points if (s := getattr(p, field)) is not None), default=None)
        budget = f"{budget_s * 1000:g} ms"
        if lowest_s is None:
            return f"{requirement.model} has no measured {name} on {types}, so that {budget} cannot be promised"
        if not within_limit(lowest_s, budget_s):
            return (
                f"{requirement.model} has no operating point on {types} with a {name} within {budget};"
                f" its lowest is {milliseconds(lowest_s)} ms"
            )
    return ""


def _pct(share: float) -> str:
    return f"{share * 100:.4g} %"
